// What colours mean: the legend, the bar of a layer of numbers, and the number under the pointer, read back from the picture.

import { el } from "../../shared/assets/dom.js";
import { rgb } from "../../shared/assets/wire.js";
import { locale, t } from "../../shared/assets/words.js";

/** @import { Bounds, ColourScale, LegendEntry, ViewLayer } from "../../messages.js" */

const SHOWN = 24; // colours of a bar; the browser blends between

/**
 * As many digits as tell a hundredth of the scale.
 * @param {ColourScale} scale
 */
export const digitsOf = (scale) =>
  Math.min(9, Math.max(0, 2 - Math.floor(Math.log10(Math.abs(scale.high - scale.low) || 1))));

/**
 * @param {number} value
 * @param {ColourScale} scale
 * @param {number} [digits]
 */
export function written(value, scale, digits = digitsOf(scale)) {
  return value.toLocaleString(locale(), { maximumFractionDigits: digits, useGrouping: Math.abs(value) >= 1e4 });
}

/** @param {ColourScale} scale */
export const gradient = (scale) => {
  const { colours } = scale;
  return Array.from({ length: SHOWN }, (_, i) => colours[Math.round((i * (colours.length - 1)) / (SHOWN - 1))]);
};

/** @param {ColourScale} scale */
const ends = (scale) => [
  `${scale.below ? "≤ " : ""}${written(scale.low, scale)}`,
  `${scale.above ? "≥ " : ""}${written(scale.high, scale)}`,
];

/** @param {ColourScale} scale */
export const rangeText = (scale) => `${scale.sign}${ends(scale).join(t(" to "))} ${scale.unit}`.trim();

/**
 * Layers that have something to tell in a legend; those that tell the same, as class maps of several years do, as one.
 * @param {Pick<ViewLayer, "title" | "legend" | "scale">[]} layers
 */
export function told(layers) {
  /** @type {Map<string, { title: string, legend: LegendEntry[], scale?: ColourScale }>} */
  const known = new Map();
  for (const layer of layers) {
    if (!layer.legend.length && !layer.scale) continue;
    const key = JSON.stringify([layer.legend, layer.scale ?? null]);
    const same = known.get(key);
    known.set(key, {
      title: same ? `${same.title}, ${layer.title}` : layer.title,
      legend: layer.legend,
      scale: layer.scale,
    });
  }
  return [...known.values()];
}

/** @param {ColourScale} scale */
export function bar(scale) {
  const [low, high] = ends(scale);
  const middle = written((scale.low + scale.high) / 2, scale);
  return el(
    "div",
    { class: "tv-scale" },
    el("i", { style: `background:linear-gradient(to right, ${gradient(scale).join(",")})` }),
    el("div", {}, el("span", {}, low), el("span", {}, middle), el("span", {}, high)),
  );
}

/**
 * Which place on its scale each colour stands for, worked out once.
 * @type {WeakMap<ColourScale, Map<number, number>>}
 */
const places = new WeakMap();

/** @param {ColourScale} scale */
function placesOf(scale) {
  const known = places.get(scale) ?? new Map(scale.colours.map((colour, i) => [key(...rgb(colour)), i]));
  places.set(scale, known);
  return known;
}

/** @typedef {{ bitmap: HTMLCanvasElement, bounds: Bounds }} Drawn */

/**
 * What layers say at a place of the frame: a base layer by its name while it is in sight; of layers above, all numbers once one
 * is in sight, for an amount and its margin belong together.
 * @param {Pick<ViewLayer, "name" | "title" | "group" | "legend" | "coded" | "scale">[]} layers
 * @param {Map<string, Drawn>} pictures
 * @param {{ has(name: string): boolean }} shown
 * @param {number} x
 * @param {number} y
 */
export function saidAt(layers, pictures, shown, x, y) {
  const alone = [];
  const names = [];
  const texts = [];
  let unit = "";
  let digits = 0;
  for (const { name, title, group, legend, coded, scale } of layers) {
    const picture = pictures.get(name);
    const base = group === "base";
    if (!picture || !(scale || coded) || (base && !shown.has(name))) continue;
    if (base) {
      const number = scale ? readAt(scale, picture, x, y, digitsOf(scale)) : "";
      const said = scale && number ? `${number} ${scale.unit}`.trim() : entryAt(legend, picture, x, y);
      if (said) alone.push(`${title}: ${said}`);
    } else if (scale) {
      if (!names.length) [unit, digits] = [scale.unit, digitsOf(scale)];
      names.push(name);
      texts.push(readAt(scale, picture, x, y, digits));
    }
  }
  const said = texts.filter(Boolean);
  const amount = said.length && names.some((name) => shown.has(name)) ? `${said.join(" ")} ${unit}`.trim() : "";
  return [...alone, ...(amount ? [amount] : [])].join(" · ");
}

/**
 * The entry of a legend whose colour a picture has at a place; empty where there is none.
 * @param {LegendEntry[]} legend
 * @param {Drawn} picture
 * @param {number} x
 * @param {number} y
 */
function entryAt(legend, picture, x, y) {
  const seen = colourAt(picture, x, y);
  return legend.find(([colour]) => key(...rgb(colour)) === seen)?.[1] ?? "";
}

/**
 * A picture's colour at a place of the frame; null outside it, and where it shows nothing.
 * @param {Drawn} picture
 * @param {number} x
 * @param {number} y
 */
function colourAt({ bitmap, bounds }, x, y) {
  const [west, south, east, north] = bounds;
  const column = Math.floor(((x - west) / (east - west)) * bitmap.width);
  const row = Math.floor(((north - y) / (north - south)) * bitmap.height);
  if (column < 0 || row < 0 || column >= bitmap.width || row >= bitmap.height) return null;
  const context = /** @type {CanvasRenderingContext2D} */ (bitmap.getContext("2d"));
  const [r, g, b, a] = context.getImageData(column, row, 1, 1).data;
  return a ? key(r, g, b) : null;
}

/**
 * The number that a picture's colour stands for at a place of the frame, as text; empty where there is none.
 * @param {ColourScale} scale
 * @param {Drawn} picture
 * @param {number} x
 * @param {number} y
 * @param {number} digits
 */
export function readAt(scale, picture, x, y, digits) {
  const colour = colourAt(picture, x, y);
  const place = colour === null ? undefined : placesOf(scale).get(colour);
  if (place === undefined) return "";
  const last = scale.colours.length - 1;
  const beyond = place === 0 && scale.below ? "≤ " : place === last && scale.above ? "≥ " : "";
  return `${scale.sign}${beyond}${written(scale.low + ((scale.high - scale.low) * place) / last, scale, digits)}`;
}

/** @type {(r: number, g: number, b: number) => number} */
const key = (r, g, b) => (r << 16) | (g << 8) | b;

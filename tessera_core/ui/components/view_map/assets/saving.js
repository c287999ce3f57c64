// The map as a PNG: pictures, outlines, markers, scale bar, north and legend drawn on one canvas.

import { gradient, rangeText, told } from "./scales.js";

/** @import { ViewHeader } from "../../messages.js" */
/** @import { RegionStage } from "./stage.js" */
/** @import { RegionView } from "./view.js" */
/** @typedef {CanvasRenderingContext2D} Context */
/** @typedef {{ text: string, x: number, y: number, most: number, colours: string[], swatch: number }} Item a heading has no colours */

const INK = "#16191d";
const FONT = "13px system-ui, sans-serif";
const BOLD = "600 13px system-ui, sans-serif";
const ROW = 22;
const EDGE = 12;

/** @param {RegionView} view */
export async function savePicture(view) {
  const { header } = view;
  if (!header) return;
  const ratio = 2;
  const { clientWidth: width, clientHeight: height } = view.box;
  const canvas = document.createElement("canvas");
  const context = /** @type {Context} */ (canvas.getContext("2d"));
  const items = legendItems(context, visible(view, header), width);
  const foot = items.length ? (items.at(-1)?.y ?? 0) + ROW + EDGE : 0;
  canvas.width = width * ratio;
  canvas.height = (height + foot) * ratio;
  context.scale(ratio, ratio);
  context.fillStyle = "#fff";
  context.fillRect(0, 0, width, height + foot);
  for (const stage of view.stages) drawStage(context, view, stage);
  plates(context, view, header, width, height);
  drawLegend(context, items, height);
  /** @type {Blob | null} */
  const blob = await new Promise((done) => canvas.toBlob(done, "image/png"));
  if (!blob) throw new Error("The browser made no picture of the map.");
  const anchor = document.createElement("a");
  anchor.href = URL.createObjectURL(blob);
  anchor.download = `${fileName(view, header)}.png`;
  anchor.click();
  setTimeout(() => URL.revokeObjectURL(anchor.href), 10000);
}

/** @type {(view: RegionView, header: ViewHeader) => ViewHeader["layers"]} */
const visible = (view, header) => header.layers.filter((layer) => view.namesInSight.has(layer.name));

/**
 * The place, and what is shown of it: several pictures of one place do not overwrite each other.
 * @param {RegionView} view
 * @param {ViewHeader} header
 */
function fileName(view, header) {
  const { title, subtitle } = header;
  const layers = visible(view, header);
  const shown = layers.filter((layer) => !title.includes(layer.title) && !subtitle.includes(layer.title));
  const words = [title, subtitle.split(" · ")[0], ...shown.map((layer) => layer.title)].join(" ").normalize("NFC");
  const plain = words.replace(/[^\p{L}\p{N}]+/gu, "-").replace(/^-|-$/g, "");
  return plain.toLowerCase().slice(0, 90) || "map";
}

/**
 * @param {Context} context
 * @param {RegionView} view
 * @param {RegionStage} stage
 */
function drawStage(context, view, stage) {
  const left = stage.box.offsetLeft;
  const { clientWidth: width, clientHeight: height } = stage.box;
  context.save();
  context.beginPath();
  context.rect(left, 0, width, height);
  context.clip();
  const origin = stage.box.getBoundingClientRect();
  /** @type {(element: HTMLCanvasElement | HTMLImageElement, opacity: number, clip?: [number, number] | null) => void} */
  const put = (element, opacity, clip) => {
    const box = element.getBoundingClientRect();
    context.save();
    if (clip) {
      context.beginPath();
      context.rect(left + clip[0] * width, 0, (clip[1] - clip[0]) * width, height);
      context.clip();
    }
    context.globalAlpha = opacity;
    context.imageSmoothingEnabled = false;
    context.drawImage(element, left + box.left - origin.left, box.top - origin.top, box.width, box.height);
    context.restore();
  };
  const panes = stage.map.getPanes();
  for (const element of panes.land.querySelectorAll("canvas")) put(element, 1);
  // One that no page may read would make the whole picture unreadable.
  for (const tile of panes.base.querySelectorAll("img"))
    if (tile.complete && tile.naturalWidth && tile.crossOrigin !== null) put(tile, view.memory.base.opacity);
  const at = view.memory.compare.at;
  const shown = view.shown(view.stages.indexOf(stage));
  const depth = (/** @type {string} */ name) => Number(stage.pane(name)?.style.zIndex);
  for (const name of [...stage.pictures.keys()].sort((a, b) => depth(a) - depth(b))) {
    const canvas = stage.pane(name)?.querySelector("canvas");
    const opacity = shown.get(name);
    if (!canvas || opacity === undefined) continue;
    const [onLeft, onRight] = stage.sides(name);
    put(canvas, opacity, onLeft && onRight ? null : onLeft ? [0, at] : [at, 1]);
  }
  for (const element of panes.ink.querySelectorAll("canvas")) put(element, 1);
  if (stage.pair) {
    context.fillStyle = "#fff";
    context.fillRect(left + at * width - 1, 0, 2, height);
  }
  context.restore();
}

/**
 * Text cut to a width, with an ellipsis where it had to be.
 * @param {Context} context
 * @param {string} text
 * @param {number} most
 */
function fitted(context, text, most) {
  if (context.measureText(text).width <= most) return text;
  let kept = text.length;
  while (kept > 1 && context.measureText(`${text.slice(0, kept)}…`).width > most) kept -= 1;
  return `${text.slice(0, kept).trimEnd()}…`;
}

/**
 * @param {Context} context
 * @param {string} text
 * @param {number} x
 * @param {number} y
 * @param {"left" | "right" | "center"} [align]
 * @param {number} [most]
 */
function plate(context, text, x, y, align = "left", most = Infinity) {
  context.font = FONT;
  const shown = fitted(context, text, most - 16);
  const width = context.measureText(shown).width + 16;
  const left = align === "right" ? x - width : align === "center" ? x - width / 2 : x;
  context.fillStyle = "rgba(255,255,255,.9)";
  context.fillRect(left, y, width, 24);
  context.fillStyle = INK;
  context.textAlign = "left";
  context.textBaseline = "middle";
  context.fillText(shown, left + 8, y + 12.5);
}

/**
 * North is up: an arrow with its letter, in a box of 30 x 44 at the top right.
 * @param {Context} context
 * @param {number} right
 * @param {number} top
 */
function north(context, right, top) {
  const middle = right - 15;
  context.fillStyle = "rgba(255,255,255,.9)";
  context.fillRect(right - 30, top, 30, 44);
  context.fillStyle = INK;
  context.beginPath();
  for (const [x, y] of [
    [0, 5],
    [8, 27],
    [0, 21],
    [-8, 27],
  ])
    context.lineTo(middle + x, top + y);
  context.closePath();
  context.fill();
  context.font = BOLD;
  context.textAlign = "center";
  context.textBaseline = "middle";
  context.fillText("N", middle, top + 36);
  context.textAlign = "left";
}

/**
 * @param {Context} context
 * @param {RegionView} view
 * @param {ViewHeader} header
 * @param {number} width
 * @param {number} height
 */
function plates(context, view, header, width, height) {
  const onEarth = header.frame === "mercator";
  const title = [header.title, header.subtitle].filter(Boolean).join("  ");
  const room = width - 20 - (onEarth ? 36 : 0);
  if (title) plate(context, title, width - 10 - (onEarth ? 36 : 0), 10, "right", room);
  if (onEarth) north(context, width - 10, 10);
  const mode = view.memory.compare.mode;
  if (mode !== "off") {
    const titles = new Map(header.layers.map((layer) => [layer.name, layer.title]));
    const { left, right, at } = view.memory.compare;
    const halves = mode === "beside" ? [0.25, 0.75] : [at / 2, (1 + at) / 2];
    [left, right].forEach((name, side) => {
      plate(context, titles.get(name) ?? "", width * halves[side], height - 66, "center", width / 2 - 8);
    });
  }
  /** @type {HTMLElement | null | undefined} */
  const bar = view.scaleBar?.getContainer()?.querySelector(".leaflet-control-scale-line");
  if (bar && onEarth) {
    const length = bar.offsetWidth;
    context.fillStyle = "rgba(255,255,255,.9)";
    context.fillRect(10, height - 38, length + 16, 30);
    context.font = FONT;
    context.fillStyle = INK;
    context.textBaseline = "middle";
    context.fillText(bar.textContent ?? "", 18, height - 28);
    context.fillRect(18, height - 15, length, 2);
    context.fillRect(18, height - 20, 2, 7);
    context.fillRect(18 + length - 2, height - 20, 2, 7);
  }
  const credit = view.stage.box.querySelector(".leaflet-control-attribution")?.textContent;
  if (credit) plate(context, credit, width - 10, height - 30, "right", width * 0.6);
}

/**
 * Where each line of the legend goes: a heading for each layer, its entries below in columns as wide as the longest.
 * @param {Context} context
 * @param {ViewHeader["layers"]} layers
 * @param {number} width
 * @returns {Item[]}
 */
function legendItems(context, layers, width) {
  /** @type {Item[]} */
  const items = [];
  const most = width - 2 * EDGE;
  let y = EDGE - 4;
  context.font = FONT;
  for (const { title, scale, legend } of told(layers)) {
    items.push({ text: title, x: EDGE, y, most, colours: [], swatch: 0 });
    y += ROW;
    const scaleEntry = scale ? [{ colours: gradient(scale), text: rangeText(scale), swatch: 60 }] : [];
    const entries = [...scaleEntry, ...legend.map(([colour, text]) => ({ colours: [colour], text, swatch: 16 }))];
    const widest = Math.max(...entries.map(({ text, swatch }) => swatch + 8 + context.measureText(text).width)) + 20;
    const columns = Math.max(1, Math.min(entries.length, Math.floor(most / widest)));
    const step = columns > 1 ? widest : most;
    entries.forEach((entry, i) => {
      items.push({ ...entry, x: EDGE + (i % columns) * step, y: y + ROW * Math.floor(i / columns), most: step });
    });
    y += ROW * Math.ceil(entries.length / columns) + 4;
  }
  return items;
}

/**
 * @param {Context} context
 * @param {Item[]} items
 * @param {number} top
 */
function drawLegend(context, items, top) {
  context.textBaseline = "middle";
  context.textAlign = "left";
  for (const { text, x, y, most, colours, swatch } of items) {
    context.font = colours.length ? FONT : BOLD;
    colours.forEach((each, k) => {
      context.fillStyle = each;
      context.fillRect(x + (k * swatch) / colours.length, top + y + 3, Math.ceil(swatch / colours.length), 16);
    });
    if (colours.length) {
      context.strokeStyle = "rgba(0,0,0,.25)";
      context.strokeRect(x + 0.5, top + y + 3.5, swatch - 1, 15);
    }
    const shift = colours.length ? swatch + 8 : 0;
    context.fillStyle = INK;
    context.fillText(fitted(context, text, most - shift), x + shift, top + y + 11);
  }
}

import assert from "node:assert/strict";
import { test } from "node:test";

import {
  digitsOf,
  gradient,
  rangeText,
  readAt,
  saidAt,
  told,
  written,
} from "../../tessera_core/ui/components/view_map/assets/scales.js";

/** @import { ColourScale } from "../../tessera_core/ui/components/messages.js" */

/** @type {(changes?: Partial<ColourScale>) => ColourScale} */
const scale = (changes = {}) => ({
  low: 0,
  high: 10,
  colours: ["#000000", "#101010", "#202020"],
  unit: "m",
  sign: "",
  below: false,
  above: false,
  ...changes,
});

/** A picture of red, green, blue and opacity of each pixel, row by row. @param {number[][][]} rows */
function picture(rows) {
  const context = {
    getImageData: (/** @type {number} */ x, /** @type {number} */ y) => ({ data: Uint8ClampedArray.from(rows[y][x]) }),
  };
  const bitmap = /** @type {any} */ ({ width: rows[0].length, height: rows.length, getContext: () => context });
  return { bitmap, bounds: /** @type {[number, number, number, number]} */ ([0, 0, rows[0].length, rows.length]) };
}

test("as many digits as tell a hundredth of the scale", () => {
  assert.equal(digitsOf(scale({ low: 0, high: 500 })), 0);
  assert.equal(digitsOf(scale({ low: 0, high: 10 })), 1);
  assert.equal(digitsOf(scale({ low: 2, high: 3 })), 2);
  assert.equal(digitsOf(scale({ low: 0, high: 0.004 })), 5);
  assert.equal(digitsOf(scale({ low: 3, high: 3 })), 2, "a scale of one number");
  assert.equal(digitsOf(scale({ low: 0, high: 1e-30 })), 9);
});

test("numbers are grouped only where they are long", () => {
  const wide = scale({ low: 0, high: 1e6 });
  assert.equal(written(9999, wide), "9999");
  assert.equal(written(10000, wide), "10,000");
  assert.equal(written(-12345, wide), "-12,345");
  assert.equal(written(1.26, scale()), "1.3");
});

test("a range says where its ends also stand for what lies beyond", () => {
  assert.equal(rangeText(scale()), "0 to 10 m");
  assert.equal(rangeText(scale({ below: true, above: true, sign: "± " })), "± ≤ 0 to ≥ 10 m");
  assert.equal(rangeText(scale({ unit: "" })), "0 to 10");
});

test("a bar begins and ends with the colours of the scale", () => {
  const colours = gradient(scale());
  assert.equal(colours.length, 24);
  assert.equal(colours[0], "#000000");
  assert.equal(colours.at(-1), "#202020");
  assert.deepEqual(new Set(gradient(scale({ colours: ["#123456"] }))), new Set(["#123456"]));
});

test("what a colour stands for is read back from the picture", () => {
  const of = picture([
    [
      [0, 0, 0, 255],
      [16, 16, 16, 255],
    ],
    [
      [32, 32, 32, 255],
      [0, 0, 0, 0],
    ],
  ]);
  const read = (/** @type {ColourScale} */ s, /** @type {number} */ x, /** @type {number} */ y) =>
    readAt(s, of, x, y, digitsOf(s));
  assert.equal(read(scale(), 0.5, 1.5), "0");
  assert.equal(read(scale(), 1.5, 1.5), "5");
  assert.equal(read(scale(), 0.5, 0.5), "10");
  assert.equal(read(scale(), 1.5, 0.5), "", "no data");
  assert.equal(read(scale({ below: true, above: true, sign: "± " }), 0.5, 1.5), "± ≤ 0");
  assert.equal(read(scale({ above: true }), 0.5, 0.5), "≥ 10");
});

test("outside a picture, and on colours that are none of its scale, there is no number", () => {
  const of = picture([[[1, 2, 3, 255]]]);
  assert.equal(readAt(scale(), of, 0.5, 0.5, 1), "");
  for (const [x, y] of [
    [-0.1, 0.5],
    [1, 0.5],
    [0.5, -0.1],
    [0.5, 1.1],
  ])
    assert.equal(readAt(scale(), of, x, y, 1), "");
});

test("each base layer in sight says its own, by its name; layers above say theirs together", () => {
  const low = [0, 0, 0, 255];
  const high = [32, 32, 32, 255];
  const pictures = new Map(
    Object.entries({ dem: picture([[high]]), soils: picture([[low]]), value: picture([[high]]) }),
  );
  const dem = { name: "dem", title: "dem", group: /** @type {const} */ ("base"), legend: [], scale: scale() };
  /** @type {[string, string][]} */
  const legend = [
    ["#202020", "clay"],
    ["#000000", "sand"],
  ];
  const soils = { ...dem, name: "soils", title: "soils", scale: undefined, legend, coded: true };
  const value = { ...dem, name: "value", title: "Height", group: /** @type {const} */ ("overlay") };
  const margin = { ...value, name: "margin", scale: scale({ sign: "± " }) };
  const at = (/** @type {string[]} */ ...shown) =>
    saidAt([dem, soils, value, margin], pictures, new Set(shown), 0.5, 0.5);
  assert.equal(at("dem"), "dem: 10 m");
  assert.equal(at("soils"), "soils: sand");
  assert.equal(at("soils", "value"), "soils: sand · 10 m");
  pictures.set("margin", picture([[low]]));
  assert.equal(at("value"), "10 ± 0 m");
  assert.equal(at(), "");
  // The same colours where no legend says that each is an entry.
  assert.equal(saidAt([{ ...soils, coded: false }], pictures, new Set(["soils"]), 0.5, 0.5), "");
  assert.equal(saidAt([dem, soils], pictures, new Set(["dem", "soils"]), 2, 0.5), "", "outside");
});

test("layers that tell the same are one entry of the legend, silent ones none", () => {
  /** @type {[string, string][]} */
  const legend = [["#000000", "Forest"]];
  const layers = [
    { title: "2023", legend },
    { title: "2024", legend },
    { title: "picture", legend: [] },
    { title: "height", legend: [], scale: scale() },
    { title: "margin", legend: [], scale: scale({ sign: "± " }) },
  ];
  assert.deepEqual(
    told(layers).map((entry) => entry.title),
    ["2023, 2024", "height", "margin"],
  );
});

import assert from "node:assert/strict";
import { test } from "node:test";

import { drawOutlines, markerAt, outlineAt, trace } from "../../tessera_core/ui/components/view_map/assets/shapes.js";

/** @import { MarkerEntry, OutlineEntry } from "../../tessera_core/ui/components/messages.js" */

// North is up on the map, down grows on the screen.
const T = { sx: 2, sy: -2, tx: 100, ty: 50, pixel: 2 };

/** Notes what is drawn. */
class Pen {
  /** @type {any[]} */
  done = [];
  /** @type {any} */
  context = new Proxy(
    {},
    {
      get:
        (_, name) =>
        (/** @type {any[]} */ ...rest) =>
          this.done.push([name, ...rest]),
      set: (_, name, value) => this.done.push([name, value]) > 0,
    },
  );
}

/** @type {(id: string, x: number, y: number, kind?: "dot" | "pin") => MarkerEntry} */
const marker = (id, x, y, kind = "dot") => [id, x, y, "", "#d55e00", "", kind];

test("the marker under a pointer is the topmost within reach", () => {
  const markers = [marker("low", 5, 5), marker("high", 6, 5)];
  assert.equal(markerAt(T, markers, 111, 40, 12)?.[0], "high");
  assert.equal(markerAt(T, markers, 99, 40, 12)?.[0], "low");
  assert.equal(markerAt(T, markers, 125, 40, 12), null);
  assert.equal(markerAt(T, markers, 125, 40, 20)?.[0], "high");
  assert.equal(markerAt(T, [], 0, 0, 12), null);
});

test("a pin is taken by its head, which stands above its place", () => {
  const pins = [marker("pin", 0, 0, "pin")];
  assert.equal(markerAt(T, pins, 100, 33, 12)?.[0], "pin");
  assert.equal(markerAt(T, pins, 100, 55, 12), null);
});

const SQUARE = [0, 0, 4, 0, 4, 4, 0, 4];
/** @type {OutlineEntry} */
const FILLED = ["filled", "#0f766e", 0.2, "", true, [SQUARE, [1, 1, 2, 1, 2, 2, 1, 2]]];

test("a filled outline is under the pointer but for its holes", () => {
  assert.equal(outlineAt([FILLED], 3, 3)?.[0], "filled");
  assert.equal(outlineAt([FILLED], 1.5, 1.5), null);
  assert.equal(outlineAt([FILLED], 5, 5), null);
});

test("lines, and outlines that are empty and say nothing, are never under the pointer", () => {
  /** @type {OutlineEntry} */
  const empty = ["empty", "#000000", 0, "", true, [SQUARE]];
  /** @type {OutlineEntry} */
  const line = ["line", "#000000", 0.5, "text", false, [SQUARE]];
  /** @type {OutlineEntry} */
  const said = ["said", "#000000", 0, "a field", true, [SQUARE]];
  assert.equal(outlineAt([empty, line], 2, 3), null);
  assert.equal(outlineAt([empty, said, line], 2, 3)?.[0], "said");
});

test("of two outlines the one that is drawn later is above", () => {
  /** @type {OutlineEntry} */
  const above = ["above", "#000000", 0.1, "", true, [SQUARE]];
  assert.equal(outlineAt([FILLED, above], 3, 3)?.[0], "above");
  assert.equal(outlineAt([above, FILLED], 3, 3)?.[0], "filled");
});

test("rings become paths on the screen, closed where they are areas", () => {
  const pen = new Pen();
  trace(pen.context, T, [[0, 0, 1, 2]], true);
  assert.deepEqual(pen.done, [["beginPath"], ["moveTo", 100, 50], ["lineTo", 102, 46], ["closePath"]]);
  const open = new Pen();
  trace(open.context, T, [[0, 0, 1, 2]], false);
  assert.ok(!open.done.some(([name]) => name === "closePath"));
});

test("only areas are filled, and more strongly while they are pointed at", () => {
  const alphas = (/** @type {OutlineEntry} */ outline, /** @type {string | null} */ pointed) => {
    const pen = new Pen();
    drawOutlines(pen.context, T, [outline], pointed);
    return pen.done.filter(([name]) => name === "globalAlpha").map(([, value]) => value);
  };
  assert.deepEqual(alphas(FILLED, null), [0.2, 1]);
  assert.deepEqual(alphas(FILLED, "filled"), [0.4, 1]);
  assert.deepEqual(alphas(["line", "#000000", 0.5, "", false, [SQUARE]], "line"), []);
});

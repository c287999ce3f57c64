import assert from "node:assert/strict";
import { test } from "node:test";

import { farFirst, places, project, splat } from "../../tessera_core/ui/components/scatter/assets/points.js";

const VIEW = { zoom: 1, x: 0, y: 0, turn: 0, tilt: 0 };

/** @type {(dims: 2 | 3, points: number[], view?: Partial<typeof VIEW>) => ReturnType<typeof places>} */
function seen(dims, points, view = {}) {
  const count = points.length / dims;
  const out = places(count);
  project({ points: Float32Array.from(points), count, dims }, { ...VIEW, ...view }, 200, 100, out);
  return out;
}

test("two axes: the middle is in the middle, up is up, one unit is as long either way", () => {
  const { x, y } = seen(2, [0, 0, 1, 0, 0, 1]);
  assert.deepEqual([...x], [100, 146, 100]);
  assert.deepEqual([...y], [50, 50, 4]);
});

test("zoom and shift keep what lies in the middle of the view there", () => {
  const { x, y } = seen(2, [0.5, 0.25], { zoom: 8, x: -0.5, y: 0.25 });
  assert.ok(Math.abs(x[0] - 100) < 1e-3);
  assert.ok(Math.abs(y[0] - 50) < 1e-3);
});

test("three axes: what is nearer is larger, and half a turn swaps near and far", () => {
  const points = [0.5, 0, -1, 0.5, 0, 1];
  const ahead = seen(3, points);
  const behind = seen(3, points, { turn: Math.PI });
  assert.ok(ahead.depth[0] < ahead.depth[1]);
  assert.ok(behind.depth[0] > behind.depth[1]);
  assert.ok(ahead.x[0] - 100 > ahead.x[1] - 100, "the nearer one stands further out");
  assert.ok(behind.x[0] < 100);
});

test("far ones are drawn first, each once, also those deeper than any should be", () => {
  const depth = Float32Array.from([0, -1.5, 1.5, 9, -9, 0.5]);
  const order = [...farFirst(depth)];
  assert.deepEqual([...order].sort(), [0, 1, 2, 3, 4, 5]);
  assert.ok(order.indexOf(3) <= 1 && order.indexOf(2) <= 1);
  assert.ok(order.indexOf(5) < order.indexOf(0));
  assert.ok(order.indexOf(0) < order.indexOf(1));
  assert.deepEqual([...farFirst(new Float32Array())], []);
});

test("a disc covers its middle, fades at its edge and ends at the picture's", () => {
  const pixels = new Uint8ClampedArray(4 * 9 * 9);
  splat(pixels, 9, 9, 4.5, 4.5, 2, [200, 100, 50], 1);
  const at = (/** @type {number} */ x, /** @type {number} */ y) => [
    ...pixels.subarray(4 * (9 * y + x), 4 * (9 * y + x) + 4),
  ];
  assert.deepEqual(at(4, 4), [200, 100, 50, 255]);
  assert.ok(at(6, 4)[3] > 0 && at(6, 4)[3] < 255);
  assert.deepEqual(at(8, 8), [0, 0, 0, 0]);
  for (const [x, y] of [
    [0, 0],
    [9, 9],
    [-3, 4],
    [40, 40],
  ])
    splat(pixels, 9, 9, x, y, 2, [1, 2, 3], 0.9);
  assert.equal(pixels.length, 4 * 81);
});

test("drawing over something hides it as much as it covers", () => {
  const pixels = Uint8ClampedArray.from([0, 0, 0, 255]);
  splat(pixels, 1, 1, 0.5, 0.5, 3, [100, 100, 100], 0.5);
  assert.deepEqual([...pixels], [50, 50, 50, 255]);
});

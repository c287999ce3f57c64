import assert from "node:assert/strict";
import { test } from "node:test";

import {
  boxed,
  distance,
  pairs,
  stretched,
  thin,
  within,
  withinAll,
} from "../../tessera_core/ui/components/shared/assets/geometry.js";

const SQUARE = [0, 0, 4, 0, 4, 4, 0, 4];
const HOLE = [1, 1, 3, 1, 3, 3, 1, 3];

/** Numbers that are the same in every run. @param {number} seed */
function numbers(seed) {
  let state = seed;
  return () => {
    state = (state * 1103515245 + 12345) % 2 ** 31;
    return state / 2 ** 31;
  };
}

test("inside, outside, and a hole", () => {
  assert.ok(within(SQUARE, 2, 2));
  assert.ok(!within(SQUARE, 5, 2));
  assert.ok(!within(SQUARE, 2, -0.001));
  assert.ok(!withinAll([SQUARE, HOLE], 2, 2));
  assert.ok(withinAll([SQUARE, HOLE], 0.5, 2));
  assert.ok(!within([], 0, 0));
  assert.ok(!withinAll([], 0, 0));
});

test("neighbours that share an edge hold each place once", () => {
  const right = [4, 0, 8, 0, 8, 4, 4, 4];
  for (const y of [0, 1, 2, 3.999])
    for (const x of [0, 1, 4, 7.999]) assert.equal(Number(within(SQUARE, x, y)) + Number(within(right, x, y)), 1);
});

test("the way round a ring makes no difference", () => {
  const next = numbers(7);
  for (let n = 0; n < 200; n++) {
    const ring = Array.from({ length: 12 }, () => 10 * next());
    const back = pairs(ring).reverse().flat();
    const [x, y] = [10 * next(), 10 * next()];
    assert.equal(within(ring, x, y), within(back, x, y));
  }
});

test("the distance to a line ends at its ends, unless it is closed", () => {
  const line = [0, 0, 4, 0, 4, 4];
  assert.equal(distance(line, 2, 3), 2);
  assert.equal(distance(line, -3, -4), 5);
  assert.equal(distance([5, 5], 8, 9), 5);
  assert.equal(distance(line, 0, 4), 4);
  assert.ok(Math.abs(distance(line, 0, 4, true) - Math.sqrt(8)) < 1e-12);
  assert.equal(distance([1, 1, 1, 1], 1, 2), 1);
  assert.equal(distance([], 0, 0), Infinity);
});

test("a thinned line stays within its tolerance and keeps its ends", () => {
  const next = numbers(3);
  for (let n = 0; n < 50; n++) {
    /** @type {[number, number][]} */
    const points = Array.from({ length: 60 }, (_, i) => [i, 5 * next()]);
    const kept = thin(points, 1.5);
    assert.deepEqual(kept[0], points[0]);
    assert.deepEqual(kept.at(-1), points.at(-1));
    for (const [x, y] of points) assert.ok(distance(kept.flat(), x, y) <= 1.5 + 1e-9);
  }
});

test("a straight line is two points, and a point on its way back is kept", () => {
  assert.deepEqual(
    thin(
      [
        [0, 0],
        [1, 1],
        [2, 2],
        [3, 3],
      ],
      0.1,
    ),
    [
      [0, 0],
      [3, 3],
    ],
  );
  assert.equal(
    thin(
      [
        [0, 0],
        [9, 0],
        [0, 0],
      ],
      0.1,
    ).length,
    3,
  );
  assert.deepEqual(thin([[1, 2]], 5), [[1, 2]]);
  assert.deepEqual(thin([], 5), []);
});

test("a stretched rectangle keeps the opposite corner and its right angles, however it is turned", () => {
  const next = numbers(11);
  for (let n = 0; n < 200; n++) {
    const turn = 6.3 * next();
    const [c, s] = [Math.cos(turn), Math.sin(turn)];
    const [w, h] = [1 + 5 * next(), 1 + 5 * next()];
    const corners = [
      [0, 0],
      [w, 0],
      [w, h],
      [0, h],
    ];
    const ring = corners.flatMap(([x, y]) => [c * x - s * y, s * x + c * y]);
    const corner = n % 4;
    /** @type {[number, number]} */
    const to = [8 * next() - 4, 8 * next() - 4];
    const out = pairs(stretched(ring, corner, to));
    assert.deepEqual(out[corner], to);
    assert.deepEqual(out[(corner + 2) % 4], pairs(ring)[(corner + 2) % 4]);
    for (let i = 0; i < 4; i++) {
      const [before, here, after] = [out[(i + 3) % 4], out[i], out[(i + 1) % 4]];
      const dot = (before[0] - here[0]) * (after[0] - here[0]) + (before[1] - here[1]) * (after[1] - here[1]);
      assert.ok(Math.abs(dot) < 1e-9);
    }
  }
});

test("a rectangle without width moves only the corner that is dragged", () => {
  assert.deepEqual(stretched([0, 0, 0, 0, 0, 4, 0, 4], 1, [3, 1]), [0, 0, 3, 1, 0, 4, 0, 4]);
});

test("a box has its corners in order, whichever two are given", () => {
  assert.deepEqual(boxed([1, 2], [3, 5]).flat(), [1, 2, 3, 2, 3, 5, 1, 5]);
  assert.deepEqual(boxed([3, 5], [1, 2]).flat(), [3, 5, 1, 5, 1, 2, 3, 2]);
});

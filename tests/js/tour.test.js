import assert from "node:assert/strict";
import { test } from "node:test";

import { changed, summary } from "../../tessera_core/ui/components/label_map/assets/tour.js";

/** @type {(plane: number[], levels: number, ids: number[]) => import("../../tessera_core/ui/components/label_map/assets/tour.js").Standing} */
const standing = (plane, levels, ids) => ({
  plane: Uint8Array.from(plane),
  levels,
  classes: ids.map((id) => ({ id })),
  score: null,
});

test("pixels count as changed by their class, not by how sure it is or where it stands in the list", () => {
  // Two classes of two levels each; then three classes of one level, of which the second is new.
  const before = standing([0, 1, 2, 3, 4], 2, [1, 5]);
  assert.equal(changed(before, standing([0, 2, 1, 4, 3], 2, [1, 5])), 0);
  assert.equal(changed(before, standing([0, 1, 2, 3, 3], 1, [1, 3, 5])), 0.25);
  assert.equal(changed(before, standing([0, 0, 0, 0, 0], 2, [1, 5])), null, "no map");
  assert.equal(changed(before, standing([1], 2, [1, 5])), null, "another size");
});

/** @param {number | null} accuracy */
const score = (accuracy) => ({ accuracy, headline: accuracy === null ? "Too few labels." : "" });

test("a falling score is explained, and only a falling one", () => {
  const answers = [
    { given: 1, said: 2 },
    { given: 1, said: 1 },
  ];
  const worse = summary(answers, 0.04, score(0.92), score(0.82));
  assert.deepEqual(worse.slice(0, 2), [
    "2 answers taken in. 1 of them was not what the map had said. 4 % of the map changed.",
    "The map is 82 % right at places it has not seen; before it was 92 %.",
  ]);
  assert.match(worse[2], /chosen because they are hard/);
  const better = summary([answers[1]], 0.001, score(0.8), score(0.82));
  assert.deepEqual(better, [
    "1 answer taken in. It is what the map had said. Less than 1 % of the map changed.",
    "The map is 82 % right at places it has not seen; before it was 80 %.",
  ]);
  assert.deepEqual(summary(answers, null, null, score(null)).slice(1), ["Too few labels."]);
  assert.match(summary(answers, null, score(0.821), score(0.819))[1], /82 % right .* as before\.$/);
});

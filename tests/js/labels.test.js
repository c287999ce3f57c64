import assert from "node:assert/strict";
import { test } from "node:test";

import { settled, withoutErased } from "../../tessera_core/ui/components/label_map/assets/labels.js";

/** @import { Operation, Shape } from "../../tessera_core/ui/components/messages.js" */

/** @type {(id: string, shape: Shape) => { id: string, shape: Shape }} */
const entry = (id, shape) => ({ id, shape });
const FOREST = entry("s-1", [1, "p", 0, [10, 20]]);
const FIELD = entry("s-2", [2, "r", 0, [0, 0, 4, 0, 4, 4, 0, 4]]);

test("what is on its way is shown as it will be", () => {
  /** @type {Operation[]} */
  const pending = [
    {
      id: 7,
      do: "add",
      tool: "brush",
      class: 2,
      pts: [
        [1, 2],
        [3, 4],
      ],
      radius: 2,
    },
    { id: 8, do: "edit_label", label: "s-1", class: 3, note: "fallow" },
    { id: 9, do: "remove_label", label: "s-2" },
    { id: 10, do: "undo" },
  ];
  assert.deepEqual(settled([FOREST, FIELD], pending, "page"), [
    { id: "s-1", note: "fallow", shape: [3, "p", 0, [10, 20]] },
    { id: "page-7", shape: [2, "b", 2, [1, 2, 3, 4]] },
  ]);
  assert.deepEqual(FOREST.shape[0], 1, "what the server told is left as it is");
});

test("a label that is still on its way can be moved and taken away", () => {
  /** @type {Operation} */
  const add = {
    id: 1,
    do: "add",
    tool: "polygon",
    class: -1,
    pts: [
      [0, 0],
      [1, 0],
      [1, 1],
    ],
    radius: 0,
  };
  /** @type {Operation} */
  const move = {
    id: 2,
    do: "edit_label",
    label: "page-1",
    rings: [
      [
        [5, 5],
        [6, 5],
        [6, 6],
      ],
    ],
  };
  assert.deepEqual(settled([], [add, move], "page")[0].shape, [-1, "a", 0, [5, 5, 6, 5, 6, 6]]);
  assert.deepEqual(settled([], [add, { id: 2, do: "remove_label", label: "page-1" }], "page"), []);
});

test("a later stroke of the eraser takes points away, an earlier one does not", () => {
  /** @type {Shape} */
  const point = [1, "p", 0, [10, 10]];
  /** @type {Shape} */
  const eraser = [0, "e", 1, [10, 10]];
  assert.deepEqual(withoutErased([point, eraser], 1), [eraser]);
  assert.deepEqual(withoutErased([eraser, point], 1), [eraser, point]);
  /** @type {Shape} */
  const far = [1, "p", 0, [13, 10]];
  assert.deepEqual(withoutErased([far, eraser], 1), [far, eraser]);
  assert.deepEqual(withoutErased([far, eraser], 10), [eraser], "the radius counts pixels of the scene");
});

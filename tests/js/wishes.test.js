import assert from "node:assert/strict";
import { test } from "node:test";

import { inSight, takeWishes } from "../../tessera_core/ui/components/view_map/assets/wishes.js";

/** @import { ViewLayer } from "../../tessera_core/ui/components/messages.js" */

/** @type {(name: string, group: "base" | "overlay", changes?: Partial<ViewLayer>) => ViewLayer} */
const layer = (name, group, changes = {}) => ({
  name,
  group,
  version: "1",
  title: name,
  opacity: 1,
  on: true,
  legend: [],
  sent: true,
  ...changes,
});

/** @returns {any} */
const fresh = () => ({ tool: "click", layers: {}, compare: { wish: "", mode: "off", left: "", right: "", at: 0.5 } });
const LAYERS = [layer("2023", "base"), layer("2024", "base"), layer("map", "overlay", { opacity: 0.7 })];

/** @type {(memory: any, changes?: any) => any} */
function told(memory, changes = {}) {
  takeWishes(memory, { layers: LAYERS, swipe: null, beside: false, tools: ["click", "box"], ...changes });
  return memory;
}

/** @type {(memory: any, side?: number) => Record<string, number>} */
const seen = (memory, side = 0) => Object.fromEntries(inSight(memory, LAYERS, side));

test("of base layers one is in sight, overlays lie above", () => {
  assert.deepEqual(seen(told(fresh())), { 2024: 1, map: 0.7 });
});

test("people's choices stay until the page wishes for something else", () => {
  const memory = told(fresh());
  memory.layers.map.on = false;
  assert.deepEqual(seen(told(memory)), { 2024: 1 });
  told(memory, { layers: [LAYERS[0], LAYERS[1], { ...LAYERS[2], opacity: 0.5 }] });
  assert.deepEqual(seen(memory), { 2024: 1, map: 0.5 });
});

test("there is always a base layer where there can be one", () => {
  const memory = told(fresh());
  memory.layers["2023"].on = memory.layers["2024"].on = false;
  assert.deepEqual(seen(told(memory)), { 2024: 1, map: 0.7 });
});

test("a comparison shows its two layers, and what lies over two base layers", () => {
  const swipe = ["2023", "2024"];
  assert.deepEqual(seen(told(fresh(), { swipe })), { 2023: 1, 2024: 1, map: 0.7 });
  const beside = told(fresh(), { swipe, beside: true });
  assert.deepEqual(seen(beside, 0), { 2023: 1, map: 0.7 });
  assert.deepEqual(seen(beside, 1), { 2024: 1, map: 0.7 });
  assert.deepEqual(seen(told(fresh(), { swipe: ["2023", "map"] })), { 2023: 1, map: 1 });
});

test("what is compared and is gone is replaced, and one layer cannot be compared", () => {
  const memory = told(fresh(), { swipe: ["2023", "map"] });
  told(memory, { layers: LAYERS.slice(0, 2), swipe: ["2023", "map"] });
  assert.deepEqual([memory.compare.left, memory.compare.right], ["2023", "2024"]);
  told(memory, { layers: LAYERS.slice(0, 1), swipe: ["2023", "map"] });
  assert.equal(memory.compare.mode, "off");
});

test("a tool that the page no longer has is put down", () => {
  const memory = told({ ...fresh(), tool: "polygon" });
  assert.equal(memory.tool, "click");
});

test("a picture that the page newly wishes for takes the place of one that was chosen", () => {
  const two = [layer("a", "base"), layer("b", "base", { on: false }), layer("c", "base", { on: false })];
  const memory = told(fresh(), { layers: two });
  memory.layers.a.on = false;
  memory.layers.c.on = true;
  told(memory, { layers: two });
  assert.deepEqual(Object.fromEntries(inSight(memory, two, 0)), { c: 1 });
  const now = [layer("a", "base", { on: false }), layer("b", "base"), layer("c", "base", { on: false })];
  told(memory, { layers: now });
  assert.deepEqual(Object.fromEntries(inSight(memory, now, 0)), { b: 1 });
});

// What the page wishes to show and what people chose, and what is in sight by both.

/** @import { ViewHeader } from "../../messages.js" */
/** @import { Memory } from "./session.js" */

/**
 * The page's wishes count when they are new; afterwards people's own choices do.
 * @param {Memory} memory
 * @param {Pick<ViewHeader, "layers" | "swipe" | "beside" | "tools">} header
 */
export function takeWishes(memory, { layers, swipe, beside, tools }) {
  const bases = layers.filter((layer) => layer.group === "base");
  for (const { name, on, opacity, group } of layers) {
    const wish = JSON.stringify([on, opacity]);
    if (memory.layers[name]?.wish === wish) continue;
    memory.layers[name] = { wish, on, opacity };
    // Of base layers one is shown: a new wish takes the place of an earlier choice.
    if (on && group === "base")
      for (const { name: other } of bases) if (other !== name && memory.layers[other]) memory.layers[other].on = false;
  }
  // A base layer that was chosen may be gone, as when another part of the page shows the map: never none.
  if (!bases.some(({ name }) => memory.layers[name].on)) for (const { name, on } of bases) memory.layers[name].on = on;
  const names = layers.map((layer) => layer.name);
  const wish = JSON.stringify([swipe, beside]);
  if (memory.compare.wish !== wish) {
    const [left, right] = swipe ?? [names[0], names[1]];
    memory.compare = { wish, mode: beside ? "beside" : swipe ? "swipe" : "off", left, right, at: 0.5 };
  }
  const { compare } = memory;
  if (!names.includes(compare.left)) compare.left = names[0];
  if (!names.includes(compare.right)) compare.right = names[1] ?? names[0];
  if (names.length < 2) compare.mode = "off";
  if (!tools.includes(memory.tool)) memory.tool = "click";
}

/**
 * What is in sight: with a comparison its layers (and what lies over two base layers), else everything switched on.
 * @param {Pick<Memory, "layers" | "compare">} memory
 * @param {Pick<ViewHeader["layers"][number], "name" | "group">[]} all from low to high
 * @param {number} side 0 = the left stage
 * @returns {Map<string, number>} opacity by name
 */
export function inSight({ layers, compare }, all, side) {
  const { left, right, mode } = compare;
  const on = all.filter(({ name }) => layers[name].on);
  const bases = all.filter(({ group }) => group === "base").map(({ name }) => name);
  const overBases = mode === "off" || (bases.includes(left) && bases.includes(right));
  const over = overBases ? on.filter(({ group }) => group !== "base") : [];
  /** @type {[string, number][]} */
  const above = over.map(({ name }) => [name, layers[name].opacity]);
  if (mode === "swipe") return new Map([[left, 1], [right, 1], ...above]);
  if (mode === "beside") return new Map([[side ? right : left, 1], ...above]);
  // Of the base layers one is shown at a time.
  const base = on.filter(({ group }) => group === "base").at(-1);
  return new Map([
    ...(base ? [/** @type {[string, number]} */ ([base.name, layers[base.name].opacity])] : []),
    ...above,
  ]);
}

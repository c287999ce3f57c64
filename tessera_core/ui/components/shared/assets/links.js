// Linked views of the same points: a scatter and a map that highlight each other without asking the server.

/**
 * Tells of changes with the events "points", "selected" and "hover".
 * @typedef {EventTarget & {
 *   points: { version: string, count: number, x: Float64Array, y: Float64Array } | null,
 *   selected: Uint8Array | null,
 *   hover: number,
 *   colours: ((point: number) => string) | null,
 * }} Link `points` in the map's frame; `selected` one byte a point.
 */

const page = /** @type {{ __tesseraLinks?: Map<string, Link> }} */ (globalThis);
const links = (page.__tesseraLinks ??= new Map());

/**
 * The link of that name, which all views of this page share.
 * @param {string} name
 * @returns {Link}
 */
export function link(name) {
  const known = links.get(name);
  if (known) return known;
  const made = Object.assign(new EventTarget(), { points: null, selected: null, hover: -1, colours: null });
  links.set(name, made);
  return made;
}

/**
 * @param {Link} shared
 * @param {"points" | "selected" | "hover"} what has changed
 * @param {string} by whom
 */
export function tell(shared, what, by) {
  shared.dispatchEvent(new CustomEvent(what, { detail: { by } }));
}

/**
 * How many points are selected.
 * @param {Link} shared
 */
export const chosenCount = (shared) => (shared.selected ? shared.selected.reduce((n, v) => n + v, 0) : 0);

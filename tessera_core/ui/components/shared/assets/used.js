// What a person did by another way than its control, such as a key or a button on the map: for a lesson that waits for it.

export const USED = "tessera-used";
// A place on the region of a map, and one beside it.
export const ON_MAP = "map";
export const BESIDE_MAP = "beside-map";

/** @param {string} target {@link ON_MAP}, {@link BESIDE_MAP}, or a control as `tessera_core/lessons/targets.py` names it */
export function used(target) {
  document.dispatchEvent(new CustomEvent(USED, { detail: target }));
}

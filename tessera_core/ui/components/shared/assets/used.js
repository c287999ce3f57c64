// What a person did by another way than its control, such as a key or a button on the map: for a lesson that waits for it.

export const USED = "tessera-used";

/** @param {string} target as `tessera_core/lessons/targets.py` names it */
export function used(target) {
  document.dispatchEvent(new CustomEvent(USED, { detail: target }));
}

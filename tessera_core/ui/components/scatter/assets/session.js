// One session per key: what people chose, and the points; they outlive the elements that Streamlit mounts and unmounts.

import { keep, restore } from "../../shared/assets/mounting.js";

/** @import { CloudView } from "./cloud.js" */
/**
 * Points in two or three axes, and where each lies in the frame of the linked map.
 * @typedef {{
 *   version: string, count: number, dims: 2 | 3, points: Float32Array, x: Float64Array, y: Float64Array,
 * }} Points
 */

export const fresh = () => ({ zoom: 1, x: 0, y: 0, turn: 0.6, tilt: 0.35 });

const DEFAULTS = () => ({
  tool: /** @type {"lasso" | "move"} */ ("lasso"),
  view: fresh(),
  dims: 0,
  legend: /** @type {boolean | undefined} */ (undefined), // whether it is open
});

/** @typedef {ReturnType<typeof DEFAULTS>} Memory what people chose; survives a reload of the page */

export class CloudSession {
  /** @param {string} key */
  constructor(key) {
    this.store = `tessera-scatter:${key}`;
    this.memory = restore(this.store, DEFAULTS());
    /** @type {Points | null} */
    this.points = null;
    /** @type {CloudView | null} */
    this.view = null;
  }

  keep() {
    keep(this.store, this.memory);
  }
}

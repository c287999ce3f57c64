// One session per key: what outlives the elements that Streamlit mounts and unmounts.

import { keep, restore } from "../../shared/assets/mounting.js";
import { Outbox } from "../../shared/assets/outbox.js";

/** @import { Bounds, DrawTool, LayerHeader, World } from "../../messages.js" */
/** @import { Sight } from "../../shared/assets/base.js" */
/** @import { RegionView } from "./view.js" */
/** @typedef {LayerHeader & { png: Uint8Array<ArrayBuffer> }} PictureMessage */

const DEFAULTS = () => ({
  tool: /** @type {DrawTool} */ ("click"),
  views: /** @type {Record<string, Sight>} */ ({}), // by place
  // What people chose of each layer, and what the page wished for then.
  layers: /** @type {Record<string, { wish: string, on: boolean, opacity: number }>} */ ({}),
  base: { name: "", opacity: 1 },
  compare: { wish: "", mode: /** @type {"off" | "swipe" | "beside"} */ ("off"), left: "", right: "", at: 0.5 },
  legend: /** @type {boolean | undefined} */ (undefined), // whether it is open
  whole: "", // the sight of the whole area
  flown: /** @type {string | undefined} */ (undefined),
});
/** @typedef {ReturnType<typeof DEFAULTS>} Memory what people chose; survives a reload of the page */

export class RegionSession {
  /** @param {string} key */
  constructor(key) {
    this.key = key;
    this.store = `tessera-view-map:${key}`;
    this.memory = restore(this.store, DEFAULTS());
    this.outbox = new Outbox();
    /** @type {Map<string, PictureMessage>} */
    this.pictures = new Map();
    /** @type {World | null} */
    this.world = null;
    /** @type {RegionView | null} */
    this.view = null;
    this.keeping = 0;
  }

  keep() {
    clearTimeout(this.keeping);
    this.keeping = setTimeout(() => keep(this.store, this.memory), 300);
  }
}

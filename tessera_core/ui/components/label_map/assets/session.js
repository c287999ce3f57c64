// One session per key: what outlives the elements that Streamlit mounts and unmounts.

import { keep, restore } from "../../shared/assets/mounting.js";
import { Insight } from "./insight.js";
import { Queue } from "./queue.js";
import { Selection } from "./select.js";

/** @import { LabelHeader, PictureHeader } from "../../messages.js" */
/** @import { Sight } from "../../shared/assets/base.js" */
/** @import { Panel } from "./panel.js" */
/** @import { LabelView } from "./view.js" */
/** @typedef {{ on: boolean, opacity: number }} Shown */
/** @typedef {{ header: PictureHeader, png: Uint8Array<ArrayBuffer> }} PictureMessage */
/** @typedef {"select" | "point" | "brush" | "polygon" | "rectangle" | "erase" | "like" | "unlike"} ToolName */

const DEFAULTS = () => ({
  tool: /** @type {ToolName} */ ("point"),
  class: 0, // below 0: minus the number of the operation that adds it
  radius: 2,
  threshold: 0,
  hidden: /** @type {number[]} */ ([]),
  views: /** @type {Record<string, Sight>} */ ({}),
  layers: {
    labels: { on: true, opacity: 1 },
    classes: { on: true, opacity: 0.6 },
    confidence: { on: false, opacity: 0.85 },
    post_processed: { on: true, opacity: 1 },
    given: { on: true, opacity: 1 },
    groups: { on: true, opacity: 0.85 },
    similar: { on: true, opacity: 0.85 },
    dissimilarity: { on: false, opacity: 0.85 },
    sets: { on: false, opacity: 0.85 },
    truecolour: { on: true, opacity: 1 },
    // Beneath: what is seen where there is no photograph, and one click away where there is one.
    pca: { on: true, opacity: 1 },
    base: { on: false, opacity: 1, name: "" },
  },
  whole: "", // the sight of the whole area
  canvas: "", // the picture that was last wished for beside the map
  error: 0.1,
  swipe: { on: false, left: "", right: "classes", at: 0.5 }, // "": the ground, whatever shows it
});
// What may lie above the class map. Who comes back sees the map they made.
/** @type {(keyof ReturnType<typeof DEFAULTS>["layers"])[]} */
const COVERS = ["confidence", "post_processed", "given", "groups", "similar", "dissimilarity", "sets"];
/** Tools of a search for similar places: clicks are examples then, not labels. @type {ToolName[]} */
const SEARCHING = ["like", "unlike"];
/** @typedef {ReturnType<typeof DEFAULTS>} Memory what people chose; survives a reload of the page */
/** @typedef {keyof Memory["layers"]} LayerName */

export class LabelSession {
  /** @param {string} key */
  constructor(key) {
    this.store = `tessera-label-map:${key}`;
    this.memory = remembered(this.store);
    /** @type {LabelView | null} */
    this.view = null;
    /** @type {Panel | null} */
    this.panel = null;
    /** @type {{ confidence: boolean, selected: string, stamp?: string, view?: number[] }} */
    const wanted = { confidence: false, selected: "" };
    this.queue = new Queue(() => this.panel?.tick(), wanted);
    this.insight = new Insight(this);
    this.selection = new Selection(this);
    /** @type {Map<string, PictureMessage>} */
    this.pictures = new Map();
    /** @type {Set<string>} */
    this.noted = new Set();
    /** @type {LabelHeader | null} */
    this.header = null;
    this.before = 0;
    /** @type {ToolName} */
    this.tool = "point"; // the one before a search for similar places began
    this.keeping = 0;
  }

  keep() {
    clearTimeout(this.keeping);
    this.keeping = setTimeout(() => keep(this.store, this.memory), 300);
  }

  get searching() {
    return SEARCHING.includes(this.memory.tool);
  }

  // Whether Find similar is open, whose examples and layer are on the map as long.
  get seeking() {
    return this.panel?.similar.fold.open ?? false;
  }

  /** @param {ToolName} tool */
  setTool(tool) {
    if (SEARCHING.includes(tool) && !this.searching) this.tool = this.memory.tool;
    this.memory.tool = tool;
    this.keep();
    this.view?.tooled();
    this.panel?.fillSimilar();
  }

  // From now on clicks make labels again.
  endSearch() {
    if (this.searching) this.setTool(this.tool);
  }

  /** @param {number} id */
  choose(id) {
    this.memory.class = id;
    this.keep();
    this.panel?.fillClasses();
    this.view?.chosen();
  }

  /**
   * Chosen at once: labels that follow name the class by the operation that adds it.
   * @param {string} name
   */
  addClass(name) {
    const { view } = this;
    if (!view) return;
    view.toast.classList.remove("tl-on"); // "Add a class first."
    if (this.memory.class >= 0) this.before = this.memory.class;
    this.choose(-view.op({ do: "add_class", name }));
  }

  /**
   * @param {LabelHeader} header
   * @param {Uint8Array<ArrayBuffer>} png
   */
  receive(header, png) {
    this.header = header;
    const ours = this.queue.answered(header);
    const ids = header.classes.map((c) => c.id);
    if (ours && this.memory.class < 0 && header.ack >= -this.memory.class) {
      // The class that was chosen while it was being added has its id now (or was refused).
      const created = new Map(header.created).get(-this.memory.class);
      this.memory.class = created !== undefined && ids.includes(created) ? created : this.before;
      this.view?.chosen();
    }
    if (this.memory.class >= 0 && !ids.includes(this.memory.class)) this.memory.class = ids[0] ?? 0;
    this.view?.receive(header, png);
    this.panel?.receive(header);
    this.insight.mapped(header);
  }
}

/**
 * What is kept of earlier versions may lack layers, or name some that are gone.
 * @param {string} store
 */
function remembered(store) {
  const memory = DEFAULTS();
  /** @type {Partial<Memory>} */
  const kept = restore(store, {});
  /** @type {Record<string, Shown>} */
  const layers = memory.layers;
  for (const [name, value] of Object.entries(kept.layers ?? {})) Object.assign(layers[name] ?? {}, value);
  Object.assign(memory, { ...kept, layers, class: Math.max(0, kept.class ?? 0) });
  memory.layers.classes.on = true;
  for (const name of COVERS) memory.layers[name].on = DEFAULTS().layers[name].on;
  if (/** @type {string} */ (memory.tool) === "pan") memory.tool = "select"; // of an earlier version
  if (SEARCHING.includes(memory.tool)) memory.tool = "point";
  return memory;
}

// What is known about the map beside the map: asked for while nobody labels, told on a channel of its own.

import { Guide } from "./guide.js";
import { Queue } from "./queue.js";

/** @import { ExtraLayer, InsightHeader, LabelHeader, Operation, XY } from "../../messages.js" */
/** @import { LayerName, LabelSession } from "./session.js" */
/**
 * `skipped` are places that were suggested and passed over; a higher `tick` asks what the labels say now.
 * @typedef {{
 *   layers: string[], error: number, selected: string, skipped: XY[], similar: { pos: XY[], neg: XY[] }, tick: number,
 * }} Wishes
 */

const QUIET = 700; // milliseconds without a click before anything is asked
const AGAIN = 450; // between two looks while the answer is being worked out
const PATIENT = 1500; // the same while that takes long, as the rest of a large region does: a look is in a click's way
/** @type {LayerName[]} */
const MADE_ON_WISH = ["dissimilarity", "sets"];
/** @type {LayerName[]} */
const RESULTS = ["groups", "post_processed", "given"];

export class Insight {
  /** @param {LabelSession} session */
  constructor(session) {
    this.session = session;
    /** @type {Wishes} */
    const nothing = {
      layers: [],
      error: 0.1,
      selected: "",
      skipped: [],
      similar: { pos: [], neg: [] },
      tick: 0,
    };
    this.queue = new Queue(() => {}, nothing);
    /** @type {InsightHeader | null} */
    this.header = null;
    /** @type {number | null} */
    this.threshold = null; // likeness in percent from which on a place counts as similar
    this.guide = new Guide(this);
    this.scene = "";
    this.classes = "";
    this.timer = 0;
    this.choosing = 0;
  }

  get memory() {
    return this.session.memory;
  }

  // ------------------------------------------------------------------- asking

  // After every answer of the map: once the person pauses, ask what the labels say now.
  settle(delay = QUIET) {
    clearTimeout(this.timer);
    this.timer = setTimeout(() => {
      if (this.session.queue.pending.length || this.session.queue.busy) return this.settle();
      // An answer redraws the panel's own widgets, and that would close a list that is being chosen from.
      if (document.querySelector('[role="listbox"]')) return this.settle(AGAIN);
      this.queue.ask({ tick: this.queue.want.tick + 1 });
    }, delay);
  }

  /** @param {Partial<Wishes>} [changes] */
  wish(changes = {}) {
    const layers = MADE_ON_WISH.filter((name) => this.memory.layers[name].on);
    this.queue.ask({ layers, error: this.memory.error, ...changes });
  }

  /** @param {Operation} op */
  act(op) {
    this.queue.push(op);
  }

  // The list beside the map shows the label that was chosen on it; the map itself comes first.
  chose(delay = 150) {
    clearTimeout(this.choosing);
    this.choosing = setTimeout(() => {
      if (this.session.queue.busy || document.querySelector('[role="listbox"]')) return this.chose();
      this.wish({ selected: this.session.selection.id ?? "" });
    }, delay);
  }

  /** @param {LabelHeader} header of the map's answer */
  mapped(header) {
    if (!this.header || header.version !== this.header.version || header.scene !== this.scene) this.settle();
    this.scene = header.scene;
    const classes = JSON.stringify(header.classes.map((c) => [c.id, c.name, c.color]));
    if (classes !== this.classes && this.guide.kind) this.session.view?.marks.drawCard();
    this.classes = classes;
  }

  // ------------------------------------------------------------------ answers

  /** @param {InsightHeader} header */
  receive(header) {
    const { session } = this;
    const before = new Map((this.header?.layers ?? []).map((layer) => [layer.name, layer]));
    this.present(header.layers, before);
    this.receiveCanvas(header);
    this.header = header;
    this.queue.answered(header);
    if (header.epoch !== this.queue.epoch && MADE_ON_WISH.some((name) => this.memory.layers[name].on)) this.wish();
    for (const layer of header.layers) before.delete(layer.name);
    for (const gone of before.keys()) {
      session.pictures.delete(gone);
      session.view?.pictures.drop(gone);
    }
    this.receiveLikeness(header);
    for (const [id, text] of header.notes) session.view?.note(`side${header.epoch}${id}`, text);
    // Something beside the map changed what it should show: labels made of an area, a method, a year.
    const shown = session.header;
    if (shown && header.stamp !== shown.stamp && !session.queue.pending.length)
      session.queue.ask({ stamp: header.stamp });
    this.receiveChoice(header);
    this.guide.refresh();
    session.view?.marks.draw();
    session.view?.pictures.arrange();
    session.panel?.receiveInsight();
    clearTimeout(this.timer);
    if (header.pending) this.settle(header.patient ? PATIENT : AGAIN);
    else if (shown && header.ready && shown.version !== header.version) this.settle();
  }

  /** @param {InsightHeader} header */
  receiveLikeness({ similar }) {
    if (!similar?.areas) this.threshold = null;
    else if (this.threshold === null) {
      this.threshold = similar.start ?? null;
      // Its picture may have come first.
      this.session.view?.pictures.thresholdMoved();
    }
  }

  /** @param {InsightHeader} header the picture under the map may have been chosen beside it, or on another page */
  receiveCanvas({ canvas }) {
    const { memory, session } = this;
    if (memory.canvas === canvas.wish) return;
    memory.canvas = canvas.wish;
    memory.layers.truecolour.on = canvas.wish !== "pca";
    if (canvas.wish === "pca") memory.layers.pca.on = true;
    session.keep();
  }

  /** @param {InsightHeader} header a label may have been chosen in the list beside the map */
  receiveChoice({ chosen }) {
    const { selection, view } = this.session;
    if (!view?.header || chosen.number <= selection.told) return;
    selection.told = chosen.number;
    if (chosen.id) selection.choose(chosen.id, true);
    else selection.clear();
  }

  /**
   * What was just made is shown, and covers nothing else that was made; what was turned into labels makes way for the map.
   * @param {ExtraLayer[]} layers
   * @param {Map<string, ExtraLayer>} before
   */
  present(layers, before) {
    for (const { name, version, mode } of layers) {
      const result = RESULTS.find((known) => known === name);
      if (!result || !this.header || before.get(name)?.version === version) continue;
      for (const other of RESULTS) this.memory.layers[other].on = other === result && mode !== "used";
    }
  }

  // ------------------------------------------------------------------ similar

  get seeds() {
    return this.queue.want.similar;
  }

  /**
   * @param {XY} xy an example, or a counter-example
   * @param {boolean} like
   */
  seed(xy, like) {
    const { pos, neg } = this.seeds;
    this.memory.layers.similar.on = true;
    this.wish({ similar: like ? { pos: [...pos, xy], neg } : { pos, neg: [...neg, xy] } });
    this.seedsChanged();
  }

  /** @param {XY} xy */
  unseed(xy) {
    /** @type {(list: XY[]) => XY[]} */
    const keep = (list) => list.filter((other) => other !== xy);
    this.wish({ similar: { pos: keep(this.seeds.pos), neg: keep(this.seeds.neg) } });
    this.seedsChanged();
  }

  clearSeeds() {
    this.wish({ similar: { pos: [], neg: [] } });
    this.threshold = null;
    this.seedsChanged();
  }

  seedsChanged() {
    this.session.view?.marks.draw();
    this.session.panel?.receiveInsight();
  }
}

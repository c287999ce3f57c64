// The pictures of the labelling map: static ones, those that were worked out, and the class map with its confidence, whose
// palette is rewritten here.

import { used } from "../../shared/assets/used.js";
import { decode, indices, recolour, rgb } from "../../shared/assets/wire.js";
import { t } from "../../shared/assets/words.js";

/** @import { Bounds, LabelHeader, PictureHeader, XY } from "../../messages.js" */
/** @import { LayerName, PictureMessage } from "./session.js" */
/** @import { LabelView } from "./view.js" */
/** @import { Stage } from "../../shared/assets/stage.js" */
/**
 * The newest class map as it came; `plane` are its palette indices, once a pointer rests on it.
 * @typedef {{
 *   v: string, levels: number, bounds: Bounds, png: Uint8Array<ArrayBuffer>, header: LabelHeader, colours: string,
 *   plane?: Awaited<ReturnType<typeof indices>>, asked?: number,
 * }} ClassMap
 */

/** Heights of the panes, from low to high. @type {Record<string, number>} */
export const PANES = {
  pca: 310,
  truecolour: 320,
  classes: 340,
  post_processed: 342,
  given: 344,
  groups: 345,
  confidence: 350,
  dissimilarity: 360,
  sets: 362,
  similar: 364,
};
const PICTURES = /** @type {LayerName[]} */ (Object.keys(PANES));
// Of a large region: what is in sight lies in the pane of its layer, on what is known of all of it.
const IN_SIGHT = ["classes_view", "confidence_view"];
const MAPS = ["classes", "confidence", ...IN_SIGHT];
/** What a place looks like, and what the map says of it. @type {LayerName[]} */
const GROUND = ["truecolour", "pca"];
/** @type {LayerName[]} */
const SAID = ["classes", "post_processed", "given", "groups", "confidence", "dissimilarity", "sets"];
const NOTHING = [0, 0, 0, 0];
const UNSURE = [150, 150, 150, 255];
const REST = 250; // milliseconds for which a pointer rests before the class under it is looked up
// Cividis, which people with and without colour vision read alike (Nunez et al. 2018), from 0 to 100 %.
const CIVIDIS = [
  "#00224e",
  "#123570",
  "#3b496c",
  "#575d6d",
  "#707173",
  "#8a8678",
  "#a59c74",
  "#c3b369",
  "#e1cc55",
  "#fee838",
].map((hex) => [...rgb(hex), 255]);

const coloursOf = (/** @type {LabelHeader} */ header) => JSON.stringify(header.classes.map((c) => c.color));

export class Pictures {
  /** @param {LabelView} view */
  constructor(view) {
    this.view = view;
    this.session = view.session;
    this.memory = view.memory;
    /** @type {Map<string, string>} */
    this.versions = new Map(); // of the pictures that are shown or being decoded
    /** @type {ClassMap | null} */
    this.classMap = null;
    /** @type {{ header: PictureHeader, png: Uint8Array<ArrayBuffer> } | null} */
    this.rest = null; // the map of all of a large region
    this.painting = {};
    this.painted = {};
    this.laid = "";
    this.liking = {};
  }

  // Another place: all that was known is of the one before.
  renew() {
    this.versions.clear();
    this.rest = null;
    for (const name of [...this.view.stage.pictures.keys()]) this.view.stage.drop(name);
    for (const picture of this.session.pictures.values()) this.receive(picture);
  }

  forget() {
    this.versions.clear();
  }

  /** @param {string} name */
  drop(name) {
    this.versions.delete(name);
    this.view.stage?.drop(name);
  }

  /** @param {PictureMessage} message */
  receive(message) {
    const { header, png } = message;
    const { name, version, scene, bounds, mode } = header;
    const { view } = this;
    if (!view.header || scene !== view.header.scene || this.versions.get(name) === version) return;
    if (name === "rest") {
      this.versions.set(name, version);
      this.receiveRest(message);
      return;
    }
    this.drop(name);
    this.versions.set(name, version);
    const { stage } = view;
    const from = this.session.insight.threshold;
    decode(mode === "percent" ? this.likeness(png) : new Blob([png], { type: "image/png" })).then((bitmap) => {
      if (view.gone || view.stage !== stage || this.versions.get(name) !== version) return;
      stage.show(name, bitmap, bounds);
      this.arrange();
      if (mode === "percent" && from !== this.session.insight.threshold) this.thresholdMoved();
    });
  }

  // -------------------------------------------------------------------- likeness

  /**
   * Likeness is cached in the picture: index 1 + p stands for p percent, and the slider only rewrites colours.
   * @param {Uint8Array<ArrayBuffer>} png
   */
  likeness(png) {
    // Before a threshold is known nothing is alike.
    const from = this.session.insight.threshold ?? 101;
    return recolour(png, (i) => {
      if (!i || i - 1 < from) return NOTHING;
      const deep = (i - 1 - from) / Math.max(1, 100 - from);
      return [Math.round(240 - 80 * deep), Math.round(90 - 80 * deep), Math.round(190 - 50 * deep), 255];
    });
  }

  async thresholdMoved() {
    const picture = this.session.pictures.get("similar");
    const version = this.versions.get("similar");
    if (!picture || !version) return;
    this.liking = {};
    const { liking, view } = this;
    const { stage } = view;
    const bitmap = await decode(this.likeness(picture.png));
    if (this.liking === liking && this.versions.get("similar") === version && view.stage === stage && !view.gone)
      stage.show("similar", bitmap, picture.header.bounds);
  }

  // ------------------------------------------------------------------- class map

  /**
   * @param {LabelHeader} header
   * @param {Uint8Array<ArrayBuffer>} png
   */
  receiveMap(header, png) {
    const known = this.classMap;
    const colours = coloursOf(header);
    if (!header.map) {
      this.classMap = this.rest = null;
      this.versions.delete("rest");
      for (const name of MAPS) this.drop(name);
      this.arrange();
    } else if (known?.v !== header.map.v || known.colours !== colours) {
      this.classMap = { ...header.map, png, header, colours };
      this.paintMap();
      // The rest stays as it is until another one comes.
      if (known?.colours !== colours) this.paintRest();
      return;
    }
    this.view.shown(header);
  }

  /** @param {PictureMessage} message the map of all of a large region, which comes after that of what is in sight */
  receiveRest(message) {
    this.rest = message;
    this.paintRest();
  }

  // Colours, hidden classes or the threshold have changed.
  repaint() {
    this.paintMap();
    this.paintRest();
  }

  /**
   * Class map, and confidence where it is shown, from the same pixels with two palettes.
   * @param {Uint8Array<ArrayBuffer>} png
   * @param {number} levels
   * @param {number[]} ids classes in the order of the palette
   * @param {LabelHeader} header
   */
  paintings(png, levels, ids, header) {
    const { threshold, hidden } = this.memory;
    const shown = new Map(header.classes.map((c) => [c.id, hidden.includes(c.id) ? NOTHING : [...rgb(c.color), 255]]));
    const colours = ids.map((id) => shown.get(id) ?? NOTHING);
    /** @type {(i: number) => number[]} */
    const classColour = (i) => {
      if (!i) return NOTHING;
      const level = (i - 1) % levels;
      const sure = levels === 1 || ((level + 0.5) * 100) / levels >= threshold;
      const colour = colours[Math.floor((i - 1) / levels)] ?? NOTHING;
      return sure || !colour[3] ? colour : UNSURE;
    };
    const jobs = [decode(recolour(png, classColour))];
    if (levels > 1 && this.memory.layers.confidence.on) {
      /** @type {(i: number) => number[]} */
      const colourOf = (i) => (i ? CIVIDIS[Math.floor((((i - 1) % levels) * CIVIDIS.length) / levels)] : NOTHING);
      jobs.push(decode(recolour(png, colourOf)));
    }
    return Promise.all(jobs);
  }

  /**
   * @param {Stage} stage
   * @param {[ImageBitmap, ImageBitmap?]} made
   * @param {Bounds} bounds
   * @param {string} of what stands behind the names of the pictures
   */
  lay(stage, [classes, confidence], bounds, of) {
    stage.show(`classes${of}`, classes, bounds);
    if (confidence) stage.show(`confidence${of}`, confidence, bounds);
    else stage.drop(`confidence${of}`);
    this.arrange();
  }

  // The newest wins; stale ones are dropped.
  async paintMap() {
    const source = this.classMap;
    if (!source) return;
    const { header, levels, png, bounds } = source;
    this.painting = {};
    const { painting, view } = this;
    const { stage } = view;
    const ids = header.classes.map((c) => c.id);
    const made = /** @type {[ImageBitmap, ImageBitmap?]} */ (await this.paintings(png, levels, ids, header));
    if (view.gone || this.painting !== painting || view.stage !== stage) return;
    const of = header.large ? "_view" : "";
    // Another sight is another picture.
    if (of && `${bounds}` !== this.laid) for (const name of IN_SIGHT) stage.drop(name);
    this.laid = `${bounds}`;
    this.lay(stage, made, bounds, of);
    view.shown(header);
  }

  async paintRest() {
    const source = this.rest;
    const { header } = this.view;
    if (!source || !header?.large) return;
    this.painted = {};
    const { painted, view } = this;
    const { stage } = view;
    const { levels = 1, classes = [], bounds } = source.header;
    const made = /** @type {[ImageBitmap, ImageBitmap?]} */ (await this.paintings(source.png, levels, classes, header));
    if (!view.gone && this.painted === painted && view.stage === stage && this.rest === source)
      this.lay(stage, made, bounds, "");
  }

  // -------------------------------------------------------------------- layers

  get pair() {
    const { swipe } = this.memory;
    if (!swipe.on || this.session.insight.guide.asks) return null;
    return /** @type {[string, string]} */ ([this.side("left"), this.side("right")]);
  }

  /**
   * Which layer is on a side of the divider: the one that was chosen, or the ground.
   * @param {"left" | "right"} which
   */
  side(which) {
    const known = this.view.header?.pictures ?? [];
    return this.memory.swipe[which] || (GROUND.find((name) => known.includes(name)) ?? "pca");
  }

  /**
   * Whether a layer is in sight when nothing is being compared. While a place is asked about, what the map says of it is not,
   * and the ground is.
   * @param {LayerName} name
   */
  wanted(name) {
    const { layers } = this.memory;
    const { guide } = this.session.insight;
    if (name === "similar" && !this.session.seeking) return false;
    if (guide.asks && SAID.includes(name)) return false;
    if (guide.peeking && name === "classes") return true;
    return layers[name].on || (guide.asks && GROUND.includes(name) && !GROUND.some((other) => layers[other].on));
  }

  toggleMap() {
    const layer = this.memory.layers.classes;
    const { guide } = this.session.insight;
    if (guide.place) guide.peek();
    else {
      layer.on = !layer.on;
      used("label.layer.classes");
    }
    this.view.keep();
    this.arrange();
    this.session.panel?.fillLayers();
  }

  // What satellites saw, or the embeddings as colours; says what is seen now.
  toggleGround() {
    const { layers } = this.memory;
    const { canvas } = this.session.insight.header ?? {};
    if (!canvas || !this.view.header?.pictures.includes("truecolour")) return;
    layers.truecolour.on = !layers.truecolour.on;
    used("label.layer.truecolour");
    if (!layers.truecolour.on) layers.pca.on = true;
    const { title, sentence } = layers.truecolour.on ? canvas.satellite : canvas.embedding;
    this.view.say(`${title}. ${sentence}`);
    this.view.keep();
    this.arrange();
    this.session.panel?.fillLayers();
  }

  // Which pictures are in sight, and what else a choice of layers changes.
  arrange() {
    const { view, pair } = this;
    const { layers, threshold } = this.memory;
    const on = PICTURES.filter((name) => (pair ? pair.includes(name) : this.wanted(name)));
    view.peek.disabled = !this.classMap || pair !== null;
    view.peek.setAttribute("aria-pressed", String(!on.includes("classes")));
    if (view.header && view.stages.length) {
      const { stage } = view;
      stage.arrange(new Map(on.map((name) => [name, pair ? 1 : layers[name].opacity])), PICTURES);
      const ink = stage.styleOf("ink");
      if (ink) Object.assign(ink, { display: layers.labels.on ? "" : "none", opacity: `${layers.labels.opacity}` });
      view.marks.showAll();
      this.base(view.header);
      this.compare();
    }
    view.session.queue.ask({
      confidence: layers.confidence.on || threshold > 0 || (pair?.includes("confidence") ?? false),
    });
  }

  /**
   * The base map that is chosen, or the first.
   * @param {LabelHeader | null} header
   */
  source(header) {
    const base = header?.base ?? [];
    return base.find(({ name }) => name === this.memory.layers.base.name) ?? base[0] ?? null;
  }

  /** @param {LabelHeader} header */
  base(header) {
    const { base } = this.memory.layers;
    const source = this.source(header);
    const { stage, caption } = this.view;
    const wanted = base.on && stage.frame.kind === "mercator" ? source : null;
    // On what the place looks like, below what the map says of it.
    stage.liftBase(wanted && !this.pair ? PANES.classes - 1 : null);
    stage.base(wanted, base.opacity, (missing) => (caption.hidden = !missing));
  }

  compare() {
    const { divider, stage } = this.view;
    const { pair } = this;
    const { at } = this.memory.swipe;
    divider.hidden = !pair;
    divider.style.left = `${100 * at}%`;
    stage?.compare(pair, at);
  }

  // ------------------------------------------------------------------- read-out

  /**
   * The class of the map at a place, and how sure it is.
   * @param {XY} xy
   */
  classAt([x, y]) {
    const source = this.classMap;
    if (!source?.plane) {
      // Only once the pointer rests: while labels follow each other quickly, nobody reads it.
      if (source)
        source.asked ??= setTimeout(async () => {
          if (this.classMap === source) source.plane = await indices(source.png);
        }, REST);
      return "";
    }
    const { plane, width, height } = source.plane;
    const at = pixelAt(source.bounds, width, height, x, y);
    const i = at < 0 ? 0 : plane[at];
    if (!i) return "";
    const { levels } = source;
    const found = source.header.classes[Math.floor((i - 1) / levels)];
    const percent = levels > 1 ? t(", {n} % sure", { n: Math.round(((((i - 1) % levels) + 0.5) * 100) / levels) }) : "";
    return found ? `${found.name}${percent}` : "";
  }
}

/**
 * @param {Bounds} bounds
 * @param {number} width
 * @param {number} height
 * @param {number} x
 * @param {number} y
 * @returns {number} which of its pixels shows a place, or -1
 */
function pixelAt([west, south, east, north], width, height, x, y) {
  const col = Math.floor(((x - west) / (east - west)) * width);
  const row = Math.floor(((north - y) / (north - south)) * height);
  return col < 0 || row < 0 || col >= width || row >= height ? -1 : row * width + col;
}

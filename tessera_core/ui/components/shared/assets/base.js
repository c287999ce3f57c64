// What every map of ours has around its stages: box, toolbar, divider, title, read-out, and the canvas for unfinished shapes.

import { el, icon } from "./dom.js";
import { makeDivider, press } from "./toolbar.js";
import { t } from "./words.js";

/** @import { FrameKind, Hub } from "../../messages.js" */
/** @import { Gestures } from "./gestures.js" */
/** @import { Leaflet } from "./layers.js" */
/** @import { Stage } from "./stage.js" */
/** @typedef {{ center: [number, number], zoom: number }} Sight what part of the world is in sight */

const UNREACHABLE = t(
  "The base map cannot be shown: it needs the internet, and its service must answer with pictures.",
);

export class BaseView {
  /**
   * @param {Hub & { L: Leaflet }} hub
   * @param {HTMLElement} root
   * @param {string} css
   * @param {string} label read out for the map
   */
  constructor(hub, root, css, label) {
    this.L = hub.L;
    this.root = root;
    this.gone = false;
    this.placed = false; // whether it shows what it should since it was made
    this.fitting = false; // whether the next move is to the whole area
    /** @type {Stage[]} */
    this.stages = [];
    /** @type {Gestures<any> | null} */
    this.gestures = null;
    this.resizer = new ResizeObserver(() => this.resized());
    this.box = el("div", { class: `tl-box ${css}`, tabIndex: 0, role: "application", "aria-label": label });
    this.draft = el("canvas", { class: "tl-draft" });
    this.cross = el("div", { class: "tl-cross" });
    this.title = el("div", { class: "tl-title tl-plate" });
    this.caption = el("div", { class: "tl-caption tl-plate", hidden: true }, UNREACHABLE);
    this.readout = el("div", { class: "tl-readout tl-plate" });
    this.bottom = el("div", { class: "tl-bottom" }, this.readout);
    this.divider = makeDivider(
      this.box,
      (at) => this.divided(at),
      () => this.keep(),
    );
    const finish = () => this.gestures?.finish();
    const abandon = () => this.gestures?.abandon();
    this.finisher = el(
      "div",
      { class: "tl-control tl-finish", hidden: true },
      el(
        "button",
        { type: "button", class: "tl-button tl-primary", onclick: finish },
        icon("check"),
        t("Finish shape"),
      ),
      el("button", { type: "button", class: "tl-button", onclick: abandon }, t("Cancel")),
    );
    this.zoom = el(
      "div",
      { class: "tl-control tl-group tl-zoom" },
      press("plus", t("Zoom in (+)"), () => this.map.zoomIn()),
      press("minus", t("Zoom out (-)"), () => this.map.zoomOut()),
      press("home", t("Show the whole area"), () => this.fit()),
    );
  }

  destroy() {
    this.gone = true;
    this.removeStages();
  }

  // What a kind of map does in its own way.

  /** @param {number} _at where the divider was moved to */
  divided(_at) {}
  keep() {}
  fit() {}
  resized() {}
  /** @param {PointerEvent | null} _event of a mouse or pen over the map, or nothing */
  pointed(_event) {}

  // --------------------------------------------------------------------- stages

  get stage() {
    return this.stages[0];
  }

  get map() {
    return this.stage.map;
  }

  // Stages are made anew when the frame changes: a place on Earth, or plain pixels.
  /** @param {FrameKind} kind */
  showsFrame(kind) {
    return this.stages.length > 0 && this.stage.frame.kind === kind;
  }

  removeStages() {
    this.resizer.disconnect();
    this.scaleBar?.getContainer()?.remove();
    this.scaleBar = undefined;
    for (const stage of this.stages) stage.destroy();
    this.stages = [];
    this.placed = false;
  }

  /** @param {Stage[]} stages */
  useStages(stages) {
    this.stages = stages;
    if (this.stage.frame.kind === "mercator") {
      this.scaleBar = this.L.control.scale({ imperial: false, maxWidth: 120 }).addTo(this.map);
      this.bottom.prepend(/** @type {HTMLElement} */ (this.scaleBar.getContainer()));
    }
    this.resizer.observe(this.box);
  }

  /** @returns {Sight} */
  get sight() {
    const c = this.map.getCenter();
    return { center: [c.lat, c.lng], zoom: this.map.getZoom() };
  }

  // Whoever sees the whole area goes on seeing it when the map becomes smaller or larger.
  /** @param {{ whole: string }} memory */
  seesWhole({ whole }) {
    return this.placed && whole === JSON.stringify(this.sight);
  }

  /** @param {{ whole: string }} memory */
  noteWhole(memory) {
    if (this.fitting) memory.whole = JSON.stringify(this.sight);
    this.fitting = false;
  }

  /** @param {Sight} sight */
  look({ center, zoom }) {
    this.map.setView(center, zoom, { animate: false });
  }

  /**
   * The stage under a pointer.
   * @param {MouseEvent} event
   */
  stageAt(event) {
    const under = this.stages.find((stage) => {
      const { left, right } = stage.box.getBoundingClientRect();
      return event.clientX >= left && event.clientX < right;
    });
    return under ?? this.stage;
  }

  /**
   * Whether an event is about the map, not about what stands on it.
   * @param {Event} event
   */
  onMap(event) {
    return !event
      .composedPath()
      .some((node) => node instanceof Element && (node.classList.contains("tl-control") || node.tagName === "A"));
  }

  // ----------------------------------------------------------------- what is said

  /** @param {{ title: string, subtitle: string, frame: FrameKind }} header */
  fillTitle({ title, subtitle, frame }) {
    const words = [title ? el("b", {}, title) : "", subtitle ? ` ${subtitle}` : ""];
    const north = el("span", { title: t("North is up"), class: "tl-north" }, icon("north"), "N");
    this.title.replaceChildren(...(title || subtitle ? [el("span", {}, ...words)] : []));
    if (frame === "mercator") this.title.append(north);
    this.title.hidden = !this.title.childNodes.length;
  }

  /**
   * Tells tests and benchmarks which state has reached the screen: the second frame callback runs after the first was painted.
   * @param {() => void} tell
   */
  afterPaint(tell) {
    requestAnimationFrame(() => requestAnimationFrame(tell));
  }

  // The canvas above the map, empty.
  draftContext() {
    const ratio = window.devicePixelRatio || 1;
    const width = Math.round(this.box.clientWidth * ratio);
    const height = Math.round(this.box.clientHeight * ratio);
    if (this.draft.width !== width || this.draft.height !== height) Object.assign(this.draft, { width, height });
    const context = /** @type {CanvasRenderingContext2D} */ (this.draft.getContext("2d"));
    context.setTransform(1, 0, 0, 1, 0, 0);
    context.clearRect(0, 0, width, height);
    context.setTransform(ratio, 0, 0, ratio, 0, 0);
    return context;
  }
}

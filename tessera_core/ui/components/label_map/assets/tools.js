// The tools of the labelling map: what pointers and keys do becomes operations.
//
// Mouse: click = point or choose, drag = pan with the point and select tools (a handle of the chosen label moves it), draw with
// the others; middle button or Space pans always.

import { boxed, thin } from "../../shared/assets/geometry.js";
import { Gestures } from "../../shared/assets/gestures.js";
import { t } from "../../shared/assets/words.js";
import { drawShape } from "./labels.js";

/** @import { Shape, XY } from "../../messages.js" */
/** @import { Draft, Pointer } from "../../shared/assets/gestures.js" */
/** @import { Grip } from "./select.js" */
/** @import { ToolName } from "./session.js" */
/** @import { LabelView } from "./view.js" */

/** @type {[Exclude<ToolName, "like" | "unlike">, string, string][]} */
const KNOWN = [
  ["select", t("Select: click a label, drag to move the map"), "V"],
  ["point", t("Point: click a place"), "D"],
  ["brush", t("Brush: paint over pixels"), "B"],
  ["polygon", t("Polygon: click corners, or draw around"), "P"],
  ["rectangle", t("Rectangle"), "R"],
  ["erase", t("Erase labels"), "E"],
];
export const TOOLS = KNOWN.map(([tool, label, key]) => ({ tool, icon: tool, title: `${label} (${key})`, label }));
/** @type {Record<string, ToolName>} */
const BY_KEY = { ...Object.fromEntries(KNOWN.map(([tool, , key]) => [key.toLowerCase(), tool])), s: "select" };
/** @type {Record<string, XY>} */
const ARROWS = { arrowleft: [-1, 0], arrowright: [1, 0], arrowup: [0, 1], arrowdown: [0, -1] };
const DRAWS = new Set(["brush", "polygon", "rectangle", "erase"]);
const SIZED = new Set(["brush", "erase"]);
const FIELDS = "input:not([type=range]):not([type=checkbox]), textarea, select, [contenteditable]";

/** @extends {Gestures<LabelView>} */
export class Tools extends Gestures {
  /** @param {LabelView} view */
  constructor(view) {
    super(view);
    this.space = false;
    /** @type {number | null} */
    this.panning = null; // the pointer that moves the map
    /** @type {(Grip & { pointer: number }) | null} */
    this.grip = null; // the handle of the chosen label that is being dragged
    /** @type {string | null} */
    this.pointing = null; // form of the pointer over a label
    const { box } = view;
    // Before Leaflet, which would drag the map.
    box.addEventListener("pointerdown", (event) => this.grasp(event), true);
    box.addEventListener("contextmenu", (event) => event.preventDefault());
    box.addEventListener("mousedown", (event) => event.button === 1 && event.preventDefault());
    // Window, capture phase: before Streamlit's own shortcuts (R reruns the page).
    this.keyDown = (/** @type {KeyboardEvent} */ event) => this.key(event);
    this.keyUp = (/** @type {KeyboardEvent} */ event) => this.released(event);
    window.addEventListener("keydown", this.keyDown, true);
    window.addEventListener("keyup", this.keyUp, true);
  }

  destroy() {
    window.removeEventListener("keydown", this.keyDown, true);
    window.removeEventListener("keyup", this.keyUp, true);
  }

  get tool() {
    return this.view.memory.tool;
  }

  get sized() {
    return SIZED.has(this.tool);
  }

  get selection() {
    return this.view.session.selection;
  }

  get seeds() {
    return this.view.session.searching;
  }

  // ------------------------------------------------------------------- pointers

  /** @param {PointerEvent} event */
  grasp(event) {
    if (this.tool !== "select" || this.space || event.button !== 0 || this.pointers.size) return;
    if (!this.view.stages.length || !this.view.onMap(event)) return;
    const at = this.view.map.mouseEventToContainerPoint(event);
    const grip = this.selection.grip(at, this.view.stage.xy(event), event.pointerType === "touch");
    if (!grip) return;
    this.grip = { ...grip, pointer: event.pointerId };
    this.view.map.dragging.disable();
  }

  /** @param {PointerEvent} event */
  grasped(event) {
    const pans = event.button === 1 || (event.button === 0 && this.space);
    if (pans) this.panning = event.pointerId;
    if (pans || this.grip) this.view.box.setPointerCapture(event.pointerId);
    return pans;
  }

  mayDraw() {
    return DRAWS.has(this.tool) && (this.tool === "erase" || this.view.needClass());
  }

  /**
   * @param {PointerEvent} event
   * @param {Pointer | undefined} pointer
   */
  moved(event, pointer) {
    if (pointer && this.panning === event.pointerId) {
      this.view.map.panBy([pointer.x - event.clientX, pointer.y - event.clientY], { animate: false });
      pointer.x = event.clientX;
      pointer.y = event.clientY;
    }
    if (this.tool !== "select" || !this.view.stages.length) return;
    // The handle follows, and the pointer's form says what a press would do.
    const xy = this.view.stage.xy(event);
    if (this.grip?.pointer === event.pointerId && pointer?.moved) this.selection.drag(this.grip, xy);
    if (this.pointers.size || !this.hover) return;
    const at = this.view.map.mouseEventToContainerPoint(event);
    const over = this.selection.grip(at, xy, false)
      ? "move"
      : this.selection.under(xy, false).length
        ? "pointer"
        : null;
    if (over === this.pointing) return;
    this.pointing = over;
    this.view.cursor();
  }

  /**
   * @param {PointerEvent} event
   * @param {Pointer | undefined} pointer
   */
  letGo(event, pointer) {
    if (this.panning === event.pointerId) {
      this.panning = null;
      return true;
    }
    if (!pointer || this.grip?.pointer !== event.pointerId) return false;
    this.release(true);
    return pointer.moved;
  }

  /**
   * Takes the handle off the pointer.
   * @param {boolean} kept whether the label stays where it was dragged
   */
  release(kept) {
    if (!this.grip) return;
    this.grip = null;
    this.selection.drop(kept);
    this.view.cursor();
  }

  givenUp() {
    this.release(false);
  }

  /** @param {PointerEvent} event */
  cancelled(event) {
    this.panning = null;
    super.cancelled(event);
  }

  get follows() {
    return this.sized || this.corners !== null;
  }

  /** @param {PointerEvent} event */
  clicked(event) {
    const { view } = this;
    const xy = view.stage.xy(event);
    if (this.tool === "select") this.selection.pick(xy, event.pointerType === "touch");
    else if (this.seeds) view.session.insight.seed(xy, this.tool === "like");
    else if (this.tool === "point" && view.needClass()) view.add("point", [xy], 0);
  }

  // -------------------------------------------------------------------- drawing

  /**
   * Half a pixel of the scene is as fine as a label can be.
   * @param {Draft} draft
   * @param {XY} xy
   */
  extend(draft, xy) {
    const [lastX, lastY] = draft.xy[draft.xy.length - 1];
    if (Math.hypot(xy[0] - lastX, xy[1] - lastY) >= 0.5 * this.view.pixel) draft.xy.push(xy);
  }

  /** @param {Draft} draft */
  commit({ tool, xy }) {
    const { view } = this;
    const { pixel } = view;
    if (tool === "rectangle") {
      if (xy.length < 2) return;
      const [from, to] = xy;
      if (Math.abs(to[0] - from[0]) < 0.3 * pixel || Math.abs(to[1] - from[1]) < 0.3 * pixel) return;
      view.add(tool, boxed(from, to), 0);
    } else if (tool === "polygon") {
      if (xy.length > 2) view.add(tool, thin(xy, 0.35 * pixel), 0);
    } else view.add(/** @type {ToolName} */ (tool), thin(xy, 0.25 * pixel), view.memory.radius);
  }

  /** @param {XY[]} corners */
  complete(corners) {
    this.view.add("polygon", corners, 0);
  }

  // The unfinished shape and the brush's outline.
  draw() {
    const { view } = this;
    const context = view.draftContext();
    const t = view.stage.screen();
    const colour = this.tool === "erase" ? "#ffffff" : view.colourOf(view.memory.class, "#ffffff");
    /** @type {(shape: Shape, dot?: number) => void} */
    const put = (shape, dot = 0) => drawShape(context, t, shape, colour, dot);
    if (this.selection.draft) this.selection.draw(context, t);
    if (this.draft) {
      const { tool, xy } = this.draft;
      if (tool === "rectangle" && xy.length === 2) put([0, "a", 0, boxed(xy[0], xy[1]).flat()]);
      else if (tool === "polygon") put([0, "a", 0, xy.flat()]);
      else if (SIZED.has(tool)) put([0, "b", view.memory.radius, xy.flat()]);
    }
    if (this.corners) {
      const { xy } = this.corners;
      put([0, "a", 0, [...xy, ...(this.hover ? [view.stage.xy(this.hover)] : [])].flat()]);
      for (const corner of xy) put([0, "p", 0, corner], 5);
    }
    if (!this.sized || !this.hover) return;
    const p = view.map.mouseEventToContainerPoint(this.hover);
    const r = Math.max(view.memory.radius * Math.abs(t.pixel), 2);
    context.beginPath();
    context.arc(p.x, p.y, r, 0, 2 * Math.PI);
    context.lineWidth = 3;
    context.strokeStyle = "rgba(0,0,0,.6)";
    context.stroke();
    context.lineWidth = 1.5;
    context.strokeStyle = "#fff";
    context.stroke();
  }

  // ----------------------------------------------------------------------- keys

  /** @param {KeyboardEvent} event */
  key(event) {
    const target = /** @type {HTMLElement} */ (event.composedPath()[0]);
    const { view } = this;
    if (target.matches?.(FIELDS) || event.altKey || !view.visible || !view.header) return;
    const key = event.key.toLowerCase();
    if (target === view.box && !this.pointers.size && /^(arrow|enter|tab|[+-])/.test(key))
      view.box.classList.add("tl-keys");
    const command = event.ctrlKey || event.metaKey;
    if (!(command || event.shiftKey ? this.keyWith(event, key, command) : this.plainKey(target, key))) return;
    event.preventDefault();
    event.stopImmediatePropagation();
  }

  /**
   * A key with Shift, Control or Command; whether it means anything.
   * @param {KeyboardEvent} event
   * @param {string} key
   * @param {boolean} command
   */
  keyWith(event, key, command) {
    const { view, selection } = this;
    const selects = !command && event.shiftKey && this.tool === "select";
    if (selects && selection.entry && ARROWS[key] && !isField(event.composedPath()[0])) selection.nudge(...ARROWS[key]);
    else if (selects && key === "n") selection.next(-1);
    else if (command && key === "z") view.op({ do: event.shiftKey ? "redo" : "undo" });
    else if (command && key === "y") view.op({ do: "redo" });
    else return false;
    return true;
  }

  /**
   * @param {HTMLElement} target
   * @param {string} key
   */
  plainKey(target, key) {
    const { view, selection } = this;
    const { guide } = view.session.insight;
    const chosen = this.tool === "select" && selection.entry;
    if (key === "z") view.op({ do: "undo" });
    else if (key === "y") view.op({ do: "redo" });
    else if (key >= "1" && key <= "9") view.chooseAt(Number(key) - 1);
    else if (BY_KEY[key]) view.session.setTool(BY_KEY[key]);
    else if (key === "m") view.pictures.toggleMap();
    else if (key === "c") view.pictures.toggleGround();
    else if (key === "[") view.setRadius(view.memory.radius - 1);
    else if (key === "]") view.setRadius(view.memory.radius + 1);
    else if ((key === "delete" || key === "backspace") && chosen && !isField(target)) selection.remove();
    else if (key === "n" && guide.kind) guide.skip();
    else if (key === "n" && this.tool === "select") selection.next();
    else if (key === "n") guide.next();
    else if (key === "escape") return this.escape();
    else if (key === "enter" && this.corners) this.finish();
    else if (key === "enter" && target === view.box) this.here();
    else if (key === " " && !target.matches?.("button, summary, a, input")) {
      this.space = true;
      view.cursor();
    } else return false;
    return true;
  }

  // Leaves what is innermost.
  escape() {
    const { view, selection } = this;
    const { guide } = view.session.insight;
    if (this.corners || this.draft || this.grip) this.abandon();
    else if (guide.kind) guide.leave();
    else if (this.tool === "select" && selection.entry) selection.clear();
    else if (this.seeds) view.session.endSearch();
    else return false;
    return true;
  }

  /** @param {KeyboardEvent} event */
  released(event) {
    if (event.key !== " " || !this.space) return;
    this.space = false;
    this.view.cursor();
  }

  // Keyboard only: Enter labels what lies under the cross in the middle.
  here() {
    const { view } = this;
    const { middle } = view.stage;
    if (this.tool === "select") return this.selection.pick(middle, false);
    if (this.seeds) return view.session.insight.seed(middle, this.tool === "like");
    const tool = this.sized ? this.tool : "point";
    if (tool !== "erase" && !view.needClass()) return;
    view.add(tool, [middle], this.sized ? view.memory.radius : 0);
  }
}

/** @param {EventTarget} target */
const isField = (target) => target instanceof HTMLElement && target.matches("input, select");

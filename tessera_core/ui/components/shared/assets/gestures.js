// Drawing on a map with pointers: a box or a stroke by dragging, a polygon by corners or by drawing around.
//
// Touch: one finger draws, two fingers pan and zoom (Leaflet's own pinch); a second finger takes a stroke back.

/** @import { XY } from "../../messages.js" */
/** @import { BaseView } from "./base.js" */
/** @import { Stage } from "./stage.js" */
/**
 * A shape under way; `pointer` is the one that drags it.
 * @typedef {{ tool: string, stage: Stage, xy: XY[], pointer: number }} Draft
 */
/** @typedef {{ x: number, y: number, moved: boolean }} Pointer where it was pressed, and whether it has left there */

const CLICK = 6; // a pointer that moved less than this many screen pixels has clicked
const NEAR = { mouse: 11, touch: 22 }; // a click this near to the first corner closes a polygon
const SAME = 3;

/** @template {BaseView} V */
export class Gestures {
  /** @param {V} view */
  constructor(view) {
    this.view = view;
    /** @type {Map<number, Pointer>} */
    this.pointers = new Map();
    this.multi = false; // whether a second finger was down since the first
    /** @type {Draft | null} */
    this.draft = null;
    /** @type {{ stage: Stage, xy: XY[] } | null} */
    this.corners = null; // polygon under construction by single clicks
    /** @type {PointerEvent | null} */
    this.hover = null; // of a mouse or pen over the map
    this.frameAsked = 0;
    const { box } = view;
    box.addEventListener("pointerdown", (event) => this.down(event));
    box.addEventListener("pointermove", (event) => this.move(event));
    box.addEventListener("pointerup", (event) => this.up(event));
    box.addEventListener("pointercancel", (event) => this.cancelled(event));
    box.addEventListener("pointerleave", () => this.leave());
    box.addEventListener("dblclick", (event) => {
      if (view.onMap(event) && this.corners) this.finish();
    });
  }

  // What a kind of map does in its own way.

  get tool() {
    return "";
  }

  /** Whether the chosen tool draws, now. */
  mayDraw() {
    return false;
  }

  /**
   * A pointer that does something else than drawing.
   * @param {PointerEvent} _event
   */
  grasped(_event) {
    return false;
  }

  /**
   * A dragged pointer's way.
   * @param {PointerEvent} _event
   * @param {Pointer | undefined} _pointer
   */
  moved(_event, _pointer) {}

  /**
   * What was grasped is let go; whether there was anything.
   * @param {PointerEvent} _event
   * @param {Pointer | undefined} _pointer
   */
  letGo(_event, _pointer) {
    return false;
  }

  /**
   * @param {Draft} draft
   * @param {XY} xy
   */
  extend(draft, xy) {
    draft.xy.push(xy);
  }

  /**
   * A shape that was drawn by dragging.
   * @param {Draft} _draft
   * @param {boolean} _moved
   */
  commit(_draft, _moved) {}

  /**
   * A polygon of corners, three at least.
   * @param {XY[]} _corners
   */
  complete(_corners) {}

  /** @param {PointerEvent} _event */
  clicked(_event) {}

  /** What was under way is given up. */
  givenUp() {}

  /** Draws what is unfinished. */
  draw() {}

  /** Whether something follows the pointer, so that every move is drawn. */
  get follows() {
    return this.corners !== null;
  }

  // ------------------------------------------------------------------- pointers

  /** @param {PointerEvent} event */
  down(event) {
    const { view } = this;
    view.box.classList.remove("tl-keys");
    if (!view.stages.length || !view.onMap(event)) return;
    this.pointers.set(event.pointerId, { x: event.clientX, y: event.clientY, moved: false });
    if (this.pointers.size > 1) {
      this.multi = true;
      return this.takeBack();
    }
    if (this.grasped(event) || event.button !== 0 || !this.mayDraw()) return;
    view.box.setPointerCapture(event.pointerId);
    const stage = view.stageAt(event);
    this.draft = { tool: this.tool, stage, xy: [stage.xy(event)], pointer: event.pointerId };
    this.paint();
  }

  /** @param {PointerEvent} event */
  move(event) {
    const { draft } = this;
    this.hover = this.view.onMap(event) && event.pointerType !== "touch" ? event : null;
    const pointer = this.pointers.get(event.pointerId);
    if (pointer && Math.hypot(event.clientX - pointer.x, event.clientY - pointer.y) > CLICK) pointer.moved = true;
    this.moved(event, pointer);
    if (draft?.pointer === event.pointerId) {
      const { stage } = draft;
      if (draft.tool === "box" || draft.tool === "rectangle") draft.xy[1] = stage.xy(event);
      else for (const e of event.getCoalescedEvents?.() ?? [event]) this.extend(draft, stage.xy(e));
      this.paint();
    } else if (this.follows) this.paint();
    this.view.pointed(this.hover);
  }

  /** @param {PointerEvent} event */
  up(event) {
    const pointer = this.pointers.get(event.pointerId);
    this.pointers.delete(event.pointerId);
    const several = this.multi;
    if (!this.pointers.size) this.multi = false;
    if (this.letGo(event, pointer) || !pointer) return;
    const { draft } = this;
    if (draft?.pointer === event.pointerId) {
      this.draft = null;
      if (draft.tool === "polygon" && !pointer.moved) this.corner(draft.stage, draft.xy[0], event.pointerType);
      else this.commit(draft, pointer.moved);
      this.paint();
    } else if (!pointer.moved && !several && event.button === 0 && this.view.onMap(event)) this.clicked(event);
  }

  /** @param {PointerEvent} event */
  cancelled(event) {
    this.pointers.delete(event.pointerId);
    if (!this.pointers.size) this.multi = false;
    this.takeBack();
  }

  leave() {
    this.hover = null;
    this.view.pointed(null);
    this.paint();
  }

  takeBack() {
    this.draft = null;
    this.givenUp();
    this.paint();
  }

  // -------------------------------------------------------------------- corners

  /**
   * A click of the polygon tool: a corner; on the first corner it closes.
   * @param {Stage} stage
   * @param {XY} xy
   * @param {string} pointerType
   */
  corner(stage, xy, pointerType) {
    this.corners ??= { stage, xy: [] };
    const { stage: on, xy: known } = this.corners;
    /** @type {(other: XY) => number} */
    const far = (other) => on.toScreen(other).distanceTo(on.toScreen(xy));
    if (known.length > 2 && far(known[0]) < (pointerType === "touch" ? NEAR.touch : NEAR.mouse)) return this.finish();
    const last = known.at(-1);
    // The second click of a double click is no corner of its own.
    if (!last || far(last) > SAME) known.push(xy);
    this.view.finisher.hidden = false;
    this.paint();
  }

  finish() {
    const { corners } = this;
    this.corners = null;
    this.view.finisher.hidden = true;
    if (corners && corners.xy.length > 2) this.complete(corners.xy);
    this.paint();
  }

  abandon() {
    this.corners = null;
    this.view.finisher.hidden = true;
    this.takeBack();
  }

  paint() {
    this.frameAsked ||= requestAnimationFrame(() => {
      this.frameAsked = 0;
      if (!this.view.gone && this.view.stages.length) this.draw();
    });
  }
}

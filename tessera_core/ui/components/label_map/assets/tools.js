// Pointer and keyboard: what a person does on the map becomes operations.
//
// Mouse: click = point or choose, drag = pan with the point and select tools (a handle of the chosen label moves it), draw with the others; middle button or Space pans always.
// Touch: one finger labels or draws, two fingers pan and zoom (Leaflet's own pinch); a second finger takes a stroke back.

import { drawShape } from "./layers.js";

export const TOOLS = [
  ["select", "Select: click a label, drag to move the map", "V"],
  ["point", "Point: click a place", "D"],
  ["brush", "Brush: paint over pixels", "B"],
  ["polygon", "Polygon: click corners, or draw around", "P"],
  ["rectangle", "Rectangle", "R"],
  ["erase", "Erase labels", "E"],
];
const BY_KEY = { ...Object.fromEntries(TOOLS.map(([tool, , key]) => [key.toLowerCase(), tool])), s: "select" };
const ARROWS = { arrowleft: [-1, 0], arrowright: [1, 0], arrowup: [0, 1], arrowdown: [0, -1] };
const CLICK = 6; // a pointer that moved less than this many screen pixels has clicked
const DRAWS = new Set(["brush", "polygon", "rectangle", "erase"]);
const SIZED = new Set(["brush", "erase"]);

export class Tools {
  constructor(view) {
    this.view = view;
    this.pointers = new Map();
    this.draft = null; // {tool, xy: [[x, y], ...], closed}
    this.corners = null; // polygon under construction by single clicks
    this.hover = null;
    this.grip = null; // the handle of the chosen label that is being dragged
    const box = view.box;
    const listen = (type, handler, options) => box.addEventListener(type, (e) => handler.call(this, e), options);
    // Before Leaflet, which would drag the map.
    listen("pointerdown", this.grasp, true);
    listen("pointerdown", this.down);
    listen("pointermove", this.move);
    listen("pointerup", this.up);
    listen("pointercancel", this.cancelled);
    listen("pointerleave", this.leave);
    listen("dblclick", (e) => this.onMap(e) && this.finish());
    listen("contextmenu", (e) => e.preventDefault());
    listen("mousedown", (e) => e.button === 1 && e.preventDefault());
    // Window, capture phase: before Streamlit's own shortcuts (R reruns the page).
    this.keyDown = (e) => this.key(e);
    this.keyUp = (e) => this.released(e);
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

  onMap(event) {
    return !event.composedPath().some((node) => node.classList?.contains("tl-control"));
  }

  xy(event) {
    const map = this.view.map;
    return this.view.frame.xy(map.mouseEventToLatLng(event));
  }

  get selection() {
    return this.view.session.selection;
  }

  grasp(event) {
    if (this.tool !== "select" || this.space || event.button !== 0 || this.pointers.size || !this.onMap(event)) return;
    const at = this.view.map.mouseEventToContainerPoint(event);
    const grip = this.selection.grip(at, this.xy(event), event.pointerType === "touch");
    if (!grip) return;
    this.grip = { ...grip, pointer: event.pointerId };
    this.view.map.dragging.disable();
  }

  down(event) {
    this.view.box.classList.remove("tl-keys");
    if (!this.onMap(event)) return;
    this.pointers.set(event.pointerId, { x: event.clientX, y: event.clientY, moved: false });
    if (this.pointers.size > 1) return this.cancelDraft();
    const pans = event.button === 1 || (event.button === 0 && this.space);
    if (pans) {
      this.panning = event.pointerId;
      this.view.box.setPointerCapture(event.pointerId);
      return;
    }
    if (this.grip) this.view.box.setPointerCapture(event.pointerId);
    if (event.button !== 0 || !DRAWS.has(this.tool)) return;
    if (this.tool !== "erase" && !this.view.needClass()) return;
    this.view.box.setPointerCapture(event.pointerId);
    this.draft = { tool: this.tool, xy: [this.xy(event)], pointer: event.pointerId };
    this.paint();
  }

  move(event) {
    this.hover = this.onMap(event) && event.pointerType !== "touch" ? event : null;
    const pointer = this.pointers.get(event.pointerId);
    if (pointer) {
      const dx = event.clientX - pointer.x;
      const dy = event.clientY - pointer.y;
      if (Math.hypot(dx, dy) > CLICK) pointer.moved = true;
      if (this.panning === event.pointerId) {
        this.view.map.panBy([-dx, -dy], { animate: false });
        pointer.x = event.clientX;
        pointer.y = event.clientY;
      }
    }
    if (this.tool === "select") this.point(event, pointer);
    const draft = this.draft;
    if (draft && draft.pointer === event.pointerId) {
      if (draft.tool === "rectangle") draft.xy[1] = this.xy(event);
      else for (const e of event.getCoalescedEvents?.() ?? [event]) this.extend(draft, this.xy(e));
      this.paint();
    } else if (SIZED.has(this.tool) || this.corners) this.paint();
    this.view.pointed(event, this.hover);
  }

  // The select tool: the handle follows, and the pointer's form says what a press would do.
  point(event, pointer) {
    if (this.grip?.pointer === event.pointerId && pointer?.moved) this.selection.drag(this.grip, this.xy(event));
    if (this.pointers.size || !this.hover) return;
    const at = this.view.map.mouseEventToContainerPoint(event);
    const over = this.selection.grip(at, this.xy(event), false) ? "move" : this.selection.under(this.xy(event), false).length ? "pointer" : null;
    if (over === this.pointing) return;
    this.pointing = over;
    this.view.cursor();
  }

  // Takes the handle off the pointer; returns whether it was on one.
  release(kept) {
    const held = this.grip !== null;
    this.grip = null;
    if (held) {
      this.selection.drop(kept);
      this.view.cursor();
    }
    return held;
  }

  // Half a pixel of the scene is as fine as a label can be.
  extend(draft, [x, y]) {
    const [lx, ly] = draft.xy[draft.xy.length - 1];
    if (Math.hypot(x - lx, y - ly) >= 0.5 * this.view.pixel) draft.xy.push([x, y]);
  }

  up(event) {
    const pointer = this.pointers.get(event.pointerId);
    this.pointers.delete(event.pointerId);
    if (this.panning === event.pointerId) {
      this.panning = null;
      return;
    }
    if (!pointer) return;
    if (this.grip?.pointer === event.pointerId && this.release(true) && pointer.moved) return;
    const draft = this.draft;
    if (draft && draft.pointer === event.pointerId) {
      this.draft = null;
      if (draft.tool === "polygon" && !pointer.moved) this.corner(draft.xy[0], event);
      else this.commit(draft);
      this.paint();
      return;
    }
    const clicked = !pointer.moved && !this.multi && event.button === 0 && this.onMap(event);
    if (!this.pointers.size) this.multi = false;
    const seeds = this.tool === "like" || this.tool === "unlike";
    if (clicked && this.tool === "select") this.selection.pick(this.xy(event), event.pointerType === "touch");
    else if (clicked && seeds) this.view.session.insight.seed(this.xy(event), this.tool === "like");
    else if (clicked && this.tool === "point" && this.view.needClass()) {
      this.view.add("point", [this.xy(event)], 0);
    }
  }

  cancelled(event) {
    this.pointers.delete(event.pointerId);
    this.panning = null;
    if (!this.pointers.size) this.multi = false;
    this.cancelDraft();
  }

  leave() {
    this.hover = null;
    this.view.pointed(null, null);
    this.paint();
  }

  cancelDraft() {
    this.multi = this.pointers.size > 1;
    this.draft = null;
    this.release(false);
    this.paint();
  }

  // A click of the polygon tool: a corner; on the first corner it closes.
  corner(xy, event) {
    this.corners ??= [];
    if (this.corners.length > 2) {
      const first = this.screen(this.corners[0]);
      const here = this.screen(xy);
      if (Math.hypot(first.x - here.x, first.y - here.y) < (event.pointerType === "touch" ? 22 : 11)) return this.finish();
    }
    const last = this.corners[this.corners.length - 1];
    // The second click of a double click is no corner of its own.
    if (!last || Math.hypot(last[0] - xy[0], last[1] - xy[1]) > 0.2 * this.view.pixel) this.corners.push(xy);
    this.view.polygonOpen(true);
  }

  finish() {
    const corners = this.corners;
    this.corners = null;
    this.view.polygonOpen(false);
    if (corners && corners.length > 2) this.view.add("polygon", corners, 0);
    this.paint();
  }

  abandon() {
    this.corners = null;
    this.view.polygonOpen(false);
    this.cancelDraft();
  }

  commit({ tool, xy }) {
    const pixel = this.view.pixel;
    if (tool === "rectangle") {
      if (xy.length < 2) return;
      const [[x0, y0], [x1, y1]] = xy;
      if (Math.abs(x1 - x0) < 0.3 * pixel || Math.abs(y1 - y0) < 0.3 * pixel) return;
      this.view.add(tool, [[x0, y0], [x1, y0], [x1, y1], [x0, y1]], 0);
    } else if (tool === "polygon") {
      if (xy.length > 2) this.view.add(tool, thin(xy, 0.35 * pixel), 0);
    } else this.view.add(tool, thin(xy, 0.25 * pixel), this.view.memory.radius);
  }

  screen([x, y]) {
    return this.view.map.latLngToContainerPoint(this.view.frame.latLng(x, y));
  }

  // The unfinished shape and the brush's outline, on a canvas of their own above the map.
  paint() {
    if (this.frameAsked) return;
    this.frameAsked = requestAnimationFrame(() => {
      this.frameAsked = 0;
      const { context, t, colour } = this.view.draftContext(this.tool);
      if (this.selection.draft) this.selection.draw(context, t);
      if (this.draft) {
        const flat = this.draft.xy.flat();
        if (this.draft.tool === "rectangle" && this.draft.xy.length === 2) {
          const [x0, y0, x1, y1] = flat;
          drawShape(context, t, [0, "a", 0, [x0, y0, x1, y0, x1, y1, x0, y1]], colour, 0);
        } else if (this.draft.tool === "polygon") drawShape(context, t, [0, "a", 0, flat], colour, 0);
        else if (SIZED.has(this.draft.tool)) drawShape(context, t, [0, "b", this.view.memory.radius, flat], colour, 0);
      }
      if (this.corners) {
        const points = [...this.corners, ...(this.hover ? [this.xy(this.hover)] : [])];
        drawShape(context, t, [0, "a", 0, points.flat()], colour, 0);
        for (const [x, y] of this.corners) drawShape(context, t, [0, "p", 0, [x, y]], colour, 5);
      }
      if (SIZED.has(this.tool) && this.hover) {
        const p = this.view.map.mouseEventToContainerPoint(this.hover);
        const r = Math.max(this.view.memory.radius * Math.abs(t.pixel), 2);
        for (const [width, style] of [[3, "rgba(0,0,0,.6)"], [1.5, "#fff"]]) {
          context.beginPath();
          context.arc(p.x, p.y, r, 0, 2 * Math.PI);
          context.lineWidth = width;
          context.strokeStyle = style;
          context.stroke();
        }
      }
    });
  }

  key(event) {
    const target = event.composedPath()[0];
    const typing = target.matches?.("input:not([type=range]):not([type=checkbox]), textarea, select, [contenteditable]");
    if (typing || event.altKey || !this.view.visible()) return;
    const key = event.key.toLowerCase();
    if (target === this.view.box && !this.pointers.size && /^(arrow|enter|tab|[+-])/.test(key)) this.view.box.classList.add("tl-keys");
    const command = event.ctrlKey || event.metaKey;
    const view = this.view;
    const { selection } = this;
    const chosen = this.tool === "select" && selection.entry;
    const field = target.matches?.("input, select");
    let done = true;
    if (event.shiftKey && !command && chosen && ARROWS[key] && !field) selection.nudge(...ARROWS[key]);
    else if (event.shiftKey && !command && this.tool === "select" && key === "n") selection.next(-1);
    else if (command && key === "z") view.op({ do: event.shiftKey ? "redo" : "undo" });
    else if (command && key === "y") view.op({ do: "redo" });
    else if (command || event.shiftKey) done = false;
    else if (key === "z") view.op({ do: "undo" });
    else if (key === "y") view.op({ do: "redo" });
    else if (key >= "1" && key <= "9") view.chooseAt(Number(key) - 1);
    else if (BY_KEY[key]) view.setTool(BY_KEY[key]);
    else if (key === "m") view.toggleMap();
    else if (key === "[") view.setRadius(view.memory.radius - 1);
    else if (key === "]") view.setRadius(view.memory.radius + 1);
    else if ((key === "delete" || key === "backspace") && chosen && !field) selection.remove();
    else if (key === "n" && this.tool === "select" && !view.session.insight.guide.kind) selection.next();
    else if (key === "n") view.session.insight.guide.kind ? view.session.insight.guide.skip() : view.session.insight.guide.next();
    else if (key === "escape" && (this.corners || this.draft || this.grip)) this.abandon();
    else if (key === "escape" && view.session.insight.guide.kind) view.session.insight.guide.leave();
    else if (key === "escape" && chosen) selection.clear();
    else if (key === "escape" && (this.tool === "like" || this.tool === "unlike")) view.setTool("point");
    else if (key === "enter" && this.corners) this.finish();
    else if (key === "enter" && target === view.box) this.here();
    else if (key === " " && !target.matches?.("button, summary, a, input")) {
      this.space = true;
      view.cursor();
    } else done = false;
    if (done) {
      event.preventDefault();
      event.stopImmediatePropagation();
    }
  }

  released(event) {
    if (event.key === " " && this.space) {
      this.space = false;
      this.view.cursor();
    }
  }

  // Keyboard only: Enter labels what lies under the cross in the middle.
  here() {
    const middle = this.view.frame.xy(this.view.map.getCenter());
    if (this.tool === "select") return this.selection.pick(middle, false);
    if (this.tool === "like" || this.tool === "unlike") return this.view.session.insight.seed(middle, this.tool === "like");
    const tool = SIZED.has(this.tool) ? this.tool : "point";
    if (tool !== "erase" && !this.view.needClass()) return;
    this.view.add(tool, [middle], SIZED.has(tool) ? this.view.memory.radius : 0);
  }
}

// Douglas-Peucker: drops vertices that lie within `tolerance` of the line, so that long strokes stay short messages.
export function thin(points, tolerance) {
  if (points.length < 3) return points;
  const keep = new Uint8Array(points.length);
  keep[0] = keep[points.length - 1] = 1;
  const spans = [[0, points.length - 1]];
  while (spans.length) {
    const [first, last] = spans.pop();
    const [ax, ay] = points[first];
    const dx = points[last][0] - ax;
    const dy = points[last][1] - ay;
    const length = Math.hypot(dx, dy);
    let worst = tolerance;
    let at = 0;
    for (let i = first + 1; i < last; i++) {
      const px = points[i][0] - ax;
      const py = points[i][1] - ay;
      const distance = length ? Math.abs(px * dy - py * dx) / length : Math.hypot(px, py);
      if (distance > worst) {
        worst = distance;
        at = i;
      }
    }
    if (at) {
      keep[at] = 1;
      spans.push([first, at], [at, last]);
    }
  }
  return points.filter((_, i) => keep[i]);
}

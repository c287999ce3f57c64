// Boxes, polygons and clicks on the view map become events.

import { boxed } from "../../shared/assets/geometry.js";
import { Gestures } from "../../shared/assets/gestures.js";
import { t } from "../../shared/assets/words.js";

/** @import { DrawTool, XY } from "../../messages.js" */
/** @import { Draft } from "../../shared/assets/gestures.js" */
/** @import { RegionView } from "./view.js" */

const TITLES = /** @type {const} */ ([
  ["click", "point", t("Click a place, drag to move"), "V"],
  ["box", "rectangle", t("Draw a box"), "B"],
  ["polygon", "polygon", t("Draw a shape: click corners, or draw around"), "P"],
]);
export const TOOLS = TITLES.map(([tool, icon, text, key]) => ({ tool, icon, key, title: `${text} (${key})` }));
const MOST = 2000; // corners of a shape that was drawn around
const STEP = 80; // screen pixels by which an arrow key moves the map
/** @type {Record<string, XY>} */
const ARROWS = { arrowleft: [-STEP, 0], arrowright: [STEP, 0], arrowup: [0, -STEP], arrowdown: [0, STEP] };

/** @extends {Gestures<RegionView>} */
export class Drawing extends Gestures {
  /** @param {RegionView} view */
  constructor(view) {
    super(view);
    view.box.addEventListener("keydown", (event) => this.key(event));
  }

  get tool() {
    return this.view.memory.tool;
  }

  mayDraw() {
    return this.tool !== "click";
  }

  /**
   * @param {Draft} draft
   * @param {boolean} moved
   */
  commit({ tool, xy }, moved) {
    if (!moved) return;
    if (tool === "box" && xy.length > 1) {
      const [from, to] = xy;
      if (from[0] !== to[0] && from[1] !== to[1]) this.view.send("box", boxed(from, to));
    } else if (tool === "polygon" && xy.length > 2) {
      const step = Math.ceil(xy.length / MOST);
      this.complete(xy.filter((_, i) => i % step === 0));
    }
  }

  /** @param {XY[]} corners */
  complete(corners) {
    this.view.send("polygon", corners);
  }

  /** @param {PointerEvent} event */
  clicked(event) {
    const { view } = this;
    const stage = view.stageAt(event);
    const hit = view.pointing.hitAt(event, stage);
    const xy = [stage.xy(event)];
    if (hit?.marker) view.send("marker", xy, hit.marker[0]);
    else if (hit?.outline && hit.outline[2] > 0) view.send("outline", xy, hit.outline[0]);
    else if (view.header?.tools.includes("click")) view.send("click", xy);
  }

  draw() {
    const context = this.view.draftContext();
    const shape = this.draft ?? this.corners;
    if (!shape || !this.view.stages.includes(/** @type {any} */ (shape.stage))) return;
    const { stage } = shape;
    const ahead = this.corners && !this.draft && this.hover ? [stage.xy(this.hover)] : [];
    const isBox = this.draft?.tool === "box" && shape.xy.length === 2;
    const corners = isBox ? boxed(shape.xy[0], shape.xy[1]) : [...shape.xy, ...ahead];
    const screen = corners.map((xy) => stage.toScreen(xy).add([stage.box.offsetLeft, 0]));
    context.beginPath();
    for (const { x, y } of screen) context.lineTo(x, y);
    context.closePath();
    context.fillStyle = "rgba(255,225,74,.25)";
    context.fill();
    context.lineWidth = 4;
    context.strokeStyle = "rgba(0,0,0,.6)";
    context.stroke();
    context.lineWidth = 2;
    context.strokeStyle = "#ffe14a";
    context.stroke();
    if (this.corners && !this.draft)
      for (const { x, y } of screen.slice(0, shape.xy.length)) context.fillRect(x - 4, y - 4, 8, 8);
  }

  // ----------------------------------------------------------------------- keys

  /** @param {KeyboardEvent} event */
  key(event) {
    const { view } = this;
    if (event.altKey || event.ctrlKey || event.metaKey || event.composedPath()[0] !== view.box) return;
    if (!view.header || !this.done(event.key.toLowerCase(), view.header.tools)) return;
    view.box.classList.add("tl-keys");
    event.preventDefault();
    event.stopPropagation();
  }

  /**
   * Whether a key means anything.
   * @param {string} key
   * @param {DrawTool[]} tools
   */
  done(key, tools) {
    const { view } = this;
    const tool = TOOLS.find((known) => known.key.toLowerCase() === key)?.tool;
    if (ARROWS[key]) view.map.panBy(ARROWS[key], { animate: false });
    else if (key === "+" || key === "=") view.map.zoomIn();
    else if (key === "-") view.map.zoomOut();
    else if (key === "escape") {
      view.choices.toggle(false);
      this.abandon();
    } else if (key === "enter" && this.corners) this.finish();
    else if (key === "enter") this.here();
    else if (tool && (tool === "click" || tools.includes(tool))) view.setTool(tool);
    else return false;
    return true;
  }

  // Keyboard only: Enter clicks what lies under the cross in the middle.
  here() {
    const { stage } = this.view;
    if (this.tool === "polygon") return this.corner(stage, stage.middle, "mouse");
    const { left, top, width, height } = stage.box.getBoundingClientRect();
    this.clicked(new PointerEvent("pointerup", { clientX: left + width / 2, clientY: top + height / 2 }));
  }
}

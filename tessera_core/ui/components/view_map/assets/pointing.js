// What is under the pointer: a marker or an outline with its text, the place, and the numbers that layers show there.

import { el } from "../../shared/assets/dom.js";
import { saidAt } from "./scales.js";
import { markerAt, outlineAt } from "./shapes.js";

/** @import { MarkerEntry, OutlineEntry, XY } from "../../messages.js" */
/** @import { Stage } from "../../shared/assets/stage.js" */
/** @import { RegionStage } from "./stage.js" */
/** @import { RegionView } from "./view.js" */
/** @typedef {{ marker?: MarkerEntry, outline?: OutlineEntry, text: string }} Hit */

const REACH = { mouse: 12, touch: 20 };

export class Pointing {
  /** @param {RegionView} view */
  constructor(view) {
    this.view = view;
    this.tip = el("div", { class: "tv-tip", hidden: true, role: "tooltip" });
    /** @type {string | null} */
    this.pointedId = null; // marker or outline that a click would choose
  }

  /**
   * @param {PointerEvent} event
   * @param {Stage} stage
   * @returns {Hit | null}
   */
  hitAt(event, stage) {
    const { header } = this.view;
    if (!header) return null;
    const p = stage.map.mouseEventToContainerPoint(event);
    const reach = event.pointerType === "touch" ? REACH.touch : REACH.mouse;
    const marker = markerAt(stage.screen(), header.markers, p.x, p.y, reach);
    if (marker) return { marker, text: marker[5] || marker[3] };
    const outline = outlineAt(header.outlines, ...stage.xy(event));
    return outline ? { outline, text: outline[3] } : null;
  }

  /** @param {PointerEvent | null} event */
  hover(event) {
    const { view } = this;
    if (!event || !view.header || !view.stages.length) {
      this.tip.hidden = true;
      view.readout.textContent = "";
      return this.point(null);
    }
    const stage = view.stageAt(event);
    const hit = view.drawing.draft ? null : this.hitAt(event, stage);
    this.point(hit?.marker?.[0] ?? (hit?.outline && hit.outline[2] > 0 ? hit.outline[0] : null));
    this.tip.hidden = !hit?.text;
    if (hit?.text) {
      const box = view.box.getBoundingClientRect();
      this.tip.textContent = hit.text;
      this.tip.style.left = `${Math.min(event.clientX - box.left + 14, box.width - 230)}px`;
      this.tip.style.top = `${event.clientY - box.top + 16}px`;
    }
    const numbers = this.numbersAt(stage, stage.xy(event));
    view.readout.replaceChildren(...(numbers ? [el("b", {}, numbers), " · "] : []), stage.where(event));
  }

  /**
   * What the layers say here.
   * @param {Stage} stage
   * @param {XY} xy
   */
  numbersAt(stage, [x, y]) {
    const { view } = this;
    const shown = view.shown(view.stages.indexOf(/** @type {RegionStage} */ (stage)));
    return saidAt(view.header?.layers ?? [], view.pictures, shown, x, y);
  }

  /** @param {string | null} id */
  point(id) {
    if (this.pointedId === id) return;
    this.pointedId = id;
    this.view.box.classList.toggle("tv-pointed", id !== null);
    for (const stage of this.view.stages) stage.ink.redraw();
  }
}

// What is in sight of the map: going to a place, and telling the server what of a large region to map first and how finely.

/** @import { XY } from "../../messages.js" */
/** @import { LabelView } from "./view.js" */

const STILL = 150; // milliseconds for which the map rests before it is told

export class Sight {
  /** @param {LabelView} view */
  constructor(view) {
    this.view = view;
    this.waiting = 0;
  }

  /** The map has moved, or what it shows is new. */
  tell() {
    clearTimeout(this.waiting);
    if (this.view.header?.large) this.waiting = setTimeout(() => this.ask(), STILL);
  }

  ask() {
    const { view } = this;
    if (view.gone || !view.visible) return;
    const { x, y } = view.map.getSize();
    const bounds = view.map.getBounds();
    const [west, south] = view.stage.frame.xy(bounds.getSouthWest());
    const [east, north] = view.stage.frame.xy(bounds.getNorthEast());
    view.queue.ask({ view: [west, south, east, north, x, y] });
  }

  /**
   * Goes to a place, so near that a pixel of the scene has that many on the screen.
   * @param {XY} xy
   * @param {number} near
   */
  visit([x, y], near) {
    const { map, stage } = this.view;
    const now = Math.abs(stage.screen().pixel);
    const zoom = now < near ? map.getZoom() + Math.log2(near / now) : map.getZoom();
    const calm = matchMedia("(prefers-reduced-motion: reduce)").matches;
    map.setView(stage.frame.latLng(x, y), Math.round(4 * zoom) / 4, { animate: !calm });
  }

  destroy() {
    clearTimeout(this.waiting);
  }
}

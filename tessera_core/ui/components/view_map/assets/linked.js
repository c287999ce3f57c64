// The map's half of a link with a scatter: points selected there are highlighted here, and shapes drawn here select points.

import { within } from "../../shared/assets/geometry.js";
import { chosenCount, link, tell } from "../../shared/assets/links.js";

/** @import { XY } from "../../messages.js" */
/** @import { Link } from "../../shared/assets/links.js" */
/** @import { RegionView } from "./view.js" */

const WHAT = ["points", "selected", "hover"];
const REACH = 2.5; // pixels of the scene from which a click takes hold of a point

export class Linked {
  /** @param {RegionView} view */
  constructor(view) {
    this.view = view;
    /** @type {Link | null} */
    this.shared = null;
    this.heard = (/** @type {Event} */ event) => this.hear(event);
  }

  /** @param {string} name of the link, or nothing */
  enter(name) {
    const shared = name ? link(name) : null;
    if (this.shared === shared) return;
    this.leave();
    this.shared = shared;
    for (const what of WHAT) shared?.addEventListener(what, this.heard);
  }

  leave() {
    for (const what of WHAT) this.shared?.removeEventListener(what, this.heard);
    this.shared = null;
  }

  /** @param {Event} event */
  hear(event) {
    const { root, stages } = this.view;
    if (!this.shared) return;
    for (const stage of stages) stage.ink.redraw();
    root.dataset.highlighted = `${chosenCount(this.shared)}`;
    root.dispatchEvent(new CustomEvent("tv-highlight", { detail: { what: event.type } }));
  }

  /**
   * Shapes and clicks select the points that they hold, at once; the server hears of them by the event.
   * @param {string} kind
   * @param {XY[]} xy
   */
  select(kind, xy) {
    const { shared } = this;
    if (!shared?.points) return;
    const { count, x, y } = shared.points;
    const chosen = new Uint8Array(count);
    if (kind === "click") {
      let best = -1;
      let least = REACH * (this.view.header?.pixel ?? 1);
      for (let i = 0; i < count; i++) {
        const far = Math.hypot(x[i] - xy[0][0], y[i] - xy[0][1]);
        if (far < least) [best, least] = [i, far];
      }
      if (best < 0) return;
      chosen[best] = 1;
    } else {
      const ring = xy.flat();
      for (let i = 0; i < count; i++) chosen[i] = within(ring, x[i], y[i]) ? 1 : 0;
    }
    shared.selected = chosen;
    tell(shared, "selected", "map");
  }
}

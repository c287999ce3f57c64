// A stage of the view map: below the pictures the world, above them outlines, linked points and markers.

import { makeInk } from "../../shared/assets/layers.js";
import { Stage } from "../../shared/assets/stage.js";
import { drawMarkers, drawOutlines, drawPoints, drawWorld } from "./shapes.js";

/** @import { FrameKind } from "../../messages.js" */
/** @import { Transform } from "../../shared/assets/layers.js" */
/** @import { RegionView } from "./view.js" */

const LOWEST = 310;

export class RegionStage extends Stage {
  /**
   * @param {RegionView} view
   * @param {HTMLElement} box
   * @param {FrameKind} kind
   */
  constructor(view, box, kind) {
    const pixel = () => view.header?.pixel ?? 0;
    super(view.L, box, kind, {
      minZoom: kind === "mercator" ? 0.5 : -6,
      panes: { land: 205 },
      prefix: "layer-",
      pixel,
      draw: (context, t) => drawAll(view, context, t),
    });
    /** @type {(context: CanvasRenderingContext2D, t: Transform) => void} */
    const world = (context, t) => {
      const { world } = view.session;
      if (view.header?.world && world) drawWorld(context, t, world, view.dark);
    };
    this.land = makeInk(view.L, this.frame, world, pixel, "land");
    this.land.addTo(this.map);
  }

  redraw() {
    this.land.redraw();
    this.ink.redraw();
  }

  /**
   * @param {string[]} names of pictures from low to high
   * @param {number | null} ground how many of them a base map lies on, or null where it lies below all
   */
  stack(names, ground) {
    names.forEach((name, i) => {
      const pane = this.pane(name);
      if (pane) pane.style.zIndex = `${LOWEST + 2 * i}`;
    });
    // On the picture, so that where its service has nothing, or nobody answers, the picture is still there.
    this.liftBase(ground === null ? null : LOWEST + 2 * ground - 1);
  }
}

/**
 * @param {RegionView} view
 * @param {CanvasRenderingContext2D} context
 * @param {Transform} t
 */
function drawAll(view, context, t) {
  const { header } = view;
  if (!header) return;
  const { pointedId } = view.pointing;
  drawOutlines(context, t, header.outlines, pointedId);
  const { shared } = view.linked;
  if (shared?.points) drawPoints(context, t, shared.points, shared.selected, shared.colours, shared.hover);
  drawMarkers(context, t, header.markers, pointedId);
}

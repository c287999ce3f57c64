// Markers, outlines, the world: how they are drawn and where a pointer hits them.

import { inkOn } from "../../shared/assets/dom.js";
import { withinAll } from "../../shared/assets/geometry.js";

/** @import { MarkerEntry, OutlineEntry, Ring, World } from "../../messages.js" */
/** @import { Transform } from "../../shared/assets/layers.js" */
/** @import { Link } from "../../shared/assets/links.js" */

const TAU = 2 * Math.PI;

/**
 * @param {CanvasRenderingContext2D} context
 * @param {Transform} t
 * @param {Ring[]} rings
 * @param {boolean} closed
 */
export function trace(context, t, rings, closed) {
  context.beginPath();
  for (const ring of rings) {
    for (let i = 0; i < ring.length; i += 2) {
      const x = t.sx * ring[i] + t.tx;
      const y = t.sy * ring[i + 1] + t.ty;
      if (i) context.lineTo(x, y);
      else context.moveTo(x, y);
    }
    if (closed) context.closePath();
  }
}

/**
 * @param {CanvasRenderingContext2D} context
 * @param {Transform} t
 * @param {World} world
 * @param {boolean} dark
 */
export function drawWorld(context, t, world, dark) {
  trace(context, t, world.land, true);
  context.fillStyle = dark ? "#3a4149" : "#e4e7e2";
  context.fill("evenodd");
  context.strokeStyle = dark ? "#6b7681" : "#a9b1b5";
  context.lineWidth = 0.8;
  context.stroke();
  trace(context, t, world.borders, false);
  context.lineWidth = 0.6;
  context.stroke();
}

/**
 * @param {CanvasRenderingContext2D} context
 * @param {Transform} t
 * @param {OutlineEntry[]} outlines
 * @param {string | null} pointed
 */
export function drawOutlines(context, t, outlines, pointed) {
  context.lineJoin = "round";
  for (const [id, colour, fill, , closed, rings] of outlines) {
    trace(context, t, rings, closed);
    if (closed && fill > 0) {
      context.globalAlpha = pointed === id ? Math.min(1, fill + 0.2) : fill;
      context.fillStyle = colour;
      context.fill("evenodd");
      context.globalAlpha = 1;
    }
    context.lineWidth = 4;
    context.strokeStyle = "rgba(255,255,255,.85)";
    context.stroke();
    context.lineWidth = pointed === id ? 3 : 2;
    context.strokeStyle = colour;
    context.stroke();
  }
}

/**
 * @param {CanvasRenderingContext2D} context
 * @param {Transform} t
 * @param {MarkerEntry[]} markers
 * @param {string | null} pointed
 */
export function drawMarkers(context, t, markers, pointed) {
  for (const [id, mx, my, label, colour, , kind] of markers) {
    const x = t.sx * mx + t.tx;
    const y = t.sy * my + t.ty;
    const big = pointed === id ? 1.25 : 1;
    context.beginPath();
    if (kind === "pin") {
      const r = 9 * big;
      context.arc(x, y - 2.1 * r, r, 0.83 * Math.PI, 0.17 * Math.PI);
      context.lineTo(x, y);
      context.closePath();
    } else context.arc(x, y, (kind === "number" ? 11 : 6) * big, 0, TAU);
    context.fillStyle = colour;
    context.fill();
    context.lineWidth = 4;
    context.strokeStyle = "rgba(0,0,0,.45)";
    context.stroke();
    context.lineWidth = 2.5;
    context.strokeStyle = "#fff";
    context.stroke();
    if (!label) continue;
    context.textBaseline = "middle";
    if (kind === "number") {
      context.font = "600 12px system-ui, sans-serif";
      context.textAlign = "center";
      context.fillStyle = inkOn(colour);
      context.fillText(label, x, y + 0.5);
    } else {
      context.font = "600 12.5px system-ui, sans-serif";
      context.textAlign = "left";
      context.lineWidth = 3.5;
      context.strokeStyle = "rgba(255,255,255,.9)";
      context.strokeText(label, x + 11, kind === "pin" ? y - 19 : y);
      context.fillStyle = "#16191d";
      context.fillText(label, x + 11, kind === "pin" ? y - 19 : y);
    }
  }
}

/**
 * The marker under a pointer, the topmost first.
 * @param {Transform} t to the pixels of the pointer
 * @param {MarkerEntry[]} markers
 * @param {number} px
 * @param {number} py
 * @param {number} reach in pixels; touch needs more room
 */
export function markerAt(t, markers, px, py, reach) {
  for (let i = markers.length - 1; i >= 0; i--) {
    const [, mx, my, , , , kind] = markers[i];
    const y = t.sy * my + t.ty - (kind === "pin" ? 17 : 0);
    if (Math.hypot(t.sx * mx + t.tx - px, y - py) <= reach) return markers[i];
  }
  return null;
}

/**
 * The outline at a place of the frame, the topmost first, if it can be clicked or says something.
 * @param {OutlineEntry[]} outlines
 * @param {number} x
 * @param {number} y
 */
export function outlineAt(outlines, x, y) {
  for (let i = outlines.length - 1; i >= 0; i--) {
    const [, , fill, text, closed, rings] = outlines[i];
    if (closed && (fill > 0 || text) && withinAll(rings, x, y)) return outlines[i];
  }
  return null;
}

/**
 * Points that another view has selected: squares on a dark ground, quick for tens of thousands.
 * @param {CanvasRenderingContext2D} context
 * @param {Transform} t
 * @param {NonNullable<Link["points"]>} points
 * @param {Uint8Array | null} selected
 * @param {Link["colours"]} colours
 * @param {number} hover
 */
export function drawPoints(context, t, points, selected, colours, hover) {
  const { x, y, count } = points;
  const size = Math.max(3, Math.min(9, Math.abs(t.pixel) * 0.9));
  const half = size / 2;
  if (selected) {
    context.fillStyle = "rgba(0,0,0,.75)";
    for (let i = 0; i < count; i++)
      if (selected[i])
        context.fillRect(t.sx * x[i] + t.tx - half - 1, t.sy * y[i] + t.ty - half - 1, size + 2, size + 2);
    context.fillStyle = "#ffe14a";
    for (let i = 0; i < count; i++) {
      if (!selected[i]) continue;
      if (colours) context.fillStyle = colours(i);
      context.fillRect(t.sx * x[i] + t.tx - half, t.sy * y[i] + t.ty - half, size, size);
    }
  }
  if (hover >= 0 && hover < count) {
    const px = t.sx * x[hover] + t.tx;
    const py = t.sy * y[hover] + t.ty;
    context.beginPath();
    context.arc(px, py, 9, 0, TAU);
    context.lineWidth = 5;
    context.strokeStyle = "#000";
    context.stroke();
    context.lineWidth = 2.5;
    context.strokeStyle = "#fff";
    context.stroke();
  }
}

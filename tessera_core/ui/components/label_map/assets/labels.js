// Labels as they will be once everything on its way has arrived, and how they are drawn.

import { distance } from "../../shared/assets/geometry.js";

/** @import { Operation, Ring, Shape, ShapeKind } from "../../messages.js" */
/** @import { Transform } from "../../shared/assets/layers.js" */

/** @typedef {{ id: string, shape: Shape, note?: string }} Entry a label, also while it is on its way */

/** @type {Record<string, ShapeKind>} */
const KINDS = { point: "p", brush: "b", erase: "e", rectangle: "r" };
const TAU = 2 * Math.PI;

/**
 * One label of the server, or one still on its way.
 * @param {CanvasRenderingContext2D} context
 * @param {Transform} t
 * @param {Shape} shape
 * @param {string} colour
 * @param {number} dot radius of a point on the screen
 */
export function drawShape(context, t, shape, colour, dot) {
  const [, kind, radius, ...rings] = shape;
  const ring = rings[0];
  /** @param {number} i */
  const px = (i) => t.sx * ring[i] + t.tx;
  /** @param {number} i */
  const py = (i) => t.sy * ring[i + 1] + t.ty;
  context.globalCompositeOperation = "source-over";
  if (kind === "p") {
    context.beginPath();
    context.arc(px(0), py(0), dot, 0, TAU);
    context.fillStyle = colour;
    context.fill();
    context.lineWidth = 2;
    context.strokeStyle = "#fff";
    context.stroke();
    context.beginPath();
    context.arc(px(0), py(0), dot + 1.5, 0, TAU);
    context.lineWidth = 1;
    context.strokeStyle = "rgba(0,0,0,.65)";
    context.stroke();
  } else if (kind === "b" || kind === "e") {
    const width = Math.max(2 * radius * Math.abs(t.pixel), 2);
    const path = new Path2D();
    path.moveTo(px(0), py(0));
    for (let i = 2; i < ring.length; i += 2) path.lineTo(px(i), py(i));
    if (ring.length === 2) path.lineTo(px(0) + 0.01, py(0));
    context.lineCap = context.lineJoin = "round";
    context.lineWidth = width;
    if (kind === "e") {
      context.globalCompositeOperation = "destination-out";
      context.strokeStyle = "#000";
      context.stroke(path);
      context.globalCompositeOperation = "source-over";
    } else {
      context.globalAlpha = 0.8;
      context.lineWidth = width + 3;
      context.strokeStyle = "#fff";
      context.stroke(path);
      context.lineWidth = width;
      context.strokeStyle = colour;
      context.stroke(path);
      context.globalAlpha = 1;
    }
  } else {
    const path = new Path2D();
    for (const line of rings) {
      for (let i = 0; i < line.length; i += 2) {
        const x = t.sx * line[i] + t.tx;
        const y = t.sy * line[i + 1] + t.ty;
        if (i) path.lineTo(x, y);
        else path.moveTo(x, y);
      }
      path.closePath();
    }
    context.globalAlpha = 0.4;
    context.fillStyle = colour;
    context.fill(path, "evenodd");
    context.globalAlpha = 1;
    context.lineJoin = "round";
    context.lineWidth = 3.5;
    context.strokeStyle = "#fff";
    context.stroke(path);
    context.lineWidth = 2;
    context.strokeStyle = colour;
    context.stroke(path);
  }
}

/**
 * Without points that a later erase stroke covers: they are gone, however large their dots are drawn.
 * @param {Shape[]} shapes in painting order
 * @param {number} pixel width of a pixel of the scene, in the frame's units
 */
export function withoutErased(shapes, pixel) {
  /** @type {Shape[]} */
  const erasers = [];
  /** @type {Shape[]} */
  const kept = [];
  for (let n = shapes.length - 1; n >= 0; n--) {
    const shape = shapes[n];
    if (shape[1] === "e") erasers.push(shape);
    if (shape[1] === "p" && erasers.some((e) => covers(e, shape[3], pixel))) continue;
    kept.push(shape);
  }
  return kept.reverse();
}

/**
 * @param {Shape} eraser
 * @param {number[]} at
 * @param {number} pixel
 */
function covers([, , radius, ring], [x, y], pixel) {
  return distance(ring, x, y) <= (Math.max(radius, 0) + 0.71) * pixel;
}

/**
 * The labels as they will be once the operations on their way have arrived.
 * @param {Entry[]} told by the server, in painting order
 * @param {Operation[]} pending
 * @param {string} epoch that the operations are numbered in
 * @returns {Entry[]}
 */
export function settled(told, pending, epoch) {
  let entries = told;
  for (const op of pending) {
    if (op.do === "add") {
      /** @type {Shape} */
      const shape = [op.class, KINDS[op.tool] ?? "a", op.radius, op.pts.flat()];
      entries = [...entries, { id: `${epoch}-${op.id}`, shape }];
    } else if (op.do === "remove_label") entries = entries.filter(({ id }) => id !== op.label);
    else if (op.do === "edit_label")
      entries = entries.map((entry) => (entry.id === op.label ? edited(entry, op) : entry));
  }
  return entries;
}

/**
 * @param {Entry} entry
 * @param {Operation & { do: "edit_label" }} edit
 * @returns {Entry}
 */
function edited({ id, note, shape: [was, kind, radius, ...known] }, edit) {
  /** @type {Ring[]} */
  const rings = edit.rings?.map((ring) => ring.flat()) ?? known;
  return { id, note: edit.note ?? note, shape: [edit.class ?? was, kind, radius, ...rings] };
}

// Plane geometry of labels, outlines and lassos. A ring is a list x, y, x, y, ...; a place is a pair.

/** @import { Ring, XY } from "../../messages.js" */

/**
 * Whether a place lies in a ring (even-odd rule).
 * @param {ArrayLike<number>} ring
 * @param {number} x
 * @param {number} y
 */
export function within(ring, x, y) {
  let inside = false;
  for (let i = 0, j = ring.length - 2; i < ring.length; j = i, i += 2) {
    const above = ring[i + 1] > y;
    if (above === ring[j + 1] > y) continue;
    if (x < ((ring[j] - ring[i]) * (y - ring[i + 1])) / (ring[j + 1] - ring[i + 1]) + ring[i]) inside = !inside;
  }
  return inside;
}

/**
 * The same for an area with holes.
 * @param {readonly Ring[]} rings
 * @param {number} x
 * @param {number} y
 */
export const withinAll = (rings, x, y) => rings.reduce((inside, ring) => inside !== within(ring, x, y), false);

/**
 * How far a place is from a line of corners.
 * @param {Ring} ring
 * @param {number} x
 * @param {number} y
 * @param {boolean} [closed] whether the last corner is joined to the first
 */
export function distance(ring, x, y, closed = false) {
  let least = Infinity;
  for (let i = 0; i < ring.length; i += 2) {
    const j = i ? i - 2 : closed ? ring.length - 2 : 0;
    const dx = ring[i] - ring[j];
    const dy = ring[i + 1] - ring[j + 1];
    const length = dx * dx + dy * dy;
    const at = length ? Math.max(0, Math.min(1, ((x - ring[j]) * dx + (y - ring[j + 1]) * dy) / length)) : 0;
    least = Math.min(least, Math.hypot(x - ring[j] - at * dx, y - ring[j + 1] - at * dy));
  }
  return least;
}

/**
 * The corners as pairs.
 * @param {Ring} ring
 * @returns {XY[]}
 */
export const pairs = (ring) => Array.from({ length: ring.length / 2 }, (_, i) => [ring[2 * i], ring[2 * i + 1]]);

/**
 * The four corners of a box between two opposite ones.
 * @param {XY} from
 * @param {XY} to
 * @returns {XY[]}
 */
export const boxed = ([x0, y0], [x1, y1]) => [
  [x0, y0],
  [x1, y0],
  [x1, y1],
  [x0, y1],
];

/**
 * Douglas-Peucker (1973): drops corners that lie within `tolerance` of the line, so that long strokes stay short messages.
 * @param {XY[]} points
 * @param {number} tolerance
 */
export function thin(points, tolerance) {
  if (points.length < 3) return points;
  const keep = new Uint8Array(points.length);
  keep[0] = keep[points.length - 1] = 1;
  const spans = [[0, points.length - 1]];
  for (let span = spans.pop(); span; span = spans.pop()) {
    const [first, last] = span;
    const [ax, ay] = points[first];
    const dx = points[last][0] - ax;
    const dy = points[last][1] - ay;
    const length = Math.hypot(dx, dy);
    let worst = tolerance;
    let at = 0;
    for (let i = first + 1; i < last; i++) {
      const px = points[i][0] - ax;
      const py = points[i][1] - ay;
      const far = length ? Math.abs(px * dy - py * dx) / length : Math.hypot(px, py);
      if (far > worst) {
        worst = far;
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

/**
 * A rectangle (however it is turned) with one corner moved and the opposite one where it was.
 * @param {Ring} ring of four corners
 * @param {number} corner 0 to 3
 * @param {XY} to
 * @returns {Ring}
 */
export function stretched(ring, corner, [x, y]) {
  /** @type {(i: number) => XY} */
  const at = (i) => [ring[2 * (i & 3)], ring[2 * (i & 3) + 1]];
  const [ox, oy] = at(corner + 2);
  const [ax, ay] = [at(corner + 1)[0] - ox, at(corner + 1)[1] - oy];
  const [bx, by] = [at(corner + 3)[0] - ox, at(corner + 3)[1] - oy];
  const det = ax * by - ay * bx;
  if (!det) return ring.with(2 * corner, x).with(2 * corner + 1, y);
  const [px, py] = [x - ox, y - oy];
  const a = (px * by - py * bx) / det;
  const b = (ax * py - ay * px) / det;
  const out = [...ring];
  /** @type {(i: number, u: number, v: number) => void} */
  const set = (i, u, v) => {
    out.splice(2 * (i & 3), 2, u, v);
  };
  set(corner, x, y);
  set(corner + 1, ox + a * ax, oy + a * ay);
  set(corner + 3, ox + b * bx, oy + b * by);
  return out;
}

// Where points lie on the screen, in which order they are drawn, and one of them as pixels.

/** @import { Memory, Points } from "./session.js" */
/** @typedef {{ x: Float32Array, y: Float32Array, depth: Float32Array }} Places of points, in canvas pixels */

export const FILLED = 0.46; // share of the shorter side that the points' unit takes
const FARTHEST = 1.6; // depths are about -1.6 to 1.6
const BINS = 512;

/**
 * @param {number} n
 * @returns {Places}
 */
export const places = (n) => ({ x: new Float32Array(n), y: new Float32Array(n), depth: new Float32Array(n) });

/**
 * @param {Pick<Points, "points" | "count" | "dims">} data
 * @param {Memory["view"]} view
 * @param {number} width
 * @param {number} height
 * @param {Places} out with three axes also their depth
 */
export function project({ points: p, count, dims }, { zoom, x: cx, y: cy, turn, tilt }, width, height, out) {
  const scale = FILLED * Math.min(width, height) * zoom;
  const [mx, my] = [width / 2 + cx * scale, height / 2 + cy * scale];
  if (dims === 2) {
    for (let i = 0; i < count; i++) {
      out.x[i] = mx + scale * p[2 * i];
      out.y[i] = my - scale * p[2 * i + 1];
    }
    return;
  }
  const [ca, sa, cb, sb] = [Math.cos(turn), Math.sin(turn), Math.cos(tilt), Math.sin(tilt)];
  for (let i = 0; i < count; i++) {
    const [x, y, z] = [p[3 * i], p[3 * i + 1], p[3 * i + 2]];
    const across = ca * x + sa * z;
    const away = ca * z - sa * x;
    const deep = cb * away + sb * y;
    const near = 1 / (1 + 0.25 * deep);
    out.x[i] = mx + scale * across * near;
    out.y[i] = my - scale * (cb * y - sb * away) * near;
    out.depth[i] = deep;
  }
}

/**
 * Points from far to near, in steps of depth (a counting sort).
 * @param {Float32Array} depth
 */
export function farFirst(depth) {
  const counts = new Uint32Array(BINS + 1);
  const step = (/** @type {number} */ z) =>
    Math.max(0, Math.min(BINS - 1, Math.floor((FARTHEST - z) * (BINS / (2 * FARTHEST)))));
  for (const z of depth) counts[step(z) + 1] += 1;
  for (let b = 0; b < BINS; b++) counts[b + 1] += counts[b];
  const order = new Uint32Array(depth.length);
  for (let i = 0; i < depth.length; i++) order[counts[step(depth[i])]++] = i;
  return order;
}

/**
 * One disc, its edge softened by how far each pixel lies from it.
 * @param {Uint8ClampedArray} pixels
 * @param {number} width
 * @param {number} height
 * @param {number} x
 * @param {number} y
 * @param {number} radius
 * @param {[number, number, number]} colour
 * @param {number} opacity
 */
export function splat(pixels, width, height, x, y, radius, [r, g, b], opacity) {
  const [x0, x1] = [Math.max(0, Math.floor(x - radius)), Math.min(width - 1, Math.ceil(x + radius))];
  const [y0, y1] = [Math.max(0, Math.floor(y - radius)), Math.min(height - 1, Math.ceil(y + radius))];
  for (let py = y0; py <= y1; py++) {
    for (let px = x0; px <= x1; px++) {
      const cover = Math.min(1, radius + 0.5 - Math.hypot(px + 0.5 - x, py + 0.5 - y)) * opacity;
      if (cover <= 0) continue;
      const at = 4 * (py * width + px);
      const under = (pixels[at + 3] / 255) * (1 - cover);
      const alpha = cover + under;
      pixels[at] = (r * cover + pixels[at] * under) / alpha;
      pixels[at + 1] = (g * cover + pixels[at + 1] * under) / alpha;
      pixels[at + 2] = (b * cover + pixels[at + 2] * under) / alpha;
      pixels[at + 3] = 255 * alpha;
    }
  }
}

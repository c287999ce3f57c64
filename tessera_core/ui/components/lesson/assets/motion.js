// What a picture that moves looks like at any moment, from its frames. Pure.

/** @import { MovingPicture, PictureMark } from "../../messages.js" */

/** Slow at both ends. @param {number} t */
export const eased = (t) => (t < 0.5 ? 2 * t * t : 1 - (2 - 2 * t) ** 2 / 2);

/**
 * The values of all marks between two frames; the colour, their last value, changes half-way.
 * @param {MovingPicture} picture
 * @param {number} moment 0 is the first frame, 1 the second
 * @returns {number[][]}
 */
export function between({ frames }, moment) {
  const last = frames.length - 1;
  const at = Math.min(Math.max(moment, 0), last);
  const from = Math.min(Math.floor(at), last);
  const to = Math.min(from + 1, last);
  const share = eased(at - from);
  return frames[from].map((start, mark) => {
    const end = frames[to][mark];
    return start.map((value, n) =>
      n === start.length - 1 ? (share < 0.5 ? value : end[n]) : value + share * (end[n] - value),
    );
  });
}

/** What each kind of mark is in SVG, and which of its attributes the values are. */
export const SHAPES = /** @type {const} */ ({
  dot: ["circle", ["cx", "cy", "r"]],
  line: ["line", ["x1", "y1", "x2", "y2", "stroke-width"]],
  cell: ["rect", ["x", "y", "width", "height"]],
  text: ["text", ["x", "y", "font-size"]],
});

/**
 * Attributes of a mark with these values.
 * @param {PictureMark} mark
 * @param {number[]} values
 * @param {string[]} palette
 * @returns {Record<string, string>}
 */
export function attributes([kind], values, palette) {
  const [, names] = SHAPES[kind];
  /** @type {Record<string, string>} */
  const found = {};
  names.forEach((name, n) => {
    found[name] = values[n].toFixed(2);
  });
  found.opacity = values[names.length].toFixed(3);
  found[kind === "line" ? "stroke" : "fill"] = palette[values[names.length + 1]];
  return found;
}

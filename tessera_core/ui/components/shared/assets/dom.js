// Small helpers for building elements, and the icons.

import { locale, t } from "./words.js";

/**
 * An element: attributes that are properties are set as such, false ones left out.
 * @template {keyof HTMLElementTagNameMap} T
 * @param {T} tag
 * @param {Record<string, any>} [attributes]
 * @param {...(Node | string | null | undefined)} children
 * @returns {HTMLElementTagNameMap[T]}
 */
export function el(tag, attributes = {}, ...children) {
  const node = document.createElement(tag);
  const properties = /** @type {Record<string, any>} */ (/** @type {unknown} */ (node));
  for (const [name, value] of Object.entries(attributes)) {
    if (value === false || value === null || value === undefined) continue;
    if (name.startsWith("on")) properties[name] = value;
    else if (name === "style" || name === "class" || name.includes("-") || name === "for" || name === "role")
      node.setAttribute(name, value);
    else properties[name] = value;
  }
  node.append(...children.filter((child) => child != null));
  return node;
}

const FOCUSABLE = "button, input, select, summary, a[href]";

/**
 * Gives a node other children; who was at its nth button or field by keyboard is at the nth of the new ones.
 * @param {HTMLElement} node
 * @param {...(Node | string)} children
 */
export function renew(node, ...children) {
  const inside = () => /** @type {NodeListOf<HTMLElement>} */ (node.querySelectorAll(FOCUSABLE));
  const focused = focusIn(node);
  const at = focused ? [...inside()].indexOf(focused) : -1;
  node.replaceChildren(...children);
  if (at < 0) return;
  const now = inside();
  now[Math.min(at, now.length - 1)]?.focus({ preventScroll: true });
}

/**
 * What has the keyboard's focus within a node.
 * @param {HTMLElement} node
 */
export function focusIn(node) {
  const { activeElement } = /** @type {ShadowRoot | Document} */ (node.getRootNode());
  return activeElement instanceof HTMLElement && node.contains(activeElement) ? activeElement : null;
}

// 24 x 24 line icons, drawn for this component.
const PATHS = {
  pan: "M12 3v18M3 12h18M12 3l-2.5 2.5M12 3l2.5 2.5M12 21l-2.5-2.5M12 21l2.5-2.5M3 12l2.5-2.5M3 12l2.5 2.5M21 12l-2.5-2.5M21 12l-2.5 2.5",
  select: "M6 3l13 9.500-6 1.200 3.500 6-2.600 1.500-3.500-6L6 20z",
  point: "M12 21c4-5 6-8 6-11a6 6 0 1 0-12 0c0 3 2 6 6 11zM12 12.2a2.2 2.2 0 1 0 0-4.4 2.2 2.2 0 0 0 0 4.4z",
  brush: "M20 4c-4 2-8 6-10 9l2 2c3-2 7-6 8-11zM9.5 14c-3 0-4 2-4 4 0 1-1 2-2 2 3 1.500 8 .5 8-4z",
  polygon: "M5 9l8-5 7 7-4 9-9-2z",
  rectangle: "M4 6h16v12H4z",
  erase: "M8 20h12M4 14l9-9 7 7-8 8H9z M9 9.500l7 7",
  undo: "M8 5L4 9l4 4M4 9h9a6 6 0 0 1 0 12h-3",
  redo: "M16 5l4 4-4 4M20 9h-9a6 6 0 0 0 0 12h3",
  plus: "M12 5v14M5 12h14",
  minus: "M5 12h14",
  home: "M4 9V4h5M20 9V4h-5M4 15v5h5M20 15v5h-5",
  edit: "M4 20l1-4L16 5l3 3L8 19zM14 7l3 3",
  eye: "M2 12c3-5 6-7 10-7s7 2 10 7c-3 5-6 7-10 7s-7-2-10-7zM12 15a3 3 0 1 0 0-6 3 3 0 0 0 0 6z",
  eyeoff:
    "M4 4l16 16M6.500 7.500C4.500 8.700 3 10.400 2 12c3 5 6 7 10 7 1.800 0 3.400-.4 5-1.300M10 5.200c.7-.1 1.300-.2 2-.2 4 0 7 2 10 7-.8 1.300-1.700 2.400-2.600 3.300",
  swipe: "M12 3v18M8 9l-3 3 3 3M16 9l3 3-3 3",
  trash: "M5 7h14M10 7V4h4v3M7 7l1 13h8l1-13",
  check: "M5 12l5 5 9-11",
  north: "M12 3l5 17-5-4-5 4z",
  layers: "M12 4l9 5-9 5-9-5zM3 14l9 5 9-5",
  save: "M12 4v11M7.5 11l4.500 4.500L16.500 11M4 20h16",
  close: "M6 6l12 12M18 6L6 18",
  target: "M12 19a7 7 0 1 0 0-14 7 7 0 0 0 0 14zM12 2v5M12 17v5M2 12h5M17 12h5",
  issue: "M12 4l9 16H3zM12 10v4M12 17h.01",
  search: "M10.500 17a6.500 6.500 0 1 0 0-13 6.500 6.500 0 0 0 0 13zM15.500 15.500L21 21",
  keys: "M3 6h18v12H3zM7 10h.01M11 10h.01M15 10h.01M8 14h8",
};

/** @param {keyof typeof PATHS} name */
export function icon(name) {
  const span = document.createElement("span");
  span.className = "tl-icon";
  span.innerHTML = `<svg viewBox="0 0 24 24" aria-hidden="true"><path d="${PATHS[name]}"/></svg>`;
  return span;
}

/**
 * Draws the eye to an element for a moment, again and again.
 * @param {HTMLElement} node
 */
export function pulse(node) {
  node.classList.remove("tl-pulse");
  void node.offsetWidth;
  node.classList.add("tl-pulse");
}

// The palette of `labels/model.py`, whose colours people with and without full colour vision tell apart, and four more.
export const SWATCHES = [
  "#1658a8",
  "#06480c",
  "#028642",
  "#a6cd82",
  "#ffec4b",
  "#fd8a00",
  "#fd0b4b",
  "#a69582",
  "#44abad",
  "#e8f2fd",
  "#efa0f2",
  "#850b62",
  "#999933",
  "#56b4e9",
  "#5a5a5a",
  "#b0b0b0",
];

/**
 * Black or white, whichever is read more easily on the colour (relative luminance, WCAG 2.2).
 * @param {string} hex
 */
export function inkOn(hex) {
  const [r, g, b] = [1, 3, 5].map((i) => {
    const v = parseInt(hex.slice(i, i + 2), 16) / 255;
    return v <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4;
  });
  return 0.2126 * r + 0.7152 * g + 0.0722 * b > 0.179 ? "#111" : "#fff";
}

/**
 * @param {number} value
 * @param {string} unit "ha", or "px" where a pixel has no known size
 */
export function area(value, unit) {
  if (unit !== "ha") return `${Math.round(value).toLocaleString(locale())} px`;
  if (value >= 10000)
    return t("{value} km²", { value: (value / 100).toLocaleString(locale(), { maximumFractionDigits: 0 }) });
  return t("{value} ha", { value: value.toLocaleString(locale(), { maximumFractionDigits: value < 10 ? 1 : 0 }) });
}

/**
 * A share in percent, without the sign. As on the pages (`_utils/percents.py`): what is not nothing is never written as 0, and what
 * is not all never as 100; up to two decimals are added until that is so, and what lies nearer is below or above them.
 * @param {number} share 0 to 1
 */
export function percent(share) {
  let digits = 0;
  const within = share > 1e-9 && share < 1 - 1e-9;
  while (digits < 3 && within && [0, 100].includes(rounded(100 * share, digits))) digits += 1;
  /** @type {(value: number, decimals: number) => string} */
  const written = (value, decimals) =>
    value.toLocaleString(locale(), { minimumFractionDigits: decimals, maximumFractionDigits: decimals });
  if (digits < 3) return written(rounded(100 * share, digits), digits);
  return share < 0.5 ? `<${written(0.01, 2)}` : `>${written(99.99, 2)}`;
}

/**
 * The nearest number of so many decimals, and of two as near the even one, as Python writes it; `toFixed` takes the larger.
 * @param {number} value
 * @param {number} digits
 */
function rounded(value, digits) {
  const steps = value * 10 ** digits;
  // Only halves, quarters and eighths of this kind lie exactly between two; other products merely look so.
  const between = steps % 1 === 0.5 && Number.isInteger(value * 2 ** (digits + 1));
  if (!between) return Number(value.toFixed(digits));
  return (2 * Math.round(steps / 2)) / 10 ** digits;
}

// Buttons of cards.

import { el, icon, inkOn } from "../../shared/assets/dom.js";

/** @import { LabelClass } from "../../messages.js" */

/**
 * A class to press, with the digit that chooses it.
 * @param {LabelClass} known
 * @param {number} position in the list of classes
 * @param {string} title
 * @param {() => void} press
 * @param {{ css?: string, pressed?: boolean }} [look]
 */
export function classChip({ name, color }, position, title, press, { css = "", pressed } = {}) {
  const style = `background:${color};color:${inkOn(color)}`;
  const digit = el("span", { class: "tl-chip", style }, position < 9 ? String(position + 1) : "");
  const state = pressed === undefined ? {} : { "aria-pressed": String(pressed) };
  return el("button", { type: "button", class: `tl-cardchip ${css}`, ...state, title, onclick: press }, digit, name);
}

/**
 * @param {string} text
 * @param {() => void} press
 * @param {{ key?: string, title?: string, sign?: Parameters<typeof icon>[0] }} [more]
 */
export function cardButton(text, press, { key, title, sign } = {}) {
  const parts = [sign ? icon(sign) : null, text, key ? el("kbd", {}, key) : null];
  return el("button", { type: "button", class: "tl-button", title, onclick: press }, ...parts);
}

/**
 * @param {string} label
 * @param {() => void} press
 */
export function closeButton(label, press) {
  const title = `${label} (Escape)`;
  return el("button", { type: "button", class: "tl-more", title, "aria-label": label, onclick: press }, icon("close"));
}

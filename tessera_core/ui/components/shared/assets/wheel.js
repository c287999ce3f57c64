// Whose the wheel is. On a page that scrolls it scrolls the page, over the map too; with Ctrl or ⌘ it zooms the map, as two fingers
// on a touchpad do, which browsers tell as a wheel with Ctrl.

import { el } from "./dom.js";
import { t } from "./words.js";

const SHOWN = 1600; // milliseconds

export class Wheel {
  /** @param {HTMLElement} box of the map */
  constructor(box) {
    this.box = box;
    this.timer = 0;
    const key = /mac|iphone|ipad/i.test(navigator.platform) ? "⌘" : t("Ctrl");
    this.hint = el("div", { class: "tl-wheel tl-plate", hidden: true }, t("{key} + wheel zooms the map", { key }));
    box.append(this.hint);
    // Before Leaflet, which would zoom and keep the page where it is.
    box.addEventListener("wheel", (event) => this.turned(event), { capture: true, passive: true });
  }

  /** @param {WheelEvent} event */
  turned(event) {
    const zooms = event.ctrlKey || event.metaKey || !scrolls(this.box);
    if (!zooms) event.stopPropagation();
    clearTimeout(this.timer);
    this.hint.hidden = zooms;
    if (!zooms) this.timer = setTimeout(() => (this.hint.hidden = true), SHOWN);
  }

  destroy() {
    clearTimeout(this.timer);
  }
}

/**
 * Whether something around an element scrolls up and down.
 * @param {Element} element
 */
function scrolls(element) {
  /** @type {Node | null} */
  let node = element;
  while (node) {
    node = node instanceof ShadowRoot ? node.host : node.parentNode;
    if (!(node instanceof Element) || node.scrollHeight <= node.clientHeight + 1) continue;
    if (node === document.scrollingElement || /auto|scroll/.test(getComputedStyle(node).overflowY)) return true;
  }
  return false;
}

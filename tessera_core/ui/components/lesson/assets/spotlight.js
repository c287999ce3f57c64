// The spotlight: a ring around the control that a step speaks of. It follows the control and catches no click.

import { el } from "../../shared/assets/dom.js";
import { BESIDE_MAP, ON_MAP, USED } from "../../shared/assets/used.js";
import { find, within } from "./finding.js";

const SEARCH = 350; // milliseconds between two looks for the control
const SEEN = 700; // milliseconds in sight that count as seen
const USES = ["click", "pointerup", "change", "input", "keydown"];
const PASSING = ["Tab", "Escape", "Shift", "Control", "Alt", "Meta"]; // keys that only pass by
const TRIES = 4; // times the control is brought into sight, because the page may still be arranging itself
const AROUND = 5; // pixels between the control and the ring
const EFFECT = 250; // milliseconds after a layer was switched until the map is brought into sight
const MAP = '[data-kind="map"] .tl-box';
// Buttons on a map are not the map; a map that takes clicks says itself where they fell.
const NOT_THE_MAP = "button, a, input, select, .tl-control, .tv-clicks";

export class Spotlight {
  /**
   * @param {HTMLElement | ShadowRoot} parent
   * @param {() => { width: number, height: number }} room that the panel leaves free
   * @param {(what: "used" | "seen", target: string) => void} did
   * @param {() => void} missed a place was chosen that lies beside the map
   */
  constructor(parent, room, did, missed) {
    this.room = room;
    this.did = did;
    this.missed = missed;
    this.ring = el("div", { class: "lesson-ring", hidden: true, "aria-hidden": "true" });
    parent.append(this.ring);
    this.target = "";
    this.selector = "";
    /** @type {HTMLElement | null} */
    this.at = null;
    this.sought = 0;
    this.since = 0;
    this.tries = 0;
    this.frame = 0;
    this.onUse = (/** @type {Event} */ event) => this.use(event);
    for (const kind of USES) document.addEventListener(kind, this.onUse, true);
    this.onUsed = (/** @type {Event} */ event) => this.usedElsewhere(event);
    document.addEventListener(USED, this.onUsed);
    this.follow = () => {
      this.frame = requestAnimationFrame(this.follow);
      this.place();
    };
    this.follow();
  }

  destroy() {
    cancelAnimationFrame(this.frame);
    for (const kind of USES) document.removeEventListener(kind, this.onUse, true);
    document.removeEventListener(USED, this.onUsed);
    this.ring.remove();
  }

  /**
   * @param {string} target
   * @param {string} selector empty where nothing is pointed at
   */
  point(target, selector) {
    if (target === this.target && selector === this.selector) return;
    Object.assign(this, { target, selector, at: null, sought: 0, since: 0, tries: 0 });
    this.ring.classList.add("lesson-dim");
  }

  /** Brings the control into sight. */
  show() {
    this.tries = 0;
    this.sought = 0;
    this.ring.classList.add("lesson-dim");
  }

  /** The page comes first again: only the ring stays. */
  light() {
    this.tries = TRIES;
    this.ring.classList.remove("lesson-dim");
  }

  place() {
    const now = performance.now();
    if (this.selector && now - this.sought > SEARCH) {
      this.sought = now;
      if (!this.at?.isConnected || !this.at.getClientRects().length) this.at = find(this.selector);
      if (this.at && this.tries < TRIES) this.scroll(this.at);
    }
    const { at } = this;
    const box = this.selector && at?.isConnected ? at.getBoundingClientRect() : null;
    const cut = box && within(box, this.room());
    this.ring.hidden = !cut;
    if (!cut) {
      this.since = 0;
      return;
    }
    this.since ||= now;
    if (now - this.since > SEEN && !document.hidden) this.did("seen", this.target);
    const [left, top] = [cut.left - AROUND, cut.top - AROUND];
    const [width, height] = [cut.right - cut.left + 2 * AROUND, cut.bottom - cut.top + 2 * AROUND];
    const place = `${left.toFixed(1)} ${top.toFixed(1)} ${width.toFixed(1)} ${height.toFixed(1)}`;
    if (this.ring.dataset.place === place) return;
    this.ring.dataset.place = place;
    Object.assign(this.ring.style, {
      transform: `translate(${left}px, ${top}px)`,
      width: `${width}px`,
      height: `${height}px`,
    });
  }

  /** @param {HTMLElement} at */
  scroll(at) {
    this.tries++;
    const { top, bottom } = at.getBoundingClientRect();
    const { height } = this.room();
    if (top >= 60 && bottom <= height) return;
    // To the middle of what is free, or with its top in sight where it is taller.
    at.style.scrollMarginTop = "72px";
    at.style.scrollMarginBottom = `${innerHeight - height + 24}px`;
    at.scrollIntoView({ block: bottom - top > height - 80 ? "start" : "end", behavior: "instant" });
  }

  /**
   * Whether what happened was on the control; by its selector, because a control may be new and not yet found by the ring.
   * @param {Event} event
   */
  use(event) {
    const { selector } = this;
    if (!selector || (event instanceof KeyboardEvent && PASSING.includes(event.key))) return;
    const path = event.composedPath().filter((one) => one instanceof Element);
    if (!path.some((one) => one.matches(selector))) return;
    if (this.onMap && path.some((one) => one.matches(NOT_THE_MAP))) return;
    this.did("used", this.target);
    // On a phone the list of layers is below the map: what switching one does could not be seen from there.
    if (event.type === "click" && this.target.startsWith("label.layer.")) setTimeout(() => this.effect(), EFFECT);
  }

  /**
   * What was done by a key, or a button on the map, counts as the control's own.
   * @param {Event} event
   */
  usedElsewhere(event) {
    if (!this.selector || !(event instanceof CustomEvent)) return;
    const { detail } = event;
    if (detail === this.target || (detail === ON_MAP && this.onMap)) this.did("used", this.target);
    else if (detail === BESIDE_MAP && this.onMap) this.missed();
  }

  get onMap() {
    return this.target.endsWith(".map");
  }

  /** Brings the map into sight where most of it is out of sight. */
  effect() {
    const map = find(MAP);
    if (!map) return;
    const { top, bottom } = map.getBoundingClientRect();
    const { height } = this.room();
    if (Math.min(bottom, height) - Math.max(top, 0) > Math.min(bottom - top, height) / 2) return;
    map.style.scrollMarginTop = "72px";
    map.scrollIntoView({ block: "start", behavior: "instant" });
  }
}

// Manners of the page as a whole, which hold for every page of the app: see below. They are learned once.

import { OwnWords } from "./own_words.js";

const page = /** @type {{ __tesseraManners?: boolean; __tesseraWords?: OwnWords }} */ (globalThis);
const SETTLED = 300; // milliseconds without a run after which what a page shows is what it will show
const AGAIN = 60;

/** @param {{ data?: import("../../messages.js").Language }} component */
export default function ({ data }) {
  if (data) speak(data);
  if (page.__tesseraManners) return;
  page.__tesseraManners = true;
  addEventListener("click", fold, true);
  new Focus();
}

/**
 * Screen readers read a page in its language; the choice is remembered for the next visit.
 * @param {import("../../messages.js").Language} language
 */
function speak({ language, rtl, cookie, words }) {
  const root = document.documentElement;
  root.lang = language;
  root.dir = rtl ? "rtl" : "ltr";
  page.__tesseraWords ??= new OwnWords();
  page.__tesseraWords.learn(words);
  if (new URLSearchParams(location.search).has("lang"))
    // biome-ignore lint/suspicious/noDocumentCookie: the other way is not in Firefox, nor without TLS.
    document.cookie = `${cookie}=${language}; path=/; max-age=31536000; SameSite=Lax`;
}

/**
 * On a phone the navigation lies over the page: it goes once a page was chosen.
 * @param {Event} event
 */
function fold(event) {
  const target = /** @type {Element} */ (event.target);
  if (!target.closest?.('[data-testid="stSidebar"] a[href]')) return;
  const close = /** @type {HTMLElement | null} */ (
    document.querySelector('[data-testid="stSidebarCollapseButton"] button')
  );
  // The link first does what it is for.
  setTimeout(() => close?.click());
}

/** Whose keys are on a button that goes away, or is locked for a while, would be at the head of the page: they stay near. */
class Focus {
  constructor() {
    /** @type {HTMLElement | null} */
    this.node = null; // what had the focus last, by keys
    this.name = ""; // of the place that Streamlit gives to it, whatever is drawn there
    this.keys = false;
    this.timer = 0;
    this.since = 0;
    addEventListener("keydown", () => this.used(true), true);
    addEventListener("pointerdown", () => this.used(false), true);
    addEventListener("focusin", () => this.came(), true);
    addEventListener("focusout", () => queueMicrotask(() => this.went()), true);
    const watched = { childList: true, subtree: true, attributes: true, attributeFilter: ["disabled"] };
    new MutationObserver(() => this.watch()).observe(document.body, watched);
  }

  /** @param {boolean} keys */
  used(keys) {
    this.keys = keys;
    if (!keys) this.node = null;
  }

  came() {
    this.node = this.keys && document.activeElement instanceof HTMLElement ? document.activeElement : null;
    const place = this.node?.closest('[class*="st-key-"]');
    this.name = [...(place?.classList ?? [])].find((name) => name.startsWith("st-key-")) ?? "";
  }

  // Left on purpose, by Escape: it is still there.
  went() {
    if (this.lost && this.node && usable(this.node)) this.node = null;
  }

  get lost() {
    return !document.activeElement || document.activeElement === document.body;
  }

  watch() {
    if (!this.node || !this.lost || this.timer) return;
    this.since = performance.now();
    this.timer = setTimeout(() => this.restore(), AGAIN);
  }

  restore() {
    this.timer = 0;
    if (!this.node || !this.lost) return;
    if (usable(this.node)) return this.node.focus({ preventScroll: true });
    const state = /** @type {HTMLElement | null} */ (document.querySelector('[data-testid="stApp"]'));
    if (state?.dataset.testScriptState !== "notRunning") this.since = performance.now();
    if (performance.now() - this.since < SETTLED) {
      this.timer = setTimeout(() => this.restore(), AGAIN);
      return;
    }
    const same = this.name && document.querySelector(`.${CSS.escape(this.name)} :is(button, input, a[href])`);
    if (same instanceof HTMLElement && usable(same)) return same.focus({ preventScroll: true });
    const title =
      document.querySelector('[data-testid="stMainBlockContainer"] h1') ?? document.querySelector("main, section");
    if (!(title instanceof HTMLElement)) return;
    title.tabIndex = -1;
    title.focus({ preventScroll: true });
  }
}

/** @param {HTMLElement} node */
function usable(node) {
  const locked = node instanceof HTMLButtonElement && node.disabled;
  return node.isConnected && !locked && node.checkVisibility({ visibilityProperty: true });
}

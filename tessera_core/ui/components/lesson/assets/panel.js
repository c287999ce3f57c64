// The panel of a lesson: the step, its question, and the ways on. At the side of a wide page, at the foot of a narrow one.

import { el } from "../../shared/assets/dom.js";
import { keep, restore } from "../../shared/assets/mounting.js";
import { Outbox } from "../../shared/assets/outbox.js";
import { find } from "./finding.js";
import { Player } from "./player.js";
import { Spotlight } from "./spotlight.js";

/** @import { LessonHeader, LessonPictureHeader, LessonTruth, MovingPicture } from "../../messages.js" */

const WIDE = "(min-width: 1000px)";
const BESIDE = "--studio-beside"; // how much room it takes at the side, for what lies over the whole window
const SOON = 500; // milliseconds after something was done on the page until the server is asked to look
const LATER = 2500; // milliseconds between two looks while a step waits for something

export class LessonPanel {
  /**
   * @param {string} key
   * @param {CSSStyleSheet[]} sheets
   */
  constructor(key, sheets) {
    this.store = `tessera-lesson:${key}`;
    this.memory = restore(this.store, { folded: false });
    this.outbox = new Outbox();
    /** @type {LessonHeader | null} */
    this.header = null;
    /** @type {Set<string>} */
    this.told = new Set();
    this.missed = false; // whether the last place that was chosen lies beside the map
    this.wide = matchMedia(WIDE);
    this.host = el("div", { "data-lesson": key });
    const shadow = this.host.attachShadow({ mode: "open" });
    shadow.adoptedStyleSheets = sheets;
    this.player = new Player((name) => this.word(name));
    /** @type {(css: string, press: () => void) => HTMLButtonElement} */
    const button = (css, press) => el("button", { type: "button", class: `tl-button ${css}`, onclick: press });
    this.bar = button("lesson-bar", () => this.fold(!this.memory.folded));
    this.live = el("div", { class: "lesson-hidden", role: "status", "aria-live": "polite" });
    this.heading = el("h2", { tabIndex: -1 });
    this.progress = el("progress", { max: 1, value: 0 });
    this.text = el("div", { class: "lesson-text" });
    this.question = el("p", { class: "lesson-question", id: "question" });
    this.choices = el("div", { class: "lesson-choices", role: "group", "aria-labelledby": "question" });
    this.reply = el("p", { class: "lesson-reply" });
    this.truth = el("div", { class: "lesson-truth" });
    this.way = el("p", { class: "lesson-way" });
    this.done = el("p", { class: "lesson-done" });
    this.hint = el("details", { class: "lesson-hint" });
    this.problem = el("p", { class: "lesson-problem", role: "alert" });
    this.lost = el("p", { class: "lesson-problem", role: "status" });
    this.next = button("tl-primary", () => this.step("next"));
    this.follow = button("tl-primary lesson-follow", () => this.outbox.push({ kind: "follow" }));
    this.back = button("lesson-quiet", () => this.step("back"));
    this.show = button("lesson-quiet", () => this.showTarget());
    this.solve = button("lesson-quiet", () => this.step("solve"));
    this.skip = button("lesson-quiet", () => this.step("skip"));
    this.leave = button("lesson-quiet", () => this.outbox.push({ kind: "leave" }));
    this.restart = button("lesson-quiet", () => this.outbox.push({ kind: "restart" }));
    this.lessons = el("a", { class: "lesson-link" });
    this.body = el(
      "div",
      { class: "lesson-body" },
      this.progress,
      this.heading,
      this.text,
      this.player.box,
      this.question,
      this.choices,
      this.reply,
      this.truth,
      this.way,
      this.done,
      this.problem,
      this.lost,
      this.hint,
      el("div", { class: "lesson-more" }, this.show, this.solve, this.skip),
      el("div", { class: "lesson-end" }, this.lessons, this.restart, this.leave),
    );
    this.foot = el("div", { class: "lesson-foot" }, this.back, this.follow, this.next);
    this.panel = el("aside", { class: "lesson-panel" }, this.bar, this.body, this.foot);
    this.panel.onkeydown = (event) => {
      if (event.key !== "Escape" || this.memory.folded) return;
      event.stopPropagation();
      this.fold(true);
      this.bar.focus();
    };
    this.root = el("div", { class: "tl-root lesson-root" }, this.live, this.panel);
    shadow.append(this.root);
    document.body.append(this.host);
    this.spotlight = new Spotlight(
      this.root,
      () => this.room(),
      (what, target) => this.did(what, target),
      () => this.miss(),
    );
    this.outside = (/** @type {Event} */ event) => this.onPage(event);
    for (const kind of ["pointerdown", "pointerup", "keyup", "change"])
      document.addEventListener(kind, this.outside, true);
    this.resized = () => this.arrange();
    this.wide.addEventListener("change", this.resized);
    this.clock = setInterval(() => this.tick(), LATER);
    this.asked = 0;
  }

  destroy() {
    clearInterval(this.clock);
    clearTimeout(this.asked);
    for (const kind of ["pointerdown", "pointerup", "keyup", "change"])
      document.removeEventListener(kind, this.outside, true);
    this.wide.removeEventListener("change", this.resized);
    this.player.destroy();
    this.spotlight.destroy();
    this.host.remove();
    const app = /** @type {HTMLElement | null} */ (document.querySelector(".stApp"));
    if (app) Object.assign(app.style, { right: "", bottom: "" });
    document.documentElement.style.removeProperty(BESIDE);
  }

  /** @param {string} name */
  word(name) {
    return this.header?.words[name] ?? "";
  }

  /** @param {[string, string][]} colours */
  look(colours) {
    for (const [name, value] of colours) this.host.style.setProperty(name, value);
  }

  // ------------------------------------------------------------------ filling

  /** @param {LessonHeader} header */
  receive(header) {
    const before = this.header;
    this.outbox.answered(header);
    this.header = header;
    const other = before?.step !== header.step || before.title !== header.title;
    const solved = header.done && header.told !== "" && !(before?.done && !other);
    if (other) this.told.clear();
    if (other || header.done) this.missed = false;
    this.fill(header);
    this.spotlight.point(header.target, header.done || !header.here ? "" : header.selector);
    if (other) {
      this.say(`${header.words.step}. ${header.heading}. ${header.text.map(plain).join(" ")} ${header.question}`);
      this.body.scrollTop = 0;
      if (before) this.fold(false);
    } else if (solved && header.waits) {
      this.say(header.told);
      this.fold(false);
    }
    // A click that does not count is told at once, also where the panel is folded.
    const told = header.lost !== "" && header.lost !== before?.lost;
    if (told) this.fold(false);
    this.arrange();
    if (solved && header.waits) this.done.scrollIntoView({ block: "nearest" });
    else if (told) this.lost.scrollIntoView({ block: "nearest" });
  }

  /** @param {LessonHeader} header */
  fill(header) {
    const { words } = header;
    this.panel.setAttribute("aria-label", `${words.lesson}: ${header.title}`);
    this.progress.value = header.number / header.of;
    this.progress.setAttribute("aria-label", words.step);
    renew(this.heading, header.heading);
    renew(this.text, ...header.text.map((part) => el("p", {}, ...bold(part))));
    if (header.points.length) {
      const points = el("ul", {}, ...header.points.map((point) => el("li", {}, ...bold(point))));
      this.text.append(el("h3", {}, words.points), points);
    }
    this.player.box.hidden = !header.picture || this.player.name === "";
    this.fillQuestion(header);
    this.fillTruth(header.truth);
    this.fillWay(header);
    const told = header.told || (header.question ? "" : words.done);
    this.done.textContent = header.waits && header.done ? told : "";
    this.done.hidden = !this.done.textContent;
    this.problem.textContent = header.problem;
    this.problem.hidden = !header.problem;
    this.lost.textContent = header.lost || (this.missed ? words.beside : "");
    this.lost.hidden = !this.lost.textContent;
    const hint = header.done ? "" : header.hint;
    this.hint.hidden = !hint;
    if (this.hint.dataset.step !== header.step) {
      this.hint.open = false;
      this.hint.dataset.step = header.step;
      this.hint.replaceChildren(el("summary", {}, words.hint), el("p", {}, ...bold(hint)));
    }
    set(this.next, words.next, !header.last, !header.done);
    set(this.follow, header.following, header.following !== "");
    set(this.back, words.back, header.number > 1);
    set(this.show, words.show, header.here && header.selector !== "" && (header.waits || !header.done));
    set(this.solve, words.solve, header.solvable && !header.done);
    set(this.skip, words.skip, !header.done && !header.last);
    set(this.restart, words.restart, true);
    set(this.leave, words.leave, true);
    this.lessons.textContent = words.lessons;
    this.lessons.href = header.lessons;
    this.fillBar(header);
  }

  /** @param {LessonHeader} header */
  fillBar(header) {
    const { words } = header;
    const mark = header.waits && header.done ? " ✓" : "";
    this.bar.replaceChildren(
      el("span", { class: "lesson-name" }, this.memory.folded ? `${header.heading}${mark}` : header.title),
      el("span", { class: "lesson-count" }, words.step),
      el("span", { class: "lesson-arrow", "aria-hidden": "true" }),
    );
    this.bar.setAttribute("aria-expanded", String(!this.memory.folded));
    this.bar.title = this.memory.folded ? words.unfold : words.fold;
  }

  /** @param {LessonHeader} header */
  fillQuestion(header) {
    this.question.textContent = header.question;
    this.question.hidden = this.choices.hidden = !header.question;
    const signature = JSON.stringify([header.step, header.choices]);
    if (this.choices.dataset.shows !== signature) {
      this.choices.dataset.shows = signature;
      this.choices.replaceChildren(
        ...header.choices.map((text, choice) =>
          el(
            "button",
            {
              type: "button",
              class: "lesson-choice",
              onclick: () => this.outbox.push({ kind: "answer", step: this.header?.step ?? "", choice }),
            },
            text,
          ),
        ),
      );
    }
    [...this.choices.children].forEach((button, n) => {
      button.setAttribute("aria-pressed", String(n === header.chosen));
    });
    if (this.reply.textContent !== header.reply) {
      this.reply.textContent = header.reply;
      this.reply.hidden = !header.reply;
      if (header.reply) {
        this.say(header.reply);
        this.reply.scrollIntoView({ block: "nearest" });
      }
    }
    this.reply.hidden = !header.reply;
  }

  /** @param {LessonTruth | null} truth */
  fillTruth(truth) {
    this.truth.hidden = !truth;
    const signature = truth ? JSON.stringify(truth) : "";
    if (!truth || this.truth.dataset.shows === signature) return;
    this.truth.dataset.shows = signature;
    const row = (/** @type {string} */ css, /** @type {string} */ name, /** @type {string} */ value) =>
      el("div", { class: `lesson-row ${css}` }, el("span", {}, name), el("b", {}, value));
    this.truth.replaceChildren(
      row("", this.word("claim"), truth.claim),
      row("", this.word("score"), truth.score),
      ...(truth.sample ? [row("", this.word("sample"), truth.sample)] : []),
      row("lesson-main", this.word("truth"), truth.right),
      ...truth.shares.map(([name, share]) => row("lesson-small", name, share)),
      el(
        "div",
        { class: "lesson-maps" },
        ...truth.pictures.map(([name, src]) =>
          el("figure", {}, el("img", { src, alt: name }), el("figcaption", {}, name)),
        ),
      ),
    );
  }

  /**
   * The way to the page that the step is about.
   * @param {LessonHeader} header
   */
  fillWay({ here, page, address, words }) {
    this.way.hidden = here;
    const signature = `${here} ${address}`;
    if (this.way.dataset.shows === signature) return;
    this.way.dataset.shows = signature;
    const link = el("a", { class: "lesson-link", href: address }, `${words.open} ${page}`);
    link.onclick = (event) => {
      // The navigation's own link goes there without loading everything anew.
      const links = /** @type {NodeListOf<HTMLElement>} */ (
        document.querySelectorAll('[data-testid="stTopNavLink"], [data-testid="stSidebarNavLink"]')
      );
      const own = [...links].find((one) => one.textContent?.trim().endsWith(page));
      if (!own?.getClientRects().length) return;
      event.preventDefault();
      own.click();
    };
    this.way.replaceChildren(link);
  }

  /**
   * @param {LessonPictureHeader} header
   * @param {MovingPicture} picture
   */
  pictured(header, picture) {
    if (!this.header) return;
    this.player.fill(header, picture);
    this.player.box.hidden = !this.header.picture;
    this.arrange();
  }

  /** @param {string} text */
  say(text) {
    this.live.textContent = text;
  }

  // ------------------------------------------------------------------ doing

  /** @param {"next" | "back" | "skip" | "solve"} kind */
  step(kind) {
    const { header } = this;
    if (header && !(kind === "next" && !header.done)) this.outbox.push({ kind, step: header.step });
  }

  showTarget() {
    const { header } = this;
    if (!this.wide.matches) this.fold(true);
    const at = find(header?.selector ?? "");
    // What is done has no ring any more, and is shown to whoever wants to do it once more.
    if (header?.done && at) this.spotlight.scroll(at);
    else this.spotlight.show();
    if (!at) this.say(this.word("hidden"));
  }

  /**
   * @param {"used" | "seen"} what
   * @param {string} target
   */
  did(what, target) {
    const event = `${what}:${target}`;
    if (!this.header || this.told.has(event)) return;
    this.told.add(event);
    // What was pressed goes to the server first, in a message of its own: two at once would be one, and of the panel alone.
    setTimeout(() => this.outbox.push({ kind: "did", what, target }), SOON);
  }

  /** A click that does not count is told. */
  miss() {
    if (!this.header || this.header.done) return;
    this.missed = true;
    this.fill(this.header);
    this.fold(false);
    this.lost.scrollIntoView({ block: "nearest" });
  }

  /** @param {boolean} folded */
  fold(folded) {
    if (this.memory.folded === folded) return;
    this.memory.folded = folded;
    keep(this.store, this.memory);
    if (this.header) this.fillBar(this.header);
    this.arrange();
  }

  /**
   * Something was done on the page: it comes first, and the step may be done by it.
   * @param {Event} event
   */
  onPage(event) {
    if (event.composedPath().includes(this.host)) return;
    if (event.type === "pointerdown") {
      this.spotlight.light();
      if (!this.wide.matches) this.fold(true);
      return;
    }
    this.ask(SOON);
  }

  tick() {
    if (!document.hidden && !this.outbox.pending.length) this.ask(0);
  }

  /** @param {number} wait */
  ask(wait) {
    const { header } = this;
    if (!header?.waits || header.done) return;
    clearTimeout(this.asked);
    this.asked = setTimeout(() => this.outbox.push({ kind: "look" }), wait);
  }

  // ------------------------------------------------------------------ room

  /** The page's room beside the panel. */
  room() {
    const { left, top } = this.panel.getBoundingClientRect();
    return this.wide.matches
      ? { width: this.memory.folded ? innerWidth : left, height: innerHeight }
      : { width: innerWidth, height: top };
  }

  /** Gives the page the room that the panel leaves. */
  arrange() {
    const wide = this.wide.matches;
    const { folded } = this.memory;
    this.panel.classList.toggle("lesson-wide", wide);
    this.panel.classList.toggle("lesson-folded", folded);
    this.body.hidden = this.foot.hidden = folded;
    const app = /** @type {HTMLElement | null} */ (document.querySelector(".stApp"));
    if (!app) return;
    const right = wide && !folded ? `${this.panel.offsetWidth}px` : "";
    const bottom = wide ? "" : `${this.bar.offsetHeight}px`;
    if (app.style.right === right && app.style.bottom === bottom) return;
    Object.assign(app.style, { right, bottom });
    document.documentElement.style.setProperty(BESIDE, right || "0px");
    // Maps measure their room themselves; Streamlit's own elements listen to the window.
    window.dispatchEvent(new Event("resize"));
  }
}

/**
 * @param {HTMLElement} node
 * @param {...(Node | string)} children
 */
function renew(node, ...children) {
  const before = node.innerHTML;
  const made = el("div", {}, ...children);
  if (before !== made.innerHTML) node.replaceChildren(...made.childNodes);
}

/**
 * @param {HTMLButtonElement} button
 * @param {string} text
 * @param {boolean} shown
 * @param {boolean} [waits]
 */
function set(button, text, shown, waits = false) {
  if (button.textContent !== text) button.textContent = text;
  button.hidden = !shown;
  // Not disabled: it would lose the keyboard's focus.
  button.setAttribute("aria-disabled", String(waits));
}

/** @param {string} text */
const plain = (text) => text.replaceAll("**", "");

/**
 * Text with `**bold**` as nodes.
 * @param {string} text
 * @returns {(string | HTMLElement)[]}
 */
const bold = (text) => text.split("**").map((part, n) => (n % 2 ? el("strong", {}, part) : part));

// Leads from place to place: the best ones to label next, and labels that look doubtful. The list stays as it was when the
// tour began, whatever is found meanwhile.

import { el } from "../../shared/assets/dom.js";
import { used } from "../../shared/assets/used.js";
import { indices } from "../../shared/assets/wire.js";
import { t } from "../../shared/assets/words.js";
import { cardButton, classChip, closeButton } from "./chips.js";
import { changed, summary } from "./tour.js";

/** @import { LabelIssue, LabelClass, Operation, Query } from "../../messages.js" */
/** @import { Insight } from "./insight.js" */
/** @import { ClassMap } from "./pictures.js" */
/** @import { Answer, Standing } from "./tour.js" */

export const LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ";
const NEAR = 10; // screen pixels that a scene pixel gets when a place is visited
const SKIPPED = 100; // places passed over that are remembered
const PAUSE = 200; // milliseconds before more places are asked for

/** @type {Record<string, string>} */
const TITLES = {
  contradiction: t("Labelled twice, differently"),
  "likely wrong": t("Looks like another class"),
  overlap: t("Two classes look alike"),
  "too few": t("Too few labels"),
  duplicate: t("Labelled twice"),
  "too close": t("Too close together"),
};

/** @param {{ kind: string }} issue */
export function title(issue) {
  return TITLES[issue.kind] ?? t("Doubtful");
}

export class Guide {
  /** @param {Insight} insight */
  constructor(insight) {
    this.insight = insight;
    /** @type {"next" | "issues" | null} */
    this.kind = null;
    /** @type {(Query & { done?: boolean })[]} */
    this.places = []; // of the kind "next"
    /** @type {(LabelIssue & { done?: boolean })[]} */
    this.issues = [];
    this.at = -1;
    this.waiting = false; // for more places
    this.peeking = false; // whether the map's own answer is in sight while a place is asked about
    /** @type {Answer[]} */
    this.answers = []; // of this tour
    /** @type {{ map: ClassMap | null, score: Standing["score"] }} */
    this.before = { map: null, score: null };
    /** @type {string[] | null} */
    this.summary = null; // what the answers have changed, once it is known
  }

  get session() {
    return this.insight.session;
  }

  get list() {
    return this.kind === "issues" ? this.issues : this.places;
  }

  get place() {
    return this.kind === "next" ? this.places[this.at] : undefined;
  }

  get issue() {
    return this.kind === "issues" ? this.issues[this.at] : undefined;
  }

  get current() {
    return this.place ?? this.issue;
  }

  // Whether somebody is being asked what is at a place, and shall not be told the answer.
  get asks() {
    return Boolean(this.place) && !this.peeking;
  }

  peek() {
    this.peeking = !this.peeking;
    this.draw();
  }

  // Marks to draw: those of the tour, else the newest suggestions.
  get marks() {
    const { header } = this.insight;
    const { issue } = this;
    if (this.kind === "issues") return issue?.xy ? [{ xy: issue.xy, text: issue.text, letter: "!", now: true }] : [];
    /** @type {Guide["places"]} */
    const list = this.kind === "next" ? this.places : header?.ready ? header.next : [];
    return list
      .map(({ xy, text, done }, n) => ({
        xy,
        text,
        letter: LETTERS[n],
        now: n === this.at && this.kind !== null,
        done,
      }))
      .filter((mark) => !mark.done);
  }

  refresh() {
    const { header } = this.insight;
    if (this.kind !== "next" || !this.waiting || !header || header.pending) return;
    if (header.version !== this.session.header?.version || this.session.queue.pending.length) return;
    this.waiting = false;
    if (this.answers.length) this.sumUp(header.score);
    else if (header.next.length) this.start("next");
    else this.leave();
  }

  /**
   * All places are done, and what the map has become of it is known: say so before more is asked.
   * @param {Standing["score"]} score
   */
  async sumUp(score) {
    const { answers, before } = this;
    const now = this.session.view?.pictures.classMap ?? null;
    const share = before.map && now ? await compared(before.map, now) : null;
    if (this.kind !== "next" || this.answers !== answers) return;
    this.summary = summary(answers, share, before.score, score);
    this.draw();
  }

  /**
   * @param {"next" | "issues"} kind
   * @param {number} [at]
   */
  start(kind, at = 0) {
    const { header } = this.insight;
    const found = kind === "next" ? header?.next : header?.issues;
    if (!header || !found?.length) return;
    if (kind === "next") used("label.places");
    this.session.selection.clear();
    this.session.endSearch();
    this.kind = kind;
    this.peeking = false;
    this.summary = null;
    this.answers = [];
    this.before = { map: this.session.view?.pictures.classMap ?? null, score: header.score };
    if (kind === "next") this.places = header.next.map((place) => ({ ...place }));
    else this.issues = header.issues.map((issue) => ({ ...issue }));
    this.at = at;
    this.waiting = false;
    this.show();
  }

  // The next place that is still open, or the end.
  next() {
    if (!this.kind || this.summary) return this.start("next");
    this.peeking = false;
    const { list } = this;
    for (let step = 1; step <= list.length; step++) {
      const at = (this.at + step) % list.length;
      if (!list[at].done) {
        this.at = at;
        return this.show();
      }
    }
    this.finished();
  }

  finished() {
    if (this.kind !== "next") return this.leave();
    // All are done: what helps most now is being worked out.
    this.waiting = true;
    this.at = -1;
    this.draw();
    this.insight.settle(PAUSE);
  }

  leave() {
    this.kind = null;
    this.waiting = false;
    this.summary = null;
    this.draw();
    this.session.view?.box.focus({ preventScroll: true });
  }

  show() {
    const { current } = this;
    if (current?.xy) this.session.view?.looking.visit(current.xy, NEAR);
    this.draw();
  }

  draw() {
    const { view, panel } = this.session;
    view?.marks.draw();
    view?.marks.drawCard();
    view?.pictures.arrange();
    panel?.receiveInsight();
  }

  /**
   * One key or one touch: the place gets the class, and the next one comes.
   * @param {number} id
   */
  label(id) {
    const { place } = this;
    if (!place) return;
    this.session.choose(id);
    this.session.view?.add("point", [place.xy], 0);
    this.answers.push({ given: id, said: place.likely[0] });
    place.done = true;
    this.next();
  }

  skip() {
    const { current, place } = this;
    if (place) {
      const { queue } = this.insight;
      queue.want = { ...queue.want, skipped: [...queue.want.skipped, place.xy].slice(-SKIPPED) };
    }
    if (current) current.done = true;
    this.next();
  }

  /** @param {Operation[]} ops that mend the doubtful label */
  resolve(ops) {
    for (const op of ops) this.session.view?.op(op);
    if (this.current) this.current.done = true;
    this.next();
  }

  // ------------------------------------------------------------------ the card

  card() {
    const { kind, current, place, issue } = this;
    if (!kind) return null;
    if (this.summary) return this.summed(this.summary);
    if (this.waiting || (kind === "next" && !current)) {
      const words = el("p", {}, t("All places are done. Looking what your answers have changed…"));
      return el("div", { class: "tl-cardbody" }, this.head(t("Well done")), words);
    }
    if (!current) return null;
    const left = this.list.filter((one) => !one.done).length;
    const what = issue ? title(issue) : t("Place {LETTERS}: what is here?", { LETTERS: LETTERS[this.at] });
    const skip = cardButton(issue ? t("Leave it, next") : t("Not sure, next"), () => this.skip(), { key: "N" });
    return el(
      "div",
      { class: "tl-cardbody" },
      this.head(what, t("{left} to go", { left })),
      el("p", {}, this.asks ? t("What the map says here is hidden, so that the answer is yours.") : current.text),
      place ? this.chips(place) : null,
      el("div", { class: "tl-actions" }, ...(issue ? this.remedies(issue) : [this.peeker()]), skip),
    );
  }

  peeker() {
    const text = this.peeking ? t("Hide what the map says") : t("Show what the map says");
    return cardButton(text, () => this.session.view?.pictures.toggleMap(), { key: "M" });
  }

  /** @param {string[]} sentences */
  summed(sentences) {
    const more = this.insight.header?.next.length ?? 0;
    const next = cardButton(t("Next {more} places", { more }), () => this.start("next"), { key: "N" });
    return el(
      "div",
      { class: "tl-cardbody" },
      this.head(t("What your answers changed")),
      ...sentences.map((sentence) => el("p", {}, sentence)),
      el(
        "div",
        { class: "tl-actions" },
        more ? next : null,
        cardButton(t("Done"), () => this.leave(), { key: "Esc" }),
      ),
    );
  }

  head(text = "", small = "") {
    const close = closeButton(t("Leave"), () => this.leave());
    return el("div", { class: "tl-cardhead" }, el("b", {}, text), el("span", { class: "tl-unit" }, small), close);
  }

  get classes() {
    return this.session.view?.header?.classes ?? [];
  }

  /** @param {Query} place */
  chips({ likely }) {
    const chips = this.classes.map((c, n) => {
      const css = likely.includes(c.id) ? "tl-likely" : "";
      return classChip(c, n, t("Label this place {name}", { name: c.name }), () => this.label(c.id), { css });
    });
    return el("div", { class: "tl-cardclasses" }, ...chips, this.other());
  }

  // A place of a class that nobody has thought of yet.
  other() {
    const name = el("input", {
      type: "text",
      maxLength: 80,
      placeholder: t("Something else…"),
      "aria-label": t("Another class for this place"),
    });
    /** @param {Event} event */
    const add = (event) => {
      event.preventDefault();
      const text = name.value.trim();
      if (!text) return;
      this.session.addClass(text);
      this.label(this.session.memory.class);
    };
    const button = el("button", { type: "submit", class: "tl-button" }, t("Add"));
    return el("form", { class: "tl-other", onsubmit: add }, name, button);
  }

  /**
   * Buttons that mend a doubtful label.
   * @param {LabelIssue} issue
   */
  remedies({ kind, labels, classes: ids }) {
    const classes = ids.map((id) => this.classes.find((c) => c.id === id));
    const known = /** @type {LabelClass[]} */ (classes.filter(Boolean));
    const [first, second] = classes;
    /** @type {(text: string, ops: Operation[]) => HTMLButtonElement} */
    const press = (text, ops) => cardButton(text, () => this.resolve(ops), { title: t("Undo brings it back") });
    /** @type {(gone: string[]) => Operation[]} */
    const remove = (gone) => gone.map((label) => ({ do: "remove_label", label }));
    /** @type {(label: string, c: LabelClass) => Operation} */
    const rename = (label, c) => ({ do: "edit_label", label, class: c.id });
    const [kept, ...others] = labels;
    if (kind === "likely wrong") {
      const remedies = second
        ? [
            press(
              t("It is {name}", { name: second.name }),
              labels.map((label) => rename(label, second)),
            ),
          ]
        : [];
      return [...remedies, press(t("Delete it"), remove(labels))];
    }
    if (kind === "contradiction")
      return known.map((c) => press(t("It is {name}", { name: c.name }), [...remove(others), rename(kept, c)]));
    if (kind === "duplicate") return [press(t("Keep one"), remove(others))];
    if (kind === "overlap" && first && second)
      return [
        press(`Merge into ${first.name}`, [{ do: "merge_classes", class: second.id, into: first.id }]),
        press(`Merge into ${second.name}`, [{ do: "merge_classes", class: first.id, into: second.id }]),
      ];
    if (kind === "too few" && first) {
      const more = () => {
        this.session.choose(first.id);
        this.leave();
      };
      return [cardButton(t("Label more {name}", { name: first.name }), more)];
    }
    return [];
  }
}

/**
 * @param {ClassMap} before
 * @param {ClassMap} now
 */
async function compared(before, now) {
  const [was, is] = await Promise.all(
    [before, now].map(async ({ png, levels, header: { classes } }) => {
      const { plane } = await indices(png);
      return { plane, levels, classes, score: null };
    }),
  );
  return changed(was, is);
}

// Find similar: examples are clicked on the map, a slider says how much alike, and labels are made of what is found.

import { area, el, icon, renew } from "../../shared/assets/dom.js";
import { t } from "../../shared/assets/words.js";

/** @import { LabelHeader, Similar } from "../../messages.js" */
/** @import { LabelSession } from "./session.js" */

export class SimilarPlaces {
  /** @param {LabelSession} session */
  constructor(session) {
    this.session = session;
    this.chosen = ""; // id of the class that gets the labels; "" = a new one
    this.sliding = false; // the slider must not be replaced under the finger that drags it
    this.body = el("div", { class: "tl-foldbody" });
    const summary = el("summary", {}, icon("search"), t("Find similar"));
    this.fold = el("details", { class: "tl-fold", ontoggle: () => this.folded() }, summary, this.body);
  }

  get typed() {
    /** @type {HTMLInputElement | null} */
    const field = this.body.querySelector("input[type=text]");
    return field;
  }

  // Folded, nothing of it is left on the map; what was found comes back with it.
  folded() {
    if (!this.fold.open) this.session.endSearch();
    this.fill();
    this.session.view?.marks.draw();
    this.session.view?.pictures.arrange();
    this.session.panel?.fillLayers();
  }

  fill() {
    const { header, insight } = this.session;
    if (!this.fold.open || !header) return;
    const { pos, neg } = insight.seeds;
    const found = insight.header?.similar;
    const first = t("Press “Like this”, then click what you look for on the map.");
    /** @type {HTMLElement[]} */
    const parts = [
      el("p", {}, pos.length ? t("Add examples, or places it must not look like.") : first),
      el(
        "div",
        { class: "tl-actions" },
        this.mode("like", t("+ Like this"), pos.length),
        this.mode("unlike", t("− Not this"), neg.length),
      ),
    ];
    if (found?.problem) parts.push(el("p", { class: "tl-soft" }, found.problem));
    if (found?.areas && insight.threshold !== null) parts.push(...this.likeness(header, found));
    if (this.sliding && found?.areas) return;
    const typed = this.typed?.value;
    renew(this.body, ...parts);
    if (typed && this.typed) this.typed.value = typed;
  }

  /**
   * @param {"like" | "unlike"} name
   * @param {string} text
   * @param {number} n examples so far
   */
  mode(name, text, n) {
    const { session } = this;
    const on = session.memory.tool === name;
    const press = () => (on ? session.endSearch() : session.setTool(name));
    const badge = n ? el("span", { class: "tl-badge" }, String(n)) : null;
    return el(
      "button",
      { type: "button", class: "tl-button", "aria-pressed": String(on), onclick: press },
      text,
      badge,
    );
  }

  /**
   * @param {LabelHeader} header
   * @param {Similar} found
   */
  likeness({ unit, classes }, { areas = [], bars = [] }) {
    const { insight, view, memory } = this.session;
    const text = el("span", { class: "tl-value" });
    const say = () => {
      const from = insight.threshold ?? 0;
      text.textContent = t("{from} % alike or more: {areas}", { from, areas: area(areas[from], unit) });
    };
    const slider = el("input", {
      type: "range",
      min: 1,
      max: 100,
      value: insight.threshold,
      "aria-label": t("How much alike, in percent"),
      oninput: () => {
        this.sliding = true;
        insight.threshold = Number(slider.value);
        say();
        view?.pictures.thresholdMoved();
      },
      onchange: () => (this.sliding = false),
    });
    say();
    const name = el("input", {
      type: "text",
      maxLength: 80,
      placeholder: t("New class"),
      "aria-label": t("New class for similar places"),
    });
    if (!classes.some((c) => `${c.id}` === this.chosen)) this.chosen = "";
    name.hidden = this.chosen !== "";
    const choose = () => {
      this.chosen = choice.value;
      name.hidden = this.chosen !== "";
    };
    const choice = el(
      "select",
      { "aria-label": t("Class for similar places"), onchange: choose },
      // What was looked for is seldom what is there already, and a wrong class would take 30 labels.
      el("option", { value: "" }, t("New class…")),
      ...classes.map((c) => el("option", { value: c.id, selected: `${c.id}` === this.chosen }, c.name)),
    );
    const make = () => {
      const which = choice.value === "" ? { name: name.value.trim() } : { class: Number(choice.value) };
      if (which.name === "") return name.focus();
      memory.layers.similar.on = false;
      this.session.endSearch();
      insight.act({ do: "similar_labels", percent: insight.threshold ?? 0, ...which });
    };
    const title = "30 places spread over them become labels; undo takes them back";
    const makes = el(
      "button",
      { type: "button", class: "tl-button tl-primary", title, onclick: make },
      t("Make labels"),
    );
    const over = el(
      "button",
      { type: "button", class: "tl-button", onclick: () => insight.clearSeeds() },
      t("Start over"),
    );
    return [
      histogram(bars),
      slider,
      text,
      el("div", { class: "tl-actions" }, choice, name),
      el("div", { class: "tl-actions" }, makes, over),
    ];
  }
}

/** @param {number[]} bars pixels by percent of likeness */
function histogram(bars) {
  const most = Math.max(...bars.slice(1));
  const path = bars.map((n, p) => `M${p + 0.5} 24V${24 - 23 * Math.sqrt(n / (most || 1))}`).join("");
  const picture = el("div", { class: "tl-bars", "aria-hidden": "true" });
  picture.innerHTML = `<svg viewBox="0 0 101 24" preserveAspectRatio="none"><path d="${path}"/></svg>`;
  return picture;
}

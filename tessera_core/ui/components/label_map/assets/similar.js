// Find similar: examples are clicked on the map, a slider says how much alike, and labels are made of what is found.

import { area, el, icon } from "../../shared/assets/dom.js";

/** @import { LabelHeader, Similar } from "../../messages.js" */
/** @import { LabelSession } from "./session.js" */

export class SimilarPlaces {
  /** @param {LabelSession} session */
  constructor(session) {
    this.session = session;
    this.sliding = false; // the slider must not be replaced under the finger that drags it
    this.body = el("div", { class: "tl-foldbody" });
    const summary = el("summary", {}, icon("search"), "Find similar");
    this.fold = el("details", { class: "tl-fold", ontoggle: () => this.fill() }, summary, this.body);
  }

  get typed() {
    /** @type {HTMLInputElement | null} */
    const field = this.body.querySelector("input[type=text]");
    return field;
  }

  fill() {
    const { header, insight } = this.session;
    if (!this.fold.open || !header) return;
    const { pos, neg } = insight.seeds;
    const found = insight.header?.similar;
    const first = "Press “Like this”, then click what you look for on the map.";
    /** @type {HTMLElement[]} */
    const parts = [
      el("p", {}, pos.length ? "Add examples, or places it must not look like." : first),
      el(
        "div",
        { class: "tl-actions" },
        this.mode("like", "+ Like this", pos.length),
        this.mode("unlike", "− Not this", neg.length),
      ),
    ];
    if (found?.problem) parts.push(el("p", { class: "tl-soft" }, found.problem));
    if (found?.areas && insight.threshold !== null) parts.push(...this.likeness(header, found));
    if (this.sliding && found?.areas) return;
    const typed = this.typed?.value;
    this.body.replaceChildren(...parts);
    if (typed && this.typed) this.typed.value = typed;
  }

  /**
   * @param {"like" | "unlike"} name
   * @param {string} text
   * @param {number} n examples so far
   */
  mode(name, text, n) {
    const { memory, view } = this.session;
    const on = memory.tool === name;
    const press = () => view?.setTool(on ? "point" : name);
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
      text.textContent = `${from} % alike or more: ${area(areas[from], unit)}`;
    };
    const slider = el("input", {
      type: "range",
      min: 1,
      max: 100,
      value: insight.threshold,
      "aria-label": "How much alike, in percent",
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
      placeholder: "New class",
      "aria-label": "New class for similar places",
      hidden: classes.length > 0,
    });
    const choice = el(
      "select",
      { "aria-label": "Class for similar places", onchange: () => (name.hidden = choice.value !== "") },
      ...classes.map((c) => el("option", { value: c.id, selected: c.id === memory.class }, c.name)),
      el("option", { value: "" }, "New class…"),
    );
    const make = () => {
      const which = choice.value === "" ? { name: name.value.trim() } : { class: Number(choice.value) };
      if (which.name === "") return name.focus();
      memory.layers.similar.on = false;
      insight.act({ do: "similar_labels", percent: insight.threshold ?? 0, ...which });
    };
    const title = "30 places spread over them become labels; undo takes them back";
    const makes = el("button", { type: "button", class: "tl-button tl-primary", title, onclick: make }, "Make labels");
    const over = el(
      "button",
      { type: "button", class: "tl-button", onclick: () => insight.clearSeeds() },
      "Start over",
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

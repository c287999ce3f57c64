// The list of layers in the panel: what is in sight and how strongly, what a layer says, and the comparison of two.

import { el, renew } from "../../shared/assets/dom.js";
import { t } from "../../shared/assets/words.js";

/** @import { LabelHeader } from "../../messages.js" */
/** @import { LayerName, LabelSession } from "./session.js" */
/** @typedef {{ box: HTMLElement, toggle: HTMLInputElement, slider: HTMLInputElement, about: HTMLElement, said: string }} Row */

/** @type {[LayerName, string][]} */
const LAYERS = [
  ["labels", t("Labels")],
  ["classes", t("Class map")],
  ["post_processed", t("Tidied map")],
  ["given", t("Map of a head")],
  ["confidence", t("Confidence")],
  ["dissimilarity", t("Unlike your labels")],
  ["sets", t("Possible classes")],
  ["similar", t("Similar places")],
  ["groups", t("Groups")],
  ["truecolour", t("True colour")], // or what was chosen instead
  ["pca", t("Embedding picture")],
  ["base", t("Base map")],
];
const OF_A_MAP = ["dissimilarity", "sets", "post_processed"]; // there is none before there is a class map
const ON_WISH = ["dissimilarity", "sets"];
const ERRORS = [0.01, 0.05, 0.1, 0.2];

export class LayerList {
  /** @param {LabelSession} session */
  constructor(session) {
    this.session = session;
    this.memory = session.memory;
    this.box = el("div", { class: "tl-layers", "data-tour": "label.layers" });
    /** @type {Map<LayerName, Row>} */
    this.rows = new Map();
    this.signature = "";
    this.thresholdText = el("span", { class: "tl-value" });
    this.threshold = el("input", {
      type: "range",
      min: 0,
      max: 100,
      step: 5,
      "aria-label": t("Grey where less sure than"),
      oninput: () => {
        this.memory.threshold = Number(this.threshold.value);
        this.changed();
        session.view?.pictures.repaint();
      },
    });
    this.swipe = el("input", {
      type: "checkbox",
      onchange: () => {
        this.memory.swipe.on = this.swipe.checked;
        this.changed();
      },
    });
    this.pair = el("div", { class: "tl-pair" });
  }

  changed() {
    const { session } = this;
    session.keep();
    if (session.header) this.fill(session.header);
    session.view?.pictures.arrange();
  }

  /** @param {LabelHeader} header */
  available(header) {
    const have = new Set(["labels", "classes", "confidence", ...header.pictures]);
    for (const { name } of this.session.insight.header?.layers ?? [])
      if (header.map !== null || !OF_A_MAP.includes(name)) have.add(name);
    if (header.frame === "mercator" && header.base.length) have.add("base");
    if (!this.session.seeking) have.delete("similar");
    return LAYERS.filter(([name]) => have.has(name));
  }

  /** @param {LayerName} name of a picture that the map lies on; what it shows now */
  ground(name) {
    const { canvas } = this.session.insight.header ?? {};
    return { truecolour: canvas?.satellite, pca: canvas?.embedding }[/** @type {string} */ (name)];
  }

  /** @param {LabelHeader} header */
  fill(header) {
    const available = this.available(header).map(
      ([name, text]) => /** @type {[LayerName, string]} */ ([name, this.ground(name)?.title ?? text]),
    );
    const signature = JSON.stringify([available, header.base.map((base) => base.name)]);
    if (signature !== this.signature) {
      this.signature = signature;
      this.build(available, header);
    }
    const { layers, swipe, threshold } = this.memory;
    for (const [name, row] of this.rows) {
      row.box.classList.toggle("tl-off", !layers[name].on);
      row.toggle.checked = layers[name].on;
      row.slider.value = `${Math.round(100 * layers[name].opacity)}`;
      this.explain(name, row);
    }
    this.threshold.value = `${threshold}`;
    this.thresholdText.textContent = threshold ? t("below {threshold} %", { threshold }) : t("off");
    this.swipe.checked = swipe.on;
    this.pair.hidden = !swipe.on;
  }

  /**
   * The legend and the one sentence of a layer, while it is on.
   * @param {LayerName} name
   * @param {Row} row
   */
  explain(name, row) {
    const insight = this.session.insight.header;
    const layer = insight?.layers.find((other) => other.name === name);
    if (!this.memory.layers[name].on) return row.about.replaceChildren();
    const { truecolour } = this.rows.has("truecolour") ? this.memory.layers : { truecolour: { on: false } };
    const covered = name === "pca" && truecolour.on;
    const sentence =
      name === "confidence"
        ? insight?.confidence
        : name === "base"
          ? this.session.view?.pictures.source(this.session.header)?.about
          : (layer ?? (covered ? null : this.ground(name)))?.sentence;
    const signature = JSON.stringify([layer?.version, layer?.legend, sentence]);
    if (row.said !== signature || !row.about.childElementCount) {
      const legend = (layer?.legend ?? []).map(([colour, text]) =>
        el("div", { class: "tl-key" }, el("i", { style: `background:${colour}` }), text),
      );
      const making = ON_WISH.includes(name) && !layer?.version;
      const parts = making ? [el("p", {}, t("Being made…"))] : legend;
      if (sentence) parts.push(el("p", {}, sentence));
      row.about.replaceChildren(...parts, ...(name === "sets" ? [this.errors()] : []));
    }
    row.said = signature;
  }

  errors() {
    const { memory } = this;
    const options = ERRORS.map((error) =>
      el(
        "option",
        { value: error, selected: error === memory.error },
        t("may miss the truth in {error} of 100", { error: 100 * error }),
      ),
    );
    const pick = el("select", { "aria-label": t("How often the true class may be missing") }, ...options);
    pick.onchange = () => {
      memory.error = Number(pick.value);
      this.session.keep();
      this.session.insight.wish();
    };
    return pick;
  }

  /**
   * @param {[LayerName, string][]} available
   * @param {LabelHeader} header
   */
  build(available, header) {
    this.rows = new Map(available.map(([name, text]) => [name, this.row(name, text, header)]));
    const sides = available.filter(([name]) => name !== "labels" && name !== "base");
    this.pair.replaceChildren(this.side("left", "right", sides), this.side("right", "left", sides));
    const unsure = el("label", {}, el("span", {}, t("Unsure in grey")), this.thresholdText);
    const compare = el("label", {}, this.swipe, el("span", {}, t("Compare two layers")));
    renew(
      this.box,
      ...[...this.rows.values()].map(({ box }) => box),
      el("div", { class: "tl-layer tl-unsure" }, unsure, this.threshold),
      el("div", { class: "tl-layer tl-swipe" }, compare, this.pair),
    );
  }

  /**
   * @param {LayerName} name
   * @param {string} text
   * @param {LabelHeader} header
   * @returns {Row}
   */
  row(name, text, header) {
    const { session } = this;
    const { layers } = this.memory;
    const toggle = el("input", {
      type: "checkbox",
      onchange: () => {
        layers[name].on = toggle.checked;
        this.changed();
        if (name === "confidence") session.view?.pictures.repaint();
        if (ON_WISH.includes(name)) session.insight.wish();
      },
    });
    const slider = el("input", {
      type: "range",
      min: 0,
      max: 100,
      "aria-label": t("Opacity of {text}", { text }),
      oninput: () => {
        layers[name].opacity = Number(slider.value) / 100;
        this.changed();
      },
    });
    const ends = [el("span", {}, "0 %"), el("i"), el("span", {}, "100 %")];
    const legend = name === "confidence" ? el("div", { class: "tl-legend" }, ...ends) : null;
    const choice = name === "base" && header.base.length > 1 ? this.bases(header) : null;
    const about = el("div", { class: "tl-about" });
    const label = el("label", {}, toggle, el("span", {}, text));
    const box = el("div", { class: "tl-layer" }, label, slider, legend, choice, about);
    box.dataset.layer = name;
    return { box, toggle, slider, about, said: "" };
  }

  /** @param {LabelHeader} header */
  bases({ base }) {
    const { layers } = this.memory;
    const options = base.map(({ name }) => el("option", { value: name, selected: name === layers.base.name }, name));
    const choice = el("select", { "aria-label": t("Which base map") }, ...options);
    choice.onchange = () => {
      layers.base.name = choice.value;
      this.changed();
    };
    return choice;
  }

  /**
   * @param {"left" | "right"} which
   * @param {"left" | "right"} other
   * @param {[LayerName, string][]} sides
   */
  side(which, other, sides) {
    const { swipe } = this.memory;
    /** @type {(which: "left" | "right") => string} */
    const now = (which) => this.session.view?.pictures.side(which) ?? swipe[which];
    const options = sides.map(([name, text]) => el("option", { value: name, selected: now(which) === name }, text));
    const select = el(
      "select",
      { "aria-label": which === "left" ? t("Layer on the left") : t("Layer on the right") },
      ...options,
    );
    select.onchange = () => {
      if (now(other) === select.value) swipe[other] = now(which);
      swipe[which] = select.value;
      this.signature = "";
      this.changed();
      this.session.view?.pictures.repaint();
    };
    return select;
  }
}

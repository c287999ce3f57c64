// What people choose to see: the panel of layers, comparison and base maps, and the legend of what is in sight.

import { el, icon } from "../../shared/assets/dom.js";
import { press } from "../../shared/assets/toolbar.js";
import { t } from "../../shared/assets/words.js";
import { bar, told } from "./scales.js";

/** @import { ViewHeader, ViewLayer } from "../../messages.js" */
/** @import { RegionView } from "./view.js" */

/** @type {["off" | "swipe" | "beside", string][]} */
const MODES = [
  ["off", t("one map")],
  ["swipe", t("swipe two layers")],
  ["beside", t("two maps side by side")],
];
const WIDE = 560; // from this width on the legend is open unless somebody closed it

export class Choices {
  /** @param {RegionView} view */
  constructor(view) {
    this.view = view;
    this.memory = view.memory;
    this.button = press("layers", t("Layers and comparison"), () => this.toggle());
    this.panel = el("div", { class: "tl-control tv-panel tl-plate", hidden: true });
    this.legend = el("div", { class: "tl-control tv-legend tl-plate", hidden: true });
    this.mode = ""; // of the comparison that the panel speaks of
  }

  toggle(open = this.panel.hidden) {
    this.panel.hidden = !open;
    this.button.setAttribute("aria-pressed", String(open));
    if (open) this.fill();
  }

  /** @param {ViewHeader} header */
  refresh(header) {
    this.fillLegend(header);
    if (!this.panel.hidden) this.fill();
  }

  // What the panel shows; as long as that stays the same it keeps its focus.
  get state() {
    const { layers, compare, base } = this.memory;
    const named = this.view.header?.layers.map((l) => [l.name, l.title, l.group]);
    const offered = this.view.header?.base.map(({ name, about }) => [name, about]);
    return JSON.stringify([named, layers, compare.mode, compare.left, compare.right, base, offered]);
  }

  fill() {
    const { panel, memory } = this;
    const { header } = this.view;
    const focused = /** @type {ShadowRoot | Document} */ (panel.getRootNode()).activeElement;
    if (!header || (panel.contains(focused) && panel.dataset.filled === this.state)) return;
    panel.dataset.filled = this.state;
    this.mode = memory.compare.mode;
    // On a phone the panel covers the button that opened it.
    const close = el(
      "button",
      {
        type: "button",
        class: "tl-tool tv-close",
        title: t("Close (Esc)"),
        "aria-label": t("Close the layers"),
        onclick: () => this.toggle(false),
      },
      icon("close"),
    );
    panel.replaceChildren(close, ...this.layers(header), ...this.comparison(header), ...this.bases(header));
  }

  /** @param {ViewHeader} header */
  layers(header) {
    const rows = lowFirst(header)
      .reverse()
      .map((layer) => this.row(layer, header));
    return rows.length ? [el("h2", {}, t("Layers")), ...rows] : [];
  }

  /**
   * @param {ViewLayer} layer
   * @param {ViewHeader} header
   */
  row(layer, header) {
    const { memory } = this;
    const mine = memory.layers[layer.name];
    const isBase = layer.group === "base";
    const type = isBase ? "radio" : "checkbox";
    const box = el("input", { type, name: `${this.view.session.key}-base`, checked: mine.on });
    box.onchange = this.change(() => {
      if (isBase) for (const { name, group } of header.layers) if (group === "base") memory.layers[name].on = false;
      mine.on = box.checked;
    });
    const slider = el("input", {
      type: "range",
      min: 0,
      max: 100,
      step: 1,
      value: 100 * mine.opacity,
      "aria-label": t("Opacity of {title}", { title: layer.title }),
    });
    slider.oninput = this.change(() => (mine.opacity = Number(slider.value) / 100));
    // "Sentinel-2" is one word: no line ends at its hyphen.
    const title = layer.title.replace(/-(?=\d)/g, "\u2011");
    return el("div", { class: "tv-layer", "data-layer": layer.name }, el("label", {}, box, title), slider);
  }

  /** @param {ViewHeader} header */
  comparison({ layers }) {
    if (layers.length < 2) return [];
    const { compare } = this.memory;
    /** @type {[string, string][]} */
    const names = layers.map((layer) => [layer.name, layer.title]);
    const parts = [
      el("h2", {}, t("Compare")),
      this.choice(MODES, compare.mode, t("Comparison"), (v) => (compare.mode = v)),
    ];
    if (compare.mode !== "off") {
      const left = this.choice(names, compare.left, t("Left layer"), (v) => (compare.left = v));
      const right = this.choice(names, compare.right, t("Right layer"), (v) => (compare.right = v));
      parts.push(el("div", { class: "tl-pair" }, left, right));
    }
    return parts;
  }

  /** @param {ViewHeader} header */
  bases({ base }) {
    if (!base.length) return [];
    /** @type {[string, string][]} */
    const options = [
      ["", "none"],
      ...base.map(
        ({ name, url }) =>
          /** @type {[string, string]} */ ([name, url.startsWith("http") ? `${name} (internet)` : name]),
      ),
    ];
    const choice = this.choice(options, this.memory.base.name, t("Base map"), (v) => (this.memory.base.name = v));
    const chosen = base.find(({ name }) => name === this.memory.base.name);
    const parts = [el("h2", {}, t("Base map")), choice];
    if (chosen) {
      const { base } = this.memory;
      const slider = el("input", { type: "range", min: 0, max: 100, step: 1, value: 100 * base.opacity });
      slider.setAttribute("aria-label", t("Opacity of the base map"));
      slider.oninput = this.change(() => (base.opacity = Number(slider.value) / 100));
      parts.push(slider);
      if (chosen.about) parts.push(el("p", { class: "tv-about" }, chosen.about));
    }
    return parts;
  }

  /**
   * @template {string} T
   * @param {[T, string][]} options
   * @param {T} value
   * @param {string} text
   * @param {(value: T) => void} action
   */
  choice(options, value, text, action) {
    const entries = options.map(([id, name]) => el("option", { value: id, selected: id === value }, name));
    const select = el("select", { "aria-label": text }, ...entries);
    select.onchange = this.change(() => action(/** @type {T} */ (select.value)));
    return select;
  }

  /** @param {() => void} action */
  change(action) {
    return () => {
      action();
      this.view.keep();
      this.panel.dataset.filled = this.state;
      this.view.rearrange();
      this.panel.dataset.filled = "";
      if (this.memory.compare.mode !== this.mode) this.fill();
      else this.panel.dataset.filled = this.state;
      this.view.redraw();
    };
  }

  /** @param {ViewHeader} header */
  fillLegend(header) {
    const { view, memory } = this;
    const names = view.namesInSight;
    const entries = told(header.layers.filter((layer) => names.has(layer.name)));
    this.legend.hidden = !entries.length;
    const open = memory.legend ?? view.box.clientWidth > WIDE;
    const details = el("details", { open }, el("summary", {}, t("Legend")));
    details.ontoggle = () => {
      memory.legend = details.open;
      view.keep();
    };
    for (const { title, legend, scale } of entries) {
      details.append(el("b", {}, scale?.unit ? `${title} (${scale.unit})` : title));
      if (scale) details.append(bar(scale));
      for (const [colour, text] of legend) {
        const swatch = el("i", { style: `background:${colour}` });
        details.append(el("div", { class: "tv-entry" }, swatch, el("span", {}, text)));
      }
    }
    this.legend.replaceChildren(details);
  }
}

/**
 * Base layers lie below the others.
 * @param {ViewHeader} header
 */
export function lowFirst({ layers }) {
  return [...layers.filter((l) => l.group === "base"), ...layers.filter((l) => l.group !== "base")];
}

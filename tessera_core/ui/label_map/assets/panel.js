// The panel beside the map: what to do next, the classes, the layers. It only shows and sets; the map does the work.

import { SWATCHES, area, el, icon, inkOn } from "./dom.js";

const LAYERS = [
  ["labels", "Labels"],
  ["classes", "Class map"],
  ["confidence", "Confidence"],
  ["truecolour", "True colour"],
  ["pca", "Embedding picture"],
  ["base", "Base map"],
];

export class Panel {
  constructor(session, root) {
    Object.assign(this, { session, root, memory: session.memory });
    this.rows = new Map();
    this.editing = null;
    this.hint = el("div", { class: "tl-hint", role: "status" });
    this.list = el("div", { class: "tl-classes", role: "listbox", "aria-label": "Classes" });
    this.name = el("input", { type: "text", placeholder: "New class", maxLength: 80, "aria-label": "Name of a new class" });
    this.form = el(
      "form",
      { class: "tl-add", onsubmit: (event) => this.addClass(event) },
      this.name,
      el("button", { type: "submit", class: "tl-button", title: "Add this class" }, icon("plus"), "Add"),
    );
    this.layers = el("div", { class: "tl-layers" });
    this.status = el("div", { class: "tl-status" });
    root.replaceChildren(
      el(
        "div",
        { class: "tl-panel" },
        this.hint,
        el("h4", {}, "Classes", el("span", { class: "tl-unit" }, "labels · mapped area")),
        this.list,
        this.form,
        el("h4", {}, "Layers"),
        this.layers,
        el(
          "details",
          { class: "tl-help" },
          el("summary", {}, icon("keys"), "Keys and touch"),
          el(
            "div",
            {},
            ...[
              ["1 – 9", "choose a class"], ["D B P R E", "the tools, from point to erase"], ["[ ]", "brush size"],
              ["Z / Y", "undo / redo"], ["V, Space", "move the map"], ["+ −, arrows", "zoom, move"],
              ["Enter", "label at the cross, finish a polygon"], ["Two fingers", "move and zoom"],
            ].map(([keys, text]) => el("p", {}, el("kbd", {}, keys), text)),
          ),
        ),
        this.status,
      ),
    );
    this.clock = setInterval(() => this.tick(), 1000);
  }

  destroy() {
    clearInterval(this.clock);
  }

  receive(header) {
    this.header = header;
    this.hint.hidden = !header.hint;
    this.hint.textContent = header.hint;
    this.fillClasses();
    this.fillLayers();
    this.tick();
  }

  // -------------------------------------------------------------------- classes

  fillClasses() {
    const { classes, unit } = this.header;
    const present = new Set(classes.map((c) => c.id));
    for (const [id, row] of this.rows) {
      if (!present.has(id)) {
        row.box.remove();
        this.rows.delete(id);
        if (this.editing === id) this.closeEditor();
      }
    }
    classes.forEach((c, position) => {
      let row = this.rows.get(c.id);
      if (!row) this.rows.set(c.id, (row = this.makeRow(c.id)));
      row.chip.style.background = c.color;
      row.chip.style.color = inkOn(c.color);
      row.chip.textContent = position < 9 ? position + 1 : "";
      row.label.textContent = c.name;
      row.label.title = c.name;
      row.count.textContent = c.count;
      row.count.title = `${c.count} label${c.count === 1 ? "" : "s"}`;
      row.area.textContent = c.area === null ? "" : area(c.area, unit);
      const chosen = c.id === this.memory.class;
      row.pick.setAttribute("aria-selected", String(chosen));
      row.box.classList.toggle("tl-chosen", chosen);
      const hidden = this.memory.hidden.includes(c.id);
      row.box.classList.toggle("tl-hidden", hidden);
      if (this.list.children[position] !== row.box) this.list.insertBefore(row.box, this.list.children[position] ?? null);
    });
    this.list.classList.toggle("tl-empty", !classes.length);
  }

  makeRow(id) {
    const chip = el("span", { class: "tl-chip" });
    const label = el("span", { class: "tl-name" });
    const count = el("span", { class: "tl-count" });
    const area_ = el("span", { class: "tl-area" });
    const pick = el("button", { type: "button", class: "tl-pick", role: "option", onclick: () => this.session.choose(id) }, chip, label, count, area_);
    const edit = el(
      "button",
      { type: "button", class: "tl-more", title: "Rename, recolour, hide, merge or delete", "aria-label": "Edit class", onclick: () => this.edit(id) },
      icon("edit"),
    );
    const box = el("div", { class: "tl-row" }, el("div", { class: "tl-line" }, pick, edit));
    box.dataset.class = id;
    return { box, pick, chip, label, count, area: area_ };
  }

  addClass(event) {
    event.preventDefault();
    const name = this.name.value.trim();
    if (!name) return this.name.focus();
    this.session.addClass(name);
    this.name.value = "";
    this.name.blur();
  }

  attention() {
    const target = this.header?.classes.length ? this.list : this.name;
    target.classList.remove("tl-pulse");
    void target.offsetWidth;
    target.classList.add("tl-pulse");
    if (target === this.name) this.name.focus({ preventScroll: true });
  }

  edit(id) {
    const again = this.editing === id;
    this.closeEditor();
    if (again) return;
    const { view } = this.session;
    const current = this.header.classes.find((c) => c.id === id);
    const name = el("input", { type: "text", value: current.name, maxLength: 80, "aria-label": "Class name" });
    const rename = () => {
      const text = name.value.trim();
      if (text && text !== current.name) view.op({ do: "edit_class", class: id, name: text });
    };
    const paint = (color) => view.op({ do: "edit_class", class: id, color });
    const own = el("input", { type: "color", value: current.color, title: "Another colour", "aria-label": "Another colour", onchange: () => paint(own.value) });
    const others = this.header.classes.filter((c) => c.id !== id);
    const merge = el(
      "select",
      { "aria-label": "Merge into another class", onchange: () => {
        view.op({ do: "merge_classes", class: id, into: Number(merge.value) });
        this.closeEditor();
      } },
      el("option", { value: "" }, "Merge into…"),
      ...others.map((c) => el("option", { value: c.id }, c.name)),
    );
    const hide = el("button", { type: "button", class: "tl-button", onclick: () => {
      const hidden = this.memory.hidden;
      this.memory.hidden = hidden.includes(id) ? hidden.filter((x) => x !== id) : [...hidden, id];
      hide.replaceChildren(icon(this.memory.hidden.includes(id) ? "eye" : "eyeoff"), this.memory.hidden.includes(id) ? "Show" : "Hide");
      this.session.keep();
      this.fillClasses();
      view.repaint();
    } }, icon(this.memory.hidden.includes(id) ? "eye" : "eyeoff"), this.memory.hidden.includes(id) ? "Show" : "Hide");
    const editor = el(
      "div",
      { class: "tl-editor", onkeydown: (event) => {
        if (event.key === "Enter" && event.target === name) {
          rename();
          this.closeEditor();
        } else if (event.key === "Escape") this.closeEditor();
      } },
      name,
      el("div", { class: "tl-swatches" }, ...SWATCHES.map((color) => el("button", { type: "button", class: "tl-swatch", style: `background:${color}`, title: color, "aria-label": `Colour ${color}`, onclick: () => paint(color) })), own),
      el(
        "div",
        { class: "tl-actions" },
        hide,
        others.length ? merge : null,
        el("button", { type: "button", class: "tl-button", title: "Undo brings it back", onclick: () => {
          view.op({ do: "remove_class", class: id });
          this.closeEditor();
        } }, icon("trash"), "Delete"),
        el("button", { type: "button", class: "tl-button tl-primary", onclick: () => {
          rename();
          this.closeEditor();
        } }, icon("check"), "Done"),
      ),
    );
    this.editing = id;
    this.editor = editor;
    this.rows.get(id).box.append(editor);
    name.focus({ preventScroll: true });
    name.select();
  }

  closeEditor() {
    this.editor?.remove();
    this.editor = this.editing = null;
  }

  // --------------------------------------------------------------------- layers

  available() {
    const have = new Set(["labels", "classes", "confidence", ...this.header.pictures]);
    if (this.header.frame === "mercator" && this.header.base.length) have.add("base");
    return LAYERS.filter(([name]) => have.has(name));
  }

  fillLayers() {
    const available = this.available();
    const signature = available.map(([name]) => name).join();
    if (signature !== this.signature) {
      this.signature = signature;
      this.buildLayers(available);
    }
    const { layers, swipe, threshold } = this.memory;
    for (const [name, row] of this.layerRows) {
      row.box.classList.toggle("tl-off", !layers[name].on);
      row.toggle.checked = layers[name].on;
      row.slider.value = Math.round(100 * layers[name].opacity);
    }
    this.threshold.value = threshold;
    this.thresholdText.textContent = threshold ? `below ${threshold} %` : "off";
    this.swipe.checked = swipe.on;
    this.swipeBox.hidden = !swipe.on;
  }

  buildLayers(available) {
    const { layers, swipe } = this.memory;
    const changed = () => {
      this.session.keep();
      this.fillLayers();
      this.session.view?.showLayers();
    };
    this.layerRows = new Map();
    const boxes = available.map(([name, text]) => {
      const toggle = el("input", { type: "checkbox", onchange: () => {
        layers[name].on = toggle.checked;
        changed();
        if (name === "confidence") this.session.view?.repaint();
      } });
      const slider = el("input", { type: "range", min: 0, max: 100, "aria-label": `Opacity of ${text}`, oninput: () => {
        layers[name].opacity = slider.value / 100;
        changed();
      } });
      let choice = null;
      if (name === "base" && this.header.base.length > 1) {
        choice = el("select", { "aria-label": "Which base map", onchange: () => {
          layers.base.name = choice.value;
          changed();
        } }, ...this.header.base.map((b) => el("option", { value: b.name, selected: b.name === layers.base.name }, b.name)));
      }
      const legend = name === "confidence" ? el("div", { class: "tl-legend" }, el("span", {}, "0 %"), el("i"), el("span", {}, "100 %")) : null;
      const box = el("div", { class: "tl-layer" }, el("label", {}, toggle, el("span", {}, text)), slider, legend, choice);
      box.dataset.layer = name;
      this.layerRows.set(name, { box, toggle, slider });
      return box;
    });
    this.thresholdText = el("span", { class: "tl-value" });
    this.threshold = el("input", { type: "range", min: 0, max: 100, step: 5, "aria-label": "Grey where less sure than", oninput: () => {
      this.memory.threshold = Number(this.threshold.value);
      changed();
      this.session.view?.repaint();
    } });
    this.swipe = el("input", { type: "checkbox", onchange: () => {
      swipe.on = this.swipe.checked;
      changed();
    } });
    const sides = available.filter(([name]) => !["labels", "base"].includes(name));
    const side = (which) => {
      const select = el("select", { "aria-label": `Layer on the ${which}`, onchange: () => {
        const other = which === "left" ? "right" : "left";
        if (swipe[other] === select.value) swipe[other] = swipe[which];
        swipe[which] = select.value;
        this.signature = "";
        changed();
        this.session.view?.repaint();
      } }, ...sides.map(([name, text]) => el("option", { value: name, selected: swipe[which] === name }, text)));
      return select;
    };
    this.swipeBox = el("div", { class: "tl-pair" }, side("left"), side("right"));
    this.layers.replaceChildren(
      ...boxes,
      el("div", { class: "tl-layer tl-unsure" }, el("label", {}, el("span", {}, "Unsure in grey"), this.thresholdText), this.threshold),
      el("div", { class: "tl-layer tl-swipe" }, el("label", {}, this.swipe, el("span", {}, "Compare two layers")), this.swipeBox),
    );
  }

  // --------------------------------------------------------------------- status

  tick() {
    if (!this.header) return;
    const { queue } = this.session;
    const waiting = queue.pending.length;
    const late = waiting && Date.now() - queue.oldest > 6000;
    const seconds = this.header.saved ? Math.max(0, Math.round(Date.now() / 1000 - this.header.saved)) : null;
    let text = "Nothing to save yet";
    if (late) text = `${waiting} change${waiting === 1 ? " is" : "s are"} waiting for the server; nothing is lost`;
    else if (waiting) text = "Saving…";
    else if (seconds !== null) text = `Saved ${ago(seconds)}`;
    this.status.textContent = text;
    this.status.classList.toggle("tl-late", Boolean(late));
  }
}

function ago(seconds) {
  if (seconds < 2) return "just now";
  if (seconds < 90) return `${seconds} s ago`;
  if (seconds < 5400) return `${Math.round(seconds / 60)} min ago`;
  if (seconds < 129600) return `${Math.round(seconds / 3600)} h ago`;
  return `${Math.round(seconds / 86400)} days ago`;
}

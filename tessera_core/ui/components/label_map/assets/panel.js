// The panel beside the map: what to do next, the classes, the layers. It only shows and sets; the map does the work.

import { SWATCHES, area, el, icon, inkOn, pulse } from "./dom.js";
import { title } from "./insight.js";

const LAYERS = [
  ["labels", "Labels"],
  ["classes", "Class map"],
  ["tidied", "Tidied map"],
  ["confidence", "Confidence"],
  ["novelty", "Unlike your labels"],
  ["sets", "Possible classes"],
  ["similar", "Similar places"],
  ["groups", "Groups"],
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
    this.score = el("div", { class: "tl-score", hidden: true });
    this.places = el("div", { class: "tl-places", hidden: true });
    this.doubts = el("details", { class: "tl-fold", hidden: true });
    this.similar = el("details", { class: "tl-fold", ontoggle: () => this.fillSimilar() }, el("summary", {}, icon("search"), "Find similar"));
    this.similarBody = el("div", { class: "tl-foldbody" });
    this.similar.append(this.similarBody);
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
        this.score,
        this.places,
        this.doubts,
        this.similar,
        el("h4", {}, "Layers"),
        this.layers,
        el(
          "details",
          { class: "tl-help" },
          el("summary", {}, icon("keys"), "Keys and touch"),
          el(
            "div",
            {},
            ...keys([
              ["1 – 9", "choose a class"], ["D B P R E", "the tools, from point to erase"], ["V or S", "select a label, move the map"],
              ["[ ]", "brush size"], ["Z / Y", "undo / redo"], ["N", "next suggested place; then 1 – 9"], ["M", "hide or show the class map"],
              ["Space", "move the map"], ["+ −, arrows", "zoom, move"], ["Enter", "label or select at the cross, finish a polygon"],
              ["Two fingers", "move and zoom"],
            ]),
            el("p", {}, el("b", {}, "While a label is selected")),
            ...keys([
              ["1 – 9", "change its class"], ["Delete", "delete it"], ["⇧ arrows", "move it by a pixel"], ["N, ⇧ N", "the one made before, after it"],
              ["Escape", "leave it"],
            ]),
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
    this.receiveInsight();
    this.tick();
  }

  // ------------------------------------------------------------ what is known

  receiveInsight() {
    if (!this.header) return;
    this.fillScore();
    this.fillPlaces();
    this.fillDoubts();
    this.fillSimilar();
    this.fillLayers();
  }

  get known() {
    const header = this.session.insight.header;
    return header?.ready && !this.header.hint ? header : null;
  }

  fillScore() {
    const known = this.known;
    this.score.hidden = !known;
    if (!known) return;
    const { score } = known;
    const behind = known.version !== this.header.version || known.pending;
    const parts = [];
    if (this.header.preview) {
      const made = Math.round(100 * known.progress);
      parts.push(
        el(
          "div",
          { class: "tl-slow" },
          el("progress", { max: 100, value: made }),
          el("span", {}, known.problem || `Quick map for now; yours is ${made} % made`),
          known.pending ? el("button", { type: "button", class: "tl-button", onclick: () => this.session.insight.act({ do: "stop_map" }) }, "Stop") : null,
        ),
      );
    }
    if (!score) parts.push(el("p", { class: "tl-soft" }, known.pending ? "Checking how good the map is…" : known.problem || "Not checked yet."));
    else if (score.accuracy === null) parts.push(el("p", { class: "tl-soft" }, score.headline));
    else {
      const percent = (share) => `${Math.round(100 * share)} %`;
      const count = (n, what) => `${n} ${what}${n === 1 ? "" : "s"}`;
      parts.push(
        el("div", { class: "tl-big" }, el("b", {}, percent(score.accuracy)), el("span", {}, known.pending && !score.fresh ? "was right; checking the new map…" : "right at places it has not seen")),
        scale(score),
        el("p", { class: "tl-unit" }, `95 % sure: ${percent(score.low)} to ${percent(score.high)} · ${count(score.labels, "label")}, ${count(score.places, "place")}`),
      );
      if (score.gap) parts.push(el("p", {}, score.gap));
      const rest = [score.confused, ...score.notes].filter(Boolean).map((text) => el("p", {}, text));
      if (score.weakest && rest.length) parts.push(el("details", { open: this.scoreOpen, ontoggle: (event) => (this.scoreOpen = event.target.open) }, el("summary", {}, score.weakest), ...rest));
      else if (score.weakest) parts.push(el("p", {}, score.weakest));
      else parts.push(...rest);
    }
    this.score.classList.toggle("tl-behind", behind);
    this.score.dataset.version = known.pending ? "" : known.version;
    this.score.replaceChildren(...parts);
  }

  fillPlaces() {
    const known = this.known;
    const { guide } = this.session.insight;
    this.places.hidden = !known || !(known.next.length || guide.kind === "next");
    if (this.places.hidden) return;
    const on = guide.kind === "next";
    const text = on ? "Showing you where to label" : `Label here next: ${known.next.length} places`;
    this.places.replaceChildren(
      el(
        "button",
        {
          type: "button", class: `tl-button ${on ? "" : "tl-primary"} tl-next`, title: "Places whose labels teach the map most (N)",
          onclick: () => (on ? guide.leave() : guide.start("next")),
        },
        icon("target"), text, el("kbd", {}, on ? "Esc" : "N"),
      ),
    );
  }

  fillDoubts() {
    const known = this.known;
    const found = known?.doubts ?? [];
    this.doubts.hidden = !found.length;
    if (!found.length) return;
    const signature = JSON.stringify(found);
    if (signature === this.doubtsShown) return;
    this.doubtsShown = signature;
    const serious = found.filter((doubt) => doubt.severity === "high").length;
    const few = found.every((doubt) => doubt.kind === "too few");
    this.doubts.classList.toggle("tl-serious", serious > 0);
    this.doubts.replaceChildren(
      el("summary", {}, icon("doubt"), few ? "Too few labels" : "Doubtful labels", el("span", { class: "tl-badge" }, String(found.length))),
      el(
        "div",
        { class: "tl-foldbody tl-list" },
        ...found.map((doubt, n) =>
          el(
            "button",
            { type: "button", class: `tl-item tl-${doubt.severity}`, onclick: () => this.session.insight.guide.start("doubts", n) },
            el("b", {}, title(doubt)), el("span", {}, doubt.text),
          ),
        ),
      ),
    );
  }

  // ------------------------------------------------------------------ similar

  fillSimilar() {
    if (!this.similar.open || !this.header) return;
    const { insight, view } = this.session;
    const { pos, neg } = insight.seeds;
    const found = insight.header?.similar;
    const tool = this.memory.tool;
    const mode = (name, text, n) =>
      el("button", { type: "button", class: "tl-button", "aria-pressed": String(tool === name), onclick: () => view.setTool(tool === name ? "point" : name) }, text, n ? el("span", { class: "tl-badge" }, String(n)) : null);
    const parts = [
      el("p", {}, pos.length ? "Add examples, or places it must not look like." : "Press “Like this”, then click what you look for on the map."),
      el("div", { class: "tl-actions" }, mode("like", "+ Like this", pos.length), mode("unlike", "− Not this", neg.length)),
    ];
    if (found?.problem) parts.push(el("p", { class: "tl-soft" }, found.problem));
    if (found?.areas && insight.threshold !== null) parts.push(...this.likeness(found));
    // The slider must not be replaced under the finger that drags it.
    if (this.sliding && found?.areas) return;
    const typed = this.similarBody.querySelector("input[type=text]")?.value;
    this.similarBody.replaceChildren(...parts);
    const again = this.similarBody.querySelector("input[type=text]");
    if (typed && again) again.value = typed;
  }

  likeness(found) {
    const { insight, view } = this.session;
    const text = el("span", { class: "tl-value" });
    const say = () => {
      text.textContent = `${insight.threshold} % alike or more: ${area(found.areas[insight.threshold], this.header.unit)}`;
    };
    const slider = el("input", {
      type: "range", min: 1, max: 100, value: insight.threshold, "aria-label": "How much alike, in percent",
      oninput: () => {
        this.sliding = true;
        insight.threshold = Number(slider.value);
        say();
        view?.thresholdMoved();
      },
      onchange: () => (this.sliding = false),
    });
    say();
    const most = Math.max(...found.bars.slice(1));
    const bars = found.bars.map((n, p) => `M${p + 0.5} 24V${24 - 23 * Math.sqrt(n / (most || 1))}`).join("");
    const picture = el("div", { class: "tl-bars", "aria-hidden": "true" });
    picture.innerHTML = `<svg viewBox="0 0 101 24" preserveAspectRatio="none"><path d="${bars}"/></svg>`;
    const { classes } = this.header;
    const name = el("input", { type: "text", maxLength: 80, placeholder: "New class", "aria-label": "New class for similar places", hidden: classes.length > 0 });
    const choice = el(
      "select",
      { "aria-label": "Class for similar places", onchange: () => (name.hidden = choice.value !== "") },
      ...classes.map((c) => el("option", { value: c.id, selected: c.id === this.memory.class }, c.name)),
      el("option", { value: "" }, "New class…"),
    );
    const make = () => {
      const which = choice.value === "" ? { name: name.value.trim() } : { class: Number(choice.value) };
      if (choice.value === "" && !which.name) return name.focus();
      this.memory.layers.similar.on = false;
      insight.act({ do: "similar_labels", percent: insight.threshold, ...which });
    };
    return [
      picture, slider, text,
      el("div", { class: "tl-actions" }, choice, name),
      el(
        "div",
        { class: "tl-actions" },
        el("button", { type: "button", class: "tl-button tl-primary", title: "30 places spread over them become labels; undo takes them back", onclick: make }, "Make labels"),
        el("button", { type: "button", class: "tl-button", onclick: () => insight.clearSeeds() }, "Start over"),
      ),
    ];
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
    pulse(target);
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
    const extra = this.session.insight.header?.layers ?? [];
    const ready = this.header.map !== null;
    const have = new Set(["labels", "classes", "confidence", ...this.header.pictures]);
    for (const { name } of extra) if (ready || !["novelty", "sets", "tidied"].includes(name)) have.add(name);
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
    for (const [name, row] of this.layerRows) this.explain(name, row);
    this.threshold.value = threshold;
    this.thresholdText.textContent = threshold ? `below ${threshold} %` : "off";
    this.swipe.checked = swipe.on;
    this.swipeBox.hidden = !swipe.on;
  }

  // The legend and the one sentence of a layer, while it is on.
  explain(name, row) {
    const insight = this.session.insight.header;
    const layer = insight?.layers.find((other) => other.name === name);
    if (!row.about || !this.memory.layers[name].on) return row.about?.replaceChildren();
    const sentence = name === "confidence" ? insight?.confidence : layer?.sentence;
    const parts = (layer?.legend ?? []).map(([colour, text]) => el("div", { class: "tl-key" }, el("i", { style: `background:${colour}` }), text));
    if (["novelty", "sets"].includes(name) && !layer?.version) parts.splice(0, parts.length, el("p", {}, "Being made…"));
    if (sentence) parts.push(el("p", {}, sentence));
    if (name === "sets") {
      const pick = el(
        "select",
        { "aria-label": "How often the true class may be missing", onchange: () => {
          this.memory.error = Number(pick.value);
          this.session.keep();
          this.session.insight.wish();
        } },
        ...[0.01, 0.05, 0.1, 0.2].map((error) => el("option", { value: error, selected: error === this.memory.error }, `may miss the truth in ${100 * error} of 100`)),
      );
      parts.push(pick);
    }
    const signature = JSON.stringify([layer?.version, layer?.legend, sentence]);
    if (row.said !== signature || !row.about.childElementCount) row.about.replaceChildren(...parts);
    row.said = signature;
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
        if (name === "novelty" || name === "sets") this.session.insight.wish();
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
      const about = el("div", { class: "tl-about" });
      const box = el("div", { class: "tl-layer" }, el("label", {}, toggle, el("span", {}, text)), slider, legend, choice, about);
      box.dataset.layer = name;
      this.layerRows.set(name, { box, toggle, slider, about });
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

const keys = (rows) => rows.map(([key, text]) => el("p", {}, el("kbd", {}, key), el("span", {}, text)));

// From 0 to 100 %: the interval as a band, the honest score as a dot, what a random split claims as a ring.
function scale({ accuracy, low, high, naive }) {
  const box = el("div", { class: "tl-scale", "aria-hidden": "true" });
  const ring = naive === null ? "" : `<circle class="tl-naive" cx="${200 * naive}" cy="7" r="4.500"/>`;
  box.innerHTML =
    `<svg viewBox="-6 0 212 14"><path d="M0 7H200"/><path class="tl-band" d="M${200 * low} 7H${200 * high}"/>` +
    `${ring}<circle class="tl-honest" cx="${200 * accuracy}" cy="7" r="5"/></svg>`;
  return box;
}

function ago(seconds) {
  if (seconds < 2) return "just now";
  if (seconds < 90) return `${seconds} s ago`;
  if (seconds < 5400) return `${Math.round(seconds / 60)} min ago`;
  if (seconds < 129600) return `${Math.round(seconds / 3600)} h ago`;
  return `${Math.round(seconds / 86400)} days ago`;
}

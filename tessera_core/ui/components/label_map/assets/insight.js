// What is known about the map beside the map: asked for while nobody labels, told on a channel of its own.
// Also the guide, which leads from place to place: the best ones to label next, and labels that look doubtful.

import { el, icon, inkOn } from "./dom.js";
import { Queue } from "./queue.js";

const QUIET = 700; // milliseconds without a click before anything is asked
const AGAIN = 450; // between two looks while the answer is being worked out
const MADE_ON_WISH = ["novelty", "sets"];
const RESULTS = ["groups", "tidied"];
const NEAR = 10; // screen pixels that a scene pixel gets when a place is visited

export class Insight {
  constructor(session) {
    this.session = session;
    this.queue = new Queue(() => {}, { layers: [], error: 0.1, selected: "", skipped: [], similar: { pos: [], neg: [] }, tick: 0 });
    this.header = null;
    this.threshold = null;
    this.guide = new Guide(this);
  }

  get memory() {
    return this.session.memory;
  }

  // ------------------------------------------------------------------- asking

  // After every answer of the map: once the person pauses, ask what the labels say now.
  settle(delay = QUIET) {
    clearTimeout(this.timer);
    this.timer = setTimeout(() => {
      if (this.session.queue.pending.length || this.session.queue.busy) return this.settle();
      // An answer redraws the panel's own widgets, and that would close a list that is being chosen from.
      if (document.querySelector('[role="listbox"]')) return this.settle(AGAIN);
      this.queue.ask({ tick: this.queue.want.tick + 1 });
    }, delay);
  }

  wish(changes = {}) {
    const layers = MADE_ON_WISH.filter((name) => this.memory.layers[name].on);
    this.queue.ask({ layers, error: this.memory.error, ...changes });
  }

  act(op) {
    this.queue.push(op);
  }

  // The list beside the map shows the label that was chosen on it; the map itself comes first.
  chose(delay = 150) {
    clearTimeout(this.choosing);
    this.choosing = setTimeout(() => {
      if (this.session.queue.busy || document.querySelector('[role="listbox"]')) return this.chose();
      this.wish({ selected: this.session.selection.id ?? "" });
    }, delay);
  }

  mapped(header) {
    if (!this.header || header.version !== this.header.version || header.scene !== this.scene) this.settle();
    this.scene = header.scene;
    const classes = JSON.stringify(header.classes.map((c) => [c.id, c.name, c.color]));
    if (classes !== this.classes && this.guide.kind) this.session.view?.drawCard();
    this.classes = classes;
  }

  // ------------------------------------------------------------------ answers

  receive(header) {
    const { session } = this;
    const before = new Map((this.header?.layers ?? []).map((layer) => [layer.name, layer]));
    this.present(header.layers, before);
    this.header = header;
    this.queue.answered(header);
    if (header.epoch !== this.queue.epoch && MADE_ON_WISH.some((name) => this.memory.layers[name].on)) this.wish();
    for (const layer of header.layers) before.delete(layer.name);
    for (const gone of before.keys()) {
      session.pictures.delete(gone);
      session.view?.drop(gone);
    }
    if (!header.similar?.areas) this.threshold = null;
    else if (this.threshold === null) {
      this.threshold = header.similar.start;
      // Its picture may have come first.
      session.view?.thresholdMoved();
    }
    for (const [id, text] of header.notes) session.view?.note(`side${header.epoch}${id}`, text);
    // Something beside the map changed what it should show: labels made of an area, a method, a year.
    const shown = session.message?.header;
    if (shown && header.stamp !== shown.stamp && !session.queue.pending.length) session.queue.ask({ stamp: header.stamp });
    // A label was chosen in the list beside the map.
    const { chosen } = header;
    if (session.view?.header && chosen.number > session.selection.told) {
      session.selection.told = chosen.number;
      if (chosen.id) session.selection.choose(chosen.id, true);
      else session.selection.clear();
    }
    this.guide.refresh();
    session.view?.drawMarks();
    session.view?.showLayers();
    session.panel?.receiveInsight();
    clearTimeout(this.timer);
    if (header.pending) this.settle(AGAIN);
    else if (shown && header.ready && shown.version !== header.version) this.settle();
  }

  // What was just made is shown, and covers nothing else that was made; what was turned into labels makes way for the map.
  present(layers, before) {
    const { layers: shown } = this.memory;
    for (const { name, version, mode } of layers) {
      const known = before.get(name);
      if (!RESULTS.includes(name) || !this.header || known?.version === version) continue;
      for (const other of RESULTS) shown[other].on = other === name && mode !== "used";
    }
  }

  // ------------------------------------------------------------------ similar

  get seeds() {
    return this.queue.want.similar;
  }

  seed(xy, like) {
    const { pos, neg } = this.seeds;
    this.memory.layers.similar.on = true;
    this.wish({ similar: like ? { pos: [...pos, xy], neg } : { pos, neg: [...neg, xy] } });
    this.seedsChanged();
  }

  unseed(xy) {
    const keep = (list) => list.filter((other) => other !== xy);
    this.wish({ similar: { pos: keep(this.seeds.pos), neg: keep(this.seeds.neg) } });
    this.seedsChanged();
  }

  clearSeeds() {
    this.wish({ similar: { pos: [], neg: [] } });
    this.threshold = null;
    this.seedsChanged();
  }

  seedsChanged() {
    this.session.view?.drawMarks();
    this.session.panel?.receiveInsight();
  }
}

const LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ";

// Leads through a list of places; the list stays as it was when the tour began, whatever is found meanwhile.
class Guide {
  constructor(insight) {
    this.insight = insight;
    this.kind = null; // "next" or "doubts"
    this.list = [];
    this.at = -1;
  }

  get session() {
    return this.insight.session;
  }

  get current() {
    return this.kind ? this.list[this.at] : null;
  }

  // Marks to draw: those of the tour, else the newest suggestions.
  get marks() {
    const header = this.insight.header;
    if (this.kind === "doubts") return this.current?.xy ? [{ ...this.current, letter: "!", now: true }] : [];
    const list = this.kind === "next" ? this.list : (header?.ready && header.next) || [];
    return list.map((place, n) => ({ ...place, letter: LETTERS[n], now: this.kind === "next" && n === this.at })).filter((p, n) => !list[n].done);
  }

  refresh() {
    if (this.kind === null) return;
    if (this.kind === "next" && this.list.every((place) => place.done) && this.waiting && this.insight.header.next.length && !this.insight.header.pending) {
      this.waiting = false;
      this.start("next");
    }
  }

  start(kind, at = 0) {
    const header = this.insight.header;
    const found = kind === "next" ? header?.next : header?.doubts;
    if (!found?.length) return;
    this.session.selection.clear();
    this.kind = kind;
    this.list = found.map((place) => ({ ...place }));
    this.at = at;
    this.waiting = false;
    this.show();
  }

  // The next place that is still open, or the end.
  next() {
    if (!this.kind) return this.start("next");
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
    if (this.kind === "next") {
      // All five are done: what helps most now is being worked out.
      this.waiting = true;
      this.at = -1;
      this.draw();
      this.insight.settle(200);
    } else this.leave();
  }

  leave() {
    this.kind = null;
    this.waiting = false;
    this.draw();
    this.session.view?.box.focus({ preventScroll: true });
  }

  show() {
    const place = this.current;
    if (place?.xy) this.session.view?.visit(place.xy, NEAR);
    this.draw();
  }

  draw() {
    this.session.view?.drawMarks();
    this.session.view?.drawCard();
    this.session.panel?.receiveInsight();
  }

  // One key or one touch: the place gets the class, and the next one comes.
  label(id) {
    const place = this.current;
    if (this.kind !== "next" || !place) return;
    this.session.choose(id);
    this.session.view.add("point", [place.xy], 0);
    place.done = true;
    this.next();
  }

  skip() {
    const place = this.current;
    if (!place) return this.next();
    if (this.kind === "next") {
      const skipped = [...this.insight.queue.want.skipped, place.xy].slice(-100);
      this.insight.queue.want = { ...this.insight.queue.want, skipped };
    }
    place.done = true;
    this.next();
  }

  resolve(ops) {
    for (const op of ops) this.session.view.op(op);
    if (this.current) this.current.done = true;
    this.next();
  }

  // ------------------------------------------------------------------ the card

  card() {
    if (!this.kind) return null;
    if (this.waiting) {
      return el("div", { class: "tl-cardbody" }, this.head("Well done"), el("p", {}, "All places are done. Looking where a label helps most now…"));
    }
    const place = this.current;
    if (!place) return null;
    const left = this.list.filter((p) => !p.done).length;
    const what = this.kind === "next" ? `Place ${LETTERS[this.at]}: what is here?` : title(place);
    const skip = el(
      "button",
      { type: "button", class: "tl-button", onclick: () => this.skip() },
      this.kind === "next" ? "Not sure, next" : "Leave it, next", el("kbd", {}, "N"),
    );
    return el(
      "div",
      { class: "tl-cardbody" },
      this.head(what, `${left} to go`),
      el("p", {}, place.text),
      this.kind === "next" ? this.chips(place) : null,
      el("div", { class: "tl-actions" }, ...(this.kind === "doubts" ? this.remedies(place) : []), skip),
    );
  }

  head(text, small = "") {
    return el(
      "div",
      { class: "tl-cardhead" },
      el("b", {}, text), el("span", { class: "tl-unit" }, small),
      el("button", { type: "button", class: "tl-more", title: "Leave (Escape)", "aria-label": "Leave", onclick: () => this.leave() }, icon("close")),
    );
  }

  chips(place) {
    const classes = this.session.view.header.classes;
    return el(
      "div",
      { class: "tl-cardclasses" },
      ...classes.map((c, n) =>
        el(
          "button",
          {
            type: "button", class: `tl-cardchip${place.likely.includes(c.id) ? " tl-likely" : ""}`, title: `Label this place ${c.name}`,
            onclick: () => this.label(c.id),
          },
          el("span", { class: "tl-chip", style: `background:${c.color};color:${inkOn(c.color)}` }, n < 9 ? String(n + 1) : ""),
          c.name,
        ),
      ),
      this.other(),
    );
  }

  // A place of a class that nobody has thought of yet.
  other() {
    const name = el("input", { type: "text", maxLength: 80, placeholder: "Something else…", "aria-label": "Another class for this place" });
    return el(
      "form",
      { class: "tl-other", onsubmit: (event) => {
        event.preventDefault();
        const text = name.value.trim();
        if (!text) return;
        this.session.addClass(text);
        this.label(this.session.memory.class);
      } },
      name,
      el("button", { type: "submit", class: "tl-button" }, "Add"),
    );
  }

  remedies(place) {
    const { classes } = this.session.view.header;
    const known = (id) => classes.find((c) => c.id === id);
    const press = (text, ops, title_ = "Undo brings it back") =>
      el("button", { type: "button", class: "tl-button", title: title_, onclick: () => this.resolve(ops) }, text);
    const remove = (labels) => labels.map((label) => ({ do: "remove_label", label }));
    const [first, second] = place.classes;
    if (place.kind === "likely wrong")
      return [
        known(second) ? press(`It is ${known(second).name}`, place.labels.map((label) => ({ do: "edit_label", label, class: second }))) : null,
        press("Delete it", remove(place.labels)),
      ];
    if (place.kind === "contradiction")
      return place.classes.map(known).filter(Boolean).map((c) =>
        press(`It is ${c.name}`, [...remove(place.labels.slice(1)), { do: "edit_label", label: place.labels[0], class: c.id }]));
    if (place.kind === "duplicate") return [press("Keep one", remove(place.labels.slice(1)))];
    if (place.kind === "overlap" && known(first) && known(second))
      return [
        press(`Merge into ${known(first).name}`, [{ do: "merge_classes", class: second, into: first }]),
        press(`Merge into ${known(second).name}`, [{ do: "merge_classes", class: first, into: second }]),
      ];
    if (place.kind === "too few" && known(first))
      return [
        el("button", { type: "button", class: "tl-button", onclick: () => {
          this.session.choose(first);
          this.leave();
        } }, `Label more ${known(first).name}`),
      ];
    return [];
  }
}

const TITLES = {
  contradiction: "Labelled twice, differently", "likely wrong": "Probably wrong", overlap: "Two classes look alike",
  "too few": "Too few labels", duplicate: "Labelled twice", "too close": "Too close together",
};

export function title(doubt) {
  return TITLES[doubt.kind] ?? "Doubtful";
}

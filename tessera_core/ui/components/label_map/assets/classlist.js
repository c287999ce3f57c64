// The list of classes in the panel, and the editor of one of them.

import { area, el, focusIn, icon, inkOn, pulse, SWATCHES } from "../../shared/assets/dom.js";
import { t, tn } from "../../shared/assets/words.js";

/** @import { LabelClass, LabelHeader } from "../../messages.js" */
/** @import { LabelSession } from "./session.js" */
/** @typedef {ReturnType<ClassList["makeRow"]>} Row */

export class ClassList {
  /** @param {LabelSession} session */
  constructor(session) {
    this.session = session;
    this.memory = session.memory;
    /** @type {Map<number, Row>} */
    this.rows = new Map();
    /** @type {number | null} */
    this.editing = null;
    /** @type {HTMLElement | null} */
    this.editor = null;
    this.list = el("div", {
      class: "tl-classes",
      role: "group",
      "aria-label": t("Classes"),
      "data-tour": "label.classes",
    });
    this.name = el("input", {
      type: "text",
      placeholder: t("New class"),
      maxLength: 80,
      "aria-label": t("Name of a new class"),
    });
    const add = el(
      "button",
      { type: "submit", class: "tl-button", title: t("Add this class") },
      icon("plus"),
      t("Add"),
    );
    const submit = (/** @type {Event} */ event) => this.add(event);
    this.form = el("form", { class: "tl-add", "data-tour": "label.new-class", onsubmit: submit }, this.name, add);
  }

  get classes() {
    return this.session.header?.classes ?? [];
  }

  /** @param {LabelHeader} header */
  fill({ classes, unit, map }) {
    const present = new Set(classes.map((c) => c.id));
    for (const [id, row] of this.rows) {
      if (present.has(id)) continue;
      if (focusIn(row.box)) this.name.focus({ preventScroll: true });
      row.box.remove();
      this.rows.delete(id);
      if (this.editing === id) this.closeEditor();
    }
    classes.forEach((c, position) => {
      const row = this.rows.get(c.id) ?? this.makeRow(c.id);
      this.rows.set(c.id, row);
      // Of a large region what is in sight comes first; how much there is of a class is still being counted.
      this.fillRow(row, c, position, map && c.area === null ? null : unit);
      const there = this.list.children[position];
      if (there !== row.box) this.list.insertBefore(row.box, there ?? null);
    });
    this.list.classList.toggle("tl-empty", !classes.length);
  }

  /**
   * @param {Row} row
   * @param {LabelClass} known
   * @param {number} position
   * @param {string | null} unit null while areas are being counted
   */
  fillRow(row, { id, name, color, count, area: covered }, position, unit) {
    Object.assign(row.chip.style, { background: color, color: inkOn(color) });
    row.chip.textContent = position < 9 ? `${position + 1}` : "";
    row.label.textContent = name;
    row.label.title = name;
    row.more.setAttribute("aria-label", t("Edit {name}", { name }));
    row.count.textContent = `${count}`;
    row.count.title = tn("{n} label", "{n} labels", count);
    row.area.textContent = covered === null ? (unit === null ? "…" : "") : area(covered, unit ?? "");
    const chosen = id === this.memory.class;
    row.pick.setAttribute("aria-pressed", String(chosen));
    row.box.classList.toggle("tl-chosen", chosen);
    row.box.classList.toggle("tl-hidden", this.memory.hidden.includes(id));
  }

  /** @param {number} id */
  makeRow(id) {
    const chip = el("span", { class: "tl-chip" });
    const label = el("span", { class: "tl-name" });
    const count = el("span", { class: "tl-count" });
    const covered = el("span", { class: "tl-area" });
    const choose = () => this.session.choose(id);
    const picks = { type: "button", class: "tl-pick", "aria-pressed": "false", onclick: choose };
    const pick = el("button", picks, chip, label, count, covered);
    const title = t("Rename, recolour, hide, merge or delete");
    const opens = { type: "button", class: "tl-more", title, onclick: () => this.edit(id) };
    const more = el("button", opens, icon("edit"));
    const box = el("div", { class: "tl-row" }, el("div", { class: "tl-line" }, pick, more));
    box.dataset.class = `${id}`;
    return { box, pick, chip, label, count, area: covered, more };
  }

  /** @param {Event} event */
  add(event) {
    event.preventDefault();
    const name = this.name.value.trim();
    if (!name) return this.name.focus();
    this.session.addClass(name);
    this.name.value = "";
    // What comes next is a click on the map, or its keys.
    this.session.view?.box.focus({ preventScroll: true });
  }

  attention() {
    if (this.classes.length) return pulse(this.list);
    pulse(this.name);
    this.name.focus({ preventScroll: true });
  }

  // ----------------------------------------------------------------- the editor

  /** @param {number} id */
  edit(id) {
    const again = this.editing === id;
    this.closeEditor();
    const current = this.classes.find((c) => c.id === id);
    const { view } = this.session;
    if (again || !current || !view) return;
    const name = el("input", { type: "text", value: current.name, maxLength: 80, "aria-label": t("Class name") });
    const done = () => {
      const text = name.value.trim();
      if (text && text !== current.name) view.op({ do: "edit_class", class: id, name: text });
      this.closeEditor();
    };
    const key = (/** @type {KeyboardEvent} */ event) => {
      if (event.key === "Enter" && event.target === name) done();
      else if (event.key === "Escape") this.closeEditor();
    };
    const remove = () => {
      view.op({ do: "remove_class", class: id });
      this.closeEditor();
    };
    const others = this.classes.filter((c) => c.id !== id);
    const gone = { type: "button", class: "tl-button", title: t("Undo brings it back"), onclick: remove };
    const doneButton = { type: "button", class: "tl-button tl-primary", onclick: done };
    const actions = [
      this.hider(id),
      others.length ? this.merger(id, others) : null,
      el("button", gone, icon("trash"), "Delete"),
      el("button", doneButton, icon("check"), t("Done")),
    ];
    this.editing = id;
    this.editor = el(
      "div",
      { class: "tl-editor", onkeydown: key },
      name,
      this.swatches(current),
      el("div", { class: "tl-actions" }, ...actions),
    );
    this.rows.get(id)?.box.append(this.editor);
    name.focus({ preventScroll: true });
    name.select();
  }

  /** @param {LabelClass} current */
  swatches({ id, color: now }) {
    const paint = (/** @type {string} */ color) => this.session.view?.op({ do: "edit_class", class: id, color });
    const text = t("Another colour");
    const own = el("input", { type: "color", value: now, title: text, "aria-label": text });
    own.onchange = () => paint(own.value);
    const known = SWATCHES.map((color) =>
      el("button", {
        type: "button",
        class: "tl-swatch",
        style: `background:${color}`,
        title: color,
        "aria-label": t("Colour {color}", { color }),
        onclick: () => paint(color),
      }),
    );
    return el("div", { class: "tl-swatches" }, ...known, own);
  }

  /**
   * @param {number} id
   * @param {LabelClass[]} others
   */
  merger(id, others) {
    const options = others.map((c) => el("option", { value: c.id }, c.name));
    const merge = el(
      "select",
      { "aria-label": t("Merge into another class") },
      el("option", { value: "" }, t("Merge into…")),
      ...options,
    );
    merge.onchange = () => {
      this.session.view?.op({ do: "merge_classes", class: id, into: Number(merge.value) });
      this.closeEditor();
    };
    return merge;
  }

  /** @param {number} id */
  hider(id) {
    const button = el("button", { type: "button", class: "tl-button" });
    const say = () => {
      const hidden = this.memory.hidden.includes(id);
      button.replaceChildren(icon(hidden ? "eye" : "eyeoff"), hidden ? t("Show") : t("Hide"));
    };
    button.onclick = () => {
      const { hidden } = this.memory;
      this.memory.hidden = hidden.includes(id) ? hidden.filter((other) => other !== id) : [...hidden, id];
      say();
      this.session.keep();
      if (this.session.header) this.fill(this.session.header);
      this.session.view?.pictures.repaint();
    };
    say();
    return button;
  }

  closeEditor() {
    if (this.editor && focusIn(this.editor)) this.rows.get(this.editing ?? 0)?.more.focus({ preventScroll: true });
    this.editor?.remove();
    this.editor = this.editing = null;
  }
}

// On a phone the classes stand in the map, so that choosing one needs no scrolling.

import { el, icon, renew } from "../../shared/assets/dom.js";
import { t } from "../../shared/assets/words.js";

/** @import { LabelClass } from "../../messages.js" */
/** @import { LabelSession } from "./session.js" */

export class Strip {
  /** @param {LabelSession} session */
  constructor(session) {
    this.session = session;
    this.chips = el("div", { class: "tl-chips", role: "group", "aria-label": t("Classes") });
    const name = el("input", {
      type: "text",
      maxLength: 80,
      placeholder: t("Add a class"),
      "aria-label": t("Name of another class"),
    });
    /** @param {Event} event */
    const add = (event) => {
      event.preventDefault();
      const text = name.value.trim();
      if (!text) return name.focus();
      session.addClass(text);
      name.value = "";
      session.view?.box.focus({ preventScroll: true });
    };
    const button = el(
      "button",
      { type: "submit", class: "tl-button", title: t("Add this class"), "aria-label": t("Add this class") },
      icon("plus"),
    );
    this.form = el("form", { class: "tl-stripadd", "data-tour": "label.new-class", onsubmit: add }, name, button);
    this.box = el("div", { class: "tl-control tl-strip" }, this.chips, this.form);
  }

  /** @param {LabelClass[]} classes */
  fill(classes) {
    const chips = classes.map((c) => {
      const chosen = c.id === this.session.memory.class;
      const options = { type: "button", class: "tl-stripchip", "aria-pressed": String(chosen) };
      return el(
        "button",
        { ...options, onclick: () => this.session.choose(c.id) },
        el("i", { style: `background:${c.color}` }),
        c.name,
        el("b", {}, String(c.count)),
      );
    });
    const at = this.box.scrollLeft;
    renew(this.chips, ...chips);
    this.box.scrollLeft = at;
  }

  get inSight() {
    return getComputedStyle(this.box).display !== "none";
  }
}

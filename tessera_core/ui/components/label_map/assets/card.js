// What the map's card says of the chosen label, and lets people do with it.

import { area, el } from "../../shared/assets/dom.js";
import { locale, t } from "../../shared/assets/words.js";
import { cardButton, classChip, closeButton } from "./chips.js";

/** @import { LabelClass, LabelHeader, Particulars } from "../../messages.js" */
/** @import { Selection } from "./select.js" */
/** @import { Entry } from "./labels.js" */

/** @type {Record<string, string>} */
const NAMES = { p: t("point"), b: t("brush stroke"), a: t("polygon"), r: t("rectangle") };
/** @type {Record<string, string>} */
const USES = {
  p: t("Drag the dot to move it."),
  b: t("Drag the arrows to move it."),
  a: t("Drag a corner to change it, the arrows to move it."),
  r: t("Drag a corner to change it, the arrows to move it."),
};

export class Card {
  /**
   * @param {Selection} selection
   * @param {string} id of the label
   */
  constructor(selection, id) {
    this.selection = selection;
    this.id = id;
    this.signature = "";
    this.head = el("b");
    this.number = el("span", { class: "tl-unit" });
    this.chips = el("div", { class: "tl-cardclasses", role: "group", "aria-label": t("Class of this label") });
    const { view } = selection;
    const leave = () => view.box.focus({ preventScroll: true });
    this.note = el("input", {
      type: "text",
      maxLength: 1000,
      placeholder: t("Note on this place"),
      "aria-label": t("Note on this label"),
      disabled: true,
      onchange: () => selection.writeNote(),
      onkeydown: (/** @type {KeyboardEvent} */ event) => {
        if (event.key === "Escape") this.note.value = selection.note;
        if (event.key === "Escape" || event.key === "Enter") leave();
      },
    });
    this.about = el("p", { class: "tl-about-label" });
    const next = cardButton(t("Next"), () => selection.next(), {
      key: "N",
      title: t("The label made before this one"),
    });
    const title = "Delete this label; undo brings it back";
    const remove = cardButton("Delete", () => selection.remove(), { key: "Del", title, sign: "trash" });
    const close = closeButton(t("Close"), () => selection.clear());
    this.node = el(
      "div",
      { class: "tl-cardbody" },
      el("div", { class: "tl-cardhead" }, this.head, this.number, next, close),
      this.chips,
      el("div", { class: "tl-noted" }, this.note, remove),
      this.about,
    );
  }

  get focused() {
    return /** @type {ShadowRoot | Document} */ (this.node.getRootNode()).activeElement;
  }

  /**
   * @param {Entry} entry
   * @param {number} position in painting order
   * @param {LabelHeader} header
   * @param {Particulars | null} known
   */
  fill({ shape }, position, { classes, unit }, known) {
    const [class_, kind] = shape;
    this.head.textContent = `${classes.find((c) => c.id === class_)?.name ?? t("Label")}, ${NAMES[kind]}`;
    this.number.textContent = t("label {position}", { position: position + 1 });
    this.fillChips(class_, classes);
    if (!known) return;
    const { note } = this.selection;
    this.note.disabled = false;
    if (this.focused !== this.note && this.note.value !== note) this.note.value = note;
    this.about.textContent = `${described(known, unit)}. ${USES[kind]}`;
  }

  /**
   * @param {number} chosen
   * @param {LabelClass[]} classes
   */
  fillChips(chosen, classes) {
    const signature = JSON.stringify([chosen, classes.map((c) => [c.id, c.name, c.color])]);
    if (signature === this.signature) return;
    this.signature = signature;
    // A chip that has the focus keeps it.
    const at = this.focused ? [...this.chips.children].indexOf(this.focused) : -1;
    const chips = classes.map((c, n) => {
      const press = () => this.selection.reclass(c.id);
      return classChip(c, n, `Make it ${c.name}`, press, { pressed: c.id === chosen });
    });
    this.chips.replaceChildren(...chips);
    chips[at]?.focus();
    requestAnimationFrame(() => reveal(this.chips, this.chips.querySelector('[aria-pressed="true"]')));
  }
}

/**
 * Its size, how much of it counts, and when it was made.
 * @param {Particulars} known
 * @param {string} unit
 */
function described({ pixels, counted, area: size, made }, unit) {
  const when =
    made === null ? "" : new Date(1000 * made).toLocaleString("en-GB", { dateStyle: "medium", timeStyle: "short" });
  const hidden = pixels - counted;
  let covered = "";
  if (!pixels) covered = t(" · on no pixel of this region");
  else if (hidden && counted) covered = ` · ${hidden} px of it lie under later labels`;
  else if (hidden) covered = t(" · all of it lies under later labels, so it does not count");
  const hectares = unit === "ha" ? ` · ${fine(size)}` : "";
  return `${pixels.toLocaleString(locale())} px${hectares}${covered}${when && t(" · made {when}", { when })}`;
}

/**
 * Small labels are hundredths of a hectare.
 * @param {number} value
 */
function fine(value) {
  return value < 1
    ? t("{value} ha", { value: value.toLocaleString(locale(), { maximumFractionDigits: 2 }) })
    : area(value, "ha");
}

/**
 * Scrolls a list, and nothing else, until one of its items is in sight.
 * @param {Element} list
 * @param {Element | null} item
 */
function reveal(list, item) {
  if (!item) return;
  const [around, own] = [list.getBoundingClientRect(), item.getBoundingClientRect()];
  list.scrollTop += Math.max(own.bottom - around.bottom, 0) + Math.min(own.top - around.top, 0);
  list.scrollLeft += Math.max(own.right - around.right, 0) + Math.min(own.left - around.left, 0);
}

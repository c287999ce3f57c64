// Marks on the labelling map: places where a label helps most, doubtful labels, examples of what is looked for; and the card,
// which speaks of one of them or of the chosen label.

import { el, focusIn } from "../../shared/assets/dom.js";
import { t } from "../../shared/assets/words.js";
import { LETTERS } from "./guide.js";

/** @import { XY } from "../../messages.js" */
/** @import { LabelView } from "./view.js" */

export const MARKS_HEIGHT = 470;

export class Marks {
  /** @param {LabelView} view */
  constructor(view) {
    this.view = view;
    const looks = {
      class: "tl-control tl-card",
      role: "dialog",
      "aria-label": t("About this place"),
      "aria-live": "polite",
    };
    this.card = el("div", { ...looks, tabIndex: -1, hidden: true });
    /** @type {import("leaflet").LayerGroup | null} */
    this.group = null;
  }

  get pane() {
    return this.view.stage?.map.getPane("marks") ?? null;
  }

  // On a new map.
  begin() {
    this.group = this.view.L.layerGroup([], { pane: "marks" }).addTo(this.view.map);
  }

  /**
   * @param {XY} xy
   * @param {string} text
   * @param {string} css
   * @param {string} tip
   * @param {() => void} press
   */
  mark([x, y], text, css, tip, press) {
    const { L, stage } = this.view;
    if (!this.group) return;
    const icon = L.divIcon({ className: "", html: "", iconSize: [0, 0] });
    const options = { icon, pane: "marks", keyboard: false, interactive: false };
    const marker = L.marker(stage.frame.latLng(x, y), options).addTo(this.group);
    const look = `tl-control tl-mark ${css}`;
    const button = el("button", { type: "button", class: look, title: tip, "aria-label": tip, onclick: press }, text);
    marker.getElement()?.append(button);
  }

  draw() {
    const { view } = this;
    if (!view.stages.length || !view.header) return;
    const within = this.pane && focusIn(this.pane);
    this.group?.clearLayers();
    if (within) view.box.focus({ preventScroll: true });
    this.showAll();
    const { insight } = view.session;
    const { guide, seeds } = insight;
    view.tour.disabled = !guide.kind && !(insight.header?.ready && insight.header.next.length);
    for (const place of guide.marks) {
      if (!place.xy) continue;
      const at = LETTERS.indexOf(place.letter);
      const press = () => {
        if (!guide.kind) return guide.start("next", at);
        if (guide.kind === "next") guide.at = at;
        guide.show();
      };
      const css = `${place.now ? "tl-now" : ""} ${guide.kind === "issues" ? "tl-bad" : ""}`;
      this.mark(place.xy, place.letter, css, place.text, press);
    }
    if (!view.session.seeking) return;
    for (const xy of seeds.pos)
      this.mark(xy, "+", "tl-seed", "An example; press to take it away", () => insight.unseed(xy));
    for (const xy of seeds.neg)
      this.mark(xy, "−", "tl-seed tl-unlike", "A counter-example; press to take it away", () => insight.unseed(xy));
  }

  // Without labels in sight, only marks that somebody is working with.
  showAll() {
    const { guide, seeds } = this.view.session.insight;
    const searching = this.view.session.seeking && (seeds.pos.length || seeds.neg.length);
    const wanted = this.view.memory.layers.labels.on || guide.kind || searching;
    const style = this.view.stage.styleOf("marks");
    if (style) style.display = wanted ? "" : "none";
  }

  drawCard() {
    const { card, view } = this;
    const guide = view.session.insight.guide.card();
    const body = guide ?? view.session.selection.card();
    // What is in the card already keeps its focus; who was at a button of another place is at this one.
    const within = focusIn(card);
    card.hidden = !body;
    if (card.firstChild !== body) card.replaceChildren(...(body ? [body] : []));
    if (within && !focusIn(card)) (body ? card : view.box).focus({ preventScroll: true });
    view.box.classList.toggle("tl-guided", Boolean(guide));
    view.box.classList.toggle("tl-picked", Boolean(body && !guide));
  }
}

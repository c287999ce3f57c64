// The labelling map: structure, messages, ink and controls. What outlives it (view, tool, class, layers, unsent operations) is
// kept in the session, which belongs to a key, not to the page.

import { BaseView } from "../../shared/assets/base.js";
import { el, focusIn, pulse } from "../../shared/assets/dom.js";
import { Stage } from "../../shared/assets/stage.js";
import { press, pressed, toolbar } from "../../shared/assets/toolbar.js";
import { locale, t } from "../../shared/assets/words.js";
import { drawShape, settled, withoutErased } from "./labels.js";
import { MARKS_HEIGHT, Marks } from "./marks.js";
import { PANES, Pictures } from "./pictures.js";
import { Sight } from "./sight.js";
import { Strip } from "./strip.js";
import { TOOLS, Tools } from "./tools.js";

/** @import { Hub, LabelHeader, Operation, XY } from "../../messages.js" */
/** @import { Leaflet, Transform } from "../../shared/assets/layers.js" */
/** @import { Entry } from "./labels.js" */
/** @import { LabelSession, ToolName } from "./session.js" */

/** @type {Set<ToolName>} */
const PANNING = new Set(["select", "point", "like", "unlike"]); // with these, a drag moves the map
const UNCHOSEN = /** @type {ToolName[]} */ (["select", "erase", "like", "unlike"]); // tools that give no class

export class LabelView extends BaseView {
  /**
   * @param {Hub & { L: Leaflet }} hub
   * @param {LabelSession} session
   * @param {HTMLElement} root
   */
  constructor(hub, session, root) {
    super(hub, root, "tl-map", t("Labelling map"));
    this.session = session;
    this.memory = session.memory;
    this.queue = session.queue;
    /** @type {LabelHeader | null} */
    this.header = null;
    this.pixel = 1; // width of a pixel of the scene, in the frame's units
    /** @type {Entry[]} */
    this.told = []; // by the server
    /** @type {Entry[]} */
    this.entries = []; // all labels in painting order, those on their way included
    /** @type {Entry[]} */
    this.drawn = []; // those not erased
    /** @type {Map<number, string>} */
    this.colours = new Map();
    this.painted = 0;
    this.toastTimer = 0;
    this.looking = new Sight(this);
    this.marks = new Marks(this);
    this.pictures = new Pictures(this);
    this.strip = new Strip(session);
    this.toast = el("div", { class: "tl-toast", role: "status" });
    this.undo = press("undo", t("Undo (Z)"), () => this.op({ do: "undo" }), { tool: "undo" });
    this.redo = press("redo", t("Redo (Y)"), () => this.op({ do: "redo" }), { tool: "redo" });
    this.peek = press("eye", t("Hide or show the class map (M)"), () => this.pictures.toggleMap(), { tool: "peek" });
    this.tour = press("target", t("Where to label next (N)"), () => session.insight.guide.next(), { tool: "next" });
    this.zoom.append(this.peek, this.tour);
    this.size = el("input", {
      type: "range",
      min: 0.5,
      max: 20,
      step: 0.5,
      "aria-label": t("Brush size in pixels"),
      oninput: () => this.setRadius(Number(this.size.value)),
    });
    this.sizeText = el("span");
    this.sizer = el("div", { class: "tl-control tl-sizer tl-plate", hidden: true }, this.size, this.sizeText);
    this.bannerText = el("span");
    const end = () => session.endSearch();
    const look = { type: "button", class: "tl-button", onclick: end };
    const ends = el("button", look, t("End this"), el("kbd", {}, t("Esc")));
    this.banner = el("div", { class: "tl-control tl-banner", hidden: true }, this.bannerText, ends);
    const { group, buttons } = toolbar(TOOLS, (tool) => session.setTool(tool));
    this.buttons = buttons;
    const history = el("div", { class: "tl-group" }, this.undo, this.redo);
    const bar = el("div", { class: "tl-control tl-bar" }, group, history);
    this.foot = el("div", { class: "tl-foot" }, this.sizer, this.strip.box, bar);
    // The card comes first, so that Tab leads from the map into it.
    this.box.append(this.marks.card, this.draft, this.cross, this.divider, this.foot, this.zoom, this.finisher);
    this.box.append(this.title, this.banner, this.caption, this.bottom, this.toast);
    this.root.replaceChildren(this.box);
    this.tools = this.gestures = new Tools(this);
  }

  // Leaflet is made anew when the frame changes (a scene with a place on Earth, or plain pixels).
  /** @param {LabelHeader} header */
  ensureStage(header) {
    if (this.showsFrame(header.frame)) return;
    this.removeStages();
    this.pictures.forget();
    const stage = new Stage(this.L, this.box, header.frame, {
      panes: { ...PANES, marks: MARKS_HEIGHT },
      pixel: () => this.pixel,
      draw: (context, t) => this.drawInk(context, t),
    });
    this.useStages([stage]);
    this.map.on("moveend", () => this.moved());
    this.map.on("move zoom resize", () => this.tools.paint());
    this.marks.begin();
  }

  resized() {
    if (!this.stages.length || !this.box.clientWidth) return;
    const whole = this.seesWhole(this.memory);
    this.map.invalidateSize({ pan: false, debounceMoveend: true });
    if (!this.placed) this.place();
    else if (whole) this.fit(false);
    this.stage.clip();
  }

  destroy() {
    super.destroy();
    clearTimeout(this.toastTimer);
    this.looking.destroy();
    this.tools.destroy();
    if (this.session.view !== this) return;
    this.session.view = null;
    this.queue.trigger = null;
    // Who comes back to the page expects that clicks make labels.
    this.session.endSearch();
  }

  // ------------------------------------------------------------------- messages

  /**
   * @param {LabelHeader} header
   * @param {Uint8Array<ArrayBuffer>} png
   */
  receive(header, png) {
    const sameScene = this.header?.scene === header.scene;
    this.header = header;
    this.pixel = header.pixel;
    this.ensureStage(header);
    this.told = header.labels.map(([id, ...shape]) => ({ id, shape }));
    this.settle();
    this.colours = new Map(header.classes.map((c) => [c.id, c.color]));
    if (!sameScene) {
      this.placed = false;
      this.place();
      this.pictures.renew();
      this.looking.tell();
    }
    this.fillTitle(header);
    this.pictures.receiveMap(header, png);
    this.refreshTools();
    this.stage.ink.redraw();
    this.marks.draw();
    this.tools.paint();
    this.session.selection.received(header);
    for (const [id, text] of header.notes) this.note(`${id}:${text}`, text);
    this.root.dataset.seq = `${header.seq}`;
    this.root.dataset.ack = `${header.ack}`;
  }

  place() {
    if (!this.stages.length || !this.header || !this.box.clientWidth) return;
    this.placed = true;
    this.map.invalidateSize({ pan: false });
    const { bounds, scene, place } = this.header;
    this.map.setMaxBounds(this.stage.frame.bounds(bounds).pad(1.5));
    const sight = this.memory.views[scene] ?? this.memory.views[place];
    if (sight) this.look(sight);
    else this.fit(false);
  }

  fit(animate = true) {
    if (!this.header) return;
    // On a phone, plates at the head and tools at the foot cover part of the map.
    const phone = getComputedStyle(this.foot).display === "flex";
    this.fitting = true;
    this.map.fitBounds(this.stage.frame.bounds(this.header.bounds), {
      paddingTopLeft: [8, phone ? 62 : 8],
      paddingBottomRight: [8, phone ? 112 : 8],
      animate,
    });
  }

  moved() {
    if (!this.header) return;
    this.noteWhole(this.memory);
    this.memory.views[this.header.scene] = this.sight;
    // Another year of the same place opens where this one was left.
    this.memory.views[this.header.place] = this.sight;
    this.keep();
    this.looking.tell();
  }

  /** @param {LabelHeader} header */
  shown(header) {
    this.afterPaint(() => {
      this.painted = Math.max(this.painted, header.seq);
      this.root.dataset.shown = `${this.painted}`;
      this.root.dataset.shownAck = `${header.ack}`;
      this.root.dispatchEvent(new CustomEvent("tl-shown", { detail: { ack: header.ack, at: performance.now() } }));
    });
  }

  keep() {
    this.session.keep();
  }

  /** @param {number} at */
  divided(at) {
    this.memory.swipe.at = at;
    this.pictures.compare();
  }

  // ------------------------------------------------------------------------ ink

  /**
   * @param {CanvasRenderingContext2D} context
   * @param {Transform} t
   */
  drawInk(context, t) {
    if (!this.header) return;
    const { selection } = this.session;
    const { dot } = this;
    for (const { id, shape } of this.drawn) {
      if (selection.draft && id === selection.id) continue; // it is drawn where it is being dragged
      drawShape(context, t, shape, this.colourOf(shape[0], "#888"), dot);
    }
    if (!selection.draft) selection.draw(context, t);
  }

  /**
   * @param {number} id
   * @param {string} other
   */
  colourOf(id, other) {
    return this.colours.get(id) ?? other;
  }

  // Radius of a point on the screen.
  get dot() {
    return Math.max(4, Math.min(7, 3 + Math.abs(this.stage.screen().pixel)));
  }

  // The labels as they will be once everything on its way has arrived.
  settle() {
    const entries = settled(this.told, this.queue.pending, this.queue.epoch);
    const shapes = entries.map(({ shape }) => shape);
    const kept = new Set(withoutErased(shapes, this.pixel));
    this.entries = entries;
    this.drawn = entries.filter(({ shape }) => kept.has(shape));
  }

  /**
   * @param {ToolName} tool
   * @param {XY[]} xy
   * @param {number} radius
   */
  add(tool, xy, radius) {
    const pts = xy.map((p) => p.map((v) => this.stage.frame.round(v)));
    this.op({ do: "add", tool, class: tool === "erase" ? 0 : this.memory.class, pts, radius });
  }

  /**
   * @param {Operation} op
   * @returns {number} its number, or 0 where there is nothing to do
   */
  op(op) {
    this.session.selection.flush();
    const idle = !this.queue.pending.length;
    if (op.do === "undo" && idle && !this.header?.undo) return 0;
    if (op.do === "redo" && idle && !this.header?.redo) return 0;
    const id = this.queue.push(op);
    if (["add", "edit_label", "remove_label"].includes(op.do)) {
      this.settle();
      this.stage.ink.redraw();
      if (this.session.selection.id) this.marks.drawCard();
    }
    return id;
  }

  // ------------------------------------------------------------------- controls

  refreshTools() {
    const { tool, radius } = this.memory;
    if (!this.header) return;
    pressed(this.buttons, tool);
    this.strip.fill(this.header.classes);
    const used = focusIn(this.undo) ?? focusIn(this.redo);
    this.undo.disabled = !this.header.undo;
    this.redo.disabled = !this.header.redo;
    // A button that goes out would take the keyboard's focus with it.
    if (used instanceof HTMLButtonElement && used.disabled) this.box.focus({ preventScroll: true });
    this.sizer.hidden = tool !== "brush" && tool !== "erase";
    this.size.value = `${radius}`;
    const { metres } = this.header;
    const [px, m] = [2 * radius, Math.round(2 * radius * (metres ?? 0))].map((n) => n.toLocaleString(locale()));
    this.sizeText.textContent = metres ? t("{px} px · {m} m wide", { px, m }) : t("{px} px wide", { px });
    if (PANNING.has(tool)) this.map.dragging.enable();
    else this.map.dragging.disable();
    this.root.dataset.tool = tool;
    this.fillBanner(tool);
    this.cursor();
  }

  // What clicks do when they do not what the pressed tool says: the map tells it, wherever the panel is.
  /** @param {ToolName} tool */
  fillBanner(tool) {
    this.banner.hidden = !this.session.searching;
    if (!this.banner.hidden)
      this.bannerText.textContent =
        tool === "unlike" ? t("Clicks say what it is not like.") : t("Clicks say what it is like.");
  }

  cursor() {
    const { tool } = this.memory;
    const { space, pointing } = this.tools;
    const brushes = tool === "brush" || tool === "erase";
    this.box.style.cursor = tool === "select" || space ? (pointing ?? "grab") : brushes ? "none" : "crosshair";
    if (space) this.map.dragging.disable();
    else if (PANNING.has(tool)) this.map.dragging.enable();
  }

  // Another tool was taken.
  tooled() {
    const { tool } = this.memory;
    if (this.tools.corners && tool !== "polygon") this.tools.abandon();
    if (tool !== "select") this.session.selection.clear();
    this.refreshTools();
    this.tools.paint();
  }

  /** @param {number} radius */
  setRadius(radius) {
    this.memory.radius = Math.min(20, Math.max(0.5, radius));
    this.keep();
    this.refreshTools();
    this.tools.paint();
  }

  /** @param {number} position in the list of classes */
  chooseAt(position) {
    const chosen = this.header?.classes[position];
    const { guide } = this.session.insight;
    const { selection } = this.session;
    if (chosen && selection.entry) selection.reclass(chosen.id);
    else if (chosen && guide.kind === "next" && guide.current) guide.label(chosen.id);
    else if (chosen) this.session.choose(chosen.id);
  }

  // Another class was chosen.
  chosen() {
    if (UNCHOSEN.includes(this.memory.tool)) this.session.setTool("point");
    else if (this.header) this.strip.fill(this.header.classes);
    this.tools.paint();
  }

  needClass() {
    const classes = this.header?.classes ?? [];
    if (this.memory.class < 0 || classes.some((c) => c.id === this.memory.class)) return true;
    this.note(`need${Date.now()}`, classes.length ? t("Choose a class first.") : t("Add a class first."));
    // On a phone the panel is out of sight; there the map has a field of its own.
    if (!classes.length && this.strip.inSight) pulse(this.strip.form);
    else this.session.panel?.attention();
    return false;
  }

  get visible() {
    return this.box.isConnected && this.box.clientWidth > 0;
  }

  /**
   * @param {string} key a note is shown once
   * @param {string} text
   */
  note(key, text) {
    if (this.session.noted.has(key)) return;
    this.session.noted.add(key);
    this.say(text);
  }

  /** @param {string} text */
  say(text) {
    this.toast.textContent = text;
    this.toast.classList.add("tl-on");
    clearTimeout(this.toastTimer);
    this.toastTimer = setTimeout(() => this.toast.classList.remove("tl-on"), 5000);
  }

  // ------------------------------------------------------------------- pointing

  /** @param {PointerEvent | null} event */
  pointed(event) {
    if (!this.stages.length) return;
    const asked = this.session.insight.guide.asks;
    const what = event && !asked && this.pictures.classAt(this.stage.xy(event));
    const where = event && this.stage.where(event);
    this.readout.textContent = event ? (what ? `${where} · ${what}` : where) : "";
  }
}

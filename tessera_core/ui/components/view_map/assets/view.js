// The view map: one or two stages, their pictures and sight, and the events that people cause. What outlives it is in the
// session's memory, which belongs to the key.

import { BaseView } from "../../shared/assets/base.js";
import { el } from "../../shared/assets/dom.js";
import { elementOf } from "../../shared/assets/mounting.js";
import { press, pressed, toolbar } from "../../shared/assets/toolbar.js";
import { BESIDE_MAP, ON_MAP, used } from "../../shared/assets/used.js";
import { Wheel } from "../../shared/assets/wheel.js";
import { decode, rgb } from "../../shared/assets/wire.js";
import { t } from "../../shared/assets/words.js";
import { Choices, lowFirst } from "./choices.js";
import { Drawing, TOOLS } from "./drawing.js";
import { Linked } from "./linked.js";
import { Pointing } from "./pointing.js";
import { savePicture } from "./saving.js";
import { RegionStage } from "./stage.js";
import { inSight, takeWishes } from "./wishes.js";

/** @import { Bounds, DrawTool, Hub, SentEvent, ViewHeader, XY } from "../../messages.js" */
/** @import { Leaflet } from "../../shared/assets/layers.js" */
/** @import { PictureMessage, RegionSession } from "./session.js" */
/** @typedef {{ version: string, bitmap: HTMLCanvasElement, bounds: Bounds }} Decoded */

const [WIDE, LEGEND] = [760, 298]; // pixels of a wide map, and those that legend and buttons take of it
/** South, west and north, east of the inhabited world. @type {[[number, number], [number, number]]} */
const WORLD = [
  [-56, -165],
  [78, 178],
];

export class RegionView extends BaseView {
  /**
   * @param {Hub & { L: Leaflet }} hub
   * @param {RegionSession} session
   * @param {HTMLElement} root
   */
  constructor(hub, session, root) {
    super(hub, root, "tv-map", "Map");
    this.session = session;
    this.memory = session.memory;
    this.outbox = session.outbox;
    /** @type {RegionStage[]} */
    this.stages = [];
    /** @type {ViewHeader | null} */
    this.header = null;
    /** @type {Map<string, Decoded>} */
    this.pictures = new Map();
    /** @type {Map<string, string>} */
    this.loading = new Map(); // versions of pictures that are being decoded
    this.dark = false;
    this.following = false;
    this.asked = "";
    this.linked = new Linked(this);
    this.choices = new Choices(this);
    this.pointing = new Pointing(this);
    const { group, buttons } = toolbar(TOOLS, (tool) => this.setTool(tool));
    this.toolbar = group;
    this.buttons = buttons;
    const others = el(
      "div",
      { class: "tl-group" },
      this.choices.button,
      press("save", t("Save as PNG"), () => this.save()),
    );
    const left = el("div", { class: "tl-control tv-left" }, group, others);
    this.stageRow = el("div", { class: "tv-stages" });
    this.names = [0, 1].map(() => el("div", { class: "tv-name tl-plate", hidden: true }));
    const waits = { class: "tv-waiting tl-plate", role: "status", hidden: true };
    this.waiting = el("div", waits, t("Loading the picture…"));
    const { legend, panel } = this.choices;
    this.box.append(this.stageRow, this.draft, this.cross, this.divider, ...this.names, left, this.zoom, this.title);
    this.box.append(this.caption, this.waiting, legend, this.bottom, panel, this.pointing.tip, this.finisher);
    this.root.replaceChildren(this.box);
    this.drawing = this.gestures = new Drawing(this);
    this.wheel = new Wheel(this.box);
  }

  // ------------------------------------------------------------------ structure

  /**
   * Stages are made anew when the frame changes (a place on Earth, or plain pixels) or their number.
   * @param {ViewHeader} header
   */
  ensureStages(header) {
    const wanted = this.memory.compare.mode === "beside" ? 2 : 1;
    const sameFrame = this.showsFrame(header.frame);
    if (sameFrame && this.stages.length === wanted) return false;
    this.removeStages();
    this.stageRow.replaceChildren();
    const boxes = Array.from({ length: wanted }, () => el("div", { class: "tv-stage" }));
    this.stageRow.append(...boxes);
    this.useStages(boxes.map((box) => new RegionStage(this, box, header.frame)));
    this.map.on("moveend", () => this.moved());
    for (const stage of this.stages) {
      stage.box.tabIndex = -1;
      stage.map.on("move", () => this.follow(stage));
      stage.map.on("move zoom resize", () => this.drawing.paint());
      for (const [name, { bitmap, bounds }] of this.pictures) stage.show(name, bitmap, bounds);
    }
    // One map or two: the whole area is in sight again.
    if (sameFrame && this.box.clientWidth) {
      this.placed = true;
      this.fit(false);
    }
    return true;
  }

  /** @param {RegionStage} stage that was moved */
  follow(stage) {
    if (this.following || this.stages.length < 2 || !this.placed) return;
    this.following = true;
    for (const { map } of this.stages)
      if (map !== stage.map) map.setView(stage.map.getCenter(), stage.map.getZoom(), { animate: false });
    this.following = false;
  }

  resized() {
    if (!this.stages.length || !this.box.clientWidth) return;
    const whole = this.seesWhole(this.memory);
    for (const { map } of this.stages) map.invalidateSize({ pan: false });
    if (!this.placed) this.place();
    else if (whole) this.fit(false);
    for (const stage of this.stages) stage.clip();
  }

  destroy() {
    super.destroy();
    this.wheel.destroy();
    this.linked.leave();
    if (this.session.view !== this) return;
    this.session.view = null;
    this.outbox.trigger = null;
  }

  // ------------------------------------------------------------------- messages

  /** @param {ViewHeader} header */
  receive(header) {
    const before = this.header;
    this.header = header;
    this.box.style.height = header.height ? `${header.height}px` : "";
    this.box.classList.toggle("tv-linked", Boolean(header.link));
    if (header.sticky) this.stick();
    takeWishes(this.memory, header);
    const rebuilt = this.ensureStages(header);
    const elsewhere = before !== null && before.place !== header.place;
    if (elsewhere) {
      this.placed = false;
      this.drawing.abandon();
      for (const name of [...this.pictures.keys()]) this.drop(name);
    }
    if (!before || elsewhere || rebuilt) this.place();
    const names = new Set(header.layers.map((layer) => layer.name));
    for (const name of [...this.pictures.keys()]) if (!names.has(name)) this.drop(name);
    for (const picture of this.session.pictures.values()) this.receivePicture(picture);
    this.linked.enter(header.link);
    this.fillTitle(header);
    this.refreshTools();
    this.arrange();
    this.fly(header.fly);
    this.redraw();
    this.root.dataset.seen = `${header.seen}`;
    this.afterPaint(() => (this.root.dataset.shown = `${Number(this.root.dataset.shown ?? 0) + 1}`));
  }

  // Stays in sight while the column beside is scrolled; on a phone that column is below.
  stick() {
    let node = elementOf(this.root);
    const column = node?.closest('[data-testid="stColumn"]');
    if (!node || !column || !matchMedia("(min-width: 641px)").matches) return;
    while (node.parentElement && node.parentElement.parentElement !== column && node.parentElement !== column)
      node = node.parentElement;
    Object.assign(node.style, { position: "sticky", top: "4rem" });
  }

  /** @param {PictureMessage} message */
  receivePicture({ name, version, png, bounds, place }) {
    const layer = this.header?.layers.find((known) => known.name === name);
    if (!layer || !bounds || place !== this.header?.place) return;
    if (this.pictures.get(name)?.version === version || this.loading.get(name) === version) return;
    this.loading.set(name, version);
    decode(new Blob([png], { type: "image/png" }))
      .then((decoded) => {
        if (this.gone || this.loading.get(name) !== version || place !== this.header?.place) return;
        this.loading.delete(name);
        // A canvas, because a bitmap that was drawn once is closed.
        const bitmap = el("canvas", { width: decoded.width, height: decoded.height });
        bitmap.getContext("2d", { willReadFrequently: layer.scale !== undefined })?.drawImage(decoded, 0, 0);
        decoded.close();
        this.pictures.set(name, { version, bitmap, bounds });
        for (const stage of this.stages) stage.show(name, bitmap, bounds);
        this.arrange();
        this.root.dataset[`layer${name.replace(/[^a-z0-9]/gi, "")}`] = version;
      })
      .catch((error) => console.error(`The picture ${name} could not be shown:`, error));
  }

  /** @param {string} name */
  drop(name) {
    this.pictures.delete(name);
    this.loading.delete(name);
    for (const stage of this.stages) stage.drop(name);
  }

  // ---------------------------------------------------------------------- sight

  get bounds() {
    const bounds = this.header?.bounds;
    return bounds ? this.stage.frame.bounds(bounds) : this.L.latLngBounds(WORLD);
  }

  place() {
    if (!this.stages.length || !this.header || !this.box.clientWidth) return;
    // A map of the whole world knows no end.
    const limit = this.header.bounds && !this.header.world ? this.bounds.pad(1.5) : undefined;
    for (const { map } of this.stages) {
      map.invalidateSize({ pan: false });
      map.setMaxBounds(limit);
    }
    if (!this.placed) {
      this.placed = true;
      const sight = this.memory.views[this.header.place];
      if (sight) this.look(sight);
      else this.fit(false);
    }
    this.follow(this.stages[0]);
  }

  fit(animate = true) {
    this.fitting = true;
    // Where the map is wide, the legend stands beside the picture.
    const names = this.namesInSight;
    const tells = this.header?.layers.some(({ name, legend, scale }) => names.has(name) && (legend.length || scale));
    const right = tells && this.map.getSize().x > WIDE ? LEGEND : 8;
    this.map.fitBounds(this.bounds, { paddingTopLeft: [8, 8], paddingBottomRight: [right, 8], animate });
  }

  /** @param {Bounds | null} target where the page wants to go; once for each wish */
  fly(target) {
    const wish = JSON.stringify(target);
    if (this.memory.flown === wish) return;
    this.memory.flown = wish;
    this.keep();
    if (target && this.placed)
      this.map.fitBounds(this.stage.frame.bounds(target), { padding: [20, 20], animate: false });
  }

  moved() {
    if (!this.header || !this.placed) return;
    this.memory.views[this.header.place] = this.sight;
    this.noteWhole(this.memory);
    this.keep();
  }

  redraw() {
    this.dark = isDark(this.root);
    for (const stage of this.stages) stage.redraw();
    this.drawing.paint();
  }

  keep() {
    this.session.keep();
  }

  // --------------------------------------------------------------------- layers

  /** @param {number} side 0 = the left stage */
  shown(side) {
    return inSight(this.memory, this.header?.layers ?? [], side);
  }

  get namesInSight() {
    return new Set(this.stages.flatMap((_, side) => [...this.shown(side).keys()]));
  }

  arrange() {
    const { compare, base } = this.memory;
    const { header, caption } = this;
    if (!header) return;
    const names = lowFirst(header).map((layer) => layer.name);
    const source = header.base.find((entry) => entry.name === base.name) ?? null;
    const ground = header.layers.filter(({ group }) => group === "base").length;
    this.stages.forEach((stage, side) => {
      stage.stack(names, source && compare.mode === "off" ? ground : null);
      stage.arrange(this.shown(side), names);
      stage.base(source, base.opacity, (missing) => (caption.hidden = !missing));
    });
    this.compare();
    const titles = new Map(header.layers.map((layer) => [layer.name, layer.title]));
    this.names.forEach((plate, side) => {
      plate.hidden = compare.mode === "off";
      plate.textContent = titles.get(side ? compare.right : compare.left) ?? "";
    });
    this.box.classList.toggle("tv-compared", compare.mode !== "off");
    this.choices.refresh(header);
    this.ask(header);
  }

  // The divider, and the names above what it divides.
  compare() {
    const { mode, left, right, at } = this.memory.compare;
    for (const stage of this.stages) stage.compare(mode === "swipe" ? [left, right] : null, at);
    this.divider.hidden = mode !== "swipe";
    this.divider.style.left = `${100 * at}%`;
    const middles = mode === "beside" ? [25, 75] : [50 * at, 50 + 50 * at];
    this.names.forEach((plate, side) => {
      plate.style.left = `${middles[side]}%`;
    });
  }

  /** @param {number} at */
  divided(at) {
    this.memory.compare.at = at;
    this.compare();
  }

  // After another choice: other stages, if that needs them.
  rearrange() {
    if (this.header && this.ensureStages(this.header)) this.place();
    this.arrange();
  }

  /**
   * Pictures that nobody looked at were not sent; they are asked for once somebody does.
   * @param {ViewHeader} header
   */
  ask(header) {
    const names = this.namesInSight;
    const layers = header.layers.filter((layer) => names.has(layer.name));
    const late = layers.filter(({ name, version }) => this.pictures.get(name)?.version !== version);
    const known = this.session.pictures;
    const missing = late.filter(({ name, version, sent }) => !sent && known.get(name)?.version !== version);
    this.waiting.hidden = !late.length;
    const wish = JSON.stringify(missing.map((layer) => [layer.name, layer.version]));
    if (missing.length && this.asked !== wish)
      this.outbox.push({ kind: "look", names: layers.map((layer) => layer.name) });
    this.asked = wish;
  }

  save() {
    savePicture(this).catch((error) => console.error("The picture could not be saved:", error));
  }

  // ---------------------------------------------------------------------- tools

  refreshTools() {
    const tools = this.header?.tools ?? [];
    const { tool } = this.memory;
    for (const { tool: name } of TOOLS) this.buttons[name].hidden = name !== "click" && !tools.includes(name);
    this.toolbar.hidden = !tools.some((name) => name !== "click");
    pressed(this.buttons, tool);
    const draws = tool !== "click";
    for (const { map } of this.stages) {
      if (draws) map.dragging.disable();
      else map.dragging.enable();
    }
    this.box.classList.toggle("tv-draws", draws);
    this.box.classList.toggle("tv-clicks", !draws && tools.includes("click"));
    this.root.dataset.tool = tool;
  }

  /** @param {DrawTool} tool */
  setTool(tool) {
    this.drawing.abandon();
    this.memory.tool = tool;
    this.keep();
    this.refreshTools();
  }

  /**
   * Tells the page what was done.
   * @param {Exclude<SentEvent["kind"], "look">} kind
   * @param {XY[]} xy
   * @param {string} [target] marker or outline
   */
  send(kind, xy, target = "") {
    const rounded = xy.map((p) => p.map((v) => this.stage.frame.round(v)));
    this.linked.select(kind, xy);
    const [west, south, east, north] = this.header?.bounds ?? [-Infinity, -Infinity, Infinity, Infinity];
    const inside = xy.some(([x, y]) => x >= west && x <= east && y >= south && y <= north);
    used(inside ? ON_MAP : BESIDE_MAP);
    this.outbox.push({ kind, xy: rounded, target });
    this.root.dataset.sent = `${this.outbox.next - 1}`;
  }

  /** @param {PointerEvent | null} event */
  pointed(event) {
    this.pointing.hover(event);
  }
}

/** @param {HTMLElement} root */
function isDark(root) {
  const colour = getComputedStyle(root).getPropertyValue("--tl-back").trim();
  const [r, g, b] = /^#[0-9a-f]{6}/i.test(colour) ? rgb(colour.slice(0, 7)) : [255, 255, 255];
  return 0.3 * r + 0.6 * g + 0.1 * b < 110;
}

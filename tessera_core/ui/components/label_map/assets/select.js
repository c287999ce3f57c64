// Choosing a label on the map: what lies under the pointer, the halo with its handles, dragging them.

import { distance, pairs, stretched, withinAll } from "../../shared/assets/geometry.js";
import { t } from "../../shared/assets/words.js";
import { Card } from "./card.js";
import { drawShape } from "./labels.js";

/** @import { LabelHeader, Particulars, Ring, Shape, XY } from "../../messages.js" */
/** @import { Transform } from "../../shared/assets/layers.js" */
/** @import { LabelSession } from "./session.js" */
/** @import { Entry } from "./labels.js" */
/** @import { LabelView } from "./view.js" */
/** @typedef {{ ring: number, corner: number, x: number, y: number }} Handle ring -1 = the whole label */
/** @typedef {Handle & { from: XY, shape: Shape }} Grip a handle under a pointer, where it was grasped, and the label then */

// Screen pixels beyond what is drawn that still belong to it: [mouse, finger].
const REACH = [4, 14];
const GRIP = [10, 24];
const APART = [14, 30]; // handles nearer to each other than this are left out
const IDLE = 600; // milliseconds after the last arrow key, when the move becomes one operation
/** @type {[number, string][]} */
const HALO = [
  [9, "rgba(0,0,0,.8)"],
  [6, "#fff"],
];

export class Selection {
  /** @param {LabelSession} session */
  constructor(session) {
    this.session = session;
    /** @type {string | null} */
    this.id = null;
    /** @type {Particulars | null} */
    this.known = null;
    /** @type {Card | null} */
    this.body = null;
    this.idle = 0;
    this.idling = false; // whether arrow keys have moved it and may go on
    this.told = 0; // number of the last choice in the list beside the map
    /** @type {Ring[] | null} */
    this.draft = null; // rings while they are being moved
  }

  // It only exists while its map does.
  get view() {
    return /** @type {LabelView} */ (this.session.view);
  }

  // {id, shape, note?}, also while what was done to it is still on its way to the server.
  get entry() {
    return (this.id && this.view?.entries?.find((entry) => entry.id === this.id)) || null;
  }

  get shape() {
    const shape = this.entry?.shape;
    if (!shape || !this.draft) return shape;
    return /** @type {Shape} */ ([...shape.slice(0, 3), ...this.draft]);
  }

  // ------------------------------------------------------------------ choosing

  /**
   * Ids of the labels at a place, from the topmost down; those that are only near come last.
   * @param {XY} place
   * @param {boolean} touch
   */
  under([x, y], touch) {
    const { view } = this;
    if (!view.memory.layers.labels.on) return [];
    const scale = Math.abs(view.stage.screen().sx);
    /** @type {[number, string][]} */
    const hits = [];
    let erased = false;
    for (let n = view.drawn.length - 1; n >= 0; n--) {
      const { id, shape } = view.drawn[n];
      const [, kind, radius, ...rings] = shape;
      const [ring] = rings;
      if (kind === "e") erased ||= distance(ring, x, y) <= radius * view.pixel;
      else if (kind === "p" || !erased) {
        const edge = kind === "p" ? view.dot + 2 : kind === "b" ? Math.max(radius * view.pixel * scale, 1) + 2 : 2;
        const within = isArea(kind) && withinAll(rings, x, y);
        const far = within ? 0 : Math.max(0, distance(ring, x, y, isArea(kind)) * scale - edge);
        if (far <= REACH[+touch]) hits.push([far, id]);
      }
    }
    return [...hits.filter(([far]) => !far), ...hits.filter(([far]) => far).sort((a, b) => a[0] - b[0])].map(
      ([, id]) => id,
    );
  }

  /**
   * A click: the topmost label, or the one below the one that is chosen.
   * @param {XY} xy
   * @param {boolean} touch
   */
  pick(xy, touch) {
    const found = this.under(xy, touch);
    if (!found.length) return this.clear();
    this.choose(found[(found.indexOf(this.id ?? "") + 1) % found.length]);
    this.uncover(xy);
  }

  /**
   * @param {string} id
   * @param {boolean} [reveal] whether the map goes there
   */
  choose(id, reveal = false) {
    const { view, session } = this;
    if (id !== this.id) {
      this.leave();
      this.id = id;
      this.known = null;
      if (!this.entry) return this.clear();
      if (session.insight.guide.kind) session.insight.guide.leave();
      if (view.memory.tool !== "select") session.setTool("select");
      this.tell();
    }
    if (reveal) this.reveal();
  }

  clear() {
    if (!this.id) return;
    this.leave();
    this.id = this.known = null;
    this.tell();
  }

  // What is half done is done before something else begins.
  leave() {
    this.writeNote();
    this.flush();
    this.body = null;
  }

  tell() {
    this.session.queue.ask({ selected: this.id ?? "" });
    this.session.insight.chose();
    this.view?.marks.drawCard();
    this.view?.stage?.ink.redraw();
  }

  // From the newest to older ones, as in the list beside the map.
  next(step = 1) {
    const ids = this.view.entries
      .filter(({ shape }) => shape[1] !== "e")
      .map(({ id }) => id)
      .reverse();
    if (!ids.length) return this.view.note(`none${Date.now()}`, t("There is no label yet."));
    const at = ids.indexOf(this.id ?? "");
    this.choose(ids[at < 0 ? 0 : (at + step + ids.length) % ids.length], true);
  }

  /** @param {LabelHeader} header */
  received(header) {
    if (!this.id) return;
    if (!this.entry) return this.clear();
    if (header.selected?.id === this.id) this.known = header.selected;
    this.view.marks.drawCard();
  }

  // ------------------------------------------------------------------- in sight

  // What the card covers, and the part of the map beside it, or above it on a phone: [left, top, right, bottom].
  cover() {
    const { box, marks } = this.view;
    const { card } = marks;
    const map = box.getBoundingClientRect();
    const rect = card.getBoundingClientRect();
    const covered = [
      rect.left - map.left - 12,
      rect.top - map.top - 12,
      rect.right - map.left,
      rect.bottom - map.top + 12,
    ];
    const free = [60, 50, map.width - 60, map.height - 40];
    if (rect.width > 0.6 * map.width) free[3] = Math.max(120, covered[1]);
    else free[2] = Math.max(200, covered[0]);
    return { covered, free };
  }

  reveal() {
    const { shape, view } = this;
    if (!shape) return;
    view.map.stop(); // where a running animation would end is not known
    const { sx, sy, tx, ty } = view.stage.screen();
    const corners = pairs(shape[3]);
    const xs = corners.map(([x]) => sx * x + tx);
    const ys = corners.map(([, y]) => sy * y + ty);
    const [west, east, north, south] = [Math.min(...xs), Math.max(...xs), Math.min(...ys), Math.max(...ys)];
    const { covered, free } = this.cover();
    const [left, top, right, bottom] = free;
    const size = view.map.getSize();
    const behind = west < covered[2] && east > covered[0] && north < covered[3] && south > covered[1];
    if (west >= 60 && east <= size.x - 10 && north >= 50 && south <= size.y - 40 && !behind) return;
    const zoom = Math.log2(Math.max(1, (east - west) / (right - left), (south - north) / (bottom - top)));
    // Where the free part's middle will show the label's, at the zoom at which it fits.
    const middle = [(west + east) / 2, (north + south) / 2];
    const aside = [size.x / 2 - (left + right) / 2, size.y / 2 - (top + bottom) / 2].map((v) => v * 2 ** zoom);
    const centre = view.map.containerPointToLatLng([middle[0] + aside[0], middle[1] + aside[1]]);
    view.map.setView(centre, Math.floor(4 * (view.map.getZoom() - zoom)) / 4, { animate: !zoom && !calm() });
  }

  /**
   * The card must not hide what it speaks of.
   * @param {XY} xy
   */
  uncover(xy) {
    const { sx, sy, tx, ty } = this.view.stage.screen();
    const { covered, free } = this.cover();
    const [x, y] = [sx * xy[0] + tx, sy * xy[1] + ty];
    if (x < covered[0] || x > covered[2] || y < covered[1] || y > covered[3]) return;
    /** @type {XY} */
    const beside = free[3] < covered[3] ? [0, y - free[3] + 30] : [x - free[2] + 30, 0];
    this.view.map.panBy(beside, { animate: !calm() });
  }

  // -------------------------------------------------------------------- drawing

  /**
   * On the ink, or while it is dragged on the canvas above it.
   * @param {CanvasRenderingContext2D} context
   * @param {Transform} t
   */
  draw(context, t) {
    const { view, shape } = this;
    if (!shape) return;
    const colour = view.colours.get(shape[0]) ?? "#888";
    const [, kind, radius, ...rings] = shape;
    context.lineCap = context.lineJoin = "round";
    for (const [width, style] of HALO) {
      const path = new Path2D();
      if (kind === "p") path.arc(t.sx * rings[0][0] + t.tx, t.sy * rings[0][1] + t.ty, view.dot + 1, 0, 2 * Math.PI);
      else for (const ring of rings) trace(path, ring, t, kind !== "b");
      context.lineWidth = width + (kind === "b" ? Math.max(2 * radius * Math.abs(t.pixel), 2) + 2 : 2);
      context.strokeStyle = style;
      context.stroke(path);
    }
    drawShape(context, t, shape, colour, view.dot);
    const big = coarse() ? 1.4 : 1;
    for (const { ring, x, y } of this.handles(shape, t)) {
      context.beginPath();
      if (ring >= 0) context.rect(x - 4 * big, y - 4 * big, 8 * big, 8 * big);
      else if (kind === "p") continue;
      else context.arc(x, y, 11 * big, 0, 2 * Math.PI);
      context.fillStyle = "#fff";
      context.fill();
      context.lineWidth = 1.5;
      context.strokeStyle = "#111";
      context.stroke();
      if (ring >= 0) continue;
      context.beginPath();
      for (const [dx, dy] of [
        [1, 0],
        [-1, 0],
        [0, 1],
        [0, -1],
      ]) {
        const [ex, ey] = [x + 7 * big * dx, y + 7 * big * dy];
        context.moveTo(x, y);
        context.lineTo(ex, ey);
        context.moveTo(ex - 2.5 * big * (dx + dy), ey - 2.5 * big * (dx + dy));
        context.lineTo(ex, ey);
        context.lineTo(ex - 2.5 * big * (dx - dy), ey - 2.5 * big * (dy - dx));
      }
      context.stroke();
    }
  }

  /**
   * Where a label can be taken hold of, in pixels of `t`: corners of areas, and one for the whole.
   * @param {Shape} shape
   * @param {Transform} t
   * @returns {Handle[]}
   */
  handles([, kind, , ...rings], t) {
    /** @type {(ring: Ring, i: number) => XY} */
    const at = (ring, i) => [t.sx * ring[2 * i] + t.tx, t.sy * ring[2 * i + 1] + t.ty];
    const [first] = rings;
    if (kind === "p" || kind === "b") {
      const [x, y] = at(first, Math.floor(first.length / 4)); // the middle of a stroke
      return [{ ring: -1, corner: 0, x, y }];
    }
    /** @type {Handle[]} */
    const corners = [];
    const apart = APART[+coarse()];
    rings.forEach((ring, r) => {
      for (let i = 0; i < ring.length / 2; i++) {
        const [x, y] = at(ring, i);
        /** @type {(c: Handle) => boolean} */
        const near = (c) => c.ring === r && Math.hypot(c.x - x, c.y - y) < apart;
        if (ring.length / 2 <= 4 || !corners.some(near)) corners.push({ ring: r, corner: i, x, y });
      }
    });
    const points = Array.from({ length: first.length / 2 }, (_, i) => at(first, i));
    const [xs, ys] = [points.map(([x]) => x), points.map(([, y]) => y)];
    const whole = {
      ring: -1,
      corner: 0,
      x: (Math.min(...xs) + Math.max(...xs)) / 2,
      y: (Math.min(...ys) + Math.max(...ys)) / 2,
    };
    // In a small shape it would cover the corners: it stands above.
    if (corners.some((c) => Math.hypot(c.x - whole.x, c.y - whole.y) < 2 * apart))
      whole.y = Math.min(...ys) - 1.2 * apart - 5;
    return [...corners, whole];
  }

  // ------------------------------------------------------------------- dragging

  /**
   * What a pointer takes hold of, or null.
   * @param {import("leaflet").Point} at in the map's box
   * @param {XY} xy
   * @param {boolean} touch
   * @returns {Grip | null}
   */
  grip({ x, y }, xy, touch) {
    const { shape } = this;
    if (!this.entry || !shape) return null;
    const near = this.handles(shape, this.view.stage.screen())
      .map((handle) => ({ handle, far: Math.hypot(handle.x - x, handle.y - y) }))
      .filter(({ far, handle }) => far <= GRIP[+touch] + (handle.ring < 0 ? 3 : 0))
      .sort((a, b) => a.far - b.far);
    if (!near.length) return null;
    this.flush();
    return { ...near[0].handle, from: xy, shape: this.entry.shape };
  }

  /**
   * @param {Grip} grip
   * @param {XY} to
   */
  drag({ ring, corner, from, shape }, [x, y]) {
    const [, kind, , ...rings] = shape;
    const begun = this.draft !== null;
    const [dx, dy] = [x - from[0], y - from[1]];
    if (ring < 0) this.draft = rings.map((line) => line.map((v, i) => this.round(v + (i % 2 ? dy : dx))));
    else {
      /** @type {XY} */
      const moved = [rings[ring][2 * corner] + dx, rings[ring][2 * corner + 1] + dy];
      const line =
        kind === "r" && rings[0].length === 8
          ? stretched(rings[0], corner, moved)
          : rings[ring].with(2 * corner, moved[0]).with(2 * corner + 1, moved[1]);
      this.draft = rings.map((other, r) =>
        r === ring ? line.map((v, i) => (v === other[i] ? v : this.round(v))) : other,
      );
    }
    if (!begun) this.view.stage.ink.redraw();
    this.view.tools.paint();
  }

  // One operation for the whole way; nothing where it was given up.
  drop(kept = true) {
    const rings = this.draft;
    this.draft = null;
    if (rings && kept && this.id) this.view.op({ do: "edit_label", label: this.id, rings: rings.map(pairs) });
    this.view?.stage?.ink.redraw();
    this.view?.tools.paint();
  }

  /**
   * By whole pixels of the scene; a row of key presses is one operation.
   * @param {number} dx
   * @param {number} dy
   */
  nudge(dx, dy) {
    if (!this.shape) return;
    const [, , , ...rings] = this.shape;
    const step = this.view.pixel;
    this.draft = rings.map((line) => line.map((v, i) => this.round(v + step * (i % 2 ? dy : dx))));
    this.view.stage.ink.redraw();
    this.view.tools.paint();
    clearTimeout(this.idle);
    this.idle = setTimeout(() => this.flush(), IDLE);
    this.idling = true;
  }

  flush() {
    clearTimeout(this.idle);
    const moved = this.idling;
    this.idling = false;
    if (moved) this.drop();
  }

  /** @param {number} v */
  round(v) {
    return this.view.stage.frame.round(v);
  }

  // ------------------------------------------------------------------- the card

  remove() {
    const { id } = this;
    if (!id) return;
    this.body = null; // an unfinished note goes with it
    this.clear();
    this.view.op({ do: "remove_label", label: id });
    this.view.note(`gone${id}${Date.now()}`, t("Label deleted. Undo (Z) brings it back."));
    this.view.box.focus({ preventScroll: true });
  }

  /** @param {number} id of the class */
  reclass(id) {
    const { entry } = this;
    if (entry && entry.shape[0] !== id) this.view.op({ do: "edit_label", label: entry.id, class: id });
  }

  writeNote() {
    const { body, entry } = this;
    if (!body || !entry || body.id !== entry.id || body.note.disabled) return;
    const text = body.note.value.trim();
    if (text !== this.note) this.view.op({ do: "edit_label", label: entry.id, note: text });
  }

  get note() {
    return this.entry?.note ?? this.known?.note ?? "";
  }

  // The card's content; made anew for another label.
  card() {
    const { entry, view } = this;
    if (!entry || !view.header) return null;
    if (this.body?.id !== entry.id) this.body = new Card(this, entry.id);
    this.body.fill(entry, view.entries.indexOf(entry), view.header, this.known);
    return this.body.node;
  }
}

/**
 * @param {Path2D} path
 * @param {Ring} ring
 * @param {Transform} t
 * @param {boolean} closed
 */
function trace(path, ring, t, closed) {
  for (let i = 0; i < ring.length; i += 2) {
    const [x, y] = [t.sx * ring[i] + t.tx, t.sy * ring[i + 1] + t.ty];
    if (i) path.lineTo(x, y);
    else path.moveTo(x, y);
  }
  if (closed) path.closePath();
  else if (ring.length === 2) path.lineTo(t.sx * ring[0] + t.tx + 0.01, t.sy * ring[1] + t.ty);
}

const isArea = (/** @type {string} */ kind) => kind === "a" || kind === "r";
const coarse = () => matchMedia("(pointer: coarse)").matches;
const calm = () => matchMedia("(prefers-reduced-motion: reduce)").matches;

// Choosing a label on the map: what lies under the pointer, the halo with its handles, dragging them, and the card.

import { area, el, icon, inkOn } from "./dom.js";
import { distance, drawShape } from "./layers.js";

// Screen pixels beyond what is drawn that still belong to it: [mouse, finger].
const REACH = [4, 14];
const GRIP = [10, 24];
const APART = [14, 30]; // handles nearer to each other than this are left out
const IDLE = 600; // milliseconds after the last arrow key, when the move becomes one operation
const NAMES = { p: "point", b: "brush stroke", a: "polygon", r: "rectangle" };
const TIPS = {
  p: "Drag the dot to move it.", b: "Drag the arrows to move it.", a: "Drag a corner to change it, the arrows to move it.",
  r: "Drag a corner to change it, the arrows to move it.",
};
const HALO = [[9, "rgba(0,0,0,.8)"], [6, "#fff"]];

export class Selection {
  constructor(session) {
    this.session = session;
    this.id = null;
    this.told = 0; // number of the last choice in the list beside the map
    this.draft = null; // rings while they are being moved
  }

  get view() {
    return this.session.view;
  }

  // {id, shape, note?}, also while what was done to it is still on its way to the server.
  get entry() {
    return (this.id && this.view?.entries?.find((entry) => entry.id === this.id)) || null;
  }

  get shape() {
    const shape = this.entry?.shape;
    return shape && this.draft ? [...shape.slice(0, 3), ...this.draft] : shape;
  }

  // ------------------------------------------------------------------ choosing

  // Ids of the labels at a place, from the topmost down; those that are only near come last.
  under([x, y], touch) {
    const { view } = this;
    if (!view.memory.layers.labels.on) return [];
    const scale = Math.abs(view.screen().sx);
    const hits = [];
    let erased = false;
    for (let n = view.drawn.length - 1; n >= 0; n--) {
      const { id, shape } = view.drawn[n];
      const [, kind, radius, ring] = shape;
      if (kind === "e") erased ||= distance(ring, x, y) <= radius * view.pixel;
      else if (kind === "p" || !erased) {
        const edge = kind === "p" ? view.dot + 2 : kind === "b" ? Math.max(radius * view.pixel * scale, 1) + 2 : 2;
        const far = inside(shape, x, y) ? 0 : Math.max(0, distance(ring, x, y, kind === "a" || kind === "r") * scale - edge);
        if (far <= REACH[+touch]) hits.push([far, id]);
      }
    }
    return [...hits.filter(([far]) => !far), ...hits.filter(([far]) => far).sort((a, b) => a[0] - b[0])].map(([, id]) => id);
  }

  // A click: the topmost label, or the one below the one that is chosen.
  pick(xy, touch) {
    const found = this.under(xy, touch);
    if (!found.length) return this.clear();
    this.choose(found[(found.indexOf(this.id) + 1) % found.length]);
    this.uncover(xy);
  }

  choose(id, reveal = false) {
    const { view, session } = this;
    if (id !== this.id) {
      this.leave();
      this.id = id;
      this.known = null;
      if (!this.entry) return this.clear();
      if (session.insight.guide.kind) session.insight.guide.leave();
      if (view.memory.tool !== "select") view.setTool("select");
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
    this.view?.drawCard();
    this.view?.ink?.redraw();
  }

  // From the newest to older ones, as in the list beside the map.
  next(step = 1) {
    const ids = this.view.entries.filter(({ shape }) => shape[1] !== "e").map(({ id }) => id).reverse();
    if (!ids.length) return this.view.note(`none${Date.now()}`, "There is no label yet.");
    const at = ids.indexOf(this.id);
    this.choose(ids[at < 0 ? 0 : (at + step + ids.length) % ids.length], true);
  }

  received(header) {
    if (!this.id) return;
    if (!this.entry) return this.clear();
    if (header.selected?.id === this.id) this.known = header.selected;
    this.view.drawCard();
  }

  // ------------------------------------------------------------------- in sight

  // What the card covers, and the part of the map beside it, or above it on a phone: [left, top, right, bottom].
  cover() {
    const { box, card } = this.view;
    const map = box.getBoundingClientRect();
    const rect = card.getBoundingClientRect();
    const covered = [rect.left - map.left - 12, rect.top - map.top - 12, rect.right - map.left, rect.bottom - map.top + 12];
    const free = [60, 50, map.width - 60, map.height - 40];
    if (rect.width > 0.6 * map.width) free[3] = Math.max(120, covered[1]);
    else free[2] = Math.max(200, covered[0]);
    return { covered, free };
  }

  reveal() {
    const { view } = this;
    view.map.stop(); // where a running animation would end is not known
    const { sx, sy, tx, ty } = view.screen();
    const ring = this.shape[3];
    const xs = ring.filter((_, i) => i % 2 === 0).map((x) => sx * x + tx);
    const ys = ring.filter((_, i) => i % 2).map((y) => sy * y + ty);
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

  // The card must not hide what it speaks of.
  uncover(xy) {
    const { sx, sy, tx, ty } = this.view.screen();
    const { covered, free } = this.cover();
    const [x, y] = [sx * xy[0] + tx, sy * xy[1] + ty];
    if (x < covered[0] || x > covered[2] || y < covered[1] || y > covered[3]) return;
    const beside = free[3] < covered[3] ? [0, y - free[3] + 30] : [x - free[2] + 30, 0];
    this.view.map.panBy(beside, { animate: !calm() });
  }

  // -------------------------------------------------------------------- drawing

  // On the ink, or while it is dragged on the canvas above it.
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
    for (const { ring, x, y } of this.handles(t)) {
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
      for (const [dx, dy] of [[1, 0], [-1, 0], [0, 1], [0, -1]]) {
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

  // Where it can be taken hold of, in pixels of `t`: corners of areas, and one for the whole (`ring` -1).
  handles(t) {
    const [, kind, , ...rings] = this.shape;
    const at = (ring, i) => [t.sx * ring[2 * i] + t.tx, t.sy * ring[2 * i + 1] + t.ty];
    const [first] = rings;
    if (kind === "p") return [{ ring: -1, x: at(first, 0)[0], y: at(first, 0)[1] }];
    if (kind === "b") {
      const [x, y] = at(first, Math.floor(first.length / 4));
      return [{ ring: -1, x, y }];
    }
    const corners = [];
    const apart = APART[+coarse()];
    rings.forEach((ring, r) => {
      for (let i = 0; i < ring.length / 2; i++) {
        const [x, y] = at(ring, i);
        const near = (c) => c.ring === r && Math.hypot(c.x - x, c.y - y) < apart;
        if (ring.length / 2 <= 4 || !corners.some(near)) corners.push({ ring: r, corner: i, x, y });
      }
    });
    const points = Array.from({ length: first.length / 2 }, (_, i) => at(first, i));
    const [xs, ys] = [points.map(([x]) => x), points.map(([, y]) => y)];
    const whole = { ring: -1, x: (Math.min(...xs) + Math.max(...xs)) / 2, y: (Math.min(...ys) + Math.max(...ys)) / 2 };
    // In a small shape it would cover the corners: it stands above.
    if (corners.some((c) => Math.hypot(c.x - whole.x, c.y - whole.y) < 2 * apart)) whole.y = Math.min(...ys) - 1.2 * apart - 5;
    return [...corners, whole];
  }

  // ------------------------------------------------------------------- dragging

  // What a pointer takes hold of, or null.
  grip({ x, y }, xy, touch) {
    if (!this.entry) return null;
    const near = this.handles(this.view.screen())
      .map((handle) => ({ handle, far: Math.hypot(handle.x - x, handle.y - y) }))
      .filter(({ far, handle }) => far <= GRIP[+touch] + (handle.ring < 0 ? 3 : 0))
      .sort((a, b) => a.far - b.far);
    if (!near.length) return null;
    this.flush();
    return { ...near[0].handle, from: xy, shape: this.entry.shape };
  }

  drag({ ring, corner, from, shape }, [x, y]) {
    const [, kind, , ...rings] = shape;
    const begun = this.draft !== null;
    const [dx, dy] = [x - from[0], y - from[1]];
    if (ring < 0) this.draft = rings.map((line) => line.map((v, i) => this.round(v + (i % 2 ? dy : dx))));
    else {
      const moved = [rings[ring][2 * corner] + dx, rings[ring][2 * corner + 1] + dy];
      const line = kind === "r" && rings[0].length === 8 ? stretched(rings[0], corner, moved) : rings[ring].with(2 * corner, moved[0]).with(2 * corner + 1, moved[1]);
      this.draft = rings.map((other, r) => (r === ring ? line.map((v, i) => (v === other[i] ? v : this.round(v))) : other));
    }
    if (!begun) this.view.ink.redraw();
    this.view.tools.paint();
  }

  // One operation for the whole way; nothing where it was given up.
  drop(kept = true) {
    const rings = this.draft;
    this.draft = null;
    if (rings && kept) this.view.op({ do: "edit_label", label: this.id, rings: rings.map(pairs) });
    this.view?.ink?.redraw();
    this.view?.tools.paint();
  }

  // By whole pixels of the scene; a row of key presses is one operation.
  nudge(dx, dy) {
    const [, , , ...rings] = this.shape;
    const step = this.view.pixel;
    this.draft = rings.map((line) => line.map((v, i) => this.round(v + step * (i % 2 ? dy : dx))));
    this.view.ink.redraw();
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

  round(v) {
    return this.view.round(v);
  }

  // ------------------------------------------------------------------- the card

  remove() {
    const { id } = this;
    this.body = null; // an unfinished note goes with it
    this.clear();
    this.view.op({ do: "remove_label", label: id });
    this.view.note(`gone${id}${Date.now()}`, "Label deleted. Undo (Z) brings it back.");
    this.view.box.focus({ preventScroll: true });
  }

  reclass(id) {
    if (this.entry && this.entry.shape[0] !== id) this.view.op({ do: "edit_label", label: this.id, class: id });
  }

  writeNote() {
    const { body } = this;
    if (!body || body.id !== this.id || !this.entry || body.note.disabled) return;
    const text = body.note.value.trim();
    if (text !== this.note) this.view.op({ do: "edit_label", label: this.id, note: text });
  }

  get note() {
    return this.entry?.note ?? this.known?.note ?? "";
  }

  card() {
    if (!this.entry) return null;
    if (this.body?.id !== this.id) this.body = this.build();
    this.fill();
    return this.body.node;
  }

  build() {
    const head = el("b");
    const number = el("span", { class: "tl-unit" });
    const chips = el("div", { class: "tl-cardclasses", role: "group", "aria-label": "Class of this label" });
    const note = el("input", {
      type: "text", maxLength: 1000, placeholder: "Note on this place", "aria-label": "Note on this label", disabled: true,
      onchange: () => this.writeNote(),
      onkeydown: (event) => {
        if (event.key === "Escape") note.value = this.note;
        if (event.key === "Escape" || event.key === "Enter") this.view.box.focus({ preventScroll: true });
      },
    });
    const about = el("p", { class: "tl-about-label" });
    const button = (text, key, tip, press, sign) =>
      el("button", { type: "button", class: "tl-button", title: tip, onclick: press }, sign ? icon(sign) : null, text, el("kbd", {}, key));
    const node = el(
      "div",
      { class: "tl-cardbody" },
      el(
        "div",
        { class: "tl-cardhead" },
        head, number,
        button("Next", "N", "The label made before this one", () => this.next()),
        el("button", { type: "button", class: "tl-more", title: "Close (Escape)", "aria-label": "Close", onclick: () => this.clear() }, icon("close")),
      ),
      chips,
      el("div", { class: "tl-noted" }, note, button("Delete", "Del", "Delete this label; undo brings it back", () => this.remove(), "trash")),
      about,
    );
    return { id: this.id, node, head, number, chips, note, about };
  }

  fill() {
    const { body, entry, known, view } = this;
    const { classes, unit } = view.header;
    const [class_, kind] = entry.shape;
    body.head.textContent = `${classes.find((c) => c.id === class_)?.name ?? "Label"}, ${NAMES[kind]}`;
    const position = view.entries.findIndex(({ id }) => id === this.id) + 1;
    body.number.textContent = `label ${position}`;
    const signature = JSON.stringify([class_, classes.map((c) => [c.id, c.name, c.color])]);
    if (signature !== body.signature) {
      // A chip that has the focus keeps it.
      const focused = [...body.chips.children].indexOf(body.node.getRootNode().activeElement);
      body.signature = signature;
      body.chips.replaceChildren(
        ...classes.map((c, n) =>
          el(
            "button",
            {
              type: "button", class: "tl-cardchip", "aria-pressed": String(c.id === class_), title: `Make it ${c.name}`,
              onclick: () => this.reclass(c.id),
            },
            el("span", { class: "tl-chip", style: `background:${c.color};color:${inkOn(c.color)}` }, n < 9 ? String(n + 1) : ""),
            c.name,
          ),
        ),
      );
      if (focused >= 0) body.chips.children[focused]?.focus();
      requestAnimationFrame(() => reveal(body.chips, body.chips.querySelector('[aria-pressed="true"]')));
    }
    if (!known) return;
    const typing = body.node.getRootNode().activeElement === body.note;
    body.note.disabled = false;
    if (!typing && body.note.value !== this.note) body.note.value = this.note;
    const size = `${known.pixels.toLocaleString("en")} px${unit === "ha" ? ` · ${hectares(known.area)}` : ""}`;
    const made = known.made === null ? "" : ` · made ${new Date(1000 * known.made).toLocaleString("en-GB", { dateStyle: "medium", timeStyle: "short" })}`;
    const hidden = known.pixels - known.counted;
    const covered = !known.pixels ? " · on no pixel of this region" : !hidden ? "" : known.counted ? ` · ${hidden} px of it lie under later labels` : " · all of it lies under later labels, so it does not count";
    body.about.textContent = `${size}${covered}${made}. ${TIPS[kind]}`;
  }
}

function inside([, kind, , ...rings], x, y) {
  if (kind !== "a" && kind !== "r") return false;
  let odd = false;
  for (const ring of rings) {
    for (let i = 0, j = ring.length - 2; i < ring.length; j = i, i += 2) {
      const [xi, yi, xj, yj] = [ring[i], ring[i + 1], ring[j], ring[j + 1]];
      if (yi > y !== yj > y && x < ((xj - xi) * (y - yi)) / (yj - yi) + xi) odd = !odd;
    }
  }
  return odd;
}

// A rectangle (however it is turned) with one corner moved and the opposite one where it was.
function stretched(ring, corner, [x, y]) {
  const at = (i) => [ring[2 * (i & 3)], ring[2 * (i & 3) + 1]];
  const [ox, oy] = at(corner + 2);
  const [ax, ay] = at(corner + 1).map((v, k) => v - [ox, oy][k]);
  const [bx, by] = at(corner + 3).map((v, k) => v - [ox, oy][k]);
  const det = ax * by - ay * bx;
  if (!det) return ring.with(2 * corner, x).with(2 * corner + 1, y);
  const [px, py] = [x - ox, y - oy];
  const a = (px * by - py * bx) / det;
  const b = (ax * py - ay * px) / det;
  const out = [...ring];
  const set = (i, u, v) => out.splice(2 * (i & 3), 2, u, v);
  set(corner, x, y);
  set(corner + 1, ox + a * ax, oy + a * ay);
  set(corner + 3, ox + b * bx, oy + b * by);
  return out;
}

function trace(path, ring, t, closed) {
  for (let i = 0; i < ring.length; i += 2) {
    const [x, y] = [t.sx * ring[i] + t.tx, t.sy * ring[i + 1] + t.ty];
    if (i) path.lineTo(x, y);
    else path.moveTo(x, y);
  }
  if (closed) path.closePath();
  else if (ring.length === 2) path.lineTo(t.sx * ring[0] + t.tx + 0.01, t.sy * ring[1] + t.ty);
}

const pairs = (line) => Array.from({ length: line.length / 2 }, (_, i) => [line[2 * i], line[2 * i + 1]]);
const coarse = () => matchMedia("(pointer: coarse)").matches;
const calm = () => matchMedia("(prefers-reduced-motion: reduce)").matches;

// Small labels are hundredths of a hectare.
function hectares(value) {
  return value < 1 ? `${value.toLocaleString("en", { maximumFractionDigits: 2 })} ha` : area(value, "ha");
}

// Scroll a list, and nothing else, until one of its items is in sight.
function reveal(list, item) {
  if (!item) return;
  const [around, own] = [list.getBoundingClientRect(), item.getBoundingClientRect()];
  list.scrollTop += Math.max(own.bottom - around.bottom, 0) + Math.min(own.top - around.top, 0);
  list.scrollLeft += Math.max(own.right - around.right, 0) + Math.min(own.left - around.left, 0);
}

// The map: one Leaflet map, its pictures, ink, toolbar and read-outs. What outlives it (view, tool, class, layers, unsent
// operations) is kept in `memory` and `queue`, which belong to the session's key, not to the page.

import { el, icon, pulse } from "./dom.js";
import { Frame, drawShape, makeInk, makePicture, withoutErased } from "./layers.js";
import { TOOLS, Tools } from "./tools.js";
import { decode, indices, recolour, rgb } from "./wire.js";

const PANES = {
  base: 210, pca: 310, truecolour: 320, classes: 340, tidied: 342, groups: 345, confidence: 350, novelty: 360, sets: 362, similar: 364,
  ink: 450, marks: 470,
};
const PICTURES = Object.keys(PANES).filter((name) => !["base", "ink", "marks"].includes(name));
const LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ";
const CLICKS = new Set(["select", "point", "like", "unlike"]);
const UNSURE = [150, 150, 150, 255];
// Cividis, which people with and without colour vision read alike (Nunez et al. 2018), from 0 to 100 %.
const RAMP = ["#00224e", "#123570", "#3b496c", "#575d6d", "#707173", "#8a8678", "#a59c74", "#c3b369", "#e1cc55", "#fee838"];

export class MapView {
  constructor(hub, session, root) {
    Object.assign(this, { hub, session, root, L: hub.L, memory: session.memory, queue: session.queue });
    this.pictures = new Map();
    this.entries = []; // {id, shape} of all labels in painting order, and of those not erased
    this.drawn = [];
    this.colours = new Map();
    this.tools = null;
    this.painted = 0;
    this.build();
  }

  // ------------------------------------------------------------------ structure

  build() {
    this.box = el("div", { class: "tl-map", tabIndex: 0, role: "application", "aria-label": "Labelling map" });
    this.draft = el("canvas", { class: "tl-draft" });
    this.toast = el("div", { class: "tl-toast", role: "status" });
    this.readout = el("div", { class: "tl-readout tl-plate" });
    this.title = el("div", { class: "tl-title tl-plate" });
    this.caption = el("div", { class: "tl-caption tl-plate", hidden: true });
    this.cross = el("div", { class: "tl-cross" });
    this.buttons = {};
    const tools = TOOLS.map(([tool, text, key]) => {
      const button = el(
        "button",
        { type: "button", class: "tl-tool", title: `${text} (${key})`, "aria-label": text, onclick: () => this.setTool(tool) },
        icon(tool),
      );
      button.dataset.tool = tool;
      return (this.buttons[tool] = button);
    });
    const press = (name, text, action) =>
      el("button", { type: "button", class: "tl-tool", title: text, "aria-label": text, onclick: action }, icon(name));
    this.undo = press("undo", "Undo (Z)", () => this.op({ do: "undo" }));
    this.redo = press("redo", "Redo (Y)", () => this.op({ do: "redo" }));
    this.undo.dataset.tool = "undo";
    this.redo.dataset.tool = "redo";
    this.tour = press("target", "Where to label next (N)", () => this.session.insight.guide.next());
    this.tour.dataset.tool = "next";
    // What the class map covers is what a label has to be judged by.
    this.peek = press("eye", "Hide or show the class map (M)", () => this.toggleMap());
    this.peek.dataset.tool = "peek";
    const zoom = el(
      "div",
      { class: "tl-control tl-group tl-zoom" },
      press("plus", "Zoom in (+)", () => this.map.zoomIn()),
      press("minus", "Zoom out (-)", () => this.map.zoomOut()),
      press("home", "Show the whole area", () => this.fit()),
      this.peek,
      this.tour,
    );
    this.size = el("input", {
      type: "range", min: 0.5, max: 20, step: 0.5, "aria-label": "Brush size in pixels", oninput: () => this.setRadius(Number(this.size.value)),
    });
    this.sizeText = el("span");
    this.sizer = el("div", { class: "tl-control tl-sizer tl-plate", hidden: true }, this.size, this.sizeText);
    this.finisher = el(
      "div",
      { class: "tl-control tl-finish", hidden: true },
      el("button", { type: "button", class: "tl-button tl-primary", onclick: () => this.tools.finish() }, icon("check"), "Finish shape"),
      el("button", { type: "button", class: "tl-button", onclick: () => this.tools.abandon() }, "Cancel"),
    );
    this.divider = el("div", { class: "tl-control tl-divider", hidden: true }, el("div", { class: "tl-handle" }, icon("swipe")));
    this.bar = el(
      "div",
      { class: "tl-control tl-bar" },
      el("div", { class: "tl-group", role: "toolbar", "aria-label": "Tools" }, ...tools),
      el("div", { class: "tl-group" }, this.undo, this.redo),
    );
    this.card = el("div", { class: "tl-control tl-card", role: "dialog", "aria-live": "polite", hidden: true });
    this.bottom = el("div", { class: "tl-bottom" }, this.readout);
    // On a phone the classes stand in the map, so that choosing one needs no scrolling.
    this.chips = el("div", { class: "tl-chips", role: "listbox", "aria-label": "Classes" });
    this.strip = el("div", { class: "tl-control tl-strip" }, this.chips, this.stripForm());
    this.foot = el("div", { class: "tl-foot" }, this.sizer, this.strip, this.bar);
    // The card comes first, so that Tab leads from the map into it.
    this.box.append(
      this.card, this.draft, this.cross, this.divider, this.foot, zoom, this.finisher, this.title, this.caption, this.bottom, this.toast,
    );
    this.root.replaceChildren(this.box);
    this.wireDivider();
  }

  // Leaflet is made anew when the frame changes (a scene with a place on Earth, or plain pixels).
  ensureMap(header) {
    if (this.map && this.frame.kind === header.frame) return;
    const { L } = this;
    this.destroyMap();
    this.frame = new Frame(L, header.frame);
    this.map = L.map(this.box, {
      crs: this.frame.crs, zoomControl: false, attributionControl: false, doubleClickZoom: false, boxZoom: false,
      zoomSnap: 0.25, zoomDelta: 1, wheelPxPerZoomLevel: 90, minZoom: -6, maxZoom: 24, maxBoundsViscosity: 0.7, inertia: true,
    });
    for (const [name, z] of Object.entries(PANES)) this.map.createPane(name).style.zIndex = z;
    this.attribution = L.control.attribution({ prefix: false, position: "bottomright" }).addTo(this.map);
    if (header.frame === "mercator") {
      this.scale = L.control.scale({ imperial: false, maxWidth: 120 }).addTo(this.map);
      this.bottom.prepend(this.scale.getContainer());
    }
    this.ink = makeInk(L, this.frame, (context, t) => this.drawInk(context, t)).addTo(this.map);
    this.map.on("moveend", () => this.moved());
    this.map.on("move zoom resize", () => {
      this.tools.paint();
      this.clip();
    });
    this.marks = L.layerGroup([], { pane: "marks" }).addTo(this.map);
    this.tools = new Tools(this);
    this.resizer = new ResizeObserver(() => this.resized());
    this.resizer.observe(this.box);
  }

  resized() {
    if (!this.map || !this.box.clientWidth) return;
    this.map.invalidateSize({ pan: false, debounceMoveend: true });
    if (!this.placed) this.place();
    this.clip();
  }

  destroyMap() {
    this.tools?.destroy();
    this.resizer?.disconnect();
    this.map?.remove();
    this.map = null;
    this.placed = false;
    this.pictures.clear();
  }

  destroy() {
    this.gone = true;
    clearTimeout(this.toastTimer);
    this.destroyMap();
  }

  // ------------------------------------------------------------------- messages

  receive(header, png) {
    const sameScene = this.header && this.header.scene === header.scene;
    this.ensureMap(header);
    this.header = header;
    this.pixel = header.pixel;
    this.told = header.labels.map(([id, ...shape]) => ({ id, shape }));
    this.settle();
    this.colours = new Map(header.classes.map((c) => [c.id, c.color]));
    if (!sameScene) {
      this.placed = false;
      this.place();
      for (const [name] of this.pictures) this.drop(name);
      for (const picture of this.session.pictures.values()) this.receivePicture(picture);
    }
    this.fillTitle();
    this.overlay(header, png);
    this.refreshTools();
    this.ink.redraw();
    this.drawMarks();
    this.tools.paint();
    this.session.selection.received(header);
    for (const [id, text] of header.notes) this.note(`${id}:${text}`, text);
    this.root.dataset.seq = header.seq;
    this.root.dataset.ack = header.ack;
  }

  fillTitle() {
    const { title, subtitle } = this.header;
    this.title.replaceChildren(
      el("span", {}, el("b", {}, title), subtitle ? ` ${subtitle}` : ""),
      ...(this.header.frame === "mercator" ? [el("span", { title: "North is up", class: "tl-north" }, icon("north"), "N")] : []),
    );
  }

  place() {
    if (!this.map || !this.header || !this.box.clientWidth) return;
    this.placed = true;
    this.map.invalidateSize({ pan: false });
    const bounds = this.frame.bounds(this.header.bounds);
    this.map.setMaxBounds(bounds.pad(1.5));
    const view = this.memory.views[this.header.scene] ?? this.memory.views[this.header.place];
    if (view) this.map.setView(view.center, view.zoom, { animate: false });
    else this.fit(false);
  }

  fit(animate = true) {
    // On a phone, plates at the head and tools at the foot cover part of the map.
    const phone = getComputedStyle(this.foot).display === "flex";
    const options = { paddingTopLeft: [8, phone ? 62 : 8], paddingBottomRight: [8, phone ? 112 : 8], animate };
    this.map.fitBounds(this.frame.bounds(this.header.bounds), options);
  }

  moved() {
    if (!this.header) return;
    const c = this.map.getCenter();
    const view = { center: [c.lat, c.lng], zoom: this.map.getZoom() };
    this.memory.views[this.header.scene] = view;
    // Another year of the same place opens where this one was left.
    this.memory.views[this.header.place] = view;
    this.session.keep();
  }

  // ------------------------------------------------------------------- pictures

  receivePicture(picture) {
    if (!this.map || picture.header.scene !== this.header.scene) return;
    const { name, version } = picture.header;
    if (this.pictures.get(name)?.version === version) return;
    this.drop(name);
    const layer = makePicture(this.L, this.frame, picture.header.bounds, name);
    this.pictures.set(name, { layer, version });
    const { mode } = picture.header;
    const from = this.session.insight.threshold;
    decode(mode === "percent" ? this.above(picture.png) : new Blob([picture.png], { type: "image/png" })).then((bitmap) => {
      if (this.gone || this.pictures.get(name)?.layer !== layer) return;
      layer.draw(bitmap);
      layer.addTo(this.map);
      this.showLayers();
      if (mode === "percent" && from !== this.session.insight.threshold) this.thresholdMoved();
    });
  }

  // Likeness is cached in the picture: index 1 + p stands for p percent, and the slider only rewrites colours.
  above(png) {
    // Before a threshold is known nothing is alike.
    const from = this.session.insight.threshold ?? 101;
    return recolour(png, (i) => {
      if (!i || i - 1 < from) return [0, 0, 0, 0];
      const deep = (i - 1 - from) / Math.max(1, 100 - from);
      return [Math.round(240 - 80 * deep), Math.round(90 - 80 * deep), Math.round(190 - 50 * deep), 255];
    });
  }

  async thresholdMoved() {
    const picture = this.session.pictures.get("similar");
    const entry = this.pictures.get("similar");
    if (!picture || !entry) return;
    const wanted = (this.wantedSimilar = {});
    const bitmap = await decode(this.above(picture.png));
    if (this.wantedSimilar === wanted && this.pictures.get("similar") === entry && !this.gone) entry.layer.draw(bitmap);
  }

  drop(name) {
    this.pictures.get(name)?.layer.remove();
    this.pictures.delete(name);
  }

  overlay(header, png) {
    const known = this.classMap;
    if (!header.map) {
      this.classMap = null;
      for (const name of ["classes", "confidence"]) this.drop(name);
      this.shown(header);
      this.showLayers();
      return;
    }
    if (known && known.v === header.map.v && known.colours === JSON.stringify(header.classes.map((c) => c.color))) {
      this.shown(header);
      return;
    }
    this.classMap = {
      v: header.map.v, levels: header.map.levels, png, header,
      colours: JSON.stringify(header.classes.map((c) => c.color)),
    };
    this.repaint();
  }

  // Class map and confidence from the same pixels with two palettes. The newest wins; stale ones are dropped.
  async repaint() {
    const source = this.classMap;
    if (!source) return;
    const { header, levels } = source;
    const wanted = (this.wanted = {});
    const { threshold, hidden } = this.memory;
    const colours = header.classes.map((c) => (hidden.includes(c.id) ? [0, 0, 0, 0] : [...rgb(c.color), 255]));
    const classColour = (i) => {
      if (!i) return [0, 0, 0, 0];
      const level = (i - 1) % levels;
      const sure = levels === 1 || ((level + 0.5) * 100) / levels >= threshold;
      const colour = colours[Math.floor((i - 1) / levels)] ?? [0, 0, 0, 0];
      return sure || !colour[3] ? colour : UNSURE;
    };
    const jobs = [decode(recolour(source.png, classColour))];
    if (levels > 1 && this.memory.layers.confidence.on) {
      const ramp = (i) => (i ? [...rgb(RAMP[Math.floor((((i - 1) % levels) * RAMP.length) / levels)]), 255] : [0, 0, 0, 0]);
      jobs.push(decode(recolour(source.png, ramp)));
    }
    const [classes, confidence] = await Promise.all(jobs);
    if (this.gone || this.wanted !== wanted || !this.map) return;
    this.put("classes", classes, header);
    if (confidence) this.put("confidence", confidence, header);
    else this.drop("confidence");
    this.showLayers();
    this.shown(header);
  }

  put(name, bitmap, header) {
    let entry = this.pictures.get(name);
    if (!entry) {
      entry = { layer: makePicture(this.L, this.frame, header.bounds, name) };
      this.pictures.set(name, entry);
    }
    entry.layer.draw(bitmap);
    if (!this.map.hasLayer(entry.layer)) entry.layer.addTo(this.map);
  }

  // Tells tests and benchmarks which state has reached the screen: the second frame callback runs after the first was painted.
  shown(header) {
    requestAnimationFrame(() =>
      requestAnimationFrame(() => {
        this.painted = Math.max(this.painted, header.seq);
        this.root.dataset.shown = this.painted;
        this.root.dataset.shownAck = header.ack;
        this.root.dispatchEvent(new CustomEvent("tl-shown", { detail: { ack: header.ack, at: performance.now() } }));
      }),
    );
  }

  showLayers() {
    const { layers, swipe } = this.memory;
    const pair = swipe.on ? [swipe.left, swipe.right] : null;
    for (const name of PICTURES) {
      const pane = this.map?.getPane(name);
      if (!pane) continue;
      const on = pair ? pair.includes(name) : layers[name].on;
      pane.style.display = on ? "" : "none";
      pane.style.opacity = pair ? 1 : layers[name].opacity;
    }
    this.peek.disabled = !this.classMap || swipe.on;
    this.peek.setAttribute("aria-pressed", String(!layers.classes.on));
    if (this.map) {
      this.map.getPane("ink").style.display = layers.labels.on ? "" : "none";
      this.map.getPane("ink").style.opacity = layers.labels.opacity;
      this.showMarks();
      this.showBase();
      this.clip();
    }
    this.queue.ask({ confidence: layers.confidence.on || this.memory.threshold > 0 || (pair?.includes("confidence") ?? false) });
  }

  // Base maps come from the internet: off unless asked for, and quietly absent without a connection.
  showBase() {
    const { base } = this.memory.layers;
    const source = this.header.base.find((b) => b.name === base.name) ?? this.header.base[0];
    const wanted = base.on && this.frame.kind === "mercator" && source ? source.name : null;
    this.map.getPane("base").style.opacity = base.opacity;
    if (wanted === (this.baseName ?? null)) return;
    this.baseLayer?.remove();
    this.baseLayer = null;
    this.baseName = wanted;
    this.caption.hidden = true;
    if (!wanted) return;
    let loaded = 0;
    const layer = this.L.tileLayer(source.url, { pane: "base", maxNativeZoom: source.zoom, maxZoom: 24, attribution: source.attribution });
    const missing = () => {
      if (loaded || this.baseLayer !== layer) return;
      this.caption.textContent = "The base map needs the internet and cannot be reached now.";
      this.caption.hidden = false;
    };
    layer.on("tileload", () => {
      loaded += 1;
      this.caption.hidden = true;
    });
    layer.on("tileerror", missing);
    setTimeout(missing, 4000);
    this.baseLayer = layer.addTo(this.map);
  }

  // ---------------------------------------------------------------------- swipe

  wireDivider() {
    this.divider.onpointerdown = (event) => {
      event.stopPropagation();
      this.divider.setPointerCapture(event.pointerId);
      this.divider.onpointermove = (move) => {
        const box = this.box.getBoundingClientRect();
        this.memory.swipe.at = Math.min(0.98, Math.max(0.02, (move.clientX - box.left) / box.width));
        this.clip();
      };
    };
    this.divider.onpointerup = () => {
      this.divider.onpointermove = null;
      this.session.keep();
    };
  }

  clip() {
    if (!this.map) return;
    const { swipe } = this.memory;
    this.divider.hidden = !swipe.on;
    const size = this.map.getSize();
    const min = this.map.containerPointToLayerPoint([0, 0]);
    const max = this.map.containerPointToLayerPoint(size);
    const at = min.x + size.x * swipe.at;
    this.divider.style.left = `${100 * swipe.at}%`;
    for (const name of PICTURES) {
      const pane = this.map.getPane(name);
      if (!swipe.on) pane.style.clip = "";
      else if (name === swipe.left) pane.style.clip = `rect(${min.y}px, ${at}px, ${max.y}px, ${min.x}px)`;
      else pane.style.clip = `rect(${min.y}px, ${max.x}px, ${max.y}px, ${at}px)`;
    }
  }

  // ------------------------------------------------------------------------ ink

  drawInk(context, t) {
    if (!this.header) return;
    t.pixel = t.sx * this.header.pixel;
    const { selection } = this.session;
    for (const { id, shape } of this.drawn) {
      if (selection.draft && id === selection.id) continue; // it is drawn where it is being dragged
      drawShape(context, t, shape, this.colours.get(shape[0]) ?? "#888", this.dot);
    }
    if (!selection.draft) selection.draw(context, t);
  }

  // Radius of a point on the screen.
  get dot() {
    return Math.max(4, Math.min(7, 3 + Math.abs(this.frame.toContainer(this.map).sx * this.pixel)));
  }

  // The labels as they will be once everything on its way has arrived.
  settle() {
    let entries = this.told ?? [];
    for (const op of this.queue.pending) {
      if (op.do === "add") {
        const kind = { point: "p", brush: "b", erase: "e", rectangle: "r" }[op.tool] ?? "a";
        entries = [...entries, { id: `${this.queue.epoch}-${op.id}`, shape: [op.class, kind, op.radius ?? 0, op.pts.flat()] }];
      } else if (op.do === "remove_label") entries = entries.filter(({ id }) => id !== op.label);
      else if (op.do === "edit_label") entries = entries.map((entry) => (entry.id === op.label ? edited(entry, op) : entry));
    }
    const kept = new Set(withoutErased(entries.map(({ shape }) => shape), this.pixel));
    this.entries = entries;
    this.drawn = entries.filter(({ shape }) => kept.has(shape));
  }

  // The frame's units to pixels of the map's box: [scale x, shift x, scale y, shift y], and a scene pixel's length.
  screen() {
    const t = this.frame.toContainer(this.map);
    const shift = this.map.layerPointToContainerPoint([0, 0]);
    t.tx += shift.x;
    t.ty += shift.y;
    t.pixel = t.sx * this.pixel;
    return t;
  }

  draftContext(tool) {
    const ratio = window.devicePixelRatio || 1;
    const { clientWidth: width, clientHeight: height } = this.box;
    if (this.draft.width !== Math.round(width * ratio) || this.draft.height !== Math.round(height * ratio)) {
      this.draft.width = Math.round(width * ratio);
      this.draft.height = Math.round(height * ratio);
    }
    const context = this.draft.getContext("2d");
    context.setTransform(1, 0, 0, 1, 0, 0);
    context.clearRect(0, 0, this.draft.width, this.draft.height);
    context.setTransform(ratio, 0, 0, ratio, 0, 0);
    const colour = tool === "erase" ? "#ffffff" : this.colours?.get(this.memory.class) ?? "#ffffff";
    return { context, t: this.screen(), colour };
  }

  add(tool, xy, radius) {
    const pts = xy.map((p) => p.map((v) => this.round(v)));
    this.op({ do: "add", tool, class: tool === "erase" ? 0 : this.memory.class, pts, radius });
  }

  round(v) {
    const digits = this.frame.kind === "mercator" ? 100 : 1000;
    return Math.round(v * digits) / digits;
  }

  op(op) {
    this.session.selection.flush();
    if (op.do === "undo" && !this.header.undo && !this.queue.pending.length) return 0;
    if (op.do === "redo" && !this.header.redo && !this.queue.pending.length) return 0;
    const id = this.queue.push(op);
    if (["add", "edit_label", "remove_label"].includes(op.do)) {
      this.settle();
      this.ink.redraw();
      if (this.session.selection.id) this.drawCard();
    }
    return id;
  }

  // ----------------------------------------------------------------- the guide

  visit([x, y], near) {
    const now = Math.abs(this.frame.toContainer(this.map).sx) * this.pixel;
    const zoom = now < near ? this.map.getZoom() + Math.log2(near / now) : this.map.getZoom();
    const calm = matchMedia("(prefers-reduced-motion: reduce)").matches;
    this.map.setView(this.frame.latLng(x, y), Math.round(4 * zoom) / 4, { animate: !calm });
  }

  mark([x, y], text, css, tip, press) {
    const icon = this.L.divIcon({ className: "", html: "", iconSize: [0, 0] });
    const marker = this.L.marker(this.frame.latLng(x, y), { icon, pane: "marks", keyboard: false, interactive: false }).addTo(this.marks);
    const button = el("button", { type: "button", class: `tl-control tl-mark ${css}`, title: tip, "aria-label": tip, onclick: press }, text);
    marker.getElement().append(button);
  }

  drawMarks() {
    if (!this.map || !this.header) return;
    this.marks.clearLayers();
    this.showMarks();
    const { insight } = this.session;
    const { guide, seeds } = insight;
    this.tour.disabled = !guide.kind && !(insight.header?.ready && insight.header.next.length);
    for (const place of guide.marks) {
      if (!place.xy) continue;
      const at = LETTERS.indexOf(place.letter);
      const press = () => (guide.kind === "doubts" ? guide.show() : guide.kind ? ((guide.at = at), guide.show()) : guide.start("next", at));
      this.mark(place.xy, place.letter, `${place.now ? "tl-now" : ""} ${guide.kind === "doubts" ? "tl-bad" : ""}`, place.text, press);
    }
    for (const xy of seeds.pos) this.mark(xy, "+", "tl-seed", "An example; press to take it away", () => insight.unseed(xy));
    for (const xy of seeds.neg) this.mark(xy, "−", "tl-seed tl-unlike", "A counter-example; press to take it away", () => insight.unseed(xy));
  }

  // Without labels in sight, only marks that somebody is working with.
  showMarks() {
    const { guide, seeds } = this.session.insight;
    const wanted = this.memory.layers.labels.on || guide.kind || seeds.pos.length || seeds.neg.length;
    this.map.getPane("marks").style.display = wanted ? "" : "none";
  }

  drawCard() {
    const guide = this.session.insight.guide.card();
    const body = guide ?? this.session.selection.card();
    this.card.hidden = !body;
    // What is in the card already keeps its focus.
    if (this.card.firstChild !== body) this.card.replaceChildren(...(body ? [body] : []));
    this.box.classList.toggle("tl-guided", Boolean(guide));
    this.box.classList.toggle("tl-picked", Boolean(body && !guide));
  }

  // ------------------------------------------------------------------- controls

  refreshTools() {
    const { tool, radius } = this.memory;
    for (const [name, button] of Object.entries(this.buttons)) button.setAttribute("aria-pressed", String(name === tool));
    this.fillStrip();
    this.undo.disabled = !this.header.undo;
    this.redo.disabled = !this.header.redo;
    this.sizer.hidden = tool !== "brush" && tool !== "erase";
    this.size.value = radius;
    const metres = this.header.metres ? ` · ${Math.round(2 * radius * this.header.metres).toLocaleString("en")} m` : "";
    this.sizeText.textContent = `${(2 * radius).toLocaleString("en")} px${metres} wide`;
    if (CLICKS.has(tool)) this.map.dragging.enable();
    else this.map.dragging.disable();
    this.root.dataset.tool = tool;
    this.cursor();
  }

  fillStrip() {
    const chips = this.header.classes.map((c) => {
      const chosen = c.id === this.memory.class;
      const chip = el(
        "button",
        { type: "button", class: "tl-stripchip", role: "option", "aria-selected": String(chosen), onclick: () => this.session.choose(c.id) },
        el("i", { style: `background:${c.color}` }),
        c.name,
        el("b", {}, String(c.count)),
      );
      return chip;
    });
    const at = this.strip.scrollLeft;
    this.chips.replaceChildren(...chips);
    this.strip.scrollLeft = at;
  }

  stripForm() {
    const name = el("input", { type: "text", maxLength: 80, placeholder: "Add a class", "aria-label": "Name of another class" });
    const add = (event) => {
      event.preventDefault();
      const text = name.value.trim();
      if (!text) return name.focus();
      this.session.addClass(text);
      name.value = "";
      name.blur();
    };
    return el("form", { class: "tl-stripadd", onsubmit: add }, name, el("button", { type: "submit", class: "tl-button", title: "Add this class", "aria-label": "Add this class" }, icon("plus")));
  }

  toggleMap() {
    const layer = this.memory.layers.classes;
    layer.on = !layer.on;
    this.session.keep();
    this.showLayers();
    this.session.panel?.fillLayers();
  }

  cursor() {
    const pans = this.memory.tool === "select" || this.tools?.space;
    this.box.style.cursor = pans ? this.tools?.pointing ?? "grab" : this.memory.tool === "brush" || this.memory.tool === "erase" ? "none" : "crosshair";
    if (this.tools?.space) this.map.dragging.disable();
    else if (CLICKS.has(this.memory.tool)) this.map?.dragging.enable();
  }

  setTool(tool) {
    if (this.tools.corners && tool !== "polygon") this.tools.abandon();
    this.memory.tool = tool;
    if (tool !== "select") this.session.selection.clear();
    this.session.keep();
    this.refreshTools();
    this.tools.paint();
    this.session.panel?.fillSimilar();
  }

  setRadius(radius) {
    this.memory.radius = Math.min(20, Math.max(0.5, radius));
    this.session.keep();
    this.refreshTools();
    this.tools.paint();
  }

  chooseAt(position) {
    const chosen = this.header.classes[position];
    const { guide } = this.session.insight;
    const { selection } = this.session;
    if (chosen && selection.entry) selection.reclass(chosen.id);
    else if (chosen && guide.kind === "next" && guide.current) guide.label(chosen.id);
    else if (chosen) this.session.choose(chosen.id);
  }

  chosen() {
    if (["select", "erase", "like", "unlike"].includes(this.memory.tool)) this.setTool("point");
    else if (this.header) this.fillStrip();
    this.tools?.paint();
  }

  needClass() {
    if (this.memory.class < 0 || this.header.classes.some((c) => c.id === this.memory.class)) return true;
    this.note(`need${Date.now()}`, this.header.classes.length ? "Choose a class first." : "Add a class first.");
    // On a phone the panel is out of sight; there the map has a field of its own.
    const near = !this.header.classes.length && getComputedStyle(this.strip).display !== "none";
    if (near) pulse(this.strip.lastChild);
    else this.session.panel?.attention();
    return false;
  }

  polygonOpen(open) {
    this.finisher.hidden = !open;
    this.tools?.paint();
  }

  visible() {
    return this.box.isConnected && this.box.clientWidth > 0;
  }

  note(key, text) {
    if (this.session.noted.has(key)) return;
    this.session.noted.add(key);
    this.toast.textContent = text;
    this.toast.classList.add("tl-on");
    clearTimeout(this.toastTimer);
    this.toastTimer = setTimeout(() => this.toast.classList.remove("tl-on"), 5000);
  }

  // -------------------------------------------------------------------- read-out

  pointed(event, hover) {
    if (!hover) {
      this.readout.textContent = "";
      return;
    }
    const latLng = this.map.mouseEventToLatLng(event);
    const [x, y] = this.frame.xy(latLng);
    const place =
      this.frame.kind === "mercator"
        ? `${Math.abs(latLng.lat).toFixed(5)}° ${latLng.lat < 0 ? "S" : "N"}, ${Math.abs(latLng.lng).toFixed(5)}° ${latLng.lng < 0 ? "W" : "E"}`
        : `row ${Math.floor(-y)}, column ${Math.floor(x)}`;
    const what = this.classAt(x, y);
    this.readout.textContent = what ? `${place} · ${what}` : place;
  }

  classAt(x, y) {
    const source = this.classMap;
    if (!source) return "";
    if (!source.indices) {
      if (!source.asked) {
        // Only once the pointer rests: while labels follow each other quickly, nobody reads it.
        source.asked = setTimeout(async () => {
          if (this.classMap === source) source.indices = await indices(source.png);
        }, 250);
      }
      return "";
    }
    const [west, south, east, north] = source.header.bounds;
    const { plane, width, height } = source.indices;
    const col = Math.floor(((x - west) / (east - west)) * width);
    const row = Math.floor(((north - y) / (north - south)) * height);
    if (col < 0 || row < 0 || col >= width || row >= height) return "";
    const i = plane[row * width + col];
    if (!i) return "";
    const found = source.header.classes[Math.floor((i - 1) / source.levels)];
    const percent = source.levels > 1 ? `, ${Math.round(((((i - 1) % source.levels) + 0.5) * 100) / source.levels)} % sure` : "";
    return found ? `${found.name}${percent}` : "";
  }
}

function edited(entry, { class: class_, note, rings }) {
  const [was, kind, radius, ...known] = entry.shape;
  return { id: entry.id, note: note ?? entry.note, shape: [class_ ?? was, kind, radius, ...(rings?.map((ring) => ring.flat()) ?? known)] };
}

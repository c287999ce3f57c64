// The view map: one or two stages, tools, layer choice, legend. What outlives it is in `memory`, which belongs to the key.

import { el, icon } from "./dom.js";
import { link, tell } from "./links.js";
import { keep } from "./mounting.js";
import { savePicture } from "./saving.js";
import { bar, digitsOf, readAt, told } from "./scales.js";
import { markerAt, outlineAt, within } from "./shapes.js";
import { Stage } from "./stage.js";
import { decode } from "./wire.js";

const TOOLS = [
  ["click", "point", "Click a place, drag to move", "V"],
  ["box", "rectangle", "Draw a box", "B"],
  ["polygon", "polygon", "Draw a shape: click corners, or draw around", "P"],
];
const MOVED = 6; // a pointer that moved less than this many screen pixels has clicked

export class MapView {
  constructor(hub, session, root) {
    Object.assign(this, { session, root, L: hub.L, memory: session.memory, outbox: session.outbox });
    this.stages = [];
    this.pointers = new Map();
    this.bitmaps = new Map();
    this.build();
  }

  // ------------------------------------------------------------------ structure

  build() {
    const press = (name, text, action) =>
      el("button", { type: "button", class: "tl-tool", title: text, "aria-label": text, onclick: action }, icon(name));
    this.stageRow = el("div", { class: "tv-stages" });
    this.draft = el("canvas", { class: "tl-draft" });
    this.divider = el("div", { class: "tl-control tv-divider", hidden: true }, el("div", { class: "tv-handle" }, icon("swipe")));
    this.buttons = {};
    this.toolbar = el("div", { class: "tl-group", role: "toolbar", "aria-label": "Tools" });
    for (const [tool, name, text, key] of TOOLS) {
      this.buttons[tool] = press(name, `${text} (${key})`, () => this.setTool(tool));
      this.buttons[tool].dataset.tool = tool;
      this.toolbar.append(this.buttons[tool]);
    }
    this.layersButton = press("layers", "Layers and comparison", () => this.togglePanel());
    this.left = el("div", { class: "tl-control tv-left" }, this.toolbar, el("div", { class: "tl-group" }, this.layersButton, press("save", "Save as PNG", () => this.save())));
    this.zoom = el(
      "div",
      { class: "tl-control tl-group tv-zoom" },
      press("plus", "Zoom in (+)", () => this.map.zoomIn()),
      press("minus", "Zoom out (-)", () => this.map.zoomOut()),
      press("home", "Show the whole area", () => this.fit()),
    );
    this.panel = el("div", { class: "tl-control tv-panel tl-plate", hidden: true });
    this.title = el("div", { class: "tv-title tl-plate" });
    this.names = [0, 1].map(() => el("div", { class: "tv-name tl-plate", hidden: true }));
    this.legend = el("div", { class: "tl-control tv-legend tl-plate", hidden: true });
    this.readout = el("div", { class: "tl-readout tl-plate" });
    this.bottom = el("div", { class: "tv-bottom" }, this.readout);
    this.tip = el("div", { class: "tv-tip", hidden: true, role: "tooltip" });
    this.waiting = el("div", { class: "tv-waiting tl-plate", role: "status", hidden: true }, "Loading the picture…");
    this.caption = el("div", { class: "tl-caption tl-plate", hidden: true }, "The base map needs the internet and cannot be reached now.");
    this.finisher = el(
      "div",
      { class: "tl-control tv-finish", hidden: true },
      el("button", { type: "button", class: "tl-button tl-primary", onclick: () => this.finish() }, icon("check"), "Finish shape"),
      el("button", { type: "button", class: "tl-button", onclick: () => this.abandon() }, "Cancel"),
    );
    this.box = el(
      "div",
      { class: "tv-map", role: "application", "aria-label": "Map", tabIndex: 0 },
      this.stageRow, this.draft, el("div", { class: "tv-cross" }), this.divider, ...this.names, this.left, this.zoom, this.title, this.caption,
      this.waiting, this.legend, this.bottom, this.panel, this.tip, this.finisher,
    );
    this.root.replaceChildren(this.box);
    this.wire();
  }

  get map() {
    return this.stages[0].map;
  }

  // Stages are made anew when the frame changes (a place on Earth, or plain pixels) or their number.
  ensureStages(header) {
    const wanted = this.beside ? 2 : 1;
    if (this.stages.length === wanted && this.stages[0].frame.kind === header.frame) return false;
    const split = this.stages.length && this.stages.length !== wanted && this.stages[0].frame.kind === header.frame;
    for (const stage of this.stages) stage.destroy();
    this.resizer?.disconnect();
    this.stageRow.replaceChildren();
    this.stages = Array.from({ length: wanted }, () => {
      const box = el("div", { class: "tv-stage" });
      this.stageRow.append(box);
      return new Stage(this, box, header.frame);
    });
    if (header.frame === "mercator") {
      this.scaleBar?.getContainer()?.remove();
      this.scaleBar = this.L.control.scale({ imperial: false, maxWidth: 120 }).addTo(this.map);
      this.bottom.prepend(this.scaleBar.getContainer());
    }
    this.map.on("moveend", () => this.moved());
    for (const stage of this.stages) {
      stage.box.tabIndex = -1;
      stage.map.on("move", () => this.follow(stage));
      stage.map.on("move zoom resize", () => this.paint());
    }
    this.resizer = new ResizeObserver(() => this.resized());
    this.resizer.observe(this.box);
    for (const [name, picture] of this.bitmaps) for (const stage of this.stages) stage.show(name, picture.bitmap, picture.bounds);
    this.placed = false;
    // One map or two: the whole area is in sight again.
    if (split && this.box.clientWidth) {
      this.placed = true;
      this.fit(false);
    }
    return true;
  }

  follow(stage) {
    if (this.following || this.stages.length < 2 || !this.placed) return;
    this.following = true;
    for (const other of this.stages) if (other !== stage) other.map.setView(stage.map.getCenter(), stage.map.getZoom(), { animate: false });
    this.following = false;
  }

  resized() {
    if (!this.stages.length || !this.box.clientWidth) return;
    // Whoever sees the whole area goes on seeing it when the map becomes smaller or larger.
    const whole = this.placed && this.memory.whole === JSON.stringify(this.view());
    for (const stage of this.stages) stage.map.invalidateSize({ pan: false });
    if (!this.placed) this.place();
    else if (whole) this.fit(false);
    for (const stage of this.stages) stage.clip();
  }

  destroy() {
    this.gone = true;
    this.resizer?.disconnect();
    for (const stage of this.stages) stage.destroy();
    this.stages = [];
    this.leaveLink();
    if (this.session.view === this) {
      this.session.view = null;
      this.outbox.trigger = null;
    }
  }

  // ------------------------------------------------------------------- messages

  receive(header) {
    const before = this.header;
    this.header = header;
    this.box.style.height = header.height ? `${header.height}px` : "";
    this.box.classList.toggle("tv-linked", Boolean(header.link));
    if (header.sticky) this.stick();
    this.wishes(header);
    const rebuilt = this.ensureStages(header);
    if (!before || before.place !== header.place || rebuilt) {
      if (before && before.place !== header.place) {
        this.placed = false;
        this.abandon();
        for (const name of [...this.bitmaps.keys()]) this.drop(name);
      }
      this.place();
    }
    const names = new Set(header.layers.map((layer) => layer.name));
    for (const name of [...this.bitmaps.keys()]) if (!names.has(name)) this.drop(name);
    for (const picture of this.session.pictures.values()) this.receivePicture(picture);
    this.enterLink(header.link);
    this.fillTitle();
    this.refreshTools();
    this.arrange();
    this.fly(header.fly);
    this.redraw();
    this.root.dataset.seen = header.seen;
    requestAnimationFrame(() => requestAnimationFrame(() => (this.root.dataset.shown = Number(this.root.dataset.shown ?? 0) + 1)));
  }

  // Stays in sight while the column beside is scrolled; on a phone that column is below.
  stick() {
    let node = (this.root.getRootNode().host ?? this.root).closest('[data-testid="stElementContainer"]');
    const column = node?.closest('[data-testid="stColumn"]');
    if (!column || !matchMedia("(min-width: 641px)").matches) return;
    while (node.parentElement && node.parentElement.parentElement !== column && node.parentElement !== column) node = node.parentElement;
    Object.assign(node.style, { position: "sticky", top: "4rem" });
  }

  // The page's wishes count when they are new; afterwards people's own choices do.
  wishes(header) {
    const { memory } = this;
    for (const layer of header.layers) {
      const wish = JSON.stringify([layer.on, layer.opacity]);
      const known = memory.layers[layer.name];
      if (!known || known.wish !== wish) memory.layers[layer.name] = { wish, on: layer.on, opacity: layer.opacity };
    }
    // A base layer that was chosen may be gone, as when another part of the page shows the map: never none.
    const bases = header.layers.filter((layer) => layer.group === "base");
    if (!bases.some((layer) => memory.layers[layer.name].on)) for (const layer of bases) memory.layers[layer.name].on = layer.on;
    const wish = JSON.stringify([header.swipe, header.beside]);
    if (memory.compare.wish !== wish) {
      const [left, right] = header.swipe ?? [header.layers[0]?.name, header.layers[1]?.name];
      memory.compare = { wish, mode: header.beside ? "beside" : header.swipe ? "swipe" : "off", left, right, at: 0.5 };
    }
    const { compare } = memory;
    const names = header.layers.map((layer) => layer.name);
    if (!names.includes(compare.left)) compare.left = names[0];
    if (!names.includes(compare.right)) compare.right = names[1] ?? names[0];
    if (names.length < 2) compare.mode = "off";
    if (!header.tools.includes(memory.tool) && memory.tool !== "click") memory.tool = "click";
  }

  get beside() {
    return this.memory.compare.mode === "beside";
  }

  receivePicture({ name, version, png, bounds, place }) {
    if (!this.header || place !== this.header.place || !this.header.layers.some((layer) => layer.name === name)) return;
    const known = this.bitmaps.get(name);
    if (known?.version === version) return;
    const token = (this.loading ??= new Map()).get(name) === version;
    if (token) return;
    this.loading.set(name, version);
    decode(new Blob([png], { type: "image/png" }))
      .then((bitmap) => {
        if (this.gone || this.loading.get(name) !== version || place !== this.header.place) return;
        this.loading.delete(name);
        // A canvas, because a bitmap that was drawn once is closed.
        const canvas = el("canvas", { width: bitmap.width, height: bitmap.height });
        canvas.getContext("2d", { willReadFrequently: this.scaleOf(name) !== undefined }).drawImage(bitmap, 0, 0);
        bitmap.close();
        canvas.close = () => {};
        this.bitmaps.set(name, { version, bitmap: canvas, bounds });
        for (const stage of this.stages) stage.show(name, canvas, bounds);
        this.arrange();
        this.root.dataset[`layer${name.replace(/[^a-z0-9]/gi, "")}`] = version;
      })
      .catch((error) => console.error(`The picture ${name} could not be shown:`, error));
  }

  scaleOf(name) {
    return this.header.layers.find((layer) => layer.name === name)?.scale;
  }

  drop(name) {
    this.bitmaps.delete(name);
    this.loading?.delete(name);
    for (const stage of this.stages) stage.drop(name);
  }

  receiveWorld(world) {
    this.world = world;
    for (const stage of this.stages) stage.land.redraw();
  }

  fillTitle() {
    const { title, subtitle, frame } = this.header;
    this.title.replaceChildren(
      ...(title || subtitle ? [el("span", {}, title ? el("b", {}, title) : "", subtitle ? ` ${subtitle}` : "")] : []),
      ...(frame === "mercator" ? [el("span", { title: "North is up", class: "tl-north" }, icon("north"), "N")] : []),
    );
    this.title.hidden = !this.title.childNodes.length;
  }

  // ----------------------------------------------------------------------- view

  view() {
    const c = this.map.getCenter();
    return { center: [c.lat, c.lng], zoom: this.map.getZoom() };
  }

  bounds() {
    const { header } = this;
    const frame = this.stages[0].frame;
    return header.bounds ? frame.bounds(header.bounds) : this.L.latLngBounds([-56, -165], [78, 178]);
  }

  place() {
    if (!this.stages.length || !this.box.clientWidth) return;
    for (const stage of this.stages) stage.map.invalidateSize({ pan: false });
    const bounds = this.bounds();
    const limit = this.header.bounds && !this.header.world ? bounds.pad(1.5) : null;
    for (const stage of this.stages) stage.map.setMaxBounds(limit);
    if (!this.placed) {
      const view = this.memory.views[this.header.place];
      this.placed = true;
      if (view) this.map.setView(view.center, view.zoom, { animate: false });
      else this.fit(false);
    }
    this.follow(this.stages[0]);
  }

  fit(animate = true) {
    this.fitting = true;
    this.map.fitBounds(this.bounds(), { paddingTopLeft: [8, 8], paddingBottomRight: [8, 8], animate });
  }

  fly(target) {
    const wish = JSON.stringify(target);
    if (this.memory.flown === wish) return;
    this.memory.flown = wish;
    this.session.keep();
    if (target && this.placed) this.map.fitBounds(this.stages[0].frame.bounds(target), { padding: [20, 20], animate: false });
  }

  moved() {
    if (!this.header || !this.placed) return;
    this.memory.views[this.header.place] = this.view();
    if (this.fitting) this.memory.whole = JSON.stringify(this.view());
    this.fitting = false;
    this.session.keep();
  }

  redraw() {
    this.dark = isDark(this.root);
    for (const stage of this.stages) {
      stage.land.redraw();
      stage.ink.redraw();
    }
    this.paint();
  }

  // --------------------------------------------------------------------- layers

  // What is on, for each stage: with a comparison its layers (and what lies over two base layers), else everything switched on.
  shown(side) {
    const { layers, compare } = this.memory;
    const all = this.header.layers;
    const group = (name) => all.find((layer) => layer.name === name)?.group;
    const pair = [compare.left, compare.right];
    const over = pair.every((name) => group(name) === "base") ? all.filter((l) => l.group !== "base" && layers[l.name].on) : [];
    const above = over.map((layer) => [layer.name, layers[layer.name].opacity]);
    if (compare.mode === "swipe") return new Map([[compare.left, 1], [compare.right, 1], ...above]);
    if (compare.mode === "beside") return new Map([[pair[side ? 1 : 0], 1], ...above]);
    const base = all.filter((layer) => layer.group === "base" && layers[layer.name].on).at(-1);
    const visible = all.filter((layer) => layers[layer.name].on && (layer.group !== "base" || layer === base));
    return new Map(visible.map((layer) => [layer.name, layers[layer.name].opacity]));
  }

  arrange() {
    const { compare, base } = this.memory;
    const { header } = this;
    const lowFirst = [...header.layers.filter((l) => l.group === "base"), ...header.layers.filter((l) => l.group !== "base")];
    const source = header.base.find((entry) => entry.name === base.name) ?? null;
    this.stages.forEach((stage, side) => {
      stage.arrange(lowFirst.map((layer) => layer.name), this.shown(side), compare.mode === "swipe" ? [compare.left, compare.right] : null);
      stage.base(source, base.opacity, (missing) => (this.caption.hidden = !missing));
    });
    this.divider.hidden = compare.mode !== "swipe";
    this.divider.style.left = `${100 * compare.at}%`;
    const titles = new Map(header.layers.map((layer) => [layer.name, layer.title]));
    this.names.forEach((plate, side) => {
      plate.hidden = compare.mode === "off";
      plate.textContent = titles.get(side ? compare.right : compare.left) ?? "";
      plate.style.left = side ? (compare.mode === "beside" ? "75%" : `${50 + 50 * compare.at}%`) : compare.mode === "beside" ? "25%" : `${50 * compare.at}%`;
    });
    this.box.classList.toggle("tv-compared", compare.mode !== "off");
    this.fillLegend();
    if (!this.panel.hidden) this.fillPanel();
    this.ask();
  }

  // Pictures that nobody looked at were not sent; they are asked for once somebody does.
  ask() {
    const shown = new Set(this.stages.flatMap((_, side) => [...this.shown(side).keys()]));
    const layers = this.header.layers.filter((layer) => shown.has(layer.name));
    const late = layers.filter((layer) => this.bitmaps.get(layer.name)?.version !== layer.version);
    const missing = late.filter((layer) => !layer.sent && this.session.pictures.get(layer.name)?.version !== layer.version);
    this.waiting.hidden = !late.length;
    const wish = JSON.stringify(missing.map((layer) => [layer.name, layer.version]));
    if (missing.length && this.asked !== wish) this.outbox.push({ kind: "look", names: layers.map((layer) => layer.name) });
    this.asked = wish;
  }

  fillLegend() {
    const visible = new Set(this.stages.flatMap((_, side) => [...this.shown(side).keys()]));
    const entries = told(this.header.layers.filter((layer) => visible.has(layer.name)));
    this.legend.hidden = !entries.length;
    const open = this.memory.legend ?? this.box.clientWidth > 560;
    const details = el("details", { open }, el("summary", {}, "Legend"));
    details.ontoggle = () => {
      this.memory.legend = details.open;
      this.session.keep();
    };
    for (const layer of entries) {
      details.append(el("b", {}, layer.scale?.unit ? `${layer.title} (${layer.scale.unit})` : layer.title));
      if (layer.scale) details.append(bar(layer.scale));
      for (const [colour, text] of layer.legend) details.append(el("div", { class: "tv-entry" }, el("i", { style: `background:${colour}` }), el("span", {}, text)));
    }
    this.legend.replaceChildren(details);
  }

  togglePanel(open = this.panel.hidden) {
    this.panel.hidden = !open;
    this.layersButton.setAttribute("aria-pressed", String(open));
    if (open) this.fillPanel();
  }

  fillPanel() {
    if (this.panel.contains(this.panel.getRootNode().activeElement) && this.panel.dataset.filled === this.panelState()) return;
    this.panel.dataset.filled = this.panelState();
    this.panelMode = this.memory.compare.mode;
    const { memory, header } = this;
    const change = (action) => () => {
      action();
      this.session.keep();
      this.changed();
    };
    const row = (layer) => {
      const mine = memory.layers[layer.name];
      const isBase = layer.group === "base";
      const box = el("input", { type: isBase ? "radio" : "checkbox", name: `${this.session.key}-base`, checked: mine.on });
      box.onchange = change(() => {
        if (isBase) for (const other of header.layers) if (other.group === "base") memory.layers[other.name].on = false;
        mine.on = box.checked;
      });
      const slider = el("input", { type: "range", min: 0, max: 100, step: 1, value: 100 * mine.opacity, "aria-label": `Opacity of ${layer.title}` });
      slider.oninput = change(() => (mine.opacity = slider.value / 100));
      return el("div", { class: "tv-layer", "data-layer": layer.name }, el("label", {}, box, layer.title), slider);
    };
    const choice = (options, value, text, action) => {
      const select = el("select", { "aria-label": text }, ...options.map(([id, name]) => el("option", { value: id, selected: id === value }, name)));
      select.onchange = change(() => action(select.value));
      return select;
    };
    // On a phone the panel covers the button that opened it.
    const close = el("button", { type: "button", class: "tl-tool tv-close", title: "Close (Esc)", "aria-label": "Close the layers", onclick: () => this.togglePanel(false) }, icon("close"));
    const parts = [close];
    const high = [...header.layers.filter((l) => l.group === "base"), ...header.layers.filter((l) => l.group !== "base")].reverse();
    if (high.length) parts.push(el("h4", {}, "Layers"), ...high.map(row));
    if (header.layers.length > 1) {
      const names = header.layers.map((layer) => [layer.name, layer.title]);
      const { compare } = memory;
      parts.push(el("h4", {}, "Compare"), choice([["off", "one map"], ["swipe", "swipe two layers"], ["beside", "two maps side by side"]], compare.mode, "Comparison", (v) => (compare.mode = v)));
      if (compare.mode !== "off")
        parts.push(el("div", { class: "tl-pair" }, choice(names, compare.left, "Left layer", (v) => (compare.left = v)), choice(names, compare.right, "Right layer", (v) => (compare.right = v))));
    }
    if (header.base.length) {
      const options = [["", "none"], ...header.base.map((b) => [b.name, `${b.name} (internet)`])];
      parts.push(el("h4", {}, "Base map"), choice(options, memory.base.name, "Base map", (v) => (memory.base.name = v)));
    }
    this.panel.replaceChildren(...parts);
  }

  panelState() {
    const { layers, compare, base } = this.memory;
    return JSON.stringify([this.header.layers.map((l) => [l.name, l.title, l.group]), layers, compare.mode, compare.left, compare.right, base]);
  }

  changed() {
    this.panel.dataset.filled = this.panelState();
    if (this.ensureStages(this.header)) this.place();
    this.arrange();
    this.panel.dataset.filled = "";
    if (this.memory.compare.mode !== this.panelMode) this.fillPanel();
    else this.panel.dataset.filled = this.panelState();
    this.redraw();
  }

  save() {
    savePicture(this).catch((error) => console.error("The picture could not be saved:", error));
  }

  // ---------------------------------------------------------------------- links

  enterLink(name) {
    const shared = name ? link(name) : null;
    if (this.shared === shared) return;
    this.leaveLink();
    this.shared = shared;
    if (!shared) return;
    this.linked = (event) => {
      for (const stage of this.stages) stage.ink.redraw();
      this.root.dataset.highlighted = shared.selected ? shared.selected.reduce((n, v) => n + v, 0) : 0;
      this.root.dispatchEvent(new CustomEvent("tv-highlight", { detail: { what: event.type } }));
    };
    for (const what of ["points", "selected", "hover"]) shared.addEventListener(what, this.linked);
  }

  leaveLink() {
    if (this.shared) for (const what of ["points", "selected", "hover"]) this.shared.removeEventListener(what, this.linked);
    this.shared = null;
  }

  // Shapes and clicks select the linked points that they hold, at once; the server hears of them by the event.
  select(kind, xy) {
    const points = this.shared?.points;
    if (!points) return;
    const chosen = new Uint8Array(points.count);
    if (kind === "click") {
      const reach = 2.5 * (this.header.pixel ?? 1);
      let best = -1;
      let least = reach;
      for (let i = 0; i < points.count; i++) {
        const distance = Math.hypot(points.x[i] - xy[0][0], points.y[i] - xy[0][1]);
        if (distance < least) [best, least] = [i, distance];
      }
      if (best < 0) return;
      chosen[best] = 1;
    } else {
      const ring = xy.flat();
      for (let i = 0; i < points.count; i++) chosen[i] = within(ring, points.x[i], points.y[i]) ? 1 : 0;
    }
    this.shared.selected = chosen;
    tell(this.shared, "selected", "map");
  }

  // ---------------------------------------------------------------------- tools

  refreshTools() {
    const { tools } = this.header;
    for (const [name] of TOOLS) this.buttons[name].hidden = name !== "click" && !tools.includes(name);
    this.toolbar.hidden = !tools.some((tool) => tool !== "click");
    for (const [name, button] of Object.entries(this.buttons)) button.setAttribute("aria-pressed", String(name === this.memory.tool));
    const draws = this.memory.tool !== "click";
    for (const stage of this.stages) draws ? stage.map.dragging.disable() : stage.map.dragging.enable();
    this.box.classList.toggle("tv-draws", draws);
    this.box.classList.toggle("tv-clicks", !draws && tools.includes("click"));
    this.root.dataset.tool = this.memory.tool;
  }

  setTool(tool) {
    this.abandon();
    this.memory.tool = tool;
    this.session.keep();
    this.refreshTools();
  }

  send(kind, xy, target = "") {
    const digits = this.stages[0].frame.kind === "mercator" ? 100 : 1000;
    const rounded = xy.map((p) => p.map((v) => Math.round(v * digits) / digits));
    this.select(kind, xy);
    this.outbox.push({ kind, xy: rounded, target });
    this.root.dataset.sent = this.outbox.next - 1;
  }

  wire() {
    const listen = (type, handler) => this.box.addEventListener(type, (event) => handler.call(this, event));
    listen("pointerdown", this.down);
    listen("pointermove", this.move);
    listen("pointerup", this.up);
    listen("pointercancel", this.cancelled);
    listen("pointerleave", () => this.hover(null));
    listen("dblclick", (event) => this.onMap(event) && this.corners && this.finish());
    listen("keydown", this.key);
    this.divider.onpointerdown = (event) => {
      event.stopPropagation();
      this.divider.setPointerCapture(event.pointerId);
      this.divider.onpointermove = (move) => {
        const box = this.box.getBoundingClientRect();
        this.memory.compare.at = Math.min(0.98, Math.max(0.02, (move.clientX - box.left) / box.width));
        this.arrange();
      };
    };
    this.divider.onpointerup = () => {
      this.divider.onpointermove = null;
      this.session.keep();
    };
  }

  onMap(event) {
    return !event.composedPath().some((node) => node.classList?.contains("tl-control") || node.tagName === "A");
  }

  // The stage under a pointer; a comparison side by side draws on both.
  stageAt(event) {
    return this.stages.find((stage) => {
      const box = stage.box.getBoundingClientRect();
      return event.clientX >= box.left && event.clientX < box.right;
    }) ?? this.stages[0];
  }

  xy(event, stage = this.stageAt(event)) {
    return stage.frame.xy(stage.map.mouseEventToLatLng(event));
  }

  down(event) {
    this.box.classList.remove("tv-keys");
    if (!this.stages.length || !this.onMap(event)) return;
    this.pointers.set(event.pointerId, { x: event.clientX, y: event.clientY, moved: false });
    if (this.pointers.size > 1) {
      this.drawing = null;
      this.multi = true;
      return this.paint();
    }
    if (event.button !== 0 || this.memory.tool === "click") return;
    this.box.setPointerCapture(event.pointerId);
    const stage = this.stageAt(event);
    this.drawing = { tool: this.memory.tool, stage, xy: [this.xy(event, stage)], pointer: event.pointerId };
  }

  move(event) {
    const pointer = this.pointers.get(event.pointerId);
    if (pointer && Math.hypot(event.clientX - pointer.x, event.clientY - pointer.y) > MOVED) pointer.moved = true;
    const { drawing } = this;
    if (drawing && drawing.pointer === event.pointerId) {
      if (drawing.tool === "box") drawing.xy[1] = this.xy(event, drawing.stage);
      else for (const e of event.getCoalescedEvents?.() ?? [event]) drawing.xy.push(this.xy(e, drawing.stage));
      this.paint();
    } else if (this.corners) {
      this.pointer = event;
      this.paint();
    }
    this.hover(this.onMap(event) ? event : null);
  }

  up(event) {
    const pointer = this.pointers.get(event.pointerId);
    this.pointers.delete(event.pointerId);
    const { drawing } = this;
    if (!pointer) return;
    if (drawing && drawing.pointer === event.pointerId) {
      this.drawing = null;
      if (drawing.tool === "polygon" && !pointer.moved) this.corner(drawing, event);
      else if (pointer.moved) this.commit(drawing);
      this.paint();
    } else if (!pointer.moved && !this.multi && event.button === 0 && this.onMap(event)) this.clicked(event);
    if (!this.pointers.size) this.multi = false;
  }

  cancelled(event) {
    this.pointers.delete(event.pointerId);
    if (!this.pointers.size) this.multi = false;
    this.drawing = null;
    this.paint();
  }

  clicked(event) {
    const stage = this.stageAt(event);
    const hit = this.hitAt(event, stage);
    const xy = [this.xy(event, stage)];
    if (hit?.marker) this.send("marker", xy, hit.marker[0]);
    else if (hit?.outline && hit.outline[2] > 0) this.send("outline", xy, hit.outline[0]);
    else if (this.header.tools.includes("click")) this.send("click", xy);
  }

  corner(drawing, event) {
    this.corners ??= { stage: drawing.stage, xy: [] };
    const { xy, stage } = this.corners;
    const screen = (p) => stage.map.latLngToContainerPoint(stage.frame.latLng(...p));
    if (xy.length > 2) {
      const [first, here] = [screen(xy[0]), screen(drawing.xy[0])];
      if (Math.hypot(first.x - here.x, first.y - here.y) < (event.pointerType === "touch" ? 22 : 11)) return this.finish();
    }
    const last = xy.length && screen(xy.at(-1));
    const here = screen(drawing.xy[0]);
    // The second click of a double click is no corner of its own.
    if (!last || Math.hypot(last.x - here.x, last.y - here.y) > 3) xy.push(drawing.xy[0]);
    this.finisher.hidden = false;
  }

  finish() {
    const { corners } = this;
    this.abandon();
    if (corners && corners.xy.length > 2) this.send("polygon", corners.xy);
  }

  abandon() {
    this.corners = null;
    this.drawing = null;
    this.finisher.hidden = true;
    this.paint();
  }

  commit({ tool, xy }) {
    if (tool === "box" && xy.length > 1) {
      const [[x0, y0], [x1, y1]] = xy;
      if (x0 !== x1 && y0 !== y1) this.send("box", [[x0, y0], [x1, y0], [x1, y1], [x0, y1]]);
    } else if (tool === "polygon" && xy.length > 2) {
      const step = Math.ceil(xy.length / 2000);
      this.send("polygon", xy.filter((_, i) => i % step === 0));
    }
  }

  // The unfinished shape, on a canvas above the map.
  paint() {
    if (this.frameAsked) return;
    this.frameAsked = requestAnimationFrame(() => {
      this.frameAsked = 0;
      const ratio = window.devicePixelRatio || 1;
      const { clientWidth: width, clientHeight: height } = this.box;
      if (this.draft.width !== Math.round(width * ratio)) this.draft.width = Math.round(width * ratio);
      if (this.draft.height !== Math.round(height * ratio)) this.draft.height = Math.round(height * ratio);
      const context = this.draft.getContext("2d");
      context.setTransform(1, 0, 0, 1, 0, 0);
      context.clearRect(0, 0, this.draft.width, this.draft.height);
      context.setTransform(ratio, 0, 0, ratio, 0, 0);
      const shape = this.drawing ?? this.corners;
      if (!shape || !this.stages.includes(shape.stage)) return;
      const points = [...shape.xy];
      if (this.corners && !this.drawing && this.pointer) points.push(this.xy(this.pointer, shape.stage));
      const shift = shape.stage.box.offsetLeft;
      const screen = points.map((p) => shape.stage.map.latLngToContainerPoint(shape.stage.frame.latLng(...p)));
      if (shape.tool === "box" && screen.length === 2) {
        const [a, b] = screen;
        screen.splice(0, 2, a, { x: b.x, y: a.y }, b, { x: a.x, y: b.y });
      }
      context.beginPath();
      screen.forEach((p, i) => (i ? context.lineTo(p.x + shift, p.y) : context.moveTo(p.x + shift, p.y)));
      context.closePath();
      context.fillStyle = "rgba(255,225,74,.25)";
      context.fill();
      for (const [line, style] of [[4, "rgba(0,0,0,.6)"], [2, "#ffe14a"]]) {
        context.lineWidth = line;
        context.strokeStyle = style;
        context.stroke();
      }
      if (this.corners && !this.drawing) for (const p of screen.slice(0, this.corners.xy.length)) context.fillRect(p.x + shift - 4, p.y - 4, 8, 8);
    });
  }

  key(event) {
    if (event.altKey || event.ctrlKey || event.metaKey || event.composedPath()[0] !== this.box) return;
    const key = event.key.toLowerCase();
    const step = 80;
    const pan = { arrowleft: [-step, 0], arrowright: [step, 0], arrowup: [0, -step], arrowdown: [0, step] }[key];
    const tool = TOOLS.find(([name, , , letter]) => letter.toLowerCase() === key && (name === "click" || this.header.tools.includes(name)));
    let done = true;
    if (pan) this.map.panBy(pan, { animate: false });
    else if (key === "+" || key === "=") this.map.zoomIn();
    else if (key === "-") this.map.zoomOut();
    else if (key === "escape") {
      if (!this.panel.hidden) this.togglePanel(false);
      this.abandon();
    }
    else if (key === "enter" && this.corners) this.finish();
    else if (key === "enter") this.here();
    else if (tool) this.setTool(tool[0]);
    else done = false;
    if (!done) return;
    this.box.classList.add("tv-keys");
    event.preventDefault();
    event.stopPropagation();
  }

  // Keyboard only: Enter clicks what lies under the cross in the middle.
  here() {
    const stage = this.stages[0];
    if (this.memory.tool === "polygon") {
      this.corners ??= { stage, xy: [] };
      this.corners.xy.push(stage.frame.xy(this.map.getCenter()));
      this.finisher.hidden = false;
      return this.paint();
    }
    const box = stage.box.getBoundingClientRect();
    this.clicked({ clientX: box.left + box.width / 2, clientY: box.top + box.height / 2, pointerType: "mouse" });
  }

  // ------------------------------------------------------------------- pointing

  hitAt(event, stage) {
    const t = stage.transform();
    const p = stage.map.mouseEventToContainerPoint(event);
    const marker = markerAt(t, this.header.markers, p.x, p.y, event.pointerType === "touch" ? 20 : 12);
    if (marker) return { marker, text: marker[5] || marker[3] };
    const outline = outlineAt(this.header.outlines, ...this.xy(event, stage));
    return outline ? { outline, text: outline[3] } : null;
  }

  hover(event) {
    if (!event || !this.header || !this.stages.length || event.pointerType === "touch") {
      this.tip.hidden = true;
      this.readout.textContent = "";
      return this.point(null);
    }
    const stage = this.stageAt(event);
    const hit = this.drawing ? null : this.hitAt(event, stage);
    this.point(hit?.marker?.[0] ?? (hit?.outline?.[2] > 0 ? hit.outline[0] : null));
    this.tip.hidden = !hit?.text;
    if (hit?.text) {
      const box = this.box.getBoundingClientRect();
      const x = event.clientX - box.left;
      this.tip.textContent = hit.text;
      this.tip.style.left = `${Math.min(x + 14, box.width - 230)}px`;
      this.tip.style.top = `${event.clientY - box.top + 16}px`;
    }
    const latLng = stage.map.mouseEventToLatLng(event);
    const [x, y] = stage.frame.xy(latLng);
    const numbers = this.numbersAt(stage, x, y);
    const where =
      stage.frame.kind === "mercator"
        ? `${Math.abs(latLng.lat).toFixed(5)}° ${latLng.lat < 0 ? "S" : "N"}, ${Math.abs(latLng.lng).toFixed(5)}° ${latLng.lng < 0 ? "W" : "E"}`
        : `row ${Math.floor(-y)}, column ${Math.floor(x)}`;
    this.readout.replaceChildren(...(numbers ? [el("b", {}, numbers), " · "] : []), where);
  }

  // What the layers of numbers say here, all of them once one is in sight: an amount and its margin belong together.
  numbersAt(stage, x, y) {
    const shown = this.shown(this.stages.indexOf(stage));
    const scaled = this.header.layers.filter((layer) => layer.scale && this.bitmaps.has(layer.name));
    if (!scaled.some((layer) => shown.has(layer.name))) return "";
    const digits = digitsOf(scaled[0].scale);
    const texts = scaled.map((layer) => readAt(layer.scale, this.bitmaps.get(layer.name), x, y, digits)).filter(Boolean);
    return texts.length ? `${texts.join(" ")} ${scaled[0].scale.unit}`.trim() : "";
  }

  point(id) {
    if (this.pointedId === id) return;
    this.pointedId = id;
    this.box.classList.toggle("tv-pointed", id !== null);
    for (const stage of this.stages) stage.ink.redraw();
  }
}

function isDark(root) {
  const [r, g, b] = (getComputedStyle(root).getPropertyValue("--tl-back").match(/[0-9a-f]{2}/gi) ?? ["ff", "ff", "ff"]).map((v) => parseInt(v, 16));
  return 0.3 * r + 0.6 * g + 0.1 * b < 110;
}

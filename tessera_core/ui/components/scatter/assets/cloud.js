// The cloud: points splatted into an image, two or three axes, pan, zoom, turn and lasso.
// Tens of thousands of discs are a few milliseconds of plain loops, with any graphics card or none.

import { el, icon } from "./dom.js";
import { link, tell } from "./links.js";

const MOVED = 5;

export class CloudView {
  constructor(session, root) {
    Object.assign(this, { session, root, memory: session.memory });
    this.sent = 0;
    this.pointers = new Map();
    const press = (name, text, action) =>
      el("button", { type: "button", class: "tl-tool", title: text, "aria-label": text, onclick: action }, icon(name));
    this.canvas = el("canvas", { class: "sc-canvas" });
    this.ink = el("canvas", { class: "sc-canvas" });
    this.tools = { lasso: press("polygon", "Lasso: draw around points (L)", () => this.setTool("lasso")), move: press("pan", "Move or turn (M)", () => this.setTool("move")) };
    this.legend = el("div", { class: "tl-control sc-legend tl-plate" });
    this.axes = el("div", { class: "sc-axes tl-plate" });
    this.count = el("div", { class: "sc-count tl-plate", role: "status", hidden: true });
    this.box = el(
      "div",
      { class: "sc-box", tabIndex: 0, role: "application", "aria-label": "Scatter of pixels" },
      this.canvas, this.ink,
      el("div", { class: "tl-control sc-left" }, el("div", { class: "tl-group" }, this.tools.lasso, this.tools.move), el("div", { class: "tl-group" }, press("home", "Show all points", () => this.home()), press("trash", "Select nothing (Esc)", () => this.clear()))),
      this.legend, this.axes, this.count,
    );
    this.note = el("p", { class: "sc-note" });
    root.replaceChildren(this.box, this.note);
    this.wire();
    this.resizer = new ResizeObserver(() => this.paint());
    this.resizer.observe(this.box);
  }

  destroy() {
    this.gone = true;
    this.resizer.disconnect();
    this.leave();
    this.trigger = null;
  }

  // ------------------------------------------------------------------- messages

  receive(header, colours) {
    this.header = header;
    this.colours = colours;
    this.rgb = header.palette.map((hex) => [1, 3, 5].map((i) => parseInt(hex.slice(i, i + 2), 16)));
    this.box.style.setProperty("--sc-height", `${header.height}px`);
    this.enter(header.link);
    this.legend.hidden = !header.legend.length;
    const details = el("details", { open: this.memory.legend ?? true }, el("summary", {}, "Colours"));
    details.ontoggle = () => (this.memory.legend = details.open);
    for (const [colour, text] of header.legend) details.append(el("div", { class: "sc-entry" }, el("i", { style: `background:${colour}` }), el("span", {}, text)));
    this.legend.replaceChildren(details);
    this.axes.textContent = header.axes.join(" · ");
    this.note.textContent = header.note;
    this.note.hidden = !header.note;
    this.setTool(this.memory.tool, true);
    if (header.seen >= this.sent) this.busy = false;
    this.flush();
    this.points(this.session.points);
  }

  points(points) {
    if (!points || !this.header || points.version !== this.header.version) return;
    if (this.shared && this.shared.points?.version !== points.version) {
      this.shared.points = { version: points.version, count: points.count, x: points.x, y: points.y };
      this.shared.selected = null;
      tell(this.shared, "points", "scatter");
    }
    if (this.data?.version !== points.version && this.memory.dims !== points.dims) {
      this.memory.dims = points.dims;
      this.memory.view = fresh();
    }
    this.data = points;
    this.root.dataset.points = points.count;
    this.shared.colours = (i) => this.header.palette[this.colours[i]] ?? "#ffe14a";
    this.paint();
  }

  enter(name) {
    const shared = link(name);
    if (this.shared === shared) return;
    this.leave();
    this.shared = shared;
    this.linked = (event) => {
      this.told();
      this.paint();
      if (event.type === "selected" && event.detail.by !== "scatter") this.send();
    };
    shared.addEventListener("selected", this.linked);
  }

  // A map that stays must not go on selecting points that nobody sees.
  leave() {
    if (!this.shared) return;
    this.shared.removeEventListener("selected", this.linked);
    Object.assign(this.shared, { points: null, selected: null, hover: -1 });
    tell(this.shared, "points", "scatter");
    this.shared = null;
  }

  told() {
    const count = this.shared.selected ? this.shared.selected.reduce((n, v) => n + v, 0) : 0;
    this.count.hidden = !count;
    this.count.textContent = `${count.toLocaleString("en")} of ${this.data?.count.toLocaleString("en")} selected`;
    this.root.dataset.selected = count;
  }

  // ------------------------------------------------------------------ selection

  choose(selected) {
    this.shared.selected = selected;
    tell(this.shared, "selected", "scatter");
    this.send();
  }

  clear() {
    if (this.shared.selected) this.choose(null);
  }

  // Runs of neighbouring indices; one message in flight, the newest wins.
  send() {
    const selected = this.shared.selected;
    const runs = [];
    if (selected) {
      for (let i = 0; i < selected.length; i++) {
        if (!selected[i]) continue;
        const start = i;
        while (i < selected.length && selected[i]) i++;
        runs.push(start, i - start);
      }
    }
    this.waiting = { n: Date.now(), runs };
    this.flush();
  }

  flush() {
    if (!this.waiting || this.busy || !this.trigger) return;
    this.busy = true;
    this.sent = this.waiting.n;
    clearTimeout(this.timer);
    this.timer = setTimeout(() => {
      this.busy = false;
      this.flush();
    }, 5000);
    this.trigger("selected", this.waiting);
    this.waiting = null;
  }

  // ----------------------------------------------------------------------- view

  home() {
    this.memory.view = fresh();
    this.paint();
  }

  setTool(tool, quiet) {
    this.memory.tool = tool;
    for (const [name, button] of Object.entries(this.tools)) button.setAttribute("aria-pressed", String(name === tool));
    this.box.style.cursor = tool === "lasso" ? "crosshair" : "grab";
    if (!quiet) this.session.keep();
  }

  // Screen positions of all points, in canvas pixels; with three axes also their depth.
  project(width, height) {
    const { data, memory } = this;
    const { zoom, x: cx, y: cy, turn, tilt } = memory.view;
    const scale = 0.46 * Math.min(width, height) * zoom;
    const [mx, my] = [width / 2 + cx * scale, height / 2 + cy * scale];
    const n = data.count;
    if (this.sx?.length !== n) [this.sx, this.sy, this.sz] = [new Float32Array(n), new Float32Array(n), new Float32Array(n)];
    const { sx, sy, sz } = this;
    const p = data.points;
    if (data.dims === 2) {
      for (let i = 0; i < n; i++) {
        sx[i] = mx + scale * p[2 * i];
        sy[i] = my - scale * p[2 * i + 1];
      }
      return;
    }
    const [ca, sa, cb, sb] = [Math.cos(turn), Math.sin(turn), Math.cos(tilt), Math.sin(tilt)];
    for (let i = 0; i < n; i++) {
      const [x, y, z] = [p[3 * i], p[3 * i + 1], p[3 * i + 2]];
      const across = ca * x + sa * z;
      const depth = ca * z - sa * x;
      const deep = cb * depth + sb * y;
      const near = 1 / (1 + 0.25 * deep);
      sx[i] = mx + scale * across * near;
      sy[i] = my - scale * (cb * y - sb * depth) * near;
      sz[i] = deep;
    }
  }

  paint() {
    if (this.asked) return;
    this.asked = requestAnimationFrame(() => {
      this.asked = 0;
      if (!this.gone && this.data && this.header && this.box.clientWidth) this.draw();
    });
  }

  draw() {
    const ratio = window.devicePixelRatio || 1;
    const width = Math.round(this.box.clientWidth * ratio);
    const height = Math.round(this.box.clientHeight * ratio);
    for (const canvas of [this.canvas, this.ink]) if (canvas.width !== width || canvas.height !== height) [canvas.width, canvas.height] = [width, height];
    this.project(width, height);
    const context = this.canvas.getContext("2d");
    if (this.image?.width !== width || this.image?.height !== height) this.image = context.createImageData(width, height);
    const pixels = this.image.data;
    pixels.fill(0);
    const { data, colours, rgb } = this;
    const selected = this.shared.selected;
    const radius = ratio * (data.count > 20000 ? 1.4 : data.count > 5000 ? 1.8 : 2.6) * Math.min(2, Math.max(1, Math.sqrt(this.memory.view.zoom)));
    const order = data.dims === 3 ? this.byDepth() : null;
    // Unselected points first and faint, so that the selected ones stand out.
    for (const pass of selected ? [0, 1] : [1]) {
      const reach = pass && selected ? radius * 1.25 : radius;
      const opacity = pass ? 0.9 : 0.16;
      for (let k = 0; k < data.count; k++) {
        const i = order ? order[k] : k;
        if (selected && selected[i] !== pass) continue;
        const colour = rgb[colours[i]] ?? [128, 128, 128];
        splat(pixels, width, height, this.sx[i], this.sy[i], reach, colour, opacity);
      }
    }
    context.putImageData(this.image, 0, 0);
    this.root.dataset.drawn = Number(this.root.dataset.drawn ?? 0) + 1;
    this.root.dispatchEvent(new CustomEvent("sc-drawn", { detail: { at: performance.now() } }));
    this.drawLasso();
  }

  byDepth() {
    const bins = 512;
    const counts = new Uint32Array(bins + 1);
    const n = this.data.count;
    const bin = (z) => Math.max(0, Math.min(bins - 1, Math.floor((1.6 - z) * (bins / 3.2))));
    for (let i = 0; i < n; i++) counts[bin(this.sz[i]) + 1] += 1;
    for (let b = 0; b < bins; b++) counts[b + 1] += counts[b];
    const order = new Uint32Array(n);
    for (let i = 0; i < n; i++) order[counts[bin(this.sz[i])]++] = i;
    return order;
  }

  drawLasso() {
    const context = this.ink.getContext("2d");
    const ratio = window.devicePixelRatio || 1;
    context.setTransform(1, 0, 0, 1, 0, 0);
    context.clearRect(0, 0, this.ink.width, this.ink.height);
    context.setTransform(ratio, 0, 0, ratio, 0, 0);
    if (!this.ring || this.ring.length < 4) return;
    context.beginPath();
    for (let i = 0; i < this.ring.length; i += 2) context.lineTo(this.ring[i], this.ring[i + 1]);
    context.closePath();
    context.fillStyle = "rgba(255, 200, 40, .2)";
    context.fill();
    for (const [line, style] of [[3.5, "rgba(0,0,0,.55)"], [1.8, "#ffe14a"]]) {
      context.lineWidth = line;
      context.strokeStyle = style;
      context.stroke();
    }
  }

  // ------------------------------------------------------------------- gestures

  wire() {
    const listen = (type, handler, options) => this.box.addEventListener(type, (event) => handler.call(this, event), options);
    listen("pointerdown", this.down);
    listen("pointermove", this.move);
    listen("pointerup", this.up);
    listen("pointercancel", this.cancelled);
    listen("wheel", this.wheel, { passive: false });
    listen("keydown", this.key);
    listen("pointerleave", () => this.hover(-1));
  }

  at(event) {
    const box = this.box.getBoundingClientRect();
    return [event.clientX - box.left, event.clientY - box.top];
  }

  down(event) {
    if (!this.data || event.composedPath().some((node) => node.classList?.contains("tl-control"))) return;
    this.box.setPointerCapture(event.pointerId);
    const [x, y] = this.at(event);
    this.pointers.set(event.pointerId, { x, y, fromX: x, fromY: y, moved: false });
    this.ring = this.memory.tool === "lasso" && this.pointers.size === 1 && event.button === 0 ? [x, y] : null;
    this.drawLasso();
  }

  move(event) {
    const [x, y] = this.at(event);
    const pointer = this.pointers.get(event.pointerId);
    if (!pointer) return event.pointerType === "touch" ? undefined : this.hover(this.nearest(x, y, 8));
    const [dx, dy] = [x - pointer.x, y - pointer.y];
    if (Math.hypot(x - pointer.fromX, y - pointer.fromY) > MOVED) pointer.moved = true;
    if (this.pointers.size === 2) {
      const other = [...this.pointers.values()].find((p) => p !== pointer);
      const before = Math.hypot(pointer.x - other.x, pointer.y - other.y);
      this.zoom(Math.hypot(x - other.x, y - other.y) / Math.max(before, 1), (x + other.x) / 2, (y + other.y) / 2);
      this.shift(dx / 2, dy / 2);
    } else if (this.ring) {
      this.ring.push(x, y);
      this.drawLasso();
    } else if (this.data.dims === 3 && !event.shiftKey) {
      this.memory.view.turn += dx * 0.008;
      this.memory.view.tilt = Math.max(-1.5, Math.min(1.5, this.memory.view.tilt + dy * 0.008));
      this.paint();
    } else this.shift(dx, dy);
    Object.assign(pointer, { x, y });
  }

  up(event) {
    const pointer = this.pointers.get(event.pointerId);
    this.pointers.delete(event.pointerId);
    const ring = this.ring;
    this.ring = null;
    this.drawLasso();
    if (!pointer) return;
    this.session.keep();
    if (!pointer.moved) {
      const found = this.nearest(...this.at(event), event.pointerType === "touch" ? 18 : 8);
      if (found < 0) return this.clear();
      const one = new Uint8Array(this.data.count);
      one[found] = 1;
      this.choose(one);
    } else if (ring && ring.length > 5) this.choose(this.inside(ring));
  }

  cancelled(event) {
    this.pointers.delete(event.pointerId);
    this.ring = null;
    this.drawLasso();
  }

  inside(ring) {
    const ratio = window.devicePixelRatio || 1;
    const chosen = new Uint8Array(this.data.count);
    const [xs, ys] = [ring.filter((_, i) => i % 2 === 0), ring.filter((_, i) => i % 2)];
    const [west, east, north, south] = [Math.min(...xs), Math.max(...xs), Math.min(...ys), Math.max(...ys)];
    for (let i = 0; i < this.data.count; i++) {
      const x = this.sx[i] / ratio;
      const y = this.sy[i] / ratio;
      if (x < west || x > east || y < north || y > south) continue;
      let within = false;
      for (let a = 0, b = xs.length - 1; a < xs.length; b = a++)
        if (ys[a] > y !== ys[b] > y && x < ((xs[b] - xs[a]) * (y - ys[a])) / (ys[b] - ys[a]) + xs[a]) within = !within;
      chosen[i] = within ? 1 : 0;
    }
    return chosen;
  }

  nearest(x, y, reach) {
    const ratio = window.devicePixelRatio || 1;
    let [best, least] = [-1, reach * ratio];
    for (let i = 0; i < (this.sx?.length ?? 0); i++) {
      const distance = Math.hypot(this.sx[i] - x * ratio, this.sy[i] - y * ratio);
      if (distance < least) [best, least] = [i, distance];
    }
    return best;
  }

  // The point under the pointer is ringed on the map.
  hover(i) {
    if (!this.shared || this.shared.hover === i) return;
    this.shared.hover = i;
    tell(this.shared, "hover", "scatter");
  }

  wheel(event) {
    if (!this.data) return;
    event.preventDefault();
    this.zoom(Math.exp(-event.deltaY * 0.0015), ...this.at(event));
  }

  zoom(factor, x, y) {
    const { view } = this.memory;
    const { clientWidth: width, clientHeight: height } = this.box;
    const unit = 0.46 * Math.min(width, height);
    const zoom = Math.max(0.5, Math.min(60, view.zoom * factor));
    // What lies under the pointer stays there.
    const k = 1 / (unit * zoom) - 1 / (unit * view.zoom);
    view.x += (x - width / 2) * k;
    view.y += (y - height / 2) * k;
    view.zoom = zoom;
    this.paint();
  }

  shift(dx, dy) {
    const { view } = this.memory;
    const unit = 0.46 * Math.min(this.box.clientWidth, this.box.clientHeight) * view.zoom;
    view.x += dx / unit;
    view.y += dy / unit;
    this.paint();
  }

  key(event) {
    if (event.altKey || event.ctrlKey || event.metaKey) return;
    const { view } = this.memory;
    const turn = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] }[event.key];
    const key = event.key.toLowerCase();
    if (turn && this.data?.dims === 3) {
      view.turn += 0.1 * turn[0];
      view.tilt += 0.1 * turn[1];
      this.paint();
    } else if (turn) this.shift(-30 * turn[0], -30 * turn[1]);
    else if (key === "+" || key === "=") this.zoom(1.25, this.box.clientWidth / 2, this.box.clientHeight / 2);
    else if (key === "-") this.zoom(0.8, this.box.clientWidth / 2, this.box.clientHeight / 2);
    else if (key === "escape") this.clear();
    else if (key === "l") this.setTool("lasso");
    else if (key === "m") this.setTool("move");
    else return;
    event.preventDefault();
    event.stopPropagation();
  }
}

export const fresh = () => ({ zoom: 1, x: 0, y: 0, turn: 0.6, tilt: 0.35 });

// One disc, its edge softened by how far each pixel lies from it.
function splat(pixels, width, height, x, y, radius, [r, g, b], opacity) {
  const [x0, x1] = [Math.max(0, Math.floor(x - radius)), Math.min(width - 1, Math.ceil(x + radius))];
  const [y0, y1] = [Math.max(0, Math.floor(y - radius)), Math.min(height - 1, Math.ceil(y + radius))];
  for (let py = y0; py <= y1; py++) {
    for (let px = x0; px <= x1; px++) {
      const cover = Math.min(1, radius + 0.5 - Math.hypot(px + 0.5 - x, py + 0.5 - y)) * opacity;
      if (cover <= 0) continue;
      const at = 4 * (py * width + px);
      const under = (pixels[at + 3] / 255) * (1 - cover);
      const alpha = cover + under;
      pixels[at] = (r * cover + pixels[at] * under) / alpha;
      pixels[at + 1] = (g * cover + pixels[at + 1] * under) / alpha;
      pixels[at + 2] = (b * cover + pixels[at + 2] * under) / alpha;
      pixels[at + 3] = 255 * alpha;
    }
  }
}

// The cloud: points splatted into an image, two or three axes, pan, zoom, turn and lasso.
// Tens of thousands of discs are a few milliseconds of plain loops, with any graphics card or none.

import { el } from "../../shared/assets/dom.js";
import { within } from "../../shared/assets/geometry.js";
import { chosenCount, link, tell } from "../../shared/assets/links.js";
import { press, pressed } from "../../shared/assets/toolbar.js";
import { rgb } from "../../shared/assets/wire.js";
import { locale, t } from "../../shared/assets/words.js";
import { FILLED, farFirst, places, project, splat } from "./points.js";
import { fresh } from "./session.js";

/** @import { Ring, ScatterHeader, Trigger } from "../../messages.js" */
/** @import { Link } from "../../shared/assets/links.js" */
/** @import { Points, CloudSession } from "./session.js" */
/** @typedef {{ x: number, y: number, fromX: number, fromY: number, moved: boolean }} Pointer */

const MOVED = 5; // screen pixels within which a pointer has clicked
/** @type {[number, number, number]} */
const GREY = [128, 128, 128];

export class CloudView {
  /**
   * @param {CloudSession} session
   * @param {HTMLElement} root
   */
  constructor(session, root) {
    this.session = session;
    this.root = root;
    this.memory = session.memory;
    this.gone = false;
    /** @type {ScatterHeader | null} */
    this.header = null;
    /** @type {Points | null} */
    this.data = null;
    /** @type {Uint8Array} */
    this.colours = new Uint8Array(); // of each point, as places in the palette
    /** @type {[number, number, number][]} */
    this.palette = [];
    this.screen = places(0);
    /** @type {ImageData | null} */
    this.image = null;
    /** @type {Ring | null} */
    this.ring = null; // of the lasso
    /** @type {Link | null} */
    this.shared = null;
    /** @type {Map<number, Pointer>} */
    this.pointers = new Map();
    // Selections on their way: one message in flight, the newest wins.
    /** @type {Trigger | null} */
    this.trigger = null;
    /** @type {{ n: number, runs: number[] } | null} */
    this.waiting = null;
    this.busy = false;
    this.sent = 0;
    this.timer = 0;
    this.asked = 0;
    this.linked = (/** @type {Event} */ event) => this.hear(/** @type {CustomEvent<{ by: string }>} */ (event));
    this.canvas = el("canvas", { class: "sc-canvas" });
    this.ink = el("canvas", { class: "sc-canvas" });
    this.tools = {
      lasso: press("polygon", t("Lasso: draw around points (L)"), () => this.setTool("lasso")),
      move: press("pan", t("Move or turn (M)"), () => this.setTool("move")),
    };
    this.legend = el("div", { class: "tl-control sc-legend tl-plate" });
    this.axes = el("div", { class: "sc-axes tl-plate" });
    this.count = el("div", { class: "sc-count tl-plate", role: "status", hidden: true });
    this.box = el(
      "div",
      { class: "sc-box", tabIndex: 0, role: "application", "aria-label": t("Scatter of pixels") },
      this.canvas,
      this.ink,
      el(
        "div",
        { class: "tl-control sc-left" },
        el("div", { class: "tl-group" }, this.tools.lasso, this.tools.move),
        el(
          "div",
          { class: "tl-group" },
          press("home", t("Show all points"), () => this.home()),
          press("trash", t("Select nothing (Esc)"), () => this.clear()),
        ),
      ),
      this.legend,
      this.axes,
      this.count,
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

  /**
   * @param {ScatterHeader} header
   * @param {Uint8Array} colours
   */
  receive(header, colours) {
    this.header = header;
    this.colours = colours;
    this.palette = header.palette.map(rgb);
    this.box.style.setProperty("--sc-height", `${header.height}px`);
    this.enter(header.link);
    this.legend.hidden = !header.legend.length;
    const details = el("details", { open: this.memory.legend ?? true }, el("summary", {}, t("Colours")));
    details.ontoggle = () => (this.memory.legend = details.open);
    for (const [colour, text] of header.legend)
      details.append(
        el("div", { class: "sc-entry" }, el("i", { style: `background:${colour}` }), el("span", {}, text)),
      );
    this.legend.replaceChildren(details);
    this.axes.textContent = header.axes.join(" · ");
    this.note.textContent = header.note;
    this.note.hidden = !header.note;
    this.setTool(this.memory.tool, true);
    if (header.seen >= this.sent) this.busy = false;
    this.flush();
    this.points(this.session.points);
  }

  /** @param {Points | null} points */
  points(points) {
    const { header, shared } = this;
    if (!points || !header || !shared || points.version !== header.version) return;
    const { version, count, dims, x, y } = points;
    if (shared.points?.version !== version) {
      shared.points = { version, count, x, y };
      shared.selected = null;
      tell(shared, "points", "scatter");
    }
    if (this.data?.version !== version && this.memory.dims !== dims) {
      this.memory.dims = dims;
      this.memory.view = fresh();
    }
    this.data = points;
    this.root.dataset.points = `${count}`;
    shared.colours = (i) => header.palette[this.colours[i]] ?? "#ffe14a";
    this.paint();
  }

  /** @param {string} name */
  enter(name) {
    const shared = link(name);
    if (this.shared === shared) return;
    this.leave();
    this.shared = shared;
    shared.addEventListener("selected", this.linked);
  }

  /** @param {CustomEvent<{ by: string }>} event */
  hear(event) {
    this.told();
    this.paint();
    if (event.type === "selected" && event.detail.by !== "scatter") this.send();
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
    const count = this.shared ? chosenCount(this.shared) : 0;
    this.count.hidden = !count;
    this.count.textContent = t("{count} of {n} selected", {
      count: count.toLocaleString(locale()),
      n: this.data?.count.toLocaleString(locale()),
    });
    this.root.dataset.selected = `${count}`;
  }

  // ------------------------------------------------------------------ selection

  /** @param {Uint8Array | null} selected one byte a point */
  choose(selected) {
    if (!this.shared) return;
    this.shared.selected = selected;
    tell(this.shared, "selected", "scatter");
    this.send();
  }

  clear() {
    if (this.shared?.selected) this.choose(null);
  }

  // Runs of neighbouring indices.
  send() {
    const selected = this.shared?.selected;
    /** @type {number[]} */
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

  /**
   * @param {"lasso" | "move"} tool
   * @param {boolean} [quiet] whether it was chosen before
   */
  setTool(tool, quiet) {
    this.memory.tool = tool;
    pressed(this.tools, tool);
    this.box.style.cursor = tool === "lasso" ? "crosshair" : "grab";
    if (!quiet) this.session.keep();
  }

  paint() {
    if (this.asked) return;
    this.asked = requestAnimationFrame(() => {
      this.asked = 0;
      if (!this.gone && this.data && this.header && this.box.clientWidth) this.draw(this.data);
    });
  }

  /** @param {Points} data */
  draw(data) {
    const ratio = window.devicePixelRatio || 1;
    const width = Math.round(this.box.clientWidth * ratio);
    const height = Math.round(this.box.clientHeight * ratio);
    for (const canvas of [this.canvas, this.ink])
      if (canvas.width !== width || canvas.height !== height) [canvas.width, canvas.height] = [width, height];
    if (this.screen.x.length !== data.count) this.screen = places(data.count);
    const { screen } = this;
    project(data, this.memory.view, width, height, screen);
    const context = /** @type {CanvasRenderingContext2D} */ (this.canvas.getContext("2d"));
    if (this.image?.width !== width || this.image.height !== height)
      this.image = context.createImageData(width, height);
    const { image } = this;
    const pixels = image.data;
    pixels.fill(0);
    const { colours, palette } = this;
    const selected = this.shared?.selected;
    const radius =
      ratio *
      (data.count > 20000 ? 1.4 : data.count > 5000 ? 1.8 : 2.6) *
      Math.min(2, Math.max(1, Math.sqrt(this.memory.view.zoom)));
    const order = data.dims === 3 ? farFirst(screen.depth) : null;
    // Unselected points first and faint, so that the selected ones stand out.
    for (const pass of selected ? [0, 1] : [1]) {
      const reach = pass && selected ? radius * 1.25 : radius;
      const opacity = pass ? 0.9 : 0.16;
      for (let k = 0; k < data.count; k++) {
        const i = order ? order[k] : k;
        if (selected && selected[i] !== pass) continue;
        const colour = palette[colours[i]] ?? GREY;
        splat(pixels, width, height, screen.x[i], screen.y[i], reach, colour, opacity);
      }
    }
    context.putImageData(image, 0, 0);
    this.root.dataset.drawn = `${Number(this.root.dataset.drawn ?? 0) + 1}`;
    this.root.dispatchEvent(new CustomEvent("sc-drawn", { detail: { at: performance.now() } }));
    this.drawLasso();
  }

  drawLasso() {
    const context = /** @type {CanvasRenderingContext2D} */ (this.ink.getContext("2d"));
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
    context.lineWidth = 3.5;
    context.strokeStyle = "rgba(0,0,0,.55)";
    context.stroke();
    context.lineWidth = 1.8;
    context.strokeStyle = "#ffe14a";
    context.stroke();
  }

  // ------------------------------------------------------------------- gestures

  wire() {
    const { box } = this;
    box.addEventListener("pointerdown", (event) => this.down(event));
    box.addEventListener("pointermove", (event) => this.move(event));
    box.addEventListener("pointerup", (event) => this.up(event));
    box.addEventListener("pointercancel", (event) => this.cancelled(event));
    box.addEventListener("wheel", (event) => this.wheel(event), { passive: false });
    box.addEventListener("keydown", (event) => this.key(event));
    box.addEventListener("pointerleave", () => this.hover(-1));
  }

  /**
   * @param {MouseEvent} event
   * @returns {[number, number]}
   */
  at(event) {
    const box = this.box.getBoundingClientRect();
    return [event.clientX - box.left, event.clientY - box.top];
  }

  /** @param {PointerEvent} event */
  down(event) {
    const onControl = (/** @type {EventTarget} */ node) =>
      node instanceof Element && node.classList.contains("tl-control");
    if (!this.data || event.composedPath().some(onControl)) return;
    this.box.setPointerCapture(event.pointerId);
    const [x, y] = this.at(event);
    this.pointers.set(event.pointerId, { x, y, fromX: x, fromY: y, moved: false });
    this.ring = this.memory.tool === "lasso" && this.pointers.size === 1 && event.button === 0 ? [x, y] : null;
    this.drawLasso();
  }

  /** @param {PointerEvent} event */
  move(event) {
    const [x, y] = this.at(event);
    const pointer = this.pointers.get(event.pointerId);
    if (!pointer) return event.pointerType === "touch" ? undefined : this.hover(this.nearest(x, y, 8));
    const [dx, dy] = [x - pointer.x, y - pointer.y];
    if (Math.hypot(x - pointer.fromX, y - pointer.fromY) > MOVED) pointer.moved = true;
    if (this.pointers.size === 2) {
      const other = [...this.pointers.values()].find((p) => p !== pointer) ?? pointer;
      const before = Math.hypot(pointer.x - other.x, pointer.y - other.y);
      this.zoom(Math.hypot(x - other.x, y - other.y) / Math.max(before, 1), (x + other.x) / 2, (y + other.y) / 2);
      this.shift(dx / 2, dy / 2);
    } else if (this.ring) {
      this.ring.push(x, y);
      this.drawLasso();
    } else if (this.data?.dims === 3 && !event.shiftKey) {
      this.memory.view.turn += dx * 0.008;
      this.memory.view.tilt = Math.max(-1.5, Math.min(1.5, this.memory.view.tilt + dy * 0.008));
      this.paint();
    } else this.shift(dx, dy);
    Object.assign(pointer, { x, y });
  }

  /** @param {PointerEvent} event */
  up(event) {
    const pointer = this.pointers.get(event.pointerId);
    this.pointers.delete(event.pointerId);
    const ring = this.ring;
    this.ring = null;
    this.drawLasso();
    if (!pointer || !this.data) return;
    this.session.keep();
    if (!pointer.moved) {
      const found = this.nearest(...this.at(event), event.pointerType === "touch" ? 18 : 8);
      if (found < 0) return this.clear();
      const one = new Uint8Array(this.data.count);
      one[found] = 1;
      this.choose(one);
    } else if (ring && ring.length > 5) this.choose(this.inside(ring));
  }

  /** @param {PointerEvent} event */
  cancelled(event) {
    this.pointers.delete(event.pointerId);
    this.ring = null;
    this.drawLasso();
  }

  /** @param {Ring} ring in screen pixels */
  inside(ring) {
    const ratio = window.devicePixelRatio || 1;
    const chosen = new Uint8Array(this.screen.x.length);
    const [xs, ys] = [ring.filter((_, i) => i % 2 === 0), ring.filter((_, i) => i % 2)];
    const [west, east, north, south] = [Math.min(...xs), Math.max(...xs), Math.min(...ys), Math.max(...ys)];
    for (let i = 0; i < chosen.length; i++) {
      const x = this.screen.x[i] / ratio;
      const y = this.screen.y[i] / ratio;
      if (x < west || x > east || y < north || y > south) continue;
      chosen[i] = within(ring, x, y) ? 1 : 0;
    }
    return chosen;
  }

  /**
   * @param {number} x
   * @param {number} y
   * @param {number} reach
   * @returns {number} the nearest point within reach, or -1
   */
  nearest(x, y, reach) {
    const ratio = window.devicePixelRatio || 1;
    let [best, least] = [-1, reach * ratio];
    for (let i = 0; i < this.screen.x.length; i++) {
      const distance = Math.hypot(this.screen.x[i] - x * ratio, this.screen.y[i] - y * ratio);
      if (distance < least) [best, least] = [i, distance];
    }
    return best;
  }

  /**
   * The point under the pointer is ringed on the map.
   * @param {number} i
   */
  hover(i) {
    if (!this.shared || this.shared.hover === i) return;
    this.shared.hover = i;
    tell(this.shared, "hover", "scatter");
  }

  /** @param {WheelEvent} event */
  wheel(event) {
    if (!this.data) return;
    event.preventDefault();
    this.zoom(Math.exp(-event.deltaY * 0.0015), ...this.at(event));
  }

  /**
   * @param {number} factor
   * @param {number} x what lies there stays there
   * @param {number} y
   */
  zoom(factor, x, y) {
    const { view } = this.memory;
    const { clientWidth: width, clientHeight: height } = this.box;
    const unit = FILLED * Math.min(width, height);
    const zoom = Math.max(0.5, Math.min(60, view.zoom * factor));
    const k = 1 / (unit * zoom) - 1 / (unit * view.zoom);
    view.x += (x - width / 2) * k;
    view.y += (y - height / 2) * k;
    view.zoom = zoom;
    this.paint();
  }

  /**
   * @param {number} dx
   * @param {number} dy
   */
  shift(dx, dy) {
    const { view } = this.memory;
    const unit = FILLED * Math.min(this.box.clientWidth, this.box.clientHeight) * view.zoom;
    view.x += dx / unit;
    view.y += dy / unit;
    this.paint();
  }

  /** @param {KeyboardEvent} event */
  key(event) {
    if (event.altKey || event.ctrlKey || event.metaKey) return;
    const { view } = this.memory;
    /** @type {Record<string, [number, number]>} */
    const turns = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
    const turn = turns[event.key];
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

// Shows a picture that moves: it plays once, can be stopped and gone through frame by frame, and stands still for those who
// asked their system for less motion.

import { el } from "../../shared/assets/dom.js";
import { attributes, between, SHAPES } from "./motion.js";

/** @import { LessonPictureHeader, MovingPicture } from "../../messages.js" */

const REST = 1700; // milliseconds that a frame stands
const MOVE = 1100; // milliseconds from one to the next
const SVG = "http://www.w3.org/2000/svg";

export class Player {
  /** @param {(name: string) => string} word */
  constructor(word) {
    this.word = word;
    this.box = el("figure", { class: "lesson-picture", hidden: true });
    this.still = matchMedia("(prefers-reduced-motion: reduce)");
    this.moment = 0;
    this.playing = false;
    this.frame = 0;
    this.began = 0;
    this.name = "";
    /** @type {MovingPicture | null} */
    this.picture = null;
  }

  destroy() {
    cancelAnimationFrame(this.frame);
  }

  /**
   * @param {LessonPictureHeader} header
   * @param {MovingPicture} picture
   */
  fill(header, picture) {
    const known = JSON.stringify([header.name, header.captions]);
    if (known === this.name) return;
    this.destroy();
    Object.assign(this, { name: known, header, picture, moment: 0 });
    const { width, height, marks, palette } = picture;
    const svg = document.createElementNS(SVG, "svg");
    svg.setAttribute("viewBox", `0 0 ${width} ${height}`);
    svg.setAttribute("role", "img");
    svg.setAttribute("aria-label", header.alt);
    this.marks = marks.map(([kind, word]) => {
      const mark = document.createElementNS(SVG, SHAPES[kind][0]);
      if (kind === "text") mark.textContent = header.words[word] ?? "";
      svg.append(mark);
      return mark;
    });
    this.palette = palette;
    this.caption = el("figcaption", { "aria-live": "off" });
    this.captions = header.captions;
    const frames = picture.frames.length;
    this.slider = el("input", {
      type: "range",
      min: 0,
      max: frames - 1,
      step: 1,
      value: 0,
      "aria-label": this.word("moment"),
      oninput: () => this.go(Number(this.slider?.value)),
    });
    this.button = el("button", { type: "button", class: "tl-button", onclick: () => this.toggle() });
    this.box.replaceChildren(svg, this.caption, el("div", { class: "lesson-play" }, this.button, this.slider));
    this.draw();
    if (!this.still.matches && frames > 1) this.play();
  }

  toggle() {
    if (this.playing) this.stop();
    else this.play();
  }

  play() {
    const last = (this.picture?.frames.length ?? 1) - 1;
    if (this.moment >= last) this.moment = 0;
    this.playing = true;
    this.began = performance.now() - Math.floor(this.moment) * (REST + MOVE);
    const step = (/** @type {number} */ now) => {
      const passed = Math.max(0, now - this.began);
      const whole = Math.floor(passed / (REST + MOVE));
      const moving = Math.max(0, passed - whole * (REST + MOVE) - REST) / MOVE;
      this.moment = Math.min(whole + (this.still.matches ? Math.round(moving) : moving), last);
      this.draw();
      if (this.moment >= last) this.stop();
      else this.frame = requestAnimationFrame(step);
    };
    this.frame = requestAnimationFrame(step);
  }

  stop() {
    cancelAnimationFrame(this.frame);
    this.playing = false;
    this.moment = Math.round(this.moment);
    this.draw();
  }

  /** @param {number} moment */
  go(moment) {
    cancelAnimationFrame(this.frame);
    this.playing = false;
    this.moment = moment;
    this.draw();
  }

  draw() {
    const { picture, marks, palette = [], slider, caption, button } = this;
    if (!picture || !marks || !slider || !caption || !button) return;
    between(picture, this.moment).forEach((values, n) => {
      const wanted = attributes(picture.marks[n], values, palette);
      for (const [name, value] of Object.entries(wanted))
        if (marks[n].getAttribute(name) !== value) marks[n].setAttribute(name, value);
    });
    const frame = Math.round(this.moment);
    slider.value = String(frame);
    slider.setAttribute("aria-valuetext", this.captions?.[frame] ?? "");
    caption.textContent = this.captions?.[frame] ?? "";
    const end = frame >= picture.frames.length - 1;
    button.textContent = this.word(this.playing ? "stop" : end ? "again" : "play");
  }
}

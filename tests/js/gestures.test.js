import assert from "node:assert/strict";
import { test } from "node:test";

import { Gestures } from "../../tessera_core/ui/components/shared/assets/gestures.js";
import { until } from "./page.js";

/** @import { Draft } from "../../tessera_core/ui/components/shared/assets/gestures.js" */

Object.assign(globalThis, { requestAnimationFrame: (/** @type {() => void} */ draw) => setTimeout(draw, 0) || 1 });

/** A map one unit a screen pixel, and what a person does to it. */
class Hand {
  /** @type {any[]} */
  done = [];
  drawn = 0;

  /** @param {string} tool */
  constructor(tool) {
    const { done } = this;
    const hand = this;
    this.box = Object.assign(new EventTarget(), { classList: { remove() {} }, setPointerCapture() {} });
    const stage = {
      xy: (/** @type {any} */ event) => [event.clientX, event.clientY],
      toScreen: ([x, y]) => ({ x, y, distanceTo: (/** @type {any} */ p) => Math.hypot(p.x - x, p.y - y) }),
    };
    /** @type {any} */
    this.view = {
      box: this.box,
      stages: [stage],
      finisher: { hidden: true },
      gone: false,
      onMap: (/** @type {any} */ event) => !event.onControl,
      stageAt: () => stage,
      pointed: (/** @type {any} */ event) => (hand.over = event !== null),
    };
    this.gestures = new (class extends Gestures {
      tool = tool;
      mayDraw() {
        return tool !== "click";
      }
      commit(/** @type {Draft} */ draft, /** @type {boolean} */ moved) {
        done.push(["commit", draft.tool, moved, draft.xy.length]);
      }
      complete(/** @type {number[][]} */ corners) {
        done.push(["complete", corners.length]);
      }
      clicked() {
        done.push(["clicked"]);
      }
      givenUp() {
        done.push(["given up"]);
      }
      draw() {
        hand.drawn += 1;
      }
    })(this.view);
  }

  /** @param {string} type @param {number} [x] @param {number} [y] @param {any} [more] */
  point(type, x = 0, y = 0, more = {}) {
    const event = Object.assign(new Event(type), {
      clientX: x,
      clientY: y,
      pointerId: 1,
      pointerType: "mouse",
      button: 0,
      ...more,
    });
    this.box.dispatchEvent(event);
    return this;
  }

  /** @param {number} x @param {number} y @param {any} [more] */
  click(x, y, more) {
    return this.point("pointerdown", x, y, more).point("pointerup", x, y, more);
  }
}

test("a drag draws a box by two corners, however many moves it takes", () => {
  const hand = new Hand("box").point("pointerdown", 10, 10);
  for (let i = 0; i < 5; i++) hand.point("pointermove", 20 + i, 30);
  hand.point("pointerup", 24, 30);
  assert.deepEqual(hand.done, [["commit", "box", true, 2]]);
  assert.equal(hand.gestures.draft, null);
});

test("a pointer that hardly moved has clicked", () => {
  assert.deepEqual(new Hand("click").click(5, 5).done, [["clicked"]]);
  const near = new Hand("click").point("pointerdown", 5, 5).point("pointermove", 9, 8).point("pointerup", 9, 8);
  assert.deepEqual(near.done, [["clicked"]]);
  const far = new Hand("click").point("pointerdown", 5, 5).point("pointermove", 15, 5).point("pointerup", 5, 5);
  assert.deepEqual(far.done, [], "a drag that comes back is no click");
});

test("controls and other buttons are not the map", () => {
  assert.deepEqual(new Hand("click").click(5, 5, { onControl: true }).done, []);
  assert.deepEqual(new Hand("click").click(5, 5, { button: 2 }).done, []);
  assert.deepEqual(new Hand("box").point("pointerdown", 1, 1, { button: 1 }).gestures.draft, null);
});

test("a polygon by clicks closes on its first corner", () => {
  const hand = new Hand("polygon").click(0, 0).click(100, 0).click(100, 100);
  assert.equal(hand.view.finisher.hidden, false);
  hand.click(5, 5);
  assert.deepEqual(hand.done, [["complete", 3]]);
  assert.equal(hand.view.finisher.hidden, true);
  assert.equal(hand.gestures.corners, null);
});

test("a finger needs not be as exact as a mouse", () => {
  const touch = { pointerType: "touch" };
  const corners = (/** @type {any} */ more) =>
    new Hand("polygon").click(0, 0, more).click(100, 0, more).click(100, 100, more).click(12, 12, more).done;
  assert.deepEqual(corners(touch), [["complete", 3]]);
  assert.deepEqual(corners({}), []);
});

test("a double click finishes, and its second click is no corner", () => {
  const hand = new Hand("polygon").click(0, 0).click(100, 0).click(100, 100).click(101, 101);
  hand.point("dblclick", 101, 101);
  assert.deepEqual(hand.done, [["complete", 3]]);
});

test("two corners are no polygon", () => {
  const hand = new Hand("polygon").click(0, 0).click(100, 0);
  hand.gestures.finish();
  assert.deepEqual(hand.done, []);
  assert.equal(hand.gestures.corners, null);
});

test("a polygon can be drawn around", () => {
  const hand = new Hand("polygon").point("pointerdown", 0, 0);
  for (const [x, y] of [
    [50, 0],
    [50, 50],
    [0, 50],
  ])
    hand.point("pointermove", x, y);
  hand.point("pointerup", 0, 50);
  assert.deepEqual(hand.done, [["commit", "polygon", true, 4]]);
});

test("a second finger takes a stroke back, and neither is a click", () => {
  const [one, two] = [{ pointerType: "touch" }, { pointerType: "touch", pointerId: 2 }];
  const hand = new Hand("box").point("pointerdown", 0, 0, one).point("pointermove", 30, 30, one);
  hand.point("pointerdown", 60, 60, two);
  assert.equal(hand.gestures.draft, null);
  hand.point("pointerup", 30, 30, one).point("pointerup", 60, 60, two);
  assert.deepEqual(hand.done, [["given up"]]);
  assert.equal(hand.gestures.multi, false);
  const taps = new Hand("click").point("pointerdown", 0, 0, one).point("pointerdown", 60, 60, two);
  taps.point("pointerup", 0, 0, one).point("pointerup", 60, 60, two);
  assert.deepEqual(taps.done, [["given up"]]);
  taps.click(7, 7, one);
  assert.deepEqual(taps.done.at(-1), ["clicked"]);
});

test("a cancelled pointer leaves nothing half done, and the next click counts", () => {
  const hand = new Hand("box").point("pointerdown", 0, 0).point("pointermove", 50, 50).point("pointercancel");
  assert.deepEqual(hand.done, [["given up"]]);
  assert.equal(hand.gestures.pointers.size, 0);
  hand.point("pointerdown", 0, 0).point("pointermove", 50, 50).point("pointerup", 50, 50);
  assert.deepEqual(hand.done.at(-1), ["commit", "box", true, 2]);
});

test("giving up forgets the corners", () => {
  const hand = new Hand("polygon").click(0, 0).click(100, 0).click(100, 100);
  hand.gestures.abandon();
  assert.equal(hand.gestures.corners, null);
  assert.equal(hand.view.finisher.hidden, true);
  hand.gestures.finish();
  assert.ok(!hand.done.some(([what]) => what === "complete"));
});

test("only a mouse or a pen hovers", () => {
  const hand = new Hand("click").point("pointermove", 5, 5);
  assert.ok(hand.over);
  hand.point("pointermove", 5, 5, { pointerType: "touch" });
  assert.ok(!hand.over);
  hand.point("pointermove", 5, 5, { onControl: true });
  assert.ok(!hand.over);
  hand.point("pointermove", 5, 5).point("pointerleave");
  assert.ok(!hand.over);
});

test("many moves within one frame are drawn once, and nothing after the map is gone", async () => {
  const hand = new Hand("polygon").point("pointerdown", 0, 0);
  for (let i = 0; i < 20; i++) hand.point("pointermove", 10 * i, 0);
  await until(() => hand.drawn);
  assert.equal(hand.drawn, 1);
  hand.view.gone = true;
  hand.point("pointermove", 1, 1);
  await new Promise((done) => setTimeout(done, 20));
  assert.equal(hand.drawn, 1);
});

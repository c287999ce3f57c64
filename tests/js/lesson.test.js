import assert from "node:assert/strict";
import { readdirSync, readFileSync } from "node:fs";
import { test } from "node:test";

import "./page.js";

import { within } from "../../tessera_core/ui/components/lesson/assets/finding.js";
import { attributes, between, SHAPES } from "../../tessera_core/ui/components/lesson/assets/motion.js";
import { Spotlight } from "../../tessera_core/ui/components/lesson/assets/spotlight.js";
import { BESIDE_MAP, ON_MAP, USED } from "../../tessera_core/ui/components/shared/assets/used.js";

/** @type {import("../../tessera_core/ui/components/messages.js").MovingPicture} */
const picture = {
  width: 100,
  height: 50,
  palette: ["#000000", "#ffffff"],
  marks: [["dot", ""]],
  frames: [[[0, 10, 2, 0, 0]], [[100, 10, 2, 1, 1]], [[100, 50, 4, 1, 1]]],
};

test("marks move from frame to frame, and their colour changes half-way", () => {
  assert.deepEqual(between(picture, 0), [[0, 10, 2, 0, 0]]);
  assert.deepEqual(between(picture, 0.5), [[50, 10, 2, 0.5, 1]]);
  assert.deepEqual(between(picture, 1), [[100, 10, 2, 1, 1]]);
  assert.deepEqual(between(picture, 9), [[100, 50, 4, 1, 1]]);
  assert.deepEqual(between(picture, -1), between(picture, 0));
  let before = -1;
  for (let moment = 0; moment <= 1; moment += 0.05) {
    const [[x, , , , colour]] = between(picture, moment);
    assert.ok(x >= before && Number.isInteger(colour));
    before = x;
  }
});

test("values become attributes of the mark's shape", () => {
  assert.deepEqual(attributes(["dot", ""], [1, 2, 3, 0.5, 1], picture.palette), {
    cx: "1.00",
    cy: "2.00",
    r: "3.00",
    opacity: "0.500",
    fill: "#ffffff",
  });
  assert.equal(attributes(["line", ""], [1, 2, 3, 4, 5, 1, 0], picture.palette).stroke, "#000000");
});

test("every shipped picture has the values that the browser draws", () => {
  const shipped = new URL("../../tessera_core/lessons/shipped/", import.meta.url);
  const files = readdirSync(shipped, { recursive: true }).filter((name) => String(name).endsWith(".json"));
  assert.ok(files.length >= 6);
  for (const name of files) {
    const shown = JSON.parse(readFileSync(new URL(String(name), shipped), "utf-8"));
    for (let moment = 0; moment < shown.frames.length; moment += 0.5)
      between(shown, moment).forEach((values, n) => {
        const [kind] = shown.marks[n];
        assert.equal(values.length, SHAPES[/** @type {"dot"} */ (kind)][1].length + 2, `${name} ${kind}`);
        const drawn = attributes(shown.marks[n], values, shown.palette);
        assert.ok(
          Object.values(drawn).every((text) => text !== "NaN" && text !== undefined),
          `${name} ${kind}`,
        );
      });
  }
});

test("only what is in sight is ringed", () => {
  const room = { width: 100, height: 80 };
  assert.deepEqual(within({ left: -10, top: 10, right: 50, bottom: 200 }, room), {
    left: 0,
    top: 10,
    right: 50,
    bottom: 80,
  });
  assert.equal(within({ left: 10, top: 90, right: 50, bottom: 200 }, room), null);
  assert.equal(within({ left: 98, top: 10, right: 150, bottom: 20 }, room), null);
});

test("what is pressed counts by its selector, also where the ring has not found it yet", () => {
  /** @type {string[]} */
  const done = [];
  const spotlight = Object.assign(Object.create(Spotlight.prototype), {
    at: null,
    selector: "[data-tour='label.places']",
    target: "label.places",
    did: (/** @type {string} */ what, /** @type {string} */ target) => done.push(`${what} ${target}`),
  });
  const pressed = (/** @type {string} */ name) =>
    spotlight.use({
      composedPath: () => [
        Object.assign(new Element(), { matches: (/** @type {string} */ selector) => selector.includes(`'${name}'`) }),
        document,
      ],
    });
  pressed("label.score");
  assert.deepEqual(done, []);
  pressed("label.places");
  assert.deepEqual(done, ["used label.places"]);
  // A key, or a button on the map, does the same.
  done.length = 0;
  for (const target of ["label.layer.classes", "label.places"])
    spotlight.usedElsewhere(new CustomEvent(USED, { detail: target }));
  assert.deepEqual(done, ["used label.places"]);
});

test("on a map counts a place of the region, not a button nor what lies beside it", () => {
  /** @type {string[]} */
  const done = [];
  const spotlight = Object.assign(Object.create(Spotlight.prototype), {
    selector: ".tl-box",
    target: "explore.map",
    did: (/** @type {string} */ what, /** @type {string} */ target) => done.push(`${what} ${target}`),
    missed: () => done.push("missed"),
  });
  const pressed = (/** @type {string[]} */ ...names) =>
    spotlight.use({
      composedPath: () =>
        names.map((name) =>
          Object.assign(new Element(), {
            matches: (/** @type {string} */ selector) => selector.split(", ").includes(name),
          }),
        ),
    });
  pressed("button", ".tl-box");
  pressed(".tl-box", ".tv-clicks");
  assert.deepEqual(done, []);
  pressed(".tl-box");
  spotlight.usedElsewhere(new CustomEvent(USED, { detail: BESIDE_MAP }));
  spotlight.usedElsewhere(new CustomEvent(USED, { detail: ON_MAP }));
  assert.deepEqual(done, ["used explore.map", "missed", "used explore.map"]);
});

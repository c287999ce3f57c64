import assert from "node:assert/strict";
import { test } from "node:test";

import { Outbox } from "../../tessera_core/ui/components/shared/assets/outbox.js";
import { until } from "./page.js";

/** @param {number} [resend] */
function connected(resend = 60_000) {
  /** @type {any[]} */
  const messages = [];
  const outbox = new Outbox(resend);
  outbox.trigger = (name, value) => messages.push({ name, ...structuredClone(/** @type {any} */ (value)) });
  return { outbox, messages };
}

test("events are numbered, and those not acknowledged go with the next message", () => {
  const { outbox, messages } = connected();
  for (const names of [["a"], ["b"], ["c"]]) outbox.push({ kind: "look", names });
  assert.equal(messages.length, 1);
  outbox.answered({ epoch: outbox.epoch, seen: 1 });
  assert.deepEqual(
    messages[1].events.map((/** @type {any} */ event) => event.id),
    [2, 3],
  );
  outbox.answered({ epoch: outbox.epoch, seen: 3 });
  assert.equal(messages.length, 2);
  assert.deepEqual(outbox.pending, []);
});

test("an answer to another page's events is none", () => {
  const { outbox, messages } = connected();
  outbox.push({ kind: "look", names: ["a"] });
  outbox.answered({ epoch: "elsewhere", seen: 9 });
  assert.equal(outbox.pending.length, 1);
  assert.equal(messages.length, 1);
  outbox.answered({ epoch: outbox.epoch, seen: 1 });
});

test("a lost message is repeated until it is acknowledged", async () => {
  const { outbox, messages } = connected(10);
  outbox.push({ kind: "click", xy: [[1, 2]], target: "" });
  await until(() => messages.length > 2);
  assert.deepEqual(messages[2].events, messages[0].events);
  outbox.answered({ epoch: outbox.epoch, seen: 1 });
  const sent = messages.length;
  await new Promise((done) => setTimeout(done, 50));
  assert.equal(messages.length, sent);
});

test("without a way to send, events wait", () => {
  const outbox = new Outbox();
  outbox.push({ kind: "look", names: [] });
  assert.equal(outbox.busy, false);
  /** @type {any[]} */
  const messages = [];
  outbox.trigger = (_, value) => messages.push(value);
  outbox.flush();
  assert.equal(messages.length, 1);
  outbox.answered({ epoch: outbox.epoch, seen: 1 });
});

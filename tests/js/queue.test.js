import assert from "node:assert/strict";
import { test } from "node:test";

import { until } from "./page.js";

const { Queue } = await import("../../tessera_core/ui/components/label_map/assets/queue.js");

const QUICK = { resend: 30, away: 30, turn: 6 };

/** A queue whose messages are kept, as the server would get them. @param {Partial<typeof QUICK>} [times] */
function connected(times = {}) {
  /** @type {any[]} */
  const messages = [];
  const queue = new Queue(() => {}, { confidence: false, selected: "" }, { ...QUICK, resend: 60_000, ...times });
  queue.connect((name, value) => messages.push({ name, ...structuredClone(/** @type {any} */ (value)) }));
  return { queue, messages };
}

/** @param {InstanceType<typeof Queue>} queue @param {{ ack?: number, seen?: number, epoch?: string }} answer */
const answer = (queue, { ack = queue.ack, seen = queue.sent, epoch = queue.epoch }) =>
  queue.answered({ epoch, ack, seen });

test("operations are numbered from 1 and wait until there is a way to send them", async () => {
  const queue = new Queue(() => {}, {}, QUICK);
  assert.equal(queue.push({ do: "undo" }), 1);
  assert.equal(queue.push({ do: "redo" }), 2);
  assert.equal(queue.sent, 0);
  /** @type {any[]} */
  const messages = [];
  queue.connect((_, value) => messages.push(structuredClone(value)));
  queue.flush();
  await until(() => messages.length);
  assert.deepEqual(
    messages[0].ops.map((/** @type {any} */ op) => [op.id, op.do]),
    [
      [1, "undo"],
      [2, "redo"],
    ],
  );
  assert.match(messages[0].epoch, /^[a-z0-9]{9}$/);
  answer(queue, { ack: 2 });
});

test("one message is in flight, and what was done meanwhile goes with the next one", async () => {
  const { queue, messages } = connected();
  queue.push({ do: "undo" });
  await until(() => messages.length === 1);
  queue.push({ do: "redo" });
  queue.push({ do: "undo" });
  assert.equal(messages.length, 1);
  assert.ok(queue.busy);
  assert.ok(answer(queue, { ack: 1 }));
  await until(() => messages.length === 2);
  assert.deepEqual(
    messages[1].ops.map((/** @type {any} */ op) => op.id),
    [2, 3],
  );
  assert.equal(messages[1].n, 2);
  answer(queue, { ack: 3 });
  assert.deepEqual(queue.pending, []);
  assert.equal(queue.busy, false);
});

test("what the server has not taken is said again, with the same numbers", async () => {
  const { queue, messages } = connected({ resend: 30 });
  queue.push({ do: "undo" });
  await until(() => messages.length >= 2, "the lost message was not repeated");
  assert.deepEqual(messages[1].ops, messages[0].ops);
  assert.equal(messages[1].n, messages[0].n + 1);
  answer(queue, { ack: 1 });
  const sent = queue.sent;
  await new Promise((done) => setTimeout(done, 100));
  assert.equal(queue.sent, sent, "an acknowledged message was repeated");
});

test("an answer that is older than another changes nothing back", async () => {
  const { queue } = connected();
  for (let i = 0; i < 3; i++) queue.push({ do: "undo" });
  await until(() => queue.sent === 1);
  answer(queue, { ack: 3, seen: 1 });
  answer(queue, { ack: 1, seen: 0 });
  assert.equal(queue.ack, 3);
  assert.equal(queue.seen, 1);
  assert.deepEqual(queue.pending, []);
});

test("an answer to another page's operations takes nothing away", async () => {
  const { queue } = connected();
  queue.push({ do: "undo" });
  await until(() => queue.sent === 1);
  assert.equal(answer(queue, { ack: 99, epoch: "elsewhere" }), false);
  assert.equal(queue.pending.length, 1);
  assert.ok(queue.busy);
  answer(queue, { ack: 1 });
});

test("a wish is sent once, and again only when it changes", async () => {
  const { queue, messages } = connected();
  queue.ask({ confidence: false });
  assert.equal(messages.length, 0, "what is wished for already needs no message");
  queue.ask({ confidence: true });
  await until(() => messages.length === 1);
  answer(queue, {});
  queue.ask({ confidence: true });
  assert.equal(messages.length, 1);
  queue.ask({ selected: "a-1" });
  await until(() => messages.length === 2);
  assert.deepEqual(messages[1].want, { confidence: true, selected: "a-1" });
  answer(queue, {});
});

test("an operation overtakes a mere wish, and no other operation", async () => {
  const { queue, messages } = connected();
  queue.ask({ selected: "a-1" });
  await until(() => messages.length === 1);
  queue.ask({ selected: "a-2" });
  assert.equal(messages.length, 1, "a wish overtook a wish");
  queue.push({ do: "undo" });
  await until(() => messages.length === 2, "the operation waited for the answer to a wish");
  assert.deepEqual(messages[1].want, { confidence: false, selected: "a-2" });
  queue.push({ do: "redo" });
  assert.equal(messages.length, 2);
  answer(queue, { ack: 0, seen: 1 });
  assert.equal(messages.length, 2, "the answer to the wish was taken for that to the operation");
  answer(queue, { ack: 1, seen: 2 });
  await until(() => messages.length === 3);
  assert.deepEqual(
    messages[2].ops.map((/** @type {any} */ op) => op.id),
    [2],
  );
  answer(queue, { ack: 2 });
  assert.equal(queue.busy, false);
});

test("two queues take turns, so that each message is a task of its own", async () => {
  const [first, second] = [connected(), connected()];
  first.queue.push({ do: "undo" });
  await until(() => first.messages.length === 1);
  second.queue.push({ do: "redo" });
  assert.equal(second.messages.length, 0, "both were sent within one task");
  await until(() => second.messages.length === 1);
  answer(first.queue, { ack: 1 });
  answer(second.queue, { ack: 1 });
});

test("nothing is said while the page is being left, and nothing is lost", async () => {
  const { queue, messages } = connected();
  location.pathname = "/export";
  queue.push({ do: "undo" });
  await new Promise((done) => setTimeout(done, 40));
  assert.equal(messages.length, 0);
  location.pathname = "/label";
  await until(() => messages.length === 1, "what was kept back was never sent");
  answer(queue, { ack: 1 });
});

test("everybody hears of a new operation, and since when the oldest waits", () => {
  let heard = 0;
  const queue = new Queue(() => heard++, {}, QUICK);
  const before = Date.now();
  queue.push({ do: "undo" });
  queue.push({ do: "undo" });
  assert.equal(heard, 2);
  assert.ok(queue.oldest >= before && queue.oldest <= Date.now());
});

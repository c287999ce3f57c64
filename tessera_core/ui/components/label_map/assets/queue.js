// Operations on their way to the server: numbered, repeated until acknowledged, one message with any in flight.

import { newEpoch } from "../../shared/assets/wire.js";

/** @import { Answer, Operation, Trigger } from "../../messages.js" */

// Milliseconds: until a message counts as lost, for which a page that was left stays silent, between two queues' messages.
const TIMES = { resend: 5000, away: 3000, turn: 20 };

// Streamlit gathers whatever is triggered within one task and runs a single fragment for all of it: what is meant for another
// fragment is taken in, but nobody draws the answer. So queues take turns.
/** @type {object | null} */
let turn = null;
let over = 0;

// A message of a page that is being left would stop the run that draws the next one, and leave that half drawn.
let leaving = -Infinity;
document.addEventListener(
  "click",
  ({ target }) => {
    if (target instanceof Element && target.closest("a[href]")) leaving = performance.now();
  },
  true,
);

/** @template {object} W what the page wishes to know, said with every message */
export class Queue {
  /**
   * @param {() => void} changed
   * @param {W} want
   * @param {Partial<typeof TIMES>} [times]
   */
  constructor(changed, want, times = {}) {
    this.epoch = newEpoch();
    this.next = 1;
    /** @type {Operation[]} */
    this.pending = [];
    this.sent = 0; // number of the last message
    this.seen = 0; // number of the last message the server answered
    this.carried = 0; // operations in the last message
    this.ack = 0;
    this.want = want;
    this.wantSent = JSON.stringify(want);
    /** @type {Trigger | null} */
    this.trigger = null;
    this.page = location.pathname;
    this.changed = changed;
    this.oldest = 0;
    this.times = { ...TIMES, ...times };
    this.timer = 0;
    this.later = 0;
  }

  /**
   * From now on messages go this way, from the page that is open now.
   * @param {Trigger} trigger
   */
  connect(trigger) {
    this.trigger = trigger;
    this.page = location.pathname;
  }

  /**
   * @param {Operation} op
   * @returns {number} its number
   */
  push(op) {
    const id = this.next++;
    op.id = id;
    if (!this.pending.length) this.oldest = Date.now();
    this.pending.push(op);
    this.flush();
    this.changed();
    return id;
  }

  /** @param {Partial<W>} want */
  ask(want) {
    this.want = { ...this.want, ...want };
    this.flush();
  }

  get away() {
    return location.pathname !== this.page || performance.now() - leaving < this.times.away;
  }

  get busy() {
    return this.sent > this.seen;
  }

  flush() {
    const want = JSON.stringify(this.want);
    // A click does not wait for the answer to a mere wish.
    const waits = this.busy && (this.carried > 0 || !this.pending.length);
    if (!this.trigger || waits || (!this.pending.length && want === this.wantSent)) return;
    const wait = this.away ? this.times.away / 3 : turn && turn !== this ? this.times.turn : 0;
    if (wait) {
      clearTimeout(this.later);
      this.later = setTimeout(() => this.flush(), wait);
      return;
    }
    this.wantSent = want;
    this.sent += 1;
    this.carried = this.pending.length;
    clearTimeout(this.timer);
    this.timer = setTimeout(() => this.resend(), this.times.resend);
    turn = this;
    clearTimeout(over);
    over = setTimeout(() => (turn = null), this.times.turn / 2);
    this.trigger("ops", { epoch: this.epoch, n: this.sent, want: this.want, ops: this.pending });
  }

  // A message or its answer was lost, or the server started anew: say everything again.
  resend() {
    if (!this.busy && !this.pending.length) return;
    this.seen = this.sent;
    this.wantSent = "";
    this.flush();
  }

  /**
   * The server's answer. Answers to another epoch (an earlier page of the same session) say nothing about this one.
   * @param {Answer} header
   */
  answered({ epoch, ack, seen }) {
    if (epoch !== this.epoch) {
      if (this.pending.length && !this.busy) this.flush();
      return false;
    }
    if (ack > this.ack) {
      this.ack = ack;
      this.pending = this.pending.filter(({ id = 0 }) => id > ack);
      this.oldest = Date.now();
    }
    this.seen = Math.max(this.seen, seen);
    if (!this.busy) clearTimeout(this.timer);
    this.flush();
    return true;
  }
}

// Operations on their way to the server: numbered, repeated until acknowledged, one message in flight.

const RESEND = 5000;
const AWAY = 3000;
const TURN = 20;

// Streamlit gathers whatever is triggered within one task and runs a single fragment for all of it: what is meant for another
// fragment is taken in, but nobody draws the answer. So queues take turns.
let turn = null;
let over = 0;

// A message of a page that is being left would stop the run that draws the next one, and leave that half drawn.
let leaving = -Infinity;
document.addEventListener("click", (event) => event.target.closest?.("a[href]") && (leaving = performance.now()), true);

function newEpoch() {
  const bytes = crypto.getRandomValues(new Uint8Array(9));
  return Array.from(bytes, (b) => (b % 36).toString(36)).join("");
}

export class Queue {
  constructor(changed, want = { confidence: false, selected: "" }) {
    this.epoch = newEpoch();
    this.next = 1;
    this.pending = [];
    this.sent = 0; // number of the last message
    this.seen = 0; // number of the last message the server answered
    this.ack = 0;
    this.want = want;
    this.wantSent = JSON.stringify(this.want);
    this.trigger = null;
    this.page = location.pathname;
    this.changed = changed;
    this.oldest = 0;
  }

  push(op) {
    op.id = this.next++;
    if (!this.pending.length) this.oldest = Date.now();
    this.pending.push(op);
    this.flush();
    this.changed();
    return op.id;
  }

  ask(want) {
    this.want = { ...this.want, ...want };
    this.flush();
  }

  get away() {
    return location.pathname !== this.page || performance.now() - leaving < AWAY;
  }

  get busy() {
    return this.sent > this.seen;
  }

  flush() {
    const want = JSON.stringify(this.want);
    if (!this.trigger || this.busy || (!this.pending.length && want === this.wantSent)) return;
    const wait = this.away ? AWAY / 3 : turn && turn !== this ? TURN : 0;
    if (wait) {
      clearTimeout(this.later);
      this.later = setTimeout(() => this.flush(), wait);
      return;
    }
    this.wantSent = want;
    this.sent += 1;
    clearTimeout(this.timer);
    this.timer = setTimeout(() => this.resend(), RESEND);
    turn = this;
    clearTimeout(over);
    over = setTimeout(() => (turn = null), TURN / 2);
    this.trigger("ops", { epoch: this.epoch, n: this.sent, want: this.want, ops: this.pending });
  }

  // A message or its answer was lost, or the server started anew: say everything again.
  resend() {
    if (!this.busy && !this.pending.length) return;
    this.seen = this.sent;
    this.wantSent = "";
    this.flush();
  }

  // The server's answer. Answers to another epoch (an earlier page of the same session) say nothing about this one.
  answered(header) {
    if (header.epoch !== this.epoch) {
      if (this.pending.length && !this.busy) this.flush();
      return false;
    }
    if (header.ack > this.ack) {
      this.ack = header.ack;
      this.pending = this.pending.filter((op) => op.id > this.ack);
      this.oldest = Date.now();
    }
    this.seen = Math.max(this.seen, header.seen);
    if (!this.busy) clearTimeout(this.timer);
    this.flush();
    return true;
  }
}

// Events on their way to the server: numbered, repeated until acknowledged, one message in flight.

import { newEpoch } from "./wire.js";

/** @import { LessonEvent, SentEvent, Trigger } from "../../messages.js" */

const RESEND = 5000;

export class Outbox {
  /** @param {number} [resend] milliseconds until a message counts as lost */
  constructor(resend = RESEND) {
    this.epoch = newEpoch();
    this.next = 1;
    /** @type {(SentEvent | LessonEvent)[]} */
    this.pending = [];
    this.busy = false;
    /** @type {Trigger | null} */
    this.trigger = null;
    this.resend = resend;
    this.timer = 0;
  }

  /** @param {SentEvent | LessonEvent} event */
  push(event) {
    this.pending.push({ ...event, id: this.next++ });
    this.flush();
  }

  flush() {
    if (!this.trigger || this.busy || !this.pending.length) return;
    this.busy = true;
    clearTimeout(this.timer);
    this.timer = setTimeout(() => {
      this.busy = false;
      this.flush();
    }, this.resend);
    this.trigger("event", { epoch: this.epoch, events: this.pending });
  }

  /** @param {{ epoch: string, seen: number }} header */
  answered({ epoch, seen }) {
    if (epoch !== this.epoch) return;
    this.pending = this.pending.filter(({ id = 0 }) => id > seen);
    this.busy = false;
    clearTimeout(this.timer);
    this.flush();
  }
}

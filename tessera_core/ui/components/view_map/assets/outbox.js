// Events on their way to the server: numbered, repeated until acknowledged, one message in flight.

const RESEND = 5000;

export class Outbox {
  constructor() {
    this.epoch = Array.from(crypto.getRandomValues(new Uint8Array(9)), (b) => (b % 36).toString(36)).join("");
    this.next = 1;
    this.pending = [];
    this.busy = false;
    this.trigger = null;
  }

  push(event) {
    this.pending.push({ id: this.next++, ...event });
    this.flush();
  }

  flush() {
    if (!this.trigger || this.busy || !this.pending.length) return;
    this.busy = true;
    clearTimeout(this.timer);
    this.timer = setTimeout(() => {
      this.busy = false;
      this.flush();
    }, RESEND);
    this.trigger("event", { epoch: this.epoch, events: this.pending });
  }

  answered(header) {
    if (header.epoch !== this.epoch) return;
    this.pending = this.pending.filter((event) => event.id > header.seen);
    this.busy = false;
    clearTimeout(this.timer);
    this.flush();
  }
}

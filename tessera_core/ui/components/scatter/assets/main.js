// The hub: one session per key (what people chose, the points) that outlives the elements Streamlit mounts and unmounts.

import { CloudView, fresh } from "./cloud.js";
import { Mounting, keep, restore } from "./mounting.js";
import { unpack } from "./wire.js";

class Session {
  constructor(key) {
    this.store = `tessera-scatter:${key}`;
    this.memory = restore(this.store, { tool: "lasso", view: fresh(), dims: 0 });
    this.points = null;
    this.view = null;
  }
  keep() {
    keep(this.store, this.memory);
  }
}

export function start(hub, css) {
  const sessions = new Map();
  const session = (key) => {
    if (!sessions.has(key)) sessions.set(key, new Session(key));
    return sessions.get(key);
  };
  const mounting = new Mounting(css, (kind, key, root) => {
    const owner = session(key);
    if (kind === "scatter") return (owner.view = new CloudView(owner, root));
    root.style.display = "none";
    return null;
  });
  mounting.serve(hub, (component) => {
    const { header, picture } = unpack(component.data);
    const owner = session(header.key);
    const part = mounting.part(component.parentElement, header.kind, header.key);
    if (header.kind === "points") {
      // A copy, because typed arrays must start at a multiple of their size.
      const bytes = picture.slice().buffer;
      const { count, dims, version } = header;
      const middle = 4 * count * dims;
      const place = new Float64Array(bytes.slice(middle));
      const [x, y] = [new Float64Array(count), new Float64Array(count)];
      for (let i = 0; i < count; i++) [x[i], y[i]] = [place[2 * i], place[2 * i + 1]];
      owner.points = { version, count, dims, points: new Float32Array(bytes.slice(0, middle)), x, y };
      if (owner.view && !owner.view.gone) owner.view.points(owner.points);
    } else {
      part.receive(header, picture);
      // Streamlit drops triggers that are set while a component mounts.
      setTimeout(() => {
        if (part.gone) return;
        part.trigger = component.setTriggerValue;
        part.flush();
      }, 0);
    }
  });
}

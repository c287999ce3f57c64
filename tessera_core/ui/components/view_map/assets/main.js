// The hub: one session per key (memory, outbox, pictures) that outlives the elements Streamlit mounts and unmounts.

import "./leaflet.js";

import { Mounting, keep, restore } from "./mounting.js";
import { Outbox } from "./outbox.js";
import { MapView } from "./view.js";
import { unpack } from "./wire.js";

class Session {
  constructor(key) {
    this.key = key;
    this.outbox = new Outbox();
    this.pictures = new Map();
    this.world = null;
    this.view = null;
    this.memory = restore(this.store, {
      tool: "click", views: {}, layers: {}, base: { name: "", opacity: 1 }, compare: { wish: "", mode: "off", at: 0.5 },
    });
  }
  get store() {
    return `tessera-view-map:${this.key}`;
  }
  keep() {
    clearTimeout(this.keeping);
    this.keeping = setTimeout(() => keep(this.store, this.memory), 300);
  }
}

export function start(hub, css) {
  hub.L = globalThis.L.noConflict();
  const sessions = new Map();
  const session = (key) => {
    if (!sessions.has(key)) sessions.set(key, new Session(key));
    return sessions.get(key);
  };
  const mounting = new Mounting(css, (kind, key, root) => {
    const owner = session(key);
    if (kind === "map") return (owner.view = new MapView(hub, owner, root));
    root.style.display = "none";
    return null;
  });
  mounting.serve(hub, (component) => {
    const { header, picture } = unpack(component.data);
    const owner = session(header.key);
    const part = mounting.part(component.parentElement, header.kind, header.key);
    if (header.kind === "layer") {
      const entry = { name: header.name, version: header.version, png: picture, bounds: header.bounds, place: header.place };
      owner.pictures.set(header.name, entry);
      owner.view?.receivePicture(entry);
    } else if (header.kind === "world") {
      owner.world = JSON.parse(new TextDecoder().decode(picture));
      owner.view?.receiveWorld(owner.world);
    } else {
      part.world = owner.world;
      part.receive(header);
      owner.outbox.answered(header);
      // Streamlit drops triggers that are set while a component mounts; the outbox waits for the next turn.
      setTimeout(() => {
        if (part.gone) return;
        owner.outbox.trigger = component.setTriggerValue;
        owner.outbox.flush();
      }, 0);
    }
  });
}

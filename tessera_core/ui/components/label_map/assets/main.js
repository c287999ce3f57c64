// The hub: one session per key (memory, queue, pictures) that outlives the elements Streamlit mounts and unmounts.

import "./leaflet.js";

import { Insight } from "./insight.js";
import { Panel } from "./panel.js";
import { Queue } from "./queue.js";
import { Selection } from "./select.js";
import { MapView } from "./view.js";
import { unpack } from "./wire.js";

const DEFAULTS = () => ({
  tool: "point", class: 0, radius: 2, threshold: 0, hidden: [], views: {},
  layers: {
    labels: { on: true, opacity: 1 }, classes: { on: true, opacity: 0.8 }, confidence: { on: false, opacity: 0.85 },
    tidied: { on: true, opacity: 1 }, groups: { on: true, opacity: 0.85 }, similar: { on: true, opacity: 0.85 },
    novelty: { on: false, opacity: 0.85 }, sets: { on: false, opacity: 0.85 },
    truecolour: { on: false, opacity: 1 }, pca: { on: true, opacity: 1 }, base: { on: false, opacity: 1, name: "" },
  },
  error: 0.1,
  swipe: { on: false, left: "pca", right: "classes", at: 0.5 },
});

class Session {
  constructor(key) {
    this.key = key;
    this.memory = DEFAULTS();
    this.restore();
    this.queue = new Queue(() => this.panel?.tick());
    this.insight = new Insight(this);
    this.selection = new Selection(this);
    this.pictures = new Map();
    this.noted = new Set();
    this.before = 0;
  }

  // View, tool and layers also survive a reload of the page; a browser that refuses storage just starts afresh.
  get store() {
    return `tessera-label-map:${this.key}`;
  }
  restore() {
    try {
      const kept = JSON.parse(sessionStorage.getItem(this.store) ?? "{}");
      for (const [name, value] of Object.entries(kept.layers ?? {})) Object.assign(this.memory.layers[name] ?? {}, value);
      Object.assign(this.memory, { ...kept, layers: this.memory.layers, class: Math.max(0, kept.class ?? 0) });
      if (this.memory.tool === "pan") this.memory.tool = "select"; // of an earlier version
    } catch (error) {
      console.info("The map's view could not be restored:", error);
    }
  }
  keep() {
    clearTimeout(this.keeping);
    this.keeping = setTimeout(() => {
      try {
        sessionStorage.setItem(this.store, JSON.stringify(this.memory));
      } catch (error) {
        console.info("The map's view could not be kept:", error);
      }
    }, 300);
  }

  choose(id) {
    this.memory.class = id;
    this.keep();
    this.panel?.fillClasses();
    this.view?.chosen();
  }

  // Chosen at once: labels that follow name the class by the operation that adds it.
  addClass(name) {
    this.view.toast.classList.remove("tl-on"); // "Add a class first."
    if (this.memory.class >= 0) this.before = this.memory.class;
    this.choose(-this.view.op({ do: "add_class", name }));
  }

  receive(message) {
    const { header } = message;
    this.message = message;
    const ours = this.queue.answered(header);
    const ids = header.classes.map((c) => c.id);
    if (ours && this.memory.class < 0 && header.ack >= -this.memory.class) {
      // The class that was chosen while it was being added has its id now (or was refused).
      const created = new Map(header.created).get(-this.memory.class);
      this.memory.class = ids.includes(created) ? created : this.before;
      this.view?.chosen();
    }
    if (this.memory.class >= 0 && !ids.includes(this.memory.class)) this.memory.class = ids[0] ?? 0;
    this.view?.receive(header, message.picture);
    this.panel?.receive(header);
    this.insight.mapped(header);
  }
}

export function start(hub, css) {
  hub.L = globalThis.L.noConflict();
  hub.sessions = new Map();
  const mounted = new WeakMap();
  const sheets = css.map((text) => {
    const sheet = new CSSStyleSheet();
    sheet.replaceSync(text);
    return sheet;
  });
  const session = (key) => {
    if (!hub.sessions.has(key)) hub.sessions.set(key, new Session(key));
    return hub.sessions.get(key);
  };

  function mount(parent, kind, key) {
    const known = mounted.get(parent);
    if (known && known.kind === kind && known.key === key) return known;
    if (known) unmount(parent);
    const tree = parent.getRootNode();
    const scope = parent instanceof ShadowRoot ? parent : tree;
    for (const sheet of sheets) if (!scope.adoptedStyleSheets.includes(sheet)) scope.adoptedStyleSheets.push(sheet);
    let root = parent.querySelector(".tl-root");
    if (!root) {
      root = document.createElement("div");
      root.className = "tl-root";
      parent.append(root);
    }
    root.dataset.kind = kind;
    const element = (scope.host ?? parent).closest('[data-testid="stElementContainer"]');
    // Streamlit fades elements while a run takes long; the map shows its own state and stays usable meanwhile.
    element?.style.setProperty("opacity", "1", "important");
    // The map stays in sight while a long panel beside it is scrolled (on a phone the panel is below).
    const column = kind === "map" && element?.closest('[data-testid="stColumn"]');
    if (column && matchMedia("(min-width: 641px)").matches) {
      Object.assign(column.style, { position: "sticky", top: "4rem", alignSelf: "flex-start" });
    }
    const owner = session(key);
    const entry = { kind, key, root };
    if (kind === "map") owner.view = entry.part = new MapView(hub, owner, root);
    if (kind === "panel") owner.panel = entry.part = new Panel(owner, root);
    mounted.set(parent, entry);
    return entry;
  }

  function unmount(parent) {
    const entry = mounted.get(parent);
    if (!entry) return;
    mounted.delete(parent);
    entry.part?.destroy();
    const owner = session(entry.key);
    if (entry.kind === "map" && owner.view === entry.part) {
      owner.view = null;
      owner.queue.trigger = null;
    }
    if (entry.kind === "insight") owner.insight.queue.trigger = null;
    if (entry.kind === "panel" && owner.panel === entry.part) owner.panel = null;
  }

  // Called for every message of every mounted component, and for theme changes with the same message again.
  hub.render = (component) => {
    const message = unpack(component.data);
    const { kind, key } = message.header;
    const owner = session(key);
    const entry = mount(component.parentElement, kind, key);
    if (kind === "picture") {
      const { header, picture } = message;
      owner.pictures.set(header.name, { header, png: picture });
      owner.view?.header && owner.view.receivePicture(owner.pictures.get(header.name));
    } else if (kind === "panel") {
      if (owner.message) entry.part.receive(owner.message.header);
    } else {
      const queue = kind === "insight" ? owner.insight.queue : owner.queue;
      // Streamlit drops triggers that are set while a component mounts; the queue waits for the next turn.
      setTimeout(() => {
        if (mounted.get(component.parentElement) === entry) {
          queue.trigger = component.setTriggerValue;
          queue.page = location.pathname;
        }
        queue.flush();
      }, 0);
      if (kind === "insight") owner.insight.receive(message.header);
      else if (message.header.scene) owner.receive(message);
    }
  };
  hub.unmount = unmount;
  for (const component of hub.waiting.values()) hub.render(component);
  hub.waiting.clear();
}

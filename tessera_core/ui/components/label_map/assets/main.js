// The hub: hands the messages of Streamlit's elements to the session of their key.

import { elementOf, Mounting } from "../../shared/assets/mounting.js";
import { unpack } from "../../shared/assets/wire.js";
import { Panel } from "./panel.js";
import { LabelSession } from "./session.js";
import { LabelView } from "./view.js";

/** @import { Hub } from "../../messages.js" */
/** @import { Leaflet } from "../../shared/assets/layers.js" */

/**
 * @param {Hub & { L: Leaflet }} hub
 * @param {string[]} css
 */
export function start(hub, css) {
  hub.L = L.noConflict();
  /** @type {Map<string, LabelSession>} */
  const sessions = new Map();
  /** @type {(key: string) => LabelSession} */
  const session = (key) => {
    const owner = sessions.get(key) ?? new LabelSession(key);
    sessions.set(key, owner);
    return owner;
  };
  const mounting = new Mounting(css, (kind, key, root) => {
    const owner = session(key);
    if (kind === "map") {
      stick(root);
      return (owner.view = new LabelView(hub, owner, root));
    }
    if (kind === "panel") return (owner.panel = new Panel(owner, root));
    if (kind === "insight") return { destroy: () => (owner.insight.queue.trigger = null) };
    return { destroy() {} };
  });
  mounting.serve(hub, (component) => {
    const { header, picture } = unpack(component.data);
    const { kind, key } = header;
    const owner = session(key);
    const part = mounting.part(component.parentElement, kind, key);
    if (kind === "picture") {
      owner.pictures.set(header.name, { header, png: picture });
      owner.view?.pictures.receive({ header, png: picture });
    } else if (kind === "panel") {
      owner.panel?.guide(header.guided);
    } else {
      const queue = kind === "insight" ? owner.insight.queue : owner.queue;
      // Streamlit drops triggers that are set while a component mounts; the queue waits for the next turn.
      setTimeout(() => {
        if (mounting.has(component.parentElement, part)) queue.connect(component.setTriggerValue);
        queue.flush();
      }, 0);
      if (kind === "insight") owner.insight.receive(header);
      else if (header.scene) owner.receive(header, picture);
    }
  });
}

/**
 * The map stays in sight while a long panel beside it is scrolled (on a phone the panel is below).
 * @param {HTMLElement} root
 */
function stick(root) {
  /** @type {HTMLElement | null | undefined} */
  const column = elementOf(root)?.closest('[data-testid="stColumn"]');
  if (column && matchMedia("(min-width: 641px)").matches)
    Object.assign(column.style, { position: "sticky", top: "4rem", alignSelf: "flex-start" });
}

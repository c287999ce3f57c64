// The hub: hands the messages of Streamlit's elements to the session of their key.

import { Mounting } from "../../shared/assets/mounting.js";
import { unpack } from "../../shared/assets/wire.js";
import { RegionSession } from "./session.js";
import { RegionView } from "./view.js";

/** @import { Hub } from "../../messages.js" */
/** @import { Leaflet } from "../../shared/assets/layers.js" */

/**
 * @param {Hub & { L: Leaflet }} hub
 * @param {string[]} css
 */
export function start(hub, css) {
  hub.L = L.noConflict();
  /** @type {Map<string, RegionSession>} */
  const sessions = new Map();
  /** @type {(key: string) => RegionSession} */
  const session = (key) => {
    const owner = sessions.get(key) ?? new RegionSession(key);
    sessions.set(key, owner);
    return owner;
  };
  const mounting = new Mounting(css, (kind, key, root) => {
    const owner = session(key);
    if (kind === "map") return (owner.view = new RegionView(hub, owner, root));
    root.style.display = "none";
    return null;
  });
  mounting.serve(hub, (component) => {
    const { header, picture } = unpack(component.data);
    const owner = session(header.key);
    const part = mounting.part(component.parentElement, header.kind, header.key);
    if (header.kind === "layer") {
      const message = { ...header, png: picture };
      owner.pictures.set(header.name, message);
      owner.view?.receivePicture(message);
    } else if (header.kind === "world") {
      owner.world = JSON.parse(new TextDecoder().decode(picture));
      owner.view?.redraw();
    } else if (part) {
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

// The hub: hands the messages of Streamlit's elements to the session of their key.

import { Mounting } from "../../shared/assets/mounting.js";
import { unpack } from "../../shared/assets/wire.js";
import { CloudView } from "./cloud.js";
import { CloudSession } from "./session.js";

/** @import { Hub, PointsHeader } from "../../messages.js" */
/** @import { Points } from "./session.js" */

/**
 * @param {Hub} hub
 * @param {string[]} css
 */
export function start(hub, css) {
  /** @type {Map<string, CloudSession>} */
  const sessions = new Map();
  /** @type {(key: string) => CloudSession} */
  const session = (key) => {
    const owner = sessions.get(key) ?? new CloudSession(key);
    sessions.set(key, owner);
    return owner;
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
      owner.points = unpacked(header, picture);
      if (owner.view && !owner.view.gone) owner.view.points(owner.points);
    } else if (part) {
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

/**
 * @param {PointsHeader} header
 * @param {Uint8Array} data
 * @returns {Points}
 */
function unpacked({ count, dims, version }, data) {
  // A copy, because typed arrays must start at a multiple of their size.
  const bytes = data.slice().buffer;
  const middle = 4 * count * dims;
  const place = new Float64Array(bytes.slice(middle));
  const [x, y] = [new Float64Array(count), new Float64Array(count)];
  for (let i = 0; i < count; i++) [x[i], y[i]] = [place[2 * i], place[2 * i + 1]];
  return { version, count, dims, points: new Float32Array(bytes.slice(0, middle)), x, y };
}

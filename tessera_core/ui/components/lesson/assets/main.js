// The hub: hands the messages of Streamlit's elements to the panel, which lives at the end of the page's body.

import { Mounting } from "../../shared/assets/mounting.js";
import { unpack } from "../../shared/assets/wire.js";
import { LessonPanel } from "./panel.js";

/** @import { Hub, LessonHeader } from "../../messages.js" */

const GONE = 1500; // milliseconds for which Streamlit may take our element away between two pages
const LOOKS = [
  "--st-text-color",
  "--st-background-color",
  "--st-secondary-background-color",
  "--st-border-color",
  "--st-primary-color",
  "--st-base-radius",
  "--st-font",
];

/**
 * @param {Hub} hub
 * @param {string[]} css
 */
export function start(hub, css) {
  /** @type {Map<string, LessonPanel>} */
  const panels = new Map();
  let leaving = 0;
  const mounting = new Mounting(css, (kind, key, root) => {
    root.style.display = "none";
    if (kind !== "lesson") return { destroy() {} };
    return {
      destroy() {
        const panel = panels.get(key);
        if (panel) panel.outbox.trigger = null;
        leaving = setTimeout(() => {
          panel?.destroy();
          panels.delete(key);
        }, GONE);
      },
    };
  });
  mounting.serve(hub, (component) => {
    const { header, picture } = unpack(component.data);
    const part = mounting.part(component.parentElement, header.kind, header.key);
    const panel = panels.get(header.key) ?? new LessonPanel(header.key, mounting.sheets);
    panels.set(header.key, panel);
    if (header.kind === "lesson_picture") {
      panel.pictured(header, JSON.parse(new TextDecoder().decode(picture)));
      return;
    }
    clearTimeout(leaving);
    for (const [key, other] of panels)
      if (key !== header.key) {
        other.destroy();
        panels.delete(key);
      }
    panel.look(colours(component.parentElement));
    panel.receive(/** @type {LessonHeader} */ (header));
    // Streamlit drops triggers that are set while a component mounts; the outbox waits for the next turn.
    setTimeout(() => {
      if (!mounting.has(component.parentElement, part)) return;
      panel.outbox.trigger = component.setTriggerValue;
      panel.outbox.flush();
    }, 0);
  });
}

/**
 * The colours of the page, which Streamlit gives to its own elements only.
 * @param {HTMLElement | ShadowRoot} parent
 */
function colours(parent) {
  const host = parent instanceof ShadowRoot ? parent.host : parent;
  const style = getComputedStyle(host);
  return LOOKS.map((name) => /** @type {[string, string]} */ ([name, style.getPropertyValue(name)]));
}

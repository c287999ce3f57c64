// Buttons on a map.

import { el, icon } from "./dom.js";
import { t } from "./words.js";

/**
 * A button that is an icon.
 * @param {Parameters<typeof icon>[0]} name of the icon
 * @param {string} title what it does, and its key
 * @param {() => void} action
 * @param {{ tool?: string, label?: string }} [known] what it is found by, and what is read out where that is not the title
 */
export function press(name, title, action, { tool, label = title } = {}) {
  const button = el(
    "button",
    { type: "button", class: "tl-tool", title, "aria-label": label, onclick: action },
    icon(name),
  );
  if (tool) button.dataset.tool = tool;
  return button;
}

/**
 * A group of tools of which one is chosen, and its buttons by name.
 * @template {string} T
 * @param {readonly { tool: T, icon: Parameters<typeof icon>[0], title: string, label?: string }[]} tools
 * @param {(tool: T) => void} choose
 */
export function toolbar(tools, choose) {
  const buttons = /** @type {Record<T, HTMLButtonElement>} */ ({});
  for (const { tool, icon: name, title, label } of tools)
    buttons[tool] = press(name, title, () => choose(tool), { tool, label });
  const group = el("div", { class: "tl-group", role: "toolbar", "aria-label": t("Tools") });
  group.append(.../** @type {HTMLButtonElement[]} */ (Object.values(buttons)));
  return { group, buttons };
}

/**
 * Shows which tool is chosen.
 * @param {Record<string, HTMLButtonElement>} buttons
 * @param {string} chosen
 */
export function pressed(buttons, chosen) {
  for (const [name, button] of Object.entries(buttons)) button.setAttribute("aria-pressed", String(name === chosen));
}

/**
 * The divider between two layers that are compared, dragged from left to right.
 * @param {HTMLElement} box that it divides
 * @param {(at: number) => void} moved 0 = left edge, 1 = right edge
 * @param {() => void} done
 */
export function makeDivider(box, moved, done) {
  const handle = el("div", { class: "tl-handle" }, icon("swipe"));
  const divider = el("div", { class: "tl-control tl-divider", hidden: true }, handle);
  divider.onpointerdown = (event) => {
    event.stopPropagation();
    divider.setPointerCapture(event.pointerId);
    divider.onpointermove = (move) => {
      const { left, width } = box.getBoundingClientRect();
      moved(Math.min(0.98, Math.max(0.02, (move.clientX - left) / width)));
    };
  };
  divider.onpointerup = () => {
    divider.onpointermove = null;
    done();
  };
  return divider;
}

// Connects a hub to the elements that Streamlit mounts and unmounts: one part per element, made by its kind.

/** @import { Component, Hub } from "../../messages.js" */
/** @typedef {{ destroy(): void }} Part */

/** @template {Part} P */
export class Mounting {
  /**
   * @param {string[]} css
   * @param {(kind: string, key: string, root: HTMLElement) => P | null} make
   */
  constructor(css, make) {
    this.make = make;
    /** @type {WeakMap<Node, { kind: string, key: string, part: P | null }>} */
    this.mounted = new WeakMap();
    this.sheets = css.map((text) => {
      const sheet = new CSSStyleSheet();
      sheet.replaceSync(text);
      return sheet;
    });
  }

  /**
   * The part of `parent`, made when it is new; made anew when the element serves another key.
   * @param {HTMLElement | ShadowRoot} parent
   * @param {string} kind
   * @param {string} key
   */
  part(parent, kind, key) {
    const known = this.mounted.get(parent);
    if (known && known.kind === kind && known.key === key) return known.part;
    if (known) this.unmount(parent);
    const scope = /** @type {ShadowRoot} */ (parent instanceof ShadowRoot ? parent : parent.getRootNode());
    for (const sheet of this.sheets)
      if (!scope.adoptedStyleSheets.includes(sheet)) scope.adoptedStyleSheets.push(sheet);
    /** @type {HTMLElement | null} */
    let root = parent.querySelector(".tl-root");
    if (!root) {
      root = document.createElement("div");
      root.className = "tl-root";
      parent.append(root);
    }
    root.dataset.kind = kind;
    root.dataset.key = key;
    // Streamlit fades elements while a run takes long; ours stay usable meanwhile.
    elementOf(root)?.style.setProperty("opacity", "1", "important");
    const part = this.make(kind, key, root);
    this.mounted.set(parent, { kind, key, part });
    return part;
  }

  /**
   * Whether a part is still the one of that element.
   * @param {HTMLElement | ShadowRoot} parent
   * @param {P | null} part
   */
  has(parent, part) {
    const entry = this.mounted.get(parent);
    return entry !== undefined && entry.part === part;
  }

  /** @param {HTMLElement | ShadowRoot} parent */
  unmount(parent) {
    const entry = this.mounted.get(parent);
    this.mounted.delete(parent);
    entry?.part?.destroy();
  }

  /**
   * @param {Hub} hub
   * @param {(component: Component) => void} render called for every message of every mounted component, and for theme changes
   *   with the same message again
   */
  serve(hub, render) {
    hub.render = render;
    hub.unmount = (parent) => this.unmount(parent);
    for (const component of hub.waiting.values()) render(component);
    hub.waiting.clear();
  }
}

/**
 * Streamlit's element around ours.
 * @param {HTMLElement} root
 * @returns {HTMLElement | null}
 */
export function elementOf(root) {
  const tree = root.getRootNode();
  return (tree instanceof ShadowRoot ? tree.host : root).closest('[data-testid="stElementContainer"]');
}

/**
 * What people chose, kept for this browser tab; a browser that refuses storage just starts afresh.
 * @template {object} T
 * @param {string} name
 * @param {T} memory
 * @returns {T}
 */
export function restore(name, memory) {
  try {
    Object.assign(memory, JSON.parse(sessionStorage.getItem(name) ?? "{}"));
  } catch (error) {
    console.info(`${name} could not be restored:`, error);
  }
  return memory;
}

/**
 * @param {string} name
 * @param {object} memory
 */
export function keep(name, memory) {
  try {
    sessionStorage.setItem(name, JSON.stringify(memory));
  } catch (error) {
    console.info(`${name} could not be kept:`, error);
  }
}

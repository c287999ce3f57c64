// Connects a hub to the elements that Streamlit mounts and unmounts: one part per element, made by its kind.

export class Mounting {
  constructor(css, make) {
    this.make = make;
    this.mounted = new WeakMap();
    this.sheets = css.map((text) => {
      const sheet = new CSSStyleSheet();
      sheet.replaceSync(text);
      return sheet;
    });
  }

  // The part of `parent`, made when it is new; made anew when the element serves another key.
  part(parent, kind, key) {
    const known = this.mounted.get(parent);
    if (known && known.kind === kind && known.key === key) return known.part;
    if (known) this.unmount(parent);
    const scope = parent instanceof ShadowRoot ? parent : parent.getRootNode();
    for (const sheet of this.sheets) if (!scope.adoptedStyleSheets.includes(sheet)) scope.adoptedStyleSheets.push(sheet);
    let root = parent.querySelector(".tl-root");
    if (!root) {
      root = document.createElement("div");
      root.className = "tl-root";
      parent.append(root);
    }
    root.dataset.kind = kind;
    root.dataset.key = key;
    // Streamlit fades elements while a run takes long; ours stay usable meanwhile.
    (scope.host ?? parent).closest('[data-testid="stElementContainer"]')?.style.setProperty("opacity", "1", "important");
    const part = this.make(kind, key, root);
    this.mounted.set(parent, { kind, key, part });
    return part;
  }

  unmount(parent) {
    const entry = this.mounted.get(parent);
    this.mounted.delete(parent);
    entry?.part?.destroy();
  }

  // Called for every message of every mounted component, and for theme changes with the same message again.
  serve(hub, render) {
    hub.render = render;
    hub.unmount = (parent) => this.unmount(parent);
    for (const component of hub.waiting.values()) render(component);
    hub.waiting.clear();
  }
}

// What people chose, kept for this browser tab; a browser that refuses storage just starts afresh.
export function restore(name, memory) {
  try {
    Object.assign(memory, JSON.parse(sessionStorage.getItem(name) ?? "{}"));
  } catch (error) {
    console.info(`${name} could not be restored:`, error);
  }
  return memory;
}

export function keep(name, memory) {
  try {
    sessionStorage.setItem(name, JSON.stringify(memory));
  } catch (error) {
    console.info(`${name} could not be kept:`, error);
  }
}

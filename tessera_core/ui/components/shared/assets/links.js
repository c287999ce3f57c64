// Linked views of the same points: a scatter and a map that highlight each other without asking the server.
// A link holds `points` ({version, count, x, y} in the map's frame), `selected` (Uint8Array or null) and tells of changes
// with the events "points", "selected" and "hover".

const links = (globalThis.__tesseraLinks ??= new Map());

export function link(name) {
  if (!links.has(name)) links.set(name, Object.assign(new EventTarget(), { points: null, selected: null, hover: -1, colours: null }));
  return links.get(name);
}

export function tell(shared, what, by) {
  shared.dispatchEvent(new CustomEvent(what, { detail: { by } }));
}

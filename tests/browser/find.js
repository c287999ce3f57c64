// What is on the screen under a name that people read or hear: where, whether nothing lies over it, whether it has the focus.
(role, name) => {
  const ROLES = {
    button: "button, [role=button], summary, a[download]",
    link: "a[href]",
    field: "input:not([type=hidden]), textarea",
    css: name,
  };
  const found = [];
  const walk = (root) => {
    found.push(...root.querySelectorAll(ROLES[role]));
    for (const node of root.querySelectorAll("*")) if (node.shadowRoot) walk(node.shadowRoot);
  };
  walk(document);
  const words = (node) => {
    if (node.nodeType === Node.TEXT_NODE) return node.data;
    if (!(node instanceof Element) || node.ariaHidden === "true" || node.matches("kbd, svg, [data-testid=stIconMaterial]"))
      return "";
    return [...node.childNodes].map(words).join("");
  };
  const called = (node) =>
    (node.ariaLabel || [...(node.labels ?? [])].map(words).join(" ") || words(node) || node.title || "").replace(/\s+/g, " ").trim();
  const seen = (node) => {
    const box = node.getBoundingClientRect();
    // A folded side bar waits beyond the edge.
    return box.width > 1 && box.height > 1 && box.right > 0 && node.checkVisibility({ visibilityProperty: true });
  };
  const node = found.find((one) => (role === "css" || called(one) === name) && seen(one));
  if (!node || node.disabled) return null;
  const box = node.getBoundingClientRect();
  const [x, y] = [box.x + box.width / 2, box.y + box.height / 2];
  const deep = (root) => (root.activeElement?.shadowRoot ? deep(root.activeElement.shadowRoot) : root.activeElement);
  const focused = deep(document) === node;
  const at = (root) => {
    const top = root.elementFromPoint(x, y);
    return top?.shadowRoot && top.shadowRoot !== root ? at(top.shadowRoot) : top;
  };
  const top = at(document);
  // Beyond the window, or beneath something that stays in sight: it is scrolled to, and looked for again.
  const free = top && (node.contains(top) || top.contains(node) || [...(node.labels ?? [])].some((label) => label.contains(top)));
  if (!free) node.scrollIntoView({ block: "center", inline: "nearest" });
  return { x, y, width: box.width, height: box.height, free: Boolean(free), focused };
}

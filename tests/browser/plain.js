// What stands on the page in plain English while it speaks the pseudo language; `names` are the same in every language.
(names) => {
  const skipped =
    "style, script, noscript, code, pre, kbd, [data-testid=stIconMaterial], " +
    ".leaflet-control-attribution, .st-key-learn_lessons, .st-key-region_starts";
  const said = new Set();
  const look = (root) => {
    const walker = document.createTreeWalker(root, NodeFilter.SHOW_TEXT | NodeFilter.SHOW_ELEMENT);
    for (let node = walker.nextNode(); node; node = walker.nextNode()) {
      if (node.shadowRoot) look(node.shadowRoot);
      const parent = node.parentElement;
      if (node.nodeType !== Node.TEXT_NODE || !parent || parent.closest(skipped)) continue;
      if (parent.checkVisibility({ visibilityProperty: true })) said.add(node.textContent.trim());
    }
  };
  look(document.querySelector("[data-testid=stMainBlockContainer]"));
  const known = new RegExp(`^(?:${names})$`);
  const english = /[A-Za-z]{3,} [A-Za-z]{2,}|^[A-Z][a-z]{2,}/;
  return [...said].filter((text) => english.test(text) && !/[⟦⟧]/.test(text) && !known.test(text));
};

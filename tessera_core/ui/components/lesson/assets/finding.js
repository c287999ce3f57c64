// Finding a control on the page, also in the shadow roots of components, and what about it is in sight.

/** Whether an element takes up room. @param {Element} element */
export const visible = (element) => {
  const { width, height } = element.getBoundingClientRect();
  return width > 1 && height > 1 && getComputedStyle(element).visibility !== "hidden";
};

/**
 * The first element in sight of a selector; null where there is none.
 * @param {string} selector
 * @param {ParentNode} [root]
 * @returns {HTMLElement | null}
 */
export function find(selector, root = document) {
  if (!selector) return null;
  for (const found of root.querySelectorAll(selector)) if (visible(found)) return /** @type {HTMLElement} */ (found);
  for (const host of root.querySelectorAll("*")) {
    if (!host.shadowRoot || host.hasAttribute("data-lesson")) continue;
    const found = find(selector, host.shadowRoot);
    if (found) return found;
  }
  return null;
}

/**
 * The part of an element's box that no edge of the screen, nor what lies at the foot or side, cuts off.
 * @param {{ left: number, top: number, right: number, bottom: number }} box
 * @param {{ width: number, height: number }} room that is free of the panel
 */
export function within({ left, top, right, bottom }, { width, height }) {
  const cut = {
    left: Math.max(left, 0),
    top: Math.max(top, 0),
    right: Math.min(right, width),
    bottom: Math.min(bottom, height),
  };
  return cut.right - cut.left > 4 && cut.bottom - cut.top > 4 ? cut : null;
}

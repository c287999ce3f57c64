// Texts that are cut or leave the window, texts and controls that lie on each other, in sentences.
() => {
  const faults = [];
  const width = document.documentElement.clientWidth;
  const wide = document.documentElement.scrollWidth;
  if (wide > width + 1) faults.push(`the page is ${wide} pixels wide in a window of ${width}`);
  const up = (node) => node.parentNode instanceof ShadowRoot ? node.parentNode.host : node.parentNode;
  const all = [];
  const walk = (root) => {
    for (const node of root.querySelectorAll("*")) {
      all.push(node);
      if (node.shadowRoot) walk(node.shadowRoot);
    }
  };
  walk(document.body);
  const name = (node) => {
    const text = (node.innerText || node.getAttribute("aria-label") || node.title || node.value || "").trim();
    const kind = node.className && typeof node.className === "string" ? "." + node.className.split(" ")[0] : "";
    return `${node.tagName.toLowerCase()}${kind} "${text.replace(/\s+/g, " ").slice(0, 40)}"`;
  };
  const IGNORED = ".tessera-title, .lesson-hidden, .leaflet-marker-icon, .tl-mark, [data-testid=stToast], .tl-toast, .tl-told, canvas, iframe, .js-plotly-plot, style, script, title";
  const seen = (node) => {
    if (!node.checkVisibility({ opacityProperty: true, visibilityProperty: true })) return false;
    for (let at = node; at instanceof Element; at = up(at)) if (at.matches(IGNORED)) return false;
    return true;
  };
  // In a small window a lesson lies over the foot of the page, on purpose, and folds.
  const sheet = all.find((node) => node.matches(".lesson-panel:not(.lesson-wide)"));
  const apart = (a, b) => sheet !== undefined && within(sheet, a) !== within(sheet, b);
  const within = (outer, inner) => {
    for (let at = inner; at; at = up(at)) if (at === outer) return true;
    return false;
  };
  const main = document.querySelector('[data-testid="stMain"]');
  // The part of a box that is left by what cuts it off; what scrolls inside the page counts as cutting, but is no fault.
  const left = (node, box) => {
    let [x0, y0, x1, y1, scrolled, by] = [box.left, box.top, box.right, box.bottom, false, null];
    for (let at = up(node); at instanceof Element; at = up(at)) {
      if (at === main) break; // the page itself scrolls
      const style = getComputedStyle(at);
      const [cutsX, cutsY] = [style.overflowX !== "visible", style.overflowY !== "visible"];
      if (!cutsX && !cutsY) continue;
      const around = at.getBoundingClientRect();
      const before = [x0, y0, x1, y1].join();
      if (cutsX) [x0, x1] = [Math.max(x0, around.left), Math.min(x1, around.right)];
      if (cutsY) [y0, y1] = [Math.max(y0, around.top), Math.min(y1, around.bottom)];
      if (before === [x0, y0, x1, y1].join()) continue;
      if (/auto|scroll/.test(style.overflowX + style.overflowY)) scrolled = true;
      by ??= at;
    }
    return { x0, y0, x1, y1, scrolled, by, area: Math.max(0, x1 - x0) * Math.max(0, y1 - y0) };
  };
  const boxes = [];
  for (const node of all) {
    const control = node.matches("button, select, input:not([type=hidden]):not([type=range]), summary, a[href]");
    const texts = [...node.childNodes].filter((child) => child.nodeType === 3 && child.data.trim());
    if ((!control && !texts.length) || !seen(node)) continue;
    const range = document.createRange();
    let box = node.getBoundingClientRect();
    let lines = [box];
    if (texts.length && !control) {
      range.setStartBefore(texts[0]);
      range.setEndAfter(texts.at(-1));
      box = range.getBoundingClientRect();
      lines = [...range.getClientRects()];
    }
    // A folded side bar waits beyond the edge.
    if (box.width < 2 || box.height < 2 || box.right <= 0) continue;
    const shown = left(node, box);
    // A box to tick that is drawn by something else.
    if (control && !texts.length && shown.area < 4) continue;
    const style = getComputedStyle(node);
    // A name that is cut with dots keeps enough of itself to be told from others.
    if (texts.length && style.textOverflow === "ellipsis" && node.scrollWidth > node.clientWidth + 1) {
      const share = node.clientWidth / node.scrollWidth;
      if (share < 0.6 && node.clientWidth < 110) faults.push(`${name(node)} is cut to ${Math.round(100 * share)} %`);
      continue;
    }
    const whole = box.width * box.height;
    if (!shown.scrolled && shown.by && shown.area < 0.9 * whole && !(style.textOverflow === "ellipsis")) {
      // Below what a plate with dots shows.
      const dots = [...(function* () { for (let at = node; at instanceof Element; at = up(at)) yield at; })()].some(
        (at) => getComputedStyle(at).textOverflow === "ellipsis" && at.scrollWidth > at.clientWidth + 1,
      );
      if (!dots) faults.push(`${name(node)} is cut by ${name(shown.by)}`);
    }
    if (shown.area < 4) continue;
    if (shown.x1 > width + 1 || shown.x0 < -1) faults.push(`${name(node)} leaves the window`);
    boxes.push({ node, lines, ...shown });
  }
  // A row of tabs that is wider than the window goes on beneath its arrow.
  const scrolled = (a, b) => a.matches('[aria-label^="Scroll tabs"]') && b.closest('[data-testid="stTabs"], [role="tablist"]');
  // Texts of several lines may wind around each other.
  const meet = (a, b) =>
    a.lines.some((p) => b.lines.some((q) => p.left < q.right - 2 && q.left < p.right - 2 && p.top < q.bottom - 2 && q.top < p.bottom - 2));
  for (let i = 0; i < boxes.length; i++)
    for (let j = i + 1; j < boxes.length; j++) {
      const [a, b] = [boxes[i], boxes[j]];
      const w = Math.min(a.x1, b.x1) - Math.max(a.x0, b.x0);
      const h = Math.min(a.y1, b.y1) - Math.max(a.y0, b.y0);
      if (w < 3 || h < 3 || w * h < 0.1 * Math.min(a.area, b.area)) continue;
      if (within(a.node, b.node) || within(b.node, a.node) || apart(a.node, b.node) || scrolled(a.node, b.node) || scrolled(b.node, a.node) || !meet(a, b)) continue;
      const labels = [a.node, b.node].map((node) => node.closest("label"));
      if (labels[0] && labels[0] === labels[1]) continue;
      faults.push(`${name(a.node)} and ${name(b.node)} lie on each other`);
    }
  return [...new Set(faults)];
}

// The few things of a page that our modules touch when they are loaded, as real event targets.

Object.assign(globalThis, {
  document: new EventTarget(),
  location: { pathname: "/label" },
  Element: class Element {},
  KeyboardEvent: class KeyboardEvent extends Event {},
});

/** Waits until something is so. @param {() => unknown} so @param {string} [what] */
export async function until(so, what = "it never came to be") {
  const end = Date.now() + 10_000;
  while (!so()) {
    if (Date.now() > end) throw new Error(what);
    await new Promise((done) => setTimeout(done, 2));
  }
}

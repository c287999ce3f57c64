// Loader component: links the modules below (ASSETS, filled in by the Python side) into the page once.
// It is mounted outside the fragment and never changes, so its size is paid once per session.
const ASSETS = "__ASSETS__";

async function load() {
  const urls = {};
  for (const [name, source] of ASSETS.modules) {
    const linked = source.replace(/(from|import) "\.\/([\w-]+\.js)"/g, (_, word, other) => `${word} "${urls[other]}"`);
    urls[name] = URL.createObjectURL(new Blob([linked], { type: "text/javascript" }));
  }
  const main = await import(urls["main.js"]);
  main.start(globalThis.__HUB__, ASSETS.css);
}

export default function () {
  const hub = (globalThis.__HUB__ ??= { waiting: new Map() });
  hub.loading ??= load();
}

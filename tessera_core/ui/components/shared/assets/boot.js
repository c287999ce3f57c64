// Loader component: links the modules below (ASSETS, filled in by the Python side) into the page once.
// It is mounted outside the fragment and never changes, so its size is paid once per session.

/** @import { Hub } from "../../messages.js" */

const ASSETS = /** @type {{ leaflet: string, modules: [string, string][], css: string[], language: Language }} */ (
  /** @type {unknown} */ ("__ASSETS__")
);
/** @typedef {{ locale: string, words: Record<string, string> }} Language */
const page = /** @type {{ __HUB__?: Hub, __tesseraLanguage?: Language }} */ (globalThis);

/** @param {string} source */
const address = (source) => URL.createObjectURL(new Blob([source], { type: "text/javascript" }));

async function load() {
  if (ASSETS.leaflet) await import(address(ASSETS.leaflet));
  /** @type {Record<string, string>} */
  const urls = {};
  let main = "";
  // Each module comes after those that it imports; the last is where it begins.
  for (const [name, source] of ASSETS.modules) {
    const linked = source.replace(
      /^((?:import|export)\b(?:[^"';]*\bfrom)? )"([^"]+\.js)";/gm,
      (_, words, other) => `${words}"${urls[other]}";`,
    );
    main = urls[name] = address(linked);
  }
  (await import(main)).start(page.__HUB__, ASSETS.css);
}

export default function () {
  /** @type {Hub} */
  const hub = (page.__HUB__ ??= { waiting: new Map() });
  // Before any module is linked: what they say when they are is said in it.
  const words = { ...page.__tesseraLanguage?.words, ...ASSETS.language.words };
  page.__tesseraLanguage = { locale: ASSETS.language.locale, words };
  hub.loading ??= load();
}

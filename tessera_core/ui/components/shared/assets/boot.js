// Loader component: links the modules below (ASSETS, filled in by the Python side) into the page once.
// It is mounted outside the fragment and never changes, so its size is paid once per session.

/** @import { Hub } from "../../messages.js" */

// JSON, gzip, base64: a third of the bytes, which matters where a class shares a slow line.
const ASSETS = "__ASSETS__";
// Said where the modules cannot be had; in the language of the page, as their own words come with them.
const FAILED = "__FAILED__";
const NOTE = "tessera-not-loaded";
/** @typedef {{ locale: string, words: Record<string, string> }} Language */
/** @typedef {{ leaflet: string, modules: [string, string][], css: string[], language: Language }} Assets */
const page = /** @type {{ __HUB__?: Hub, __tesseraLanguage?: Language }} */ (globalThis);

/** @param {string} source */
const address = (source) => URL.createObjectURL(new Blob([source], { type: "text/javascript" }));

/** @returns {Promise<Assets>} */
async function unpacked() {
  const bytes = Uint8Array.from(atob(ASSETS), (letter) => letter.charCodeAt(0));
  return new Response(new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"))).json();
}

async function load() {
  const assets = await unpacked();
  // Before any module is linked: what they say when they are is said in it.
  const words = { ...page.__tesseraLanguage?.words, ...assets.language.words };
  page.__tesseraLanguage = { locale: assets.language.locale, words };
  if (assets.leaflet) await import(address(assets.leaflet));
  /** @type {Record<string, string>} */
  const urls = {};
  let main = "";
  // Each module comes after those that it imports; the last is where it begins.
  for (const [name, source] of assets.modules) {
    const linked = source.replace(
      /^((?:import|export)\b(?:[^"';]*\bfrom)? )"([^"]+\.js)";/gm,
      (_, words, other) => `${words}"${urls[other]}";`,
    );
    main = urls[name] = address(linked);
  }
  const { start } = await import(main);
  for (const parent of page.__HUB__?.waiting.keys() ?? []) parent.querySelector(`.${NOTE}`)?.remove();
  start(page.__HUB__, assets.css);
}

/**
 * An old browser, or a line that broke: a sentence stands in the place of each part, and the next one to be mounted tries again.
 * @param {Hub} hub
 */
async function attempt(hub) {
  try {
    await load();
  } catch (error) {
    console.error("a part of the page could not be loaded:", error);
    hub.loading = undefined;
    for (const parent of hub.waiting.keys()) {
      if (parent.querySelector(`.${NOTE}`)) continue;
      const note = document.createElement("p");
      note.className = NOTE;
      note.setAttribute("role", "alert");
      note.textContent = FAILED;
      parent.append(note);
    }
  }
}

export default function () {
  /** @type {Hub} */
  const hub = (page.__HUB__ ??= { waiting: new Map() });
  hub.load ??= () => {
    hub.loading ??= attempt(hub);
  };
  hub.load();
}

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import { gzipSync } from "node:zlib";

const assets = new URL("../../tessera_core/ui/components/shared/assets/", import.meta.url);
const page = /** @type {any} */ (globalThis);
/** @param {string} text */
const address = (text) => `data:text/javascript,${encodeURIComponent(text)}`;

/** @param {string} name @param {Record<string, string>} [given] */
async function template(name, given = {}) {
  let text = readFileSync(new URL(name, assets), "utf8");
  // Node links no object URLs.
  text = text.replace(/const address = .*;/, `const address = ${address.toString()};`);
  for (const [place, value] of Object.entries({ __HUB__: "testHub", ...given })) text = text.replaceAll(place, value);
  return (await import(address(text))).default;
}

/** The place of a part, as much of it as a note needs. */
function place() {
  /** @type {any[]} */
  const notes = [];
  return {
    notes,
    querySelector: () => notes[0] ?? null,
    append: (/** @type {any} */ note) => {
      note.remove = () => notes.splice(0);
      notes.push(note);
    },
  };
}

/** @returns {Promise<void>} */
const settled = () => new Promise((done) => setTimeout(done, 50));

test("where the modules cannot be had a sentence says so, and the next mount tries again", async () => {
  page.document = { createElement: () => ({ setAttribute() {} }) };
  const kept = page.DecompressionStream;
  const modules = [["main.js", "export function start(hub) { for (const c of hub.waiting.values()) c.drawn = true; }"]];
  const all = { leaflet: "", modules, css: [], language: { locale: "de", words: {} } };
  const packed = gzipSync(JSON.stringify(all)).toString("base64");
  const mount = await template("mount.js");
  const boot = await template("boot.js", { __ASSETS__: packed, __FAILED__: "Nicht geladen." });
  const first = { parentElement: place(), drawn: false };
  mount(first);
  page.DecompressionStream = undefined;
  const error = console.error;
  console.error = () => {};
  boot();
  await settled();
  mount(first);
  await settled();
  console.error = error;
  assert.deepEqual(
    first.parentElement.notes.map((note) => [note.textContent, note.className]),
    [["Nicht geladen.", "tessera-not-loaded"]],
  );
  page.DecompressionStream = kept;
  const second = { parentElement: place(), drawn: false };
  mount(second);
  await page.testHub.loading;
  assert.deepEqual([first.drawn, second.drawn], [true, true]);
  assert.deepEqual(first.parentElement.notes, []);
  assert.deepEqual(second.parentElement.notes, []);
});

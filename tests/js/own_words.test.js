import assert from "node:assert/strict";
import { test } from "node:test";

import { inLanguage } from "../../tessera_core/ui/components/manners/assets/own_words.js";

const words = { Upload: "Hochladen", "{size} per file": "{size} pro Datei", "{n} more": "{n} weitere" };

test("Streamlit's own words are found whole, and a size is kept; what people wrote stays", () => {
  assert.equal(inLanguage("Upload", words), "Hochladen");
  assert.equal(inLanguage("200MB per file", words), "200MB pro Datei");
  assert.equal(inLanguage("2 more", words), "2 weitere");
  assert.equal(inLanguage("2 more", {}), null);
  assert.equal(inLanguage("Upload of Ana.tessera", words), null);
  assert.equal(inLanguage("constructor", words), null);
  assert.equal(inLanguage("200MB per file", {}), null);
});

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";

import { percent } from "../../tessera_core/ui/components/shared/assets/dom.js";

test("what is not all is never written as 100 %, and what is not nothing never as 0 %", () => {
  const shares = [0, 0.0004, 0.002, 0.25, 0.864, 0.994, 0.996, 0.99996, 1];
  assert.deepEqual(shares.map(percent), ["0", "0.04", "0.2", "25", "86", "99", "99.6", ">99.99", "100"]);
});

test("a share is written as Python writes it, halves too", () => {
  /** @type {[number, string][]} */
  const both = JSON.parse(readFileSync(new URL("../utils/percents.json", import.meta.url), "utf-8"));
  assert.ok(both.length > 60);
  assert.deepEqual(
    both.map(([share]) => [share, percent(share)]),
    both,
  );
});

import assert from "node:assert/strict";
import { test } from "node:test";
import { deflateSync, inflateSync } from "node:zlib";

import { newEpoch, recolour, rgb, unpack } from "../../tessera_core/ui/components/shared/assets/wire.js";

const SIGNATURE = [0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a];

/** CRC-32 bit by bit, as the PNG specification has it in annex D. @param {Uint8Array} bytes */
function crc(bytes) {
  let value = 0xffffffff;
  for (const byte of bytes) {
    value ^= byte;
    for (let k = 0; k < 8; k++) value = value & 1 ? 0xedb88320 ^ (value >>> 1) : value >>> 1;
  }
  return ~value >>> 0;
}

/** @param {string} kind @param {Uint8Array | number[]} body */
function chunk(kind, body) {
  const named = Uint8Array.from([...new TextEncoder().encode(kind), ...body]);
  const framed = new Uint8Array(named.length + 8);
  const view = new DataView(framed.buffer);
  view.setUint32(0, body.length);
  framed.set(named, 4);
  view.setUint32(named.length + 4, crc(named));
  return framed;
}

/** A picture of one row of palette indices. @param {number[]} row @param {boolean} [transparent] */
function palettePng(row, transparent = false) {
  const header = [0, 0, 0, row.length, 0, 0, 0, 1, 8, 3, 0, 0, 0];
  const parts = [
    Uint8Array.from(SIGNATURE),
    chunk("IHDR", header),
    chunk("PLTE", [1, 2, 3, 4, 5, 6, 7, 8, 9]),
    ...(transparent ? [chunk("tRNS", [9, 9, 9])] : []),
    chunk("IDAT", deflateSync(Uint8Array.from([0, ...row]))),
    chunk("IEND", []),
  ];
  return Uint8Array.from(Buffer.concat(parts));
}

/** Chunks by kind; every checksum is right. @param {Uint8Array} png */
function chunks(png) {
  assert.deepEqual([...png.subarray(0, 8)], SIGNATURE);
  const view = new DataView(png.buffer, png.byteOffset, png.byteLength);
  /** @type {[string, Uint8Array][]} */
  const found = [];
  let at = 8;
  while (at < png.length) {
    const length = view.getUint32(at);
    const named = png.subarray(at + 4, at + 8 + length);
    assert.equal(view.getUint32(at + 8 + length), crc(named));
    found.push([String.fromCharCode(...named.subarray(0, 4)), named.subarray(4)]);
    at += 12 + length;
  }
  assert.equal(at, png.length);
  return found;
}

/** @param {Blob} blob */
const bytes = async (blob) => new Uint8Array(await blob.arrayBuffer());

test("a message is its header and the bytes of its picture, wherever it lies in memory", () => {
  const header = new TextEncoder().encode(JSON.stringify({ kind: "map", title: "Höhe" }));
  const packed = Uint8Array.from([99, 99, 99, 0, 0, 0, header.length, ...header, 7, 8, 9]).subarray(3);
  const { header: read, picture } = unpack(packed);
  assert.deepEqual(read, { kind: "map", title: "Höhe" });
  assert.deepEqual([...picture], [7, 8, 9]);
});

test("a message without a picture has an empty one; a cut header is an error", () => {
  assert.equal(unpack(Uint8Array.from([0, 0, 0, 2, 123, 125])).picture.length, 0);
  assert.throws(() => unpack(Uint8Array.from([0, 0, 0, 9, 123])), SyntaxError);
});

for (const transparent of [false, true])
  test(`other colours, the same pixels (${transparent ? "with" : "without"} transparency before)`, async () => {
    const png = palettePng([0, 1, 2, 1], transparent);
    const before = new Map(chunks(png));
    const after = chunks(await bytes(recolour(png, (i) => [10 * i, 20 * i, 30 * i, i ? 255 : 0])));
    assert.deepEqual(
      after.map(([kind]) => kind),
      ["IHDR", "PLTE", "tRNS", "IDAT", "IEND"],
    );
    const now = new Map(after);
    assert.deepEqual([...(now.get("PLTE") ?? [])], [0, 0, 0, 10, 20, 30, 20, 40, 60]);
    assert.deepEqual([...(now.get("tRNS") ?? [])], [0, 255, 255]);
    assert.deepEqual(now.get("IDAT"), before.get("IDAT"));
    assert.deepEqual([...inflateSync(/** @type {Uint8Array} */ (now.get("IDAT")))], [0, 0, 1, 2, 1]);
  });

test("recolouring twice leaves nothing of the first time", async () => {
  const png = palettePng([2, 1]);
  const once = await bytes(recolour(png, () => [1, 1, 1, 1]));
  const twice = await bytes(recolour(once, (i) => [i, i, i, 255]));
  assert.deepEqual(twice, await bytes(recolour(png, (i) => [i, i, i, 255])));
});

test("colours are read from six digits", () => {
  assert.deepEqual(rgb("#0f766e"), [15, 118, 110]);
  assert.deepEqual(rgb("#FFFFFF"), [255, 255, 255]);
  assert.deepEqual(rgb("#000001"), [0, 0, 1]);
});

test("names of pages are such as the server takes, and differ", () => {
  const names = Array.from({ length: 50 }, newEpoch);
  for (const name of names) assert.match(name, /^[0-9a-z]{9}$/);
  assert.equal(new Set(names).size, 50);
});

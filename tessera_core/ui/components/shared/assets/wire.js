// What travels: messages from the server, and palette PNGs whose colours are rewritten here.

/**
 * `uint32 header length (big-endian) | JSON header | picture bytes`, as `session/payload.py` packs it.
 * @param {Uint8Array} data
 * @returns {{ header: any, picture: Uint8Array<ArrayBuffer> }} the header's type is told by its `kind`, see messages.d.ts
 */
export function unpack(data) {
  const view = new DataView(data.buffer, data.byteOffset, data.byteLength);
  const length = view.getUint32(0);
  const header = JSON.parse(new TextDecoder().decode(data.subarray(4, 4 + length)));
  return { header, picture: /** @type {Uint8Array<ArrayBuffer>} */ (data.subarray(4 + length)) };
}

// A random name of this page, so that answers to an earlier one are told apart.
export function newEpoch() {
  const bytes = crypto.getRandomValues(new Uint8Array(9));
  return Array.from(bytes, (b) => (b % 36).toString(36)).join("");
}

const CRC = new Uint32Array(256).map((_, n) => {
  for (let k = 0; k < 8; k++) n = n & 1 ? 0xedb88320 ^ (n >>> 1) : n >>> 1;
  return n;
});

/** @param {Uint8Array} bytes */
function crc32(bytes) {
  let crc = 0xffffffff;
  for (const byte of bytes) crc = CRC[(crc ^ byte) & 255] ^ (crc >>> 8);
  return ~crc >>> 0;
}

/**
 * @param {string} kind
 * @param {Uint8Array} body
 */
function chunk(kind, body) {
  const out = new Uint8Array(12 + body.length);
  const view = new DataView(out.buffer);
  view.setUint32(0, body.length);
  for (let i = 0; i < 4; i++) out[4 + i] = kind.charCodeAt(i);
  out.set(body, 8);
  view.setUint32(8 + body.length, crc32(out.subarray(4, 8 + body.length)));
  return out;
}

/**
 * The same palette PNG with other colours. Pixels are not touched (PLTE and tRNS are).
 * @param {Uint8Array<ArrayBuffer>} png
 * @param {(index: number) => number[]} colour red, green, blue, opacity of a palette index, 0..255
 */
export function recolour(png, colour) {
  const view = new DataView(png.buffer, png.byteOffset, png.byteLength);
  const parts = [png.subarray(0, 8)];
  for (let at = 8; at < png.length; ) {
    const length = view.getUint32(at);
    const kind = String.fromCharCode(...png.subarray(at + 4, at + 8));
    const end = at + 12 + length;
    if (kind === "PLTE") {
      const entries = length / 3;
      const rgb = new Uint8Array(length);
      const alpha = new Uint8Array(entries);
      for (let i = 0; i < entries; i++) {
        const [r, g, b, a] = colour(i);
        rgb.set([r, g, b], 3 * i);
        alpha[i] = a;
      }
      parts.push(chunk("PLTE", rgb), chunk("tRNS", alpha));
    } else if (kind !== "tRNS") parts.push(png.subarray(at, end));
    at = end;
  }
  return new Blob(parts, { type: "image/png" });
}

/** @param {Blob} blob */
export const decode = (blob) => createImageBitmap(blob, { premultiplyAlpha: "none", colorSpaceConversion: "none" });

/**
 * @param {string} hex `#rrggbb`
 * @returns {[number, number, number]}
 */
export const rgb = (hex) => {
  const value = Number.parseInt(hex.slice(1), 16);
  return [value >> 16, (value >> 8) & 255, value & 255];
};

/**
 * The palette indices of a PNG's pixels, one byte each.
 * @param {Uint8Array<ArrayBuffer>} png
 */
export async function indices(png) {
  const bitmap = await decode(recolour(png, (i) => [i, i, i, 255]));
  const canvas = new OffscreenCanvas(bitmap.width, bitmap.height);
  const context = /** @type {OffscreenCanvasRenderingContext2D} */ (
    canvas.getContext("2d", { willReadFrequently: true })
  );
  context.drawImage(bitmap, 0, 0);
  const rgba = context.getImageData(0, 0, bitmap.width, bitmap.height).data;
  const plane = new Uint8Array(bitmap.width * bitmap.height);
  for (let i = 0; i < plane.length; i++) plane[i] = rgba[4 * i];
  return { plane, width: bitmap.width, height: bitmap.height };
}

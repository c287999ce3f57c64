// What people read, in their language. The loader lays the catalogue of the page's language ready before any module is
// linked; without one (English, and tests) the sentence itself is said.

/** @type {{ __tesseraLanguage?: { locale: string, words: Record<string, string> } }} */
const page = /** @type {any} */ (globalThis);

/**
 * A sentence in the language of the page; `{name}` stands for a value.
 * @param {string} message in English
 * @param {Record<string, string | number | undefined>} [values]
 */
export function t(message, values) {
  const said = page.__tesseraLanguage?.words[message] ?? message;
  return values ? said.replace(/\{(\w+)\}/g, (place, name) => String(values[name] ?? place)) : said;
}

/**
 * A sentence about `n` things; `{n}` stands for the number.
 * @param {string} one
 * @param {string} many
 * @param {number} n
 * @param {Record<string, string | number | undefined>} [values]
 */
export function tn(one, many, n, values) {
  return t(n === 1 ? one : many, { n, ...values });
}

/** How numbers are written here, as `toLocaleString` wants it. */
export const locale = () => page.__tesseraLanguage?.locale ?? "en";

// Streamlit's own widgets know English alone: their few words are put into the language of the page where they stand. Only
// the text of a node is set, as Streamlit itself would; what people wrote (names of files, options) is not looked at.

const UPLOAD = '[data-testid="stFileUploaderDropzone"]';
const HINT = '[data-testid="stFileUploaderDropzoneInstructions"]';
const CHOICE = '[data-testid="stSelectbox"] input, [data-testid="stMultiSelect"] input';
const REST = '[data-testid="stTopNavSection"]'; // pages for which a narrow window has no room
const SIZE = / per file$/;
const MORE = /^(\d+) more$/;

/**
 * What stands for a text of Streamlit's; null where it is none of these.
 * @param {string} text
 * @param {Record<string, string>} words English -> the language of the page
 * @returns {string | null}
 */
export function inLanguage(text, words) {
  if (Object.hasOwn(words, text)) return words[text];
  const [, n] = MORE.exec(text) ?? [];
  if (n && words["{n} more"]) return words["{n} more"].replace("{n}", n);
  const each = words["{size} per file"];
  return each && SIZE.test(text) ? each.replace("{size}", text.replace(SIZE, "")) : null;
}

export class OwnWords {
  constructor() {
    /** @type {Record<string, string>} */
    this.words = {};
    this.asked = false;
  }

  /** @param {Record<string, string>} words empty for English */
  learn(words) {
    this.words = words;
    if (!Object.keys(words).length) return;
    if (!this.watching) {
      this.watching = new MutationObserver(() => this.later());
      this.watching.observe(document.body, { childList: true, subtree: true, characterData: true });
    }
    this.later();
  }

  later() {
    if (this.asked) return;
    this.asked = true;
    requestAnimationFrame(() => {
      this.asked = false;
      this.say();
    });
  }

  say() {
    for (const place of document.querySelectorAll(UPLOAD)) {
      // The list of files that were chosen stands beside these.
      for (const part of place.querySelectorAll(`:scope > span, :scope > span button, ${HINT}`)) this.inside(part);
    }
    for (const rest of document.querySelectorAll(REST)) this.inside(rest);
    for (const input of document.querySelectorAll(CHOICE)) {
      if (!(input instanceof HTMLInputElement)) continue;
      const said = inLanguage(input.placeholder, this.words);
      if (said !== null) input.placeholder = said;
    }
  }

  /** @param {Element} part */
  inside(part) {
    const walker = document.createTreeWalker(part, NodeFilter.SHOW_TEXT);
    for (let node = walker.nextNode(); node; node = walker.nextNode()) {
      const said = inLanguage(node.nodeValue ?? "", this.words);
      if (said !== null && said !== node.nodeValue) node.nodeValue = said;
    }
  }
}

// What a tour of suggested places has changed, in words for its end. Knows no page.

import { percent } from "../../shared/assets/dom.js";
import { t, tn } from "../../shared/assets/words.js";

/** @import { LabelClass, Score } from "../../messages.js" */
/**
 * What the map looked like at one time: palette indices of its pixels, what they stand for, and how often it was right.
 * @typedef {{ plane: Uint8Array, levels: number, classes: Pick<LabelClass, "id">[], score: Pick<Score, "accuracy" | "headline"> | null }} Standing
 */
/** @typedef {{ given: number, said: number }} Answer the class a person gave and the one that the map said */

/**
 * The share of the map's pixels that another class was given; null where the two cannot be compared.
 * @param {Standing} before
 * @param {Standing} now
 */
export function changed(before, now) {
  if (before.plane.length !== now.plane.length) return null;
  const [was, is] = [before, now].map(({ levels, classes }) => (/** @type {number} */ i) => {
    return i ? (classes[Math.floor((i - 1) / levels)]?.id ?? 0) : 0;
  });
  let [all, other] = [0, 0];
  for (let n = 0; n < now.plane.length; n++) {
    const id = is(now.plane[n]);
    if (!id) continue;
    all += 1;
    other += Number(id !== was(before.plane[n]));
  }
  return all ? other / all : null;
}

/**
 * @param {Answer[]} answers
 * @param {number | null} share of the map that changed
 * @param {Standing["score"]} before
 * @param {Standing["score"]} now
 * @returns {string[]} sentences
 */
export function summary(answers, share, before, now) {
  const n = answers.length;
  const surprises = answers.filter(({ given, said }) => given !== said).length;
  const others = tn("{n} of them was", "{n} of them were", surprises);
  const told = surprises
    ? t("{others} not what the map had said.", { others })
    : n === 1
      ? t("It is what the map had said.")
      : t("All are what the map had said.");
  const sentences = [tn("{n} answer taken in. {told}", "{n} answers taken in. {told}", n, { told })];
  if (share !== null)
    sentences[0] += t(" {share} % of the map changed.", { share: share < 0.005 ? t("Less than 1") : percent(share) });
  const [was, is] = [before?.accuracy ?? null, now?.accuracy ?? null];
  if (is === null) return now?.headline ? [...sentences, now.headline] : sentences;
  const right = t("{is} % right at places it has not seen", { is: percent(is) });
  if (was === null) sentences.push(t("The map is now {right}.", { right }));
  else if (percent(was) === percent(is)) sentences.push(t("The map is {right}, as before.", { right }));
  else sentences.push(t("The map is {right}; before it was {was} %.", { right, was: percent(was) }));
  if (was !== null && is < was && percent(is) !== percent(was))
    sentences.push(
      t(
        "A lower number is usual here and seldom a worse map: these places were chosen because they are hard, and now the map is tested on them, too.",
      ),
    );
  return sentences;
}

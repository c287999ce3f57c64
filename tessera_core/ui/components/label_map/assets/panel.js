// The panel beside the map: what to do next, how good the map is, the classes, the layers. It only shows and sets; the map
// does the work.

import { el, icon, percent, renew } from "../../shared/assets/dom.js";
import { t, tn } from "../../shared/assets/words.js";
import { ClassList } from "./classlist.js";
import { title } from "./guide.js";
import { LayerList } from "./layerlist.js";
import { SimilarPlaces } from "./similar.js";

/** @import { InsightHeader, LabelHeader, Score } from "../../messages.js" */
/** @import { LabelSession } from "./session.js" */

const LATE = 6000; // milliseconds after which what waits for the server is said to wait

export class Panel {
  /**
   * @param {LabelSession} session
   * @param {HTMLElement} root
   */
  constructor(session, root) {
    this.session = session;
    /** @type {LabelHeader | null} */
    this.header = null;
    this.guided = false;
    this.scoreOpen = false;
    this.issuesShown = "";
    this.classes = new ClassList(session);
    this.layers = new LayerList(session);
    this.similar = new SimilarPlaces(session);
    this.hint = el("div", { class: "tl-hint", role: "status" });
    this.score = el("div", { class: "tl-score", hidden: true, "data-tour": "label.score" });
    this.places = el("div", { class: "tl-places", hidden: true, "data-tour": "label.places" });
    this.issues = el("details", { class: "tl-fold", hidden: true });
    this.status = el("div", { class: "tl-status" });
    this.told = el("div", { class: "tl-told", role: "status" });
    /** @type {number | null} */
    this.toldVersion = null; // of the labels whose map was read out last, or with which the page was opened
    root.replaceChildren(
      el(
        "div",
        { class: "tl-panel" },
        this.hint,
        el("h2", {}, t("Classes"), el("span", { class: "tl-unit" }, t("labels · mapped area"))),
        this.classes.list,
        this.classes.form,
        // Above the score, whose height follows what there is to say.
        this.places,
        this.score,
        this.issues,
        this.similar.fold,
        el("h2", {}, t("Layers")),
        this.layers.box,
        help(),
        this.status,
        this.told,
      ),
    );
    this.clock = setInterval(() => this.tick(), 1000);
  }

  destroy() {
    clearInterval(this.clock);
    if (this.session.panel === this) this.session.panel = null;
  }

  /** @param {boolean} guided whether a lesson says what comes next */
  guide(guided) {
    this.guided = guided;
    if (this.session.header) this.receive(this.session.header);
  }

  /** @param {LabelHeader} header */
  receive(header) {
    this.header = header;
    this.toldVersion ??= header.version;
    // Until two classes are labelled the hint is the next step; later it says why there is no map, and stays.
    const begun = header.classes.filter(({ count }) => count).length > 1;
    this.hint.hidden = !header.hint || (this.guided && !begun);
    this.hint.textContent = header.hint;
    this.fillClasses();
    this.receiveInsight();
    this.tick();
  }

  fillClasses() {
    if (this.header) this.classes.fill(this.header);
  }

  fillLayers() {
    if (this.header) this.layers.fill(this.header);
  }

  fillSimilar() {
    this.similar.fill();
  }

  attention() {
    this.classes.attention();
  }

  // ------------------------------------------------------------- what is known

  receiveInsight() {
    const { header } = this;
    if (!header) return;
    const insight = this.session.insight.header;
    const known = insight?.ready && !header.hint ? insight : null;
    this.score.hidden = !known;
    if (known) this.fillScore(known, header);
    this.tell(known, header);
    this.fillPlaces(known);
    this.fillIssues(known);
    this.fillSimilar();
    this.fillLayers();
  }

  /**
   * Reads out what the map has become, once for all clicks until it was checked.
   * @param {InsightHeader | null} known
   * @param {LabelHeader} header
   */
  tell(known, { version, classes }) {
    if (!known?.score || known.pending || known.version !== version || this.toldVersion === version) return;
    const { accuracy } = known.score;
    const right = accuracy === null ? "" : t(", {accuracy} right", { accuracy: `${percent(accuracy)} %` });
    this.told.textContent = tn("Map updated: {n} class{right}", "Map updated: {n} classes{right}", classes.length, {
      right,
    });
    this.toldVersion = version;
  }

  /**
   * @param {InsightHeader} known
   * @param {LabelHeader} header
   */
  fillScore(known, header) {
    const { score, pending, problem } = known;
    const parts = header.preview ? [this.progress(known)] : [];
    if (!score) {
      const text = pending ? t("Checking how good the map is…") : problem || t("Not checked yet.");
      parts.push(el("p", { class: "tl-soft" }, text));
    } else if (score.accuracy === null) parts.push(el("p", { class: "tl-soft" }, score.headline));
    else {
      const all = header.classes.reduce((n, c) => n + c.count, 0);
      const more = known.version === header.version ? all - score.labels : 0;
      parts.push(...this.accuracy(score, score.accuracy, pending, more));
    }
    this.score.classList.toggle("tl-behind", known.version !== header.version || pending);
    this.score.dataset.version = pending ? "" : `${known.version}`;
    renew(this.score, ...parts);
  }

  /**
   * How much of a slow method's map is made.
   * @param {InsightHeader} known
   * @returns {HTMLElement}
   */
  progress({ progress, problem, pending }) {
    const made = Math.round(100 * progress);
    const stop = () => this.session.insight.act({ do: "stop_map" });
    return el(
      "div",
      { class: "tl-slow" },
      el("progress", { max: 100, value: made }),
      el("span", {}, problem || `Quick map for now; yours is ${made} % made`),
      pending ? el("button", { type: "button", class: "tl-button", onclick: stop }, t("Stop")) : null,
    );
  }

  /**
   * @param {Score} score
   * @param {number} accuracy
   * @param {boolean} pending
   * @param {number} more labels that are not among those judged
   * @returns {HTMLElement[]}
   */
  accuracy(score, accuracy, pending, more) {
    const old = pending && !score.fresh;
    const what = old ? t("was right; checking the new map…") : t("right at places it has not seen");
    const labels =
      more > 0
        ? t("{labels} of {score} labels", { labels: score.labels, score: score.labels + more })
        : tn("{n} label", "{n} labels", score.labels);
    const counted = `${labels}, ${tn("{n} place", "{n} places", score.places)}`;
    const range = t("95 % sure: {low} to {high} · {counted}", {
      low: `${percent(score.low ?? 0)} %`,
      high: `${percent(score.high ?? 0)} %`,
      counted,
    });
    const said = [score.confused, ...score.notes].filter(Boolean).map((text) => el("p", {}, text));
    const why = t("Labels that lie under later ones, or where there is no data, cannot be judged.");
    const parts = [
      el("div", { class: "tl-big" }, el("b", {}, `${percent(accuracy)} %`), el("span", {}, what)),
      scale(score, accuracy),
      el("p", { class: "tl-unit", title: more > 0 ? why : undefined }, range),
    ];
    if (score.gap) parts.push(el("p", {}, score.gap));
    if (!score.weakest) return [...parts, ...said];
    if (!said.length) return [...parts, el("p", {}, score.weakest)];
    const fold = el("details", { open: this.scoreOpen }, el("summary", {}, score.weakest), ...said);
    fold.ontoggle = () => (this.scoreOpen = fold.open);
    return [...parts, fold];
  }

  /** @param {InsightHeader | null} known */
  fillPlaces(known) {
    const { guide } = this.session.insight;
    const on = guide.kind === "next";
    this.places.hidden = !known || !(known.next.length || on);
    if (!known || this.places.hidden) return;
    const text = on ? t("Showing you where to label") : t("Label here next: {n} places", { n: known.next.length });
    renew(
      this.places,
      el(
        "button",
        {
          type: "button",
          class: `tl-button ${on ? "" : "tl-primary"} tl-next`,
          title: t("Places whose labels teach the map most (N)"),
          onclick: () => (on ? guide.leave() : guide.start("next")),
        },
        icon("target"),
        text,
        el("kbd", {}, on ? t("Esc") : "N"),
      ),
    );
  }

  /** @param {InsightHeader | null} known */
  fillIssues(known) {
    const found = known?.issues ?? [];
    const withheld = known?.withheld ?? "";
    this.issues.hidden = !found.length && !withheld;
    const signature = JSON.stringify([found, withheld]);
    if (this.issues.hidden || signature === this.issuesShown) return;
    this.issuesShown = signature;
    const few = found.length > 0 && found.every((issue) => issue.kind === "too few");
    const badge = found.length ? el("span", { class: "tl-badge" }, String(found.length)) : null;
    const items = found.map((issue, n) => {
      const show = () => this.session.insight.guide.start("issues", n);
      const look = { type: "button", class: `tl-item tl-${issue.severity}`, onclick: show };
      return el("button", look, el("b", {}, title(issue)), el("span", {}, issue.text));
    });
    const serious = found.some((issue) => issue.severity === "high");
    this.issues.classList.toggle("tl-serious", serious);
    renew(
      this.issues,
      el("summary", {}, icon("issue"), few ? t("Too few labels") : t("Doubtful labels"), badge),
      el("div", { class: "tl-foldbody tl-list" }, ...items, withheld ? el("p", {}, withheld) : null),
    );
  }

  // --------------------------------------------------------------------- status

  tick() {
    if (!this.header) return;
    const { queue } = this.session;
    const waiting = queue.pending.length;
    const late = waiting > 0 && Date.now() - queue.oldest > LATE;
    const { saved } = this.header;
    let text = t("Nothing to save yet");
    if (late)
      text = tn(
        "{n} change is waiting for the server; nothing is lost",
        "{n} changes are waiting for the server; nothing is lost",
        waiting,
      );
    else if (waiting) text = t("Saving…");
    else if (saved) text = t("Saved {max}", { max: ago(Math.max(0, Math.round(Date.now() / 1000 - saved))) });
    this.status.textContent = text;
    this.status.classList.toggle("tl-late", late);
  }
}

/** @type {(rows: [string, string][]) => HTMLElement[]} */
const keys = (rows) => rows.map(([key, text]) => el("p", {}, el("kbd", {}, key), el("span", {}, text)));

function help() {
  return el(
    "details",
    { class: "tl-help" },
    el("summary", {}, icon("keys"), t("Keys and touch")),
    el(
      "div",
      {},
      ...keys([
        ["1 – 9", t("choose a class")],
        ["D B P R E", t("the tools, from point to erase")],
        [t("V or S"), t("select a label, move the map")],
        ["[ ]", t("brush size")],
        ["Z / Y", "undo / redo"],
        ["N", "next suggested place; then 1 – 9"],
        ["M", t("hide or show the class map")],
        ["C", t("satellite picture or embedding picture")],
        ["Space", t("move the map")],
        [t("+ −, arrows"), t("zoom, move")],
        ["Enter", t("label or select at the cross, finish a polygon")],
        [t("Two fingers"), t("move and zoom")],
      ]),
      el("p", {}, el("b", {}, t("While a label is selected"))),
      ...keys([
        ["1 – 9", t("change its class")],
        ["Delete", t("delete it")],
        ["⇧ arrows", t("move it by a pixel")],
        ["N, ⇧ N", t("the one made before, after it")],
        ["Escape", t("leave it")],
      ]),
    ),
  );
}

/**
 * From 0 to 100 %: the interval as a band, the honest score as a dot, what a random split claims as a ring.
 * @param {Score} score
 * @param {number} accuracy
 */
function scale({ low, high, naive }, accuracy) {
  const box = el("div", { class: "tl-scale", "aria-hidden": "true" });
  const ring = naive === null ? "" : `<circle class="tl-naive" cx="${200 * naive}" cy="7" r="4.500"/>`;
  const band = `M${200 * (low ?? 0)} 7H${200 * (high ?? 0)}`;
  box.innerHTML =
    `<svg viewBox="-6 0 212 14"><path d="M0 7H200"/><path class="tl-band" d="${band}"/>` +
    `${ring}<circle class="tl-honest" cx="${200 * accuracy}" cy="7" r="5"/></svg>`;
  return box;
}

/** @param {number} seconds */
export function ago(seconds) {
  if (seconds < 2) return t("just now");
  if (seconds < 90) return t("{seconds} s ago", { seconds });
  if (seconds < 5400) return t("{n} min ago", { n: Math.round(seconds / 60) });
  if (seconds < 129600) return t("{n} h ago", { n: Math.round(seconds / 3600) });
  return t("{n} days ago", { n: Math.round(seconds / 86400) });
}

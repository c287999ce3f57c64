"""The panel that says how good the map is: scores by class, confidence, and whether more labels would help."""

from __future__ import annotations

import html
from collections.abc import Sequence
from typing import Any

import numpy as np
import streamlit as st
from numpy.typing import NDArray

from tessera_core.assess.label_card import LabelCard
from tessera_core.language import percentage, relay, t
from tessera_core.project import steps
from tessera_core.project.classify import head_choice, label_samples
from tessera_core.project.project import Project
from tessera_core.session.labelling import LabelSession
from tessera_core.types import Cancel, Progress
from tessera_core.ui import charts, humanize
from tessera_core.ui.help import words
from tessera_core.ui.label import tasks
from tessera_core.ui.scene import OpenScene

_HEADS = "<th>Class</th><th>Found</th><th>Right</th><th>Labels</th>"
_TABLE = """<style>
.label-scores { width: 100%; border-collapse: collapse; font-size: 0.85rem; font-variant-numeric: tabular-nums; }
.label-scores th, .label-scores td { padding: 4px 3px; border-bottom: 1px solid rgba(128, 128, 128, 0.25); }
.label-scores th, .label-scores td { text-align: right; white-space: nowrap; }
.label-scores th { font-weight: 400; opacity: 0.7; }
.label-scores th:first-child, .label-scores td:first-child { text-align: left; white-space: normal; overflow-wrap: anywhere; }
</style>"""


def panel(session: LabelSession, project: Project, scene: OpenScene, ready: bool) -> None:
    """How often the map is right where labels were held out, for all and by class."""
    insight = session.assessor.insight
    score = insight.score
    if not ready or score is None:
        first = t("Label two places of two classes each, then the map is checked here.")
        st.caption(
            t("The map is being checked…")
            if ready and insight.pending
            else humanize.plain(relay(insight.problem)) or first
        )
        return
    label_card(insight.card)
    if score.accuracy is None or score.interval is None:
        st.markdown(humanize.escape(relay(score.headline)))
        return
    steps.take(project, steps.CONFIDENCE)
    low, high = score.interval
    left, right = st.columns(2)
    left.metric(t("New places"), f"{percentage(score.accuracy)} %", help=words.tip("held out"))
    naive = "–" if score.naive is None else f"{percentage(score.naive)} %"
    right.metric(t("Random split"), naive, help=words.tip("random split"))
    words.caption(
        t(
            "Labels right when held out. 95 % sure: {low} to {high} %, from {n_labels} labels in {n_places} places.",
            low=percentage(low),
            high=percentage(high),
            n_labels=score.n_labels,
            n_places=score.n_places,
        )
    )
    for sentence in (score.gap, score.weakest, score.confused, *score.notes):
        if sentence:
            st.markdown(f":small[{humanize.escape(relay(sentence))}]")
    _per_class(session, project)
    calibration = insight.calibration
    if calibration is not None:
        st.markdown(t("**Confidence.**") + f" :small[{humanize.escape(relay(calibration.sentence))}]")
        if st.toggle(t("Show it as a plot"), key=f"label_reliability_{project.key}"):
            _reliability(calibration)
    _curve(project, scene)


def label_card(card: LabelCard | None) -> None:
    """What there is to mind of the labels themselves, which no score of them can see."""
    lines = () if card is None else card.minded
    if not lines:
        return
    st.markdown(t("**Before the score: your labels**"))
    for line in lines:
        icon = ":material/error:" if line.level == "bad" else ":material/info:"
        st.markdown(f"{icon} :small[{humanize.escape(relay(line.sentence))} {humanize.escape(relay(line.advice))}]")


def _per_class(session: LabelSession, project: Project) -> None:
    score = session.assessor.insight.score
    if score is None:
        return
    # Not st.dataframe: it would hide columns beside the map, and more of them with longer names.
    rows = "".join(
        f"<tr><td>{html.escape(c.name)}</td><td>{html.escape(percentage(c.recall))} %</td>"
        f"<td>{html.escape(percentage(c.precision))} %</td><td>{c.labels}</td></tr>"
        for c in score.per_class
    )
    st.html(f"{_TABLE}<table class='label-scores'><tr>{_HEADS}</tr>{rows}</table>")
    st.caption(
        t(
            "Found: of the class's held-out labels. Right: of what is mapped as the class, were classes as "
            "common as among your labels; one that is rarer on the ground is right less often there, see "
            "Validate. Labels: how many were held out."
        )
    )
    if score.confusion.size and st.toggle(t("Which classes are confused"), key="label_confusion"):
        _confusion(score.classes, score.confusion, [c.name for c in project.log.classes])


def _confusion(names: Sequence[str], confusion: NDArray[np.floating], order: list[str]) -> None:
    """A picture that fits beside the map: columns are told by the numbers that classes have in the list."""
    shares = 100 * confusion / confusion.sum(axis=1, keepdims=True).clip(min=1e-9)
    # A score may be older than the newest names of the classes, until it is made anew.
    listed = [*order, *(name for name in names if name not in order)]
    numbers = [listed.index(name) + 1 for name in names]
    charts.show(charts.confusion_figure(names, numbers, shares), t("Which classes are confused"))
    st.caption(t("Rows: what you labelled. Columns: what the map says there, in % of the row's held-out labels."))


def _reliability(calibration: Any) -> None:
    lines = {"as it is": calibration.before}
    if calibration.temperature != 1:
        lines["adjusted"] = calibration.after
    points = {
        name: (
            [round(100 * b.confidence, 1) for b in bins],
            [round(100 * b.accuracy, 1) for b in bins],
            [float(b.weight) for b in bins],
        )
        for name, bins in lines.items()
    }
    charts.show(charts.reliability_figure(points), t("How often the map is right, by how sure it is"))
    st.caption(t("On the dashed line, “80 % sure” is right in 80 of 100 cases. Larger dots stand for more labels."))


def _curve(project: Project, scene: OpenScene) -> None:
    from tessera_core.assess.curve import learning_curve
    from tessera_core.heads import make_head

    choice = head_choice(project)
    labels, classes = project.log.labels, project.log.classes

    def work(progress: Progress, cancelled: Cancel) -> object:
        samples = label_samples(labels, classes, scene.raster)
        return learning_curve(samples, make_head(choice), progress=progress, cancelled=cancelled)

    done = tasks.job(
        f"curve {project.key} {scene.key} {project.log.version} {choice}",
        t("Would more labels help?"),
        work,
    )
    if done is None:
        return
    charts.show(charts.curve_figure(done.labels, done.macro_f1, done.spread), t("Score by labels of each class"))
    st.caption(
        t(
            "{sentence} The band shows how much it varied between repeated draws.",
            sentence=humanize.plain(relay(done.sentence)),
        )
    )

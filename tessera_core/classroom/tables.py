"""The board and the class map as rows, for the page, for spreadsheets and for the command line."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from tessera_core._utils.csvcells import quoted_row
from tessera_core._utils.percents import percent
from tessera_core.classroom.consensus import Departure, confused_classes
from tessera_core.classroom.together import Together
from tessera_core.classroom.work import Work

COLUMNS = (
    "learner",
    "labels",
    "classes",
    "held_out",
    "low",
    "high",
    "judged_labels",
    "judged_places",
    "weight",
    "right",
    "differs",
    "differently",
    "answers",
    "lesson",
    "saved",
    "remark",
)


def board_rows(works: Sequence[Work], found: Together | None = None) -> list[dict[str, Any]]:
    """One row for each learner, under :data:`COLUMNS`; None where something is not known.

    Args:
        works: of all learners.
        found: the class map; for the weight of each vote and how right each map is.

    Returns:
        ``classes``: those with labels. ``held_out``, ``low``, ``high``: how often the map is right at places held out, with its
        interval, 0..1; ``judged_labels``, ``judged_places``: what that is made of. ``right``: the same by the truth or the sample
        of the class. ``differs``: share of the map that is not as the class has it, and ``differently`` the largest part of it in
        words. ``answers``: places of a sample looked at.
    """
    weights = {} if found is None or found.consensus is None else found.consensus.weights
    right = {} if found is None or found.judged is None else found.judged.learners
    apart = {} if found is None else {one.learner: one for one in found.departures}
    names = {} if found is None else found.legend.names
    rows = []
    for work in works:
        low, high = (None, None) if work.score is None or work.score.interval is None else work.score.interval
        counts = work.counts
        rows.append(
            {
                "learner": work.learner,
                "labels": sum(counts.values()),
                "classes": sum(1 for count in counts.values() if count),
                "held_out": work.accuracy,
                "low": low,
                "high": high,
                "judged_labels": None if work.accuracy is None or work.score is None else work.score.n_labels,
                "judged_places": None if work.accuracy is None or work.score is None else work.score.n_places,
                "weight": weights.get(work.learner),
                "right": right.get(work.learner),
                "differs": None if work.learner not in apart else apart[work.learner].differs,
                "differently": differently(apart.get(work.learner), names),
                "answers": 0 if work.validation is None else work.validation.seen,
                "lesson": lesson_place(work),
                "saved": datetime.fromtimestamp(work.saved_at).astimezone().isoformat(timespec="minutes"),
                "remark": work.without_map,
            }
        )
    return rows


def differently(one: Departure | None, names: Mapping[int, str]) -> str:
    """The largest difference of a learner from the class, in words; empty where there is none."""
    if one is None or not one.mine:
        return ""
    return f"{names[one.mine]} where the class has {names[one.theirs]}, {percent(one.share)} % of the region"


def lesson_place(work: Work) -> str:
    """Where a learner is in their lesson, such as ``"how-good 4/12"``; empty where there is none."""
    from tessera_core.lessons.library import shelf
    from tessera_core.lessons.progress import place

    if work.lesson is None:
        return ""
    lesson = shelf().lessons.get(work.lesson.lesson)
    if lesson is None:
        return work.lesson.lesson
    here = place(lesson, work.lesson)
    return f"{lesson.id} {here.number}/{here.of}"


def board_csv(rows: Sequence[dict[str, Any]]) -> str:
    """Rows of :func:`board_rows` as CSV that a spreadsheet opens as text and numbers, and never as formulas."""
    out = io.StringIO()
    table = csv.writer(out, lineterminator="\n")
    table.writerow(COLUMNS)
    for row in rows:
        cells = [row[name] for name in COLUMNS]
        table.writerow(quoted_row("" if v is None else f"{v:.4f}" if isinstance(v, float) else str(v) for v in cells))
    return out.getvalue()


def summary(found: Together) -> dict[str, Any]:
    """The class map in figures, as JSON values; shares 0..1."""
    made, parted, judged = found.consensus, found.disagreement, found.judged
    names = found.legend.names
    result: dict[str, Any] = {
        "learners": len(found.works),
        "voters": 0 if made is None else len(made.weights),
        "classes": [one.name for one in found.legend.classes],
        "disputed": None if made is None else made.disputed,
        "confused_classes": []
        if parted is None
        else [{"classes": [a, b], "share": share} for a, b, share in confused_classes(parted, found.legend)[:5]],
        "confused_learners": []
        if parted is None
        else [
            {
                "learners": [one.first, one.second],
                "classes": [names[one.mine], names[one.theirs]],
                "share": one.share,
            }
            for one in parted.confusions[:5]
        ],
        "departures": [
            {"learner": one.learner, "differs": one.differs, "differently": differently(one, names)}
            for one in found.departures
            if one.mine
        ],
        "pooled": None,
        "right": None,
        "notes": list(found.notes),
    }
    if found.pooled is not None:
        labels = found.pooled.labels
        score = found.pooled.score
        result["pooled"] = {
            "pixels": labels.pixels,
            "conflicts": labels.conflicts,
            "undecided": labels.undecided,
            "held_out": None if score is None else score.accuracy,
        }
    if judged is not None:
        result["right"] = {
            "by": "the simulated truth" if judged.simulated else "a sample of places",
            "places": judged.places,
            "best": None if judged.best is None else {"learner": judged.best[0], "share": judged.best[1]},
            "mean": judged.mean,
            "consensus": judged.consensus,
            "pooled": judged.pooled,
            "beaten": judged.beaten,
        }
    return result

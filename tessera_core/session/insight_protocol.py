"""The second channel between page and server: what is known about the map comes down, wishes go up.

It is separate from the label map's own channel, so that a click never waits for an answer about quality. Messages have
the form of ``label_map.protocol`` (epoch, numbers, acknowledgements) and are as little trusted. Pure.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np

from tessera_core._utils.percents import percent
from tessera_core.errors import LabelError, TesseraError
from tessera_core.language import relay
from tessera_core.render.display import DisplayGrid
from tessera_core.session.assessor import ERRORS, Insight
from tessera_core.session.layers import ExtraLayer
from tessera_core.session.protocol import label_id
from tessera_core.session.similar import Places, SimilarPixels
from tessera_core.session.stages import STAGES

log = logging.getLogger(__name__)

MAX_PLACES = 200
MAX_NOTES = 5
LISTED_ISSUES = 40
# From this accuracy on, labels are called doubtful that look unlike others of their class.
TRUSTED = 0.7


@dataclass(frozen=True)
class InsightState:
    """What this side remembers of one browser page.

    Attributes:
        epoch, ack, seen: as in ``label_map.protocol``.
        dissimilarity, sets, error: layers that are shown, see ``stages.Question``.
        skipped: places that were suggested and passed over, ``(row, col)``.
        selected: id of the label that is chosen on the map; may be empty.
        positive, negative: examples and counter-examples of what is looked for, ``(row, col)``.
        notes: ``(number, sentence)`` of what was done or refused.
    """

    epoch: str = ""
    ack: int = 0
    seen: int = 0
    dissimilarity: bool = False
    sets: bool = False
    error: float = 0.1
    skipped: Places = ()
    selected: str = ""
    positive: Places = ()
    negative: Places = ()
    notes: tuple[tuple[int, str], ...] = ()


Act = Callable[[Mapping[str, Any], InsightState], str]


def apply_wishes(message: object, display: DisplayGrid, state: InsightState, act: Act) -> InsightState:
    """Take up one message of the browser; never raises.

    Args:
        message: ``{"epoch": str, "n": int, "want": {...}, "ops": [{"id": int, "do": str, ...}]}``.
        display: the grid that coordinates of places refer to.
        act: does one operation, given the wishes sent with it, and returns a sentence about it; may raise a TesseraError.

    Returns:
        The state to answer with.
    """
    if not isinstance(message, Mapping):
        return state
    epoch = message.get("epoch")
    if not isinstance(epoch, str) or not 4 <= len(epoch) <= 40 or not epoch.isalnum():
        return state
    if epoch != state.epoch:
        state = InsightState(epoch)
    if _whole(message.get("n")):
        state = replace(state, seen=max(state.seen, message["n"]))
    want = message.get("want")
    if isinstance(want, Mapping):
        state = _wanted(want, display, state)
    operations = message.get("ops")
    for op in operations if isinstance(operations, list) else []:
        if not isinstance(op, Mapping) or not _whole(op.get("id")) or op["id"] <= state.ack:
            continue
        state = replace(state, ack=op["id"])
        try:
            sentence = act(op, state)
        except TesseraError as error:
            sentence = str(error)
        except Exception:
            log.exception("The wish %r failed", str(op.get("do"))[:40])
            sentence = "That could not be done; everything else is kept."
        if sentence:
            state = replace(state, notes=(*state.notes, (op["id"], sentence))[-MAX_NOTES:])
    return state


def _wanted(want: Mapping[str, Any], display: DisplayGrid, state: InsightState) -> InsightState:
    layers = want.get("layers")
    layers = layers if isinstance(layers, list) else []
    error = want.get("error")
    similar = want.get("similar")
    similar = similar if isinstance(similar, Mapping) else {}
    return replace(
        state,
        dissimilarity="dissimilarity" in layers,
        sets="sets" in layers,
        error=error if error in ERRORS else state.error,
        skipped=_places(want.get("skipped"), display),
        selected=label_id(want.get("selected")),
        positive=_places(similar.get("pos"), display),
        negative=_places(similar.get("neg"), display),
    )


def _places(value: object, display: DisplayGrid) -> Places:
    """Scene pixels of display coordinates; what is no place of the scene is left out."""
    if not isinstance(value, list):
        return ()
    points = [
        p
        for p in value[:MAX_PLACES]
        if isinstance(p, list) and len(p) == 2 and all(type(v) in (int, float) and abs(v) < 1e9 for v in p)
    ]
    if not points:
        return ()
    x, y = np.array(points, np.float64).T
    rows, cols = display.to_pixel(x, y)
    height, width = display.grid.shape
    inside = (rows >= 0) & (rows < height) & (cols >= 0) & (cols < width)
    return tuple((int(r), int(c)) for r, c in zip(rows[inside], cols[inside], strict=True))


def _whole(value: object) -> bool:
    return type(value) is int and 0 < value < 2**53


# --------------------------------------------------------------------- going down


class SearchAnswer(NamedTuple):
    """What a similarity search found.

    Attributes:
        found: likeness to the chosen places; None where there is none.
        problem: why there is none.
        pixel_area: of one pixel, in the unit that the map shows areas in.
    """

    found: SimilarPixels | None = None
    problem: str = ""
    pixel_area: float = 1.0


def header(
    key: str,
    state: InsightState,
    insight: Insight,
    display: DisplayGrid,
    layers: Sequence[ExtraLayer],
    *,
    run: int,
    ready: bool,
    search: SearchAnswer | None = None,
) -> dict[str, Any]:
    """What the page shows about the map, as JSON.

    Args:
        key: of the label map.
        state: to acknowledge.
        insight: the newest answers.
        display: the grid that places are told on.
        layers: extra layers, without their pictures, which travel apart.
        run: grows with every answer.
        ready: whether there are labels enough for any answer; otherwise nothing is said.
        search: of the similarity search; None where nothing is looked for.
    """
    return {
        "kind": "insight",
        "key": key,
        "run": run,
        "epoch": state.epoch,
        "ack": state.ack,
        "seen": state.seen,
        "notes": [(number, relay(sentence)) for number, sentence in state.notes],
        "ready": ready,
        "version": insight.version,
        "pending": insight.pending and ready,
        "stage": insight.stage,
        "patient": insight.stage == STAGES["rest"],
        "progress": round(insight.map_progress, 3),
        "problem": relay(insight.problem),
        "score": _score(insight) if ready else None,
        "next": _next(insight, display) if ready else [],
        "issues": _label_issues(insight, display) if ready else [],
        "withheld": relay(_withheld(insight)) if ready else "",
        "confidence": relay(insight.calibration.sentence) if ready and insight.calibration is not None else "",
        "layers": [
            {
                "name": v.name,
                "title": relay(v.title),
                "version": v.version,
                "sentence": relay(v.sentence),
                "legend": [(colour, relay(text)) for colour, text in v.legend],
                "mode": v.mode,
            }
            for v in layers
        ],
        "similar": _similar(search or SearchAnswer()),
    }


def _score(insight: Insight) -> dict[str, Any] | None:
    score = insight.score
    if score is None:
        return None
    low, high = score.interval or (None, None)
    return {
        "fresh": "score" in insight.fresh,
        "accuracy": score.accuracy,
        "low": low,
        "high": high,
        "naive": score.naive,
        "labels": score.n_labels,
        "places": score.n_places,
        "headline": relay(score.headline),
        "gap": relay(score.gap),
        "weakest": relay(score.weakest),
        "confused": relay(score.confused),
        "notes": [relay(note) for note in score.notes],
    }


def _next(insight: Insight, display: DisplayGrid) -> list[dict[str, Any]]:
    return [
        {"xy": _centre(s.row, s.col, display), "text": relay(s.reason), "likely": s.likely} for s in insight.queries
    ]


def _label_issues(insight: Insight, display: DisplayGrid) -> list[dict[str, Any]]:
    return [
        {
            "kind": f.kind,
            "severity": f.severity,
            "text": relay(f.sentence),
            "labels": f.labels[:50],
            "xy": None if f.row is None or f.col is None else _centre(f.row, f.col, display),
            "classes": f.class_ids,
        }
        for f in [f for f in insight.issues if f.kind not in _untold(insight)][:LISTED_ISSUES]
    ]


def _untold(insight: Insight) -> tuple[str, ...]:
    """Kinds of doubts that are not told, because embeddings that make a poor map are a poor witness against a label."""
    accuracy = None if insight.score is None else insight.score.accuracy
    return () if accuracy is not None and accuracy >= TRUSTED else ("likely wrong",)


def _withheld(insight: Insight) -> str:
    """Why doubts are not told; empty where all are."""
    count = sum(f.kind in _untold(insight) for f in insight.issues)
    if not count:
        return ""
    accuracy = None if insight.score is None else insight.score.accuracy
    how = "cannot be checked yet" if accuracy is None else f"is right at only {percent(accuracy)} % of new places"
    labels = "1 label looks" if count == 1 else f"{count} labels look"
    return (
        f"{labels} unlike others of the class. Which is not said: the map {how}, so it would doubt right labels too. "
        f"From {percent(TRUSTED)} % on, it is."
    )


def _similar(search: SearchAnswer) -> dict[str, Any] | None:
    found, problem, pixel_area = search
    if found is None:
        return {"problem": relay(problem)} if problem else None
    counts = found.similarity.histogram
    # Pixels at least that much alike, so that the slider tells an area without asking.
    at_least = np.cumsum(counts[::-1])[::-1]
    return {
        "problem": "",
        "start": round(found.similarity.default_percent()),
        "areas": [round(float(n) * pixel_area, 2) for n in at_least],
        "bars": [int(n) for n in counts],
        "examples": len(found.positive),
    }


def _centre(row: int, col: int, display: DisplayGrid) -> list[float]:
    x, y = display.from_pixel(row + 0.5, col + 0.5)
    return [round(float(x), 3), round(float(y), 3)]


def required(op: Mapping[str, Any], key: str, low: int, high: int) -> int:
    """A whole number of an operation.

    Raises:
        LabelError: it is missing or out of range.
    """
    value = op.get(key)
    if type(value) is not int or not low <= value <= high:
        raise LabelError(f"The page sent no usable {key}; nothing was changed.")
    return value

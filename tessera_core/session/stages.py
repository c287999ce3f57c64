"""What is worked out about the labels of a map, one stage at a time, the cheapest and most wanted first. Pure.

A stage takes a question and what earlier stages found, and gives parts of an :class:`Insight`. It holds nothing between two
calls but what is in its :class:`Work`, so that any process that can open the raster may do it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from tessera_core.errors import Cancelled
from tessera_core.labels.model import Label, LabelClass
from tessera_core.labels.sampling import label_pixels
from tessera_core.project.classify import check_confidence, fit_labels, label_samples, score_samples, shown_temperature
from tessera_core.raster import EmbeddingRaster
from tessera_core.types import Cancel, Progress

if TYPE_CHECKING:
    from tessera_core.analysis.active_learning import Query
    from tessera_core.analysis.applicability import DissimilarityMap
    from tessera_core.analysis.label_issues import LabelIssue
    from tessera_core.assess.calibration import Calibration, Conformal, SetMap
    from tessera_core.assess.live import LiveScore
    from tessera_core.heads import ClassMap, Head, HeadChoice


# Of the time a slow head's map takes, as a guess.
FIT_SHARE = 0.4
# What is said while a stage is under way, in the order in which stages are done.
STAGES = {
    "map": "Making the map",
    "score": "Checking how good the map is",
    "next": "Looking for the best places to label next",
    "confidence": "Checking the confidence",
    "rest": "Mapping the rest of the region",
    "issues": "Looking for doubtful labels",
    "dissimilarity": "Looking for what is unlike your labels",
    "sets": "Finding the possible classes",
}
# What a stage finds when it cannot be done.
EMPTY: dict[str, dict[str, Any]] = {
    "map": {"map_progress": 0.0},
    "score": {"score": None, "card": None},
    "next": {"queries": ()},
    "confidence": {"calibration": None},
    "rest": {"map_progress": 0.0},
    "issues": {"issues": ()},
    "dissimilarity": {"dissimilarity": None},
    "sets": {"rule": None, "sets": None},
}


@dataclass(frozen=True)
class Question:
    """Everything an answer depends on.

    Attributes:
        version: of the label log.
        head: the project's.
        labels, classes: of that version.
        skipped: ``(row, col)`` of places suggested and passed over.
        dissimilarity, sets: whether those layers are shown.
        error: share of cases in which a set of possible classes may miss the truth.
        slow: whether the head is too slow for the click, so that its map has to be made here.
        picture: name and year of the picture under the map that is nearest in time to the embeddings.
        large: whether only what is in sight is mapped at a click, so that the rest has to be made here.
        temperature: that softens the map on the screen.
    """

    version: int
    head: HeadChoice
    labels: tuple[Label, ...] = field(repr=False)
    classes: tuple[LabelClass, ...] = field(repr=False)
    skipped: tuple[tuple[int, int], ...] = ()
    dissimilarity: bool = False
    sets: bool = False
    error: float = 0.1
    slow: bool = False
    picture: tuple[str, int] | None = None
    large: bool = False
    temperature: float = 1.0

    @property
    def stages(self) -> tuple[str, ...]:
        """Names of the stages that answer it, in order."""
        without = {name for name, wanted in (("map", self.slow), ("sets", self.sets)) if not wanted}
        if self.slow or not self.large:
            without.add("rest")
        return tuple(name for name in STAGES if name not in without)


@dataclass(frozen=True)
class Known:
    """What earlier stages found that later ones build on."""

    score: LiveScore | None = None
    calibration: Calibration | None = None


class Ground:
    """A raster with what is made of it once and asked for again and again."""

    def __init__(self, raster: EmbeddingRaster) -> None:
        self.raster = raster
        self._norms: NDArray[np.float32] | None = None

    def norms(self, cancelled: Cancel) -> NDArray[np.float32]:
        """Lengths of the codes of every pixel, float32 (H * W,)."""
        from tessera_core.analysis.similarity import code_norms

        if self._norms is None:
            self._norms = code_norms(self.raster.codes.reshape(-1, self.raster.dim), cancelled)
        return self._norms


@dataclass
class Work:
    """What the stages of one question share, each made when first needed."""

    question: Question
    ground: Ground
    _parts: dict[str, Any] = field(default_factory=dict)

    @property
    def raster(self) -> EmbeddingRaster:
        """The embeddings."""
        return self.ground.raster

    @property
    def samples(self) -> Any:
        """The labelled pixels."""
        if "samples" not in self._parts:
            self._parts["samples"] = label_samples(self.question.labels, self.question.classes, self.raster)
        return self._parts["samples"]

    def fitted(self, cancelled: Cancel, progress: Progress | None = None) -> Head:
        """The head, fitted on the labels; for a slow one with progress."""
        if "head" not in self._parts:
            labels, head = self.question.labels, self.question.head
            self._parts["head"] = fit_labels(labels, self.raster, head, cancelled=cancelled, progress=progress)
        head_: Head = self._parts["head"]
        return head_


def do(name: str, work: Work, known: Known, cancelled: Cancel, report: Callable[[float], None]) -> dict[str, Any]:
    """Do one stage.

    Args:
        name: of :data:`STAGES`.
        work: of the question.
        known: of this very question.
        cancelled: see docs/architecture.md.
        report: told how far the map of a slow head is, 0..1.

    Returns:
        Parts of the insight; of the stages ``map`` and ``rest`` their ``ClassMap`` as well, as ``made``; of ``confidence`` also the
        ``temperature`` to show the map with.

    Raises:
        Cancelled: ``cancelled`` said so.
        TesseraError: it cannot be done, and why.
    """
    if cancelled():
        raise Cancelled
    match name:
        case "map":
            return _map(work, cancelled, report)
        case "score":
            return _score(work, cancelled)
        case "next":
            return _next(work, cancelled)
        case "confidence":
            return _confidence(work, known, cancelled)
        case "rest":
            return _rest(work, cancelled, report)
        case "issues":
            return _label_issues(work)
        case "dissimilarity":
            return _dissimilarity(work, cancelled)
        case "sets":
            return _sets(work, known, cancelled)
        case _:
            raise ValueError(f"no stage {name!r}")


def _map(work: Work, cancelled: Cancel, report: Callable[[float], None]) -> dict[str, Any]:
    """The whole map of a head that is too slow for the click."""
    from tessera_core.heads import predict_raster

    def part(start: float, end: float) -> Progress:
        def progress(done: int, total: int, _message: str = "") -> None:
            report(start + (end - start) * done / max(total, 1))

        return progress

    fitted = work.fitted(cancelled, part(0, FIT_SHARE))
    made: ClassMap = predict_raster(fitted, work.raster, cancelled=cancelled, progress=part(FIT_SHARE, 1))
    return {"map_progress": 1.0, "made": made}


def _score(work: Work, cancelled: Cancel) -> dict[str, Any]:
    from tessera_core.assess.label_card import card_of_labels

    question = work.question
    card = card_of_labels(question.labels, question.classes, work.raster, picture=question.picture)
    return {"score": score_samples(work.samples, work.question.head, cancelled=cancelled), "card": card}


def _next(work: Work, cancelled: Cancel) -> dict[str, Any]:
    from tessera_core.analysis.active_learning import next_queries

    question = work.question
    pixels = label_pixels(question.labels, work.raster.grid)
    skipped = np.array(question.skipped, np.int64).reshape(-1, 2)
    found: list[Query] = next_queries(
        work.raster,
        work.fitted(cancelled),
        pixels.rows,
        pixels.cols,
        {c.id: c.name for c in question.classes},
        # Other candidates after every label: what was missed last time gets its chance.
        seed=len(question.labels),
        avoid=(skipped[:, 0], skipped[:, 1]),
    )
    return {"queries": tuple(found)}


def _confidence(work: Work, known: Known, cancelled: Cancel) -> dict[str, Any]:
    calibration = None if known.score is None else check_confidence(known.score)
    if calibration is None:
        return EMPTY["confidence"]
    return {"calibration": calibration, "temperature": shown_temperature(work.fitted(cancelled), calibration)}


def _rest(work: Work, cancelled: Cancel, report: Callable[[float], None]) -> dict[str, Any]:
    """The whole map of a large scene, as what is in sight of it was made."""
    from tessera_core.heads import predict_raster

    fitted, temperature = work.fitted(cancelled), work.question.temperature
    fitted = fitted if temperature == 1 else fitted.temperature_scaled(temperature)

    def progress(done: int, total: int, _message: str = "") -> None:
        report(done / max(total, 1))

    made: ClassMap = predict_raster(fitted, work.raster, cancelled=cancelled, progress=progress)
    return {"map_progress": 1.0, "made": made}


def _label_issues(work: Work) -> dict[str, Any]:
    from tessera_core.analysis.label_issues import find_label_issues

    found: list[LabelIssue] = find_label_issues(work.question.labels, work.question.classes, work.raster)
    return {"issues": tuple(found)}


def _dissimilarity(work: Work, cancelled: Cancel) -> dict[str, Any]:
    from tessera_core.analysis.applicability import learn, map_dissimilarity

    pixels = label_pixels(work.question.labels, work.raster.grid)
    seen = work.raster.times_seen(pixels.rows, pixels.cols)
    known = learn(work.raster.sample(pixels.rows, pixels.cols), pixels.class_ids, pixels.label_index, seen)
    made: DissimilarityMap = map_dissimilarity(known, work.raster, work.ground.norms(cancelled), cancelled)
    return {"dissimilarity": made}


def _sets(work: Work, known: Known, cancelled: Cancel) -> dict[str, Any]:
    from tessera_core.assess.calibration import conformal, map_sets

    held = None if known.score is None else known.score.held_out
    if held is None:
        return EMPTY["sets"]
    temperature = 1.0 if known.calibration is None else known.calibration.temperature
    rule: Conformal = conformal(held, work.question.error, temperature=temperature)
    if not np.array_equal(rule.ids, work.fitted(cancelled).classes_):
        return {"rule": rule, "sets": None}
    made: SetMap = map_sets(rule, work.fitted(cancelled), work.raster, cancelled)
    return {"rule": rule, "sets": made}

"""What is worked out after each training, beside the map and never in its way: score, next places, doubts, both confidences.

One :class:`Study` serves all browser tabs on one year of one project. A question is answered in stages by one background
thread; a newer question stops the one before at its next chance, and the thread waits a moment first, so that quick clicks
never share the processor with it. Pure: knows no browser and no Streamlit.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from tessera_core.errors import Cancelled, TesseraError
from tessera_core.labels.model import Label, LabelClass
from tessera_core.labels.sampling import label_pixels
from tessera_core.mapping import check_confidence, fit_labels, label_samples, score_samples, shown_temperature
from tessera_core.raster import EmbeddingRaster

if TYPE_CHECKING:
    from tessera_core.analysis.doctor import Finding
    from tessera_core.analysis.novelty import NoveltyMap
    from tessera_core.analysis.suggest import Suggestion
    from tessera_core.assess.calibration import Calibration, Conformal, SetMap
    from tessera_core.assess.live import LiveScore
    from tessera_core.heads import ClassMap, Head, HeadChoice

log = logging.getLogger(__name__)
Progress = Callable[[int, int, str], None]

# Seconds of quiet before the work begins: clicks in quick succession are answered once.
QUIET = 0.35
ERRORS = (0.01, 0.05, 0.1, 0.2)
# Of the time a slow head's map takes, as a guess.
FIT_SHARE = 0.4
STOPPED = "Stopped. What you see is the quick map; choose the method again to make the other one."


@dataclass(frozen=True)
class Question:
    """Everything an answer depends on.

    Attributes:
        version: of the label log.
        head: the project's.
        labels, classes: of that version.
        skipped: ``(row, col)`` of places suggested and passed over.
        novelty, sets: whether those layers are shown.
        error: share of cases in which a set of possible classes may miss the truth.
        slow: whether the head is too slow for the click, so that its map has to be made here.
    """

    version: int
    head: HeadChoice
    labels: tuple[Label, ...] = field(repr=False)
    classes: tuple[LabelClass, ...] = field(repr=False)
    skipped: tuple[tuple[int, int], ...] = ()
    novelty: bool = False
    sets: bool = False
    error: float = 0.1
    slow: bool = False


@dataclass(frozen=True)
class Insight:
    """The newest answers. Parts that are not in ``fresh`` belong to an earlier version or are still missing.

    Attributes:
        version, head: what was asked about last.
        fresh: names of the stages that answer this very question.
        stage: what is being worked on, for people; empty when all is done.
        number: grows with every change.
        score, suggestions, findings, calibration, novelty, rule, sets: the answers.
        map_progress: how far the map of a slow head is, 0..1.
        problem: why a stage could not be done, in a sentence.
    """

    version: int = -1
    head: HeadChoice | None = None
    fresh: frozenset[str] = frozenset()
    stage: str = ""
    number: int = 0
    score: LiveScore | None = None
    suggestions: tuple[Suggestion, ...] = ()
    findings: tuple[Finding, ...] = ()
    calibration: Calibration | None = None
    novelty: NoveltyMap | None = None
    rule: Conformal | None = None
    sets: SetMap | None = None
    map_progress: float = 0.0
    problem: str = ""

    @property
    def pending(self) -> bool:
        """Whether more is to come."""
        return bool(self.stage)


@dataclass
class _Work:
    """What the stages of one question share, each made when first needed."""

    question: Question
    raster: EmbeddingRaster
    cancelled: Callable[[], bool]
    _parts: dict[str, Any] = field(default_factory=dict)

    @property
    def samples(self) -> Any:
        if "samples" not in self._parts:
            self._parts["samples"] = label_samples(self.question.labels, self.question.classes, self.raster)
        return self._parts["samples"]

    @property
    def fitted(self) -> Head:
        if "head" not in self._parts:
            self._parts["head"] = self.fit()
        head: Head = self._parts["head"]
        return head

    def fit(self, cancelled: Callable[[], bool] | None = None, progress: Progress | None = None) -> Head:
        """Fit the head, for a slow one with progress."""
        labels, head = self.question.labels, self.question.head
        cancelled = cancelled or self.cancelled
        self._parts["head"] = fitted = fit_labels(labels, self.raster, head, cancelled=cancelled, progress=progress)
        return fitted


class Study:
    """Answers about the labels of one year of one project.

    Args:
        raster: the embeddings.
        on_map: given ``(version, head, map)`` when the map of a slow head is ready.
        on_temperature: given ``(head, temperature)`` when confidence has been checked.
        quiet: seconds to wait before a question is taken up.
    """

    def __init__(
        self,
        raster: EmbeddingRaster,
        on_map: Callable[[int, HeadChoice, ClassMap], None] | None = None,
        on_temperature: Callable[[HeadChoice, float], None] | None = None,
        quiet: float = QUIET,
    ) -> None:
        self.raster = raster
        self._on_map, self._on_temperature, self._quiet = on_map, on_temperature, quiet
        self._lock = threading.Lock()
        self._done = threading.Condition(self._lock)
        self._asked: Question | None = None
        self._subject: Question | None = None
        self._running = False
        self._stopped: Question | None = None
        self._insight = Insight()
        self._norms: NDArray[np.float32] | None = None

    @property
    def insight(self) -> Insight:
        """The newest answers."""
        return self._insight

    def ask(self, question: Question) -> Insight:
        """Have a question answered unless it is already; returns at once with what is known so far."""
        with self._lock:
            if question == self._asked:
                return self._insight
            keep = _still_valid(self._subject, question) & self._insight.fresh
            self._asked = self._subject = question
            made = self._insight.map_progress if "map" in keep else 0.0
            self._update(
                version=question.version,
                head=question.head,
                fresh=keep,
                stage="Checking",
                problem="",
                map_progress=made,
            )
            if not self._running:
                self._running = True
                threading.Thread(target=self._work, name="tessera-study", daemon=True).start()
            return self._insight

    def pause(self) -> None:
        """Stop what is going on, because the person is labelling; the next :meth:`ask` goes on."""
        with self._lock:
            self._asked = None
            if self._insight.stage:
                self._update(stage="")

    def close(self) -> None:
        """Stop for good: nobody will ask again."""
        self.pause()

    def cancel(self) -> None:
        """Give up the map of a slow head; the other answers for the same question go on to come."""
        with self._lock:
            self._stopped = self._asked

    def wait(self, timeout: float = 60.0) -> Insight:
        """Block until nothing is under way (for tests and benches)."""
        with self._done:
            self._done.wait_for(lambda: not self._running, timeout)
            return self._insight

    # ---------------------------------------------------------------- worker

    def _update(self, **changes: Any) -> None:
        """Publish; the lock is held."""
        self._insight = replace(self._insight, number=self._insight.number + 1, **changes)

    def _work(self) -> None:
        while True:
            with self._lock:
                question = self._asked
                if question is None or not self._insight.stage:
                    self._running = False
                    self._done.notify_all()
                    return
            time.sleep(self._quiet)
            if self._asked is not question:
                continue
            try:
                self._answer(question)
            except Cancelled:
                continue
            with self._lock:
                if self._asked is question:
                    self._update(stage="")

    def _answer(self, question: Question) -> None:
        def cancelled() -> bool:
            return self._asked is not question

        work = _Work(question, self.raster, cancelled)
        for name, text, stage in (
            ("map", "Making the map", self._map),
            ("score", "Checking how good the map is", self._score),
            ("next", "Looking for the best places to label next", self._next),
            ("confidence", "Checking the confidence", self._confidence),
            ("doubts", "Looking for doubtful labels", self._doubts),
            ("novelty", "Looking for what is unlike your labels", self._unlike),
            ("sets", "Finding the possible classes", self._sets),
        ):
            if name in self._insight.fresh or (name == "sets" and not question.sets):
                continue
            with self._lock:
                if self._asked is not question:
                    raise Cancelled
                self._update(stage=text)
            problem = ""
            try:
                found = stage(work)
            except TesseraError as error:
                if cancelled():
                    raise Cancelled from error
                problem = STOPPED if isinstance(error, Cancelled) else str(error)
                found = _EMPTY[name]
            except Exception:
                log.exception("The stage %r of a study failed", name)
                problem = "Something unforeseen went wrong while checking the map; your labels are safe."
                found = _EMPTY[name]
            with self._lock:
                if self._asked is not question:
                    raise Cancelled
                changes = {"problem": problem} if problem and name in ("map", "score") else {}
                self._update(fresh=self._insight.fresh | {name}, **found, **changes)

    # ---------------------------------------------------------------- stages

    def _map(self, work: _Work) -> dict[str, Any]:
        """The whole map of a head that is too slow for the click."""
        question = work.question
        if not question.slow:
            return {"map_progress": 0.0}
        from tessera_core.heads import predict_raster

        def cancelled() -> bool:
            return work.cancelled() or self._stopped is question

        def report(start: float, end: float) -> Progress:
            def progress(done: int, total: int, message: str = "") -> None:
                with self._lock:
                    self._update(map_progress=start + (end - start) * done / max(total, 1))

            return progress

        if cancelled():
            raise Cancelled
        fitted = work.fit(cancelled, report(0, FIT_SHARE))
        made = predict_raster(fitted, self.raster, cancelled=cancelled, progress=report(FIT_SHARE, 1))
        if self._on_map is not None:
            self._on_map(question.version, question.head, made)
        return {"map_progress": 1.0}

    def _score(self, work: _Work) -> dict[str, Any]:
        return {"score": score_samples(work.samples, work.question.head, cancelled=work.cancelled)}

    def _next(self, work: _Work) -> dict[str, Any]:
        from tessera_core.analysis.suggest import suggest

        question = work.question
        pixels = label_pixels(question.labels, self.raster.grid)
        skipped = np.array(question.skipped, np.int64).reshape(-1, 2)
        found = suggest(
            self.raster,
            work.fitted,
            pixels.rows,
            pixels.cols,
            {c.id: c.name for c in question.classes},
            # Other candidates after every label: what was missed last time gets its chance.
            seed=len(question.labels),
            avoid=(skipped[:, 0], skipped[:, 1]),
        )
        return {"suggestions": tuple(found)}

    def _confidence(self, work: _Work) -> dict[str, Any]:
        score = self._insight.score
        calibration = None if score is None else check_confidence(score)
        if calibration is not None and self._on_temperature is not None:
            self._on_temperature(work.question.head, shown_temperature(work.fitted, calibration))
        return {"calibration": calibration}

    def _doubts(self, work: _Work) -> dict[str, Any]:
        from tessera_core.analysis.doctor import examine

        return {"findings": tuple(examine(work.question.labels, work.question.classes, self.raster))}

    def _unlike(self, work: _Work) -> dict[str, Any]:
        from tessera_core.analysis.novelty import learn, map_novelty
        from tessera_core.analysis.similarity import code_norms

        pixels = label_pixels(work.question.labels, self.raster.grid)
        known = learn(self.raster.sample(pixels.rows, pixels.cols), pixels.class_ids, pixels.label_index)
        if self._norms is None:
            self._norms = code_norms(self.raster.codes.reshape(-1, self.raster.dim), work.cancelled)
        return {"novelty": map_novelty(known, self.raster, self._norms, work.cancelled)}

    def _sets(self, work: _Work) -> dict[str, Any]:
        from tessera_core.assess.calibration import conformal, map_sets

        held = None if self._insight.score is None else self._insight.score.held_out
        if held is None:
            return _EMPTY["sets"]
        calibration = self._insight.calibration
        rule = conformal(held, work.question.error, temperature=1.0 if calibration is None else calibration.temperature)
        if not np.array_equal(rule.ids, work.fitted.classes_):
            return {"rule": rule, "sets": None}
        return {"rule": rule, "sets": map_sets(rule, work.fitted, self.raster, work.cancelled)}


_EMPTY: dict[str, dict[str, Any]] = {
    "map": {"map_progress": 0.0},
    "score": {"score": None},
    "next": {"suggestions": ()},
    "confidence": {"calibration": None},
    "doubts": {"findings": ()},
    "novelty": {"novelty": None},
    "sets": {"rule": None, "sets": None},
}


def _still_valid(before: Question | None, now: Question) -> frozenset[str]:
    """Stages whose answers to ``before`` answer ``now`` as well."""
    # Not the version alone: a log whose file was replaced may count from where another one stood.
    same = before is not None and (before.version, before.head) == (now.version, now.head)
    if before is None or not same or (before.labels, before.classes) != (now.labels, now.classes):
        return frozenset()
    stays = {"map", "score", "confidence", "doubts", "novelty"}
    if before.skipped == now.skipped:
        stays.add("next")
    if before.error == now.error:
        stays.add("sets")
    return frozenset(stays)

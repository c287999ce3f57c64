"""What is known about the labels of one year of one project, and what is being worked out: score, next places, doubts, more.

One :class:`Assessor` serves all browser tabs on it. A question is answered stage by stage by the server's crew; a newer one takes
the place of the one before, and while somebody is labelling nothing is begun. Pure: knows no browser and no Streamlit.
"""

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any

from tessera_core.errors import Cancelled, TesseraError
from tessera_core.raster import EmbeddingRaster
from tessera_core.session.crew import THE_CREW, Crew
from tessera_core.session.stages import EMPTY, STAGES, Ground, Known, Question, Work

if TYPE_CHECKING:
    from tessera_core.analysis.active_learning import Query
    from tessera_core.analysis.applicability import DissimilarityMap
    from tessera_core.analysis.label_issues import LabelIssue
    from tessera_core.assess.calibration import Calibration, Conformal, SetMap
    from tessera_core.assess.label_card import LabelCard
    from tessera_core.assess.live import LiveScore
    from tessera_core.heads import ClassMap, HeadChoice

__all__ = ["ERRORS", "QUIET", "STOPPED", "Assessor", "Insight", "Question"]

# Seconds of quiet before the work begins, after a question and after a click: clicks in quick succession are answered once.
QUIET, CALM = 0.35, 1.0
ERRORS = (0.01, 0.05, 0.1, 0.2)
STOPPED = "Stopped. What you see is the quick map; choose the method again to make the other one."
UNFORESEEN = "Something unforeseen went wrong while checking the map; your labels are safe."
_numbers = itertools.count(1)


@dataclass(frozen=True)
class Insight:
    """The newest answers. Parts that are not in ``fresh`` belong to an earlier version or are still missing.

    Attributes:
        version, head: what was asked about last.
        fresh: names of the stages that answer this very question.
        stage: what is being worked on, for people; empty when all is done.
        number: grows with every change.
        score, card, queries, issues, calibration, dissimilarity, rule, sets: the answers.
        map_progress: how far the map of a slow head is, 0..1.
        problem: why a stage could not be done, in a sentence.
    """

    version: int = -1
    head: HeadChoice | None = None
    fresh: frozenset[str] = frozenset()
    stage: str = ""
    number: int = 0
    score: LiveScore | None = None
    card: LabelCard | None = None
    queries: tuple[Query, ...] = ()
    issues: tuple[LabelIssue, ...] = ()
    calibration: Calibration | None = None
    dissimilarity: DissimilarityMap | None = None
    rule: Conformal | None = None
    sets: SetMap | None = None
    map_progress: float = 0.0
    problem: str = ""

    @property
    def pending(self) -> bool:
        """Whether more is to come."""
        return bool(self.stage)


@dataclass
class _Task:
    """A stage of a question that is under way; see :class:`tessera_core.session.crew.Task`."""

    name: str
    number: int
    known: Known
    work: Work
    place: tuple[str, str] | None
    stale: Callable[[bool], bool]
    report: Callable[[float], None]
    settle: Callable[[dict[str, Any] | None, Exception | None], None]


class Assessor:
    """Answers about the labels of one year of one project.

    Args:
        raster: the embeddings.
        on_map: given ``(version, head, map)`` when the map of a slow head is ready.
        on_temperature: given ``(head, temperature)`` when confidence has been checked.
        on_rest: given ``(version, head, temperature, map)`` when the map of all of a large scene is ready.
        quiet: seconds to wait before a question is taken up.
        place: key and path of the raster's files, so that another process can open them; None: it lies in memory only.
        crew: who does the work; by default the server's.

    Attributes:
        served: when the crew turned to it last, by its own count.
    """

    def __init__(
        self,
        raster: EmbeddingRaster,
        on_map: Callable[[int, HeadChoice, ClassMap], None] | None = None,
        on_temperature: Callable[[HeadChoice, float], None] | None = None,
        quiet: float = QUIET,
        place: tuple[str, str] | None = None,
        crew: Crew | None = None,
        on_rest: Callable[[int, HeadChoice, float, ClassMap], None] | None = None,
    ) -> None:
        self.raster, self.place = raster, place
        self.served = 0
        self._on_map, self._on_temperature, self._quiet = on_map, on_temperature, quiet
        self._on_rest = on_rest
        self._crew = crew or THE_CREW
        self._ground = Ground(raster)
        self._lock = threading.Lock()
        self._done = threading.Condition(self._lock)
        self._asked: Question | None = None
        self._subject: Question | None = None
        self._number = 0
        self._work: Work | None = None
        self._ready = 0.0
        self._clicked = -CALM
        # Name and kind of the stage that is under way.
        self._busy: str | None = None
        self._stopped: Question | None = None
        self._closed = False
        self._insight = Insight()

    @property
    def insight(self) -> Insight:
        """The newest answers."""
        return self._insight

    def prepare(self) -> None:
        """Somebody will soon ask."""
        if self.place is not None:
            self._crew.ask(self, slow=False)

    def ask(self, question: Question) -> Insight:
        """Have a question answered unless it is already; returns at once with what is known so far."""
        with self._lock:
            if question == self._asked:
                return self._insight
            keep = _still_valid(self._subject, question) & self._insight.fresh
            # A map that is made at every click is not asked for here.
            keep |= {"map"} - set(question.stages)
            if self._subject is None or not _same(self._subject, question):
                self._number, self._work = next(_numbers), None
            self._asked = self._subject = question
            now = time.monotonic()
            self._ready = max(now + self._quiet, self._clicked + CALM * self._quiet / QUIET)
            is_made = {"map", "rest"} & set(question.stages) & keep
            made = self._insight.map_progress if is_made else 0.0
            self._update(
                version=question.version,
                head=question.head,
                fresh=keep,
                stage="Checking" if set(question.stages) - keep else "",
                problem="",
                map_progress=made,
            )
            insight = self._insight
        # Not under the lock: the crew asks back.
        self._crew.ask(self, question.slow)
        return insight

    def pause(self) -> None:
        """Begin nothing more, because the person is labelling; the next :meth:`ask` goes on."""
        with self._lock:
            self._clicked = time.monotonic()
            self._asked = None
            if self._insight.stage:
                self._update(stage="")
            self._done.notify_all()
            busy = self._busy is not None
        if busy:
            self._crew.look()

    def close(self) -> None:
        """Stop for good: nobody will ask again."""
        with self._lock:
            self._closed = True
        self.pause()
        self._crew.forget(self)

    def cancel(self) -> None:
        """Give up the map of a slow head; the other answers for the same question go on to come."""
        with self._lock:
            self._stopped = self._asked

    def wait(self, timeout: float = 60.0) -> Insight:
        """Block until nothing is under way (for tests and benches)."""
        with self._done:
            self._done.wait_for(lambda: self._busy is None and self._next() is None, timeout)
            return self._insight

    # ------------------------------------------------------------------ stages

    def _update(self, **changes: Any) -> None:
        """Publish; the lock is held."""
        self._insight = replace(self._insight, number=self._insight.number + 1, **changes)

    def _next(self) -> str | None:
        """Name of the next stage; the lock is held."""
        if self._asked is None:
            return None
        return next((name for name in self._asked.stages if name not in self._insight.fresh), None)

    def due(self, slow: bool) -> tuple[int, float] | None:
        """See :class:`tessera_core.session.crew.Asker`."""
        with self._lock:
            name = self._next()
            if name is None or self._busy is not None or self._asked is None or self._asked.slow != slow:
                return None
            return list(STAGES).index(name), self._ready

    def take(self, slow: bool) -> _Task | None:
        """See :class:`tessera_core.session.crew.Asker`."""
        with self._lock:
            name, question = self._next(), self._asked
            if name is None or question is None or self._busy is not None or question.slow != slow:
                return None
            self._busy = name
            self._update(stage=STAGES[name])
            known = Known(self._insight.score, self._insight.calibration)
            stale, settle = partial(self._stale, name, question), partial(self._settle, name, question)
            # What was made of the same labels serves again, though something else is asked about them.
            self._work = replace(self._work or Work(question, self._ground), question=question)
            return _Task(name, self._number, known, self._work, self.place, stale, self._report, settle)

    def _stale(self, name: str, question: Question, beside: bool) -> bool:
        if self._closed or (name == "map" and self._stopped is question):
            return True
        # A score that was begun is worth having though it is one label old, where it is in nobody's way.
        late = beside and name == "score" and not question.slow
        return self._asked is not question and not late

    def _report(self, share: float) -> None:
        with self._lock:
            self._update(map_progress=share)

    def _settle(self, name: str, question: Question, found: dict[str, Any] | None, error: Exception | None) -> None:
        if error is not None:
            found = EMPTY[name]
        found = dict(found or {})
        made, temperature = found.pop("made", None), found.pop("temperature", None)
        wanted = self._asked is question
        if wanted and made is not None and name == "rest" and self._on_rest is not None:
            self._on_rest(question.version, question.head, question.temperature, made)
        elif wanted and made is not None and self._on_map is not None:
            self._on_map(question.version, question.head, made)
        if wanted and temperature is not None and self._on_temperature is not None:
            self._on_temperature(question.head, temperature)
        problem = "" if error is None else _problem(error)
        with self._lock:
            self._busy = None
            if self._asked is question:
                if temperature is not None and self._on_temperature is not None and "rest" in question.stages:
                    # The rest is mapped with the confidence that the page is about to show, and not twice.
                    self._asked = self._subject = replace(question, temperature=temperature)
                changes = {"problem": problem} if problem and name in ("map", "rest", "score") else {}
                self._update(fresh=self._insight.fresh | {name}, **found, **changes)
                if self._next() is None:
                    self._work = None
                    self._update(stage="")
            elif error is None and name == "score" and question.head == self._insight.head:
                # Of the labels before, until that of the newest is there.
                self._update(**({} if "score" in self._insight.fresh else found))
            self._done.notify_all()


def _problem(error: Exception) -> str:
    if isinstance(error, Cancelled):
        return STOPPED
    return str(error) if isinstance(error, TesseraError) else UNFORESEEN


def _same(before: Question, now: Question) -> bool:
    """Whether two questions are about the same labels and method.

    Not by the version alone: a log whose file was replaced may count from where another one stood.
    """
    return (before.version, before.head, before.labels, before.classes) == (
        now.version,
        now.head,
        now.labels,
        now.classes,
    )


def _still_valid(before: Question | None, now: Question) -> frozenset[str]:
    """Stages whose answers to ``before`` answer ``now`` as well."""
    if before is None or not _same(before, now):
        return frozenset()
    stays = {"map", "score", "confidence", "issues", "dissimilarity"}
    if before.skipped == now.skipped:
        stays.add("next")
    if before.error == now.error:
        stays.add("sets")
    if before.temperature == now.temperature:
        stays.add("rest")
    return frozenset(stays)

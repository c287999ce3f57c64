"""Scores of a class side by side: honest ones alone, each with what it is made of, in an order that luck does not win.

A score is how often a learner's map is right at places held out, the one that the learner sees. The order is by the weight of the
learner's vote (:mod:`tessera_core.classroom.consensus`): the lower end of the interval, and the share of the classes that are
known, so that four easy labels with a perfect score do not come first.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from tessera_core.classroom.board import Row
from tessera_core.classroom.consensus import weight_of
from tessera_core.classroom.matching import match_classes
from tessera_core.classroom.work import Work, read_work
from tessera_core.errors import TesseraError
from tessera_core.labels.model import LabelClass
from tessera_core.project.home import projects_home
from tessera_core.project.project import Project
from tessera_core.raster import EmbeddingRaster


@dataclass(frozen=True)
class Standing:
    """How a learner stands.

    Attributes:
        learner: nickname.
        held_out: how often the map is right at places held out, 0..1; None where there is no score.
        interval: its 95 % interval, 0..1; None likewise.
        labels, places: that the score is made of: labels judged, and places they lie in.
        known, classes: classes that were judged, of how many that the class has.
        weight: by which learners are ordered, 0..1.
        rank: from 1, the same for who has the same weight; None where there is no score.
    """

    learner: str
    held_out: float | None = None
    interval: tuple[float, float] | None = None
    labels: int = 0
    places: int = 0
    known: int = 0
    classes: int = 0
    weight: float = 0.0
    rank: int | None = None


def standings(works: Sequence[Work], template: Sequence[LabelClass] = (), origin: str = "") -> list[Standing]:
    """The learners of a class, the best first; who has no score comes last, by nickname.

    Args:
        works: of all learners; their maps are not looked at.
        template, origin: as of :func:`~tessera_core.classroom.matching.match_classes`.

    Raises:
        InputError: two learners have the same nickname, or there are more classes than a map can have.
    """
    classes = len(match_classes(works, template, origin).classes)
    found = [_standing(work, classes) for work in works]
    found.sort(key=lambda one: (one.held_out is None, -one.weight, one.learner.casefold(), one.learner))
    ranked: list[Standing] = []
    for number, one in enumerate(found, 1):
        same = ranked and ranked[-1].rank is not None and ranked[-1].weight == one.weight
        rank = None if one.held_out is None else ranked[-1].rank if same else number
        ranked.append(replace(one, rank=rank))
    return ranked


def _standing(work: Work, classes: int) -> Standing:
    score = work.score
    if score is None or score.accuracy is None or score.interval is None:
        return Standing(work.learner, classes=classes)
    return Standing(
        work.learner,
        score.accuracy,
        score.interval,
        score.n_labels,
        score.n_places,
        len(score.per_class),
        classes,
        weight_of(work, classes),
    )


@dataclass
class Scores:
    """The scores of a class on a server, made anew where labels have changed: a few at a time, as clicks go before them.

    Attributes:
        works: project -> what was read of it last, without a map.
        stamps: project -> when it was changed last, as far as that was read; seconds since 1970.
        read: project -> when it was read last, by a clock that only goes forward.
    """

    works: dict[str, Work] = field(default_factory=dict)
    stamps: dict[str, float] = field(default_factory=dict)
    read: dict[str, float] = field(default_factory=dict)

    def look(self, rows: Sequence[Row], raster: EmbeddingRaster, seconds: float = 0.2) -> list[Work]:
        """The works of those who can be read, some perhaps of a moment ago.

        Args:
            rows: of the board.
            raster: the embeddings of the class.
            seconds: processor time after which no further score is begun; one is made at least. Who waits longest comes first.
        """
        began = time.thread_time()
        for row in sorted(rows, key=lambda row: self.read.get(row.project, -1.0)):
            if self.stamps.get(row.project) == row.changed:
                continue
            before = self.works.pop(row.project, None)
            known = {} if before is None else {before.stamp: before}
            # A project that is gone or of another place has no score; the board says which.
            with contextlib.suppress(TesseraError):
                project = Project.open(projects_home() / Path(row.project).name)
                self.works[row.project] = read_work(project, raster, row.nickname, known=known, with_map=False)
            self.stamps[row.project], self.read[row.project] = row.changed, time.monotonic()
            if time.thread_time() - began > seconds:
                break
        return [self.works[row.project] for row in rows if row.project in self.works]

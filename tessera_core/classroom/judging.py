"""How right single maps and the class map are: by the truth of the simulated place, or by a sample that the class shares.

Both judge all maps at the very same places, so that they compare fairly; the held-out score of each learner does not, as every
learner is judged by their own labels.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from tessera_core.classroom.matching import Legend, plain
from tessera_core.classroom.work import Work
from tessera_core.errors import LabelError
from tessera_core.project.project import Project
from tessera_core.project.validate import Validation


@dataclass(frozen=True)
class Truth:
    """What really is there, as far as that is known.

    Attributes:
        classes: uint8 (H, W) ids of the legend everywhere, of a simulated place; None where there is a sample.
        sample: places with answers in ids of the legend; None where the truth is known everywhere.
        people: learners whose answers these are; empty where they are the teacher's, and for a simulated place.
    """

    classes: NDArray[np.uint8] | None = None
    sample: Validation | None = None
    people: tuple[str, ...] = ()

    @property
    def places(self) -> int:
        """At how many places maps are compared with it."""
        if self.classes is not None:
            return int(np.count_nonzero(self.classes))
        return 0 if self.sample is None else self.sample.sample.answered

    def right(self, classes: NDArray[np.uint8]) -> tuple[float, tuple[float, float] | None] | None:
        """How much of a map (H, W) in ids of the legend is right, 0..1, with the 95 % interval of a sample; None where it cannot
        be told. Ground of which a map says nothing is wrong."""
        if self.classes is not None:
            known = self.classes > 0
            if not known.any():
                return None
            return float((classes[known] == self.classes[known]).mean()), None
        if self.sample is None:
            return None
        try:
            overall = self.sample.on_map(classes).assess().overall
        except LabelError:
            return None
        return overall.value, overall.interval


@dataclass(frozen=True)
class Judged:
    """How right each map is.

    Attributes:
        learners: learner -> share that is right, 0..1; those with a map.
        consensus, pooled: of the class map, and of all labels as one head; None where there is none.
        intervals: 95 % interval of each, by learner, and under ``"consensus"`` and ``"pooled"`` of :data:`TOGETHER`; empty for a
            simulated place, where nothing is estimated.
        places: at how many places; pixels of a simulated place.
        simulated: whether the truth is that of a simulated place.
    """

    learners: Mapping[str, float]
    consensus: float | None
    pooled: float | None
    intervals: Mapping[tuple[str, str], tuple[float, float]]
    places: int
    simulated: bool

    @property
    def best(self) -> tuple[str, float] | None:
        """The learner whose map is best, and how right it is; None where nobody has a map."""
        if not self.learners:
            return None
        learner = min(self.learners, key=lambda name: (-self.learners[name], name))
        return learner, self.learners[learner]

    @property
    def mean(self) -> float | None:
        """How right a single map is on average."""
        return float(np.mean(list(self.learners.values()))) if self.learners else None

    @property
    def beaten(self) -> int:
        """How many single maps the class map is better than."""
        return 0 if self.consensus is None else sum(share < self.consensus for share in self.learners.values())


def judge(
    truth: Truth,
    works: Sequence[Work],
    legend: Legend,
    consensus: NDArray[np.uint8] | None,
    pooled: NDArray[np.uint8] | None,
) -> Judged | None:
    """How right all maps are; None where nobody can tell.

    Args:
        truth: of the class.
        works: of all learners.
        legend: of the class map.
        consensus, pooled: uint8 (H, W) ids of the legend, or None.
    """
    maps: dict[tuple[str, str], NDArray[np.uint8]] = {
        ("learner", work.learner): legend.tables[work.learner][work.map] for work in works if work.map is not None
    }
    maps |= {("class", name): made for name, made in (("consensus", consensus), ("pooled", pooled)) if made is not None}
    found = {key: right for key, made in maps.items() if (right := truth.right(made)) is not None}
    if not found:
        return None
    shares = {key: share for key, (share, _) in found.items()}
    return Judged(
        {name: share for (kind, name), share in shares.items() if kind == "learner"},
        shares.get(("class", "consensus")),
        shares.get(("class", "pooled")),
        {key: interval for key, (_, interval) in found.items() if interval is not None},
        truth.places,
        truth.classes is not None,
    )


def simulated_truth(project: Project, year: int | None, legend: Legend) -> Truth | None:
    """The truth of the demo region in ids of a legend; None elsewhere, or where no class of the legend is known there.

    A class stands for the classes of the truth that have its name, or that a lesson of the studio says it stands for.
    """
    from tessera_core.lessons.truth import truth_of

    meant: dict[str, tuple[str, ...]] = {}
    kinds = _kinds()
    taken: set[str] = set()
    # Names of the truth itself before those that join several of its classes.
    for one in sorted(legend.classes, key=lambda one: len(kinds.get(plain(one.name), ()))):
        own = tuple(kind for kind in kinds.get(plain(one.name), ()) if kind not in taken)
        taken |= set(own)
        meant[one.name] = own
    if not taken:
        return None
    found = truth_of(project, year, meant)
    if found is None:
        return None
    ids = {one.name: one.id for one in legend.classes}
    table = np.array([0, *(ids[name] for name in meant)], np.uint8)
    return Truth(classes=table[found.classes])


def _kinds() -> dict[str, tuple[str, ...]]:
    """How a class may be called -> classes of the simulated truth."""
    from tessera_core.lessons.library import shelf
    from tessera_core.project.demo import DEMO_CLASSES

    kinds: dict[str, tuple[str, ...]] = {}
    for lesson in shelf().lessons.values():
        for name, spelt in lesson.spellings().items():
            for spelling in spelt:
                if name in lesson.legend:
                    kinds.setdefault(plain(spelling), tuple(lesson.legend[name]))
    return kinds | {plain(one.name): (one.name,) for one in DEMO_CLASSES}


def shared_sample(works: Sequence[Work], legend: Legend, teachers: Validation | None = None) -> Truth | None:
    """Places that the class has looked at: the teacher's own answers, or those of learners who looked at the same places.

    Args:
        works: of all learners.
        legend: of the class map.
        teachers: the teacher's sample, in ids of the legend.

    Returns:
        At each place the answer of most people; a place of which as many say the one as the other is undecided. None where fewer
        than two people looked at the same places and the teacher did not.
    """
    if teachers is not None and teachers.sample.answered:
        return Truth(sample=teachers)
    same: dict[tuple[bytes, str, str], list[Work]] = {}
    for work in sorted(works, key=lambda work: work.learner):
        sample = None if work.validation is None else work.validation.sample
        if work.validation is not None and sample is not None and sample.answered:
            asked = (np.stack([sample.rows, sample.cols]).tobytes(), work.validation.unit, work.validation.rule)
            same.setdefault(asked, []).append(work)
    if not same:
        return None
    most = max(same.values(), key=lambda group: (len(group), [work.learner for work in group]))
    if len(most) < 2:
        return None
    answers = [_in_legend(work.validation, legend.tables[work.learner]) for work in most if work.validation is not None]
    agreed = [_most(column) for column in zip(*(one.sample.reference.tolist() for one in answers), strict=True)]
    first = answers[0]
    return Truth(
        sample=replace(
            first,
            sample=replace(first.sample, reference=np.array(agreed, np.int64)),
            undecided=frozenset(),
            responses={},
            opinions={},
            final={},
        ),
        people=tuple(work.learner for work in most),
    )


def _in_legend(validation: Validation, table: NDArray[np.uint8]) -> Validation:
    sample = validation.sample
    reference = table[sample.reference].astype(np.int64)
    return replace(
        validation, sample=replace(sample, reference=reference, mapped=table[sample.mapped].astype(np.int64))
    )


def _most(answers: Sequence[int]) -> int:
    """The answer of most people; 0 where none is, or nobody answered."""
    counts = Counter(answer for answer in answers if answer > 0).most_common(2)
    if not counts or (len(counts) > 1 and counts[0][1] == counts[1][1]):
        return 0
    return counts[0][0]

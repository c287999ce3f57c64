"""``tessera bench classroom-map``: twenty learners with the mistakes of learners map the simulated place, whose truth is known.

How right is the best single map, the mean of all, the vote, and all labels as one head; and is the vote better for its weights?
Learners are scripted: each places points by the truth, with the mistakes of a kind. All go through real projects, so that maps and
scores are those of the app.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from math import log
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from tessera_core._utils.percents import percent
from tessera_core.bench.heads import write_between
from tessera_core.classroom.consensus import vote, weights_of
from tessera_core.classroom.judging import Truth, judge
from tessera_core.classroom.matching import match_classes
from tessera_core.classroom.pooled import pooled_map
from tessera_core.classroom.work import Work, read_work
from tessera_core.gate import open_raster
from tessera_core.labels.model import LabelClass
from tessera_core.project.demo import DEMO_CLASSES, ensure_demo
from tessera_core.project.project import Project
from tessera_core.raster import EmbeddingRaster

if TYPE_CHECKING:
    from tessera_core.project.demo import DemoRegion

SEEDS, SEED = 10, 20_261_130
MARK = "<!-- tessera bench classroom-map -->"
# Classes of the class list, and what of the truth each stands for.
LEGEND: dict[str, tuple[str, ...]] = {
    "Water": ("Water",),
    "Broadleaf wood": ("Broadleaf wood",),
    "Conifer wood": ("Conifer wood",),
    "Grassland": ("Grassland",),
    "Crops": ("Winter wheat", "Rapeseed", "Maize", "Sugar beet"),
    "Built-up": ("Built-up",),
}


@dataclass(frozen=True)
class Habit:
    """How a kind of learner labels.

    Attributes:
        count: how many of the class do.
        labels: of each class.
        known: only the first classes of the list; None for all.
        swapped: share of the labels of a class that stands for another one (broadleaf wood taken for conifer wood, or
            grassland for crops), which the learner cannot tell apart.
        wrong: share of labels of a class drawn at random, clicked by mistake.
        border: labels lie at the border of a patch, half of them beyond it.
        near: all labels lie within so many pixels of one place; None for anywhere.
    """

    count: int
    labels: int
    known: int | None = None
    swapped: float = 0.0
    wrong: float = 0.0
    border: bool = False
    near: int | None = None


HABITS: Mapping[str, Habit] = {
    "careful, 10 labels a class": Habit(4, 10),
    "few labels, 3 a class": Habit(5, 3),
    "takes one class for another": Habit(3, 8, swapped=0.8),
    "labels at borders": Habit(3, 8, border=True),
    "every fifth click wrong": Habit(2, 8, wrong=0.2),
    "labels one corner only": Habit(1, 6, near=60),
    "lazy: two classes, 2 labels each": Habit(1, 2, known=2),
    "labels all as one class": Habit(1, 8, known=1),
}
MIXED_UP = ((1, 2), (3, 4))
WEIGHTS: Mapping[str, Callable[[Work, int], float]] = {
    "equal votes": lambda work, n: 1.0,
    "weight: score above chance": lambda work, n: max(0.0, _above_chance(work)),
    "weight: log odds of the score": lambda work, n: max(0.0, _log_odds(work)),
}


def run(args: argparse.Namespace) -> dict[str, Any]:
    """Measure over several classes.

    ``args``: ``quick`` (2 classes instead of 10), ``markdown`` (file to write the table into, or None).

    Raises:
        InputError: the marks of the file are missing.
    """
    result = measure(ensure_demo(), 2 if getattr(args, "quick", False) else SEEDS)
    markdown = getattr(args, "markdown", None)
    if markdown:
        write_between(Path(markdown), MARK, iter([*result["table"].splitlines(), ""]))
    return result


def measure(region: DemoRegion, classes: int, habits: Mapping[str, Habit] = HABITS) -> dict[str, Any]:
    """How right the maps of some classes are.

    Args:
        region: simulated.
        classes: how many, each with other places labelled.
        habits: of the learners of a class.

    Returns:
        JSON object: ``rows``, for each kind of map its ``mean``, ``least`` and ``most`` right share over the classes;
        ``habits``, the mean right share and held-out score of each kind of learner; ``beaten``, the mean number of single maps
        that the vote is better than; and ``table``, for people.
    """
    year = max(region.embeddings)
    raster = EmbeddingRaster.open(region.embeddings[year])
    truth = truth_of(region, year)
    found = [_class(region, raster, truth, habits, SEED + n) for n in range(classes)]
    rows = []
    for name in found[0]["right"]:
        shares = [one["right"][name] for one in found]
        rows.append({"map": name, "mean": float(np.mean(shares)), "least": min(shares), "most": max(shares)})
    kinds = []
    for name in habits:
        right = [share for one in found for share in one["habits"][name]["right"]]
        held = [share for one in found for share in one["habits"][name]["held_out"]]
        kinds.append(
            {
                "habit": name,
                "learners": habits[name].count,
                "right": float(np.mean(right)) if right else None,
                "held_out": float(np.mean(held)) if held else None,
            }
        )
    result: dict[str, Any] = {
        "bench": "classroom-map",
        "classes": classes,
        "learners": sum(habit.count for habit in habits.values()),
        "seed": SEED,
        "rows": rows,
        "habits": kinds,
        "beaten": float(np.mean([one["beaten"] for one in found])),
        "voters": float(np.mean([one["voters"] for one in found])),
    }
    return result | {"table": table(result)}


def truth_of(region: DemoRegion, year: int) -> NDArray[np.uint8]:
    """uint8 (H, W), 1 + position in :data:`LEGEND`; 0 where the truth is none of it."""
    with open_raster(region.truth[year]) as file:
        ids: NDArray[np.uint8] = file.read(1)
    lookup = np.zeros(256, np.uint8)
    for position, kinds in enumerate(LEGEND.values(), 1):
        lookup[[one.id for one in DEMO_CLASSES if one.name in kinds]] = position
    return lookup[ids]


def _class(
    region: DemoRegion,
    raster: EmbeddingRaster,
    truth: NDArray[np.uint8],
    habits: Mapping[str, Habit],
    seed: int,
) -> dict[str, Any]:
    random = np.random.default_rng(seed)
    works: list[Work] = []
    kind_of: dict[str, str] = {}
    with tempfile.TemporaryDirectory() as place:
        for kind, habit in habits.items():
            for _ in range(habit.count):
                learner = f"learner {len(works) + 1:02d}"
                project = Project.create(Path(place) / learner, learner)
                year = raster.provenance.year
                assert year is not None
                project.attach_embeddings(year, region.embeddings[year], raster.provenance, raster.grid)
                for name in LEGEND:
                    project.log.add_class(name)
                rows, cols, ids = placed(habit, truth, random)
                x, y = raster.grid.pixel_to_xy(rows + 0.5, cols + 0.5)
                with project.log.batch():
                    for a, b, class_id in zip(x.tolist(), y.tolist(), ids.tolist(), strict=True):
                        project.log.add("point", class_id, [(a, b)])
                works.append(read_work(project, raster, learner))
                kind_of[learner] = kind
    template = [LabelClass(n, name, f"#{n:06x}") for n, name in enumerate(LEGEND, 1)]
    legend = match_classes(works, template)
    known, n = Truth(classes=truth), len(LEGEND)
    made = vote(works, legend, weights_of(works, n))
    pooled = pooled_map(works, legend, raster).classes
    judged = judge(known, works, legend, made.classes, pooled)
    assert judged is not None
    assert judged.best is not None
    assert judged.mean is not None
    right: dict[str, float | None] = {
        "best single map, known only in hindsight": judged.best[1],
        "single map with the best score": judged.learners[_best_score(works)],
        "mean of the single maps": judged.mean,
        "class map: the weighted vote": judged.consensus,
    }
    for name, weigh in WEIGHTS.items():
        weights = {work.learner: weigh(work, n) for work in works if work.map is not None}
        judged_so = known.right(vote(works, legend, weights).classes)
        right[f"the vote with {name}"] = None if judged_so is None else judged_so[0]
    right["all labels as one head"] = judged.pooled
    by_kind: dict[str, dict[str, list[float]]] = {kind: {"right": [], "held_out": []} for kind in habits}
    for work in works:
        if work.learner in judged.learners:
            by_kind[kind_of[work.learner]]["right"].append(judged.learners[work.learner])
        if work.accuracy is not None:
            by_kind[kind_of[work.learner]]["held_out"].append(work.accuracy)
    return {"right": right, "habits": by_kind, "beaten": judged.beaten, "voters": len(judged.learners)}


def placed(
    habit: Habit, truth: NDArray[np.uint8], random: np.random.Generator
) -> tuple[NDArray[np.intp], NDArray[np.intp], NDArray[np.int64]]:
    """Where a learner clicks, rows and columns (N,), and the class of each click, (N,) from 1."""
    from scipy import ndimage

    height, width = truth.shape
    allowed = np.ones(truth.shape, bool)
    if habit.near is not None:
        row, col = random.integers(0, height), random.integers(0, width)
        rows, cols = np.ogrid[:height, :width]
        allowed = (rows - row) ** 2 + (cols - col) ** 2 <= habit.near**2
    first, second = MIXED_UP[int(random.integers(len(MIXED_UP)))]
    everything = range(1, len(LEGEND) + 1)
    clicked: list[tuple[NDArray[np.int64], int]] = []
    for k in list(everything)[: habit.known]:
        inside = truth == k
        edge = inside ^ ndimage.binary_erosion(inside, iterations=2)
        where = np.flatnonzero((edge if habit.border else ndimage.binary_erosion(inside)) & allowed)
        if not len(where):
            continue
        chosen = random.choice(where, min(habit.labels, len(where)), replace=False)
        if habit.border:
            # Half of the clicks land a pixel or two beyond.
            shift = random.integers(-2, 3, (len(chosen), 2)) * (random.random(len(chosen)) < 0.5)[:, None]
            rows, cols = np.divmod(chosen, width)
            rows, cols = (
                np.clip(v + s, 0, m - 1) for v, s, m in ((rows, shift[:, 0], height), (cols, shift[:, 1], width))
            )
            chosen = rows * width + cols
        clicked.append((chosen, k))
    spots = np.concatenate([spots for spots, _ in clicked]) if clicked else np.zeros(0, np.int64)
    ids = np.concatenate([np.full(len(spots), k) for spots, k in clicked]) if clicked else np.zeros(0, np.int64)
    mixed = (ids == first + 1) & (random.random(len(ids)) < habit.swapped)
    ids = np.where(mixed, second + 1, ids)
    slipped = random.random(len(ids)) < habit.wrong
    ids = np.where(slipped, random.integers(1, len(LEGEND) + 1, len(ids)), ids)
    # Of clicks on one pixel the last counts, as in the app.
    rows, cols = np.divmod(spots, width)
    return rows.astype(np.intp), cols.astype(np.intp), ids.astype(np.int64)


def _best_score(works: Sequence[Work]) -> str:
    mapped = [work for work in works if work.map is not None]
    return max(mapped, key=lambda work: (work.accuracy or 0.0, work.learner)).learner


def _above_chance(work: Work) -> float:
    known = 0 if work.score is None else len(work.score.per_class)
    return 0.0 if work.accuracy is None or known < 2 else (work.accuracy - 1 / known) / (1 - 1 / known)


def _log_odds(work: Work) -> float:
    known = 0 if work.score is None else len(work.score.per_class)
    if work.accuracy is None or known < 2:
        return 0.0
    p = min(max(work.accuracy, 0.01), 0.99)
    return (log(p / (1 - p)) + log(known - 1)) / 10


def table(result: Mapping[str, Any]) -> str:
    """The result as Markdown."""
    lines = [
        f"Share of the simulated place that is mapped right, over {result['classes']} classes of {result['learners']} learners:",
        "",
        "| map | mean | from | to |",
        "|---|---|---|---|",
        *(
            f"| {row['map']} | {_percent(row['mean'])} | {_percent(row['least'])} | {_percent(row['most'])} |"
            for row in result["rows"]
        ),
        "",
        f"The class map is better than {result['beaten']:.1f} of the {result['voters']:.1f} single maps there are on average.",
        "",
        "| learners | how they label | mean right | their score at places held out |",
        "|---|---|---|---|",
        *(
            f"| {one['learners']} | {one['habit']} | {_percent(one['right'])} | {_percent(one['held_out'])} |"
            for one in result["habits"]
        ),
    ]
    return "\n".join(lines)


def _percent(share: float | None) -> str:
    return "none" if share is None else f"{percent(share, 1)} %"

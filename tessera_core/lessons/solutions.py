"""What the studio does for a learner who asks for it, where that can be done: classes, labels, answers, pages.

Places are taken from the truth of the demo region, well inside their patches and far from each other, as a careful person would.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tessera_core.errors import InputError, LabelError
from tessera_core.lessons.checks import About
from tessera_core.lessons.lost import lost_labels
from tessera_core.lessons.targets import PAGES, target
from tessera_core.lessons.truth import Truth
from tessera_core.project.project import Project

_APART_PX = 6


@dataclass(frozen=True)
class Act:
    """One thing to do.

    Attributes:
        do: ``"label"`` (``of``: names of the lesson, ``n``: until each has as many), ``"add"`` (``n`` more of each), ``"open"``
            (a page), ``"answer"`` (position of a choice), ``"use"`` (a target, as if it had been used), ``"validate"`` (look at
            so many places of a sample, which is drawn where there is none), ``"plots"`` (true:
            example plots of the satellite data).
        value: its parameter.
    """

    do: str
    value: Any


def read(value: Any, about: About) -> Act:
    """An act as ``lesson.toml`` has it, such as ``{ label = { of = ["water"], n = 3 } }``.

    Raises:
        InputError: there is no such act, or its parameter is none.
    """
    if not isinstance(value, dict) or len(value) != 1:
        raise InputError('a solution is a list of tables with one name, such as { open = "label" }')
    ((do, given),) = value.items()
    if do == "open":
        sound = given in PAGES
    elif do == "answer":
        sound = type(given) is int and about.step in about.choices
    elif do == "plots":
        sound = given is True
    elif do == "validate":
        sound = type(given) is int and 0 <= given <= 100
    elif do == "use":
        sound = isinstance(given, str) and target(given) is not None
    elif do in ("label", "add"):
        sound = (
            isinstance(given, dict)
            and set(given) == {"of", "n"}
            and type(given["n"]) is int
            and 0 < given["n"] <= 50
            and isinstance(given["of"], list)
            and all(name in about.names for name in given["of"])
        )
    else:
        raise InputError(f"the studio cannot do {do!r}; it can do: add, answer, label, open, plots, use, validate")
    if not sound:
        raise InputError(f"{given!r} says nothing that {do!r} could do")
    return Act(str(do), given)


def label(project: Project, truth: Truth, names: Mapping[str, str], of: list[str], n: int, more: bool = False) -> int:
    """Label places until each class of ``of`` has at least ``n`` labels, or ``n`` ``more``; returns how many were added.

    Args:
        project: the open one.
        truth: of the demo region.
        names: name of the lesson -> what the class is called.
        of: names of the lesson.
        n: labels of each.
        more: whether those that are there already do not count.

    Raises:
        LabelError: the region has no place of such a class.
    """
    added = 0
    grid = truth.grid
    with project.log.batch():
        taken = [ring[0] for one in project.log.labels for ring in one.rings]
        rows, cols = grid.xy_to_pixel([x for x, _ in taken], [y for _, y in taken])
        near = [(int(row), int(col)) for row, col in zip(np.floor(rows), np.floor(cols), strict=True)]
        for name in of:
            known = project.log.find_class(names[name]) or project.log.add_class(names[name])
            lost = sum(one.class_id == known.id for one in lost_labels(project))
            missing = n if more else n - project.log.counts.get(known.id, 0) + lost
            depth = truth.depth(name)
            for row, col in near:
                _cross_out(depth, row, col)
            for _ in range(max(missing, 0)):
                row, col = (int(v) for v in np.unravel_index(int(depth.argmax()), depth.shape))
                if depth[row, col] <= 0:
                    raise LabelError(f"This region has no further place of {names[name]}.")
                x, y = grid.pixel_to_xy([row + 0.5], [col + 0.5])
                project.log.add("point", known.id, [(float(x[0]), float(y[0]))])
                near.append((row, col))
                _cross_out(depth, row, col)
                added += 1
    return added


def take_plots(project: Project) -> int:
    """Take in example plots; returns how many.

    Raises:
        InputError: the project has no satellite data yet.
    """
    from tessera_core.dpixels.tile import DPixelTile
    from tessera_core.labels.plots import take_in
    from tessera_core.project.regress import example_plots
    from tessera_core.sources.local.open import open_embeddings

    for year, reference in project.embeddings.items():
        if reference.dpixels is not None:
            raster = open_embeddings(project.embeddings_path(year))
            taken = take_in(project.plots, example_plots(raster, DPixelTile.open(reference.dpixels)))
            project.update(regression_measure=taken.measure.id)
            return len(project.plots.labels)
    raise InputError("The satellite data of this region are not here yet; wait until they are made.")


def check_places(project: Project, truth: Truth, spellings: Mapping[str, frozenset[str]], n: int, seed: int = 0) -> int:
    """Look at places of the validation sample until ``n`` are answered, as the truth has them; returns how many were.

    Args:
        project: with labels of two classes or more.
        truth: of the demo region.
        spellings: name of the lesson -> how it may be spelt, casefolded.
        n: places in all.
        seed: of the sample, where there is none yet.

    Raises:
        HeadError: there is no map yet.
        LabelError: the sample is of another map.
    """
    from tessera_core.assess.designs import draw
    from tessera_core.project import sample_plan, validate
    from tessera_core.project.classify import map_project
    from tessera_core.sources.local.open import open_embeddings

    year = truth.year
    known = validate.load(project, year)
    if known is None:
        raster = open_embeddings(project.embeddings_path(year))
        classes = map_project(project, raster, year).map.classes
        plan = sample_plan.plan(classes, margin=0.1)
        known = validate.Validation(year, raster.grid, draw(classes, plan.n, seed=seed))
        validate.start(project, known)
    ids = {one.name.casefold(): one.id for one in project.log.classes}
    answered = 0
    while known.seen < n and (position := known.next_open()) is not None:
        row, col = known.sample.rows[position], known.sample.cols[position]
        name = truth.names[int(truth.classes[row, col]) - 1] if truth.classes[row, col] else ""
        known = known.answer(position, next((ids[spelt] for spelt in spellings.get(name, ()) if spelt in ids), 0))
        answered += 1
    validate.save(project, known)
    return answered


def _cross_out(depth: NDArray[np.float64], row: int, col: int) -> None:
    rows, cols = np.ogrid[: depth.shape[0], : depth.shape[1]]
    depth[(rows - row) ** 2 + (cols - col) ** 2 < _APART_PX**2] = 0

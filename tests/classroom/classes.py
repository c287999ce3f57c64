"""Works of made-up learners, and a class of real projects."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from tessera_core.classroom.byfiles import class_pack
from tessera_core.classroom.work import Work
from tessera_core.labels.model import Label, LabelClass
from tessera_core.project.pack import open_pack
from tessera_core.project.project import Project
from tests.factories import landscape, make_project

NAMES = ("Water", "Wood", "Fields", "Town")
CLASSES = tuple(LabelClass(i, name, f"#0000{i:02d}") for i, name in enumerate(NAMES, 1))


def work(learner: str, classes: Any = None, known: tuple[LabelClass, ...] = CLASSES, **facts: Any) -> Work:
    """A learner with a map (H, W) of class ids and one label of each class, all at the same place."""
    labels = tuple(Label(f"{learner}-{one.id}", one.id, "point", ((one.id * 10.0, -5.0),)) for one in known)
    values: dict[str, Any] = {"project": f"p-{learner}", "origin": "template", "year": 2023, "saved_at": 0.0}
    values |= {"classes": known, "labels": labels, "map": None if classes is None else np.array(classes, np.uint8)}
    return Work(learner, **values | facts)


def template(folder: Path) -> Project:
    """A teacher's project of four kinds of ground, with a list of classes and no labels."""
    return make_project(folder, landscape(48, dim=16), name="Fen", classes=NAMES)


def learners(teacher: Project, folder: Path, names: tuple[str, ...]) -> list[Project]:
    """A project for each learner, opened from the teacher's pack; the n-th has labelled n + 2 places of each class."""
    pack = class_pack(teacher, folder / "class", tasks=("Label three places of each class.",))
    found = []
    for n, name in enumerate(names):
        (project,) = open_pack(pack, into=folder / "learners")
        project.update(learner=name)
        label_quarters(project, n + 2, seed=n)
        found.append(project)
    return found


def label_quarters(project: Project, each: int, seed: int) -> None:
    """Label places well inside the four quarters of :func:`tests.factories.landscape`."""
    grid = project.grid
    assert grid is not None
    random, half = np.random.default_rng(seed), grid.height // 2
    with project.log.batch():
        for quarter, one in enumerate(project.log.classes[:4]):
            row, col = np.divmod(quarter, 2)
            for _ in range(each):
                rows, cols = random.integers(3, half - 3, 2) + half * np.array([row, col])
                x, y = grid.pixel_to_xy([rows + 0.5], [cols + 0.5])
                project.log.add("point", one.id, [(float(x[0]), float(y[0]))])

"""From a project's labels to its map: the one place that says which pixels teach which head.

The page, the exports and the command line all come here, so that they show the same map.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from tessera_core.errors import HeadError, LabelError
from tessera_core.heads.choice import DEFAULT_HEAD
from tessera_core.labels.model import Label, LabelClass
from tessera_core.labels.sampling import label_pixels
from tessera_core.raster import EmbeddingRaster

if TYPE_CHECKING:
    from tessera_core.analysis.cleanup import Cleaning
    from tessera_core.assess import Samples
    from tessera_core.heads import ClassMap, Head, HeadChoice
    from tessera_core.project import Project


@dataclass(frozen=True)
class ProjectMap:
    """A project's map of one year.

    Attributes:
        year: None where the embeddings have no calendar year.
        version: of the label log when it was made.
        head: what made it.
        map: class ids and confidence on the raster's grid.
    """

    year: int | None
    version: int
    head: Head
    map: ClassMap


def head_name(project: Project) -> str:
    """The head the project uses: its setting ``head``, or the quickest."""
    return str(project.settings.get("head", DEFAULT_HEAD))


def head_choice(project: Project) -> HeadChoice:
    """The head the project uses with its options: settings ``head``, ``context`` (1, 3, 5), ``class_weight``, ``certainty``,
    and the class tree in ``schema``. Every function here that takes a head's name takes this as well."""
    from tessera_core.heads import HeadChoice
    from tessera_core.labels.schema import tree_of

    tree = tree_of(project.settings)
    return HeadChoice.from_settings(project.settings, tree.parents(project.log.classes) if tree else None)


def fit_labels(
    labels: Sequence[Label],
    raster: EmbeddingRaster,
    name: str | HeadChoice = DEFAULT_HEAD,
    *,
    cancelled: Callable[[], bool] | None = None,
    progress: Callable[[int, int, str], None] | None = None,
) -> Head:
    """A head fitted on the pixels under ``labels``.

    Raises:
        HeadError: fewer than two classes have labelled pixels with data, or there is no such head.
        Cancelled: ``cancelled`` said so.
    """
    from tessera_core.heads import make_head

    pixels = label_pixels(labels, raster.grid)
    if len(pixels.rows) == 0:
        raise HeadError("There are no labels yet. Click examples of at least two classes on the page Label.")
    head = make_head(name)
    return head.fit_at(
        raster,
        pixels.rows,
        pixels.cols,
        pixels.class_ids,
        groups=pixels.label_index,
        progress=progress,
        cancelled=cancelled,
    )


def map_project(
    project: Project,
    raster: EmbeddingRaster,
    year: int | None,
    cancelled: Callable[[], bool] | None = None,
    progress: Callable[[int, int, str], None] | None = None,
) -> ProjectMap:
    """The project's map of a year, whole, and cleaned where the project says so.

    Args:
        raster: the project's embeddings of ``year``.
        cancelled, progress: see docs/architecture.md; units are pixels.

    Raises:
        HeadError: the labels do not suffice.
        Cancelled: ``cancelled`` said so.
    """
    from tessera_core.heads import predict_raster

    version = project.log.version
    head = fit_labels(project.log.labels, raster, head_choice(project), cancelled=cancelled, progress=progress)
    made = predict_raster(head, raster, cancelled=cancelled, progress=progress)
    cleaning = cleaning_of(project)
    if cleaning is not None:
        made = replace(made, classes=cleaning(made.classes, raster, head, cancelled))
    return ProjectMap(year, version, head, made)


def cleaning_of(project: Project) -> Cleaning | None:
    """How the project's finished map is cleaned: its setting ``tidy``, or None.

    Raises:
        LabelError: the setting is damaged.
    """
    from tessera_core.analysis.cleanup import Cleaning

    value = project.settings.get("tidy")
    return None if value is None else Cleaning.from_json(value)


def label_samples(labels: Sequence[Label], classes: Sequence[LabelClass], raster: EmbeddingRaster) -> Samples:
    """The labelled pixels with data as :mod:`tessera_core.assess` takes them; each label is a group."""
    from tessera_core.assess import CodeFeatures, Samples

    pixels = label_pixels(labels, raster.grid)
    features = CodeFeatures.at(raster, pixels.rows, pixels.cols)
    usable = np.flatnonzero(features.usable())
    return Samples(
        features.take(usable),
        pixels.class_ids[usable].astype(np.int64),
        pixels.label_index[usable].astype(np.int64),
        pixels.rows[usable],
        pixels.cols[usable],
        {c.id: c.name for c in classes},
        len(pixels.rows) - len(usable),
    )


def score_labels(
    labels: Sequence[Label],
    classes: Sequence[LabelClass],
    raster: EmbeddingRaster,
    name: str | HeadChoice = DEFAULT_HEAD,
    *,
    seed: int = 0,
    cancelled: Callable[[], bool] | None = None,
) -> dict[str, Any]:
    """How well the head predicts labels it has not seen: by blocks of ground, else by whole labels; empty where too few.

    Returns:
        What :func:`tessera_core.assess.evaluate` returns, or ``{}`` where fewer than two classes could be judged.

    Raises:
        Cancelled: ``cancelled`` said so.
    """
    from tessera_core.assess import evaluate
    from tessera_core.heads import make_head

    samples = label_samples(labels, classes, raster)
    for split in ("blocked", "field"):
        try:
            return evaluate(samples, make_head(name), split=split, seed=seed, cancelled=cancelled)
        except (LabelError, HeadError):
            # Too few blocks or labels to hold any out this way; the next split asks for less.
            continue
    return {}

"""From a project's labels to its map: the one place that says which pixels teach which head.

The page, the exports and the command line all come here, so that they show the same map with the same confidence.
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
    from tessera_core.assess.calibration import Calibration
    from tessera_core.heads import ClassMap, Head, HeadChoice
    from tessera_core.project import Project


# A temperature nearer to 1 changes no whole percent that people would notice.
WORTH_TEMPERING = 0.02


@dataclass(frozen=True)
class ProjectMap:
    """A project's map of one year.

    Attributes:
        year: None where the embeddings have no calendar year.
        version: of the label log when it was made.
        head: what made it; its ``softened_`` is the temperature of the confidence.
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


def takes_temperature(head: Head) -> bool:
    """Whether the confidence of a head is calibrated: of those that repaint at once.

    Heads that look around or down a tree have no single temperature that their map could be made with, and the maps of slow ones
    are made before it is known.
    """
    from tessera_core.heads import HEADS, INSTANT_HEADS

    return type(head) in {HEADS[name] for name in INSTANT_HEADS}


def shown_temperature(head: Head, calibration: Calibration | None) -> float:
    """The temperature that a map of ``head`` is made with, on the screen and in every file.

    Args:
        head: fitted or not.
        calibration: of its confidence on labels held out; None where that could not be checked.
    """
    if calibration is None or not takes_temperature(head) or abs(calibration.temperature - 1) < WORTH_TEMPERING:
        return 1.0
    return calibration.temperature


def check_confidence(samples: Samples, head: Head, cancelled: Callable[[], bool] | None = None) -> Calibration | None:
    """The confidence of a head on the places of its labels, each held out; None where there are too few.

    Args:
        samples: the labelled pixels.
        head: unfitted.

    Raises:
        Cancelled: ``cancelled`` said so.
    """
    from tessera_core.assess.calibration import calibrate
    from tessera_core.assess.live import live_score

    held = live_score(samples, head, naive=False, cancelled=cancelled).held_out
    return None if held is None else calibrate(held)


def project_head(
    project: Project,
    raster: EmbeddingRaster,
    *,
    cancelled: Callable[[], bool] | None = None,
    progress: Callable[[int, int, str], None] | None = None,
) -> Head:
    """The project's head, fitted on its labels in ``raster``, as sure as labels held out show it should be.

    Raises:
        HeadError: the labels do not suffice.
        Cancelled: ``cancelled`` said so.
    """
    from tessera_core.heads import make_head
    from tessera_core.heads.tempered import temper

    choice, log = head_choice(project), project.log
    fitted = fit_labels(log.labels, raster, choice, cancelled=cancelled, progress=progress)
    if not takes_temperature(fitted):
        return fitted
    samples = label_samples(log.labels, log.classes, raster)
    temperature = shown_temperature(fitted, check_confidence(samples, make_head(choice), cancelled))
    return fitted if temperature == 1 else temper(fitted, temperature)


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
    head = project_head(project, raster, cancelled=cancelled, progress=progress)
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

"""From labels to a map and its score: the one place that says which pixels teach which head, and how good it is.

The page, the exports, the report and the command line all come here, so that they show the same map with the same confidence,
and the same percentage with the same interval.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from tessera_core.errors import HeadError, Hint, LabelError, ProjectError
from tessera_core.heads.choice import DEFAULT_HEAD
from tessera_core.labels.model import Label, LabelClass
from tessera_core.labels.sampling import in_order_of_place, label_pixels
from tessera_core.raster import EmbeddingRaster, valid_scales
from tessera_core.types import Cancel, Progress

if TYPE_CHECKING:
    from tessera_core.analysis.postprocess import PostProcessing
    from tessera_core.assess.calibration import Calibration
    from tessera_core.assess.live import LiveScore
    from tessera_core.assess.reference import Reference
    from tessera_core.assess.samples import Samples
    from tessera_core.export.product import Checked, Product
    from tessera_core.heads import ClassMap, Head, HeadChoice
    from tessera_core.project.depth_filter import LeftOut
    from tessera_core.project.project import Project


# A temperature nearer to 1 changes no whole percent that people would notice.
WORTH_SCALING = 0.02


@dataclass(frozen=True)
class ProjectMap:
    """A project's map of one year.

    Attributes:
        year: None where the embeddings have no calendar year.
        version: of the label log when it was made.
        head: what made it; its ``applied_temperature_`` is the temperature of the confidence.
        map: class ids and confidence on the raster's grid.
        left_out: what is not on it because it was seen too rarely; None where the project does not ask for that.
    """

    year: int | None
    version: int
    head: Head
    map: ClassMap
    left_out: LeftOut | None = None


def head_name(project: Project) -> str:
    """The head the project uses: its setting ``head``, or the quickest."""
    return project.settings.head or DEFAULT_HEAD


def head_choice(project: Project) -> HeadChoice:
    """The head the project uses with its options: settings ``head``, ``neighbourhood`` (1, 3, 5), ``class_weight``,
    ``confidence_threshold``, and the class tree in ``schema``. Every function here that takes a head's name takes this as well."""
    from tessera_core.heads import HeadChoice

    chosen, tree = project.settings, project.class_tree
    parents = tree.parents(project.log.classes) if tree else None
    return HeadChoice.chosen(
        chosen.head, chosen.neighbourhood, chosen.class_weight, chosen.confidence_threshold, parents
    )


def fit_pixels(
    raster: EmbeddingRaster,
    pixels: tuple[NDArray[np.integer], NDArray[np.integer], NDArray[np.integer], NDArray[np.integer]],
    choice: str | HeadChoice = DEFAULT_HEAD,
    *,
    seed: int = 0,
    cancelled: Cancel | None = None,
    progress: Progress | None = None,
) -> Head:
    """The one fit behind every map: page, exports, command line and notebooks.

    Above :data:`~tessera_core.heads.training.MAX_TRAIN` pixels a draw of them teaches the head (see
    :func:`~tessera_core.heads.training.training_draw`): one large polygon would make every click wait and change the map by less
    than the next label does, and a map must not depend on where it was made.

    Args:
        raster: the embeddings.
        pixels: rows and columns (N,) of labelled pixels in row-major order, the class of each, and which label it belongs to;
            a :class:`~tessera_core.labels.sampling.LabelPixels`, for example.
        choice: of the head.
        seed: of the draw, and of everything random in the head.

    Raises:
        HeadError: fewer than two classes have labelled pixels with data, or there is no such head.
        Cancelled: ``cancelled`` said so.
    """
    rows, cols, class_ids, groups = pixels
    groups = in_order_of_place(groups)
    keep = _teaching(raster, rows, cols, class_ids, seed)
    if len(keep) < len(rows):
        rows, cols, class_ids, groups = rows[keep], cols[keep], class_ids[keep], groups[keep]
    head = unfitted(choice, seed)
    return head.fit_at(raster, rows, cols, class_ids, groups=groups, progress=progress, cancelled=cancelled)


def _teaching(
    raster: EmbeddingRaster,
    rows: NDArray[np.integer],
    cols: NDArray[np.integer],
    class_ids: NDArray[np.integer],
    seed: int,
) -> NDArray[np.intp]:
    """Which labelled pixels teach a head: all, or of too many a draw of those with data."""
    from tessera_core.heads.training import MAX_TRAIN, training_draw

    if len(rows) <= MAX_TRAIN:
        return np.arange(len(rows))
    keep = np.flatnonzero(_with_data(raster, rows, cols))
    return keep[training_draw(class_ids[keep], rows[keep], cols[keep], seed)]


def _with_data(raster: EmbeddingRaster, rows: NDArray[np.integer], cols: NDArray[np.integer]) -> NDArray[np.bool_]:
    return valid_scales(np.asarray(raster.scales[rows, cols], np.float32))


def unfitted(choice: str | HeadChoice, seed: int = 0) -> Head:
    """The head of a choice before it is fitted; scores clone it, so that they judge what the map is made with.

    Raises:
        HeadError: there is no such head.
    """
    from tessera_core.heads import HeadChoice

    return (HeadChoice(choice) if isinstance(choice, str) else choice).make(seed)


def fit_labels(
    labels: Sequence[Label],
    raster: EmbeddingRaster,
    choice: str | HeadChoice = DEFAULT_HEAD,
    *,
    seed: int = 0,
    cancelled: Cancel | None = None,
    progress: Progress | None = None,
) -> Head:
    """A head fitted on the pixels under ``labels``; see :func:`fit_pixels`.

    Raises:
        HeadError: fewer than two classes have labelled pixels with data, or there is no such head.
        Cancelled: ``cancelled`` said so.
    """
    pixels = label_pixels(labels, raster.grid)
    if len(pixels.rows) == 0:
        raise HeadError("There are no labels yet. Label places of at least two classes.", hint=Hint.LABELS)
    return fit_pixels(raster, pixels, choice, seed=seed, cancelled=cancelled, progress=progress)


def shown_temperature(head: Head, calibration: Calibration | None) -> float:
    """The temperature that a map of ``head`` is made with, on the screen and in every file.

    Args:
        head: fitted or not.
        calibration: of its confidence on labels held out; None where that could not be checked.
    """
    if calibration is None or not head.takes_temperature or abs(calibration.temperature - 1) < WORTH_SCALING:
        return 1.0
    return calibration.temperature


@dataclass(frozen=True)
class Trained:
    """A head that makes a map, and what is known of it.

    Attributes:
        head: fitted, as sure as labels held out show it should be.
        n_train: pixels that taught it.
        n_without_data: labelled pixels without embeddings.
        score: how good it is on places held out; None where that was not asked, or the head is not calibrated.
        calibration: of its confidence there; None likewise, and where there are too few places.
        sentence: on its confidence.
    """

    head: Head
    n_train: int
    n_without_data: int
    score: LiveScore | None
    calibration: Calibration | None
    sentence: str


def train(
    reference: Reference,
    raster: EmbeddingRaster,
    choice: str | HeadChoice = DEFAULT_HEAD,
    *,
    seed: int = 0,
    calibrated: bool = True,
    cancelled: Cancel | None = None,
    progress: Progress | None = None,
) -> Trained:
    """Fit a head on labels and make it as sure as it should be; what every whole map is made by.

    Args:
        reference: the labelled pixels, of a project or a file.
        raster: the embeddings.
        choice: of the head.
        seed: of everything random.
        calibrated: whether to check the confidence on places held out, and to mend it.

    Raises:
        HeadError: the labels do not suffice, or there is no such head.
        Cancelled: ``cancelled`` said so.
    """
    reference.require_two()
    rows, cols = reference.rows, reference.cols
    pixels = (rows, cols, reference.y, reference.groups)
    head = fit_pixels(raster, pixels, choice, seed=seed, cancelled=cancelled, progress=progress)
    with_data = _with_data(raster, rows, cols)
    n_train = int(with_data[_teaching(raster, rows, cols, reference.y, seed)].sum())
    empty = int(len(rows) - with_data.sum())
    if not calibrated:
        return Trained(head, n_train, empty, None, None, "Confidence is as the head gives it, as asked.")
    if not head.takes_temperature:
        sentence = "Confidence is as this method gives it: it is not calibrated."
        return Trained(head, n_train, empty, None, None, sentence)
    score = score_samples(reference.few_samples(raster, seed), choice, seed=seed, naive=False, cancelled=cancelled)
    calibration = check_confidence(score)
    if calibration is None:
        sentence = "Confidence is as the head gives it: too few places to check it at."
        return Trained(head, n_train, empty, score, None, sentence)
    temperature = shown_temperature(head, calibration)
    head = head if temperature == 1 else head.temperature_scaled(temperature)
    return Trained(head, n_train, empty, score, calibration, calibration.sentence)


def what_was_seen(reference: Reference, raster: EmbeddingRaster, seed: int = 0) -> dict[str, NDArray[Any]]:
    """What a saved head carries along to tell ground unlike its labels.

    See :class:`~tessera_core.analysis.applicability.AreaOfApplicability`.

    Returns:
        Named arrays; none where the labels are too few to tell.
    """
    from tessera_core.analysis.applicability import learn

    keep = _teaching(raster, reference.rows, reference.cols, reference.y, seed)
    x = raster.sample(reference.rows[keep], reference.cols[keep])
    try:
        seen = raster.times_seen(reference.rows[keep], reference.cols[keep])
        known = learn(x, reference.y[keep], reference.groups[keep], seen)
    except LabelError:
        return {}
    home = known.share_outside(raster, seed)
    return (known if home is None else replace(known, home=home)).arrays


def project_reference(project: Project, raster: EmbeddingRaster, but: Collection[str] = ()) -> Reference:
    """The project's labels on a raster, without those of the ids ``but``."""
    from tessera_core.assess.reference import Reference

    labels = [label for label in project.log.labels if label.id not in but] if but else project.log.labels
    return Reference.of_labels(labels, project.log.classes, raster.grid)


def check_confidence(score: LiveScore) -> Calibration | None:
    """The confidence of a head on the places of its labels, each held out; None where there are too few."""
    from tessera_core.assess.calibration import calibrate

    return None if score.held_out is None else calibrate(score.held_out)


def project_head(
    project: Project,
    raster: EmbeddingRaster,
    *,
    but: Collection[str] = (),
    cancelled: Cancel | None = None,
    progress: Progress | None = None,
) -> Head:
    """The project's head, fitted on its labels in ``raster`` but those of the ids ``but``, as sure as labels held out show it
    should be.

    Raises:
        HeadError: the labels do not suffice.
        Cancelled: ``cancelled`` said so.
    """
    reference = project_reference(project, raster, but)
    if not len(reference.rows):
        raise HeadError("There are no labels yet. Label places of at least two classes.", hint=Hint.LABELS)
    return train(reference, raster, head_choice(project), cancelled=cancelled, progress=progress).head


def map_project(
    project: Project,
    raster: EmbeddingRaster,
    year: int | None,
    cancelled: Cancel | None = None,
    progress: Progress | None = None,
    least_seen: int | None = None,
) -> ProjectMap:
    """The project's map of a year, whole, and cleaned where the project says so.

    Args:
        raster: the project's embeddings of ``year``.
        least_seen: clear days that a pixel needs to be on it; None for the project's own setting.
        cancelled, progress: see docs/architecture.md; units are pixels.

    Raises:
        HeadError: the labels do not suffice.
        Cancelled: ``cancelled`` said so.
    """
    from tessera_core.heads import predict_raster
    from tessera_core.project.depth_filter import leave_out

    version = project.log.version
    head = project_head(project, raster, cancelled=cancelled, progress=progress)
    made = predict_raster(head, raster, cancelled=cancelled, progress=progress)
    post_processing = post_processing_of(project)
    if post_processing is not None:
        made = replace(made, classes=post_processing(made.classes, raster, head, cancelled))
    left_out = None
    if (times := least_seen or project.settings.least_seen) is not None:
        made, left_out = leave_out(made, raster, times)
    return ProjectMap(year, version, head, made, left_out)


def project_product(
    project: Project, raster: EmbeddingRaster, made: ProjectMap, *, scored: bool = True, cancelled: Cancel | None = None
) -> Product:
    """A project's map with everything that files of it need.

    Args:
        project: whose map it is.
        raster: the embeddings it was made of.
        made: of :func:`map_project`.
        scored: whether the score, the card of the labels and how often the region was seen are wanted, which takes a moment.

    Raises:
        Cancelled: ``cancelled`` said so.
    """
    from tessera_core.assess.label_card import card_of_labels
    from tessera_core.export.product import Product
    from tessera_core.imagery.layers import nearest_picture

    provenance = raster.provenance
    if made.left_out is not None and made.left_out.pixels:
        provenance = provenance.with_details(seen_at_least=made.left_out.times)
    log = project.log
    picture = nearest_picture(project.settings.base_layers, raster.provenance.year)
    card = card_of_labels(log.labels, log.classes, raster, picture=picture).minded if scored else ()
    score = score_labels(log.labels, log.classes, raster, head_choice(project), cancelled=cancelled) if scored else None
    return Product(
        name=project.name,
        classes=made.map.classes,
        confidence=made.map.confidence,
        grid=raster.grid,
        label_classes=log.classes,
        labels=log.labels,
        provenance=provenance,
        head=head_name(project),
        score={} if score is None else score.to_json(),
        temperature=made.head.applied_temperature_,
        checked=_checked(project, made),
        depth=raster.depth() if scored else None,
        times_seen=raster.observations[..., 0] if scored and raster.observations is not None else None,
        left_out="" if made.left_out is None else made.left_out.sentence,
        card=tuple((line.sentence, line.advice) for line in card),
    )


def _checked(project: Project, made: ProjectMap) -> Checked | None:
    """What a sample of places drawn at random says of a map; None without one, or without enough answers."""
    from tessera_core.export.product import Checked, CheckedClass
    from tessera_core.project.validate import load

    try:
        saved = load(project, made.year)
    except ProjectError as error:
        return Checked(str(error), (), "ha")
    if saved is None or saved.grid.shape != made.map.classes.shape:
        return None
    try:
        found = saved.on_map(made.map.classes).assess()
    except LabelError:
        # A class of the map has no answered place yet, so nothing can be estimated.
        return None
    names, unit = {c.id: c.name for c in project.log.classes}, "ha" if saved.grid.georeferenced else "pixels"
    first, *_ = found.sentences(names, unit)
    total = found.total_area
    classes = tuple(
        CheckedClass(
            names.get(c.id, str(c.id)),
            c.mapped * total,
            c.area.value,
            c.area.interval,
            c.sampled,
        )
        for c in found.classes
    )
    return Checked(first, classes, unit, found.notes)


def post_processing_of(project: Project) -> PostProcessing | None:
    """How the project's finished map is cleaned: its setting ``post_processing``, or None.

    Raises:
        LabelError: the setting is damaged.
    """
    from tessera_core.analysis.postprocess import PostProcessing

    value = project.settings.post_processing
    return None if value is None else PostProcessing.from_json(value)


def label_samples(labels: Sequence[Label], classes: Sequence[LabelClass], raster: EmbeddingRaster) -> Samples:
    """The labelled pixels with data as :mod:`tessera_core.assess` takes them; each label is a group."""
    from tessera_core.assess.reference import Reference

    return Reference.of_labels(labels, classes, raster.grid).samples(raster)


def score_samples(
    samples: Samples,
    choice: str | HeadChoice = DEFAULT_HEAD,
    *,
    seed: int = 0,
    naive: bool = True,
    cancelled: Cancel | None = None,
) -> LiveScore:
    """The one score of a map, which the page, the report, the exports and the command line show.

    Args:
        samples: the labelled pixels.
        choice: of the head.
        seed: of everything random.
        naive: also what a random split would claim; the score itself is the same without.

    Returns:
        How often the map is right at places held out, each label counting once, with its 95 % interval; where labels do not
        suffice its ``accuracy`` is None and its ``headline`` says what to label.

    Raises:
        HeadError: there is no such head.
        Cancelled: ``cancelled`` said so.
    """
    from tessera_core.assess.live import live_score

    return live_score(samples, unfitted(choice, seed), naive=naive, seed=seed, cancelled=cancelled)


def score_labels(
    labels: Sequence[Label],
    classes: Sequence[LabelClass],
    raster: EmbeddingRaster,
    choice: str | HeadChoice = DEFAULT_HEAD,
    *,
    seed: int = 0,
    cancelled: Cancel | None = None,
) -> LiveScore:
    """The score of the map that ``labels`` make; see :func:`score_samples`.

    Raises:
        HeadError: there is no such head.
        Cancelled: ``cancelled`` said so.
    """
    return score_samples(label_samples(labels, classes, raster), choice, seed=seed, cancelled=cancelled)

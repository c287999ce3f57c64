"""Labels drawn from a map that exists, and how far it can be trusted to teach: how often it agrees with own labels, and how well
it is repeated."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from tessera_core._utils.percents import percent
from tessera_core.assess.live import LiveScore, wilson
from tessera_core.assess.reference import Reference
from tessera_core.labels.features import NO_HINTS, Hints
from tessera_core.labels.importing import ImportedLabels
from tessera_core.labels.weak import BORDER, PER_CLASS, ExistingMap, read_existing_map, weak_labels
from tessera_core.project.classify import score_samples
from tessera_core.raster import EmbeddingRaster
from tessera_core.types import Cancel


@dataclass(frozen=True)
class Agreement:
    """How often an existing map says what own labels say.

    Attributes:
        share: of the labels that lie on its classes, each counting once; None where none does.
        interval: 95 %, Wilson.
        labels: that could be compared.
        elsewhere: labels on ground of which the map says nothing, or of a class that it does not have.
        by_class: own class -> (share, labels).
    """

    share: float | None
    interval: tuple[float, float] | None
    labels: int
    elsewhere: int
    by_class: dict[str, tuple[float, int]]

    def sentences(self, what: str) -> list[str]:
        """For people."""
        if self.share is None or self.interval is None:
            return [f"None of your labels lies on a class of {what}, so that its agreement with them is not known."]
        share, low, high = percent(self.share), percent(self.interval[0]), percent(self.interval[1])
        told = [
            f"{what} agrees with {share} % of {self.labels} labels of yours (95 % sure: {low} to {high} %). "
            "Labels that you chose are no sample; where they are easy, so is agreeing with them."
        ]
        worst = sorted(self.by_class.items(), key=lambda item: item[1][0])[:3]
        told.append("Least in " + ", ".join(f"{name} ({percent(right)} % of {n})" for name, (right, n) in worst) + ".")
        if self.elsewhere:
            told.append(
                f"{self.elsewhere} of your labels lie where it says nothing, or are of a class that it does not have."
            )
        return told

    def to_json(self) -> dict[str, Any]:
        """JSON object."""
        interval = None if self.interval is None else list(self.interval)
        by_class = {name: {"share": share, "labels": n} for name, (share, n) in self.by_class.items()}
        return {
            "share": self.share, "interval": interval, "labels": self.labels, "elsewhere": self.elsewhere, "by_class": by_class,
        }  # fmt: skip


def agreement_of(existing: ExistingMap, own: Reference) -> Agreement:
    """How often a map agrees with labels on its grid; classes are the same where their names are, whatever the case."""
    ids = {name.casefold(): k for k, name in existing.names.items()}
    theirs = existing.classes[own.rows, own.cols].astype(np.int64)
    mine = np.array([ids.get(own.names.get(int(k), "").casefold(), 0) for k in own.y])
    comparable = (theirs > 0) & (mine > 0)
    count = len(np.unique(own.groups))
    if not comparable.any():
        return Agreement(None, None, 0, count, {})
    groups, label = np.unique(own.groups[comparable], return_inverse=True)
    same = np.bincount(label, (theirs == mine)[comparable]) / np.bincount(label)
    of = np.zeros(len(groups), np.int64)
    of[label] = own.y[comparable]
    share = float(same.mean())
    by_class = {own.names[int(k)]: (float(same[of == k].mean()), int((of == k).sum())) for k in np.unique(of)}
    return Agreement(share, wilson(share, len(same)), len(same), count - len(groups), by_class)


def repeated(
    labels: ImportedLabels, raster: EmbeddingRaster, *, seed: int = 0, cancelled: Cancel | None = None
) -> LiveScore:
    """How well embeddings repeat an existing map at places held out: low where its classes are not what is seen from above.

    Raises:
        LabelError: no label lies where there are data.
        Cancelled: ``cancelled`` said so.
    """
    reference = Reference.of_labels(labels.labels, labels.classes, raster.grid)
    return score_samples(reference.with_embeddings(raster), seed=seed, naive=False, cancelled=cancelled)


@dataclass(frozen=True)
class WeakLabels:
    """Labels of another map, with what is known of that map.

    Attributes:
        source: name of its file.
        labels: the points, their classes, and what became of the rest.
        reference: the same on the pixels of the embeddings.
        agreement: with labels of one's own; None where there are none.
        repeated: how well embeddings repeat the map at places held out.
    """

    source: str
    labels: ImportedLabels
    reference: Reference
    agreement: Agreement | None
    repeated: LiveScore

    @property
    def counts(self) -> dict[str, int]:
        """Class -> labels."""
        return {c.name: sum(1 for one in self.labels.labels if one.class_id == c.id) for c in self.labels.classes}

    def sentences(self) -> list[str]:
        """How far to trust it, for people."""
        told = [] if self.agreement is None else self.agreement.sentences(self.source)
        if self.repeated.accuracy is not None:
            repeated = percent(self.repeated.accuracy)
            told.append(f"Where places are held out, embeddings repeat {self.source} at {repeated} % of these labels.")
        return told


def draw_weak_labels(
    existing: ExistingMap,
    raster: EmbeddingRaster,
    source: str,
    *,
    per_class: int = PER_CLASS,
    border: int = BORDER,
    own: Reference | None = None,
    seed: int = 0,
    cancelled: Cancel | None = None,
) -> WeakLabels:
    """Draw labels from a map that exists, and say how far it can be trusted.

    Args:
        existing: of :func:`tessera_core.labels.weak.read_existing_map` on the grid of the raster.
        raster: the embeddings.
        source: name of the map.
        per_class: most points of a class.
        border: pixels to each side of a point that have to be of its class.
        own: labels of one's own on the same grid, to compare with; None or none: it is not compared.
        seed: of the draw.

    Raises:
        LabelError: fewer than two classes have a place away from borders, or no label lies where there are data.
        Cancelled: ``cancelled`` said so.
    """
    found = weak_labels(existing, raster.grid, source, per_class=per_class, border=border, seed=seed)
    agreed = None if own is None or not len(own.rows) else agreement_of(existing, own)
    reference = Reference.of_labels(found.labels, found.classes, raster.grid, found.report)
    return WeakLabels(source, found, reference, agreed, repeated(found, raster, seed=seed, cancelled=cancelled))


def weak_labels_of(
    path: str | Path,
    raster: EmbeddingRaster,
    legend: Mapping[str, str] | None = None,
    *,
    field: str | None = None,
    crs: str | None = None,
    hints: Hints = NO_HINTS,
    **drawing: Any,
) -> WeakLabels:
    """The same from a file: :func:`tessera_core.labels.weak.read_existing_map`, then :func:`draw_weak_labels`.

    Raises:
        LabelError: map or legend cannot be used.
        Cancelled: it was asked for.
    """
    existing = read_existing_map(path, raster.grid, legend, field=field, crs=crs, hints=hints)
    return draw_weak_labels(existing, raster, Path(path).name, **drawing)

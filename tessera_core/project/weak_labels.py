"""How far a map that exists can be trusted to teach: how often it agrees with own labels, and how well it is repeated."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from tessera_core.assess.live import LiveScore, wilson
from tessera_core.assess.reference import Reference
from tessera_core.labels.importing import ImportedLabels
from tessera_core.labels.weak import ExistingMap
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
        low, high = self.interval
        told = [
            f"{what} agrees with {100 * self.share:.0f} % of {self.labels} labels of yours (95 % sure: {100 * low:.0f} to "
            f"{100 * high:.0f} %). Labels that you chose are no sample; where they are easy, so is agreeing with them."
        ]
        worst = sorted(self.by_class.items(), key=lambda item: item[1][0])[:3]
        told.append("Least in " + ", ".join(f"{name} ({100 * share:.0f} % of {n})" for name, (share, n) in worst) + ".")
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

"""A finished map with everything that belongs to it: what the archive, the report and the script are written from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tessera_core.grid import Grid
from tessera_core.labels.model import Label, LabelClass
from tessera_core.provenance import Provenance


@dataclass(frozen=True)
class Product:
    """A map of one year and what it was made from.

    Attributes:
        name: of the project.
        classes: uint8 (H, W), 0 = no data.
        confidence: uint8 (H, W) percent, 255 = no data.
        grid: of both.
        label_classes: names and colours of the class ids.
        labels: what the head learnt from.
        provenance: of the embeddings.
        head: name of the head.
        score: of :func:`tessera_core.assess.evaluate`, or empty where the map was not assessed.
        temperature: by which the confidence was calibrated on labels whose place was held out; 1 where it was not.
    """

    name: str
    classes: NDArray[np.uint8]
    confidence: NDArray[np.uint8]
    grid: Grid
    label_classes: Sequence[LabelClass]
    labels: Sequence[Label]
    provenance: Provenance
    head: str
    score: Mapping[str, Any] = field(default_factory=dict)
    temperature: float = 1.0

    @property
    def year(self) -> int | None:
        """The year mapped."""
        return self.provenance.year

    @property
    def confidence_note(self) -> str:
        """What the confidence is, in a sentence without a full stop."""
        if self.temperature == 1:
            return "as the head gives it, no temperature applied"
        return f"calibrated on labels whose place was held out (temperature {self.temperature:.2f})"

    def areas(self) -> list[ClassArea]:
        """Pixels, share and hectares of each class, in the order of the classes."""
        counts = np.bincount(self.classes.ravel(), minlength=256)
        mapped = int(counts[1:].sum())
        labels = np.bincount([label.class_id for label in self.labels], minlength=256)
        hectares = self.grid.pixel_area_m2 / 10_000
        return [
            ClassArea(
                c,
                int(counts[c.id]),
                int(counts[c.id]) / mapped if mapped else 0.0,
                int(counts[c.id]) * hectares if self.grid.georeferenced else None,
                int(labels[c.id]),
            )
            for c in self.label_classes
        ]


@dataclass(frozen=True)
class ClassArea:
    """How much of a map a class is: pixels, share of the mapped area (0..1), hectares (None without place), its labels."""

    klass: LabelClass
    pixels: int
    share: float
    hectares: float | None
    labels: int

"""A finished map with everything that belongs to it: what the archive, the report and the script are written from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tessera_core.areas import mapped_areas
from tessera_core.grid import Grid
from tessera_core.labels.model import Label, LabelClass
from tessera_core.observations import Depth
from tessera_core.provenance import Provenance

SIMULATED = "This landscape is simulated, made up to try things out: there is no such place on Earth."
UNCHECKED = "Nobody has looked at places drawn by chance from the map, so its areas are unchecked."


def confidence_note(temperature: float) -> str:
    """What a confidence is that was adjusted by ``temperature`` (1: not adjusted), in a sentence without a full stop."""
    if temperature == 1:
        return "as the classifier gives it, not adjusted"
    how = "less" if temperature > 1 else "more"
    return f"adjusted at labels whose place was held out, which made it {how} sure of itself (temperature {temperature:.2f})"


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
        score: the JSON object of :class:`tessera_core.assess.live.LiveScore`, which the app shows; empty where the map
            was not scored.
        checked: what a random sample of places says; None where nobody looked.
        temperature: by which the confidence was calibrated on labels whose place was held out; 1 where it was not.
        depth: how often satellites saw the region; None where nobody counted or asked.
        times_seen: (H, W) clear days of each pixel; None where nobody counted or asked.
        left_out: what is not on the map because it was seen too rarely, for people; empty where nothing was asked.
        card: what there is to mind of the labels, pairs of what is so and what to do; of
            :class:`tessera_core.assess.label_card.LabelCard`.
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
    checked: Checked | None = None
    depth: Depth | None = None
    times_seen: NDArray[np.uint16] | None = None
    left_out: str = ""
    card: Sequence[tuple[str, str]] = ()

    @property
    def year(self) -> int | None:
        """The year mapped."""
        return self.provenance.year

    @property
    def confidence_note(self) -> str:
        """What the confidence is, in a sentence without a full stop."""
        return confidence_note(self.temperature)

    @property
    def simulated(self) -> bool:
        """Whether the landscape is made up (the demo), so that no area on it means anything."""
        return self.provenance.simulated

    @property
    def trust(self) -> tuple[str, ...]:
        """How far to trust the map, in the sentences of the pages: what was checked first, then the score of the labels."""
        score = [str(line) for line in self.score.get("sentences", ()) if line != self.score.get("gap")]
        if self.checked is not None:
            return (self.checked.sentence, *self.checked.notes, *score)
        return (*score[:1], UNCHECKED, *score[1:])

    def areas(self) -> list[ClassArea]:
        """Pixels, share and hectares of each class, in the order of the classes, and its labels."""
        mapped = mapped_areas(self.classes, self.grid)
        labels = np.bincount([label.class_id for label in self.labels], minlength=256)
        return [
            ClassArea(c, mapped[c.id].pixels, mapped[c.id].share, mapped[c.id].hectares, int(labels[c.id]))
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


@dataclass(frozen=True)
class CheckedClass:
    """What a checked sample says of one class; areas in ``Checked.unit``, intervals of 95 %, None where there is none.

    Attributes:
        name: of the class.
        mapped: its area on the map.
        area: its true area, estimated.
        interval: of ``area``.
        places: that were the class.
    """

    name: str
    mapped: float
    area: float
    interval: tuple[float, float] | None
    places: int


@dataclass(frozen=True)
class Checked:
    """What people saw at places drawn at random from the map.

    Attributes:
        sentence: how much of the map is right, with its interval.
        classes: areas corrected for the map's mistakes.
        unit: of areas, ``"ha"`` or ``"pixels"``.
        notes: what weakens it.
    """

    sentence: str
    classes: tuple[CheckedClass, ...]
    unit: str
    notes: tuple[str, ...] = ()

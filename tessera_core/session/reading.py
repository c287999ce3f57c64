"""What the labels of a project say of its ground now: the head that they teach, and the map of all of it. Pure; knows no screen.

A :class:`LabelReader` keeps each until what it was made from has changed: the head by label version and method, the map by those
and by how its confidence is softened. What takes longer than a click is made elsewhere and handed in
(:meth:`LabelReader.take_slow`, :meth:`LabelReader.take_rest`).
"""

from __future__ import annotations

import weakref
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from tessera_core.areas import MappedArea, mapped_areas
from tessera_core.errors import HeadError
from tessera_core.heads.auto import reason
from tessera_core.heads.blocks import learnt
from tessera_core.heads.choice import DEFAULT_HEAD
from tessera_core.labels.log import LabelLog
from tessera_core.project.classify import fit_labels
from tessera_core.raster import EmbeddingRaster

if TYPE_CHECKING:
    from tessera_core.heads import ClassMap, Head, HeadChoice, Scene

# Methods of a project whose temperature is remembered.
MAX_TEMPERATURES = 32


@dataclass(frozen=True)
class Reading:
    """What the labels of one version say.

    Attributes:
        version: of the label log.
        head: that was asked for.
        temperature: by which its probabilities are softened.
        preview: whether the map is a quick one, because the head asked for is slow and its map is still being made.
        map: class ids and confidence, or None while there is no map.
        hint: the next thing to do, or why there is no map; empty when all is well.
        areas: what each class id covers of the map.
        parts: how much each part of joined embeddings counts, in a sentence; empty where none was weighed.
        method: what the head chose for these labels, in a sentence; empty where it has nothing to choose.
    """

    version: int
    head: HeadChoice
    temperature: float
    preview: bool
    map: ClassMap | None
    hint: str
    areas: dict[int, MappedArea]
    parts: str = ""
    method: str = ""

    @property
    def taught(self) -> Taught:
        """What the map was made from, without the head itself."""
        made = (self.version, self.head, self.temperature, self.preview)
        return Taught(*made, None, self.hint, (self.parts, self.method))


@dataclass(frozen=True)
class Taught:
    """A head taught by the labels of one version.

    Attributes:
        version, head, temperature, preview, hint: as of a :class:`Reading`.
        fitted: the head; None where there is none, or where its map is there already.
        told: what it learnt of the parts of joined embeddings, and what it chose; sentences, or empty.
    """

    version: int
    head: HeadChoice
    temperature: float
    preview: bool
    fitted: Head | None
    hint: str
    told: tuple[str, str] = ("", "")


class LabelReader:
    """Reads one label log of one year of one project. For one thread at a time: whoever uses it holds a lock.

    Args:
        raster: the embeddings.
        scene: makes the open scene, when first needed.
        large: whether the whole scene is too large to be mapped at a click.

    Attributes:
        reading: the map of the whole scene that was made last, or None.
        generation: grows when maps made so far show nothing that is true any more, though labels and method look the same.
    """

    def __init__(self, raster: EmbeddingRaster, scene: Callable[[], Scene], large: bool) -> None:
        self.raster, self.large = raster, large
        self.reading: Reading | None = None
        self.generation = 0
        self._scene = scene
        self._log: weakref.ref[LabelLog] | None = None
        self._temperatures: dict[HeadChoice, float] = {}
        self._slow: tuple[int, HeadChoice, ClassMap] | None = None
        self._taught: Taught | None = None

    def follow(self, labels: LabelLog) -> None:
        """Read this log from now on."""
        if not self.follows(labels):
            # A log that was opened anew (its file was replaced) may count its versions from where another one stood.
            self._log, self.reading, self._slow, self._taught = weakref.ref(labels), None, None, None
            self.generation += 1

    def follows(self, labels: LabelLog | None) -> bool:
        """Whether this is the log that is read."""
        return labels is not None and labels is self.log

    @property
    def log(self) -> LabelLog | None:
        """The log that is read; None before the first, and when it is gone."""
        return None if self._log is None else self._log()

    # ------------------------------------------------------------- confidence

    def temperature(self, head: HeadChoice) -> float:
        """By which the probabilities of ``head`` are softened now."""
        return self._temperatures.get(head, 1.0)

    def set_temperature(self, head: HeadChoice, temperature: float) -> None:
        """From now on soften the probabilities of ``head``, as its confidence on held-out labels showed to be right."""
        self._temperatures.pop(head, None)
        self._temperatures[head] = temperature
        if len(self._temperatures) > MAX_TEMPERATURES:
            del self._temperatures[next(iter(self._temperatures))]

    # ---------------------------------------------------------- made elsewhere

    def take_slow(self, version: int, head: HeadChoice, made: ClassMap) -> None:
        """Take the finished map of a slow head; it stands while the labels are still of that version."""
        self._slow, self.reading = (version, head, made), None
        self.generation += 1

    def take_rest(self, taught: Taught, made: ClassMap, areas: dict[int, MappedArea]) -> None:
        """Take the map of a whole large scene, which ``taught`` made, and what its classes cover."""
        made_with = (taught.version, taught.head, taught.temperature, False)
        self.reading = Reading(*made_with, made, "", areas, *taught.told)

    def has_slow(self, labels: LabelLog, head: HeadChoice) -> bool:
        """Whether the map of a slow head is there."""
        return self._slow is not None and self._slow[:2] == (labels.version, head)

    # ---------------------------------------------------------------- reading

    def now(self, labels: LabelLog, head: HeadChoice) -> tuple[int, HeadChoice, float]:
        """What a map of now is made with: version, head, temperature."""
        return labels.version, head, self.temperature(head)

    def known(self, labels: LabelLog, head: HeadChoice) -> Reading | None:
        """The map of the whole scene, where it has been made already."""
        known = self.reading
        if known is None or not self.follows(labels):
            return None
        return known if (known.version, known.head, known.temperature) == self.now(labels, head) else None

    def teach(self, labels: LabelLog, head: HeadChoice) -> Taught:
        """The head that these labels teach, or the next thing to do."""
        self.follow(labels)
        version, head, temperature = self.now(labels, head)
        known = self._taught
        if known is not None and (known.version, known.head, known.temperature) == (version, head, temperature):
            return known
        hint, preview, told = next_step(labels), False, ("", "")
        fitted: Head | None = None
        if not hint:
            preview = not is_instant(head)
            try:
                fitted = fit_labels(labels.labels, self.raster, DEFAULT_HEAD if preview else head)
            except HeadError as error:
                hint = str(error)
        if fitted is not None and not preview:
            told = (learnt(fitted, self.raster.provenance), reason(fitted))
            fitted = fitted if temperature == 1 else fitted.temperature_scaled(temperature)
        self._taught = Taught(version, head, temperature, preview, fitted, hint, told)
        return self._taught

    def read(self, labels: LabelLog, head: HeadChoice) -> Reading:
        """The map of the whole scene, however large, made if something has changed."""
        self.follow(labels)
        known = self.known(labels, head)
        if known is not None:
            return known
        temperature, areas = self.temperature(head), {}
        if self._slow is not None and self.has_slow(labels, head) and not next_step(labels):
            taught, mapped = Taught(labels.version, head, temperature, False, None, ""), self._slow[2]
        else:
            taught, mapped = self.teach(labels, head), None
            if taught.fitted is not None:
                try:
                    mapped = self._scene().predict(taught.fitted)
                except HeadError as error:
                    taught = replace(taught, hint=str(error))
        if mapped is not None:
            areas = mapped_areas(mapped.classes, self.raster.grid)
        self.reading = Reading(
            taught.version, head, temperature, taught.preview, mapped, taught.hint, areas, *taught.told
        )
        return self.reading

    def whole(self, labels: LabelLog, head: HeadChoice) -> Reading | None:
        """The map of the whole scene, where that costs nothing; always of a small one."""
        ready = self.has_slow(labels, head)
        return self.read(labels, head) if ready or not self.large else self.known(labels, head)


def is_instant(head: HeadChoice) -> bool:
    """Whether a head is quick enough to be fitted and painted after every click."""
    from tessera_core.heads import INSTANT_HEADS

    return head.name in INSTANT_HEADS and head.neighbourhood == 1


def next_step(labels: LabelLog) -> str:
    """What to do so that a map appears; empty when nothing is missing."""
    classes = labels.classes
    if not classes:
        return "Add your first class, for example Forest, in the field below."
    counts = labels.counts
    started = [c for c in classes if counts[c.id]]
    if not started:
        first = classes[0].name
        return f"Choose a class and click places of it on the map. Start with {first}."
    if len(started) == 1:
        others = [c for c in classes if not counts[c.id]]
        if not others:
            return f"Now add a second class, so that the map can tell {started[0].name} from something else."
        return f"Now label another class, for example {others[0].name}: choose it and click a place of it."
    return ""

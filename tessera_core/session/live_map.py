"""The class map that follows every label: what the label map shows, from a scene and a label log. Pure.

One :class:`LiveMap` serves all browser tabs on one year of one project. Everything expensive is kept until what it was
made from has changed: the prediction by label version and head, its picture by class colours and confidence. What it sends
is named by what it shows, so that another object for the same project (after a restart, in another tab) gives equal things
equal names, and no two different pictures the same.
"""

from __future__ import annotations

import hashlib
import json
import threading
import weakref
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from tessera_core.areas import MappedArea, hectares, mapped_areas
from tessera_core.errors import HeadError
from tessera_core.heads.auto import reason
from tessera_core.heads.blocks import learnt
from tessera_core.heads.choice import DEFAULT_HEAD
from tessera_core.labels.log import LabelLog
from tessera_core.labels.model import LabelClass
from tessera_core.labels.sampling import geometry_pixels, label_pixels
from tessera_core.language import relay
from tessera_core.project.classify import fit_labels
from tessera_core.raster import EmbeddingRaster
from tessera_core.render.display import DisplayGrid
from tessera_core.session import base_maps, payload
from tessera_core.session.protocol import ProtocolState

if TYPE_CHECKING:
    from tessera_core.heads import ClassMap, HeadChoice, Scene

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


class LiveMap:
    """One year of one project on the screen.

    Args:
        key: names scene and project, for the browser's memory, and says nothing of the server's folders.
        place: the same for all years of the project; the view is kept across them.
        raster: the embeddings.
        scene: makes the open scene, when first needed.
        display: the grid to draw on.
        title, subtitle: printed on the map: what is seen, of when, from which dataset.

    Attributes:
        unit, pixel_area: unit of areas (``"ha"`` or ``"px"``), and the area of a pixel in it.
    """

    def __init__(
        self,
        key: str,
        place: str,
        raster: EmbeddingRaster,
        scene: Callable[[], Scene],
        display: DisplayGrid,
        title: str,
        subtitle: str,
    ) -> None:
        self.key, self.place, self.raster, self.display = key, place, raster, display
        self.title, self.subtitle = title, subtitle
        self._scene = scene
        self._mutex = threading.Lock()
        self._reading: Reading | None = None
        self._log: weakref.ref[LabelLog] | None = None
        self._overlay: tuple[tuple[object, ...], bytes, int, str] | None = None
        self._label_text = payload.LabelText(display)
        self._temperatures: dict[HeadChoice, float] = {}
        self._slow: tuple[int, HeadChoice, ClassMap] | None = None
        hectare = hectares(1, raster.grid)
        self.unit, self.pixel_area = ("px", 1.0) if hectare is None else ("ha", hectare)

    def message(
        self,
        key: str,
        labels: LabelLog,
        head: HeadChoice,
        state: ProtocolState,
        run: int,
        saved_at: float | None = None,
        pictures: Sequence[str] = ("pca",),
        base: Sequence[Mapping[str, Any]] | None = None,
    ) -> bytes:
        """What the browser needs to show the labels as they are now.

        Args:
            key: of the component.
            labels: the project's log.
            head: the project's.
            state: of the protocol; its ack and its wishes (confidence, a chosen label) are answered.
            run: grows with every answer, so that Streamlit passes on even an unchanged picture.
            saved_at: seconds since 1970 of the last save.
            pictures: names of the static pictures that are sent beside.
            base: base maps to choose from, see :func:`tessera_core.session.base_maps.entries`; None for those that every map has.
        """
        with self._mutex:
            reading = self._read(labels, head)
            classes = labels.classes
            png, levels, name = self._picture(reading, classes, state.confidence)
            header = {
                "kind": "map",
                "key": key,
                "scene": self.key,
                "place": self.place,
                "seq": run,
                "epoch": state.epoch,
                "ack": state.ack,
                "seen": state.seen,
                "created": state.created,
                "notes": [(number, relay(sentence)) for number, sentence in state.notes],
                **self.picture_header(),
                "frame": self.display.frame,
                "pixel": self.display.pixel_size,
                "metres": self.pixel_area**0.5 * 100 if self.unit == "ha" else None,
                "title": self.title,
                "subtitle": self.subtitle,
                "classes": self._classes(labels, classes, reading),
                "unit": self.unit,
                "undo": labels.can_undo,
                "redo": labels.can_redo,
                "map": {"v": name, "levels": levels} if reading.map is not None else None,
                "saved": saved_at,
                "hint": relay(reading.hint),
                "stamp": self._stamp(labels, head),
                "version": reading.version,
                "preview": reading.preview,
                "selected": self._particulars(labels, state.selected),
                "pictures": list(pictures),
                "base": (base_maps.entries() if base is None else base) if self.display.frame == "mercator" else (),
            }
            text = json.dumps(header, separators=(",", ":"), allow_nan=False)
            # The labels' JSON is kept ready, label by label.
            text = f'{text[:-1]},"labels":{self._label_text(labels.labels)}}}'
        return payload.pack_json(text.encode(), png)

    def _particulars(self, labels: LabelLog, label_id: str) -> dict[str, Any] | None:
        """What the map's card says of one label that is not in the list of all: note, time, size.

        Its size is told twice: pixels that it covers, and those of them that no later label covers.
        """
        label = labels.find_label(label_id)
        if label is None or label.kind == "erase":
            return None
        painted, grid = labels.labels, self.raster.grid
        covered = len(geometry_pixels(label, grid))
        number = next(n for n, other in enumerate(painted) if other is label)
        return {
            "id": label.id,
            "note": label.note,
            "made": labels.made_at(label.id),
            "pixels": covered,
            "counted": int(np.count_nonzero(label_pixels(painted, grid).label_index == number)),
            "area": round(covered * self.pixel_area, 4),
        }

    def picture_header(self) -> dict[str, Any]:
        """The part of a header that says where a picture of this scene lies."""
        return {"scene": self.key, "bounds": self.display.bounds}

    def reading(self, labels: LabelLog, head: HeadChoice) -> Reading:
        """The current map of ``labels``, computed if something has changed."""
        with self._mutex:
            return self._read(labels, head)

    def stamp(self, labels: LabelLog, head: HeadChoice) -> str:
        """Names what :meth:`message` would show now, so that the page knows when its map is out of date."""
        with self._mutex:
            return self._stamp(labels, head)

    def _stamp(self, labels: LabelLog, head: HeadChoice) -> str:
        slow = self._slow is not None and self._slow[:2] == (labels.version, head)
        return f"{self.key}|{labels.version}|{head}|{self._temperatures.get(head, 1.0):.3f}|{slow:d}"

    def set_temperature(self, head: HeadChoice, temperature: float) -> None:
        """From now on soften the probabilities of ``head``, as its confidence on held-out labels showed to be right."""
        with self._mutex:
            self._temperatures.pop(head, None)
            self._temperatures[head] = temperature
            if len(self._temperatures) > MAX_TEMPERATURES:
                del self._temperatures[next(iter(self._temperatures))]

    def accept(self, version: int, head: HeadChoice, made: ClassMap) -> None:
        """Take the finished map of a slow head; it is shown while the labels are still of that version."""
        with self._mutex:
            self._slow = (version, head, made)
            self._reading = None

    def _read(self, labels: LabelLog, head: HeadChoice) -> Reading:
        if self._log is None or self._log() is not labels:
            # A log that was opened anew (its file was replaced) may count its versions from where another one stood.
            self._log, self._reading, self._slow = weakref.ref(labels), None, None
        known = self._reading
        version, temperature = labels.version, self._temperatures.get(head, 1.0)
        if known is not None and (known.version, known.head, known.temperature) == (version, head, temperature):
            return known
        hint = next_step(labels)
        mapped, areas, preview, told = None, {}, False, ("", "")
        if not hint:
            try:
                mapped, preview, told = self._map(labels, head, temperature)
                areas = mapped_areas(mapped.classes, self.raster.grid)
            except HeadError as error:
                hint = str(error)
        self._reading = Reading(version, head, temperature, preview, mapped, hint, areas, *told)
        return self._reading

    def _map(self, labels: LabelLog, head: HeadChoice, temperature: float) -> tuple[ClassMap, bool, tuple[str, str]]:
        """The map, whether it is only a quick one in the place of a slow head's, and what its head learnt of joined parts and
        chose."""
        if not is_instant(head):
            if self._slow is not None and self._slow[:2] == (labels.version, head):
                return self._slow[2], False, ("", "")
            return self._scene().predict(fit_labels(labels.labels, self.raster, DEFAULT_HEAD)), True, ("", "")
        fitted = fit_labels(labels.labels, self.raster, head)
        mapped = self._scene().predict(fitted if temperature == 1 else fitted.temperature_scaled(temperature))
        return mapped, False, (learnt(fitted, self.raster.provenance), reason(fitted))

    def _picture(self, reading: Reading, classes: Sequence[LabelClass], confidence: bool) -> tuple[bytes, int, str]:
        """PNG bytes, levels of confidence in it, and what names the picture."""
        if reading.map is None:
            return b"", 1, ""
        colours = tuple((c.id, c.color) for c in classes)
        known = self._overlay
        if known is None or known[0][0] is not reading or known[0][1:] != (confidence, colours):
            shown = reading.map.confidence if confidence else None
            png, levels = payload.overlay(reading.map.classes, shown, classes, self.display)
            told = (self.key, reading.version, str(reading.head), reading.temperature, reading.preview, levels, colours)
            drawn = hashlib.blake2b(repr(told).encode(), digest_size=10)
            # Only the bytes themselves cannot be wrong about what is drawn, whatever else it may depend on.
            drawn.update(png)
            known = self._overlay = ((reading, confidence, colours), png, levels, drawn.hexdigest())
        return known[1:]

    def _in_unit(self, area: MappedArea) -> float:
        return area.pixels if area.hectares is None else area.hectares

    def _classes(self, labels: LabelLog, classes: Sequence[LabelClass], reading: Reading) -> list[dict[str, Any]]:
        counts = labels.counts
        return [
            {
                "id": c.id,
                "name": c.name,
                "color": c.color,
                "count": counts[c.id],
                "area": None if reading.map is None else round(self._in_unit(reading.areas[c.id]), 2),
            }
            for c in classes
        ]


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

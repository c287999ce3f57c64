"""What a screen sees of the class map that follows every label, from a scene and a label log. Pure.

One :class:`LiveMap` serves all browser tabs on one year of one project. What the map is, ``reading`` says; here are the part of it
that a screen shows, its picture, and the message in which it travels, each kept until what it was made from has changed. What
is sent is named by what it shows, so that another object for the same project (after a restart, in another tab) gives equal
things equal names, and no two different pictures the same.

Of a scene of more than :data:`LARGE_PIXELS` a click is answered with what is in sight, as finely as the screen shows it. The
rest, and what each class covers, is made beside it and comes when it is there (:meth:`LiveMap.accept_rest`).
"""

from __future__ import annotations

import hashlib
import json
import threading
import weakref
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from tessera_core.areas import MappedArea, hectares, mapped_areas
from tessera_core.errors import HeadError
from tessera_core.labels.log import LabelLog
from tessera_core.labels.model import LabelClass
from tessera_core.labels.sampling import geometry_pixels, label_pixels
from tessera_core.language import relay
from tessera_core.raster import EmbeddingRaster
from tessera_core.render.display import DisplayGrid, DisplayView
from tessera_core.session import base_maps, payload
from tessera_core.session.protocol import ProtocolState, Sight
from tessera_core.session.reading import LabelReader, Reading, Taught
from tessera_core.types import BBox

if TYPE_CHECKING:
    from tessera_core.heads import ClassMap, Head, HeadChoice, Scene

# A scene of more pixels is not mapped as a whole at every click.
LARGE_PIXELS = 2_000_000
# Screens whose part of a large scene is kept ready (6 MB of pixel numbers each), their maps (3 MB each) and pictures (1 MB).
MAX_VIEWS = 6
# What a screen has that has not told what it shows.
_SCREEN = (900, 1200)


type _Drawn = tuple[weakref.ref[ClassMap], bytes, int, str]
"""A map, its PNG bytes, levels of confidence in it, and what names the picture."""


@dataclass(frozen=True)
class _Shown:
    """A part of the map as it is sent: what it was made from, what it shows, and whether the map of the rest is there."""

    taught: Taught
    map: ClassMap | None
    bounds: BBox
    rest: Reading | None


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
        large: whether only what is in sight is mapped at a click.
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
        self.large = raster.grid.height * raster.grid.width > LARGE_PIXELS
        self._reader = LabelReader(raster, scene, self.large)
        self._label_text = payload.LabelText(display)
        self._views: OrderedDict[Sight | None, DisplayView] = OrderedDict()
        self._seen: OrderedDict[tuple[object, ...], ClassMap] = OrderedDict()
        self._drawn: OrderedDict[tuple[object, ...], _Drawn] = OrderedDict()
        self._confidence = False
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
            self._confidence = state.confidence
            shown = self._show(labels, head, state.view)
            taught, rest = shown.taught, shown.rest
            classes = labels.classes
            png, levels, name = self._picture(shown, classes, state.confidence)
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
                "classes": self._classes(labels, classes, rest),
                "unit": self.unit,
                "undo": labels.can_undo,
                "redo": labels.can_redo,
                "large": self.large,
                "map": {"v": name, "levels": levels, "bounds": shown.bounds} if shown.map is not None else None,
                "saved": saved_at,
                "hint": relay(taught.hint),
                "stamp": self._stamp(labels, head),
                "version": taught.version,
                "preview": taught.preview,
                "selected": self._particulars(labels, state.selected),
                "pictures": list(pictures),
                "base": (base_maps.entries() if base is None else base) if self.display.frame == "mercator" else (),
            }
            text = json.dumps(header, separators=(",", ":"), allow_nan=False)
            # The labels' JSON is kept ready, label by label.
            text = f'{text[:-1]},"labels":{self._label_text(labels.labels)}}}'
        return payload.pack_json(text.encode(), png)

    def finer(self, sight: Sight | None) -> DisplayView | None:
        """What a screen shows of a large scene where that is finer than a picture of all of it; else None."""
        if not self.large or sight is None:
            return None
        with self._mutex:
            view = self._view(sight)
        west, _, east, _ = self.display.bounds
        return view if view.step < 0.95 * (east - west) / self.display.shape[1] else None

    def rest(self, labels: LabelLog, head: HeadChoice, confidence: bool) -> tuple[dict[str, Any], bytes] | None:
        """Header and PNG of the map of all of a large scene, coarse as the display is; None while it is not there.

        Args:
            labels, head: as for :meth:`message`.
            confidence: whether the page shows it.
        """
        with self._mutex:
            self._reader.follow(labels)
            reading = self._reader.whole(labels, head) if self.large else None
            if reading is None or reading.map is None:
                return None
            classes = labels.classes
            whole = _Shown(reading.taught, reading.map, self.display.bounds, reading)
            png, levels, name = self._picture(whole, classes, confidence)
        return {**self.picture_header(), "version": name, "levels": levels, "classes": [c.id for c in classes]}, png

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
        """The current map of ``labels``, of the whole scene however large, computed if something has changed."""
        with self._mutex:
            return self._reader.read(labels, head)

    def told(self, labels: LabelLog, head: HeadChoice) -> list[str]:
        """What the head chose for these labels, and how much each part of joined embeddings counts, in sentences."""
        with self._mutex:
            parts, method = self._reader.teach(labels, head).told
        return [sentence for sentence in (method, parts) if sentence]

    def temperature(self, head: HeadChoice) -> float:
        """By which the probabilities of ``head`` are softened now."""
        with self._mutex:
            return self._reader.temperature(head)

    def stamp(self, labels: LabelLog, head: HeadChoice) -> str:
        """Names what :meth:`message` would show now, so that the page knows when its map is out of date."""
        with self._mutex:
            return self._stamp(labels, head)

    def _stamp(self, labels: LabelLog, head: HeadChoice) -> str:
        temperature, slow = self._reader.temperature(head), self._reader.has_slow(labels, head)
        rest = self.large and self._reader.known(labels, head) is not None
        # In full: a map is of exactly one temperature, and the next one shall be asked for however near it is.
        return f"{self.key}|{labels.version}|{head}|{temperature!r}|{slow:d}{rest:d}"

    def set_temperature(self, head: HeadChoice, temperature: float) -> None:
        """From now on soften the probabilities of ``head``, as its confidence on held-out labels showed to be right."""
        with self._mutex:
            self._reader.set_temperature(head, temperature)

    def accept(self, version: int, head: HeadChoice, made: ClassMap) -> None:
        """Take the finished map of a slow head; it is shown while the labels are still of that version."""
        with self._mutex:
            self._reader.take_slow(version, head, made)

    def accept_rest(self, version: int, head: HeadChoice, temperature: float, made: ClassMap) -> None:
        """Take the map of a whole large scene; it is shown while labels and confidence are still those it was made with."""
        areas = mapped_areas(made.classes, self.raster.grid)
        made_with, reader = (version, head, temperature), self._reader
        with self._mutex:
            labels = reader.log
            if labels is None or reader.now(labels, head) != made_with:
                return
            # The last click's, unless the confidence was checked since: the page may not have asked for that map yet.
            taught = reader.teach(labels, head)
        # Drawn here and not while a click waits for its turn.
        whole, classes, confidence = _Shown(taught, made, self.display.bounds, None), labels.classes, self._confidence
        drawn = self._draw(whole, classes, confidence)
        with self._mutex:
            if reader.follows(labels) and reader.now(labels, head) == made_with:
                reader.take_rest(taught, made, areas)
                _keep(self._drawn, self._told(whole, classes, confidence), drawn)

    def _show(self, labels: LabelLog, head: HeadChoice, sight: Sight | None) -> _Shown:
        """What a screen shows: everything of a small scene, of a large one what is in sight."""
        self._reader.follow(labels)
        reading = self._reader.whole(labels, head)
        taught = self._reader.teach(labels, head) if reading is None else reading.taught
        if reading is not None and (reading.map is None or not self.large):
            return _Shown(taught, reading.map, self.display.bounds, reading)
        if reading is None and taught.fitted is None:
            return _Shown(taught, None, self.display.bounds, None)
        view = self._view(sight)
        made_with = (self._reader.generation, taught.version, head, taught.temperature, taught.preview)
        key = (*made_with, view.bounds, view.shape)
        seen = self._seen.get(key)
        if seen is None:
            try:
                seen = self._part(taught.fitted, reading, view)
            except HeadError as error:
                return _Shown(replace(taught, hint=str(error)), None, self.display.bounds, None)
        _keep(self._seen, key, seen)
        return _Shown(taught, seen, view.bounds, reading)

    def _part(self, fitted: Head | None, reading: Reading | None, view: DisplayView) -> ClassMap:
        """The map of a view, cut from that of the whole scene where there is one."""
        if fitted is not None and (reading is None or reading.map is None):
            return self._scene().predict_pixels(fitted, view.index)
        made = None if reading is None else reading.map
        assert made is not None
        return type(made)(view.take(made.classes), view.take(made.confidence, 255))

    def _view(self, sight: Sight | None) -> DisplayView:
        known = self._views.get(sight)
        if known is None:
            bounds, size = (self.display.bounds, _SCREEN) if sight is None else (sight.bounds, sight.size)
            known = self.display.view(bounds, size)
        _keep(self._views, sight, known)
        return known

    def _picture(self, shown: _Shown, classes: Sequence[LabelClass], confidence: bool) -> tuple[bytes, int, str]:
        """PNG bytes, levels of confidence in it, and what names the picture."""
        if shown.map is None:
            return b"", 1, ""
        told = self._told(shown, classes, confidence)
        known = self._drawn.get(told)
        if known is None or known[0]() is not shown.map:
            known = self._draw(shown, classes, confidence)
        _keep(self._drawn, told, known)
        return known[1:]

    def _told(self, shown: _Shown, classes: Sequence[LabelClass], confidence: bool) -> tuple[object, ...]:
        """What a picture is made of."""
        taught = shown.taught
        made_of = (self.key, taught.version, str(taught.head), taught.temperature, taught.preview)
        where = None if shown.map is None or not self.large else (shown.bounds, shown.map.classes.shape)
        return made_of, confidence, tuple((c.id, c.color) for c in classes), where

    def _draw(self, shown: _Shown, classes: Sequence[LabelClass], confidence: bool) -> _Drawn:
        made, (made_of, _, *rest) = shown.map, self._told(shown, classes, confidence)
        assert made is not None
        whole = made.classes.shape == self.raster.grid.shape and shown.bounds == self.display.bounds
        sure = made.confidence if confidence else None
        png, levels = payload.overlay(made.classes, sure, classes, self.display if whole else None)
        drawn = hashlib.blake2b(repr((made_of, levels, *rest)).encode(), digest_size=10)
        # Only the bytes themselves cannot be wrong about what is drawn, whatever else it may depend on.
        drawn.update(png)
        return weakref.ref(made), png, levels, drawn.hexdigest()

    def _in_unit(self, area: MappedArea) -> float:
        return area.pixels if area.hectares is None else area.hectares

    def _classes(
        self, labels: LabelLog, classes: Sequence[LabelClass], reading: Reading | None
    ) -> list[dict[str, Any]]:
        counts = labels.counts
        return [
            {
                "id": c.id,
                "name": c.name,
                "color": c.color,
                "count": counts[c.id],
                "area": None
                if reading is None or reading.map is None
                else round(self._in_unit(reading.areas[c.id]), 2),
            }
            for c in classes
        ]


def _keep[K, V](kept: OrderedDict[K, V], key: K, value: V) -> None:
    kept[key] = value
    kept.move_to_end(key)
    while len(kept) > MAX_VIEWS:
        kept.popitem(last=False)

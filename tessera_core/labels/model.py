"""Classes and labels as values: what may be said about a place, and nothing about files, grids or pixels.

Labels are painted in order: a later label covers an earlier one, and an ``erase`` stroke un-labels what lies under it.
"""

from __future__ import annotations

import math
import re
import secrets
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from tessera_core.errors import LabelError
from tessera_core.gate import whole_letters

XY = tuple[tuple[float, float], ...]

KINDS = ("point", "brush", "polygon", "rectangle", "erase")
# How the place of a label was chosen; empty: by whoever put it down, or nobody kept it.
SUGGESTION, IMPORTED, SAMPLED, GROUP = "suggestion", "imported", "sampled", "group"
ORIGINS = ("", SUGGESTION, IMPORTED, SAMPLED, GROUP)
# What files call an empty one: a label of which a file says nothing was imported.
OWN = "own"
MAX_CLASS_ID = 254

# Water, conifers, broadleaf wood, grass, crops, maize, towns, bare ground, wetland, snow, root crops, vines. Any two are at least
# 13 apart (CIEDE2000) for people with full colour vision and for each kind of dichromats; found by annealing within such hues.
PALETTE = (
    "#1658a8",
    "#06480c",
    "#028642",
    "#a6cd82",
    "#ffec4b",
    "#fd8a00",
    "#fd0b4b",
    "#a69582",
    "#44abad",
    "#e8f2fd",
    "#efa0f2",
    "#850b62",
)

_HEX = re.compile(r"#[0-9a-f]{6}")
_CONTROL = re.compile(r"[\x00-\x1f\x7f]+")
# Marks that turn the direction of the text after them: "exe.map" would read as "pam.exe". Names need none; letters have their own.
_TURNS = re.compile("[\u202a-\u202e\u2066-\u2069]")


def clean_name(name: object, limit: int = 80) -> str:
    """``name`` as one trimmed line of at most ``limit`` characters; may be empty.

    None is a control, half of a letter (a lone surrogate, which no file holds) or a mark of direction.
    """
    return " ".join(_CONTROL.sub(" ", _TURNS.sub("", whole_letters(str(name)))).split())[:limit].strip()


_ID_BYTES = 6


@dataclass(frozen=True, slots=True)
class LabelClass:
    """A class that labels can have.

    Attributes:
        id: 1..254, stable for the life of a project and never given to another class.
        name: one line of text, not empty.
        color: ``"#rrggbb"``, lower case.
        code: the class's code in an outside scheme (e.g. UKHab ``"w1f"``), or empty.
    """

    id: int
    name: str
    color: str
    code: str = ""

    def __post_init__(self) -> None:
        if isinstance(self.id, bool) or not isinstance(self.id, int) or not 1 <= self.id <= MAX_CLASS_ID:
            raise LabelError(f"A class id must be a whole number from 1 to {MAX_CLASS_ID}, not {self.id!r}.")
        name = clean_name(self.name)
        if not name:
            raise LabelError("A class needs a name; type at least one letter.")
        color = str(self.color).strip().lower()
        if not _HEX.fullmatch(color):
            raise LabelError(f"The colour {self.color!r} of class {name!r} is not of the form #rrggbb.")
        object.__setattr__(self, "name", name)
        object.__setattr__(self, "color", color)
        object.__setattr__(self, "code", clean_name(self.code))

    def to_json(self) -> dict[str, Any]:
        """JSON object of the fields; ``code`` only where there is one."""
        value: dict[str, Any] = {"id": self.id, "name": self.name, "color": self.color}
        return value | ({"code": self.code} if self.code else {})

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> LabelClass:
        """The inverse of :meth:`to_json`.

        Raises:
            LabelError: a field is missing or wrong.
        """
        try:
            return cls(value["id"], value["name"], value["color"], value.get("code", ""))
        except (KeyError, TypeError, AttributeError) as error:
            raise LabelError("A class needs an id, a name and a colour.") from error


@dataclass(frozen=True, slots=True)
class Label:
    """One labelled place.

    Attributes:
        id: unique in its project.
        class_id: id of its class; 0 for ``erase``.
        kind: one of :data:`KINDS`.
        xy: ``((x, y), ...)`` in the CRS of the project's grid (local grid: its own x, y). One place for a point, the
            stroke's vertices for a brush or erase, the open outer ring for a polygon, and for a rectangle either two
            opposite corners or its ring.
        radius: of a brush or erase stroke in CRS units; 0 for the other kinds.
        note: free text, one line.
        holes: open inner rings of a polygon, in the same coordinates.
        origin: how its place was chosen, one of :data:`ORIGINS`: ``"suggestion"`` of the app, where the map was in doubt;
            ``"imported"`` from a file; ``"sampled"`` by chance; ``"group"`` of pixels that are alike. What a later version calls
            otherwise is empty here.
    """

    id: str
    class_id: int
    kind: str
    xy: XY
    radius: float = 0.0
    note: str = ""
    holes: tuple[XY, ...] = ()
    origin: str = ""

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise LabelError(f"{self.kind!r} is not a kind of label; the kinds are {', '.join(KINDS)}.")
        if not isinstance(self.id, str) or not 0 < len(self.id) <= 64:
            raise LabelError("A label needs an id of 1 to 64 characters.")
        if isinstance(self.class_id, bool) or not isinstance(self.class_id, int):
            raise LabelError(f"The class of a label must be a class id, not {self.class_id!r}.")
        if self.kind == "erase":
            object.__setattr__(self, "class_id", 0)
        elif not 1 <= self.class_id <= MAX_CLASS_ID:
            raise LabelError(f"The class id {self.class_id} of a label is not from 1 to {MAX_CLASS_ID}.")
        xy = _coordinates(self.xy)
        if self.kind == "polygon" or (self.kind == "rectangle" and len(xy) != 2):
            xy = _open_ring(xy)
        elif self.kind == "point":
            xy = xy[:1]
        object.__setattr__(self, "xy", xy)
        holes = tuple(_open_ring(_coordinates(ring)) for ring in self.holes) if self.kind == "polygon" else ()
        object.__setattr__(self, "holes", holes)
        try:
            radius = float(self.radius) if self.kind in ("brush", "erase") else 0.0
        except (TypeError, ValueError) as error:
            raise LabelError(f"The radius {self.radius!r} of a stroke is not a number.") from error
        if not (math.isfinite(radius) and radius >= 0):
            raise LabelError(f"The radius of a stroke must be zero or more, not {self.radius!r}.")
        object.__setattr__(self, "radius", radius)
        object.__setattr__(self, "note", clean_name(self.note, limit=1000))
        if self.origin not in ORIGINS:
            object.__setattr__(self, "origin", "")

    @classmethod
    def points(
        cls, class_ids: Iterable[int], x: Iterable[float], y: Iterable[float], origins: Iterable[str] = ()
    ) -> list[Label]:
        """Points of classes 1..254 at finite coordinates, with fresh ids; not checked once more, as there may be a million.

        Args:
            class_ids, x, y: (N,) of each.
            origins: (N,) of :data:`ORIGINS`; none where nobody kept it.
        """
        labels, given = [], list(class_ids)
        put, new = object.__setattr__, object.__new__
        size = 2 * _ID_BYTES
        ids = secrets.token_hex(_ID_BYTES * len(given))
        chosen = list(origins) or [""] * len(given)
        for n, (class_id, px, py, origin) in enumerate(zip(given, x, y, chosen, strict=True)):
            label = new(cls)
            put(label, "id", ids[size * n : size * (n + 1)])
            put(label, "class_id", class_id)
            put(label, "kind", "point")
            put(label, "xy", ((px, py),))
            put(label, "radius", 0.0)
            put(label, "note", "")
            put(label, "holes", ())
            put(label, "origin", origin)
            labels.append(label)
        return labels

    @property
    def rings(self) -> tuple[XY, ...]:
        """The outer ring and holes of a polygon or rectangle; a rectangle of two corners is spelt out."""
        if self.kind == "rectangle" and len(self.xy) == 2:
            (x0, y0), (x1, y1) = self.xy
            return (((x0, y0), (x1, y0), (x1, y1), (x0, y1)),)
        return (self.xy, *self.holes)

    def to_json(self) -> dict[str, Any]:
        """JSON object of the fields that say something."""
        value: dict[str, Any] = {"id": self.id, "class_id": self.class_id, "kind": self.kind, "xy": self.xy}
        if self.radius:
            value["radius"] = self.radius
        if self.note:
            value["note"] = self.note
        if self.holes:
            value["holes"] = self.holes
        if self.origin:
            value["origin"] = self.origin
        return value

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Label:
        """The inverse of :meth:`to_json`.

        Raises:
            LabelError: a field is missing or wrong.
        """
        try:
            return cls(
                value["id"],
                value["class_id"],
                value["kind"],
                value["xy"],
                value.get("radius", 0.0),
                value.get("note", ""),
                tuple(value.get("holes", ())),
                value.get("origin", ""),
            )
        except (KeyError, TypeError, AttributeError) as error:
            raise LabelError("A label needs an id, a class, a kind and coordinates.") from error


def _coordinates(values: Iterable[Sequence[float]]) -> XY:
    try:
        xy = tuple((float(x), float(y)) for x, y in values)
    except (TypeError, ValueError) as error:
        raise LabelError("The coordinates of a label must be pairs of numbers (x, y).") from error
    if not xy:
        raise LabelError("A label needs at least one place.")
    if not all(math.isfinite(x) and math.isfinite(y) for x, y in xy):
        raise LabelError("A coordinate of a label is not a finite number.")
    return xy


def _open_ring(ring: XY) -> XY:
    ring = ring[:-1] if len(ring) > 1 and ring[0] == ring[-1] else ring
    if len(set(ring)) < 3:
        raise LabelError("A polygon needs at least three different corners.")
    return ring


def origin_written(label: Label) -> str:
    """How files say how the place of a label was chosen, so that reading them back tells it."""
    return label.origin or OWN


def origin_read(value: object) -> str:
    """The inverse of :func:`origin_written`; a label of which a file says nothing that is known was imported.

    >>> origin_read("sampled"), origin_read("own"), origin_read("GPS"), origin_read(None)
    ('sampled', '', 'imported', 'imported')
    """
    said = value.strip().casefold() if isinstance(value, str) else None
    return "" if said == OWN else said if said and said in ORIGINS else IMPORTED


def new_id() -> str:
    """A fresh id for a label, unique across tabs and machines."""
    return secrets.token_hex(_ID_BYTES)


def hsl_to_hex(hue: float, saturation: float, lightness: float) -> str:
    """``"#rrggbb"`` of hue in degrees, saturation and lightness in percent (CSS Color 4, section 7)."""
    s, light = min(max(saturation, 0), 100) / 100, min(max(lightness, 0), 100) / 100
    a = s * min(light, 1 - light)

    def channel(n: float) -> int:
        k = (n + hue / 30) % 12
        return round(255 * (light - a * max(-1, min(k - 3, 9 - k, 1))))

    return f"#{channel(0):02x}{channel(8):02x}{channel(4):02x}"


def near_any(place: tuple[float, float], boxes: Iterable[tuple[float, float, float, float]]) -> bool:
    """Whether a place (x, y) lies in one of boxes (west, south, east, north), their edges included."""
    x, y = place
    return any(west <= x <= east and south <= y <= north for west, south, east, north in boxes)


def with_class(label: Label, class_id: int) -> Label:
    """The same label under another class; erase strokes have none and stay as they are."""
    return label if label.kind == "erase" else replace(label, class_id=class_id)

"""What readers of label files hand over: features as the file has them, and what it says about them; nothing is judged yet."""

from __future__ import annotations

import difflib
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from tessera_core.errors import LabelError

_EXAMPLES = 3


@dataclass(frozen=True)
class Hints:
    """What a person says about a file where guessing is unsafe; None is left to the reader.

    Attributes:
        field: attribute that is the class or the number.
        layer: layer, or file of an archive, or folder of a KML.
        lon, lat: columns of a table that hold the coordinates (x and y for projected ones).
        encoding: of its text, as Python names it.
    """

    field: str | None = None
    layer: str | None = None
    lon: str | None = None
    lat: str | None = None
    encoding: str | None = None


NO_HINTS = Hints()


@dataclass
class Feature:
    """What a file says about one place.

    Attributes:
        geometry: shapely geometry in the file's axis order, or None.
        properties: attributes by name.
        name: class name where the format itself says it; else it is looked for in ``properties``.
        color: CSS colour of the class, or None.
        note: becomes the label's note.
        where: which place of the file it is ("line 7"), for people.
    """

    geometry: Any
    properties: Mapping[str, Any] = field(default_factory=dict)
    name: object = None
    color: object = None
    note: str = ""
    where: str = ""


@dataclass
class Read:
    """A file's content: features, what it declares, and remarks of the reader.

    Attributes:
        features: in the file's order.
        crs: the CRS it declares, or None; ``crs_from`` says where.
        notes: sentences on how it was understood.
        skipped: why features were left out while reading -> how many; ``examples`` the first few of each.
        repaired: what was repaired -> how often.
        colors: class name -> CSS colour.
        pixels: coordinates are ``(col, row)`` of the grid instead of places.
        encoding, encoding_why: of its text.
        layers, layers_left: which were read and which were not, where the format has several.
    """

    features: list[Feature]
    crs: str | None = None
    notes: list[str] = field(default_factory=list)
    skipped: Counter[str] = field(default_factory=Counter)
    colors: Mapping[str, object] = field(default_factory=dict)
    pixels: bool = False
    crs_from: str = "the file"
    examples: dict[str, list[str]] = field(default_factory=dict)
    repaired: Counter[str] = field(default_factory=Counter)
    encoding: str = ""
    encoding_why: str = ""
    layers: list[str] = field(default_factory=list)
    layers_left: list[str] = field(default_factory=list)

    def skip(self, why: str, where: str = "", count: int = 1) -> None:
        """Count features that are left out."""
        self.skipped[why] += count
        known = self.examples.setdefault(why, [])
        if where and len(known) < _EXAMPLES:
            known.append(where)


def fields_of(features: Iterable[Feature]) -> list[str]:
    """Names of the attributes, in the order of the file."""
    return list(dict.fromkeys(key for feature in features for key in feature.properties))


def named(wanted: str, names: Sequence[str], what: str, where: str) -> str:
    """The name of the file that a person means: exactly, else whatever the case.

    Args:
        wanted: as typed.
        names: there are.
        what: "field", "layer" or "column", for people.
        where: the file, for people.

    Raises:
        LabelError: there is none; the sentence lists what there is.
    """
    forms: tuple[Callable[[str], str], ...] = (str, lambda text: text.casefold().strip())
    for form in forms:
        for name in names:
            if form(name) == form(wanted):
                return name
    lower = {name.casefold(): name for name in names}
    near = difflib.get_close_matches(wanted.casefold(), list(lower), 1, 0.6)
    guess = f" Did you mean {lower[near[0]]!r}?" if near else ""
    known = ", ".join(names[:20]) + (f" and {len(names) - 20} more" if len(names) > 20 else "")
    raise LabelError(f"{where} has no {what} {wanted!r}; its {what}s are: {known or 'none'}.{guess}")


def in_one_system(parts: Sequence[tuple[Sequence[Feature], str | None]], notes: list[str]) -> str | None:
    """Bring features of several coordinate systems into one, in place; returns it.

    Args:
        parts: features and their CRS (None: not stated, left as they are and taken as the commonest).
        notes: gets a sentence where several were stated.

    Raises:
        LabelError: a stated CRS is not known.
    """
    stated = Counter({crs: 0 for _, crs in parts if crs})
    for features, crs in parts:
        if crs:
            stated[crs] += len(features)
    if len(stated) <= 1:
        return next(iter(stated), None)
    import shapely
    from pyproj.exceptions import CRSError

    from tessera_core.grid import transformer

    common = stated.most_common(1)[0][0]
    for features, crs in parts:
        if crs is None or crs == common:
            continue
        try:
            convert = transformer(crs, common)
        except CRSError as error:
            raise LabelError(f"The coordinate system {crs[:60]!r} of the labels is not known.") from error
        for feature in features:
            if feature.geometry is not None:
                feature.geometry = shapely.transform(feature.geometry, convert.transform, interleaved=False)
    shown = ", ".join(crs if len(crs) < 40 else "one without a code" for crs in stated)
    notes.append(f"The places are in {len(stated)} coordinate systems ({shown}); all were brought to {common[:40]}.")
    return common

"""Labels that are numbers, read from files of field plots: which field, which numbers, what was repaired and left out, and why.

A number travels as the note of its label, so that whatever mends, moves and stores labels serves numbers as well.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tessera_core.errors import LabelError
from tessera_core.grid import Grid
from tessera_core.labels.cells import parse_number
from tessera_core.labels.features import NO_HINTS, Feature, Hints, Read, fields_of, named
from tessera_core.labels.files import read_features, stem_of
from tessera_core.labels.importing import assemble
from tessera_core.labels.layers import Worth
from tessera_core.labels.model import Label
from tessera_core.labels.report import ImportReport

# Numbers that field sheets and rasters write where there is none.
MISSING = frozenset({-99.99, -999.0, -999.9, -9999.0, -99999.0, -32768.0})
_NONE = frozenset({"", "-", "--", "na", "n/a", "nan", "nd", "nil", "none", "null", "missing", "?"})
_NOT_MEASURED = frozenset(
    {"id", "fid", "objectid", "oid", "plot", "plotid", "plotno", "plotnr", "plotnumber", "site", "siteid", "sample"}
    | {"sampleid", "no", "nr", "number", "index", "unnamed0", "lat", "lon", "lng", "long", "latitude", "longitude", "x"}
    | {"y", "easting", "northing", "year", "month", "day", "doy", "row", "col", "column", "classid", "paintorder"}
    | {"radius", "zone", "epsg", "begin", "end", "tessellate", "extrude", "visibility", "draworder"}
)
# What a column's name ends in, and the unit that means.
_UNITS = {
    "m": "m", "cm": "cm", "mm": "mm", "km": "km", "kg": "kg", "g": "g", "t": "t", "mg": "Mg", "ha": "ha", "m2": "m²",
    "m3": "m³", "pct": "%", "perc": "%", "percent": "%", "%": "%", "degc": "°C", "days": "days", "doy": "day of year",
}  # fmt: skip
_AMOUNTS = ("m", "cm", "mm", "kg", "g", "t", "mg", "m2", "m3")
_PER = {"ha": "ha", "m2": "m²", "m3": "m³", "kg": "kg", "g": "g"}
_EXAMPLES = 3


@dataclass(frozen=True)
class ValueField:
    """An attribute of a file that holds numbers.

    Attributes:
        name: as the file has it.
        count: features that have a number in it.
        low, high: of the numbers.
        likely: whether it may well be a measurement (ids, coordinates and years are not).
    """

    name: str
    count: int
    low: float
    high: float
    likely: bool


@dataclass(frozen=True)
class ImportedValues:
    """Plots of a file on a grid.

    Attributes:
        field: the attribute that was read.
        labels: of one class, in the CRS of the grid; the note of each is its number.
        values: float64 (N,) the numbers.
        report: what was read, repaired and left out.
    """

    field: str
    labels: list[Label]
    values: NDArray[np.float64]
    report: ImportReport


# ------------------------------------------------------------------ numbers


def _parser(values: Iterable[object]) -> Callable[[object], float | None]:
    """How to read one column: where it has decimal points, its commas make groups."""
    points = any(isinstance(v, str) and re.search(r"\d\.\d", v) and "," not in v for v in values)
    return lambda value: parse_number(value, grouped=points)


def name_and_unit(field: str) -> tuple[str, str]:
    """What a column holds and the unit its name ends in, or empty: ``"height_m"`` is ``("height", "m")``, ``"Biomass (t/ha)"``
    is ``("Biomass", "t/ha")``, ``"cover_pct"`` is ``("cover", "%")``."""
    field = field.strip()
    if bracketed := re.fullmatch(r"(.*?\S)[\s_]*[(\[]\s*([^()\[\]]{1,20}?)\s*[)\]]", field):
        return bracketed[1].rstrip(" _-"), bracketed[2]
    parts = [part for part in re.split(r"[\s_./-]+", field.casefold()) if part]
    for length in (2, 1):
        unit = _unit(parts[-length:]) if len(parts) > length else ""
        if unit:
            ends = list(re.finditer(r"[\s_./-]+", field.rstrip(" _./-")))
            return field[: ends[-length].start()].rstrip(" _-"), unit
    return field, ""


def _unit(parts: list[str]) -> str:
    if len(parts) == 1:
        return _UNITS.get(parts[0], "")
    amount, per = parts
    return f"{_UNITS[amount]}/{_PER[per]}" if per in _PER and amount in _AMOUNTS else ""


# ------------------------------------------------------------------- reading


def value_fields(path: str | Path) -> list[ValueField]:
    """The attributes of a file that hold numbers, likely measurements first.

    Raises:
        LabelError: the file is not readable, or has no places.
    """
    path = Path(path)
    read = read_features(path, worth=by_values)
    if not read.features:
        raise LabelError(f"{path.name}: there are no places in this file.")
    return _fields(read.features)


def by_values(features: Sequence[Feature]) -> Worth:
    """How likely a layer of a file holds plots with numbers."""
    likely = [one for one in _fields(features) if one.likely]
    best = max(likely, key=lambda one: one.count, default=None)
    return Worth(0.0, None) if best is None else Worth(best.count / len(features) + min(1, best.count / 10), best.name)


def _fields(features: Sequence[Feature]) -> list[ValueField]:
    found = []
    for name in fields_of(features):
        column = [f.properties.get(name) for f in features]
        parse = _parser(column)
        numbers = [v for v in map(parse, column) if v is not None and v not in MISSING]
        texts = sum(isinstance(v, str) and parse(v) is None and v.strip().casefold() not in _NONE for v in column)
        if numbers:
            # A column of names with a stray number in it is no measurement.
            plain = re.sub(r"[^a-z0-9]", "", name.casefold())
            likely = bool(plain) and plain not in _NOT_MEASURED and len(numbers) > texts
            found.append(ValueField(name, len(numbers), min(numbers), max(numbers), likely))
    return sorted(found, key=lambda one: not one.likely)


def read_value_plots(
    path: str | Path, grid: Grid, field: str | None = None, crs: str | None = None, hints: Hints = NO_HINTS
) -> ImportedValues:
    """Read plots with a number each; see :func:`tessera_core.labels.files.read_labels`.

    Args:
        field: which attribute is the number; by default the only likely one.

    Raises:
        LabelError: the file is not readable, or no attribute holds numbers.
    """
    path = Path(path)
    field = field if field is not None else hints.field
    read = read_features(path, replace(hints, field=field), by_values)
    chosen = value_field(read, path, field)
    parse = _parser([f.properties.get(chosen) for f in read.features])
    odd, commas = Counter[str](), 0
    measured: dict[str, float] = {}
    features = []
    read = replace(read, skipped=Counter(read.skipped), examples=dict(read.examples))
    for feature in read.features:
        raw = feature.properties.get(chosen)
        value = parse(raw)
        if value is None:
            text = " ".join(str("" if raw is None else raw).split())
            odd[text] += bool(text)
            read.skip(f"no number in {chosen!r}", feature.where)
        elif value in MISSING:
            read.skip(f"{value:g} in {chosen!r}, which stands for missing", feature.where)
        else:
            commas += isinstance(raw, str) and "," in raw
            measured[text := repr(value)] = value
            features.append(replace(feature, name=chosen, note=text))
    found = assemble(replace(read, features=features), grid, stem_of(path), None, crs)
    report = found.report
    report.field, report.field_why = chosen, "as told" if field is not None else "the only likely measurement"
    if commas:
        report.repair_counts["numbers with a decimal comma read"] += commas
    if examples := [text for text, _ in odd.most_common(_EXAMPLES) if text]:
        report.notes.append(f"Not taken for numbers: {', '.join(repr(text[:30]) for text in examples)}.")
    return ImportedValues(chosen, found.labels, np.array([measured[label.note] for label in found.labels]), report)


def read_values(
    path: str | Path, grid: Grid, field: str | None = None, crs: str | None = None
) -> tuple[list[Label], NDArray[np.float64]]:
    """Labels of one class, and the number of each, float64 (N,); see :func:`read_value_plots`."""
    found = read_value_plots(path, grid, field, crs)
    return found.labels, found.values


def value_field(read: Read, path: Path, field: str | None) -> str:
    """The attribute of a file that holds numbers.

    Raises:
        LabelError: there is none, or several and ``field`` does not say which.
    """
    fields = _fields(read.features)
    numeric = [one.name for one in fields]
    if field is not None:
        field = named(field, fields_of(read.features), "field", "The file")
        if field not in numeric:
            raise LabelError(
                f"The field {field!r} of {path.name} holds no numbers; its fields of numbers are: "
                f"{', '.join(numeric[:20]) or 'none'}."
            )
        return field
    likely = [one.name for one in fields if one.likely]
    if len(likely) != 1:
        raise LabelError(
            f"{path.name} has {len(likely)} fields of numbers ({', '.join(likely[:20]) or 'none'}); say which one to map."
        )
    return likely[0]

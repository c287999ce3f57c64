"""A sample for other programs to answer, and their answers back: Collect Earth Online's CSV of plots, GeoJSON and KML.

What the map says goes into none of these files: people tend to agree with a map. Places are known by their number, the column
``PLOTID``; nothing that comes back is dropped without being counted.
"""

from __future__ import annotations

import csv
import io
import json
from collections import Counter
from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from xml.etree.ElementTree import Element, SubElement, tostring

from tessera_core._utils.csvcells import quoted_row
from tessera_core.assess.designs import Sample
from tessera_core.errors import LabelError
from tessera_core.grid import Grid
from tessera_core.labels.classfield import CANNOT_TELL, class_said, is_sample, plain
from tessera_core.labels.features import Feature, fields_of
from tessera_core.labels.files import read_features
from tessera_core.labels.model import SAMPLED, clean_name

ENDINGS = (".csv", ".geojson", ".kml")
_NUMBER = ("plotid", "plot_id", "pl_plotid", "id", "name")
# What other programs call what stands behind an answer.
_BEHIND = {
    "interpreter": ("interpreter", "email", "user", "operator", "analyst"),
    "evidence": ("evidence", "imagery_title", "imagery"),
    "evidence_date": ("evidence_date", "imagery_date"),
    "reason": ("reason",),
}


def sample_text(sample: Sample, grid: Grid, ending: str, title: str = "Places") -> str:
    """The places of a sample as the text of a file.

    Args:
        sample: whose answers stay here.
        grid: of the map.
        ending: one of :data:`ENDINGS`.
        title: of a KML document.

    Raises:
        LabelError: the map has no place on Earth, or there is no such form.
    """
    if not grid.georeferenced:
        raise LabelError("The place on Earth of this map is not known, so other programs cannot show its places.")
    lon, lat = grid.pixel_to_lonlat(sample.rows + 0.5, sample.cols + 0.5)
    places = [(n + 1, round(float(x), 7), round(float(y), 7)) for n, (x, y) in enumerate(zip(lon, lat, strict=True))]
    if ending == ".csv":
        out = io.StringIO()
        table = csv.writer(out, lineterminator="\n")
        # The first three are Collect Earth Online's, which takes further columns along.
        table.writerow(("LON", "LAT", "PLOTID", "origin"))
        table.writerows(quoted_row((f"{x:.7f}", f"{y:.7f}", number, SAMPLED)) for number, x, y in places)
        return out.getvalue()
    if ending == ".geojson":
        features = [
            {
                "type": "Feature",
                "geometry": {"type": "Point", "coordinates": [x, y]},
                "properties": {"PLOTID": number, "class": None, "origin": SAMPLED},
            }
            for number, x, y in places
        ]
        return json.dumps({"type": "FeatureCollection", "features": features}, indent=1)
    if ending == ".kml":
        return _kml(places, title)
    raise LabelError(f"A sample is not written as {ending}; there are {', '.join(ENDINGS)}.")


def _kml(places: Sequence[tuple[int, float, float]], title: str) -> str:
    root = Element("kml", xmlns="http://www.opengis.net/kml/2.2")
    document = SubElement(root, "Document")
    SubElement(document, "name").text = clean_name(title)
    for number, x, y in places:
        mark = SubElement(document, "Placemark")
        SubElement(mark, "name").text = str(number)
        data = SubElement(mark, "ExtendedData")
        for key, value in (("PLOTID", str(number)), ("origin", SAMPLED)):
            SubElement(SubElement(data, "Data", name=key), "value").text = value
        SubElement(SubElement(mark, "Point"), "coordinates").text = f"{x:.7f},{y:.7f}"
    return '<?xml version="1.0" encoding="UTF-8"?>\n' + tostring(root, encoding="unicode") + "\n"


@dataclass(frozen=True)
class AnswersRead:
    """Answers of a file.

    Attributes:
        classes: position of a place -> class id, 0 for "cannot tell".
        behind: position -> what the file says of interpreter, evidence and its date, reason; only what it says.
        others: what further people say of a place that the file has twice or more: position, class id and who.
        column: that was taken for the class.
        left_out: why lines were left out -> how many.
    """

    classes: dict[int, int]
    behind: dict[int, dict[str, str]] = field(default_factory=dict)
    column: str = ""
    left_out: dict[str, int] = field(default_factory=dict)
    others: tuple[tuple[int, int, str], ...] = ()

    def sentences(self) -> list[str]:
        """For people, what was taken first."""
        lines = [f"{len(self.classes)} answers were taken, from the column {self.column!r}."]
        if self.others:
            lines.append(f"{len(self.others)} second answers of other people to the same places were taken as well.")
        return lines + [f"{n} lines were left out: {why}." for why, n in self.left_out.items()]


def read_answers(path: str | Path, sample: Sample, names: Mapping[int, str], column: str | None = None) -> AnswersRead:
    """Answers to a sample from a table, GeoJSON or KML, as Collect Earth Online and others write them.

    Args:
        path: of the file; it has the places by number (``PLOTID``) and, in some column, classes by name or id.
        sample: that they belong to.
        names: class id -> name.
        column: that is the class; by default the one in which most values are classes.

    Raises:
        LabelError: the file is not readable, or it has no such columns.
    """
    path = Path(path)
    features = read_features(path).features
    columns = fields_of(features)
    known = {name.strip().casefold() for name in names.values()} | {*CANNOT_TELL}
    number = next((c for wanted in _NUMBER for c in columns if c.strip().casefold() == wanted), None)
    if number is None:
        raise LabelError(
            f"{path.name} does not say which place a line belongs to; it needs the column PLOTID, with the number of the place."
        )
    chosen = column
    if chosen is None and is_sample(dict.fromkeys(columns)):
        # What the map says stands there as well, which is nobody's answer.
        chosen = next(c for c in columns if plain(c) == "reference")
    elif not chosen:
        chosen = _class_column(features, [c for c in columns if c != number], known)
    if chosen is None or chosen not in columns:
        raise LabelError(f"{path.name} has no column with classes of this project ({', '.join(names.values())}).")
    left_out: Counter[str] = Counter()
    # Of each place, by person, the classes and what stands behind them; a person who says two classes says none.
    found: dict[int, dict[str, set[int]]] = {}
    behind: dict[tuple[int, str], dict[str, str]] = {}
    for feature in features:
        place = _position(feature.properties.get(number), len(sample))
        said = _text(feature.properties.get(chosen))
        if place is None:
            left_out["their PLOTID is no place of this sample"] += 1
        elif not said:
            left_out["no class is given"] += 1
        elif (class_id := class_said(said, names)) is None:
            left_out["their class is none of this project"] += 1
        else:
            said_of = _behind(feature.properties)
            name = said_of.get("interpreter", "")
            found.setdefault(place, {}).setdefault(name, set()).add(class_id)
            behind[place, name] = said_of
    torn = [(place, name) for place, people in found.items() for name, ids in people.items() if len(ids) > 1]
    if torn:
        left_out["several classes are given for one place"] = len(torn)
    told = [
        (place, next(iter(ids)), name)
        for place, people in sorted(found.items())
        for name, ids in people.items()
        if len(ids) == 1
    ]
    # The first answer of each place, and those of further people.
    first = {place: (class_id, name) for place, class_id, name in reversed(told)}
    classes = {place: first[place][0] for place in sorted(first)}
    others = tuple(one for one in told if one[2] != first[one[0]][1])
    stands = {place: behind[place, name] for place, (_, name) in sorted(first.items()) if behind[place, name]}
    return AnswersRead(classes, stands, chosen, dict(left_out), others)


def _class_column(features: Sequence[Feature], columns: Sequence[str], known: AbstractSet[str]) -> str | None:
    hits = {c: sum(_text(f.properties.get(c)).casefold() in known for f in features) for c in columns}
    best = max(hits, key=lambda c: hits[c], default=None)
    return best if best is not None and hits[best] else None


def _position(value: Any, places: int) -> int | None:
    text = _text(value).removesuffix(".0")
    return int(text) - 1 if text.isdecimal() and len(text) < 12 and 1 <= int(text) <= places else None


def _text(value: Any) -> str:
    return "" if value is None or value != value else str(value).strip()


def _behind(properties: Mapping[str, Any]) -> dict[str, str]:
    by_name = {name.strip().casefold(): _text(value) for name, value in properties.items()}
    said = {what: next((by_name[c] for c in spelt if by_name.get(c)), "") for what, spelt in _BEHIND.items()}
    # An address is not for a report that goes round.
    said["interpreter"] = said["interpreter"].partition("@")[0]
    return {what: text for what, text in said.items() if text}

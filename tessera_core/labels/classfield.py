"""Which attribute of a file's features is the class: by what is in it, and by its name only where that leaves a choice.

A class has few values that repeat. A name or running number is different for every place, a date or a measurement is no class
whatever it is called.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from tessera_core.labels.colors import suggested
from tessera_core.labels.model import MAX_CLASS_ID, clean_name

# Attributes that usually are the class, most telling first; compared without case and punctuation.
_SURE = ("class", "classname", "labelclass", "classlabel", "labelname", "lulc", "landcover", "landcoverclass")
_TELLING = (
    *("lc", "landuse", "croptype", "crop", "habitat", "habitattype", "category", "species", "vegetation", "klasse"),
    *("cropname", "treespecies", "covertype", "clase", "classe", "nutzung", "kultur", "culture"),
)
_LOOSE = ("label", "name", "cover", "type", "code", "classid", "title", "layer")
_NOT_CLASSES = frozenset(
    {
        "id",
        "fid",
        "objectid",
        "oid",
        "gid",
        "ogcfid",
        "uuid",
        "guid",
        "globalid",
        "systemindex",
        "index",
        "no",
        "nr",
        "number",
    }
    | {"area", "areaha", "length", "shapearea", "shapelength", "shapeleng", "perimeter", "hectares", "ha"}
    | {"date", "time", "year", "month", "day", "season", "created", "updated", "timestamp", "begin", "end", "datetime"}
    | {"note", "notes", "remark", "remarks", "comment", "comments", "description", "desc", "origin", "source", "photo"}
    | {
        "color",
        "labelcolor",
        "colour",
        "fill",
        "stroke",
        "opacity",
        "styleurl",
        "kind",
        "paintorder",
        "paintord",
        "radius",
    }
    | {"observer", "surveyor", "author", "user", "username", "email", "editor", "creator", "team", "analyst", "status"}
    | {"tessellate", "extrude", "visibility", "draworder", "altitudemode", "icon", "snippet", "altitude", "elevation"}
    | {"lat", "latitude", "lon", "lng", "long", "longitude", "x", "y", "row", "col", "column", "easting", "northing"}
    | {
        "labelid",
        "plotid",
        "sampleid",
        "siteid",
        "plot",
        "site",
        "pixelcount",
        "year",
        "confidence",
        "crs",
        "srid",
        "epsg",
    }
)
_KINDS_OF_SHAPES = frozenset(
    {
        "point",
        "polygon",
        "multipolygon",
        "multipoint",
        "line",
        "linestring",
        "brush",
        "rectangle",
        "points",
        "areas",
        "lines",
    }
)
_YES_NO = frozenset({"true", "false", "yes", "no", "y", "n", "t", "f"})
_DATE = re.compile(r"(\d{4}-\d{1,2}(-\d{1,2})?([T ].*)?|\d{1,2}[./]\d{1,2}[./]\d{2,4}( .*)?|\d{4}/\d{1,2}/\d{1,2}.*)")
_COLOUR = re.compile(r"#[0-9a-f]{3,8}", re.IGNORECASE)
_NUMBER = re.compile(r"[+-]?\d+([.,]\d+)?([eE][+-]?\d+)?")
_OF_OUR_KML = frozenset({"code", "color", "note", "layer", "origin"})
# Columns of a sample drawn from a map: what the map says of a place, and what somebody saw there.
_OF_A_SAMPLE = frozenset({"stratum", "mapped", "reference"})
# What is written of a place at which nobody could tell what is there.
CANNOT_TELL = ("cannot tell", "can not tell", "can't tell", "unknown", "unsure")
_ENOUGH = 1.2
_EXAMINED = 20_000


class Candidate(NamedTuple):
    """An attribute that may be the class.

    Attributes:
        field: its name.
        score: how much speaks for it.
        distinct: different values.
        filled: features that have one.
        unique: its values are different for every place, of which there are more than a few.
    """

    field: str
    score: float
    distinct: int
    filled: int
    unique: bool


class Choice(NamedTuple):
    """The attribute that is the class, or None; why; and the next best ones where the choice was close."""

    field: str | None
    why: str
    score: float
    passed_over: tuple[str, ...] = ()
    close: tuple[str, ...] = ()


def plain(name: object) -> str:
    """A name without case and punctuation."""
    return re.sub(r"[^a-z0-9]", "", str(name).casefold())


def is_sample(properties: Mapping[str, Any]) -> bool:
    """Whether the columns are those of a sample drawn from a map (:func:`tessera_core.assess.designs.to_csv`)."""
    return {plain(name) for name in properties} >= _OF_A_SAMPLE


def class_said(text: str, names: Mapping[int, str]) -> int | None:
    """The class that an answer of a sample is, by name or id; 0 where nobody could tell, None where it is none of these.

    >>> [class_said(one, {1: "Wood", 2: "Water"}) for one in ("wood", "2", "Cannot tell", "7")]
    [1, 2, 0, None]
    """
    known = {name.strip().casefold(): k for k, name in names.items()} | dict.fromkeys(CANNOT_TELL, 0)
    if (class_id := known.get(text.strip().casefold())) is not None:
        return class_id
    return int(text) if text.isdecimal() and int(text) in names else None


def choose(properties: Sequence[Mapping[str, Any]]) -> Choice:
    """The attribute that is the class, by what the features have in it; None where none will do."""
    names = list(dict.fromkeys(key for one in properties for key in one))
    if len(properties) > _EXAMINED:
        # Evenly spread places tell as much as all of a million.
        properties = properties[:: len(properties) // _EXAMINED]
    if (own := _of_known_layout(names, properties)) is not None:
        return Choice(own, "this is where files of labels of this layout have it", 10.0)
    found = [c for c in (_judge(name, properties) for name in names) if c is not None]
    if not found:
        return Choice(None, "", 0.0)
    ranked = sorted(found, key=lambda c: -c.score)
    best = ranked[0]
    known = [c for c in ranked if _telling(c.field) > 0]
    if best.score < _ENOUGH:
        # Nothing repeats: what is called a class is taken for one all the same.
        if not known:
            return Choice(None, "", best.score)
        best = known[0]
        return Choice(best.field, f"by its name, although {_spread(best)}", best.score)
    passed = tuple(c.field for c in known if c.unique and c.field != best.field)
    close = tuple(c.field for c in ranked[1:] if c.score > best.score - 0.6 and not c.unique)[:5]
    return Choice(best.field, f"{_count(best.distinct)} in {best.filled} places", best.score, passed, close)


def _of_known_layout(names: Sequence[str], properties: Sequence[Mapping[str, Any]]) -> str | None:
    """The class of files that we and TEE write, whatever it is called and however often it is there."""
    by_word = {plain(name): name for name in names}
    if by_word.keys() >= _OF_A_SAMPLE:
        # What the map says there would teach it its own mistakes.
        return by_word["reference"]
    if "labelname" in by_word and "labelcolor" in by_word:
        return by_word["labelname"]
    if "name" not in by_word:
        return None
    words = set(by_word)
    kind = by_word.get("type", by_word.get("kind"))
    shapes = kind is None or {_text(one.get(kind)).casefold() for one in properties} <= _KINDS_OF_SHAPES
    layouts = ({"color", "labelid"}, {"color", "type"}, {"code", "type", "pixelcount"})
    if shapes and (any(layout <= words for layout in layouts) or {"color"} <= words - {"name"} <= _OF_OUR_KML):
        return by_word["name"]
    return None


def _spread(candidate: Candidate) -> str:
    return (
        f"every one of its {candidate.filled} values is different" if candidate.unique else "few of its values repeat"
    )


def _count(distinct: int) -> str:
    return "one value" if distinct == 1 else f"{distinct} values"


def _telling(name: str) -> float:
    """What a name alone says for an attribute; 0 where it says nothing."""
    word = plain(name)
    for points, names in ((2.5, _SURE), (1.6, _TELLING), (0.9, _LOOSE)):
        if word in names:
            return points - 0.01 * names.index(word)
    if word in _NOT_CLASSES:
        return 0.0
    # crop_type_2023, LC_class_2, mapClass: a telling word in a longer name.
    parts = {plain(p) for p in re.split(r"[\s_./:-]+|(?<=[a-z])(?=[A-Z])", name)}
    joined = re.sub(r"\d+$", "", word)
    if joined in _SURE or joined in _TELLING:
        return 1.5
    if parts & {"id", "nr", "no", "date", "area", "color", "colour", "source", "year"}:
        return 0.0
    return 1.2 if parts & {*_SURE, *_TELLING} else 0.5 if parts & {"label", "type", "cover"} else 0.0


def _judge(name: str, properties: Sequence[Mapping[str, Any]]) -> Candidate | None:
    """What speaks for an attribute, or None where it cannot be the class."""
    values = [one.get(name) for one in properties]
    texts = [text for text in map(_text, values) if text]
    if not texts:
        return None
    counts = {text.casefold() for text in texts}
    filled, distinct, total = len(texts), len(counts), len(properties)
    telling = _telling(name)
    if plain(name) in _NOT_CLASSES and telling == 0:
        return None
    sample = list(counts)[:300]
    if total > 2 and filled == 1:
        return None
    if any(isinstance(v, bool) for v in values[:300]) or counts <= _YES_NO or counts <= _KINDS_OF_SHAPES:
        return None
    if _most(sample, _DATE) or _most(sample, _COLOUR):
        return None
    if any(isinstance(v, dict | list) for v in values[:300]):
        return None
    numbers = _most(sample, _NUMBER)
    if numbers and any(re.search(r"[.,]\d*[1-9]|[eE]-", text) for text in sample):
        return None
    # 1 where all places have one value, 0 where each has its own.
    repeat = 1 - (distinct - 1) / (filled - 1) if filled > 1 else 0.0
    unique = distinct == filled and filled > 4
    content = 3 * min(1.0, 2 * repeat) if distinct > 1 else 0.4
    content = max(content, 2 - 0.25 * (total - 2)) if distinct > 1 else content
    if distinct > MAX_CLASS_ID:
        content = 0.0
    score = content + telling
    score += 1.5 * sum(bool(suggested(text)) for text in sample) / len(sample) if content else 0
    if filled < total / 2:
        score -= 2
    if numbers:
        score -= 0.8 if telling else 1.2
    if _enumerated(sample) and (repeat < 0.5 or _unique_within_layers(name, properties)):
        score -= 2
    elif name != "layer" and _unique_within_layers(name, properties):
        score -= 1.5
    if sum(map(len, sample)) > 40 * len(sample):
        score -= 1
    return Candidate(name, score, distinct, filled, unique)


def _most(texts: Sequence[str], pattern: re.Pattern[str]) -> bool:
    return sum(bool(pattern.fullmatch(text)) for text in texts) > 0.9 * len(texts)


def _enumerated(texts: Sequence[str]) -> bool:
    """Whether the values are running numbers, bare or behind one word: ``1, 2, 3`` or ``Field 1, Field 2``."""
    stems = {re.sub(r"[\s_#-]*\d+$", "", text) for text in texts}
    return len(texts) > 2 and len(stems) == 1 and all(text[-1].isdigit() for text in texts)


def _unique_within_layers(name: str, properties: Sequence[Mapping[str, Any]]) -> bool:
    """Whether each layer (a KML folder) has every value once only, so that the value tells places of one layer apart."""
    pairs = [(one.get("layer"), _text(one.get(name))) for one in properties]
    pairs = [pair for pair in pairs if pair[0] is not None and pair[1]]
    layers = [layer for layer, _ in pairs]
    return len(set(layers)) > 1 and len(set(pairs)) == len(pairs) and max(Counter(layers).values()) > 2


def _text(value: object) -> str:
    if value is None or (isinstance(value, float) and value != value):
        return ""
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return clean_name(value)

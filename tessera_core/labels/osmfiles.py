"""Areas of an OpenStreetMap extract (``.osm``, ``.osm.pbf``): what each is, from the tags that say it."""

from __future__ import annotations

from pathlib import Path

from tessera_core.errors import LabelError
from tessera_core.gate import contained, limits, open_vectors
from tessera_core.gate.vectors import OSM_ENDINGS
from tessera_core.labels.features import Feature, Read

# Keys that say what covers the ground, the most telling first. Of buildings only that they are.
KEYS = ("landuse", "natural", "leisure", "aeroway", "amenity", "building")
_LAYER = "multipolygons"


def is_osm(path: str | Path) -> bool:
    """Whether a file is an extract of OpenStreetMap, by its ending."""
    return Path(path).suffix.lower() in OSM_ENDINGS


def plain_name(tag: str) -> str:
    """A class name to begin with for a tag of :func:`read_osm_areas`.

    >>> plain_name("landuse=farmland"), plain_name("natural=bare_rock"), plain_name("building")
    ('Farmland', 'Bare rock', 'Building')
    """
    return tag.partition("=")[2].replace("_", " ").capitalize() or tag.capitalize()


@contained
def read_osm_areas(path: Path) -> Read:
    """The areas of an extract, each with the class ``"landuse=forest"`` and the like; other areas are counted.

    Raises:
        LabelError: the file is no readable extract, or has too many areas.
    """
    import shapely

    with open_vectors(path, error=LabelError) as vectors:
        if _LAYER not in vectors.layers:
            raise LabelError(f"{path.name} holds no areas; is it an extract of OpenStreetMap?")
        content = vectors.read(_LAYER)
    if len(content.wkb) > (most := limits().rows):
        raise LabelError(
            f"{path.name} has more than {most:,} areas, the most that are read here; cut out the part you need."
        )
    read = Read([], content.crs or "EPSG:4326")
    known = [content.columns.get(key) for key in KEYS]
    for n, shape in enumerate(shapely.from_wkb(list(content.wkb), on_invalid="ignore")):
        found = next(
            (f"{key}={column[n]}" for key, column in zip(KEYS, known, strict=True) if column is not None and column[n]),
            "",
        )
        if not found:
            read.skip("of OpenStreetMap that say nothing of land cover", f"area {n + 1}")
            continue
        name = "building" if found.startswith("building=") else found
        read.features.append(Feature(shape, {"class": name}, name=name, where=f"area {n + 1}"))
    if not read.features:
        raise LabelError(
            f"{path.name} has no area that says what covers the ground (landuse, natural, leisure, building ...)."
        )
    return read

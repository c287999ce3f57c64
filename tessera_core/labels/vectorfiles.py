"""Vector files: GeoPackage, shapefile (zipped or not) and FlatGeobuf, which GDAL reads, and archives of any vector files."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from tessera_core.errors import LabelError
from tessera_core.gate import open_archive, open_vectors, read_head, unpacked
from tessera_core.labels.dbf import Declared, declared_by, decoded
from tessera_core.labels.features import NO_HINTS, Feature, Hints, Read
from tessera_core.labels.jsonfiles import parse_json
from tessera_core.labels.kmlfiles import parse_kml
from tessera_core.labels.layers import FileLayer, Worth, by_classes, merge
from tessera_core.labels.tables import parse_csv

_IN_ZIP = (".shp", ".gpkg", ".geojson", ".geojsonl", ".json", ".kml", ".fgb", ".csv", ".tsv")
_PARSERS = {
    **dict.fromkeys((".geojson", ".geojsonl", ".json"), parse_json),
    ".kml": parse_kml,
    **dict.fromkeys((".csv", ".tsv"), parse_csv),
}
_MAX_MEMBERS = 100


def read_zip(path: Path, hints: Hints = NO_HINTS, worth: Callable[[Sequence[Feature]], Worth] = by_classes) -> Read:
    """Read the vector files of an archive, in whatever folder they lie.

    Files of one kind with the same columns are shapes of one thing (points, areas) and are read as one; of others the one that
    holds the labels is chosen by what is in it.

    Raises:
        LabelError: it is no archive, is too large, or holds no vector file.
    """
    with open_archive(path, error=LabelError) as archive:
        found = sorted(
            (_IN_ZIP.index(ending), name)
            for name in archive.names
            if (ending := Path(name).suffix.lower()) in _IN_ZIP and not Path(name).name.startswith(".")
        )
    if not found:
        raise LabelError(f"{path.name} holds no shapefile or other vector file.")
    if len(found) > _MAX_MEMBERS:
        raise LabelError(
            f"{path.name} holds {len(found)} vector files, more than {_MAX_MEMBERS}; pack those wanted alone."
        )
    layers: list[FileLayer] = []
    problems: list[str] = []
    for _, member in found:
        try:
            layers += _member(path, member, hints)
        except LabelError as error:
            if len(found) == 1:
                raise
            problems.append(str(error))
    if not layers:
        raise LabelError(problems[0] if problems else f"{path.name} has no layer with geometries.")
    read = merge(layers, path.name, hints, worth)
    read.notes += [f"Not read: {problem}" for problem in problems[:5]]
    if read.crs is None and any(name.lower().endswith(".shp") for _, name in found):
        read.notes.append("The shapefile has no .prj file, so its coordinate system is not stated.")
    return read


def _member(path: Path, member: str, hints: Hints) -> list[FileLayer]:
    """The layers of one file of an archive; those of a file of one layer are called like the file."""
    ending, name = Path(member).suffix.lower(), f"{member} in {path.name}"
    if ending in _PARSERS:
        with open_archive(path, error=LabelError) as archive:
            data = archive.read(member)
        found = _PARSERS[ending](data, name, replace(hints, layer=None))
        layer = FileLayer(member, found.features, found.crs, found.crs_from, found.encoding, found.encoding_why)
        return [_with_group(layer, ending, found)]
    with unpacked(path, [member], LabelError) as files:
        declared = _declared_beside(files[member]) if ending == ".shp" else None
        layers = _layers(files[member], name, declared, hints)
    for layer in layers:
        layer.group = ending
        layer.name = member if len(layers) == 1 else layer.name
    return layers


def _with_group(layer: FileLayer, group: str, found: Read) -> FileLayer:
    layer.group, layer.read = group, found
    return layer


def read_ogr(path: Path, hints: Hints = NO_HINTS, worth: Callable[[Sequence[Feature]], Worth] = by_classes) -> Read:
    """Read a vector file; of several layers those that hold the labels, see :func:`tessera_core.labels.layers.merge`.

    Raises:
        LabelError: it is not readable.
    """
    declared = _declared_beside(path) if path.suffix.lower() == ".shp" else None
    return merge(_layers(path, path.name, declared, hints), path.name, hints, worth)


def _layers(path: Path, name: str, declared: Declared | None, hints: Hints) -> list[FileLayer]:
    """All layers with geometries.

    Args:
        path: of the file.
        name: for people.
        declared: what a shapefile says of its encoding; None for formats that are UTF-8 by their standard.
        hints: may say the encoding.
    """
    # Latin-1 keeps every byte, so that the encoding can be told from all of them.
    encoding = "ISO-8859-1" if declared is not None else None
    found: list[FileLayer] = []
    with open_vectors(path, error=LabelError, name=name) as vectors:
        for layer in vectors.layers:
            why = ""
            try:
                content = vectors.read(layer, encoding=encoding)
            except UnicodeDecodeError:
                content, why = vectors.read(layer, encoding="cp1252"), "it is not UTF-8, although the format has to be"
            columns = content.columns
            one = FileLayer(layer, [], _stated(content.crs), ".prj" if declared is not None else "the file")
            one.encoding, one.encoding_why = ("Windows-1252", why) if why else ("UTF-8", "")
            if declared is not None:
                columns, one.encoding, one.encoding_why = decoded(columns, declared, hints.encoding, name)
            one.features = _features(content.wkb, columns)
            found.append(one)
        if not vectors.layers:
            raise LabelError(f"{name} has no layer with geometries.")
    return found


def _stated(crs: str | None) -> str | None:
    """A coordinate system, or None where the file says that it has none that is known."""
    return None if crs is None or crs.startswith(("ENGCRS", "LOCAL_CS")) or "Undefined" in crs[:60] else crs


def _features(geometries: Any, columns: dict[str, Any]) -> list[Feature]:
    import shapely

    if geometries is None:
        return []
    shapes = shapely.from_wkb(geometries, on_invalid="ignore")
    return [
        Feature(shape, {key: _plain(values[n]) for key, values in columns.items()}, where=f"feature {n + 1}")
        for n, shape in enumerate(shapes)
    ]


def _declared_beside(path: Path) -> Declared:
    """What a shapefile says of its encoding, in a .cpg file beside it or in its table's head."""
    beside = {
        other.suffix.lower(): other for other in path.parent.iterdir() if other.stem == path.stem and other != path
    }

    def head(ending: str, size: int) -> bytes | None:
        return read_head(beside[ending], size, LabelError) if ending in beside else None

    return declared_by(head(".cpg", 100), head(".dbf", 32))


def _plain(value: Any) -> Any:
    if isinstance(value, np.generic):
        value = value.item()
    return None if isinstance(value, float) and np.isnan(value) else value

"""Vector files that GDAL reads: GeoPackage, shapefile (zipped or not), KML, FlatGeobuf; every layer with geometries."""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import Any

import numpy as np

from tessera_core.errors import LabelError
from tessera_core.labels.importing import Feature, Read

_IN_ZIP = (".shp", ".gpkg", ".geojson", ".json", ".kml", ".fgb")
_MAX_UNPACKED = 4 << 30


def read_zip(path: Path) -> Read:
    """Read the first vector file of an archive, shapefiles first, in whatever folder it lies.

    Further shapefiles beside it with the same columns and coordinate system are its other shapes (points, areas) and are
    read with it.

    Raises:
        LabelError: it is no archive, is too large, or holds no vector file.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            members = [
                item
                for item in archive.infolist()
                if not item.is_dir()
                and not Path(item.filename).name.startswith(".")
                and "__MACOSX" not in item.filename
            ]
    except (OSError, zipfile.BadZipFile) as error:
        raise LabelError(f"{path.name} is not a readable zip archive; make or download it again.") from error
    if sum(item.file_size for item in members) > _MAX_UNPACKED:
        raise LabelError(f"{path.name} would unpack to more than {_MAX_UNPACKED >> 30} GB; it is not opened.")
    found = sorted(
        (_IN_ZIP.index(ending), item.filename)
        for item in members
        if (ending := Path(item.filename).suffix.lower()) in _IN_ZIP
    )
    if not found:
        raise LabelError(f"{path.name} holds no shapefile or other vector file.")
    member, *others = (name for _, name in found)
    read = _member(path, member)
    if member.lower().endswith(".shp"):
        siblings = [name for name in others if _is_beside(name, member) and _adds_to(read, path, name)]
        others = [name for name in others if name not in siblings]
        if siblings:
            read.notes.append(f"{', '.join((member, *siblings))} were read as one.")
    if others:
        read.notes.append(f"Only {member} was read; the archive also holds {', '.join(others[:5])}.")
    if member.lower().endswith(".shp") and read.crs is None:
        read.notes.append("The shapefile has no .prj file, so its coordinate system is not stated.")
    return read


def _member(path: Path, member: str) -> Read:
    return _read(f"/vsizip/{path.resolve().as_posix()}/{member}", f"{member} in {path.name}")


def _is_beside(name: str, member: str) -> bool:
    return name.lower().endswith(".shp") and Path(name).parent == Path(member).parent


def _adds_to(read: Read, path: Path, name: str) -> bool:
    """Add the places of a further shapefile where it has the columns and the coordinate system of the first."""
    try:
        more = _member(path, name)
    except LabelError:
        return False
    columns = {tuple(feature.properties) for feature in (*read.features, *more.features)}
    if len(columns) != 1 or more.crs != read.crs or not more.features:
        return False
    read.features += more.features
    return True


def read_ogr(path: Path) -> Read:
    """Read all layers with geometries of a vector file.

    Raises:
        LabelError: it is not readable.
    """
    return _read(str(path), path.name)


def _read(source: str, name: str) -> Read:
    import pyogrio
    from pyogrio.errors import DataLayerError, DataSourceError

    try:
        layers = [layer for layer, kind in pyogrio.list_layers(source) if kind is not None]
        read = Read([])
        systems: list[str | None] = []
        for layer in layers:
            meta, _, geometries, values = pyogrio.raw.read(source, layer=layer, force_2d=True, datetime_as_string=True)
            if geometries is None or len(geometries) == 0:
                continue
            if systems and meta["crs"] != systems[0]:
                raise LabelError(f"The layers of {name} lie in different coordinate systems; save them in one.")
            systems.append(meta["crs"])
            _add(read, geometries, dict(zip(meta["fields"], values, strict=True)), layer, len(layers))
    except (DataSourceError, DataLayerError, ValueError) as error:
        first = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise LabelError(f"{name} cannot be read as a vector file: {first[:200]}") from error
    if not layers:
        raise LabelError(f"{name} has no layer with geometries.")
    read.crs = systems[0] if systems else None
    return read


def _add(read: Read, geometries: Any, columns: dict[str, Any], layer: str, layers: int) -> None:
    import shapely

    shapes = shapely.from_wkb(geometries, on_invalid="ignore")
    for number, shape in enumerate(shapes):
        properties = {key: _plain(values[number]) for key, values in columns.items()}
        # In KML the folder often is the class; a name in the placemark still comes first.
        if layers > 1:
            properties.setdefault("layer", layer)
        read.features.append(Feature(shape, properties))


def _plain(value: Any) -> Any:
    if isinstance(value, np.generic):
        value = value.item()
    return None if isinstance(value, float) and np.isnan(value) else value

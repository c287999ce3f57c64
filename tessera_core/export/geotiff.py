"""Class maps, confidence and numbers as Cloud Optimized GeoTIFF that open styled and named in QGIS, GDAL and rasterio.

The colour table and all tags are inside the file. Category names have no place inside a GeoTIFF, so they stand both in the
band's tags (``class_1 = "Wood"``) and in GDAL's sidecar ``NAME.tif.aux.xml``, with a raster attribute table. Every raster has
its QGIS style ``NAME.qml`` beside it; a style that a person saved there is left alone.
"""

from __future__ import annotations

import errno
import functools
import json
import os
import tempfile
import warnings
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Protocol
from xml.etree import ElementTree

import numpy as np
from affine import Affine
from numpy.typing import NDArray

from tessera_core._utils.atomic import atomic_path, write_text
from tessera_core.areas import pixel_counts
from tessera_core.errors import ExportError
from tessera_core.export import small_cog
from tessera_core.export.style import (
    Stops,
    classes_style,
    confidence_style,
    stops_style,
    values_renderer,
    write_style,
)
from tessera_core.export.xmltext import only_xml
from tessera_core.gate import open_raster, raster_errors
from tessera_core.grid import Grid
from tessera_core.labels.model import LabelClass
from tessera_core.provenance import SOFTWARE, Provenance
from tessera_core.render.colormap import Scale

NO_CONFIDENCE = 255
# Written at a time.
_ROWS = 512
# Bytes up to which GDAL may hold a raster whole; larger ones go through a file. The bytes that come out are the same.
_SMALL = 4 << 20
# Bytes of blocks that GDAL keeps meanwhile: by itself a twentieth of the memory, which is two bytes a pixel. More is not quicker.
_CACHE = 4 << 20
# Bytes from which several threads compress. They take 30 MB and more together, as much again as such a raster.
_LARGE = 32 << 20


@dataclass(frozen=True)
class Band:
    """What a raster's band says of itself: its name, the unit of its numbers, and tags of the file."""

    description: str
    unit: str = ""
    tags: Mapping[str, str] = field(default_factory=dict)


class ByRows(Protocol):
    """Numbers float32 (H, W) that are made when their rows are written, where holding them all would be most of the memory."""

    @property
    def shape(self) -> tuple[int, ...]:
        """``(H, W)``."""

    @property
    def dtype(self) -> np.dtype[Any]:
        """float32."""

    @property
    def nbytes(self) -> int:
        """What they would take as an array."""

    def __getitem__(self, rows: slice, /) -> NDArray[Any]:
        """Some rows."""


@dataclass(frozen=True)
class ValueStyle:
    """Colours of numbers.

    Attributes:
        colormap: see :mod:`tessera_core.render.colormap`.
        scale: which numbers its ends stand for; those of the values unless given.
        stops: colours at numbers instead, where the numbers have a meaning of their own.
    """

    colormap: str = "amount"
    scale: Scale | None = None
    stops: Stops | None = None


def write_class_map(
    path: str | Path,
    classes: NDArray[np.uint8],
    confidence: NDArray[np.uint8] | None,
    grid: Grid,
    label_classes: Iterable[LabelClass],
    provenance: Provenance,
    *,
    tags: Mapping[str, str] | None = None,
    temperature: float | None = None,
) -> Path:
    """Write a class map as COG; with ``confidence`` also ``NAME_confidence.tif`` beside it.

    Args:
        path: the map's file; ``.tif`` is added where it has no such ending.
        classes: uint8 (H, W), 0 = no data.
        confidence: uint8 (H, W), 0..100 percent, 255 = no data, or None.
        grid: of both; without CRS the file has none either and a tag says so.
        label_classes: names and colours; an id of the map that is not among them is named by its number.
        provenance: of the embeddings; becomes tags.
        tags: further tags, e.g. the score.
        temperature: of the confidence, see :func:`write_confidence`.

    Returns:
        The file written.

    Raises:
        ExportError: shapes disagree, or the file cannot be written.
    """
    path = _tif(path)
    _require_shape(classes, grid, "class map")
    named = named_classes(classes, label_classes)
    colors = {c.id: (*_rgb(c.color), 255) for c in named}
    band_tags = {f"class_{c.id}": c.name for c in named} | {f"class_{c.id}_color": c.color for c in named}
    band_tags |= {f"class_{c.id}_code": c.code for c in named if c.code}
    _write_cog(
        path,
        classes,
        grid,
        Band("class", tags=_tags(provenance, grid) | dict(tags or {})),
        nodata=0,
        overviews="MODE",
        colormap={0: (0, 0, 0, 0), **colors},
        band_tags=band_tags,
    )
    counts = pixel_counts(classes)
    write_text(path.with_name(path.name + ".aux.xml"), sidecar(named, counts), flushed=False)
    write_style(path, classes_style(tuple(named)))
    if confidence is not None:
        write_confidence(
            path.with_name(f"{path.stem}_confidence.tif"), confidence, grid, provenance, temperature=temperature
        )
    return path


def write_confidence(
    path: str | Path,
    confidence: NDArray[np.uint8],
    grid: Grid,
    provenance: Provenance,
    *,
    temperature: float | None = None,
) -> Path:
    """Write confidence, uint8 (H, W) in percent with 255 = no data, as COG.

    Args:
        path: of the file; ``.tif`` is added where it has no such ending.
        confidence, grid, provenance: see :func:`write_class_map`.
        temperature: by which it was calibrated, 1 for none; becomes a tag. None where that is not known.

    Raises:
        ExportError: shapes disagree, or the file cannot be written.
    """
    path = _tif(path)
    _require_shape(confidence, grid, "confidence")
    tags = _tags(provenance, grid) | {"tessera_unit": "percent"}
    if temperature is not None:
        tags["tessera_temperature"] = f"{temperature:.6g}"
    band = Band("confidence (percent)", tags=tags)
    _write_cog(path, confidence, grid, band, nodata=NO_CONFIDENCE, overviews="AVERAGE")
    write_style(path, confidence_style())
    return path


def write_values(
    path: str | Path,
    values: NDArray[np.float32] | ByRows,
    grid: Grid,
    provenance: Provenance,
    band: Band,
    style: ValueStyle | None = None,
) -> Path:
    """Write real numbers, float32 (H, W) with NaN = no data, as COG.

    Args:
        band: its name, and what else is told of the numbers, e.g. what the map was learnt from.
        style: their colours; None for those of amounts.

    Raises:
        ExportError: shapes disagree, or the file cannot be written.
    """
    path = _tif(path)
    if values.shape != grid.shape or values.dtype != np.float32:
        raise ExportError(
            f"The values are {values.dtype} of shape {values.shape}, their grid has the shape {grid.shape}."
        )
    _write_cog(
        path,
        values,
        grid,
        replace(band, tags=_tags(provenance, grid) | dict(band.tags)),
        nodata=float("nan"),
        overviews="AVERAGE",
    )
    style = style or ValueStyle()
    if style.stops:
        write_style(path, stops_style(tuple(style.stops), band.unit))
    else:
        write_style(path, values_renderer(style.scale or Scale.of(values[:]), style.colormap, band.unit))
    return path


def sidecars(path: Path) -> list[Path]:
    """The files beside a raster of ours that it opens named and styled with."""
    return [side for side in (path.with_name(path.name + ".aux.xml"), path.with_suffix(".qml")) if side.is_file()]


def _tif(path: str | Path) -> Path:
    path = Path(path)
    return path if path.suffix.lower() in (".tif", ".tiff") else path.with_name(path.name + ".tif")


def _rgb(color: str) -> tuple[int, int, int]:
    return int(color[1:3], 16), int(color[3:5], 16), int(color[5:7], 16)


def _require_shape(values: NDArray[np.uint8], grid: Grid, what: str) -> None:
    if values.shape != grid.shape or values.dtype != np.uint8:
        raise ExportError(
            f"The {what} is {values.dtype} of shape {values.shape}, its grid has the shape {grid.shape}; nothing was written."
        )


def named_classes(classes: NDArray[np.uint8], label_classes: Iterable[LabelClass]) -> list[LabelClass]:
    """The classes by id, with those of the map that nobody named, which have their number for a name."""
    known = {c.id: c for c in label_classes}
    for value in np.flatnonzero(pixel_counts(classes)):
        if 0 < value <= 254 and int(value) not in known:
            known[int(value)] = LabelClass(int(value), f"class {value}", "#808080")
    return [known[id_] for id_ in sorted(known)]


def _tags(provenance: Provenance, grid: Grid) -> dict[str, str]:
    tags = provenance.tags() | {"tessera_dataset": provenance.dataset, "TIFFTAG_SOFTWARE": SOFTWARE}
    if provenance.details:
        tags["tessera_details"] = json.dumps(dict(provenance.details), ensure_ascii=False, default=str)
    if not grid.georeferenced:
        tags["tessera_grid"] = "no georeference: pixels only, the place on Earth is not known"
    return tags


@dataclass(frozen=True)
class _Look:
    """What a raster says of itself beside its pixels and its place; may be a key."""

    band: tuple[str, str]
    tags: tuple[tuple[str, str], ...]
    band_tags: tuple[tuple[str, str], ...]
    colormap: tuple[tuple[int, tuple[int, int, int, int]], ...]
    # As text, since NaN is not itself.
    nodata: str
    overviews: str

    def onto(self, file: Any) -> None:
        """Write it into a raster that rasterio has open."""
        if self.colormap:
            file.write_colormap(1, dict(self.colormap))
        file.update_tags(**dict(self.tags))
        file.update_tags(1, **dict(self.band_tags))
        file.set_band_description(1, self.band[0])
        if self.band[1]:
            file.set_band_unit(1, self.band[1])

    def options(self) -> dict[str, Any]:
        """Of GDAL's COG driver."""
        return {"compress": "DEFLATE", "overview_resampling": self.overviews, "bigtiff": "IF_SAFER"}


def _write_cog(
    path: Path,
    values: NDArray[Any] | ByRows,
    grid: Grid,
    band: Band,
    *,
    nodata: float,
    overviews: str,
    band_tags: Mapping[str, str] | None = None,
    colormap: Mapping[int, tuple[int, int, int, int]] | None = None,
) -> None:
    import rasterio
    import rasterio.shutil
    from rasterio.errors import NotGeoreferencedWarning

    look = _Look(
        (band.description, band.unit),
        tuple(band.tags.items()),
        tuple((band_tags or {}).items()),
        tuple((colormap or {}).items()),
        repr(float(nodata)),
        overviews,
    )
    try:
        with atomic_path(path) as part, warnings.catch_warnings():
            warnings.simplefilter("ignore", NotGeoreferencedWarning)
            if max(grid.shape) <= small_cog.LARGEST:
                part.write_bytes(_small_file(values[:], grid, look))
                return
            profile = _profile(grid.shape, values.dtype.name, grid.crs, grid.transform, look)
            with rasterio.Env(GDAL_CACHEMAX=_CACHE):
                if values.nbytes <= _SMALL:
                    with rasterio.open(part, "w", driver="COG", **profile, **look.options()) as file:
                        file.write(values[:], 1)
                        look.onto(file)
                    require_whole(part)
                    return
                # Read again by squares; lines of a wide map would be read once for each square beside another.
                profile |= {"tiled": True, "blockxsize": _ROWS, "blockysize": _ROWS}
                with tempfile.TemporaryDirectory(dir=path.parent, prefix=".cog-") as folder:
                    plain = Path(folder) / "plain.tif"
                    with rasterio.open(plain, "w", driver="GTiff", bigtiff="IF_SAFER", **profile) as file:
                        for start in range(0, grid.height, _ROWS):
                            # Handed over as one, it is copied as one.
                            rows = slice(start, min(start + _ROWS, grid.height))
                            file.write(values[rows], 1, window=(rows.indices(grid.height)[:2], (0, grid.width)))
                        look.onto(file)
                    threads = "ALL_CPUS" if values.nbytes > _LARGE else "1"
                    rasterio.shutil.copy(plain, part, driver="COG", num_threads=threads, **look.options())
                require_whole(part)
    except raster_errors() as error:
        first = first_line(error)
        raise ExportError(f"{path.name} could not be written: {first}") from error


def require_whole(part: Path) -> None:
    """See that the last pixels of a COG that was just written lie in it: what fails while GDAL closes a file is told to nobody.

    Raises:
        OSError: the file ends before them.
    """
    with open_raster(part, error=ExportError) as file:
        height, width = file.block_shapes[0]
        # Smaller copies come first in the file; of the image the last block that is not left out ends it.
        for y in reversed(range(-(-file.height // height))):
            for x in reversed(range(-(-file.width // width))):
                at, length = (file.get_tag_item(f"BLOCK_{what}_{x}_{y}", "TIFF", 1) for what in ("OFFSET", "SIZE"))
                if at is None or length is None:
                    continue
                if int(at) + int(length) > part.stat().st_size:
                    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(part))
                return


def _profile(shape: tuple[int, int], dtype: str, crs: str | None, transform: Affine, look: _Look) -> dict[str, Any]:
    found = {"height": shape[0], "width": shape[1], "count": 1, "dtype": dtype, "nodata": float(look.nodata)}
    return found if crs is None else found | {"crs": _crs(crs), "transform": transform}


def _small_file(values: NDArray[np.generic], grid: Grid, look: _Look) -> bytes:
    """A COG of one block."""
    t = grid.transform
    north_up = t.b == t.d == 0 and t.a > 0 and t.e < 0
    # The place of another is written in a matrix, which is part of what is alike.
    of_all = Affine(t.a, 0, 0, 0, t.e, 0) if north_up else t
    template = _template(grid.shape, values.dtype.name, grid.crs, tuple(of_all)[:6], look)
    if north_up and grid.georeferenced and template.place_at is None:
        raise ExportError("A small image has no place on Earth in its file.")
    return template.file(values, (t.c, t.f))


@functools.lru_cache(maxsize=16)
def _template(
    shape: tuple[int, int], dtype: str, crs: str | None, transform: tuple[float, ...], look: _Look
) -> small_cog.Template:
    import rasterio
    from rasterio.io import MemoryFile

    profile = _profile(shape, dtype, crs, Affine(*transform), look)
    side = small_cog.block_side(shape)
    with rasterio.Env(GDAL_CACHEMAX=_CACHE), MemoryFile() as memory:
        with memory.open(driver="COG", blocksize=side, **profile, **look.options()) as file:
            file.write(np.zeros(shape, dtype), 1)
            look.onto(file)
        return small_cog.Template.of(memory.read())


@functools.lru_cache(maxsize=16)
def _crs(text: str) -> Any:
    """A coordinate system, looked up once for all tiles in it."""
    from rasterio.crs import CRS

    return CRS.from_user_input(text)


def first_line(error: Exception) -> str:
    """What an error says, without what follows in further lines."""
    return str(error).splitlines()[0] if str(error) else type(error).__name__


def sidecar(classes: list[LabelClass], counts: NDArray[np.int64]) -> str:
    """GDAL's ``.aux.xml`` with category names and a raster attribute table (GDAL raster data model, RAT field usages)."""
    first, *others = _sidecar_parts(tuple(classes))
    return "".join([first, *(f"{int(counts[c.id])}{part}" for c, part in zip(classes, others, strict=True))])


# Stands for a count; no name keeps it, since XML cannot hold it.
_COUNT = "\0"


# The tiles of a folder differ in their counts alone.
@functools.lru_cache(maxsize=16)
def _sidecar_parts(classes: tuple[LabelClass, ...]) -> list[str]:
    """The sidecar's text around the counts."""
    root = ElementTree.Element("PAMDataset")
    band = ElementTree.SubElement(root, "PAMRasterBand", band="1")
    names = {c.id: only_xml(c.name) for c in classes}
    categories = ElementTree.SubElement(band, "CategoryNames")
    for value in range(max(names, default=0) + 1):
        ElementTree.SubElement(categories, "Category").text = names.get(value, "")
    table = ElementTree.SubElement(band, "GDALRasterAttributeTable", tableType="thematic")
    # (name, type 0 integer / 2 text, usage)
    fields = [
        ("Value", 0, 5),
        ("Class", 2, 2),
        ("Count", 0, 1),
        ("Red", 0, 6),
        ("Green", 0, 7),
        ("Blue", 0, 8),
        ("Alpha", 0, 9),
    ]
    for index, (name, kind, usage) in enumerate(fields):
        field = ElementTree.SubElement(table, "FieldDefn", index=str(index))
        for tag, text in (("Name", name), ("Type", str(kind)), ("Usage", str(usage))):
            ElementTree.SubElement(field, tag).text = text
    for index, c in enumerate(classes):
        row = ElementTree.SubElement(table, "Row", index=str(index))
        cells: tuple[object, ...] = (c.id, names[c.id], _COUNT, *_rgb(c.color), 255)
        for cell in cells:
            ElementTree.SubElement(row, "F").text = str(cell)
    ElementTree.indent(root)
    text = ElementTree.tostring(root, encoding="unicode") + "\n"
    return text.split(_COUNT)

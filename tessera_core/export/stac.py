"""STAC beside a product: an item for each raster of embeddings, and a collection over them, by which catalogues find them.

Items and collections are STAC 1.1 with the extensions projection 2.0 and embeddings 0.0.1 (a proposal; prefix ``emb:``). Written as
plain JSON with relative links, so that a folder stays whole when it is moved. Knows no network.
"""

from __future__ import annotations

import datetime as dt
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from tessera_core._utils.atomic import write_json
from tessera_core.errors import GridError
from tessera_core.grid import Grid
from tessera_core.observations import FILE as OBSERVATIONS_FILE
from tessera_core.observations import Depth
from tessera_core.periods import days_of
from tessera_core.provenance import Provenance
from tessera_core.raster import EmbeddingRaster

VERSION = "1.1.0"
PROJECTION = "https://stac-extensions.github.io/projection/v2.0.0/schema.json"
EMBEDDINGS = "https://stac-extensions.github.io/embeddings/v0.0.1/schema.json"
COLLECTION = "collection.json"
_ITEM = ".stac.json"
_NPY = "application/octet-stream"
_SOURCES = {
    "Sentinel-1": "https://sentinel.esa.int/web/sentinel/missions/sentinel-1",
    "Sentinel-2": "https://sentinel.esa.int/web/sentinel/missions/sentinel-2",
}
_FILES = {
    "embeddings": ("codes.npy", "int8 codes (height, width, dimensions); value = code * scale", ["data"]),
    "scales": (
        "scales.npy",
        "float32 (height, width), the value of one code; no data where not finite and positive",
        ["data"],
    ),
    "nodata": ("nodata.npy", "uint8 (height, width), why a pixel has no embedding", ["metadata"]),
    "observations": (
        OBSERVATIONS_FILE,
        "uint16 (height, width, 6), how often and in which months each pixel was seen",
        ["metadata"],
    ),
}


@dataclass(frozen=True)
class Product:
    """One raster of embeddings on disk.

    Attributes:
        folder: in our own layout (``raster.json`` and its arrays).
        grid, provenance: of it.
        depth: how often it was seen, where that is known.
    """

    folder: Path
    grid: Grid
    provenance: Provenance
    depth: Depth | None = None

    @classmethod
    def open(cls, folder: str | Path) -> Product:
        """The raster in a folder.

        Raises:
            RasterError: there is none.
        """
        raster = EmbeddingRaster.open(folder)
        return cls(Path(folder), raster.grid, raster.provenance, raster.depth())


def item(product: Product, file: Path) -> dict[str, Any]:
    """The STAC item of a raster.

    Args:
        product: the raster.
        file: where the item will lie; links and assets are relative to it.

    Raises:
        GridError: the raster has no place on Earth.
    """
    grid, provenance = product.grid, product.provenance
    if not grid.georeferenced:
        raise GridError(f"The raster in {product.folder} has no place on Earth, so it has no STAC item.")
    west, south, east, north = grid.bounds_lonlat
    properties: dict[str, Any] = {
        "title": f"{provenance.title}, {provenance.year or 'no year'}",
        **_time(provenance),
        "proj:shape": list(grid.shape),
        "proj:transform": [float(value) for value in tuple(grid.transform)[:6]],
        "proj:bbox": [float(value) for value in grid.bounds],
        "emb:quantization": {
            "method": "per_pixel_scale",
            "original_dtype": "float32",
            "quantized_dtype": "int8",
            "link": _relative(product.folder / "scales.npy", file),
        },
        "processing:version": provenance.software,
        "tessera_studio:provenance": provenance.to_json(),
    }
    if grid.crs is not None and re.fullmatch(r"EPSG:\d+", grid.crs):
        properties["proj:code"] = grid.crs
    if product.depth is not None:
        properties["tessera_studio:depth"] = product.depth.to_json()
    return {
        "type": "Feature",
        "stac_version": VERSION,
        "stac_extensions": [PROJECTION, EMBEDDINGS],
        "id": file.name.removesuffix(_ITEM),
        "collection": _identifier(provenance),
        "bbox": [west, south, east, north],
        "geometry": _footprint(grid),
        "properties": properties,
        "assets": {
            name: {
                "href": _relative(product.folder / stored, file),
                "title": title,
                "type": _NPY,
                "roles": roles,
            }
            for name, (stored, title, roles) in _FILES.items()
            if (product.folder / stored).is_file()
        },
        "links": [
            {"rel": name, "href": f"./{COLLECTION}", "type": "application/json"}
            for name in ("parent", "collection", "root")
        ],
    }


def collection(items: Sequence[dict[str, Any]], names: Sequence[str], provenance: Provenance) -> dict[str, Any]:
    """The STAC collection over items of one dataset.

    Args:
        items: of :func:`item`.
        names: their files, relative to the collection's.
        provenance: of any of them.
    """
    boxes = [one["bbox"] for one in items]
    box = [min(b[0] for b in boxes), min(b[1] for b in boxes), max(b[2] for b in boxes), max(b[3] for b in boxes)]
    starts = [one["properties"]["start_datetime"] for one in items if "start_datetime" in one["properties"]]
    ends = [one["properties"]["end_datetime"] for one in items if "end_datetime" in one["properties"]]
    interval = [min(starts) if starts else None, max(ends) if ends else None]
    version = "/".join(part for part in (provenance.version, provenance.variant) if part)
    model = provenance.details.get("geoemb:model") or f"https://geotessera.org/model/{version or provenance.model}"
    links = [
        {"rel": "root", "href": f"./{COLLECTION}", "type": "application/json"},
        {"rel": "emb:model", "href": str(model), "title": provenance.title},
        *({"rel": "emb:source-data", "href": href, "title": title} for title, href in _SOURCES.items()),
        *({"rel": "item", "href": f"./{name}", "type": "application/geo+json"} for name in names),
    ]
    return {
        "type": "Collection",
        "stac_version": VERSION,
        "stac_extensions": [EMBEDDINGS],
        "id": _identifier(provenance),
        "title": f"Embeddings of {provenance.title}",
        "description": f"Pixel embeddings of {provenance.dataset}, {provenance.origin}; written by {provenance.software}.",
        "license": "CC0-1.0" if provenance.model == "tessera" else "other",
        "extent": {"spatial": {"bbox": [box]}, "temporal": {"interval": [interval]}},
        "emb:type": "pixel",
        "emb:dimensions": provenance.dim,
        "data_type": "int8",
        "gsd": items[0]["properties"]["proj:transform"][0],
        "links": links,
    }


def write_stac(folder: str | Path, rasters: Sequence[str | Path]) -> list[Path]:
    """Write items and a collection into the folder that holds rasters of one dataset; what has no place on Earth is left out.

    Args:
        folder: where they are written, as ``collection.json`` and ``<raster's folder>.stac.json``.
        rasters: folders in our own layout.

    Returns:
        The files, the collection first; none where no raster has a place.

    Raises:
        RasterError: a folder holds no raster.
        ExportError: a file cannot be written.

    Example:
        >>> [path.name for path in write_stac(folder, [folder / "2024"])]  # doctest: +SKIP
        ['collection.json', '2024.stac.json']
    """
    folder = Path(folder)
    products = [product for raster in rasters if (product := Product.open(raster)).grid.georeferenced]
    if not products:
        return []
    files = [folder / f"{product.folder.name}{_ITEM}" for product in products]
    items = [item(product, file) for product, file in zip(products, files, strict=True)]
    for file, one in zip(files, items, strict=True):
        write_json(file, one)
    write_json(folder / COLLECTION, collection(items, [file.name for file in files], products[0].provenance))
    return [folder / COLLECTION, *files]


def write_item(raster: str | Path) -> Path | None:
    """Write the item of one raster of many beside its folder; None where it has no place on Earth.

    Raises:
        RasterError: the folder holds no raster.
        ExportError: the file cannot be written.
    """
    product = Product.open(raster)
    if not product.grid.georeferenced:
        return None
    file = product.folder.with_name(f"{product.folder.name}{_ITEM}")
    write_json(file, item(product, file))
    return file


def write_collection(folder: str | Path) -> Path | None:
    """Write the collection over the items that lie in a folder (:func:`write_item`); None where there are none.

    Items that cannot be read are left out: a run that was killed makes them again.

    Raises:
        ExportError: the file cannot be written.
    """
    found: dict[str, dict[str, Any]] = {}
    for path in sorted(Path(folder).glob(f"*{_ITEM}")):
        try:
            one = json.loads(path.read_text(encoding="utf-8"))
            stamp = Provenance.from_json(one["properties"]["tessera_studio:provenance"])
        except (OSError, ValueError, KeyError, TypeError):
            continue
        found[path.name] = one
    if not found:
        return None
    write_json(Path(folder) / COLLECTION, collection(list(found.values()), list(found), stamp))
    return Path(folder) / COLLECTION


def _identifier(provenance: Provenance) -> str:
    """The dataset's name as an id that may be a part of an address."""
    return re.sub(r"[^a-z0-9.]+", "-", provenance.dataset.lower()).strip("-")


def _time(provenance: Provenance) -> dict[str, Any]:
    """The days observed; where nobody knows them, only when the item was written."""
    if provenance.year is not None:
        start, end = days_of(provenance.year)
        return {"datetime": None, "start_datetime": f"{start}T00:00:00Z", "end_datetime": f"{end}T23:59:59Z"}
    return {"datetime": dt.datetime.now(dt.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")}


def _footprint(grid: Grid) -> dict[str, Any]:
    """The raster's outline in degrees, counter-clockwise; its edges bend, so each has points between its corners."""
    height, width = grid.shape
    steps = [0.0, 0.25, 0.5, 0.75]
    rows = [*([height] * 4), *(height * (1 - t) for t in steps), *([0] * 4), *(height * t for t in steps)]
    cols = [*(width * t for t in steps), *([width] * 4), *(width * (1 - t) for t in steps), *([0] * 4)]
    lon, lat = grid.pixel_to_lonlat(rows, cols)
    ring = [[round(float(x), 7), round(float(y), 7)] for x, y in zip(lon, lat, strict=True)]
    return {"type": "Polygon", "coordinates": [[*ring, ring[0]]]}


def _relative(path: Path, beside: Path) -> str:
    """A path as a link from the file beside which it lies; whole where it lies elsewhere."""
    try:
        return f"./{PurePosixPath(path.resolve().relative_to(beside.parent.resolve()))}"
    except ValueError:
        return path.resolve().as_uri()

"""A request for published embeddings: region, years and dataset, and the address that stands for it in a permalink.

The same request has the same address, and the same address the same cached rasters: coordinates are rounded before anything
else sees them. Refuses to know how embeddings are fetched.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from tessera_core._utils.atomic import write_json
from tessera_core._utils.paths import data_home
from tessera_core.errors import InputError
from tessera_core.gate import parse_json
from tessera_core.region import NORTH_END, SOUTH_END, Region
from tessera_core.sources.remote.datasets import Dataset, dataset_named, datasets

# A hundred-thousandth of a degree is about a metre, a tenth of a pixel.
DECIMALS = 5
MAX_VERTICES_IN_ADDRESS = 60
FIRST_YEAR = 2017
_KM_PER_DEGREE = 111.32
# Of a region that nobody has given a name yet.
UNNAMED = "region"
KEYS = ("place", "name", "years", "dataset", "store", "dim", "snapshot")


@dataclass(frozen=True)
class EmbeddingRequest:
    """What published embeddings a person wants.

    Attributes:
        region: where, with rounded coordinates (see :func:`rounded`).
        years: ascending.
        dataset: name of a published dataset; not used when ``store`` is given.
        store: URL or path of a store in the published layout, or empty.
        dim: leading dimensions, or None for all.
        snapshot: one state of the dataset's Icechunk repository, or empty for the newest.
    """

    region: Region
    years: tuple[int, ...]
    dataset: str
    store: str = ""
    dim: int | None = None
    snapshot: str = ""

    @property
    def source(self) -> Dataset:
        """Where to read it: the published dataset, or the store given by its address.

        Raises:
            InputError: there is no such dataset, or it has no snapshots and one is asked for.
        """
        if self.store:
            found = Dataset(self.store, "", "", self.store, "", "a store given by its address", False)
        else:
            found = dataset_named(self.dataset)
        return replace(found, location=found.at(self.snapshot)) if self.snapshot else found

    @property
    def key(self) -> str:
        """Names what is asked for; equal requests have equal keys, whatever people call the place."""
        facts = {name: value for name, value in self.query().items() if name != "name"}
        return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()[:16]

    def query(self) -> dict[str, str]:
        """The request as parameters of an address; the inverse of :func:`from_query`."""
        found = {"place": address_of(self.region), "name": self.region.name, "years": ",".join(map(str, self.years))}
        found |= {"store": self.store} if self.store else {"dataset": self.dataset}
        found |= {"dim": str(self.dim)} if self.dim else {}
        return found | ({"snapshot": self.snapshot} if self.snapshot else {})


def from_query(query: Mapping[str, str]) -> EmbeddingRequest | None:
    """The request that an address stands for, or None where it names no place.

    Raises:
        InputError: a part of the address is not usable.
    """
    if not query.get("place"):
        return None
    region = region_at(query["place"], query.get("name", ""))
    try:
        years = tuple(sorted({int(part) for part in query.get("years", "").split(",") if part.strip()}))
        dim = int(query["dim"]) if query.get("dim") else None
    except ValueError as error:
        raise InputError("The years in the address are not whole numbers, such as 2023,2024.") from error
    if any(not 1970 <= year <= 2100 for year in years) or (dim is not None and dim < 1):
        raise InputError("The years in the address are not years, such as 2023,2024.")
    store = query.get("store", "")
    name = query.get("dataset", "")
    dataset = "" if store else dataset_named(name).name if name else datasets()[0].name
    snapshot = query.get("snapshot", "")
    if not re.fullmatch(r"[0-9A-Z]{0,40}", snapshot):
        raise InputError("The snapshot in the address is no id of digits and capital letters.")
    return EmbeddingRequest(region, years, dataset, store, dim, snapshot)


# ------------------------------------------------------------------ the region's address


def rounded(region: Region) -> Region:
    """The region with coordinates of whole hundred-thousandths of a degree, so that an address can hold it exactly."""
    import shapely

    geometry = shapely.transform(region.geometry, lambda points: np.round(points, DECIMALS))
    if not geometry.is_valid:
        geometry = shapely.make_valid(geometry)
        parts = [
            part for part in getattr(geometry, "geoms", [geometry]) if part.geom_type in ("Polygon", "MultiPolygon")
        ]
        geometry = shapely.transform(shapely.union_all(parts), lambda points: np.round(points, DECIMALS))
    if geometry.is_empty or geometry.area == 0:
        raise InputError("This region is smaller than a few metres; choose a larger one.")
    return replace(region, geometry=geometry)


def address_of(region: Region) -> str:
    """Text for an address: a box as four numbers, a simple polygon as its corners, others by a digest of a kept file."""
    geometry = region.geometry
    if geometry.equals(geometry.envelope):
        return ",".join(_number(value) for value in geometry.bounds)
    if geometry.geom_type == "Polygon" and not geometry.interiors:
        corners = list(geometry.exterior.coords)[:-1]
        if len(corners) <= MAX_VERTICES_IN_ADDRESS:
            return ";".join(f"{_number(lon)},{_number(lat)}" for lon, lat in corners)
    return "~" + keep(region).stem


def keep(region: Region) -> Path:
    """The region as a GeoJSON file of ours, named after its shape; written only once."""
    import shapely

    digest = hashlib.sha256(region.geometry.normalize().wkb).hexdigest()[:20]
    path = data_home() / "regions" / f"{digest}.geojson"
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        shape = json.loads(shapely.to_geojson(region.geometry))
        write_json(path, {"type": "Feature", "properties": {"name": region.name}, "geometry": shape})
    return path


def region_at(text: str, name: str = "") -> Region:
    """The region that :func:`address_of` wrote.

    Raises:
        InputError: the text is no such address, or stands for a file that this computer does not have.
    """
    import shapely

    from tessera_core.region import parse_bbox

    if text.startswith("~"):
        return replace(_kept(text[1:]), **({"name": name} if name else {}))
    if ";" not in text:
        box = parse_bbox(text)
        return rounded(replace(box, name=name or UNNAMED))
    try:
        corners = [tuple(float(number) for number in corner.split(",")) for corner in text.split(";")]
        polygon = shapely.Polygon(corners)
    except (ValueError, shapely.errors.GEOSException) as error:
        raise InputError("The place in the address is no list of corners (lon,lat;lon,lat;...).") from error
    return rounded(Region.of_shape(polygon, name or UNNAMED))


def _kept(digest: str) -> Region:
    import shapely

    # The digest comes from the address bar; it must not lead out of the folder.
    path = data_home() / "regions" / f"{digest}.geojson"
    if not digest.isalnum() or not path.is_file():
        raise InputError(
            "The region in the address was drawn or uploaded on another computer; ask for its file and upload it here."
        )
    try:
        feature = parse_json(path.read_bytes())
        geometry = shapely.from_geojson(json.dumps(feature["geometry"]))
        return Region.of_shape(geometry, str(feature["properties"]["name"]))
    except (InputError, OSError, ValueError, KeyError, TypeError, shapely.errors.GEOSException) as error:
        raise InputError(f"The region in {path.name} is damaged; upload or draw it again.") from error


def _number(value: float) -> str:
    return f"{value:.{DECIMALS}f}".rstrip("0").rstrip(".")


def box_around(lon: float, lat: float, side_km: float, name: str) -> Region:
    """A box of so many kilometres a side around a place in degrees.

    Raises:
        InputError: the box would reach a pole or over the 180th meridian, or the place is not on Earth.
    """
    import shapely

    if not (-180 <= lon <= 180 and -90 <= lat <= 90):
        raise InputError(f"There is no place at longitude {lon:g}, latitude {lat:g}; latitudes run from -90 to 90.")
    half_lat = side_km / 2 / _KM_PER_DEGREE
    half_lon = half_lat / float(np.cos(np.deg2rad(np.clip(lat, SOUTH_END, NORTH_END))))
    box = shapely.box(lon - half_lon, max(lat - half_lat, -90), lon + half_lon, min(lat + half_lat, 90))
    return rounded(Region(box, name))


def title_of(region: Region) -> str:
    """The region's name, or its centre in degrees where nobody has given it one."""
    if region.name != UNNAMED:
        return region.name
    lon, lat = region.geometry.centroid.x, region.geometry.centroid.y
    return f"{abs(lat):.2f} {'N' if lat >= 0 else 'S'} {abs(lon):.2f} {'E' if lon >= 0 else 'W'}"


def size_of(region: Region) -> tuple[float, float, float]:
    """Width and height of the region's box in km, and the region's own area in km2, on the WGS 84 ellipsoid."""
    from pyproj import Geod

    west, south, east, north = region.bbox
    earth = Geod(ellps="WGS84")
    middle = (south + north) / 2
    _, _, width = earth.inv(west, middle, east, middle)
    _, _, height = earth.inv(west, south, west, north)
    area, _ = earth.geometry_area_perimeter(region.geometry)
    return width / 1000, height / 1000, abs(float(area)) / 1e6


def swapped(region: Region) -> Region | None:
    """The region with latitude and longitude swapped, or None where that is no place for a map."""
    import shapely

    try:
        return replace(region, geometry=shapely.transform(region.geometry, lambda points: points[:, ::-1]))
    except InputError:
        return None

"""Finding Sentinel-1/2 items: Planetary Computer, or AWS (Earth Search for Sentinel-2, OPERA bursts for Sentinel-1).

Facts of collections, assets and rules: docs/spec/model.md sections 4.3 and 4.4. This module knows how each catalogue names things
and turns its answers into :class:`SentinelScene`; it reads no pixel.
"""

from __future__ import annotations

import datetime as dt
import logging
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal
from urllib.parse import urlencode

from tessera_core.dpixels.tile import S2_BANDS
from tessera_core.errors import AcquisitionError, InputError
from tessera_core.types import BBox

if TYPE_CHECKING:
    from shapely.geometry.base import BaseGeometry

log = logging.getLogger(__name__)

SEARCH_CHUNK_DAYS = 15
SEARCH_TIMEOUT_S = 60.0
SEARCH_RETRIES = 4

_AWS_ASSETS = ("red", "blue", "green", "nir", "nir08", "rededge1", "rededge2", "rededge3", "swir16", "swir22")


# A Sentinel scene is a few degrees wide, near the poles some dozens.
_MAX_FOOTPRINT_DEGREES = 180.0
SENTINEL2_SINCE = dt.date(2015, 6, 27)


@dataclass(frozen=True)
class Window:
    """The days observed, both ends included."""

    start: dt.date
    end: dt.date

    def __post_init__(self) -> None:
        if self.end < self.start:
            raise InputError(f"The window ends ({self.end}) before it starts ({self.start}).")
        if (self.end - self.start).days > 366:
            raise InputError(
                f"The window {self.start} to {self.end} is longer than a year; an embedding is made of at most one year."
            )
        if self.end < SENTINEL2_SINCE:
            raise InputError(
                f"{self.start} to {self.end} is too early: Sentinel-2 has observed since {SENTINEL2_SINCE}, everywhere since 2017."
            )
        if self.start > dt.date.today():
            raise InputError(f"{self.start} to {self.end} has not been yet; choose an earlier time.")

    @classmethod
    def of_year(cls, year: int) -> Window:
        """A calendar year."""
        return cls(dt.date(year, 1, 1), dt.date(year, 12, 31))

    @property
    def year(self) -> int | None:
        """The calendar year that the window is, or None."""
        return self.start.year if self == Window.of_year(self.start.year) else None

    def chunks(self, days: int = SEARCH_CHUNK_DAYS) -> Iterator[Window]:
        """The window cut into pieces of at most ``days`` days."""
        start = self.start
        while start <= self.end:
            end = min(start + dt.timedelta(days - 1), self.end)
            yield Window(start, end)
            start = end + dt.timedelta(1)

    def interval(self) -> str:
        """RFC 3339 interval for a search."""
        return f"{self.start}T00:00:00Z/{self.end}T23:59:59Z"


@dataclass(frozen=True)
class SentinelScene:
    """One item of a catalogue, reduced to what reading needs.

    Attributes:
        id: the item's name.
        date: UTC day of acquisition.
        assets: name (an S2 band, ``"SCL"``, ``"VV"`` or ``"VH"``) to address.
        orbit: ``"ascending"``, ``"descending"`` or None where only the file itself tells (Sentinel-1).
        baseline: Sentinel-2 processing baseline whose offset is still in the numbers, else None.
        footprint: where it has pixels, a shapely geometry in degrees; None where the catalogue does not say it.
        cloud: percent of the scene under cloud, as the catalogue says it (Sentinel-2); None where it does not.
    """

    id: str
    date: dt.date
    assets: Mapping[str, str]
    orbit: Literal["ascending", "descending"] | None = None
    baseline: float | None = None
    footprint: BaseGeometry | None = None
    cloud: float | None = None


@dataclass(frozen=True)
class Catalogue:
    """A place where Sentinel data is found.

    Attributes:
        name: ``"mpc"`` or ``"aws"``: also the data source that v1.1 checkpoints are told apart by.
        stac_url: root of the STAC API.
        s2_assets: S2 band or ``"SCL"`` to the asset's key.
        s1_resampling: ``"nearest"`` or ``"bilinear"``, as the authors do for this source.
        cmr_url: granule search of OPERA RTC-S1 bursts; empty where Sentinel-1 comes through STAC.
        signed: addresses must be signed before reading.
    """

    name: str
    stac_url: str
    s2_assets: Mapping[str, str]
    s1_resampling: Literal["nearest", "bilinear"]
    cmr_url: str = ""
    signed: bool = False

    def sentinel2(self, bbox: BBox, window: Window, max_cloud: float, left_out: list[str]) -> list[SentinelScene]:
        """Sentinel-2 L2A items over the box, in search order.

        Items without all needed assets are left out, with a sentence each added to ``left_out``.

        Raises:
            AcquisitionError: the catalogue does not answer.
        """
        query = {"eo:cloud_cover": {"lt": max_cloud}} if max_cloud < 100 else None
        scenes = []
        for item in self._search("sentinel-2-l2a", bbox, window, query):
            hrefs = {name: item.assets[key].href for name, key in self.s2_assets.items() if key in item.assets}
            missing = set(self.s2_assets) - set(hrefs)
            if missing:
                left_out.append(f"{item.id} is left out: it has no {', '.join(sorted(missing))}.")
                continue
            baseline = _offset_baseline(item.properties)
            ground, cloud = _footprint(item.geometry), _percent(item.properties.get("eo:cloud_cover"))
            scenes.append(SentinelScene(item.id, _day(item), hrefs, None, baseline, ground, cloud))
        return scenes

    def sentinel1(self, bbox: BBox, window: Window, left_out: list[str]) -> list[SentinelScene]:
        """Sentinel-1 RTC items or bursts over the box, in search order; ``left_out`` as in :meth:`sentinel2`.

        Raises:
            AcquisitionError: the catalogue does not answer.
        """
        if self.cmr_url:
            return list(_opera_bursts(self.cmr_url, bbox, window))
        scenes = []
        pieces = window.chunks() if (window.end - window.start).days > 31 else [window]
        for piece in pieces:
            for item in self._search("sentinel-1-rtc", bbox, piece, None):
                hrefs = {name: item.assets[name.lower()].href for name in ("VV", "VH") if name.lower() in item.assets}
                orbit = item.properties.get("sat:orbit_state")
                if hrefs and orbit in ("ascending", "descending"):
                    ground = _footprint(item.geometry)
                    scenes.append(SentinelScene(item.id, _day(item), hrefs, orbit, footprint=ground))
                else:
                    left_out.append(f"{item.id} is left out: it names no polarisation or no orbit.")
        return scenes

    def sign(self, href: str) -> str:
        """The address with a fresh access token where the catalogue wants one."""
        if not self.signed:
            return href
        import planetary_computer

        return str(planetary_computer.sign_url(href))

    def _search(self, collection: str, bbox: BBox, window: Window, query: dict[str, Any] | None) -> list[Any]:
        import requests
        from pystac.errors import STACError, STACTypeError
        from pystac_client import Client
        from pystac_client.exceptions import APIError
        from pystac_client.stac_api_io import StacApiIO
        from urllib3 import Retry

        retry = Retry(
            SEARCH_RETRIES, backoff_factor=0.5, status_forcelist=[429, 500, 502, 503, 504], allowed_methods=None
        )
        try:
            client = Client.open(self.stac_url, stac_io=StacApiIO(max_retries=retry, timeout=SEARCH_TIMEOUT_S))
            search = client.search(
                collections=[collection], bbox=bbox, datetime=window.interval(), query=query, limit=100
            )
            return list(search.items())
        # The later ones: JSON that is no answer of a catalogue, as a hotel's network or a misled address gives.
        except (
            APIError, requests.RequestException, ValueError, KeyError, TypeError, AttributeError, STACError, STACTypeError
        ) as error:  # fmt: skip
            log.info("Search of %s failed: %s", collection, error)
            raise AcquisitionError(
                f"The catalogue {self.stac_url} does not answer a search for {collection}, {window.start} to {window.end}. "
                "Check the network and try again; what was fetched is kept."
            ) from error


def _day(item: Any) -> dt.date:
    """UTC day: the first ten characters of ``datetime``, as the authors group."""
    return dt.date.fromisoformat(item.properties["datetime"][:10])


def _percent(value: Any) -> float | None:
    return float(value) if isinstance(value, int | float) and 0 <= value <= 100 else None


def _footprint(geometry: Any) -> BaseGeometry | None:
    """The area of a GeoJSON geometry; None where there is none that can be relied on."""
    import shapely
    from shapely.geometry import shape

    try:
        found = shape(geometry)
    except (TypeError, ValueError, KeyError, AttributeError, IndexError, shapely.errors.ShapelyError):
        return None
    if found.is_empty or not found.area:
        return None
    west, _, east, _ = found.bounds
    if not east - west < _MAX_FOOTPRINT_DEGREES:
        # Drawn the long way round the Earth, across the 180th meridian.
        return None
    return shapely.make_valid(found)


def _polygons_of(umm: Mapping[str, Any]) -> dict[str, Any]:
    """A granule's place as GeoJSON; empty where NASA's record has none."""
    try:
        found = umm["SpatialExtent"]["HorizontalSpatialDomain"]["Geometry"]["GPolygons"]
        rings = [[[p["Longitude"], p["Latitude"]] for p in one["Boundary"]["Points"]] for one in found]
    except (KeyError, TypeError):
        return {}
    return {"type": "MultiPolygon", "coordinates": [[ring] for ring in rings]}


def _offset_baseline(properties: Mapping[str, Any]) -> float | None:
    if properties.get("earthsearch:boa_offset_applied"):
        return None
    text = str(properties.get("s2:processing_baseline", properties.get("processing:version", "")))
    try:
        return float(text)
    except ValueError:
        return None


def _opera_bursts(url: str, bbox: BBox, window: Window) -> Iterator[SentinelScene]:
    """OPERA RTC-S1 granules by NASA's CMR search, page after page."""
    import requests
    from requests.adapters import HTTPAdapter
    from urllib3 import Retry

    retry = Retry(SEARCH_RETRIES, backoff_factor=0.5, status_forcelist=[429, 500, 502, 503, 504])
    query = {
        "collection_concept_id": "C2777436413-ASF",
        "bounding_box": ",".join(f"{v:.6f}" for v in bbox),
        "temporal": window.interval().replace("/", ","),
        "sort_key": "start_date",
        "page_size": "500",
    }
    headers: dict[str, str] = {}
    with requests.Session() as session:
        for prefix in ("http://", "https://"):
            session.mount(prefix, HTTPAdapter(max_retries=retry))
        while True:
            try:
                answer = session.get(f"{url}?{urlencode(query)}", headers=headers, timeout=SEARCH_TIMEOUT_S)
                answer.raise_for_status()
                granules = answer.json()["items"]
            except (requests.RequestException, ValueError, KeyError) as error:
                raise AcquisitionError(
                    f"NASA's granule search does not answer for Sentinel-1, {window.start} to {window.end}. "
                    "Check the network and try again; what was fetched is kept."
                ) from error
            for granule in granules:
                umm = granule["umm"]
                begin = umm["TemporalExtent"]["RangeDateTime"]["BeginningDateTime"]
                hrefs = {
                    name: link["URL"]
                    for link in umm.get("RelatedUrls", [])
                    for name in ("VV", "VH")
                    if link["URL"].startswith("http") and link["URL"].endswith(f"_{name}.tif")
                }
                if hrefs:
                    ground = _footprint(_polygons_of(umm))
                    yield SentinelScene(umm["GranuleUR"], dt.date.fromisoformat(begin[:10]), hrefs, footprint=ground)
            after = answer.headers.get("CMR-Search-After")
            if not after or not granules:
                return
            headers = {"CMR-Search-After": after}


def earthdata_headers() -> str:
    """HTTP header for OPERA downloads from the environment's ``EARTHDATA_TOKEN``; empty when there is none."""
    token = os.environ.get("EARTHDATA_TOKEN", "")
    return f"Authorization: Bearer {token}" if token else ""


_MPC_S2 = {band: band for band in (*S2_BANDS, "SCL")}
_AWS_S2 = {**dict(zip(S2_BANDS, _AWS_ASSETS, strict=True)), "SCL": "scl"}

CATALOGUES: Mapping[str, Catalogue] = {
    "mpc": Catalogue(
        "mpc", "https://planetarycomputer.microsoft.com/api/stac/v1", _MPC_S2, s1_resampling="nearest", signed=True
    ),
    "aws": Catalogue(
        "aws",
        "https://earth-search.aws.element84.com/v1",
        _AWS_S2,
        s1_resampling="bilinear",
        cmr_url="https://cmr.earthdata.nasa.gov/search/granules.umm_json",
    ),
}

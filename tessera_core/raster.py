"""The central thing: an embedding raster, int8 codes with a scale per pixel on a grid, with its provenance.

The codes may be memory-mapped, so a region is bounded by disk, not by memory. There are two ways out of int8:
:meth:`EmbeddingRaster.blocks`, dequantised float32 rows a block at a time, and :meth:`EmbeddingRaster.sample`, the vectors of
chosen pixels. This module refuses to know file formats of others (see ``sources``) and what embeddings are used for.

Own layout, a folder: ``codes.npy`` int8 (H, W, D), ``scales.npy`` float32 (H, W), ``raster.json`` (format, grid,
provenance) and, where they are known, reasons in ``nodata.npy`` uint8 (H, W), how often satellites saw each pixel in
``observations.npy`` uint16 (H, W, 6) (:mod:`tessera_core.observations`), and what they saw as pictures:
``truecolour.png`` (the year as a photograph) and others in ``pictures/``.
"""

from __future__ import annotations

import importlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from enum import IntEnum
from html import escape
from pathlib import Path, PurePath
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tessera_core._utils.atomic import RASTER, atomic_path
from tessera_core._utils.npy import load_npy
from tessera_core.errors import GridError, RasterError
from tessera_core.gate import is_missing, read_json
from tessera_core.grid import Grid
from tessera_core.observations import CHANNELS, Depth, depth_of
from tessera_core.observations import FILE as OBSERVATIONS_FILE
from tessera_core.provenance import Provenance

if TYPE_CHECKING:
    import xarray
    from matplotlib.axes import Axes

FORMAT = "tessera-embedding-raster/1"
BLOCK_BYTES = 16 << 20


class NoData(IntEnum):
    """Why a pixel has no embedding."""

    VALID = 0
    UNKNOWN = 1
    OUTSIDE = 2
    WATER = 3
    MISSING_TILE = 4
    BAD_TILE = 5
    NO_OBSERVATIONS = 6
    # Seen, but fewer times than the publisher asks for.
    TOO_FEW = 7
    # The store has room for the year, but its publisher has not declared it complete.
    YEAR_NOT_PUBLISHED = 8
    # No tile of land in the publisher's list: open sea, for the most part.
    NOT_LAND = 9


@dataclass(frozen=True, repr=False)
class EmbeddingRaster:
    """Embeddings of one dataset and year on one grid; read-only.

    Attributes:
        codes: int8 (H, W, D); value = code * scale.
        scales: float32 (H, W); NaN, infinite or <= 0 means no data.
        grid: where the pixels lie.
        provenance: where the vectors come from; ``provenance.dim`` equals D.
        reasons: uint8 (H, W) of :class:`NoData`, or None where reasons are not known.
        observations: uint16 (H, W, 6), how often satellites saw each pixel (:mod:`tessera_core.observations`), or None where
            nobody counted.
    """

    codes: NDArray[np.int8]
    scales: NDArray[np.float32]
    grid: Grid
    provenance: Provenance
    reasons: NDArray[np.uint8] | None = None
    observations: NDArray[np.uint16] | None = None

    def __post_init__(self) -> None:
        if self.codes.ndim != 3 or self.codes.dtype != np.int8:
            raise RasterError(
                f"Embedding codes must be int8 of shape (height, width, dimensions); "
                f"these are {self.codes.dtype} of shape {self.codes.shape}."
            )
        if self.codes.shape[2] == 0:
            raise RasterError("Embeddings need at least one dimension; these have none.")
        if self.scales.shape != self.codes.shape[:2]:
            raise RasterError(
                f"Codes and scales do not belong together: codes cover {self.codes.shape[0]} x {self.codes.shape[1]} "
                f"pixels, scales have shape {self.scales.shape}."
            )
        if self.reasons is not None and (self.reasons.shape != self.scales.shape or self.reasons.dtype != np.uint8):
            raise RasterError(
                f"The no-data reasons must be uint8 of shape {self.scales.shape}; they are {self.reasons.dtype} of shape "
                f"{self.reasons.shape}."
            )
        if self.observations is not None and (
            self.observations.shape != (*self.scales.shape, CHANNELS) or self.observations.dtype != np.uint16
        ):
            raise RasterError(
                f"The observations must be uint16 of shape {(*self.scales.shape, CHANNELS)}; they are "
                f"{self.observations.dtype} of shape {self.observations.shape}."
            )
        if self.scales.dtype != np.float32:
            object.__setattr__(self, "scales", self.scales.astype(np.float32))
        if self.grid.shape != self.codes.shape[:2]:
            raise RasterError(f"The grid is {self.grid.shape} but the embeddings are {self.codes.shape[:2]} pixels.")
        if self.provenance.dim != self.codes.shape[2]:
            object.__setattr__(self, "provenance", replace(self.provenance, dim=int(self.codes.shape[2])))
        for array in (self.codes, self.scales, self.reasons, self.observations):
            if array is not None and array.flags.writeable:
                array.flags.writeable = False

    @property
    def shape(self) -> tuple[int, int]:
        """``(height, width)``."""
        return self.grid.shape

    @property
    def dim(self) -> int:
        """Length of the vectors."""
        return int(self.codes.shape[2])

    def valid(self, rows: slice = slice(None)) -> NDArray[np.bool_]:
        """Bool (h, W): which pixels of the given rows have an embedding."""
        return valid_scales(self.scales[rows])

    def nodata_reasons(self) -> NDArray[np.uint8]:
        """uint8 (H, W) of :class:`NoData`; ``UNKNOWN`` where no reason is recorded."""
        reasons = np.zeros(self.shape, np.uint8) if self.reasons is None else self.reasons.copy()
        invalid = ~self.valid()
        reasons[~invalid] = NoData.VALID
        reasons[invalid & (reasons == NoData.VALID)] = NoData.UNKNOWN
        return reasons

    def depth(self) -> Depth | None:
        """How often the pixels with an embedding were seen, or None where nobody counted."""
        return None if self.observations is None else depth_of(self.observations, self.valid())

    def times_seen(self, rows: NDArray[np.integer], cols: NDArray[np.integer]) -> NDArray[np.uint16] | None:
        """On how many days pixels (N,) were seen clearly, uint16 (N,); None where nobody counted."""
        return None if self.observations is None else np.asarray(self.observations[rows, cols, 0])

    def seldom_seen(self, times: int) -> NDArray[np.bool_]:
        """Bool (H, W): which pixels with an embedding were seen clearly fewer than ``times`` times.

        Raises:
            RasterError: nobody counted how often the pixels of this raster were seen.
        """
        if self.observations is None:
            raise RasterError(
                f"Nobody counted how often the pixels of these embeddings ({self.provenance.dataset}) were seen, so rarely seen "
                "ones cannot be left out. Fetch the region anew from a store that counts, such as 1.1/dclimate."
            )
        return self.valid() & (np.asarray(self.observations[..., 0]) < times)

    def seen_at_least(self, times: int) -> EmbeddingRaster:
        """The raster without the pixels that were seen clearly fewer times; their reason is ``TOO_FEW``.

        The publisher of 1.1/dclimate refuses below 15; from 25 on (``observations.ELBOW``) two embeddings of the same ground
        agree much better. Codes are shared, scales and reasons are copies.

        Args:
            times: clear optical days that a pixel needs.

        Raises:
            RasterError: nobody counted how often the pixels of this raster were seen.

        Example:
            >>> well_seen = raster.seen_at_least(25)  # doctest: +SKIP
        """
        thin = self.seldom_seen(times)
        scales, reasons = np.array(self.scales), self.nodata_reasons()
        scales[thin], reasons[thin] = np.nan, NoData.TOO_FEW
        stamp = self.provenance.with_details(seen_at_least=int(times))
        return replace(self, scales=scales, reasons=reasons, provenance=stamp)

    def row_slices(self, max_bytes: int = BLOCK_BYTES) -> Iterator[slice]:
        """Slices of whole rows whose float32 embeddings fit in ``max_bytes`` (at least one row each)."""
        step = max(1, max_bytes // (self.grid.width * self.dim * 4))
        for start in range(0, self.grid.height, step):
            yield slice(start, min(start + step, self.grid.height))

    def blocks(self, max_bytes: int = BLOCK_BYTES) -> Iterator[tuple[slice, NDArray[np.float32]]]:
        """Dequantised rows, a block at a time: ``(rows, float32 (h, W, D))``, NaN where there is no data."""
        for rows in self.row_slices(max_bytes):
            yield rows, dequantise(self.codes[rows], self.scales[rows])

    def sample(self, rows: ArrayLike, cols: ArrayLike) -> NDArray[np.float32]:
        """Vectors of pixels: float32 (N, D), NaN where there is no data or the pixel lies off the grid.

        Args:
            rows, cols: (N,) pixel indices, or fractional pixel coordinates (floored).
        """
        rows, cols = np.atleast_1d(np.asarray(rows)), np.atleast_1d(np.asarray(cols))
        inside = self.grid.inside(rows, cols)
        r = np.where(inside, np.floor(np.where(inside, rows, 0)), 0).astype(np.intp)
        c = np.where(inside, np.floor(np.where(inside, cols, 0)), 0).astype(np.intp)
        values = dequantise(self.codes[r, c], self.scales[r, c])
        values[~inside] = np.nan
        return values

    def sample_lonlat(self, lon: ArrayLike, lat: ArrayLike) -> NDArray[np.float32]:
        """Vectors at places in degrees: float32 (N, D), NaN where there is none."""
        rows, cols = self.grid.lonlat_to_pixel(lon, lat)
        return self.sample(rows, cols)

    def prefix(self, dim: int) -> EmbeddingRaster:
        """The first ``dim`` dimensions as another dataset (Matryoshka prefix; scales stay, values are unchanged)."""
        if not 0 < dim <= self.dim:
            raise RasterError(f"A prefix of {dim} dimensions cannot be taken from {self.dim}.")
        return replace(self, codes=self.codes[..., :dim], provenance=replace(self.provenance, dim=dim))

    def to_xarray(self, *, quantised: bool = False) -> xarray.Dataset:
        """The raster as an :class:`xarray.Dataset` that ``rioxarray`` and other tools of the field understand.

        Values are read where they are used, so that a raster of any size can be handed on; large ones come in chunks where dask
        is installed.

        Args:
            quantised: give ``codes`` int8 (band, y, x) as they are stored, instead of ``embedding`` float32 (band, y, x).

        Returns:
            The embeddings, ``scales`` float32 (y, x) and, where they are known, ``nodata_reason`` uint8 (y, x); coordinates of
            pixel centres; the grid in ``spatial_ref`` (CF) and as ``proj:`` and ``spatial:`` attributes; the provenance in
            ``tessera_provenance``. :meth:`from_xarray` gives the same raster back.

        Example:
            >>> raster.to_xarray().embedding.sizes["band"]
            128
        """
        dataset: xarray.Dataset = _above("interop", "to_xarray")(self, quantised)
        return dataset

    @classmethod
    def from_xarray(
        cls, data: xarray.Dataset | xarray.DataArray, provenance: Provenance | None = None
    ) -> EmbeddingRaster:
        """A raster of what :meth:`to_xarray` gave, or of other float embeddings with a band dimension and a grid.

        Args:
            data: ``embedding`` (band, y, x) float or ``codes`` int8 with ``scales``; or one array of floats.
            provenance: where the vectors come from; None for what ``data`` says of itself.

        Raises:
            RasterError: the dimensions, the grid or the values are not those of embeddings.

        Example:
            >>> again = tessera.EmbeddingRaster.from_xarray(raster.to_xarray())
            >>> bool((again.codes == raster.codes).all()), again.provenance == raster.provenance
            (True, True)
        """
        raster: EmbeddingRaster = _above("interop", "from_xarray")(data, provenance)
        return raster

    def to_geobox(self) -> Any:
        """The grid as a GeoBox of odc-geo, e.g. for ``odc.stac.load(..., geobox=raster.to_geobox())``.

        Raises:
            InputError: odc-geo is not installed.
            GridError: the raster has no place on Earth.

        Example:
            >>> raster.to_geobox().shape == raster.shape
            True
        """
        return _above("interop", "to_geobox")(self.grid)

    def plot(self, ax: Axes | None = None, **options: Any) -> Axes:
        """Draw the embeddings as a false-colour picture (three principal components) with matplotlib.

        Args:
            ax: to draw on; None for a new one.
            options: of :func:`tessera_core.render.picture.pca_picture`.

        Returns:
            The axes, in the metres of the grid's CRS (pixels for a local grid).

        Raises:
            RasterError: no pixel has data.

        Example:
            >>> raster.plot().get_xlabel()
            'easting (m)'
        """
        drawn: Axes = _above("render.figure", "plot")(self, ax, **options)
        return drawn

    def explore(
        self,
        *,
        labels: Any = None,
        map: Any = None,
        split: bool = False,
        base: str | None = None,
        height: str = "560px",
    ) -> Any:
        """A map to look at in a notebook (leafmap): pictures with opacity, labels, and what a click says of a pixel.

        Args:
            labels: of :func:`tessera_core.api.read_labels`, drawn as pixels in the colours of their classes.
            map: of ``map_classes``, ``map_values`` or ``change``: its layers lie above the embeddings.
            split: a divider with the map on the one side and the embeddings on the other.
            base: name of a base map from the internet, such as ``"OpenStreetMap"`` or any of
                :func:`tessera_core.session.base_maps.names`; None asks nothing of the network.
            height: of the map.

        Returns:
            A ``leafmap.Map``; the last expression of a notebook's cell shows it.

        Raises:
            GridError: the raster has no place on Earth.
            InputError: there is no such base map, or the map is of another grid.
        """
        return _above("session.notebook", "explore")(
            self, labels=labels, made=map, split=split, base=base, height=height
        )

    def __repr__(self) -> str:
        height, width = self.shape
        year = "no year" if self.provenance.year is None else self.provenance.year
        where = "local grid" if self.grid.crs is None else _short(self.grid.crs)
        return f"<EmbeddingRaster {width} x {height} pixels, {self.provenance.dataset}, {year}, {where}>"

    def _repr_html_(self) -> str:
        height, width = self.shape
        west, south, east, north = self.grid.bounds
        facts = {
            "dataset": self.provenance.dataset,
            "year": self.provenance.year or "",
            "pixels": f"{width} x {height} ({width * height:,})",
            "bytes": f"{(self.codes.nbytes + self.scales.nbytes) / 1e6:,.1f} MB",
            "grid": "local, no place on Earth" if self.grid.crs is None else _short(self.grid.crs),
            "bounds": f"{west:.6g}, {south:.6g}, {east:.6g}, {north:.6g}",
            "source": self.provenance.source,
        }
        rows = "".join(
            f"<tr><th>{name}</th><td>{escape(str(value))}</td></tr>" for name, value in facts.items() if value
        )
        return f"<table><caption>EmbeddingRaster</caption>{rows}</table>"

    def save(self, folder: str | Path, *, pictures: Mapping[str, bytes] | None = None) -> Path:
        """Write the raster in our own layout (see the module's docstring), whole or not at all.

        Args:
            folder: to write or to replace.
            pictures: PNGs of the same shape that show what satellites saw, by name of
                :data:`tessera_core.render.canvas.PICTURES`.

        Raises:
            InputError: the folder holds something else than such a raster.
            ExportError: the folder cannot be written.
        """
        folder = Path(folder)
        with atomic_path(folder, directory=True, replaces=RASTER) as part:
            np.save(part / "codes.npy", self.codes)
            np.save(part / "scales.npy", self.scales)
            if self.reasons is not None:
                np.save(part / "nodata.npy", self.reasons)
            if self.observations is not None:
                np.save(part / OBSERVATIONS_FILE, self.observations)
            for name, data in (pictures or {}).items():
                file = picture_file(part, name)
                file.parent.mkdir(exist_ok=True)
                file.write_bytes(data)
            header = {"format": FORMAT, "grid": self.grid.to_json(), "provenance": self.provenance.to_json()}
            (part / "raster.json").write_text(json.dumps(header, indent=2) + "\n", encoding="utf-8")
        return folder

    @classmethod
    def open(cls, folder: str | Path) -> EmbeddingRaster:
        """Open a raster in our own layout, memory-mapped.

        Raises:
            RasterError: the folder is not such a raster, or a file in it is damaged.
        """
        folder = Path(folder)
        if is_missing(folder / "raster.json"):
            raise RasterError(f"{folder} holds no readable raster.json; it is not a saved embedding raster.")
        header = read_json(folder / "raster.json", RasterError)
        if not isinstance(header, dict) or not {"grid", "provenance"} <= set(header):
            raise RasterError(f"raster.json in {folder} is incomplete: it needs format, grid and provenance.")
        if header.get("format") != FORMAT:
            raise RasterError(f"{folder} is of the format {header.get('format')!r}; this version reads {FORMAT!r}.")
        reasons_file, seen_file = folder / "nodata.npy", folder / OBSERVATIONS_FILE
        codes, scales = load_npy(folder / "codes.npy"), load_npy(folder / "scales.npy")
        reasons = load_npy(reasons_file) if not is_missing(reasons_file) else None
        seen = load_npy(seen_file) if not is_missing(seen_file) else None
        try:
            grid, provenance = Grid.from_json(header["grid"]), Provenance.from_json(header["provenance"])
            return cls(codes, scales, grid, provenance, reasons, seen)
        except (RasterError, GridError) as error:
            # Of what is in memory the sentence is told; only here is it known which of many folders it is.
            raise type(error)(f"{folder}: {error}") from error


def _above(module: str, name: str) -> Any:
    """What stands on a higher floor and is offered here as a method, found by its name when it is called."""
    return getattr(importlib.import_module(f"tessera_core.{module}"), name)


def _short(crs: str) -> str:
    """A CRS in a line: its code, or the name that its WKT begins with."""
    return crs if len(crs) < 20 else crs.partition('"')[2].partition('"')[0]


def picture_file[P: PurePath](folder: P, name: str) -> P:
    """Where a picture of what satellites saw lies beside the embeddings in ``folder``."""
    return folder / "truecolour.png" if name == "truecolour" else folder / "pictures" / f"{name}.png"


def valid_scales(scales: NDArray[np.float32]) -> NDArray[np.bool_]:
    """Which scales stand for data: finite and positive (zero scale marks skipped pixels, docs/spec/model.md section 3)."""
    return np.isfinite(scales) & (scales > 0)


def dequantise(codes: NDArray[np.int8], scales: NDArray[np.float32]) -> NDArray[np.float32]:
    """``codes * scales``: float32 (..., D) from int8 (..., D) and float32 (...); NaN where the scale is no data."""
    return codes.astype(np.float32) * np.where(valid_scales(scales), scales, np.nan).astype(np.float32)[..., None]

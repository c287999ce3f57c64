"""NPY embeddings: published tiles, the output of ``tessera generate`` and of others (docs/spec/model.md section 3)."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tessera_core._utils.npy import load_npy
from tessera_core._utils.partial import Failure
from tessera_core.errors import GridError, RasterError
from tessera_core.gate import read_json
from tessera_core.grid import Grid
from tessera_core.provenance import Provenance
from tessera_core.raster import EmbeddingRaster
from tessera_core.sources.local.convert import Conversion, converted, quantise_block, row_windows
from tessera_core.sources.local.geotiff import read_grid
from tessera_core.sources.local.metadata import MIN_DIM, read_metadata, year_in_path
from tessera_core.sources.local.reader import AS_FLOATS, CONVERTED, Description, Reader
from tessera_core.types import Cancel, Codes, Progress, Window

TILE_FORMAT = "tessera-embedding-tile/1"
GRID_NAME = re.compile(r"grid_(-?\d+(?:\.\d+)?)_(-?\d+(?:\.\d+)?)")

DEPRECATED = (
    "These are NPY tiles, a form that the publisher of TESSERA has given up in favour of stores: they are read as ever, but new "
    "data do not come in it."
)

_INT8 = re.compile(r"_int8$")


def is_published_tile(path: str | Path) -> bool:
    """Whether a file is a tile in the published NPY form, by its name.

    Example:
        >>> is_published_tile("2024/grid_0.15_52.05/grid_0.15_52.05.npy")
        True
    """
    name = Path(path).name
    return name.endswith(".npy") and GRID_NAME.match(name) is not None


@dataclass(frozen=True)
class NpyPiece:
    """One raster made of .npy files.

    Attributes:
        codes: int8 (H, W, D) or float (H, W, D) file.
        scales: (H, W), (H, W, 1) or (H, W, D) file; None for float embeddings.
    """

    codes: Path
    scales: Path | None

    @property
    def name(self) -> str:
        """Name of the tile, without endings."""
        return re.sub(r"_emb\d+$", "", _INT8.sub("", self.codes.stem))

    @property
    def path(self) -> Path:
        """The file that stands for the piece in messages."""
        return self.codes

    @property
    def source(self) -> Path:
        """The codes."""
        return self.codes

    @property
    def year(self) -> int | None:
        """From our own JSON, else from the names."""
        described = read_description(self)
        return described[1].year if described else year_in_path(self.codes)

    def describe(self) -> Description:
        """By the headers alone: looking must not convert gigabytes of floats."""
        grid, provenance = origin(self)
        if self.scales is not None:
            return Description(grid, provenance)
        return Description(grid, provenance, mapped=False, form=AS_FLOATS, note=CONVERTED)

    def open(self, *, progress: Progress | None = None, cancelled: Cancel | None = None) -> EmbeddingRaster:
        """See :func:`open_npy`."""
        return open_npy(self, progress=progress, cancelled=cancelled)


class NpyReader(Reader):
    """Finds rasters in .npy files."""

    wanted = "NPY tiles (NAME.npy with NAME_scales.npy, or float NAME.npy)"
    suffixes = (".npy",)

    def resolve(self, path: Path) -> Path:
        """The codes of a file of scales or of our own JSON."""
        if path.suffix == ".npy" and path.stem.endswith("_scales"):
            return codes_path(path)
        codes = path.with_suffix(".npy")
        return codes if path.suffix == ".json" and codes.exists() else path

    def find(self, path: Path, problems: list[Failure]) -> list[NpyPiece]:
        """See :func:`find_piece`."""
        piece = find_piece(path)
        return [] if piece is None else [piece]


def scales_path(codes: Path) -> Path:
    """Where the scales of a codes file lie: ``x.npy`` and ``x_emb128_int8.npy`` both lose ``_int8`` and gain ``_scales``."""
    return codes.with_name(f"{_INT8.sub('', codes.stem)}_scales.npy")


def codes_path(scales: Path) -> Path:
    """The codes file of a scales file: the inverse of :func:`scales_path` for files that exist."""
    stem = scales.stem.removesuffix("_scales")
    plain, int8 = scales.with_name(f"{stem}.npy"), scales.with_name(f"{stem}_int8.npy")
    return int8 if int8.exists() and not plain.exists() else plain


def find_piece(path: Path) -> NpyPiece | None:
    """The raster that a .npy file holds, judged by its header; None where it holds something else.

    Raises:
        RasterError: the file is damaged or no .npy file.
    """
    if path.stem.endswith("_scales"):
        return None
    array = load_npy(path)
    if array.ndim != 3 or array.shape[2] < MIN_DIM or 0 in array.shape:
        return None
    if array.dtype == np.int8:
        return NpyPiece(path, scales_path(path))
    if array.dtype.kind == "f":
        return NpyPiece(path, None)
    return None


def open_npy(
    piece: NpyPiece,
    *,
    progress: Progress | None = None,
    cancelled: Cancel | None = None,
) -> EmbeddingRaster:
    """Open one piece, memory-mapped; float embeddings and scales that vary by dimension are converted into the cache.

    Raises:
        RasterError: a file is missing or damaged, or the files do not belong together.
    """
    array = load_npy(piece.codes)
    shape = (int(array.shape[0]), int(array.shape[1]), int(array.shape[2]))
    grid, provenance = origin(piece)
    if piece.scales is None:

        def read_floats(window: Window) -> Codes:
            return quantise_block(array[window])

        sources = [piece.codes]
        return converted(
            sources,
            Conversion("float", shape, grid, provenance, row_windows(shape), read_floats),
            progress=progress,
            cancelled=cancelled,
        )
    if not piece.scales.exists():
        raise RasterError(
            f"{piece.codes.name} holds int8 codes, but {piece.scales.name} is not beside it in {piece.codes.parent}; "
            "codes mean nothing without their scales."
        )
    scales = load_npy(piece.scales)
    if scales.dtype.kind not in "fiu":
        raise RasterError(f"{piece.scales.name} in {piece.scales.parent} does not hold numbers.")
    if scales.shape == (*shape[:2], 1):
        scales = scales[..., 0]
    if scales.shape == shape:
        if not _same_in_all_bands(scales):
            read = partial(_requantised, array, scales)
            paths = [piece.codes, piece.scales]
            return converted(
                paths,
                Conversion("band scales", shape, grid, provenance, row_windows(shape), read),
                progress=progress,
                cancelled=cancelled,
            )
        scales = np.ascontiguousarray(scales[..., 0])
    if scales.shape != shape[:2]:
        raise RasterError(
            f"{piece.codes.name} and {piece.scales.name} do not belong together: the codes cover {shape[0]} x {shape[1]} "
            f"pixels, the scales have the shape {scales.shape}."
        )
    try:
        return EmbeddingRaster(array, scales, grid, provenance)
    except RasterError as error:
        raise RasterError(f"{piece.codes}: {error}") from error


def _requantised(codes: NDArray, scales: NDArray, window: Window) -> Codes:
    return quantise_block(codes[window].astype(np.float32) * scales[window].astype(np.float32))


def _same_in_all_bands(scales: NDArray) -> bool:
    shape = (int(scales.shape[0]), int(scales.shape[1]), int(scales.shape[2]))
    for window in row_windows(shape):
        block = scales[window]
        if not np.array_equal(block, np.broadcast_to(block[..., :1], block.shape), equal_nan=True):
            return False
    return True


def origin(piece: NpyPiece) -> tuple[Grid, Provenance]:
    """Grid and provenance of a piece by headers alone: from our own JSON, else from a land mask, else unknown.

    Raises:
        RasterError: a file is damaged.
    """
    shape = load_npy(piece.codes).shape
    described = read_description(piece)
    if described is not None:
        return described
    warnings: list[str] = []
    grid = _landmask_grid(piece, (int(shape[0]), int(shape[1])), warnings)
    details: dict[str, Any] = {"tile": piece.name} | ({"warnings": warnings} if warnings else {})
    metadata = read_metadata(piece.codes.parent)
    known = bool(metadata) or GRID_NAME.fullmatch(piece.name) is not None
    return grid, Provenance(
        model="tessera" if known else "unknown",
        version=str(metadata.get("dataset_version", metadata.get("version", ""))).removeprefix("v"),
        variant=str(metadata.get("variant", metadata.get("dataset_variant", ""))),
        dim=int(shape[2]),
        year=year_in_path(piece.codes),
        source="npy tiles",
        details=details,
    )


def read_description(piece: NpyPiece) -> tuple[Grid, Provenance] | None:
    """Grid and provenance from the JSON that ``tessera generate`` writes beside a tile, or None where there is none.

    Raises:
        RasterError: it is damaged.
    """
    for path in (piece.codes.with_suffix(".json"), piece.codes.with_name(f"{piece.name}.json")):
        if not path.is_file():
            continue
        value = read_json(path, RasterError)
        if isinstance(value, dict) and value.get("format") == TILE_FORMAT:
            try:
                return Grid.from_json(value["grid"]), Provenance.from_json(value["provenance"])
            except (KeyError, TypeError, GridError) as error:
                raise RasterError(f"{path.name} in {path.parent} lacks a usable grid or provenance.") from error
    return None


def _landmask_grid(piece: NpyPiece, shape: tuple[int, int], warnings: list[str]) -> Grid:
    mask = next((path for path in _landmask_places(piece) if path.is_file()), None)
    if mask is None:
        if GRID_NAME.fullmatch(piece.name):
            warnings.append(
                f"The place of {piece.name} is not known to the pixel: its land mask {piece.name}.tiff is not beside it. "
                "It is shown without georeference."
            )
        return Grid.local(shape)
    grid = read_grid(mask)
    if grid.shape != shape:
        warnings.append(
            f"{mask.name} has {grid.height} x {grid.width} pixels, the embeddings {shape[0]} x {shape[1]}; "
            "they are shown without georeference."
        )
        return Grid.local(shape)
    return grid


def _landmask_places(piece: NpyPiece) -> list[Path]:
    folder = piece.codes.parent
    places = [folder / f"{piece.name}{ending}" for ending in (".tiff", ".tif")]
    # geotessera keeps land masks in a folder of their own beside the years.
    for parent in (folder, *list(folder.parents)[:3]):
        for sub in ("global_0.1_degree_tiff_all", "landmasks"):
            places.append(parent / sub / f"{piece.name}.tiff")
    return places

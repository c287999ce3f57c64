"""Two embedding rasters of one place as one: both sets of numbers of each pixel side by side, for heads, scatter and change.

The parts differ in size (TESSERA's vectors are about ten long, AlphaEarth's are one), and distances would then be those of the
larger. So each part is divided by its own spread over the scene, one number a part, which keeps all that differs within it;
years that are to be compared share these numbers (:func:`stack_years`).
A pixel has one scale for both halves, as everywhere; both halves are written with it in int8 anew, which costs about as much
as the first rounding did (:attr:`Stacked.cosine` says how much, measured on a sample).
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tessera_core._utils.atomic import RASTER, FolderKind, atomic_path, require_replaceable
from tessera_core._utils.npy import new_npy
from tessera_core.analysis.pca import sample_valid
from tessera_core.errors import Cancelled, InputError, RasterError
from tessera_core.grid import Grid
from tessera_core.provenance import SOFTWARE, Provenance
from tessera_core.raster import FORMAT, EmbeddingRaster, dequantise
from tessera_core.types import Cancel, Progress

SAMPLE = 20_000
BLOCK_BYTES = 16 << 20
_SOURCE = "joined"


@dataclass(frozen=True)
class Stacked:
    """A fused raster on disk.

    Attributes:
        folder: where it is; open it like any embeddings.
        raster: memory-mapped.
        weights: what each part was multiplied by.
        cosine: mean cosine between the stored vectors and the unrounded ones, on a sample.
        missing: pixels that only one part has, which have no data in the fused raster.
    """

    folder: Path
    raster: EmbeddingRaster
    weights: tuple[float, float]
    cosine: float
    missing: int


def stack_years(
    first: Mapping[int, EmbeddingRaster],
    second: Mapping[int, EmbeddingRaster],
    folder: str | Path,
    *,
    seed: int = 0,
    progress: Progress | None = None,
    cancelled: Cancel | None = None,
) -> dict[int, Stacked]:
    """Join every year that both datasets have, each into a folder of its own, ``folder/<year>``, all with the same weights.

    Args:
        first, second: by year, one dataset each.
        folder: new folder; all of it appears at once.
        seed, progress, cancelled: see :func:`stack`.

    Raises:
        RasterError: they have no year in common, or share no ground with data.
        ExportError: the folder cannot be written.
        Cancelled: ``cancelled`` said so; nothing is left behind.
    """
    years = sorted(first.keys() & second.keys())
    if not years:
        told = " and ".join(", ".join(str(year) for year in sorted(part)) or "none" for part in (first, second))
        raise RasterError(f"The two datasets have no year in common ({told}), so there is nothing to join.")
    require_replaceable(folder, _years_kind(years))
    for year in years:
        _require_stacked(Path(folder) / str(year))
    weights = _weight([first[year] for year in years], seed), _weight([second[year] for year in years], seed)
    written = {}
    with atomic_path(Path(folder), directory=True, replaces=_years_kind(years)) as part:
        for number, year in enumerate(years):

            def share(done: int, of: int, message: str, number: int = number) -> None:
                if progress is not None:
                    progress(100 * number + 100 * done // max(of, 1), 100 * len(years), message)

            written[year] = _write(first[year], second[year], part / str(year), weights, share, cancelled)
    made = {}
    for year, (cosine, missing) in written.items():
        place = Path(folder) / str(year)
        made[year] = Stacked(place, EmbeddingRaster.open(place), weights, cosine, missing)
    return made


def stack(
    first: EmbeddingRaster,
    second: EmbeddingRaster,
    folder: str | Path,
    *,
    weights: tuple[float, float] | None = None,
    spread: float = 1.0,
    seed: int = 0,
    progress: Progress | None = None,
    cancelled: Cancel | None = None,
) -> Stacked:
    """Write the two rasters as one on the first one's grid, a block of rows at a time.

    Pixels of the second are taken from where the middle of the first's pixel lies (nearest, never mixed).

    Args:
        first, second: of one place; datasets and years may differ.
        folder: new folder for the fused raster.
        weights: to multiply each part with; None measures them on a sample of these rasters.
        spread: of the second part where the first has 1, where weights are measured.
        seed: of the sample that the spreads are measured on.
        progress, cancelled: see docs/architecture.md; units are rows.

    Raises:
        RasterError: the rasters share no ground with data.
        ExportError: the folder cannot be written.
        Cancelled: ``cancelled`` said so.
    """
    require_replaceable(folder, RASTER)
    _require_stacked(Path(folder))
    if weights is None:
        weights = (_weight([first], seed), spread * _weight([second], seed))
    cosine, missing = _write(first, second, Path(folder), weights, progress, cancelled)
    return Stacked(Path(folder), EmbeddingRaster.open(folder), weights, cosine, missing)


def weights_like(earlier: Provenance, first: Provenance, second: Provenance) -> tuple[float, float]:
    """What the parts of embeddings that were joined earlier were multiplied by, to join the same two datasets of another region.

    A head that learnt on the one maps the other then, since their numbers mean the same.

    Raises:
        InputError: they were not joined, or of other datasets.
    """
    parts = earlier.details.get("parts") if earlier.model == "stack" else None
    known = [Provenance.from_json(part) for part in parts or ()]
    if len(known) != 2 or [one.dataset for one in known] != [first.dataset, second.dataset]:
        raise InputError(
            f"{earlier.dataset} is not joined of {first.dataset} and {second.dataset}; it cannot say how to join these."
        )
    one, other = (float(part["weight"]) for part in parts or ())
    return one, other


def _years_kind(years: Sequence[int]) -> FolderKind:
    """A folder with these joined years and nothing else."""
    names = tuple(f"{year}/{name}" for year in years for name in RASTER.files)
    return FolderKind("joined embeddings of these years", f"*/{RASTER.marker}", names)


def _require_stacked(folder: Path) -> None:
    """Refuse to replace a raster that was not joined here: it may have come from far, and joining again does not bring it back.

    Raises:
        InputError: such a raster lies in the folder.
    """
    if not (folder / RASTER.marker).exists():
        return
    found = EmbeddingRaster.open(folder).provenance
    if found.source != _SOURCE:
        raise InputError(
            f"{folder} holds embeddings of {found.dataset} that were not joined from others; nothing was replaced. "
            "Choose another folder."
        )


def _write(
    first: EmbeddingRaster,
    second: EmbeddingRaster,
    folder: Path,
    weights: tuple[float, float],
    progress: Progress | None,
    cancelled: Cancel | None,
) -> tuple[float, int]:
    """Write the folder; returns what :class:`Stacked` says of rounding and of pixels that only one part has."""
    where = _Lookup(second, first.grid)
    height, width = first.shape
    dim = first.dim + second.dim
    step = max(1, BLOCK_BYTES // (4 * dim * width))
    missing = both = 0
    cosines: list[NDArray[np.float32]] = []
    provenance = _provenance(first.provenance, second.provenance, weights)
    with atomic_path(folder, directory=True, replaces=RASTER) as part:
        codes = new_npy(part / "codes.npy", np.int8, (height, width, dim))
        scales = new_npy(part / "scales.npy", np.float32, (height, width))
        for start in range(0, height, step):
            if cancelled is not None and cancelled():
                raise Cancelled
            rows = slice(start, min(start + step, height))
            mine = dequantise(first.codes[rows], np.asarray(first.scales[rows])) * np.float32(weights[0])
            theirs = where.vectors(rows) * np.float32(weights[1])
            values = np.concatenate([mine, theirs], axis=-1)
            have = np.isfinite(values[..., 0]), np.isfinite(values[..., -1])
            valid = have[0] & have[1]
            missing += int((have[0] ^ have[1]).sum())
            both += int(valid.sum())
            values = np.where(valid[..., None], values, 0)
            top = np.abs(values).max(-1)
            scale = np.where(valid & (top > 0), top / 127, np.nan).astype(np.float32)
            codes[rows] = np.rint(values / np.where(np.isfinite(scale), scale, 1)[..., None])
            scales[rows] = scale
            cosines.append(_cosines(values[valid], codes[rows][valid]))
            if progress is not None:
                progress(rows.stop, height, "joining the embeddings")
        if not both:
            raise RasterError(
                "The two rasters share no ground with data, so there is nothing to join. Check their places."
            )
        codes.flush()
        scales.flush()
        del codes, scales
        write_header(part, first.grid, provenance)
    return float(np.concatenate(cosines).mean()), missing


class _Lookup:
    """Vectors of a raster at the pixels of another grid."""

    def __init__(self, raster: EmbeddingRaster, grid: Grid) -> None:
        self.raster, self.grid = raster, grid
        self.same = raster.grid == grid
        if not self.same and (raster.grid.crs is None or grid.crs is None):
            raise RasterError(
                "One of the rasters does not say where on Earth it is, and they have different sizes, so their pixels cannot "
                "be matched."
            )

    def vectors(self, rows: slice) -> NDArray[np.float32]:
        """float32 (h, W, D), NaN where there is none."""
        if self.same:
            return dequantise(self.raster.codes[rows], np.asarray(self.raster.scales[rows]))
        r, c = np.mgrid[rows, : self.grid.width]
        if self.raster.grid.crs == self.grid.crs:
            y_x = self.raster.grid.xy_to_pixel(*self.grid.pixel_to_xy(r + 0.5, c + 0.5))
        else:
            y_x = self.raster.grid.lonlat_to_pixel(*self.grid.pixel_to_lonlat(r + 0.5, c + 0.5))
        values = self.raster.sample(y_x[0].ravel(), y_x[1].ravel())
        return values.reshape(*r.shape, self.raster.dim)


def _weight(rasters: Iterable[EmbeddingRaster], seed: int) -> float:
    """One over the root of a dataset's total variance over its years, so that the parts weigh the same in distances."""
    rasters = list(rasters)
    share = SAMPLE // len(rasters)
    values = np.concatenate([raster.sample(*sample_valid(raster, share, seed)) for raster in rasters])
    if len(values) < 2:
        raise RasterError(
            f"The embeddings of {rasters[0].provenance.dataset} have no data here, so there is nothing to join."
        )
    spread = float(np.sqrt(values.astype(np.float64).var(axis=0).sum()))
    return 1.0 / spread if spread > 0 else 1.0


def _cosines(values: NDArray[np.float32], codes: NDArray[np.int8]) -> NDArray[np.float32]:
    few = slice(None, None, max(1, len(values) // 500))
    a, b = values[few], codes[few].astype(np.float32)
    lengths = np.linalg.norm(a, axis=1) * np.linalg.norm(b, axis=1)
    return np.asarray((a * b).sum(1) / np.maximum(lengths, np.finfo(np.float32).tiny), np.float32)


def _provenance(first: Provenance, second: Provenance, weights: tuple[float, float]) -> Provenance:
    names = [p.dataset for p in (first, second)]
    same_year = first.year == second.year
    if not same_year:
        names = [
            f"{name} of {p.year}" if p.year is not None else name
            for name, p in zip(names, (first, second), strict=True)
        ]
    parts = [
        {**p.to_json(), "weight": weight, "dim": p.dim} for p, weight in zip((first, second), weights, strict=True)
    ]
    return Provenance(
        model="stack",
        variant=" + ".join(names),
        dim=first.dim + second.dim,
        year=first.year if same_year else None,
        source=_SOURCE,
        software=SOFTWARE,
        details={"parts": parts},
    )


def write_header(folder: Path, grid: Grid, provenance: Provenance) -> None:
    """Write what a raster says of itself into its folder."""
    header = {"format": FORMAT, "grid": grid.to_json(), "provenance": provenance.to_json()}
    (folder / "raster.json").write_text(json.dumps(header, indent=2) + "\n", encoding="utf-8")

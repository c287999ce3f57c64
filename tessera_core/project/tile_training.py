"""One head from labels anywhere in a folder of tiles, in however many UTM zones: only labelled pixels are read."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, cast

import numpy as np
from affine import Affine
from numpy.typing import ArrayLike, NDArray

from tessera_core._utils.partial import Failure
from tessera_core.errors import Cancelled, HeadError, InputError, LabelError
from tessera_core.grid import Grid
from tessera_core.labels.model import LabelClass
from tessera_core.project.tile_pixels import TilePixels, Wanted, left_out, read_pixels
from tessera_core.provenance import Provenance
from tessera_core.raster import EmbeddingRaster, dequantise, valid_scales
from tessera_core.types import Bools, Cancel, Floats, Progress

if TYPE_CHECKING:
    from tessera_core.assess.reference import Reference
    from tessera_core.heads import HeadChoice
    from tessera_core.project.classify import Trained
    from tessera_core.sources.local.reader import Piece

# Rows between the grids of two coordinate systems: more than any square that is held out as one.
_APART = 1 << 20


class _LookUp:
    """Values of some pixels of a huge raster, asked for by row and column; ``empty`` everywhere else."""

    def __init__(self, keys: NDArray[np.int64], values: NDArray[Any], width: int, empty: float) -> None:
        self._keys, self._values, self._width, self._empty = keys, values, width, empty

    def __getitem__(self, place: tuple[NDArray[Any], NDArray[Any]]) -> NDArray[Any]:
        wanted = np.asarray(place[0], np.int64) * self._width + np.asarray(place[1], np.int64)
        found = np.full((*wanted.shape, *self._values.shape[1:]), self._empty, self._values.dtype)
        if len(self._keys):
            at = np.minimum(np.searchsorted(self._keys, wanted), len(self._keys) - 1)
            known = self._keys[at] == wanted
            found[known] = self._values[at[known]]
        return found


@dataclass(frozen=True)
class LabelledPixels:
    """The embeddings of labelled pixels, asked for as those of a raster are; there is no data anywhere else.

    Attributes:
        codes, scales: int8 (n, D) and float32 (n,) by row and column.
        provenance: of the tiles.
    """

    codes: _LookUp
    scales: _LookUp
    provenance: Provenance

    def sample(self, rows: ArrayLike, cols: ArrayLike) -> Floats:
        """Vectors of pixels, float32 (N, D); NaN where there is no data."""
        place = (np.asarray(rows), np.asarray(cols))
        return dequantise(self.codes[place], self.scales[place])


def pixels_at(
    rows: NDArray[np.integer],
    cols: NDArray[np.integer],
    codes: NDArray[np.int8],
    scales: NDArray[np.float32],
    provenance: Provenance,
) -> LabelledPixels:
    """Embeddings int8 (n, D) and float32 (n,) of pixels at rows and columns (n,)."""
    width = int(cols.max(initial=0)) + 1
    return _by_key(rows.astype(np.int64) * width + cols, codes, scales, width, provenance)


def _by_key(
    keys: NDArray[np.int64], codes: NDArray[np.int8], scales: NDArray[np.float32], width: int, provenance: Provenance
) -> LabelledPixels:
    order = np.argsort(keys)
    key = keys[order]
    return LabelledPixels(_LookUp(key, codes[order], width, 0), _LookUp(key, scales[order], width, np.nan), provenance)


@dataclass(frozen=True)
class _Zone:
    """The tiles of one coordinate system, on the grid around all of them."""

    grid: Grid
    tiles: Sequence[tuple[Piece, Grid]]


@dataclass(frozen=True)
class TileLabels:
    """Labels on a folder of tiles, in however many coordinate systems; nothing of the tiles but their headers is read yet.

    Attributes:
        wanted: the tiles that labels lie on, in order, with the labelled pixels of each; a pixel may lie on several.
    """

    wanted: Sequence[Wanted]
    _zones: Sequence[_LabelledZone]
    _of: Sequence[tuple[int, NDArray[Any]]]
    _width: int

    def pixels(
        self,
        read: Callable[[Wanted, Cancel | None], TilePixels] = read_pixels,
        *,
        progress: Progress | None = None,
        cancelled: Cancel | None = None,
    ) -> tuple[Reference, LabelledPixels, list[Failure]]:
        """The labels, in rows that count on from one coordinate system to the next; the embeddings under them; unreadable tiles.

        Where tiles lie over each other the first that has data counts.

        Args:
            read: what a tile holds: of the tile itself, or of what others read of it.

        Raises:
            LabelError: no label lies on a tile that has data.
            InputError: none of the tiles can be read.
            MixedDatasetsError: the tiles are of several datasets.
        """
        keys, codes, scales = list[NDArray[Any]](), list[NDArray[Any]](), list[NDArray[Any]]()
        open_yet = [np.ones(len(zone.found.rows), bool) for zone in self._zones]
        failed: list[Failure] = []
        first: Provenance | None = None
        for done, (wanted, (zone, here)) in enumerate(zip(self.wanted, self._of, strict=True), 1):
            if progress is not None:
                progress(done, len(self.wanted), f"labels on {wanted.piece.name}")
            try:
                found = read(wanted, cancelled)
            except InputError as error:
                failed.append(left_out(wanted, error))
                continue
            first = first or found.provenance
            first.require_same_dataset(found.provenance, "one head")
            new = valid_scales(found.scales) & open_yet[zone][here]
            here, base, labels = here[new], self._zones[zone].base, self._zones[zone].found
            open_yet[zone][here] = False
            keys.append((labels.rows[here].astype(np.int64) + base) * self._width + labels.cols[here])
            codes.append(found.codes[new])
            scales.append(found.scales[new])
        if first is None:
            raise (
                InputError(failed[0].why)
                if failed
                else LabelError("Not one label lies on a tile that has data; check that labels and embeddings overlap.")
            )
        pixels = _by_key(np.concatenate(keys), np.concatenate(codes), np.concatenate(scales), self._width, first)
        parts: list[Reference] = []
        groups = 0
        for one in self._zones:
            rows = one.found.rows.astype(np.int64) + one.base
            parts.append(replace(one.found, rows=rows, groups=one.found.groups + groups))
            groups += int(one.found.groups.max(initial=-1)) + 1
        return joined_references(parts), pixels, failed


@dataclass(frozen=True)
class _LabelledZone:
    """The labels of one coordinate system, on the grid around all its tiles, whose first row counts as ``base``."""

    found: Reference
    base: int


def labels_on_tiles(
    pieces: Sequence[Piece],
    read: Callable[[Grid], Reference],
    *,
    cancelled: Cancel | None = None,
) -> TileLabels:
    """Where labels lie on tiles.

    Args:
        pieces: the tiles; only their headers are read.
        read: the labels on a grid; asked once for each coordinate system.

    Raises:
        LabelError: no label lies on a tile.
        InputError: the place of a tile on Earth is not known.
        Cancelled: ``cancelled`` said so.
    """
    zones = _zones(pieces)
    width = max(zone.grid.width for zone in zones)
    labelled: list[_LabelledZone] = []
    wanted: list[Wanted] = []
    of: list[tuple[int, NDArray[Any]]] = []
    problem: LabelError | None = None
    base = 0
    for zone in zones:
        if cancelled is not None and cancelled():
            raise Cancelled
        try:
            found = read(zone.grid)
        except LabelError as error:
            # Labels may lie in one zone only.
            problem = problem or error
        else:
            rows, cols = found.rows, found.cols
            for piece, grid in zone.tiles:
                top, left = (round(float(v)) for v in zone.grid.xy_to_pixel(grid.transform.c, grid.transform.f))
                # Rows ascend: of many tiles and labels each tile looks at its own rows alone.
                low, high = np.searchsorted(rows, (top, top + grid.height))
                across = cols[low:high]
                here = low + np.flatnonzero((across >= left) & (across < left + grid.width))
                if len(here):
                    places = (rows[here] - top).astype(np.int32), (cols[here] - left).astype(np.int32)
                    wanted.append(Wanted(piece, *places))
                    of.append((len(labelled), here))
            labelled.append(_LabelledZone(found, base))
        base += zone.grid.height + _APART
    if not wanted:
        raise problem or LabelError(
            "Not one label lies on a tile that has data; check that labels and embeddings overlap."
        )
    return TileLabels(wanted, labelled, of, width)


def joined_references(parts: Sequence[Reference]) -> Reference:
    """References on grids below each other as one; a class is known by its name.

    Raises:
        LabelError: there are more than 254 classes.
    """
    from tessera_core.assess.reference import Reference

    classes: list[LabelClass] = []
    ids: dict[str, int] = {}
    y: list[NDArray[np.uint8]] = []
    for part in parts:
        to = np.zeros(256, np.uint8)
        for one in part.classes:
            if one.name not in ids:
                taken = {c.id for c in classes}
                new = one.id if one.id not in taken else next(i for i in range(1, 256) if i not in taken)
                if new > 254:
                    raise LabelError("The labels have more than 254 classes.")
                ids[one.name] = new
                classes.append(replace(one, id=new))
            to[one.id] = ids[one.name]
        y.append(to[part.y])
    reports = [part.report for part in parts if part.report is not None]
    return Reference(
        np.concatenate([part.rows for part in parts]),
        np.concatenate([part.cols for part in parts]),
        np.concatenate(y),
        np.concatenate([part.groups for part in parts]),
        classes,
        any(part.points for part in parts),
        None if not reports else reports[0].with_others(reports[1:]),
        parts[0].by_pixel,
        joined_suggested([(part.suggested, len(part.rows)) for part in parts]),
    )


def joined_suggested(parts: Sequence[tuple[Bools | None, int]]) -> Bools | None:
    """Which pixels are of suggested labels, bool (N,), of parts one after the other; None where none is.

    Args:
        parts: of each which of its pixels are, or None, and how many it has.
    """
    if all(one is None for one, _ in parts):
        return None
    return np.concatenate([np.zeros(n, bool) if one is None else one for one, n in parts])


def _zones(pieces: Sequence[Piece]) -> list[_Zone]:
    by_crs: dict[tuple[str, float], list[tuple[Piece, Grid]]] = {}
    for piece in pieces:
        grid = piece.describe().grid
        if grid.crs is None:
            raise InputError(
                f"The place of {piece.name} on Earth is not known, so no label can lie on it; map it by itself."
            )
        by_crs.setdefault((grid.crs, grid.transform.a), []).append((piece, grid))
    return [
        _Zone(_around([grid for _, grid in tiles]), tiles) for _, tiles in sorted(by_crs.items(), key=lambda i: i[0])
    ]


def _around(grids: Sequence[Grid]) -> Grid:
    t = grids[0].transform
    west, north = min(g.bounds[0] for g in grids), max(g.bounds[3] for g in grids)
    east, south = max(g.bounds[2] for g in grids), min(g.bounds[1] for g in grids)
    shape = max(1, round((south - north) / t.e)), max(1, round((east - west) / t.a))
    return Grid(grids[0].crs, Affine(t.a, 0, west, 0, t.e, north), shape)


def train_on_tiles(
    reference: Reference,
    pixels: LabelledPixels,
    choice: HeadChoice,
    *,
    seed: int = 0,
    calibrated: bool = True,
    progress: Progress | None = None,
    cancelled: Cancel | None = None,
) -> Trained:
    """The one fit behind every map (:func:`tessera_core.project.classify.train`), on labelled pixels of many tiles.

    Raises:
        HeadError: the labels do not suffice, or the head looks around a pixel.
        Cancelled: ``cancelled`` said so.
    """
    from tessera_core.project.classify import train, unfitted

    if unfitted(choice, seed).receptive_radius:
        raise HeadError(
            "This head looks around each pixel, which would show at the rims of the tiles; map them as one with --out, or choose "
            "another head, without --neighbourhood."
        )
    raster = cast(EmbeddingRaster, pixels)
    return train(reference, raster, choice, seed=seed, calibrated=calibrated, progress=progress, cancelled=cancelled)

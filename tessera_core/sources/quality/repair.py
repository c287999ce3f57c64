"""Rasters without the tiles that an inspection found bad, or with the steps between tiles levelled; the old raster stays."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tessera_core._utils.atomic import atomic_path
from tessera_core._utils.npy import new_npy
from tessera_core.errors import Cancelled, InputError
from tessera_core.observations import FILE as OBSERVATIONS_FILE
from tessera_core.raster import FORMAT, EmbeddingRaster, NoData, dequantise, valid_scales
from tessera_core.sources.local.convert import quantise_block
from tessera_core.sources.quality.tiles import LonLat, QualityReport, cell_name, cells, present
from tessera_core.types import Cancel, Progress


def mask_tiles(raster: EmbeddingRaster, folder: Path, names: Iterable[str], target: Path) -> Path:
    """Write a raster without the named tiles; their pixels become ``BAD_TILE``. Codes are linked, not copied, where possible.

    Args:
        raster: opened from ``folder``.
        folder: a saved raster.
        names: tiles, as in :class:`TileReport`.
        target: folder to write, another one.

    Raises:
        InputError: the target is the raster itself.
        ExportError: it cannot be written.
    """
    if target.resolve() == folder.resolve():
        raise InputError("The masked raster needs a folder of its own.")
    wanted = set(names)
    lonlat = LonLat(raster.grid)
    scales, reasons = np.array(raster.scales), raster.nodata_reasons()
    for rows in raster.row_slices(64 << 20):
        lon, lat = lonlat.block(rows)
        x, y = cells(lon), cells(lat)
        for cell in present(x, y):
            if cell_name(cell) in wanted:
                mine = (x == cell[0]) & (y == cell[1]) & valid_scales(scales[rows])
                scales[rows][mine], reasons[rows][mine] = np.nan, NoData.BAD_TILE
    stamp = raster.provenance.with_details(masked_tiles=sorted(wanted))
    with atomic_path(target, directory=True) as part:
        try:
            os.link(folder / "codes.npy", part / "codes.npy")
        except OSError:
            shutil.copyfile(folder / "codes.npy", part / "codes.npy")
        np.save(part / "scales.npy", scales)
        np.save(part / "nodata.npy", reasons)
        if raster.observations is not None:
            np.save(part / OBSERVATIONS_FILE, raster.observations)
        header = {"format": FORMAT, "grid": raster.grid.to_json(), "provenance": stamp.to_json()}
        (part / "raster.json").write_text(json.dumps(header, indent=2) + "\n", encoding="utf-8")
    return target


def tile_offsets(inspection: QualityReport) -> dict[str, NDArray[np.float32]]:
    """For each tile the vector (D,) to add so that the steps across all edges become small, by regularised least squares.

    The offsets' mean is zero: nothing tells which of two tiles is right.
    """
    names = sorted({name for edge in inspection.edges for name in (edge.first, edge.second)})
    if not names:
        return {}
    index = {name: n for n, name in enumerate(names)}
    matrix = np.zeros((len(inspection.edges) + len(names), len(names)))
    jumps = np.zeros((len(matrix), inspection.edges[0].jump.size))
    for row, edge in enumerate(inspection.edges):
        weight = 1.0 if edge.seam else 0.3
        matrix[row, index[edge.first]], matrix[row, index[edge.second]] = weight, -weight
        jumps[row] = weight * edge.jump
    matrix[len(inspection.edges) :] = 0.05 * np.eye(len(names))
    solved = np.linalg.lstsq(matrix, jumps, rcond=None)[0]
    solved -= solved.mean(0)
    return {name: solved[n].astype(np.float32) for name, n in index.items()}


def correct_seams(
    raster: EmbeddingRaster,
    offsets: dict[str, NDArray[np.float32]],
    target: Path,
    *,
    progress: Progress | None = None,
    cancelled: Cancel | None = None,
) -> EmbeddingRaster:
    """Write a raster with an offset added to every pixel of a tile, quantised again; before and after are both kept.

    It stays an approximation: a step that depends on what grows on the ground is not an offset. Inspect the result.

    Raises:
        ExportError: it cannot be written.
        Cancelled: ``cancelled`` returned true.
    """
    lonlat = LonLat(raster.grid)
    slices = list(raster.row_slices())
    stamp = replace(raster.provenance, checksum="").with_details(levelled_tiles=sorted(offsets))
    with atomic_path(target, directory=True) as part:
        codes = new_npy(part / "codes.npy", np.int8, raster.codes.shape)
        scales = new_npy(part / "scales.npy", np.float32, raster.scales.shape)
        for done, rows in enumerate(slices):
            if cancelled is not None and cancelled():
                raise Cancelled()
            if progress is not None:
                progress(done, len(slices), "level")
            values = dequantise(raster.codes[rows], raster.scales[rows])
            lon, lat = lonlat.block(rows)
            x, y = cells(lon), cells(lat)
            for cell in present(x, y):
                if cell_name(cell) in offsets:
                    values[(x == cell[0]) & (y == cell[1])] += offsets[cell_name(cell)]
            codes[rows], scales[rows] = quantise_block(values)
        codes.flush()
        scales.flush()
        del codes, scales
        if raster.reasons is not None:
            np.save(part / "nodata.npy", raster.reasons)
        if raster.observations is not None:
            np.save(part / OBSERVATIONS_FILE, raster.observations)
        header = {"format": FORMAT, "grid": raster.grid.to_json(), "provenance": stamp.to_json()}
        (part / "raster.json").write_text(json.dumps(header, indent=2) + "\n", encoding="utf-8")
    return EmbeddingRaster.open(target)

"""Labelled places that heads are measured on, each with what has to be held out together.

The demo region is simulated and always there; the Belgian tile and the AlphaEarth points are real data that lie beside a
development checkout (``--data FOLDER``). Embeddings of the Belgian tile are made by ``studio-nano`` once and kept.
"""

from __future__ import annotations

import csv
import hashlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tessera_core._utils.paths import cache_home
from tessera_core.errors import InputError
from tessera_core.gate import open_raster
from tessera_core.raster import EmbeddingRaster

BLOCK_PX = 32
CELLS_PER_DEGREE = 10
MAIZE_AND_GRASS = {1200: "maize", 9120: "permanent grass"}
POINTS, BELGIUM = "alphaearth-points", "belgium-2018/dpixel"


@dataclass(frozen=True)
class Site:
    """N labelled places.

    Attributes:
        name, title: short, and for people.
        x: float32 (N, D).
        y: int (N,) class ids from 1.
        groups: int (N,), what is held out together.
        held_out: what a group is, for people.
        raster: that the vectors were taken from, with ``rows`` and ``cols`` (N,); None for loose points.
        share: of the groups that is judged on.
    """

    name: str
    title: str
    x: NDArray[np.float32]
    y: NDArray[np.int64]
    groups: NDArray[np.int64]
    held_out: str
    raster: EmbeddingRaster | None = None
    rows: NDArray[np.intp] | None = None
    cols: NDArray[np.intp] | None = None
    share: float = 0.5

    @property
    def digest(self) -> str:
        """Names the content, so that results of other embeddings are not taken for results of these."""
        text = hashlib.sha256(np.ascontiguousarray(self.x[:: max(1, len(self.x) // 2000)]).tobytes())
        text.update(self.y.tobytes())
        return text.hexdigest()[:12]

    def split(self, seed: int) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
        """Indices to label from and to judge on; no group is in both, every class in both where it has two groups."""
        rng = np.random.default_rng([seed, 3])
        judged = np.zeros(self.groups.max() + 1, bool)
        # Rare classes first, so that their few groups are shared out while they are free.
        decided = np.zeros(len(judged), bool)
        for k in sorted(np.unique(self.y), key=lambda k: len(np.unique(self.groups[self.y == k]))):
            own = rng.permutation(np.unique(self.groups[self.y == k]))
            free = own[~decided[own]]
            wanted = round(self.share * len(own)) or (1 if len(own) > 1 else 0)
            wanted = min(wanted, len(own) - 1) - int(judged[own].sum())
            judged[free[: max(wanted, 0)]] = True
            decided[free] = True
        test = judged[self.groups]
        return np.flatnonzero(~test), np.flatnonzero(test)


def demo(size: int | None = None) -> Site:
    """The demo region: squares of 32 pixels held out."""

    from tessera_core.project.demo import DEMO_SIZE, ensure_demo

    region = ensure_demo(size=size or DEMO_SIZE)
    year = max(region.embeddings)
    raster = EmbeddingRaster.open(region.embeddings[year])
    with open_raster(region.truth[year]) as file:
        truth = file.read(1)
    rows, cols = np.nonzero(raster.valid() & (truth > 0))
    block = rows // BLOCK_PX * (-(-raster.shape[1] // BLOCK_PX)) + cols // BLOCK_PX
    y = truth[rows, cols].astype(np.int64)
    return Site(
        "demo", "Demo region (simulated)", raster.sample(rows, cols), y, block, "squares of 320 m", raster, rows, cols
    )


def belgium(data: Path) -> Site:
    """Maize and permanent grass on a Belgian tile, 2018, embedded by ``studio-nano``: whole fields held out."""
    raster = _belgian_raster(data)
    y, groups, rows, cols = _belgian_fields(data)
    return Site(
        "belgium",
        "Belgian tile, maize and grass (studio-nano)",
        raster.sample(rows, cols),
        y,
        groups,
        "whole fields",
        raster,
        rows,
        cols,
    )


def belgium_medians(data: Path) -> Site:
    """The same fields by plain monthly statistics of the same satellite data, standardised."""
    from tessera_core.assess.baseline import raw_medians
    from tessera_core.dpixels.tile import DPixelTile

    y, groups, rows, cols = _belgian_fields(data)
    medians = raw_medians(DPixelTile.open(data / BELGIUM), rows, cols)
    x = (medians - medians.mean(0)) / np.maximum(medians.std(0), 1e-12)
    title = "Belgian tile, maize and grass (plain monthly medians)"
    return Site("belgium-medians", title, x.astype(np.float32), y, groups, "whole fields")


def alphaearth(data: Path) -> Site:
    """AlphaEarth vectors of Iowa and the Amazon with Dynamic World classes: cells of 0.1 degree held out."""
    return alphaearth_files(point_files(data / POINTS))


def alphaearth_files(files: list[Path]) -> Site:
    """The same from its CSV files."""
    vectors, classes, cells = [], [], []
    for number, path in enumerate(files):
        with open(path, encoding="utf-8", newline="") as file:
            for row in csv.DictReader(file):
                vectors.append([float(row[f"A{i:02d}"]) for i in range(64)])
                classes.append(int(float(row["dw_label"])))
                places = (float(row["longitude"]), float(row["latitude"]))
                cells.append((number, *(int(np.floor(place * CELLS_PER_DEGREE)) for place in places)))
    x, y = np.array(vectors, np.float32), np.array(classes) + 1
    _, cell = np.unique(np.array(cells), axis=0, return_inverse=True)
    # Dynamic World calls few points of a class; those with fewer than 20 cannot be both learnt and judged.
    frequent = np.isin(y, np.flatnonzero(np.bincount(y) >= 20))
    title = "AlphaEarth points, Dynamic World classes"
    return Site(
        "alphaearth-points", title, x[frequent], y[frequent], cell.ravel()[frequent], "cells of 0.1 degree", share=1 / 3
    )


def point_files(folder: Path) -> list[Path]:
    """The CSV files of AlphaEarth points in a folder.

    Raises:
        InputError: there are none.
    """
    files = sorted(folder.glob("*.csv"))
    if not files:
        raise InputError(f"{folder} holds no CSV files of AlphaEarth points.")
    return files


def sites(data: str | Path | None, demo_size: int | None = None) -> list[Site]:
    """All sites there are: the demo region, and the real ones where their folder is given.

    Raises:
        InputError: the folder does not hold them.
    """
    found = [demo(demo_size)]
    if data is not None:
        folder = Path(data)
        if not (folder / BELGIUM).is_dir():
            raise InputError(f"{folder} does not hold the folder {BELGIUM}; give the folder with the real data sets.")
        found += [belgium(folder), belgium_medians(folder), alphaearth(folder)]
    return found


def _belgian_fields(data: Path) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.intp], NDArray[np.intp]]:
    from tessera_core.labels.files import patches

    codes = np.load(data / BELGIUM / "labels_ct.npy").astype(np.int32)
    codes[~np.isin(codes, list(MAIZE_AND_GRASS))] = 0
    fields = patches(codes)
    rows, cols = np.nonzero(codes)
    y = 1 + np.searchsorted(sorted(MAIZE_AND_GRASS), codes[rows, cols])
    _, groups = np.unique(fields[rows, cols], return_inverse=True)
    return y.astype(np.int64), groups.astype(np.int64), rows, cols


def _belgian_raster(data: Path) -> EmbeddingRaster:
    from tessera_core.inference.tiles import generate_tiles
    from tessera_core.models.zoo import resolve
    from tessera_core.sources.local.open import open_embeddings

    weights = hashlib.sha256(Path(resolve("studio-nano")).read_bytes()).hexdigest()[:12]
    folder = cache_home() / "bench" / f"belgium-{weights}"
    if not folder.is_dir():
        generate_tiles([data / BELGIUM], "studio-nano", folder)
    return open_embeddings(folder)

"""The holes of a year: what has to be made, made here for exactly that, joined where the two agree, and taken back.

How much the two agree is asked of :mod:`tessera_core.assess.holes`; fetching and embedding are those of every other run. What a
year was before stays where it is, so that its publisher's pixels alone can be had again.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import shutil
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from tessera_core._utils.paths import data_home
from tessera_core._utils.torch_part import require_torch
from tessera_core.areas import pixel_counts
from tessera_core.assess.holes import FILLABLE, LEAST, MARGIN, REFUSED, Filled, boxes_to_make, fill_holes, near_holes
from tessera_core.cells import CELL_PX
from tessera_core.dpixels.acquire import AcquireOptions, Window, acquire
from tessera_core.errors import InputError, ProjectError
from tessera_core.grid import Grid
from tessera_core.hosting import require_embeddings_offer
from tessera_core.periods import days_of
from tessera_core.project.acquire import catalogue_of, disk_bytes, download_bytes
from tessera_core.project.project import Project
from tessera_core.project.room import require_size, size_of
from tessera_core.project.tile_repair import free_folder, noted_path, path_noted, year_name
from tessera_core.provenance import Provenance
from tessera_core.raster import EmbeddingRaster, NoData
from tessera_core.region import Region
from tessera_core.sources.local.open import open_embeddings
from tessera_core.types import Cancel, PixelBox, Progress

if TYPE_CHECKING:
    from tessera_core.models.checkpoint import LoadedEncoder

# Parts of a thousand of the bar for fetching; how long that takes depends on the line and is not known before.
_FETCH_SHARE = 700


@dataclass(frozen=True)
class Lack:
    """What a raster lacks.

    Attributes:
        reasons: pixels that can be filled, by reason.
        refused: pixels that the publisher gave no embedding because they were seen too rarely, or never.
        boxes: what has to be made to fill them, with pixels around them to compare with.
        neighbours: published pixels so near the holes that they are compared.
    """

    reasons: dict[NoData, int]
    refused: int
    boxes: tuple[PixelBox, ...]
    neighbours: int

    @property
    def pixels(self) -> int:
        """That can be filled."""
        return sum(self.reasons.values())

    @property
    def to_make(self) -> int:
        """Pixels of the boxes."""
        return sum((bottom - top) * (right - left) for top, left, bottom, right in self.boxes)

    @property
    def comparable(self) -> bool:
        """Whether enough published pixels lie around the holes to know whether what is made belongs to them."""
        return self.neighbours >= LEAST


@dataclass(frozen=True)
class How:
    """How the pixels of holes are made.

    Attributes:
        weights: a name or a file.
        source: archive of the images, ``"mpc"`` or ``"aws"``.
        device: to compute on; see :class:`~tessera_core.inference.engine.Engine`.
    """

    weights: str
    source: str = "mpc"
    device: str = "auto"


def lacking(raster: EmbeddingRaster, margin: int = MARGIN) -> Lack:
    """What a raster lacks that could be made here.

    Args:
        raster: with or without holes.
        margin: pixels around each hole that are made too.

    Example:
        >>> lacking(raster).boxes  # doctest: +SKIP
        ((0, 12, 80, 92),)
    """
    counts = pixel_counts(np.asarray(raster.nodata_reasons()), len(NoData))
    reasons = {reason: int(counts[reason]) for reason in sorted(FILLABLE) if counts[reason]}
    refused = sum(int(counts[reason]) for reason in REFUSED)
    if not reasons:
        return Lack({}, refused, (), 0)
    near = near_holes(raster, margin) & raster.valid()
    return Lack(reasons, refused, tuple(boxes_to_make(raster, margin)), int(near.sum()))


def fitting_weights(provenance: Provenance) -> tuple[str, str]:
    """Name of the weights that make embeddings of a dataset, and the archive they are made for; empty where none is known.

    Example:
        >>> fitting_weights(Provenance("tessera", "1.1", "dclimate", 128))
        ('v1.1-dclimate', 'aws')
    """
    from tessera_core.models.zoo import OTHERWISE, PUBLISHED, SHIPPED

    if provenance.model == "studio":
        found = [
            Path(name).stem
            for name, sha in SHIPPED.items()
            if provenance.variant and sha.startswith(provenance.variant) and name.startswith("studio-")
        ]
        return (found[0], "mpc") if found else ("", "mpc")
    if provenance.model != "tessera":
        return "", "mpc"
    name = next(
        (f.name for f in PUBLISHED.values() if (f.version, f.variant) == (provenance.version, provenance.variant)), ""
    )
    if provenance.arithmetic == "dclimate" and provenance.variant == "dclimate":
        name = next(iter(OTHERWISE))
    aws = provenance.version == "1.1" and provenance.variant in ("aws", "dclimate")
    return name, "aws" if aws else "mpc"


def cost(raster: EmbeddingRaster, lack: Lack, year: int) -> tuple[int, int]:
    """Guess of the bytes that are fetched to fill the holes of a year, and of those that are kept."""
    window = Window(*days_of(year))
    grids = [_window(raster.grid, box) for box in lack.boxes]
    return sum(download_bytes(grid, window) for grid in grids), sum(disk_bytes(grid, window) for grid in grids)


def make_holes(
    published: EmbeddingRaster,
    how: How,
    progress: Progress,
    cancelled: Cancel,
    *,
    margin: int = MARGIN,
    reasons: Collection[NoData] = FILLABLE,
) -> EmbeddingRaster:
    """Make the pixels of a raster's holes, and those around them, from satellite images: fetch, then embed.

    What was fetched and embedded is kept, so that the same call goes on where it was stopped.

    Args:
        published: with holes, of a calendar year, in a UTM zone.
        how: with which weights and images.
        progress, cancelled: see docs/architecture.md.
        margin: pixels around each hole.
        reasons: that count as holes.

    Returns:
        The pixels that were made, on those of ``published``.

    Raises:
        InputError: nothing is missing, or the embeddings have no year or no place on Earth.
        MixedDatasetsError: the weights make another dataset; nothing was fetched then.
        AcquisitionError: the archive does not answer, or has nothing for this place and time.
        TesseraError: as :func:`tessera_core.inference.tiles.generate_tiles`.
        Cancelled: ``cancelled`` returned true.
    """
    require_embeddings_offer()
    require_torch("Filling holes")
    from tessera_core.inference.tiles import GenerateOptions, generate_tiles
    from tessera_core.models.checkpoint import load_checkpoint

    year, grid = published.provenance.year, published.grid
    if year is None or not grid.georeferenced:
        lacks = "year" if year is None else "place on Earth"
        raise InputError(f"These embeddings have no {lacks}, so nobody knows which images their holes are made of.")
    boxes = boxes_to_make(published, margin, reasons)
    if not boxes:
        raise InputError("Nothing is missing in the published embeddings that could be filled.")
    loaded = load_checkpoint(how.weights).for_data(how.source)
    dim = None if published.dim == loaded.config.output_dim else published.dim
    # Refused before hours of work.
    loaded.provenance(dim).require_same_dataset(published.provenance, "one raster of both")
    pieces = tuple(_pieces(grid, boxes))
    window, home = Window(*days_of(year)), _home(published, loaded, how, pieces)
    tiles = acquire(
        _around([piece for _, piece in pieces]),
        window,
        catalogue_of(how.source),
        home / "tiles",
        AcquireOptions(pieces=pieces),
        progress=lambda done, total, message: progress(
            _FETCH_SHARE * done // max(total, 1), 1000, f"Step 1 of 2, fetching: {message}"
        ),
        cancelled=cancelled,
    ).tiles
    generate_tiles(
        tiles,
        loaded,
        home / "embeddings",
        GenerateOptions(dim=dim, device=how.device),
        progress=lambda done, total, message: progress(
            _FETCH_SHARE + (1000 - _FETCH_SHARE) * done // max(total, 1), 1000, f"Step 2 of 2, embedding: {message}"
        ),
        cancelled=cancelled,
        failed=[],
    )
    return open_embeddings(home / "embeddings", year=year, cancelled=cancelled)


def fill_year(project: Project, year: int | None, how: How, progress: Progress, cancelled: Cancel) -> Filled:
    """Make the holes of a project's year here and let the project use the raster of both, if the two agree.

    The project's setting ``filled`` says what was done; :func:`unfill` takes it back.

    Raises:
        DisagreementError: they do not agree around the holes; the project is as before.
        TesseraError: as :func:`make_holes`.
        Cancelled: ``cancelled`` returned true; what was made is kept.
    """
    before = project.embeddings_path(year)
    published = open_embeddings(before, year=year)
    made = make_holes(published, how, progress, cancelled)
    found = fill_holes(published, made)
    require_size(size_of(project.folder) + published.codes.nbytes + published.scales.nbytes, repr(project.name))
    path = found.save(free_folder(project, f"{year_name(year)}-filled"))
    for name in ("truecolour.png", "pictures"):
        # What satellites saw is not changed by what was computed of it.
        if (before / name).is_dir():
            shutil.copytree(before / name, path / name)
        elif (before / name).is_file():
            shutil.copyfile(before / name, path / name)
    origin = noted_path(project, _published_path(project, year))
    project.attach_embeddings(
        year, path, found.raster.provenance, found.raster.grid, dpixels=project.embeddings[year].dpixels
    )
    noted = {
        "original": origin,
        "sentence": found.sentence,
        "pixels": found.filled,
        "tiles": _tiles_noted(project, year),
    }
    rest = {key: value for key, value in project.settings.repaired_tiles.items() if key != year_name(year)}
    # What is masked or levelled from now on begins with the raster of both.
    project.update(filled={**project.settings.filled, year_name(year): noted}, repaired_tiles=rest)
    return found


def filled_sentence(project: Project, year: int | None) -> str:
    """What was filled in a year of a project, for people; empty where nothing was."""
    return str(_noted(project, year).get("sentence", ""))


def unfill(project: Project, year: int | None) -> None:
    """Let a project use a year as it was before its holes were filled.

    Raises:
        ProjectError: that is not on this computer.
    """
    if not _noted(project, year):
        return
    path = _published_path(project, year)
    raster = open_embeddings(path, year=year)
    project.attach_embeddings(year, path, raster.provenance, raster.grid, dpixels=project.embeddings[year].dpixels)
    tiles = {key: value for key, value in project.settings.repaired_tiles.items() if key != year_name(year)}
    if isinstance(before := _noted(project, year).get("tiles"), dict) and before:
        tiles[year_name(year)] = before
    project.update(
        filled={key: value for key, value in project.settings.filled.items() if key != year_name(year)},
        repaired_tiles=tiles,
    )


# ------------------------------------------------------------------ inner


def _window(grid: Grid, box: PixelBox) -> Grid:
    top, left, bottom, right = box
    return grid.window(top, left, bottom - top, right - left)


def _pieces(grid: Grid, boxes: Collection[PixelBox]) -> list[tuple[str, Grid]]:
    """Boxes cut to the size of a cell, each named after where it lies."""
    found = []
    for top, left, bottom, right in boxes:
        for y0, x0 in itertools.product(range(top, bottom, CELL_PX), range(left, right, CELL_PX)):
            y1, x1 = min(y0 + CELL_PX, bottom), min(x0 + CELL_PX, right)
            found.append((f"{x0}_{y0}_{x1}_{y1}", _window(grid, (y0, x0, y1, x1))))
    return found


def _around(grids: Collection[Grid]) -> Region:
    """A region that holds every pixel of some grids."""
    import shapely

    return Region.of_shape(shapely.union_all([shapely.box(*grid.bounds_lonlat) for grid in grids]), "holes")


def _home(published: EmbeddingRaster, loaded: LoadedEncoder, how: How, pieces: Collection[tuple[str, Grid]]) -> Path:
    """Where what is made for these holes is kept; the same holes and weights find it again."""
    facts: list[object] = [
        published.grid.to_json(),
        published.provenance.dataset,
        published.provenance.year,
        published.dim,
    ]
    facts += [loaded.sha256, how.source, [name for name, _ in pieces]]
    return data_home() / "holes" / hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()[:16]


def _noted(project: Project, year: int | None) -> dict[str, object]:
    noted = project.settings.filled.get(year_name(year))
    return dict(noted) if isinstance(noted, dict) else {}


def _tiles_noted(project: Project, year: int | None) -> dict[str, object]:
    if isinstance(before := _noted(project, year).get("tiles"), dict):
        return before
    noted = project.settings.repaired_tiles.get(year_name(year))
    return dict(noted) if isinstance(noted, dict) else {}


def _published_path(project: Project, year: int | None) -> Path:
    """What the year was before its first filling."""
    noted = _noted(project, year).get("original")
    if not isinstance(noted, str):
        return project.embeddings_path(year)
    if (path := path_noted(project, noted)) is None:
        raise ProjectError(
            f"What was published of {year_name(year)} is not on this computer without the pixels made here: the project came from "
            "another one. Load the place anew to have it."
        )
    return path

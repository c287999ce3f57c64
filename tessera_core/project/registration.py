"""Years of projects that lie half a pixel off, as earlier versions read the publisher's repository before its repair: put right.

Nothing is fetched: the pixels are the right ones, and only where they are said to lie is changed. Caches have their own way
(:mod:`tessera_core.sources.remote.cache_overlap`).
"""

from __future__ import annotations

import json
from pathlib import Path

from affine import Affine

from tessera_core._utils.atomic import write_json
from tessera_core.errors import ProjectError, TesseraError
from tessera_core.grid import Grid
from tessera_core.project.project import Project
from tessera_core.project.references import EmbeddingRef
from tessera_core.raster import EmbeddingRaster
from tessera_core.sources.remote.hemispheres import is_repository

HEADER = "raster.json"
SENTENCE = (
    "These embeddings were put half a pixel (5 m) to the north-west, where they belong: until September 2026 the publisher's store "
    "told their place wrongly. No number of theirs changed."
)
NOTE = "moved by half a pixel to the north-west, without fetching again"


def shifted_years(project: Project) -> list[int | None]:
    """Years of a project that lie half a pixel to the south-east of the publisher's pixels.

    Repositories have the corners of their pixels at whole multiples of a pixel. What was read
    before their repair names no snapshot.
    """
    return [year for year, ref in project.embeddings.items() if _is_shifted(ref)]


def register_years(project: Project) -> list[int | None]:
    """Put the years right that :func:`shifted_years` names and that lie in the project's own folder; which they were.

    Labels stay where people saw them on the ground.

    Raises:
        ProjectError: a raster's header cannot be read or written.
    """
    home, moved = (project.folder / "data").resolve(), []
    for year in shifted_years(project):
        ref = project.embeddings[year]
        if not ref.path.resolve().is_relative_to(home) or not (ref.path / HEADER).is_file():
            continue
        for folder in _same_pixels(project, ref.path):
            _move(folder)
        raster = EmbeddingRaster.open(ref.path)
        project.attach_embeddings(year, ref.path, raster.provenance, raster.grid, dpixels=ref.dpixels)
        moved.append(year)
    return moved


def _is_shifted(ref: EmbeddingRef) -> bool:
    details = ref.provenance.details
    return is_repository(str(details.get("store", ""))) and "snapshot" not in details and _half_off(ref.grid)


def _half_off(grid: Grid) -> bool:
    t = grid.transform
    return grid.georeferenced and all(abs(value / t.a % 1 - 0.5) < 1e-6 for value in (t.c, t.f))


def _same_pixels(project: Project, path: Path) -> list[Path]:
    """The year's raster and those in the project's folder that it was made of: masked, levelled or filled."""
    others = [
        folder
        for folder in sorted((project.folder / "data").iterdir())
        if folder != path
        and folder.name.partition("-")[0] == path.name.partition("-")[0]
        and (folder / HEADER).is_file()
    ]
    return [path, *others]


def _move(folder: Path) -> None:
    try:
        header = json.loads((folder / HEADER).read_text(encoding="utf-8"))
        grid = Grid.from_json(header["grid"])
        if not _half_off(grid):
            return
        t, half = grid.transform, grid.transform.a / 2
        right = Grid(grid.crs, Affine(t.a, t.b, t.c - half, t.d, t.e, t.f + half), grid.shape)
        stamp = header["provenance"]
        details = stamp.get("details") or {}
        told = details.get("notes")
        notes = [*(told if isinstance(told, list) else []), SENTENCE]
        stamp["details"] = {**details, "registration": NOTE, "notes": notes}
        write_json(folder / HEADER, header | {"grid": right.to_json(), "provenance": stamp})
    except (OSError, ValueError, KeyError, TypeError, AttributeError, TesseraError) as error:
        raise ProjectError(f"{folder.name} could not be put right by half a pixel: {error}") from error

"""Bad tiles masked and steps between tiles levelled in a project, so that both can be taken back: what was read is kept.

The finding and the arithmetic are in :mod:`tessera_core.sources.quality.tiles` and ``mend``; this module says which raster a
project's year uses. Refuses to know how any of it is shown.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tessera_core._utils.atomic import make_place
from tessera_core.assess.holes import keep_origin
from tessera_core.errors import ProjectError
from tessera_core.project.project import Project
from tessera_core.raster import EmbeddingRaster
from tessera_core.sources.local.open import open_embeddings
from tessera_core.sources.quality.repair import correct_seams, mask_tiles, tile_offsets
from tessera_core.sources.quality.tiles import EdgeReport, QualityReport, check_quality
from tessera_core.types import Cancel, Progress


@dataclass(frozen=True)
class SeamCorrection:
    """A levelled raster that waits for a decision.

    Attributes:
        folder: where it lies.
        before, after: inspections of the two.
        pictures: before and after, uint8 (H, W, 3) each, in the same colours.
        valid: bool (H, W).
    """

    folder: Path
    before: QualityReport
    after: QualityReport
    pictures: tuple[NDArray[np.uint8], NDArray[np.uint8]]
    valid: NDArray[np.bool_]

    @property
    def steps(self) -> tuple[float, float]:
        """Median step across the edges that were seams, before and after, in units of the usual (1 = like anywhere)."""
        seams = {(edge.first, edge.second) for edge in self.before.seams}
        return _median_step(self.before.edges, seams), _median_step(self.after.edges, seams)


def _median_step(edges: Iterable[EdgeReport], wanted: set[tuple[str, str]]) -> float:
    steps = [edge.step for edge in edges if (edge.first, edge.second) in wanted]
    return float(np.median(steps)) if steps else float("nan")


def masked(project: Project, year: int | None) -> tuple[str, ...]:
    """Names of the tiles that the project's year does without."""
    return tuple(_noted(project, year).get("masked", ()))


def seams_corrected(project: Project, year: int | None) -> bool:
    """Whether the project's year has its steps between tiles levelled."""
    return bool(_noted(project, year).get("levelled", False))


def mask(project: Project, year: int | None, names: Iterable[str]) -> None:
    """Let a year of a project do without exactly these tiles; none brings all of them back. Levelling is undone.

    Raises:
        ExportError: it cannot be written.
        ProjectError: what was read is not on this computer.
        RasterError: the embeddings cannot be read.
    """
    wanted = sorted(set(names))
    original = _original(project, year)
    if not wanted:
        _use(project, year, original, {})
        return
    source = _own_layout(project, original, year)
    # As it was saved: what its reader warns of now may be masked in a moment.
    made = mask_tiles(EmbeddingRaster.open(source), source, wanted, free_folder(project, f"{year_name(year)}-masked"))
    keep_origin(source, made)
    _use(project, year, made, {"masked": wanted, "original": noted_path(project, original)})


def try_seam_correction(
    project: Project, year: int | None, progress: Progress, cancelled: Cancel, seed: int = 0
) -> SeamCorrection:
    """A year with its steps between tiles levelled, for a look; the project does not use it yet.

    Raises:
        ExportError: it cannot be written.
        Cancelled: ``cancelled`` returned true.
    """
    from tessera_core.analysis.pca import fit_pca
    from tessera_core.render.picture import pca_picture

    raster = EmbeddingRaster.open(_own_layout(project, project.embeddings_path(year), year))

    def part(start: int, name: str) -> Progress:
        return lambda done, total, _: progress(start + 30 * done // max(total, 1), 100, name)

    before = check_quality(raster, progress=part(0, "Measuring the steps"), cancelled=cancelled)
    folder = free_folder(project, f"{year_name(year)}-levelled")
    after_raster = correct_seams(
        raster, tile_offsets(before), folder, progress=part(30, "Levelling"), cancelled=cancelled
    )
    after = check_quality(after_raster, progress=part(60, "Measuring again"), cancelled=cancelled)
    pca = fit_pca(raster, 3, seed)
    pictures = (pca_picture(raster, seed, pca), pca_picture(after_raster, seed, pca))
    progress(100, 100, "Ready")
    return SeamCorrection(folder, before, after, pictures, np.asarray(raster.valid()))


def keep_seam_correction(project: Project, year: int | None, made: SeamCorrection) -> None:
    """Let the project's year use a levelled raster; tiles masked before stay masked."""
    original = _original(project, year)
    keep_origin(original, made.folder)
    _use(
        project,
        year,
        made.folder,
        {**_noted(project, year), "levelled": True, "original": noted_path(project, original)},
    )


def drop_seam_correction(made: SeamCorrection) -> None:
    """Delete a levelled raster that nobody wants."""
    shutil.rmtree(made.folder, ignore_errors=True)


def restore(project: Project, year: int | None) -> None:
    """Use what was read, with all tiles and as published."""
    _use(project, year, _original(project, year), {})


# ------------------------------------------------------------------ inner


def _noted(project: Project, year: int | None) -> dict[str, Any]:
    noted = project.settings.repaired_tiles.get(year_name(year))
    return dict(noted) if isinstance(noted, dict) else {}


def year_name(year: int | None) -> str:
    """How folders and settings call a year."""
    return "undated" if year is None else str(year)


def _original(project: Project, year: int | None) -> Path:
    """What was read, before anything was mended.

    Raises:
        ProjectError: it is not on this computer.
    """
    noted = _noted(project, year).get("original")
    if not isinstance(noted, str):
        return project.embeddings_path(year)
    if (path := path_noted(project, noted)) is None:
        raise ProjectError(
            f"The tiles of {project.name!r} as they were published are not on this computer: the project came from another "
            "one with tiles masked or levelled. Load the place anew to have them all."
        )
    return path


def path_noted(project: Project, noted: str) -> Path | None:
    """The path that a project keeps as ``noted``; None where it may not be opened from here, or is not there."""
    path = project.folder / noted
    return path if project.may_open(noted) and path.exists() else None


def noted_path(project: Project, path: Path) -> str:
    """A path as a project keeps it: relative to its folder where it lies in it, so that both can be moved."""
    home = project.folder.resolve()
    return str(path.resolve().relative_to(home)) if path.resolve().is_relative_to(home) else str(path.resolve())


def _own_layout(project: Project, path: Path, year: int | None) -> Path:
    """The raster as a folder of our own layout, which masking can link to."""
    if (path / "codes.npy").is_file() and (path / "raster.json").is_file():
        return path
    copy = project.folder / "data" / f"{year_name(year)}-copy"
    return copy if (copy / "raster.json").is_file() else open_embeddings(path).save(copy)


def free_folder(project: Project, name: str) -> Path:
    """A new folder of a project's data each time: the old one may be open on someone's screen."""
    home = project.folder / "data"
    make_place(home)
    number = 1
    while (target := home / f"{name}-{number}").exists():
        number += 1
    return target


def _use(project: Project, year: int | None, path: Path, noted: dict[str, Any]) -> None:
    reference = project.embeddings[year]
    raster: EmbeddingRaster = open_embeddings(path)
    project.attach_embeddings(year, path, raster.provenance, raster.grid, dpixels=reference.dpixels)
    rest = {key: value for key, value in project.settings.repaired_tiles.items() if key != year_name(year)}
    project.update(repaired_tiles=rest | ({year_name(year): noted} if noted else {}))
    # What the year used until now was made here and can be made again.
    home = (project.folder / "data").resolve()
    if reference.path != path.resolve() and reference.path.parent == home and _made_here(reference.path.name):
        shutil.rmtree(reference.path, ignore_errors=True)


def _made_here(name: str) -> bool:
    return "-masked-" in name or "-levelled-" in name

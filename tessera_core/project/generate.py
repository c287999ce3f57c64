"""From d-pixel tiles, or a region still to be fetched, to a project: what is there, what it will cost, and the run itself.

Results lie in a folder named after what they are made of, so the same run goes on where an earlier one stopped. Where embeddings
of the same dataset, place and year exist, the run ends with a comparison. Knows tiles, the engine and projects; refuses to know
how they are shown.
"""

from __future__ import annotations

import hashlib
import logging
import shutil
from collections import defaultdict
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from tessera_core._utils.partial import Failure
from tessera_core._utils.paths import data_home
from tessera_core._utils.torch_part import has_torch, require_torch
from tessera_core.dpixels.remarks import remarks
from tessera_core.dpixels.tile import DPixelTile, Observations, find_tiles
from tessera_core.errors import Cancelled, InputError, MixedDatasetsError, TesseraError, TileError
from tessera_core.grid import Grid
from tessera_core.hosting import require_embeddings_offer
from tessera_core.periods import written
from tessera_core.project import library
from tessera_core.project.acquire import Request, fetch
from tessera_core.project.folders import safe_name
from tessera_core.project.load import request_of as asked_of
from tessera_core.project.project import Project
from tessera_core.raster import EmbeddingRaster
from tessera_core.region import Region
from tessera_core.types import Cancel, Progress

if TYPE_CHECKING:
    from tessera_core.inference.calibration import RunTimeEstimate
    from tessera_core.models.checkpoint import LoadedEncoder
    from tessera_core.project.demo import DemoRegion

log = logging.getLogger(__name__)

# Tiles looked at to learn how often a pixel was seen; the others of a region are alike.
_LOOKED_AT = 3
_TOLD = 8
# Parts of a thousand of the bar for fetching; how long that takes depends on the line and is not known before.
_FETCH_SHARE = 700

# In a project's region: what was fetched as images to make it.
MADE = "made"

Rasters = dict[int | None, EmbeddingRaster]


@dataclass(frozen=True)
class TileSet:
    """The d-pixel tiles of a folder.

    Attributes:
        name: of the folder.
        folders: of the tiles, sorted by name.
        tiles: opened, memory-mapped, in the same order.
        reference: folder of embeddings that came with the tiles, to compare with, or None.
        damaged: tiles of the folder that cannot be read and are left out.
    """

    name: str
    folders: tuple[Path, ...]
    tiles: tuple[DPixelTile, ...]
    reference: Path | None = None
    damaged: tuple[Failure, ...] = ()

    @property
    def pixels(self) -> int:
        """Pixels in all."""
        return sum(tile.shape[0] * tile.shape[1] for tile in self.tiles)

    @property
    def years(self) -> list[int | None]:
        """The years observed, ascending; None for tiles that do not say."""
        return sorted({tile.year for tile in self.tiles}, key=lambda year: 0 if year is None else year)


@dataclass(frozen=True)
class GeneratePlan:
    """A run before it starts.

    Attributes:
        loaded: the encoder.
        estimate: what the run will cost.
        notes: sentences for people about the weights and what they are used on.
        reference: published embeddings to compare with, by year; empty where the person gave none.
        datasets: names of the datasets that the embeddings will be of, one for each archive among the tiles.
    """

    loaded: LoadedEncoder
    estimate: RunTimeEstimate
    notes: tuple[str, ...]
    reference: Rasters = field(default_factory=dict)
    datasets: tuple[str, ...] = ()


def open_tiles(path: Path) -> TileSet:
    """The tiles at or below a path; of many, those that are incomplete or inconsistent are left out and named.

    Raises:
        TileError: there is none, or none is whole.
    """
    whole: dict[Path, DPixelTile] = {}
    problems: list[tuple[Path, TileError]] = []
    for folder in find_tiles(path):
        try:
            whole[folder] = DPixelTile.open(folder)
        except TileError as error:
            problems.append((folder, error))
    if not whole:
        raise problems[0][1]
    damaged = tuple(Failure(folder.name, str(error)) for folder, error in problems)
    return TileSet(path.name or "tiles", tuple(whole), tuple(whole.values()), damaged=damaged)


def demo_tiles(demo: DemoRegion) -> TileSet:
    """The tiles of the demo region, with the embeddings it came with as reference."""
    folders = tuple(path for _, path in sorted(demo.dpixels.items()))
    return TileSet(library.DEMO_NAME, folders, tuple(map(DPixelTile.open, folders)), demo.root / "embeddings")


def has_graphics_card() -> bool:
    """Whether torch can compute on an NVIDIA card here."""
    # Importing torch takes seconds, and on a computer without NVIDIA's tools the answer is known.
    if shutil.which("nvidia-smi") is None or not has_torch():
        return False
    import torch

    return torch.cuda.is_available()


def plan(
    what: TileSet | Request,
    weights: str,
    dim: int | None,
    device: str,
    progress: Progress,
    cancelled: Cancel,
    *,
    reference: str = "",
) -> GeneratePlan:
    """Load the weights (fetched first where needed) and measure for a second or two how long the embedding will take.

    Args:
        what: tiles, or what is still to be fetched (then the number of observations is a guess).
        weights: a name or a file.
        dim, device: as for :func:`make_project`.
        progress, cancelled: of a job.
        reference: path of published embeddings that the result will be compared with; empty for none.

    Raises:
        TesseraError: whoever runs the app does not offer it.
        CheckpointError: the weights are not usable, or cannot be fetched.
        InputError: the model cannot run on the device, or ``reference`` cannot be compared with the result.
        TileError: there is not one valid observation in the tiles.
        Cancelled: ``cancelled`` returned true.
    """
    require_embeddings_offer()
    require_torch("Generating embeddings")
    from tessera_core.inference.calibration import estimate
    from tessera_core.models.checkpoint import load_checkpoint

    def step(number: int, message: str) -> None:
        if cancelled():
            raise Cancelled
        progress(number, 3, message)

    def fetching(done: int, total: int, message: str) -> None:
        if cancelled():
            raise Cancelled
        progress(done, total, message)

    step(0, "Loading the model")
    loaded = load_checkpoint(weights, progress=fetching)
    step(1, "Counting observations")
    if isinstance(what, Request):
        sources, width, seen = [what.source], what.grid.width, what.observations
        years: list[int | None] = [what.period]
    else:
        sources = [name for name in ("aws", "mpc") if any(tile.meta.get("source") == name for tile in what.tiles)]
        width, seen = max(tile.shape[1] for tile in what.tiles), _seen(what)
        years = what.years
    prepared = [loaded.for_data(source) for source in sources] or [loaded]
    notes = list(dict.fromkeys(note for one in prepared for note in one.notes))
    if isinstance(what, TileSet):
        notes += _remarks(what, cancelled)
    rasters = _read_reference(reference, prepared[0], dim, years, notes) if reference.strip() else {}
    step(2, "Measuring this computer")
    cost = estimate((max(1, what.pixels // width), width), seen, loaded, device=device, dim=dim)
    datasets = dict.fromkeys(one.provenance(dim).dataset for one in prepared)
    return GeneratePlan(loaded, cost, tuple(notes), rasters, tuple(datasets))


def _remarks(tiles: TileSet, cancelled: Cancel) -> list[str]:
    """What is odd about the images, the tiles named where there are several."""
    said: dict[str, list[str]] = defaultdict(list)
    for tile in tiles.tiles:
        if cancelled():
            raise Cancelled
        for sentence in remarks(tile):
            said[sentence].append(tile.name)
    told = [sentence if len(tiles.tiles) == 1 else f"{_some(names)}: {sentence}" for sentence, names in said.items()]
    return told if len(told) <= _TOLD else [*told[:_TOLD], f"There are {len(told) - _TOLD} more remarks of this kind."]


def _some(names: list[str]) -> str:
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")


def _seen(tiles: TileSet) -> tuple[float, float]:
    counts: list[Observations] = []
    problems: list[TileError] = []
    for tile in tiles.tiles:
        try:
            counts.append(tile.require_observations())
        except TileError as error:
            problems.append(error)
        if len(counts) == _LOOKED_AT:
            break
    if not counts:
        raise problems[0]
    return float(np.mean([count.s2.mean() for count in counts])), float(np.mean([count.s1.mean() for count in counts]))


def _read_reference(
    path: str, loaded: LoadedEncoder, dim: int | None, years: list[int | None], notes: list[str]
) -> Rasters:
    """What a person gave to compare with, refused now rather than after hours of work."""
    wanted = loaded.provenance(dim)
    found = library.identify(path)
    if found.project is not None:
        raise InputError(f"{found.name} is a project; give the folder or file of its embeddings to compare with.")
    notes += [f"To compare with, {failure.what} is left out: {failure.why}" for failure in found.failed]
    rasters: Rasters = {}
    for year, _, raster in found.rasters:
        if raster.provenance.model == "unknown" and raster.dim == wanted.dim:
            notes.append(
                f"The embeddings to compare with do not name their model; they are taken for {wanted.dataset}."
            )
            raster = replace(raster, provenance=replace(wanted, year=year, source=raster.provenance.source))
        if not wanted.same_weights(raster.provenance):
            wanted.require_same_dataset(raster.provenance, "a comparison")
        rasters[year] = raster
    if not any(_of_year(rasters, year) is not None for year in years):
        known = ", ".join(str(year) for year in rasters)
        raise InputError(f"The embeddings to compare with are of {known}, but these images are of other years.")
    return rasters


def _of_year(rasters: Rasters, year: int | None) -> EmbeddingRaster | None:
    """The raster of a year; one that does not tell its year is taken for any."""
    return rasters.get(year, rasters.get(None))


def run(
    what: TileSet | Request,
    plan: GeneratePlan,
    dim: int | None,
    device: str,
    progress: Progress,
    cancelled: Cancel,
    into: Project | None = None,
) -> Project:
    """Fetch what is not there yet, embed it, make a project (or put it ``into`` one) and compare it with published embeddings.

    What could not be fetched stands in the project's setting ``missing`` (sentences), comparisons in ``agreement`` (a list of
    JSON objects of :class:`~tessera_core.assess.agreement.Agreement` with ``year`` and ``sentence``).

    Raises:
        AcquisitionError: the archive does not answer, or has nothing for this place and time.
        TesseraError: what :func:`make_project` raises. What was finished is kept, and the same run goes on.
    """
    require_embeddings_offer()
    missing: list[str] = []
    embedding = progress
    if isinstance(what, Request):
        report = fetch(
            what,
            lambda done, total, message: progress(
                _FETCH_SHARE * done // max(total, 1), 1000, f"Step 1 of 2, fetching: {message}"
            ),
            cancelled,
        )
        missing = report.missing
        tiles = TileSet(what.name, tuple(report.tiles), tuple(DPixelTile.open(folder) for folder in report.tiles))

        def embedding(done: int, total: int, message: str) -> None:
            here = _FETCH_SHARE + (1000 - _FETCH_SHARE) * done // max(total, 1)
            progress(here, 1000, f"Step 2 of 2: {message}")
    else:
        tiles = what
    failed: list[Failure] = []
    project = make_project(tiles, plan.loaded, dim, device, embedding, cancelled, failed, into)
    missing += [failure.why for failure in failed]
    if tiles.reference is not None and into is None:
        # Beside the demo itself in the list of projects, this one is known by its model.
        project.update(name=f"{tiles.name}, {plan.loaded.name}")
    compared = _compare(project, [year for year in tiles.years if year in project.embeddings], plan, tiles, cancelled)
    if into is None:
        if isinstance(what, Request):
            project.update(region=made_of(what))
        project.update(missing=missing or None, agreement=compared or None)
        return project
    # What is known of the other years stays.
    known = project.settings.to_json()
    years = {written(found["year"]) for found in compared}
    kept = [found for found in known.get("agreement", []) if found.get("year") not in years]
    project.update(missing=[*known.get("missing", []), *missing] or None, agreement=[*kept, *compared] or None)
    return project


def made_of(request: Request) -> dict[str, Any]:
    """What a project's :attr:`~tessera_core.project.project.Project.region` says of a region that was fetched as images."""
    from shapely.geometry import mapping

    return {MADE: {"name": request.region.name, "geometry": mapping(request.region.geometry)}}


def region_of(project: Project) -> Region | None:
    """The region that a project was made or loaded of, so that another time of it has the very same pixels; None if unknown."""
    from shapely import GEOSException
    from shapely.geometry import shape

    made = project.region.get(MADE)
    try:
        if isinstance(made, dict):
            return Region(shape(made["geometry"]), str(made.get("name", project.name)))
        asked = asked_of(project)
        return None if asked is None else asked.region
    except (TesseraError, GEOSException, KeyError, TypeError, ValueError, AttributeError):
        return None


def fits_into(project: Project, what: TileSet | Request, plan: GeneratePlan) -> bool:
    """Whether what will be made may lie beside a project's years: its dataset and coordinates, and times that are not there yet."""
    years = [what.period] if isinstance(what, Request) else what.years
    if not project.embeddings or plan.datasets != (project.dataset,) or set(years) & set(project.embeddings):
        return False
    grid = what.grid if isinstance(what, Request) else what.tiles[0].grid
    known = project.grid
    return known is not None and known.georeferenced and known.crs == grid.crs and _overlap(known, grid)


def _compare(
    project: Project, years: list[int | None], plan: GeneratePlan, tiles: TileSet, cancelled: Cancel
) -> list[dict[str, Any]]:
    """Comparisons with what the person gave, else with what is known here; a failed one is said, and the result kept."""
    from tessera_core.assess.agreement import compare
    from tessera_core.sources.local.open import open_embeddings

    said: list[dict[str, Any]] = []
    for year in years:
        made = open_embeddings(project.embeddings_path(year), year=year)
        others, published = "the published ones", _of_year(plan.reference, year)
        if published is None and tiles.reference is not None and (tiles.reference / str(year)).is_dir():
            others, published = "those the demo region came with", EmbeddingRaster.open(tiles.reference / str(year))
        if published is None:
            published = _known_published(made)
        if published is None:
            continue
        try:
            agreement = compare(made, published, cancelled=cancelled)
        except MixedDatasetsError:
            continue  # the demo's own embeddings, and the person tries another model
        except Cancelled:
            break  # the embeddings are whole; only the comparison was stopped
        except TesseraError as error:
            said.append({"year": year, "sentence": str(error)})
            continue
        said.append({"year": year, "sentence": agreement.sentence(others), **agreement.to_json()})
    return said


def _known_published(made: EmbeddingRaster) -> EmbeddingRaster | None:
    """Published embeddings of the same weights, year and place that some project of this computer refers to."""
    from tessera_core.sources.local.open import open_embeddings

    if not made.grid.georeferenced:
        return None
    refs = []
    for entry in library.recent():
        try:
            for ref in Project.open(entry.folder).embeddings.values():
                own = ref.provenance.source in ("generated", "demo")
                same = made.provenance.same_weights(ref.provenance) and ref.year == made.provenance.year
                if same and not own and _overlap(made.grid, ref.grid):
                    refs.append(ref)
        except TesseraError as error:
            log.info("%s cannot be compared with: %s", entry.name, error)
    # Of the same arithmetic rather than of the other.
    refs.sort(key=lambda ref: ref.provenance.dataset != made.provenance.dataset)
    for ref in refs:
        try:
            return open_embeddings(ref.path, year=ref.year)
        except TesseraError as error:
            log.info("%s cannot be compared with: %s", ref.path, error)
    return None


def _overlap(first: Grid, second: Grid) -> bool:
    if not second.georeferenced:
        return False
    a, b = first.bounds_lonlat, second.bounds_lonlat
    return a[0] < b[2] and b[0] < a[2] and a[1] < b[3] and b[1] < a[3]


def make_project(
    tiles: TileSet,
    loaded: LoadedEncoder,
    dim: int | None,
    device: str,
    progress: Progress,
    cancelled: Cancel,
    failed: list[Failure] | None = None,
    into: Project | None = None,
) -> Project:
    """Embed the tiles, a raster per year, and make a project of them.

    Args:
        into: a project that the years are put into instead.
        failed: takes the tiles without one valid observation, of which no embeddings are made; without it they are an error.

    Raises:
        TesseraError: what :func:`tessera_core.inference.tiles.generate_tiles` raises; finished blocks are kept.
    """
    require_torch("Generating embeddings")
    from tessera_core.inference.tiles import GenerateOptions, generate_tiles
    from tessera_core.sources.local.open import open_embeddings

    by_year: dict[int | None, list[Path]] = defaultdict(list)
    pixels: dict[int | None, int] = defaultdict(int)
    for folder, tile in zip(tiles.folders, tiles.tiles, strict=True):
        by_year[tile.year].append(folder)
        pixels[tile.year] += tile.shape[0] * tile.shape[1]
    out, options = result_folder(tiles, loaded, dim), GenerateOptions(dim=dim, device=device)
    before, rasters = 0, []
    for year in tiles.years:
        place = out / (str(year) if year is not None else "all")

        def shifted(done: int, total: int, message: str, before: int = before, year: int | None = year) -> None:
            label = f"Embedding {year}" if year is not None else "Embedding"
            progress(before + done, tiles.pixels, f"{label}, {message}" if message else label)

        generate_tiles(by_year[year], loaded, place, options, progress=shifted, cancelled=cancelled, failed=failed)
        rasters.append((year, place, open_embeddings(place, year=year)))
        before += pixels[year]
    project = Project.new(tiles.name) if into is None else into
    for year, place, raster in rasters:
        own = by_year[year][0] if len(by_year[year]) == 1 else None
        project.attach_embeddings(year, place, raster.provenance, raster.grid, dpixels=own)
    return project


def result_folder(tiles: TileSet, loaded: LoadedEncoder, dim: int | None) -> Path:
    """Where the results of these tiles with these weights lie."""
    parts = [*(str(folder.resolve()) for folder in tiles.folders), loaded.sha256, str(dim)]
    digest = hashlib.sha256("\n".join(parts).encode()).hexdigest()[:10]
    return data_home() / "embeddings" / f"{safe_name(tiles.name)}-{loaded.name}-{digest}"

"""The demo region: a simulated landscape with its time series, embeddings and ground truth, made here and kept.

Owns what the demo is (size, years, classes) and its folder::

    demo.json                what it was made of; a folder made of something else is never mixed with
    dpixels/<year>/          d-pixel tile
    embeddings/<year>/       embedding raster in our own layout
    truth/<year>.tif         ground truth, class ids of DEMO_CLASSES

Each part appears when it is whole, so an interrupted run goes on where it stopped. The embeddings of one year are shipped
(:mod:`tessera_core.project.demo_start`): with them :func:`take_start` opens the region at once, and the rest is made meanwhile.
"""

from __future__ import annotations

import functools
import hashlib
import json
import shutil
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from tessera_core._utils.atomic import make_place, write_json
from tessera_core._utils.locks import alone
from tessera_core._utils.paths import cache_home
from tessera_core._utils.torch_part import require_torch
from tessera_core.dpixels.simulate.classes import CLASS_TABLE
from tessera_core.errors import InputError
from tessera_core.labels.model import LabelClass
from tessera_core.provenance import Provenance
from tessera_core.types import Cancel, Progress

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from tessera_core.grid import Grid
    from tessera_core.models.checkpoint import LoadedEncoder

FORMAT = "tessera-demo/1"
DEMO_SIZE = 320  # two years simulate and embed in well under 90 s on two cores
DEMO_YEARS = (2023, 2024)
DEMO_WEIGHTS = "studio-nano"
DEMO_CLASSES = tuple(LabelClass(i, name, color) for i, (_, name, color) in enumerate(CLASS_TABLE, start=1))
"""Classes of the ground truth, ids 1 to 11."""

_SIMULATE_SHARE = 8  # of a hundred parts of a year's work; embedding is the rest


@dataclass(frozen=True)
class DemoRegion:
    """Where the parts of a demo region lie, by year.

    Attributes:
        root: its folder.
        size: pixels along each side.
        seed: of the landscape.
        dpixels: year -> d-pixel tile.
        embeddings: year -> embedding raster, own layout.
        truth: year -> class GeoTIFF, uint8 ids of :data:`DEMO_CLASSES`.
    """

    root: Path
    size: int
    seed: int
    dpixels: dict[int, Path]
    embeddings: dict[int, Path]
    truth: dict[int, Path]

    @classmethod
    def at(cls, root: Path, size: int, seed: int, years: Sequence[int]) -> DemoRegion:
        """The paths under ``root``, whether the parts exist yet or not."""
        return cls(
            root,
            size,
            seed,
            {year: root / "dpixels" / str(year) for year in years},
            {year: root / "embeddings" / str(year) for year in years},
            {year: root / "truth" / f"{year}.tif" for year in years},
        )

    @property
    def complete(self) -> bool:
        """Whether every part is there."""
        return all(path.exists() for parts in (self.dpixels, self.embeddings, self.truth) for path in parts.values())

    @property
    def ready(self) -> dict[int, Path]:
        """The embeddings that are there already, by year."""
        return {year: path for year, path in sorted(self.embeddings.items()) if path.exists()}


def ensure_demo(
    cache_dir: str | Path | None = None,
    size: int = DEMO_SIZE,
    years: Sequence[int] = DEMO_YEARS,
    seed: int = 0,
    progress: Progress | None = None,
    cancelled: Cancel | None = None,
) -> DemoRegion:
    """The demo region from the cache, made first where it is not there.

    The cache is named after what the region is made of (simulator, weights), so a new version makes its own.

    Args:
        cache_dir: default ``cache_home() / "demo"``.
        size, years, seed: of the landscape; see :func:`~tessera_core.dpixels.simulate.world.make_world`.
        progress: ``(done, total, message)``.
        cancelled: asked often; what is finished is kept.

    Raises:
        InputError: size or years are not possible.
        CheckpointError: the weights are not there.
        Cancelled: ``cancelled`` returned true.
        ExportError: the cache cannot be written.
    """
    root, recipe = _cache_place(cache_dir, size, seed)
    return _make(root, recipe, years, DEMO_WEIGHTS, progress, cancelled)


def cached_demo(
    cache_dir: str | Path | None = None, size: int = DEMO_SIZE, years: Sequence[int] = DEMO_YEARS, seed: int = 0
) -> DemoRegion | None:
    """What :func:`ensure_demo` would return at once, or None where it would have to make something.

    Raises:
        CheckpointError: the weights are not there.
        InputError: the cache holds something else.
    """
    region = started_demo(cache_dir, size, years, seed)
    return region if region is not None and region.complete else None


def started_demo(
    cache_dir: str | Path | None = None, size: int = DEMO_SIZE, years: Sequence[int] = DEMO_YEARS, seed: int = 0
) -> DemoRegion | None:
    """The demo region of the cache, whole or in part; None where nothing of it is there.

    Raises:
        CheckpointError: the weights are not there.
        InputError: the cache holds something else.
    """
    root, recipe = _cache_place(cache_dir, size, seed)
    region = DemoRegion.at(root, size, seed, tuple(sorted(set(years))))
    return region if _claim(root, recipe) and region.ready else None


def opens_at_once(size: int = DEMO_SIZE, seed: int = 0) -> bool:
    """Whether a year of the demo region is at hand, in the cache or shipped."""
    from tessera_core.project.demo_start import start_year

    root, recipe = _cache_place(None, size, seed)
    return any((root / "embeddings").glob("*/raster.json")) or start_year(recipe) is not None


def take_start(
    cache_dir: str | Path | None = None, size: int = DEMO_SIZE, years: Sequence[int] = DEMO_YEARS, seed: int = 0
) -> DemoRegion | None:
    """The demo region with the year that is shipped, in about a second; None where nothing is shipped for it.

    :func:`ensure_demo` makes the rest. The region may be complete already.

    Raises:
        CheckpointError: the weights are not there.
        InputError: the cache holds something else.
        ExportError: the cache cannot be written.
    """
    from tessera_core.project.demo_start import start_year, unpack_start

    root, recipe = _cache_place(cache_dir, size, seed)
    region = DemoRegion.at(root, size, seed, tuple(sorted(set(years))))
    year = start_year(recipe)
    if year not in region.embeddings:
        return None
    if _claim(root, recipe) and region.ready:
        return region
    make_place(root)
    with alone(root / ".lock"):
        if region.ready:
            return region
        write_json(root / "demo.json", recipe)
        unpacked = unpack_start(recipe, region.embeddings[year])
        if unpacked is None:
            return None
        truth, grid = unpacked
        if not region.truth[year].exists():
            _write_truth(region.truth[year], truth, grid, year, seed)
    return region


def stale_demos(cache_dir: str | Path | None = None) -> list[Path]:
    """Folders of the cache with demo regions that an older version made and this one does not use."""
    home = Path(cache_dir) if cache_dir is not None else cache_home() / "demo"
    stale = []
    for header in sorted(home.glob("*/demo.json")):
        try:
            recipe = json.loads(header.read_text(encoding="utf-8"))
            current, _ = _cache_place(home, int(recipe["size"]), int(recipe["seed"]))
        except (OSError, ValueError, KeyError, TypeError):
            continue
        if current != header.parent:
            stale.append(header.parent)
    return stale


def _cache_place(cache_dir: str | Path | None, size: int, seed: int) -> tuple[Path, dict[str, Any]]:
    home = Path(cache_dir) if cache_dir is not None else cache_home() / "demo"
    recipe = _recipe(size, seed, DEMO_WEIGHTS)
    digest = hashlib.sha256(json.dumps(recipe, sort_keys=True).encode()).hexdigest()[:10]
    return home / f"{size}-{seed}-{digest}", recipe


def write_demo(
    out: str | Path,
    size: int = 512,
    years: Sequence[int] = DEMO_YEARS,
    seed: int = 0,
    *,
    weights: str | Path = DEMO_WEIGHTS,
    progress: Progress | None = None,
    cancelled: Cancel | None = None,
) -> DemoRegion:
    """Write a demo region into the folder ``out``; what is there already of the same region is kept.

    Raises:
        InputError: size or years are not possible, or ``out`` holds something else.
        CheckpointError: the weights are not usable.
        MissingPartError: its embeddings are not shipped, and PyTorch is not installed.
        Cancelled: ``cancelled`` returned true.
        ExportError: ``out`` cannot be written.
    """
    return _make(Path(out), _recipe(size, seed, weights), years, weights, progress, cancelled)


def _recipe(size: int, seed: int, weights: str | Path) -> dict[str, Any]:
    """What a region depends on; equal recipes make equal regions."""
    from tessera_core.models.zoo import resolve

    path = Path(resolve(weights))
    seen = path.stat()
    return {
        "format": FORMAT,
        "size": size,
        "seed": seed,
        "simulator": _simulator_digest(),
        "weights": _file_digest(path, seen.st_mtime_ns, seen.st_size),
    }


# Asked on every run of a page while the region grows.
@functools.lru_cache(maxsize=8)
def _file_digest(path: Path, changed: int, size: int) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _simulator_digest() -> str:
    import tessera_core.dpixels.simulate as simulator

    digest = hashlib.sha256()
    folder = Path(simulator.__file__).parent
    for file in sorted(folder.glob("*.py")):
        # Line endings depend on the checkout, not on the simulator.
        digest.update(file.name.encode() + file.read_bytes().replace(b"\r\n", b"\n"))
    return digest.hexdigest()


def _make(
    root: Path,
    recipe: dict[str, Any],
    years: Sequence[int],
    weights: str | Path,
    progress: Progress | None,
    cancelled: Cancel | None,
) -> DemoRegion:
    years = tuple(sorted(set(years)))
    region = DemoRegion.at(root, recipe["size"], recipe["seed"], years)
    if _claim(root, recipe) and region.complete:
        return region
    from tessera_core.project.demo_start import shipped_years, unpack_year

    shipped = shipped_years(recipe)

    @functools.cache
    def encoder() -> LoadedEncoder:
        require_torch("Making this demo region")
        from tessera_core.models.checkpoint import load_checkpoint

        return load_checkpoint(weights)

    if any(year not in shipped and not region.embeddings[year].exists() for year in years):
        # Before anything is made, so that weights or parts that are missing are told at once.
        encoder()
    from tessera_core.dpixels.simulate.world import make_world

    world = make_world(recipe["seed"], recipe["size"], years)
    make_place(root)
    # Two browser sessions or a second command would write the same files.
    with alone(root / ".lock"):
        _claim(root, recipe)
        write_json(root / "demo.json", recipe)
        total = 100 * len(years)
        for number, year in enumerate(years):
            steps = _Steps(progress, 100 * number, total)
            if not region.truth[year].exists():
                _write_truth(region.truth[year], world.truth[year], world.grid, year, world.seed)
            if not region.dpixels[year].exists():
                from tessera_core.dpixels.simulate.observe import observe

                part = steps.part(0, _SIMULATE_SHARE, f"Simulating {year}")
                observe(world, year, region.dpixels[year], progress=part, cancelled=cancelled)
            there = region.embeddings[year].exists()
            if not there and not unpack_year(recipe, year, region.embeddings[year]):
                part = steps.part(_SIMULATE_SHARE, 100, f"Embedding {year}")
                _embed(region, year, encoder(), part, cancelled)
        shutil.rmtree(root / ".generating", ignore_errors=True)
        if progress is not None:
            progress(total, total, "Ready")
    return region


def _claim(root: Path, recipe: dict[str, Any]) -> bool:
    """Whether ``root`` already holds this region, whole or in part; raises where it holds something else."""
    header = root / "demo.json"
    if header.exists():
        try:
            found = json.loads(header.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            found = None
        if found == recipe:
            return True
        raise InputError(
            f"{root} holds another demo region (other size, seed, version or weights); give an empty folder."
        )
    taken = [name for name in ("dpixels", "embeddings", "truth") if (root / name).exists()]
    if taken:
        raise InputError(f"{root} already has a folder {taken[0]!r} that is no demo region; give an empty folder.")
    return False


class _Steps:
    """Progress of parts, as whole hundredths of a year's work."""

    def __init__(self, progress: Progress | None, before: int, total: int) -> None:
        self.progress, self.before, self.total = progress, before, total

    def part(self, start: int, stop: int, message: str) -> Progress:
        def report(done: int, total: int, detail: str) -> None:
            if self.progress is not None:
                here = start + (stop - start) * done // max(total, 1)
                # Dates of single observations say nothing to people, pixels per second do.
                speed = f" ({detail})" if "pixels/s" in detail else ""
                self.progress(self.before + here, self.total, message + speed)

        return report


def _write_truth(path: Path, truth: NDArray[np.uint8], grid: Grid, year: int, seed: int) -> None:
    from tessera_core.export.geotiff import write_class_map

    make_place(path.parent)
    provenance = Provenance(model="simulated truth", dim=0, year=year, source="demo", details={"seed": seed})
    write_class_map(path, truth, None, grid, DEMO_CLASSES, provenance)


def _embed(region: DemoRegion, year: int, loaded: LoadedEncoder, progress: Progress, cancelled: Cancel | None) -> None:
    from tessera_core.inference.tiles import generate_tile
    from tessera_core.sources.local.open import open_embeddings

    # Kept when interrupted: the generator resumes from it.
    work = region.root / ".generating" / str(year)
    generate_tile(region.dpixels[year], loaded, work, progress=progress, cancelled=cancelled)
    raster = open_embeddings(work)
    provenance = replace(raster.provenance, source="demo", year=year).with_details(seed=region.seed, simulated=True)
    replace(raster, provenance=provenance).save(region.embeddings[year])

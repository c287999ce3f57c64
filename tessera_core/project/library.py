"""Starting and keeping projects: what a path holds, projects made of it, the list of recent ones.

Knows projects, sources and the demo; refuses to know how they are shown.
"""

from __future__ import annotations

import itertools
import os
import shutil
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from tessera_core._utils.atomic import require_replaceable
from tessera_core._utils.partial import Failure
from tessera_core._utils.paths import cache_home
from tessera_core.errors import Hint, InputError, ProjectError, TesseraError
from tessera_core.hosting import hosted
from tessera_core.periods import is_period, period
from tessera_core.project.folders import new_folder
from tessera_core.project.home import RecentProject, projects_home, recent_projects, remember
from tessera_core.project.map_notes import holds_maps
from tessera_core.project.project import Project
from tessera_core.project.project_files import SUFFIX
from tessera_core.project.references import EmbeddingRef, WantedEmbeddings, known_here
from tessera_core.project.room import require_size, size_of
from tessera_core.raster import EmbeddingRaster
from tessera_core.sources.local import uploads
from tessera_core.sources.local.npy import is_published_tile
from tessera_core.types import Cancel, Progress

if TYPE_CHECKING:
    from tessera_core.project.demo import DemoRegion
    from tessera_core.project.demo_rest import DemoRest

DEMO_NAME = "Demo region"
# Of tessera_core.project.pack, which stands beside this module.
PACK_SUFFIX = ".tesserapack"


@dataclass(frozen=True)
class Identified:
    """What a path holds.

    Attributes:
        name: for the project that would be made of it.
        rasters: by year, with the path each was opened from.
        dpixels: d-pixel tiles that lie beside them, by year.
        project: folder or file of a project, when it is one; ``rasters`` is empty then.
        failed: years of several whose embeddings cannot be read; they are left out.
    """

    name: str
    rasters: tuple[tuple[int | None, Path, EmbeddingRaster], ...] = ()
    dpixels: tuple[tuple[int | None, Path], ...] = ()
    project: Path | None = None
    failed: tuple[Failure, ...] = ()

    @property
    def npy_tiles(self) -> bool:
        """Whether any are tiles in the published NPY form, which its publisher has given up."""
        patterns = ("grid_*.npy", "*/grid_*.npy")
        return any(
            is_published_tile(path)
            or any(is_published_tile(file) for pattern in patterns for file in path.glob(pattern))
            for _, path, _ in self.rasters
        )


def identify(text: str) -> Identified:
    """What lies at a path that a person typed or pasted.

    A folder may hold one raster, or one in a subfolder per year (``2023``, ``2024``; also under ``embeddings`` with d-pixel
    tiles under ``dpixels``, as ``tessera demo`` writes them). Of several years those that cannot be read are named in ``failed``.

    Raises:
        InputError: there is nothing, or nothing readable.
    """
    path = typed_path(text)
    if path.suffix.lower() == PACK_SUFFIX:
        raise InputError(f"{path.name} is a pack of projects; open it as a pack.", hint=Hint.PACKS)
    if path.suffix == SUFFIX and path.is_file():
        return Identified(path.stem, project=path)
    if Project.is_project(path):
        return Identified(Project.open(path).name, project=path)
    return _look_for_rasters(path)


def typed_path(text: str) -> Path:
    """The existing path that a person typed or pasted.

    Raises:
        InputError: it is only a part of a path, or there is nothing.
    """
    # Explorer's "copy as path" puts quotes around it.
    cleaned = text.strip().strip("\"'")
    path = Path(os.path.expandvars(cleaned)).expanduser()
    if not path.is_absolute():
        raise InputError(f"Give the whole path, from the drive or the root on; {cleaned!r} is only a part of one.")
    if not path.exists():
        raise InputError(f"There is nothing at {path}. Check the spelling, or copy the path from your file manager.")
    return path


def _look_for_rasters(path: Path) -> Identified:
    from tessera_core.sources.local.open import open_embeddings

    top = path / "embeddings" if (path / "embeddings").is_dir() else path
    by_year = (
        sorted(entry for entry in top.iterdir() if entry.is_dir() and _is_year(entry.name)) if top.is_dir() else []
    )
    if not by_year:
        try:
            raster = open_embeddings(path)
        except InputError as error:
            if not holds_maps(path):
                raise
            raise InputError(
                f"{path.name} holds maps that were made tile by tile, and no embeddings.", hint=Hint.MAPS
            ) from error
        return Identified(path.stem, ((raster.provenance.year, path, raster),))
    rasters: list[tuple[int | None, Path, EmbeddingRaster]] = []
    failed: list[Failure] = []
    for folder in by_year:
        try:
            rasters.append((period(folder.name), folder, open_embeddings(folder)))
        except InputError as error:
            if len(by_year) == 1:
                raise
            failed.append(Failure(folder.name, str(error)))
    if not rasters:
        raise InputError(f"None of the years in {path.name} can be read. {failed[0].what}: {failed[0].why}")
    tiles = ((year, path / "dpixels" / str(year)) for year, _, _ in rasters)
    found = tuple((year, tile) for year, tile in tiles if tile.is_dir())
    return Identified(path.name, tuple(rasters), found, failed=tuple(failed))


def _is_year(name: str) -> bool:
    return is_period(name) or (len(name) == 4 and name.isdigit() and 1970 <= int(name) <= 2100)


def start(found: Identified, name: str, folder: Path | None = None) -> Project:
    """A project of what was found: a new one, or the one that lies there.

    Args:
        found: what :func:`identify` returned.
        name: what to call it.
        folder: a new or empty folder for it; by default one where projects are kept.

    Raises:
        InputError: the folder holds something.
        TesseraError: the rasters do not belong together, or the project cannot be written.
    """
    if found.project is not None:
        return adopt(found.project)
    if folder is None:
        return _start_in(new_folder(name or found.name), found, name or found.name)
    # What fails is taken away again, and that may be nothing but its own.
    require_replaceable(folder, None)
    project = _start_in(folder, found, name or found.name)
    remember(project)
    return project


def add(project: Project, found: Identified) -> None:
    """Put what was found into a project, beside the years and windows that it has.

    Raises:
        InputError: it is a project itself, or of a time that the project has already; nothing is put in then.
        MixedDatasetsError, ProjectError: it does not belong to the project's embeddings.
    """
    if found.project is not None:
        raise InputError(f"{found.name} is a project; give the folder or file of embeddings.")
    tiles = dict(found.dpixels)
    for year, _, _ in found.rasters:
        if year in project.embeddings or year in project.wanted:
            raise InputError(
                f"{project.name!r} has embeddings of {'no year' if year is None else year} already; nothing was changed."
            )
    for year, path, raster in found.rasters:
        project.attach_embeddings(year, path, raster.provenance, raster.grid, dpixels=tiles.get(year))


def start_stacked(project: Project, folder: Path, name: str) -> Project:
    """A project of joined embeddings on the grid of ``project``, with its classes, labels and satellite data.

    Raises:
        TesseraError: there are no embeddings in the folder, or the project cannot be written.
    """
    found = identify(str(folder))
    if found.failed:
        raise InputError(f"The joined embeddings of {found.failed[0].what} cannot be read: {found.failed[0].why}")
    tiles = {year: reference.dpixels for year, reference in project.embeddings.items()}
    known = tuple((year, tile) for year, _, _ in found.rasters if year is not None and (tile := tiles.get(year)))
    made = start(replace(found, dpixels=known), name)
    if project.log.classes:
        made.log.import_labels(project.log.classes, project.log.labels)
    year = project.settings.label_year
    if year in made.years:
        made.update(label_year=year)
    return made


def _start_in(folder: Path, found: Identified, name: str) -> Project:
    project = Project.create(folder, name)
    tiles = dict(found.dpixels)
    try:
        for year, path, raster in found.rasters:
            project.attach_embeddings(year, path, raster.provenance, raster.grid, dpixels=tiles.get(year))
    except BaseException:
        # Nobody has seen this project yet; an empty one would only confuse.
        shutil.rmtree(folder, ignore_errors=True)
        raise
    return project


def adopt(path: Path) -> Project:
    """The project at ``path``: a folder is used where it lies, a ``.tessera`` file is unpacked into a new project.

    Raises:
        ProjectError: it is no readable project.
    """
    if path.is_file() and path.name != "project.json":
        return from_file(path)
    project = Project.open(path)
    remember(project)
    return project


def from_file(path: Path, folder: Path | None = None) -> Project:
    """A new project of a ``.tessera`` file, linked with what it wants where this computer has it.

    Raises:
        ProjectError: it is no readable project file.
    """
    project = Project.import_file(path, folder)
    link_known(project)
    return project


def link_known(project: Project) -> list[int | None]:
    """Link embeddings that a project wants with the very same ones that this computer knows; returns their years.

    Known are the demo region and, on a person's own computer, what was linked in any project. The same is what has the same
    provenance and grid; paths that the project's file names play no part.
    """
    linked = []
    for year, want in project.wanted.items():
        ref = known_here(want) or _of_demo(want)
        if ref is not None:
            project.attach_embeddings(year, ref.path, ref.provenance, ref.grid, dpixels=ref.dpixels)
            linked.append(year)
    return linked


def _of_demo(want: WantedEmbeddings) -> EmbeddingRef | None:
    from tessera_core.sources.local.open import open_embeddings

    demo = take_demo() if want.provenance.source == "demo" else None
    path = None if demo is None or want.year is None else demo.ready.get(want.year)
    if demo is None or path is None or want.year is None:
        return None
    raster, tile = open_embeddings(path), demo.dpixels[want.year]
    same = (raster.provenance, raster.grid) == (want.provenance, want.grid)
    return EmbeddingRef(want.year, path, want.provenance, want.grid, tile if tile.exists() else None) if same else None


def relink(project: Project, year: int | None, text: str) -> str:
    """Link embeddings that a project wants, or that are no longer where they were, by a path that this computer's owner gives.

    Returns:
        A remark where they differ from what the labels were made on in anything but place; else empty.

    Raises:
        InputError: there is nothing readable, it is of another dataset or on another grid, or this is a server for strangers.
    """
    from tessera_core.sources.local.open import open_embeddings

    if hosted():
        raise ProjectError(project.how_to_link)
    want = project.wanted.get(year) or project.embeddings.get(year)
    if want is None:
        raise ProjectError(f"The project {project.name!r} wants no embeddings of {year}.")
    path = typed_path(text)
    # A folder with a subfolder per year, as people keep them.
    if path.is_dir() and year is not None and (path / "embeddings" / str(year)).is_dir():
        path = path / "embeddings" / str(year)
    elif path.is_dir() and year is not None and (path / str(year)).is_dir():
        path = path / str(year)
    raster = open_embeddings(path, year=year)
    want.provenance.require_same_dataset(raster.provenance, f"the project {project.name!r}")
    if raster.grid != want.grid:
        height, width = raster.grid.shape
        raise ProjectError(
            f"{path} has another grid ({width} x {height} pixels, {raster.grid.crs or 'no place on Earth'}) than the labels were "
            "made on; open it as a project of its own and bring the labels there."
        )
    project.attach_embeddings(year, path, raster.provenance, raster.grid)
    checksums = {raster.provenance.checksum, want.provenance.checksum} - {""}
    if len(checksums) > 1 or raster.provenance.year != want.provenance.year:
        return (
            "These embeddings have the dataset and the grid that the labels were made on, but not the same numbers: the map "
            "may differ a little."
        )
    return ""


def start_upload(files: Sequence[tuple[str, BinaryIO]], failed: list[Failure] | None = None) -> Project:
    """A project of uploaded files, which it keeps in its own folder; or the uploaded project.

    Args:
        files: names and contents.
        failed: is told the years of several that cannot be read; without it one of them is an error.

    Raises:
        InputError: the upload is of the wrong kind or not readable; nothing is left of it.
    """
    if any(Path(name).suffix == SUFFIX for name, _ in files):
        if len(files) > 1:
            raise InputError("Upload a project file alone, without other files beside it.")
        return _start_project_file(*files[0])
    name = Path(files[0][0]).stem.removesuffix("_scales") if files else ""
    folder = new_folder(name)
    try:
        opened = uploads.receive(files, folder / "data")
        require_size(size_of(folder), "What you uploaded")
        found = _look_for_rasters(opened)
        if failed is not None:
            failed += found.failed
        elif found.failed:
            raise InputError(f"{found.failed[0].what} cannot be read: {found.failed[0].why}")
        return _start_in(folder, found, name)
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise


def _start_project_file(name: str, stream: BinaryIO) -> Project:
    projects_home().mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".upload-", dir=projects_home()) as folder:
        path = Path(folder) / uploads.plain_name(name)
        with open(path, "wb") as file:
            shutil.copyfileobj(stream, file)
        return from_file(path)


# ------------------------------------------------------------------ demo


def demo_ready() -> DemoRegion | None:
    """The whole demo region if it is cached, else None; quick."""
    # Asked on everyone's first page, where importing the simulator for nothing would be felt.
    if not (cache_home() / "demo").is_dir():
        return None
    from tessera_core.project.demo import cached_demo

    return cached_demo(size=_demo_size())


def demo_at_once() -> bool:
    """Whether :func:`take_demo` opens the demo region within a second or two; quick."""
    from tessera_core.project.demo import opens_at_once

    return opens_at_once(size=_demo_size())


def take_demo() -> DemoRegion | None:
    """The demo region with what is there of it, or with the year that is shipped; None where it must be made first."""
    from tessera_core.project.demo import cached_demo, take_start

    return cached_demo(size=_demo_size()) or take_start(size=_demo_size())


def make_demo(progress: Progress, cancelled: Cancel) -> DemoRegion:
    """The demo region, made first where it is not cached."""
    from tessera_core.project.demo import ensure_demo

    return ensure_demo(size=_demo_size(), progress=progress, cancelled=cancelled)


def demo_growing(project: Project) -> DemoRegion | None:
    """The demo region that a project is of while years or satellite data of it are not the project's yet; else None."""
    found = [ref for ref in project.embeddings.values() if ref.provenance.source == "demo"]
    if not found:
        return None
    from tessera_core.project.demo import DEMO_YEARS, started_demo

    if {ref.year for ref in found if ref.dpixels is not None} >= set(DEMO_YEARS):
        return None
    region = started_demo(size=_demo_size())
    if region is None or not any(ref.path == path.resolve() for ref in found for path in region.embeddings.values()):
        return None
    return region


def finish_demo(*, again: bool = False) -> DemoRest:
    """Make the rest of the demo region beside everything else, and tell how far it is."""
    from tessera_core.project.demo_rest import finish

    return finish(cache_home() / "demo", _demo_size(), again=again)


def grow_demo(project: Project, region: DemoRegion) -> tuple[int, ...]:
    """Give a project of the demo region what was made of it since; returns the years that were not there before.

    Raises:
        TesseraError: the project cannot be written, or what was made cannot be read.
    """
    from tessera_core.sources.local.open import open_embeddings

    new = []
    for year, path in region.ready.items():
        tile = region.dpixels[year]
        dpixels = tile if tile.exists() else None
        known = project.embeddings.get(year)
        if known is None or (known.dpixels is None and dpixels is not None and known.path == path.resolve()):
            raster = open_embeddings(path)
            project.attach_embeddings(year, path, raster.provenance, raster.grid, dpixels=dpixels)
            new += [year] if known is None else []
    return tuple(new)


def _demo_size() -> int:
    """Pixels along each side of the demo region; smaller ones make slow machines and tests quick."""
    from tessera_core.project.demo import DEMO_SIZE

    try:
        return int(os.environ.get("TESSERA_DEMO_SIZE", DEMO_SIZE))
    except ValueError as error:
        raise InputError("TESSERA_DEMO_SIZE must be a whole number of pixels, such as 320.") from error


def start_demo(demo: DemoRegion, *, fresh: bool = False) -> Project:
    """The project of the demo region that was changed last, or a new one where there is none or it shall be ``fresh``."""
    from tessera_core.sources.local.open import open_embeddings

    mine = demo_projects(demo)
    if mine and not fresh:
        return Project.open(mine[0].folder)
    rasters = tuple((year, path, open_embeddings(path)) for year, path in demo.ready.items())
    dpixels = tuple((year, path) for year, path in demo.dpixels.items() if year in demo.ready and path.exists())
    return start(Identified(DEMO_NAME, rasters, dpixels), free_name(DEMO_NAME))


def demo_projects(demo: DemoRegion | None = None) -> list[RecentProject]:
    """Projects of the demo region, last changed first; on a server for strangers those of the visitor it works for."""
    if demo is None and (cache_home() / "demo").is_dir():
        from tessera_core.project.demo import started_demo

        demo = started_demo(size=_demo_size())
    if demo is None:
        return []
    paths = {path.resolve() for path in demo.embeddings.values()}
    found = []
    for entry in recent():
        try:
            project = Project.open(entry.folder)
        except TesseraError:
            continue
        # A copy for a lesson is the lesson's, which is gone on with by itself.
        if project.settings.lesson is None and any(ref.path in paths for ref in project.embeddings.values()):
            found.append(entry)
    return found


def free_name(name: str) -> str:
    """``name``, or ``name 2`` and so on where projects are called so already, in any case: no two look alike in the list."""
    taken = {entry.name.casefold() for entry in recent()}
    return next(
        one
        for one in itertools.chain((name,), (f"{name} {n}" for n in itertools.count(2)))
        if one.casefold() not in taken
    )


@dataclass(frozen=True)
class OldDemo:
    """A demo region in the cache that an older version made.

    Attributes:
        folder: where it lies.
        bytes: on disk.
        projects: names of the projects that still use it.
    """

    folder: Path
    bytes: int
    projects: tuple[str, ...]


def old_demos() -> list[OldDemo]:
    """Demo regions of older versions."""
    if not (cache_home() / "demo").is_dir():
        return []
    from tessera_core.project.demo import stale_demos

    folders = stale_demos()
    users: dict[Path, list[str]] = {folder: [] for folder in folders}
    for entry in recent_projects(limit=None, everyone=True) if folders else []:
        paths = [reference.path for reference in Project.open(entry.folder).embeddings.values()]
        for folder in folders:
            if any(path.is_relative_to(folder.resolve()) for path in paths):
                users[folder].append(entry.name)
    return [OldDemo(folder, size_of(folder), tuple(users[folder])) for folder in folders]


def remove_old_demos() -> int:
    """Delete the demo regions of older versions that no project uses; returns the bytes freed."""
    freed = 0
    for old in old_demos():
        if not old.projects:
            # Without this file the rest is no demo region any more, whatever happens next.
            (old.folder / "demo.json").unlink(missing_ok=True)
            shutil.rmtree(old.folder, ignore_errors=True)
            freed += old.bytes
    return freed


# ------------------------------------------------------------------ the list


def projects_folder() -> Path:
    """Where projects are kept."""
    return projects_home()


def recent() -> list[RecentProject]:
    """All projects, last changed first; on a server for strangers those of the visitor that it works for."""
    return recent_projects(limit=None)


def rename(entry: RecentProject, name: str) -> None:
    """Give a project another name; its folder keeps its own.

    Raises:
        ProjectError: the name is empty, or the project is gone.
    """
    if not name.strip():
        raise ProjectError("A project needs a name.")
    Project.open(entry.folder).update(name=name)

"""All places of one map, mapped by one head that all of them teach: each on its own grid, in whatever UTM zone, and together.

What the app shows of them together and ``tessera places`` writes is what :func:`map_places` makes.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from tessera_core._utils.partial import Failure
from tessera_core.errors import (
    ExportError,
    Hint,
    InputError,
    LabelError,
    MixedDatasetsError,
    ProjectError,
    RasterError,
    TesseraError,
)
from tessera_core.export.geotiff import sidecars
from tessera_core.labels.model import LabelClass
from tessera_core.project.classify import head_choice
from tessera_core.project.folders import safe_name
from tessera_core.project.map_notes import CLASSES, find_notes, read_note, vouched, write_class_note
from tessera_core.project.maps import MappedClasses, map_classes_with
from tessera_core.project.places import Place
from tessera_core.project.project import Project
from tessera_core.project.teaching import JointHead, label_year, taught_by_project, teach
from tessera_core.project.tile_maps import require_ours, virtual_files, write_virtual
from tessera_core.sources.local.open import open_embeddings
from tessera_core.types import Cancel, Progress

if TYPE_CHECKING:
    from tessera_core.project.joint_heads import Taught
    from tessera_core.raster import EmbeddingRaster

_CONFIDENCE = "_confidence"


@dataclass(frozen=True)
class PlaceMap:
    """The map of a place.

    Attributes:
        place: which.
        year: of the embeddings; None where they have none.
        made: its map.
    """

    place: Place
    year: int | None
    made: MappedClasses


@dataclass(frozen=True)
class PlaceMaps:
    """The maps of all places.

    Attributes:
        head: that all labels taught, with how right it is in each place when that place teaches it nothing.
        maps: of each place that could be mapped; none where only the head was asked for.
        failed: places that could not.
        silent: places whose labels taught the head nothing, with the reason; they are mapped all the same.
    """

    head: JointHead
    maps: tuple[PlaceMap, ...]
    failed: tuple[Failure, ...] = ()
    silent: tuple[Failure, ...] = ()

    @property
    def legend(self) -> tuple[LabelClass, ...]:
        """Names and colours of the class ids, the same in all maps."""
        return self.head.taught.classes

    def sentences(self) -> list[str]:
        """How the head travels, and what taught it nothing, for people."""
        told = self.head.sentences()
        for place, why in self.silent:
            told += [why, f"{place} taught the head nothing and is mapped by what the other places taught it."]
        return told

    def areas(self) -> dict[int, tuple[int, float | None]]:
        """Class id -> pixels and hectares over all places; hectares are None where a place lies nowhere on Earth."""
        total: dict[int, tuple[int, float | None]] = {}
        for one in self.maps:
            for class_id, area in one.made.areas().items():
                pixels, hectares = total.get(class_id, (0, 0.0))
                known = None if hectares is None or area.hectares is None else hectares + area.hectares
                total[class_id] = (pixels + area.pixels, known)
        return dict(sorted(total.items()))

    def write(self, folder: str | Path, *, confidence: bool = False) -> list[Path]:
        """Write each place's map with the note of its areas, and one virtual raster for each coordinate system (``map_EPSG.vrt``).

        The folder is one of maps made tile by tile: :func:`tessera_core.project.map_folders.open_maps` reads it.

        Args:
            folder: made if it is not there; what was written here before is replaced, also the maps of places that are no longer
                among these, which would be counted with them.
            confidence: whether it is written as well.

        Raises:
            InputError: a map of another program is in the way; then nothing is written.
            ExportError: a file cannot be written.
        """
        folder = Path(folder)
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise ExportError(f"Cannot create the folder {folder}: {error.strerror or error}.") from error
        endings = ("", _CONFIDENCE) if confidence else ("",)
        stems = _stems([one.place.name for one in self.maps])
        tiles = {stem: {"grid": one.made.grid.to_json()} for stem, one in zip(stems, self.maps, strict=True)}
        targets = [folder / f"{stem}{ending}.tif" for stem in stems for ending in endings]
        notes = [folder / f"{stem}.json" for stem in stems]
        known = {file: size for stem in stems for file, size in vouched(folder, stem).items()}
        virtual = virtual_files(folder, tiles, "map", endings)
        require_ours(*targets, *notes, *virtual, vouched=known)
        _remove_earlier(folder, {file.name for file in targets}, {file.name for file in notes}, virtual)
        files: list[Path] = []
        for stem, note, one in zip(stems, notes, self.maps, strict=True):
            # The note of an earlier map goes first: it would vouch for this one if we were killed before our own.
            note.unlink(missing_ok=True)
            made = one.made.write(folder / f"{stem}.tif", folder / f"{stem}{_CONFIDENCE}.tif" if confidence else None)
            files += [*made, write_class_note(folder, stem, one.made, made, None)]
        return files + write_virtual(folder, tiles, "map", endings)


def teach_places(
    found: Sequence[Place],
    asked: Project,
    *,
    seed: int = 0,
    progress: Progress | None = None,
    cancelled: Cancel | None = None,
) -> PlaceMaps:
    """The head of :func:`map_places` and how it travels, without a map.

    Raises:
        as :func:`map_places`.
    """
    return _taught(found, asked, seed, progress, cancelled)[0]


def map_places(
    found: Sequence[Place],
    asked: Project,
    *,
    seed: int = 0,
    progress: Progress | None = None,
    cancelled: Cancel | None = None,
) -> PlaceMaps:
    """One head from the labels of all places, and the map of each by it.

    Args:
        found: the places, of :func:`tessera_core.project.places.places_of`.
        asked: the one whose choice of a head counts, with its class tree and weights. It teaches first and the others by name, as
            where the app teaches a head, so that the scores are the same.
        seed: of everything random.
        progress, cancelled: see docs/architecture.md.

    Raises:
        InputError: there are no places.
        HeadError: the labels of all do not suffice.
        ProjectError: no place can be opened.
        Cancelled: ``cancelled`` said so.
    """
    taught, opened = _taught(found, asked, seed, progress, cancelled)
    saved, maps = taught.head.saved, []
    for number, (place, year, raster) in enumerate(opened):
        if progress is not None:
            progress(number, len(opened), place.name)
        made = map_classes_with(raster, saved, legend=taught.legend, seed=seed, cancelled=cancelled)
        maps.append(PlaceMap(place, year, made))
    if progress is not None:
        progress(len(opened), len(opened), "")
    return replace(taught, maps=tuple(maps))


def _taught(
    found: Sequence[Place], asked: Project, seed: int, progress: Progress | None, cancelled: Cancel | None
) -> tuple[PlaceMaps, list[tuple[Place, int | None, EmbeddingRaster]]]:
    """The head without maps, and the places that can be mapped with it."""
    if not found:
        raise InputError(
            f"{asked.name} has no other places; choose other projects for it to learn from first, or name them with "
            "'tessera places PROJECT --add OTHER'.",
            hint=Hint.LABELS,
        )
    here = asked.folder.resolve()
    failed, silent, opened = [], [], []
    parts: list[Taught] = []
    for place in found:
        try:
            project, year, raster = _opened(place.folder)
            if asked.dataset != project.dataset:
                raise MixedDatasetsError(str(asked.dataset), str(project.dataset), "one map of several places")
        except TesseraError as error:
            failed.append(Failure(place.name, str(error)))
            continue
        opened.append((place, year, raster))
        if not place.labels:
            continue
        try:
            part = taught_by_project(project, raster, year, seed)
        except LabelError as error:
            silent.append(Failure(place.name, str(error)))
            continue
        parts.insert(0 if project.folder.resolve() == here else len(parts), part)
    if not opened:
        raise ProjectError(f"No place can be opened; of {failed[0].what}: {failed[0].why}")
    if not parts:
        nobody = "No place has labels yet; label places of at least two classes in one of them."
        raise InputError(silent[0].why if silent else nobody, hint=Hint.LABELS)
    # The ids in the choice are those of the project whose choice it is, wherever its own labels come.
    head = teach(
        parts, head_choice(asked), classes=asked.log.classes, seed=seed, progress=progress, cancelled=cancelled
    )
    return PlaceMaps(head, (), tuple(failed), tuple(silent)), opened


def _opened(folder: Path) -> tuple[Project, int | None, EmbeddingRaster]:
    """A place, the year that its labels are of, and its embeddings of that year."""
    project = Project.open(folder)
    year = label_year(project)
    return project, year, open_embeddings(project.embeddings_path(year), year=year)


def _remove_earlier(folder: Path, maps: set[str], notes: set[str], virtual: Sequence[Path]) -> None:
    """Remove what :meth:`PlaceMaps.write` left in a folder and does not write again; maps made tile by tile stay.

    Raises:
        ExportError: a file cannot be removed.
    """
    gone: list[Path] = []
    tiles = False
    for note in find_notes(folder):
        try:
            found = read_note(note)
        except RasterError:
            continue
        if found is None:
            continue
        if found[0] != CLASSES or found[1].get("made_of") is not None:
            tiles = True
            continue
        # The note first: without it a map counts nowhere, also where we are killed before the rest.
        gone += [] if note.name in notes else [note]
        gone += [file for file in _maps_of(folder, note.stem) if file.name not in maps]
    if not tiles:
        gone += [file for file in sorted(folder.glob("map_*.vrt")) if file not in virtual]
    for file in gone:
        try:
            require_ours(file)
        except InputError:
            # Another program's by now.
            continue
        try:
            for each in (file, *(sidecars(file) if file.suffix == ".tif" else ())):
                each.unlink(missing_ok=True)
        except OSError as error:
            raise ExportError(f"Cannot remove {file} of an earlier map: {error.strerror or error}.") from error


def _maps_of(folder: Path, stem: str) -> list[Path]:
    found = (folder / f"{stem}{ending}.tif" for ending in ("", _CONFIDENCE))
    return [file for file in found if file.exists()]


def _stems(names: Sequence[str]) -> list[str]:
    """Names of files, each once, whatever places are called, also with what stands beside a map and without regard to case."""
    stems: list[str] = []
    taken: set[str] = set()
    for name in names:
        stem = plain = safe_name(name)
        number = 2
        while taken & _names(stem):
            stem, number = f"{plain}-{number}", number + 1
        taken |= _names(stem)
        stems.append(stem)
    return stems


def _names(stem: str) -> set[str]:
    """Of the files of a place, as a system sees them that does not tell letters apart by case."""
    return {unicodedata.normalize("NFC", f"{stem}{ending}").casefold() for ending in ("", _CONFIDENCE)}

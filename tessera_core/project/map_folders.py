"""A folder of maps made tile by tile, looked at as one: its tiles and what each class covers.

Read are the notes beside the tiles, which say what each covers, and the names of classes in every tile's file. The virtual rasters
beside them are for other programs; here no file says which other is opened.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from pyproj.exceptions import ProjError

from tessera_core._utils.partial import Failure
from tessera_core._utils.percents import percent
from tessera_core.areas import CAVEAT, MappedArea
from tessera_core.errors import Cancelled, InputError, TesseraError
from tessera_core.gate import whole_letters
from tessera_core.grid import transformer
from tessera_core.labels.colors import color_for
from tessera_core.labels.importing import parse_color
from tessera_core.labels.model import LabelClass, clean_name
from tessera_core.project.map_folder_tiles import MapTile, areas_of, by_system, lies_straight, opened, tile_of
from tessera_core.project.map_notes import CHANGE, CLASSES, find_notes, read_note
from tessera_core.types import Cancel, Progress

_KINDS = {CLASSES: "map", CHANGE: "change"}


@dataclass(frozen=True)
class MapFolder:
    """Maps of tiles, of one head (or one comparison of two years).

    Attributes:
        folder: that holds them.
        kind: ``"map"`` of classes or ``"change"``.
        tiles: by name.
        legend: names and colours of the class ids.
        failed: tiles whose note or map cannot be read, or that call classes otherwise than most do; they count nowhere.
    """

    folder: Path
    kind: str
    tiles: tuple[MapTile, ...]
    legend: tuple[LabelClass, ...]
    failed: tuple[Failure, ...] = ()

    def areas(self) -> dict[int, MappedArea]:
        """What each class covers of all tiles; 0 is what has no data, with a share of 0.

        Shares are of the hectares, for tiles may have pixels of different sizes; of the pixels where a tile lies nowhere on Earth.
        These are counted pixels: the map's mistakes shift them (:data:`tessera_core.areas.CAVEAT`).
        """
        return areas_of(self.tiles)

    @property
    def systems(self) -> list[str]:
        """Coordinate systems that tiles lie in."""
        return sorted({tile.grid.crs for tile in self.tiles if tile.grid.crs is not None})

    def sentences(self) -> list[str]:
        """What lies there, in plain words."""
        areas = self.areas()
        what = "A map of classes" if self.kind == "map" else "A map of change"
        where = f", in {', '.join(self.systems)}" if self.systems else ""
        told = [f"{what} in {len(self.tiles):,} tiles{where}."]
        for c in self.legend:
            area = areas.get(c.id, MappedArea(0, 0.0, 0.0))
            much = f"{area.pixels:,} pixels" if area.hectares is None else f"{area.hectares:,.1f} ha"
            told.append(f"{c.name}: {much} ({percent(area.share, 1)} %).")
        return [*told, CAVEAT]

    def at(self, lon: float, lat: float) -> MapTile | None:
        """The tile over a place in degrees, the last by name where several are; None where there is none."""
        found = None
        for crs, members in by_system(tile for tile in self.tiles if lies_straight(tile.grid)).items():
            x, y = transformer("EPSG:4326", crs).transform(lon, lat)
            for tile in members:
                west, south, east, north = tile.grid.bounds
                if west <= x < east and south < y <= north and (found is None or tile.name > found.name):
                    found = tile
        return found


def open_maps(folder: str | Path, *, progress: Progress | None = None, cancelled: Cancel | None = None) -> MapFolder:
    """What lies in a folder of maps that ``tessera map --tiles`` or ``tessera change --tiles`` made, by its notes.

    Args:
        folder: that holds ``NAME.tif`` and ``NAME.json`` of each tile; folders in it are not looked into.
        progress, cancelled: see docs/architecture.md.

    Raises:
        InputError: there are no such maps, or maps and change together.
        Cancelled: ``cancelled`` said so.

    Example:
        >>> open_maps("maps").areas()[1].hectares  # doctest: +SKIP
        812.4
    """
    folder = Path(folder)
    tiles: list[MapTile] = []
    told: list[dict[int, tuple[str, str | None]]] = []
    failed: list[Failure] = []
    names: set[str] = set()
    kinds: set[str] = set()
    notes = find_notes(folder)
    for number, note in enumerate(notes):
        name = _shown(note.stem, names)
        go_on(number, len(notes), name, progress, cancelled)
        try:
            found = read_note(note)
        except TesseraError as error:
            # Of a program that leaves other notes we say nothing.
            if note.with_suffix(".tif").is_file():
                failed.append(failure(name, error))
            continue
        if found is None:
            continue
        try:
            tile = tile_of(note, name, found[1], kind := _KINDS[found[0]])
        except (TesseraError, ProjError, KeyError, TypeError, ValueError, AttributeError, OverflowError):
            failed.append(Failure(name, f"{name}.json does not say what the tile's map covers; map the tile again."))
            continue
        try:
            told.append(_named(tile))
        except TesseraError as error:
            failed.append(failure(name, error))
            continue
        tiles.append(tile)
        kinds.add(kind)
    if len(kinds) > 1:
        raise InputError(f"{folder.name} holds maps of classes and maps of change; put each into a folder of its own.")
    legend = _legend(tiles, told)
    tiles, others = _of_one_legend(tiles, told, legend)
    failed += others
    if not tiles:
        raise InputError(
            failed[0].why
            if failed
            else f"There are no maps made tile by tile in {folder.name}; choose a folder that 'tessera map --tiles' wrote."
        )
    return MapFolder(folder, kinds.pop(), tuple(tiles), legend, tuple(sorted(failed)))


def _shown(stem: str, taken: set[str]) -> str:
    """A file's name as it can be shown, each once: bytes that are no letters become U+FFFD."""
    name = plain = whole_letters(stem)
    number = 2
    while name in taken:
        name, number = f"{plain} ({number})", number + 1
    taken.add(name)
    return name


def failure(name: str, error: TesseraError) -> Failure:
    """What cannot be shown of a tile, in letters that can be."""
    return Failure(name, whole_letters(str(error)))


def _named(tile: MapTile) -> dict[int, tuple[str, str | None]]:
    """Name and colour of each class id that a tile's file names.

    Raises:
        RasterError: it cannot be read, or is another raster than its note says.
    """
    with opened(tile) as file:
        tags = file.tags(1)
    names = {i: clean_name(tags.get(f"class_{i}", "")) for i in tile.pixels if i}
    return {i: (name, parse_color(tags.get(f"class_{i}_color"))) for i, name in names.items() if name}


def _legend(tiles: Sequence[MapTile], told: Sequence[Mapping[int, tuple[str, str | None]]]) -> tuple[LabelClass, ...]:
    """Each id as most of the tiles call it that have pixels of it, the first of them where as many call it otherwise."""
    found: dict[int, LabelClass] = {}
    for i in sorted({i for tile in tiles for i in tile.pixels if i}):
        # Tiles without a pixel of it are asked where no other names it.
        votes = [
            Counter(said[i][0] for tile, said in zip(tiles, told, strict=True) if i in said and tile.pixels[i] >= least)
            for least in (1, 0)
        ]
        name = next((some.most_common(1)[0][0] for some in votes if some), str(i))
        colour = next((said[i][1] for said in told if i in said and said[i][0] == name), None)
        found[i] = LabelClass(i, name, colour or color_for(name, found.values(), i))
    return tuple(found.values())


def _of_one_legend(
    tiles: Sequence[MapTile], told: Sequence[Mapping[int, tuple[str, str | None]]], legend: Sequence[LabelClass]
) -> tuple[list[MapTile], list[Failure]]:
    """The tiles whose classes are those of the legend, and the others."""
    names = {c.id: c.name for c in legend}
    kept: list[MapTile] = []
    failed: list[Failure] = []
    for tile, said in zip(tiles, told, strict=True):
        other = next((i for i, n in tile.pixels.items() if n and i in said and said[i][0] != names[i]), None)
        if other is None:
            kept.append(tile)
        else:
            why = (
                f"{tile.name}.tif calls class {other} {said[other][0]}, other tiles call it {names[other]}; maps of different "
                "heads belong into folders of their own."
            )
            failed.append(Failure(tile.name, why))
    return kept, failed


def go_on(done: int, total: int, name: str, progress: Progress | None, cancelled: Cancel | None) -> None:
    """Say how far a walk over tiles is; raises Cancelled where it is to end."""
    if cancelled is not None and cancelled():
        raise Cancelled
    if progress is not None:
        progress(done, total, name)

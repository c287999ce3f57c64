"""A folder of tiles mapped tile by tile: any number, in any UTM zones, in shares, resumable; nothing is put together first.

Each tile becomes ``NAME.tif`` (with ``NAME_confidence.tif``) and, written last, ``NAME.json``, which says what it was made of: a
run that is begun again does what is left. One virtual raster for each coordinate system shows them as one map.
"""

from __future__ import annotations

import functools
import hashlib
import json
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tessera_core._utils.atomic import write_json
from tessera_core._utils.locks import alone
from tessera_core._utils.partial import Failure
from tessera_core._utils.share import WHOLE, Share
from tessera_core._utils.spread import RETRIES, processes, spread
from tessera_core.errors import Cancelled, ExportError, HeadError, InputError, RasterError, TesseraError
from tessera_core.export.one_cog import name_classes, write_one_cog
from tessera_core.export.vrt import write_vrt
from tessera_core.gate import open_raster, read_bytes
from tessera_core.grid import Grid
from tessera_core.labels.model import LabelClass
from tessera_core.project.map_notes import is_note, noted, vouched, write_class_note
from tessera_core.project.plan import MAP_US, Planned
from tessera_core.sources.remote.objects import bring_whole
from tessera_core.types import Cancel, Progress

if TYPE_CHECKING:
    from tessera_core.heads import SavedHead
    from tessera_core.sources.local.reader import Piece

# Folder of notes on tiles that could not be mapped, for the other shares, which would wait for them.
FAILED = ".failed"
_LOCK = ".maps.lock"
# How the maps begin, and how far their tags are looked for where one is cut short.
_TIFF = (b"II*\0", b"II+\0")
_LOOK = 1 << 16
# Tag of the virtual rasters, by which they are known as ours.
_SHOWS = "tessera_shows"


@dataclass(frozen=True)
class TileMaps:
    """Maps of tiles.

    Attributes:
        folder: that holds them.
        tiles: what is known of each that is there, by name: ``classes`` (id -> pixels), ``hectares`` (id -> ha), ``shape``.
        made: how many were made in this run; the others were there.
        maps: the virtual rasters.
        waiting: names of tiles of other shares that are not there yet.
        names: class id -> name.
        failed: tiles that could not be mapped.
        whole: the files that hold all tiles of a coordinate system, where they were asked for and no tile is awaited.
    """

    folder: Path
    tiles: Mapping[str, Mapping[str, Any]]
    made: int
    maps: Sequence[Path]
    waiting: Sequence[str]
    names: Mapping[int, str]
    failed: Sequence[Failure] = field(default_factory=list)
    whole: Sequence[Path] = ()

    def areas(self) -> dict[int, tuple[int, float | None]]:
        """Class id -> pixels and hectares over all tiles that are there; hectares are None without a place on Earth."""
        pixels, hectares = Counter[int](), Counter[int]()
        unknown = False
        for tile in self.tiles.values():
            pixels.update({int(i): n for i, n in tile["classes"].items()})
            unknown |= any(v is None for v in tile["hectares"].values())
            hectares.update({int(i): v for i, v in tile["hectares"].items() if v is not None})
        return {i: (n, None if unknown else round(hectares[i], 4)) for i, n in sorted(pixels.items())}


def map_tiles(
    folder: str | Path,
    head: str | Path,
    out: str | Path,
    *,
    confidence: bool = False,
    one_cog: bool = False,
    share: Share = WHOLE,
    workers: int = 1,
    executor: Callable[[int], Executor] = processes,
    retries: int = RETRIES,
    progress: Progress | None = None,
    cancelled: Cancel | None = None,
) -> TileMaps:
    """Map the tiles at or below a folder with a saved head, each by itself.

    Args:
        folder: of embeddings in any layout that is read here, of one year.
        head: file of a head of classes (:func:`tessera_core.heads.save_head`).
        out: folder for the maps; what is there of the same tiles and head is kept.
        confidence: whether it is written as well.
        one_cog: whether all tiles of a coordinate system are put together into one file as well, once none is awaited.
        share: which of the tiles are done here.
        workers: processes; 1 does the work in this one. The files are the same bytes.
        executor, retries: see :func:`tessera_core._utils.spread.spread`.

    Raises:
        RasterError: there is nothing to map.
        InputError: two tiles have one name, there are several years, or the head does not fit.
        ExportError: a file cannot be written.
        Cancelled: ``cancelled`` returned true; finished tiles are kept.
    """
    from tessera_core.heads import load_head
    from tessera_core.project.maps import legend_of

    out, head = Path(out), Path(head)
    saved = load_head(head)
    _require_fit(saved)
    # Whoever works for us elsewhere has another current folder.
    pieces, failed = pieces_of(Path(folder).absolute())
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ExportError(f"Cannot create the folder {out}: {error.strerror or error}.") from error
    mine, digest = share.take(pieces), _digest(head)
    task = functools.partial(_map_share, tuple(pieces), head.absolute(), out.absolute(), confidence)
    if workers > 1 or executor is not processes:
        parts = spread(task, share, workers, executor=executor, retries=retries, progress=progress, cancelled=cancelled)
    else:
        parts = [task(share, progress=progress, cancelled=cancelled)]
    made = sum(count for count, _ in parts)
    own = [one for _, failures in parts for one in failures]
    failed += own
    with alone(out / _LOCK, passing=True):
        # Looked at and written in one turn, so that the share that ends last shows all.
        tiles = {piece.name: known for piece in pieces if (known := _known(out, piece, digest, confidence)) is not None}
        maps = write_virtual(out, tiles, "map", _endings(confidence))
        lost = {one.what for one in failed}
        # Of other shares.
        there = (piece for piece in pieces if piece.name not in tiles and piece.name not in lost)
        failed += [one for piece in there if (one := _noted_failure(out, piece, digest, confidence)) is not None]
        lost = {one.what for one in failed}
        waiting = [piece.name for piece in pieces if piece.name not in tiles and piece.name not in lost]
        whole: list[Path] = []
        if one_cog and not waiting:
            how = {"": "MODE"} | ({"_confidence": "AVERAGE"} if confidence else {})
            counts = {name: {int(i): n for i, n in tile["classes"].items()} for name, tile in tiles.items()}
            whole = write_whole(out, tiles, "map", how, legend_of(saved), counts)
    if len(own) == len(mine) and (own or not pieces):
        raise InputError((own or failed)[0].why)
    return TileMaps(out, tiles, made, maps, waiting, saved.class_names, failed, whole)


def _require_fit(saved: SavedHead) -> None:
    if saved.classification is None:
        raise HeadError("Tile by tile, maps of classes are made; the saved head maps measured values.")
    if saved.head.receptive_radius:
        raise HeadError(
            "The saved head looks around each pixel, which would show at the rims of the tiles; map them as one (--out), or train "
            "one without --neighbourhood."
        )


def plan_maps(folder: str | Path, out: str | Path) -> list[Planned]:
    """What :func:`map_tiles` has to do; a tile counts as done whose map is there, of whatever head.

    Raises:
        RasterError, InputError: as there.
    """
    out, parts = Path(out), []
    for piece in pieces_of(Path(folder))[0]:
        found = piece.describe()
        done = noted(out, piece.name) is not None
        read = found.provenance.dim + 4
        parts.append(Planned.computed(piece.name, found.grid, done, read=read, written=2, us=MAP_US))
    return parts


def pieces_of(folder: Path) -> tuple[list[Piece], list[Failure]]:
    """The tiles at or below a folder, of one year and each name once, and what cannot be read.

    Raises:
        RasterError: there is none.
        InputError: two have one name, or there are several years.
    """
    from tessera_core.sources.local.open import find_pieces

    pieces, problems = find_pieces(folder)
    if not pieces:
        raise RasterError(problems[0].why if problems else f"There are no embeddings in {folder}.")
    named = Counter(piece.name for piece in pieces)
    if twice := next((name for name, count in named.items() if count > 1), None):
        raise InputError(
            f"Two tiles are called {twice}, and their maps would overwrite each other; map them separately."
        )
    years = set()
    for piece in pieces:
        try:
            years.add(piece.year)
        except InputError as error:
            problems.append(Failure(piece.name, str(error)))
    if len(years) > 1:
        known = ", ".join(str(year or "no year") for year in sorted(years, key=lambda year: year or 0))
        raise InputError(f"{folder} holds embeddings of several years ({known}); map each year's folder by itself.")
    lost = {one.what for one in problems}
    return [piece for piece in pieces if piece.name not in lost], problems


def _map_share(
    pieces: tuple[Piece, ...],
    head: Path,
    out: Path,
    confidence: bool,
    share: Share,
    progress: Progress | None = None,
    cancelled: Cancel | None = None,
) -> tuple[int, list[Failure]]:
    """Map the tiles of a share that are left; how many were made, and what failed."""
    from tessera_core.heads import load_head
    from tessera_core.project.maps import legend_of

    saved, digest, made = load_head(head), _digest(head), 0
    legend = legend_of(saved)
    failed: list[Failure] = []
    mine = share.take(pieces)
    for number, piece in enumerate(mine):
        if cancelled is not None and cancelled():
            raise Cancelled
        if progress is not None:
            progress(number, len(mine), piece.name)
        if _known(out, piece, digest, confidence) is not None:
            continue
        try:
            _map_one(piece, saved, legend, out, digest, confidence, cancelled)
            made += 1
        except InputError as error:
            failed.append(Failure(piece.name, str(error)))
            (out / FAILED).mkdir(exist_ok=True)
            facts = {"made_of": _made_of(piece, digest, confidence), "why": str(error)}
            write_json(_failed_file(out, piece), facts)
        else:
            _failed_file(out, piece).unlink(missing_ok=True)
    if progress is not None:
        progress(len(mine), len(mine), "")
    return made, failed


def _map_one(
    piece: Piece,
    saved: SavedHead,
    legend: Sequence[LabelClass],
    out: Path,
    digest: str,
    confidence: bool,
    cancelled: Cancel | None,
) -> None:
    from tessera_core.project.maps import map_classes_with

    targets = [out / f"{piece.name}{ending}.tif" for ending in _endings(confidence)]
    require_ours(*targets, out / f"{piece.name}.json", vouched=vouched(out, piece.name))
    # Of an object store's tiles those of other shares stay there.
    bring_whole([piece.path])
    raster = piece.open(cancelled=cancelled)
    made = map_classes_with(raster, saved, legend=legend, cancelled=cancelled)
    # The note of another head's map goes first: it would vouch for this one if we were killed before our own.
    (out / f"{piece.name}.json").unlink(missing_ok=True)
    write_class_note(out, piece.name, made, made.write(*targets), _made_of(piece, digest, confidence))


def _endings(confidence: bool) -> tuple[str, ...]:
    return ("", "_confidence") if confidence else ("",)


def require_ours(*targets: Path, vouched: Mapping[str, int] | None = None) -> None:
    """Refuse to replace maps of another program; ours may be without its note, where a run was killed between the two.

    Args:
        targets: all that is to be written, looked at before any of it is: maps, their notes, and virtual rasters of
            :func:`write_virtual`.
        vouched: by name, the bytes that files of ours had; one that is shorter now was cut off when the power failed.

    Raises:
        InputError: another program's is there.
    """
    for target in targets:
        if target.exists() and not _ours(target, (vouched or {}).get(target.name, 0)):
            raise InputError(f"{target} is there already and was not made by this command; choose another folder.")


def _ours(target: Path, whole: int) -> bool:
    try:
        size = target.stat().st_size
        if not size:
            # What a power cut leaves of a file that was not on the disk yet.
            return True
        if target.suffix == ".json":
            return is_note(target)
        if target.suffix == ".vrt":
            return f'key="{_SHOWS}"'.encode() in read_bytes(target, RasterError)
        with open_raster(target) as file:
            if any(key.startswith("tessera_") for key in file.tags()):
                return True
    except RasterError:
        pass
    with target.open("rb") as raw:
        start = raw.read(_LOOK)
    # Of one that is cut short, the tags may be left and cannot be read, or be gone.
    return start.startswith(_TIFF) and (size < whole or b'"tessera_' in start)


def _made_of(piece: Piece, digest: str, confidence: bool) -> str:
    """What a map depends on, as hexadecimal digits."""
    stat = piece.source.stat()
    facts = [piece.name, stat.st_size, stat.st_mtime_ns, digest, confidence]
    return hashlib.sha256(json.dumps(facts).encode()).hexdigest()


def _known(out: Path, piece: Piece, digest: str, confidence: bool) -> dict[str, Any] | None:
    """What is noted of a tile's map, if it is there and was made of the same."""
    found = noted(out, piece.name, _endings(confidence))
    return found if found is not None and found.get("made_of") == _made_of(piece, digest, confidence) else None


def _failed_file(out: Path, piece: Piece) -> Path:
    return out / FAILED / f"{piece.name}.json"


def _noted_failure(out: Path, piece: Piece, digest: str, confidence: bool) -> Failure | None:
    """Why a tile could not be mapped by whose turn it was, if it is still the same tile and head."""
    try:
        found = json.loads(_failed_file(out, piece).read_text(encoding="utf-8"))
        same = found["made_of"] == _made_of(piece, digest, confidence)
        return Failure(piece.name, str(found["why"])) if same else None
    except (OSError, ValueError, KeyError, TypeError):
        return None


@functools.lru_cache(maxsize=8)
def _digest_of(path: Path, size: int, changed: int) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _digest(head: Path) -> str:
    stat = head.stat()
    return _digest_of(head, stat.st_size, stat.st_mtime_ns)


def virtual_files(
    out: Path, tiles: Mapping[str, Mapping[str, Any]], what: str, endings: Sequence[str] = ("",)
) -> list[Path]:
    """The files that :func:`write_virtual` would write."""
    return [out / f"{stem}{ending}.vrt" for stem, _, _ in _systems(tiles, what) for ending in endings]


def write_virtual(
    out: Path, tiles: Mapping[str, Mapping[str, Any]], what: str, endings: Sequence[str] = ("",)
) -> list[Path]:
    """One virtual raster for each coordinate system and pixel size, of the tiles' maps and of what lies beside them.

    Args:
        out: folder of the maps.
        tiles: what is known of each, by name; ``grid`` is read.
        what: first part of the files' names: ``map`` gives ``map_32631.vrt``.
        endings: of the names of the tiles' files, before ``.tif``.

    Raises:
        ExportError: a file cannot be written, or the tiles do not fit together.
    """
    files = []
    for stem, crs, members in _systems(tiles, what):
        for ending in endings:
            members_files = [(out / f"{name}{ending}.tif", grid) for name, grid in members]
            try:
                files.append(write_vrt(out / f"{stem}{ending}.vrt", members_files, tags={_SHOWS: what}))
            except TesseraError as error:
                raise ExportError(f"The maps of {crs} cannot be shown as one: {error}") from error
    return files


def write_whole(
    out: Path,
    tiles: Mapping[str, Mapping[str, Any]],
    what: str,
    overviews: Mapping[str, str],
    legend: Sequence[LabelClass],
    counts: Mapping[str, Mapping[int, int]],
) -> list[Path]:
    """One Cloud Optimized GeoTIFF of each virtual raster of :func:`write_virtual`, beside it.

    Args:
        out, tiles, what: as there.
        overviews: of each ending of the names of the tiles' files, how it is resampled; see :func:`write_one_cog`.
        legend: classes of the map whose ending is ``""``.
        counts: pixels of each class (id -> pixels) by tile.

    Raises:
        ExportError: a file cannot be written, or the tiles do not fit together.
    """
    files = []
    for stem, _, members in _systems(tiles, what):
        made_of = hashlib.sha256(
            json.dumps([[name, tiles[name]["made_of"]] for name, _ in members]).encode()
        ).hexdigest()
        for ending, how in overviews.items():
            target, parts = out / f"{stem}{ending}.tif", [(out / f"{name}{ending}.tif", grid) for name, grid in members]
            files.append(write_one_cog(target, parts, how, made_of))
            if not ending:
                pixels = Counter[int]()
                for name, _ in members:
                    pixels.update(counts[name])
                name_classes(target, legend, pixels)
    return files


def _systems(tiles: Mapping[str, Mapping[str, Any]], what: str) -> Iterator[tuple[str, str, list[tuple[str, Grid]]]]:
    """Each coordinate system and pixel size: stem of the files that show it, its name, and its tiles."""
    groups: dict[tuple[str, float], list[tuple[str, Grid]]] = {}
    for name, tile in sorted(tiles.items()):
        grid = Grid.from_json(tile["grid"])
        if grid.crs is not None:
            groups.setdefault((grid.crs, grid.transform.a), []).append((name, grid))
    for number, ((crs, _), members) in enumerate(sorted(groups.items())):
        code = crs.removeprefix("EPSG:") if crs.startswith("EPSG:") else str(number)
        stem = f"{what}_{code}" if sum(other == crs for other, _ in groups) == 1 else f"{what}_{code}_{number}"
        yield stem, crs, members

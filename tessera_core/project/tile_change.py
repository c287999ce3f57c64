"""Change between two years of a folder of tiles: any number, in any UTM zones, in shares, resumable, judged as one scene.

Three turns, each tile by tile: what differs (embeddings are read once, four bytes a pixel stay in ``.measured``), what unchanged
ground does over all tiles together, and a map for each tile. The turn in the middle waits until all tiles have been through the
first; a share that comes before says what it waits for, and the same command goes on later. Each tile knows a rim of its
neighbours' pixels, so that the maps have no seams.
"""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import json
import zipfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from tessera_core._utils.atomic import atomic_path, flush, write_json
from tessera_core._utils.locks import alone
from tessera_core._utils.npy import load_npy
from tessera_core._utils.partial import Failure
from tessera_core._utils.share import WHOLE, Share
from tessera_core._utils.spread import RETRIES, processes, spread
from tessera_core.analysis.change import LEVELS, Borders, ChangeLayer, Null, SceneShift, require_one_grid
from tessera_core.analysis.change.judge import Judgement, fit_judgement
from tessera_core.analysis.change.levels import count_levels
from tessera_core.analysis.change.measure import Measured, measure_differences
from tessera_core.analysis.change.scene import SAMPLE, ChangeScene, fit_scene_on
from tessera_core.areas import hectares, pixel_counts
from tessera_core.errors import Cancelled, ExportError, InputError, RasterError
from tessera_core.export.change import CLASSES
from tessera_core.grid import Grid
from tessera_core.periods import period
from tessera_core.project.map_notes import CHANGE, noted, sizes, vouched
from tessera_core.project.plan import CHANGE_US, Planned
from tessera_core.project.tile_maps import pieces_of, require_ours, write_virtual, write_whole
from tessera_core.raster import EmbeddingRaster
from tessera_core.sources.remote.objects import bring_whole
from tessera_core.types import Cancel, Progress

if TYPE_CHECKING:
    from tessera_core.sources.local.reader import Piece

# Of what lies in the folder: shares that write another one would wait for each other's files.
SCENE, JUDGED, MEASURED = "scene.npz", "judged.npz", ".measured"
_LOCK = ".change.lock"
# Of the names of a tile's maps: what changed, and p-values.
_ENDINGS = ("", "_p")
# Tiles that the model of the scene is fitted on, at most.
TILES_LOOKED_AT = 400
# Bytes of what was measured that stay in memory between the passes over it.
_KEPT = 32 << 20


@dataclass(frozen=True)
class Pair:
    """One tile in both years.

    Attributes:
        name: of the tile; without the year that cells have at its end.
        first, second: the pieces.
        grid: of both.
        changed: sizes and times of what they are made of.
    """

    name: str
    first: Piece
    second: Piece
    grid: Grid
    changed: tuple[int, ...]


@dataclass(frozen=True)
class TileChanges:
    """Change of tiles.

    Attributes:
        folder: that holds the maps.
        tiles: what is known of each that is there, by name: ``pixels``, ``changed``, ``hectares`` (None without a place).
        maps: the virtual rasters.
        waiting: names of tiles of other shares that have not been compared, or not been mapped, yet.
        failed: tiles that could not be compared.
        layer: the scene as a whole: what unchanged ground does; its ``levels`` are empty. None while tiles are awaited.
        whole: the files that hold all tiles of a coordinate system, where they were asked for and no tile is awaited.
    """

    folder: Path
    tiles: Mapping[str, Mapping[str, Any]]
    maps: Sequence[Path]
    waiting: Sequence[str]
    failed: Sequence[Failure]
    layer: ChangeLayer | None
    whole: Sequence[Path] = ()


def change_tiles(
    first: str | Path,
    second: str | Path,
    out: str | Path,
    *,
    rate: float,
    seed: int = 0,
    one_cog: bool = False,
    share: Share = WHOLE,
    workers: int = 1,
    executor: Callable[[int], Executor] = processes,
    retries: int = RETRIES,
    progress: Progress | None = None,
    cancelled: Cancel | None = None,
) -> TileChanges:
    """Compare the tiles of two folders that have the same names.

    Args:
        first, second: folders of embeddings of the earlier and the later year, in any layout that is read here.
        out: folder for the maps; what is there of the same tiles is kept.
        rate: false-discovery rate of the maps, over all tiles together.
        seed: of the sample that the model of the scene is fitted on.
        one_cog: see :func:`tessera_core.project.tile_maps.map_tiles`.
        share: which of the tiles are done here.
        workers: processes; 1 does the work in this one. The files are the same bytes.
        executor, retries: see :func:`tessera_core._utils.spread.spread`.

    Raises:
        RasterError: there is nothing to compare, or too little of it has data.
        InputError: two tiles have one name, a folder holds several years, or OUT holds change of other tiles.
        ExportError: a file cannot be written.
        Cancelled: ``cancelled`` returned true; finished tiles are kept.
    """
    out = Path(out)
    pairs, failed = pairs_of(Path(first).absolute(), Path(second).absolute())
    if not pairs:
        raise InputError(failed[0].why)
    try:
        (out / MEASURED).mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ExportError(f"Cannot create the folder {out}: {error.strerror or error}.") from error
    digest = _digest(pairs, seed, CHANGE)
    with alone(out / _LOCK, passing=True):
        _scene_of(pairs, out, digest, seed)

    def run(task: Callable[..., Any], at: int) -> list[Any]:
        def report(done: int, total: int, message: str) -> None:
            if progress is not None:
                progress(50 * at + 50 * done // max(total, 1), 100, message)

        if workers > 1 or executor is not processes:
            return spread(
                task, share, workers, executor=executor, retries=retries, progress=report, cancelled=cancelled
            )
        return [task(share, progress=report, cancelled=cancelled)]

    there = {pair.name: known for pair in pairs if (known := _known(out, pair, digest, rate)) is not None}
    # Until the scene is judged, each tile is needed.
    done = set(there) if zipfile.is_zipfile(out / JUDGED) else set()
    left = [pair for pair in share.take(pairs) if pair.name not in done and not _lost_file(out, pair).is_file()]
    if any(not _is_measured(out, pair) for pair in left):
        run(functools.partial(_measure_share, pairs, out.absolute(), digest), 0)
    with alone(out / _LOCK, passing=True):
        layer, missing, lost = _judge(pairs, out, digest)
    failed = [*failed, *lost]
    if layer is None:
        return TileChanges(out, there, [], missing, failed, None)
    names = {one.what for one in lost}
    whole = tuple(pair for pair in pairs if pair.name not in names)
    run(functools.partial(_write_share, whole, out.absolute(), digest, rate), 1)
    with alone(out / _LOCK, passing=True):
        there = {pair.name: known for pair in whole if (known := _known(out, pair, digest, rate)) is not None}
        maps = write_virtual(out, there, "change", _ENDINGS)
        waiting = [pair.name for pair in whole if pair.name not in there]
        files: list[Path] = []
        if one_cog and not waiting:
            counts = {name: {1: tile["pixels"] - tile["changed"], 2: tile["changed"]} for name, tile in there.items()}
            files = write_whole(out, there, "change", {"": "MODE", "_p": "AVERAGE"}, CLASSES, counts)
    return TileChanges(out, there, maps, waiting, failed, layer, files)


def pairs_of(first: Path, second: Path) -> tuple[tuple[Pair, ...], list[Failure]]:
    """The tiles that two folders have in common, by name, and what cannot be compared.

    Raises:
        RasterError, InputError: see :func:`tessera_core.project.tile_maps.pieces_of`.
    """
    (before, failed), (after, more) = pieces_of(first), pieces_of(second)
    failed += more
    others = {_place_of(piece): piece for piece in after}
    pairs = []
    for piece in before:
        other = others.pop(_place_of(piece), None)
        if other is None:
            if piece.name in {one.what for one in failed}:
                continue
            failed.append(Failure(piece.name, f"There is no tile {piece.name} in {second}."))
            continue
        try:
            grid, same = piece.describe().grid, other.describe().grid
        except InputError as error:
            failed.append(Failure(piece.name, str(error)))
            continue
        if grid != same:
            failed.append(Failure(piece.name, f"The tile {piece.name} does not have the same pixels in both years."))
            continue
        stats = piece.source.stat(), other.source.stat()
        changed = tuple(n for s in stats for n in (s.st_size, s.st_mtime_ns))
        name = piece.name if piece.name == other.name else _place_of(piece)
        pairs.append(Pair(name, piece, other, grid, changed))
    named = {one.what for one in failed}
    failed += [
        Failure(piece.name, f"There is no tile {piece.name} in {first}.")
        for piece in others.values()
        if piece.name not in named
    ]
    return tuple(sorted(pairs, key=lambda pair: pair.name)), failed


def _bring(pairs: Iterable[Pair]) -> None:
    bring_whole(piece.path for pair in pairs for piece in (pair.first, pair.second))


def _place_of(piece: Piece) -> str:
    """A tile's name without the year that cells have at its end (:mod:`tessera_core.cells`)."""
    return piece.name.removesuffix(f"_{piece.year}")


def plan_change(first: str | Path, second: str | Path, out: str | Path) -> list[Planned]:
    """What :func:`change_tiles` has to do; a tile counts as done whose map is there, at whatever rate.

    Raises:
        RasterError, InputError: as there.
    """
    out, parts = Path(out), []
    for pair in pairs_of(Path(first), Path(second))[0]:
        done = noted(out, pair.name) is not None
        read = 2 * (pair.first.describe().provenance.dim + 4)
        parts.append(Planned.computed(pair.name, pair.grid, done, read=read, written=9, us=CHANGE_US))
    return parts


def _digest(pairs: Sequence[Pair], seed: int, *form: str) -> str:
    facts = [[pair.name, *pair.changed] for pair in pairs]
    return hashlib.sha256(json.dumps([facts, seed, *form]).encode()).hexdigest()


# ------------------------------------------------------------------ the model of the scene


def _scene_of(pairs: Sequence[Pair], out: Path, digest: str, seed: int) -> None:
    """Fit the model, or see that it is there; one for all shares."""
    known = _fitted_for(out / SCENE)
    if known == digest:
        return
    # One of the first format is fitted anew, to the same numbers; what was measured in it is measured again.
    if known is not None and known != _digest(pairs, seed):
        raise InputError(f"{out} holds change of other tiles or years; nothing was changed. Choose another folder.")
    rng = np.random.default_rng(seed)
    chosen = [pairs[n] for n in sorted(rng.permutation(len(pairs))[:TILES_LOOKED_AT])]
    _bring(chosen)
    xs, ys = [], []
    for pair in chosen:
        try:
            x, y = _drawn(pair, -(-SAMPLE // len(chosen)), rng)
        except InputError:
            # It is named when its own turn comes.
            continue
        xs.append(x)
        ys.append(y)
    dim = max((x.shape[1] for x in xs), default=0)
    none = np.empty((0, dim), np.float32)
    scene = fit_scene_on(np.concatenate([none, *xs]), np.concatenate([none, *ys]), seed)
    arrays = {f.name: getattr(scene, f.name) for f in dataclasses.fields(scene) if f.name not in ("shift", "noise")}
    with atomic_path(out / SCENE) as part, part.open("wb") as file:
        shift = np.array([scene.shift.before, scene.shift.after, scene.shift.relative])
        np.savez(file, digest=np.array(digest), noise=np.array(scene.noise), shift=shift, **arrays)
        flush(file)


def _fitted_for(scene: Path) -> str | None:
    """The digest in the file of a model; None where there is none, or what a power cut left of one."""
    if not zipfile.is_zipfile(scene):
        # Another's file of that name stays.
        return "" if scene.is_file() and scene.read_bytes()[:2] not in (b"", b"PK") else None
    with np.load(scene) as found:
        return str(found["digest"]) if "digest" in found else ""


def _drawn(pair: Pair, count: int, rng: np.random.Generator) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Embeddings of both years at places drawn from a tile, float32 (n, D) each."""
    first, second = pair.first.open(), pair.second.open()
    _require_same_dataset(first, second)
    pixels = np.flatnonzero(first.valid() & second.valid())
    if len(pixels) > count:
        pixels = np.sort(rng.choice(pixels, count, replace=False))
    rows, cols = np.divmod(pixels, first.shape[1])
    return first.sample(rows, cols), second.sample(rows, cols)


def _require_same_dataset(first: EmbeddingRaster, second: EmbeddingRaster) -> None:
    first.provenance.require_same_dataset(second.provenance, "a comparison of years")
    require_one_grid(first, second)


@functools.lru_cache(maxsize=1)
def _load_scene(file: Path, digest: str) -> ChangeScene:
    with np.load(file) as found:
        names = ("to_first", "to_second", "constant")
        arrays = {name: found[name] for name in names}
        shift = SceneShift(*map(float, found["shift"]))
        return ChangeScene(**arrays, noise=float(found["noise"]), shift=shift, centres=found["centres"])


# ------------------------------------------------------------------ first turn: what differs


def _measure_share(
    pairs: tuple[Pair, ...],
    out: Path,
    digest: str,
    share: Share,
    progress: Progress | None = None,
    cancelled: Cancel | None = None,
) -> None:
    scene = _load_scene(out / SCENE, digest)
    mine, beside = share.take(pairs), _Neighbours(pairs)
    for number, pair in enumerate(mine):
        if cancelled is not None and cancelled():
            raise Cancelled
        if progress is not None:
            progress(number, len(mine), pair.name)
        target, note = _measured_file(out, pair), _lost_file(out, pair)
        # As it was called in the first format.
        target.with_suffix(".npz").unlink(missing_ok=True)
        if _is_measured(out, pair):
            continue
        try:
            near = beside.of(pair)
            # Of an object store's tiles those stay there that this share does not touch.
            _bring([pair, *near])
            measured = _measure(pair, near, scene, cancelled)
        except InputError as error:
            write_json(note, {"why": str(error)})
            continue
        _save_measured(target, measured)
        note.unlink(missing_ok=True)
    _opened.cache_clear()


class _Neighbours:
    """Which tiles have pixels beside each other's, by their corners, so that not each is compared with all."""

    def __init__(self, pairs: Sequence[Pair]) -> None:
        # By coordinate system: the pairs, and float64 (N, 4) of west, south, east and north.
        self._by_crs: dict[str | None, tuple[list[Pair], NDArray[np.float64]]] = {}
        grouped: dict[str | None, list[Pair]] = {}
        for pair in pairs:
            grouped.setdefault(pair.grid.crs, []).append(pair)
        for crs, members in grouped.items():
            self._by_crs[crs] = members, np.array([one.grid.bounds for one in members], np.float64).reshape(-1, 4)

    def of(self, pair: Pair) -> list[Pair]:
        """The neighbours of a pair, itself not among them."""
        members, bounds = self._by_crs[pair.grid.crs]
        west, south, east, north = pair.grid.bounds
        # A little more than a corner's touch; `_touches` says exactly.
        reach = abs(pair.grid.transform.a)
        near = np.flatnonzero(
            (bounds[:, 0] <= east + reach) & (bounds[:, 2] >= west - reach)
            & (bounds[:, 1] <= north + reach) & (bounds[:, 3] >= south - reach)
        )  # fmt: skip
        return [members[n] for n in near if members[n] is not pair and _touches(pair.grid, members[n].grid)]


# Each tile is a neighbour eight times; a few that were opened are kept, two open files each.
@functools.lru_cache(maxsize=24)
def _opened(piece: Piece, changed: tuple[int, ...]) -> EmbeddingRaster:
    return piece.open()


def _own(piece: Piece, changed: tuple[int, ...], cancelled: Cancel | None) -> EmbeddingRaster:
    """A tile in its own turn; it was often opened as a neighbour just before."""
    return _opened(piece, changed) if piece.describe().mapped else piece.open(cancelled=cancelled)


def _measure(pair: Pair, near: Sequence[Pair], scene: ChangeScene, cancelled: Cancel | None) -> Measured:
    first, second = (
        _with_rim(
            _own(getattr(pair, year), pair.changed, cancelled), [(getattr(one, year), one.changed) for one in near]
        )
        for year in ("first", "second")
    )
    _require_same_dataset(first, second)
    return dataclasses.replace(measure_differences(first, second, scene, None, cancelled), margin=1)


def _touches(grid: Grid, other: Grid) -> bool:
    """Whether two grids have pixels beside each other, of one size and on one lattice."""
    a, b = grid.transform, other.transform
    if grid.crs is None or grid.crs != other.crs or not np.allclose((a.a, a.e), (b.a, b.e)):
        return False
    row, col = (b.f - a.f) / a.e, (b.c - a.c) / a.a
    if abs(row - round(row)) > 0.01 or abs(col - round(col)) > 0.01:
        return False
    return -other.height <= round(row) <= grid.height and -other.width <= round(col) <= grid.width


def _with_rim(raster: EmbeddingRaster, near: Sequence[tuple[Piece, tuple[int, ...]]]) -> EmbeddingRaster:
    """A raster with one pixel more on each side, of its neighbours' data or none."""
    height, width = raster.shape
    codes = np.zeros((height + 2, width + 2, raster.dim), np.int8)
    scales = np.full((height + 2, width + 2), np.nan, np.float32)
    t = raster.grid.transform
    for piece, changed in near:
        try:
            other = _opened(piece, changed)
        except InputError:
            # It is named in its own turn; here it is ground without data.
            continue
        if other.dim != raster.dim:
            continue
        s = other.grid.transform
        top, left = 1 + round((s.f - t.f) / t.e), 1 + round((s.c - t.c) / t.a)
        for y0, y1, x0, x1 in (
            (0, 1, 0, width + 2),
            (height + 1, height + 2, 0, width + 2),
            (0, height + 2, 0, 1),
            (0, height + 2, width + 1, width + 2),
        ):
            y0, y1 = max(y0, top), min(y1, top + other.shape[0])
            x0, x1 = max(x0, left), min(x1, left + other.shape[1])
            if y0 < y1 and x0 < x1:
                theirs = np.s_[y0 - top : y1 - top, x0 - left : x1 - left]
                codes[y0:y1, x0:x1], scales[y0:y1, x0:x1] = other.codes[theirs], other.scales[theirs]
    codes[1:-1, 1:-1], scales[1:-1, 1:-1] = raster.codes, raster.scales
    return EmbeddingRaster(codes, scales, raster.grid.window(-1, -1, height + 2, width + 2), raster.provenance)


def _measured_file(out: Path, pair: Pair) -> Path:
    return out / MEASURED / f"{pair.name}.npy"


def _is_measured(out: Path, pair: Pair) -> bool:
    """Whether what differs is there whole: a power cut leaves an empty file or a short one."""
    try:
        return load_npy(_measured_file(out, pair)).dtype == _PIXEL
    except RasterError:
        return False


def _lost_file(out: Path, pair: Pair) -> Path:
    return out / MEASURED / f"{pair.name}.json"


# ------------------------------------------------------------------ second turn: what unchanged ground does


class _Parts:
    """What was measured, tile by tile; may be gone through several times, and is read once where it is little."""

    def __init__(self, files: Sequence[Path]) -> None:
        self.files = files
        self._kept: list[Measured] = []

    def __iter__(self) -> Iterator[Measured]:
        yield from self._kept
        room = _KEPT - sum(map(_size, self._kept))
        for file in self.files[len(self._kept) :]:
            part = _load_measured(file)
            room -= _size(part)
            if room >= 0:
                self._kept.append(part)
            yield part


def _size(part: Measured) -> int:
    return part.levels.nbytes + part.contrasts.nbytes + part.groups.nbytes


# One array rather than an archive of three, which takes ten times as long to open.
_PIXEL = np.dtype([("levels", "<u2"), ("contrasts", "u1"), ("groups", "u1")])


def _save_measured(file: Path, measured: Measured) -> None:
    whole = np.empty(measured.levels.shape, _PIXEL)
    for name in ("levels", "contrasts", "groups"):
        whole[name] = getattr(measured, name)
    with atomic_path(file) as part, part.open("wb") as target:
        np.save(target, whole)


def _load_measured(file: Path) -> Measured:
    found = load_npy(file)
    levels, contrasts, groups = (np.ascontiguousarray(found[name]) for name in ("levels", "contrasts", "groups"))
    return Measured(levels, contrasts, groups, 1)


def _judge(pairs: Sequence[Pair], out: Path, digest: str) -> tuple[ChangeLayer | None, list[str], list[Failure]]:
    """The scene as a whole, or the names of tiles that are awaited; and the tiles that could not be measured."""
    lost = [Failure(pair.name, _why(out, pair)) for pair in pairs if _lost_file(out, pair).is_file()]
    if not zipfile.is_zipfile(out / JUDGED):
        names = {one.what for one in lost}
        whole = [pair for pair in pairs if pair.name not in names]
        missing = [pair.name for pair in whole if not _is_measured(out, pair)]
        if missing:
            return None, missing, lost
        if not whole:
            raise InputError(lost[0].why)
        parts = _Parts([_measured_file(out, pair) for pair in whole])
        found = fit_judgement(parts, len(_load_scene(out / SCENE, digest).centres))
        histogram = np.zeros(LEVELS, np.int64)
        for part in parts:
            histogram += count_levels(found.levels(part))
        years = [-1 if year is None else year for year in (pairs[0].first.year, pairs[0].second.year)]
        with atomic_path(out / JUDGED) as written, written.open("wb") as file:
            np.savez(
                file,
                null=np.array([found.null.centre, found.null.spread, found.null.pixels]),
                raised=np.array(found.raised, np.float64).reshape(-1, 2),
                borders=np.array([found.borders.share, found.borders.spread, found.borders.pixels]),
                years=np.array(years),
                histogram=histogram,
                **{name: getattr(found, name) for name in ("rise", "lift", "shrink", "most")},
            )
            flush(file)
    return _load_judged(out, digest)[1], [], lost


def _why(out: Path, pair: Pair) -> str:
    return str(json.loads(_lost_file(out, pair).read_text(encoding="utf-8"))["why"])


def _load_judged(out: Path, digest: str) -> tuple[Judgement, ChangeLayer]:
    with np.load(out / JUDGED) as found:
        centre, spread, pixels = map(float, found["null"])
        null = Null(centre, spread, "fitted", int(pixels))
        raised = tuple((float(share), float(factor)) for share, factor in found["raised"])
        share, wide, beside = map(float, found["borders"])
        borders = Borders(share, wide, int(beside))
        tables = {name: found[name] for name in ("rise", "lift", "shrink", "most")}
        first, second = (None if year < 0 else period(int(year)) for year in found["years"])
        histogram = found["histogram"]
    shift = _load_scene(out / SCENE, digest).shift
    layer = ChangeLayer(np.empty((0, 0), np.uint16), histogram, null, shift, (first, second), raised, borders)
    return Judgement(null, raised, borders, **tables), layer


# ------------------------------------------------------------------ third turn: maps


def _write_share(
    pairs: tuple[Pair, ...],
    out: Path,
    digest: str,
    rate: float,
    share: Share,
    progress: Progress | None = None,
    cancelled: Cancel | None = None,
) -> None:
    from tessera_core.export.change import write_change

    judgement, scene = _load_judged(out, digest)
    # One for the scene, whose histogram is that of all tiles.
    threshold = scene.threshold(rate)
    mine = share.take(pairs)
    for number, pair in enumerate(mine):
        if cancelled is not None and cancelled():
            raise Cancelled
        if progress is not None:
            progress(number, len(mine), pair.name)
        if _known(out, pair, digest, rate) is not None:
            continue
        target = out / f"{pair.name}.tif"
        targets = (out / f"{pair.name}{ending}" for ending in (*(f"{end}.tif" for end in _ENDINGS), ".json"))
        require_ours(*targets, vouched=vouched(out, pair.name))
        layer = dataclasses.replace(scene, levels=judgement.levels(_load_measured(_measured_file(out, pair))))
        # The note of a map at another rate goes first: it would vouch for this one if we were killed before our own.
        (out / f"{pair.name}.json").unlink(missing_ok=True)
        classes = layer.classes_from(threshold)
        files = write_change(target, layer, rate, pair.grid, pair.second.describe().provenance, classes=classes)
        found = pixel_counts(classes)
        called = int(found[2])
        write_json(
            out / f"{pair.name}.json",
            {
                "format": CHANGE,
                "made_of": _made_of(digest, rate),
                "grid": pair.grid.to_json(),
                "pixels": int(found[1] + found[2]),
                "changed": called,
                "hectares": hectares(called, pair.grid),
                "files": sizes(files),
            },
        )


def _made_of(digest: str, rate: float) -> str:
    return hashlib.sha256(f"{digest} {rate!r}".encode()).hexdigest()


def _known(out: Path, pair: Pair, digest: str, rate: float) -> dict[str, Any] | None:
    """What is noted of a tile's map, if it is there and was made of the same."""
    found = noted(out, pair.name, _ENDINGS)
    return found if found is not None and found.get("made_of") == _made_of(digest, rate) else None

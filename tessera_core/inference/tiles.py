"""A tile directory to embedding files: row block by row block, resumable, nothing half-written under a final name.

Output (docs/spec/model.md section 3, and the command-line contract): ``<tile>.npy`` int8 (H, W, D) with ``<tile>_scales.npy``
float32 (H, W), NaN scale where there is no data; or float32 ``<tile>.npy`` holding exactly what the reference writes, also
where there is nothing to embed. Beside them ``<tile>_nodata.npy`` uint8 (H, W), the reason per pixel, where any pixel has
none, and ``<tile>.json`` with grid and provenance.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from tessera_core._utils.atomic import write_json
from tessera_core._utils.locks import alone
from tessera_core._utils.partial import Failure
from tessera_core._utils.resumable import ArraySpec, ResumableArrays
from tessera_core._utils.share import WHOLE, Share
from tessera_core.areas import pixel_counts
from tessera_core.dpixels.remarks import remarks
from tessera_core.dpixels.tile import DPixelTile
from tessera_core.errors import Cancelled, ExportError, InputError, InUseError, RasterError, TesseraError, TileError
from tessera_core.gate import open_raster
from tessera_core.inference.engine import Engine, check_dim, row_blocks
from tessera_core.inference.store import WRITTEN, StoreInWaiting
from tessera_core.models.checkpoint import LoadedEncoder, load_checkpoint
from tessera_core.models.config import Arithmetic
from tessera_core.models.quantise import quantise
from tessera_core.periods import Period
from tessera_core.provenance import Provenance
from tessera_core.raster import NoData
from tessera_core.types import Cancel, Progress

FORMAT = "tessera-embedding-tile/1"
LAYOUTS = ("npy", "geotiff", "zarr")
# In the work folder: held while a run is at it.
_LOCK = "lock"
_ENDINGS = (".npy", "_scales.npy", "_nodata.npy", ".json")
Layout = Literal["npy", "geotiff", "zarr"]


@dataclass(frozen=True)
class Generated:
    """What a run over one tile did.

    Attributes:
        path: the embedding file (or the Zarr store).
        tile: the tile's name.
        shape: (H, W, D).
        computed: pixels embedded in this run; 0 when everything was there already.
        resumed_rows: rows found finished from an earlier run.
        seconds: wall time of this run.
        nodata: pixels without data by reason.
        notes: sentences for people.
    """

    path: Path
    tile: str
    shape: tuple[int, int, int]
    computed: int
    resumed_rows: int
    seconds: float
    nodata: Mapping[str, int]
    notes: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        """JSON object for the command line."""
        rate = self.computed / self.seconds if self.seconds > 0 else 0.0
        return {
            "tile": self.tile,
            "path": str(self.path),
            "shape": list(self.shape),
            "computed_pixels": self.computed,
            "resumed_rows": self.resumed_rows,
            "seconds": round(self.seconds, 3),
            "pixels_per_second": round(rate, 1),
            "nodata": dict(self.nodata),
            "notes": list(self.notes),
        }


@dataclass(frozen=True)
class GenerateOptions:
    """How tiles are embedded and how the results are kept; checked when made.

    Attributes:
        dim: leading values to keep; None for the published embedding (with ``float32`` 128 or what the model has).
        float32: write float32 as the reference does, instead of int8 codes and scales.
        device, dtype: see :class:`~tessera_core.inference.engine.Engine`.
        data_source: ``"mpc"`` or ``"aws"`` for v1.1; None to take what the tile says.
        arithmetic: ``"trained"``, or for v1.1 ``"dclimate"``: computed as the published store was (see
            :meth:`~tessera_core.models.config.EncoderConfig.with_arithmetic`); None for what the weights' name says.
        seed, repeats: v1.0's random draws and how many of them are averaged.
        layout: ``"npy"``, ``"geotiff"`` (float32 bands) or ``"zarr"`` (a store in the published convention).

    Raises:
        InputError: an option is not known, or two do not fit together.

    Example:
        >>> GenerateOptions(dim=16, layout="zarr").dim
        16
    """

    dim: int | None = None
    float32: bool = False
    device: str = "auto"
    dtype: str = "auto"
    data_source: str | None = None
    arithmetic: Arithmetic | None = None
    seed: int = 0
    repeats: int = 1
    layout: Layout = "npy"

    def __post_init__(self) -> None:
        if self.layout not in LAYOUTS:
            raise InputError(f"The format {self.layout!r} is not known; it is one of {', '.join(LAYOUTS)}.")
        if self.repeats < 1:
            raise InputError("Repeats must be at least 1.")
        if self.layout == "zarr" and self.float32:
            raise InputError(
                "A Zarr store holds int8 codes and scales; leave --float32 away, or choose another format."
            )


def generate_tile(
    tile_dir: str | Path,
    weights: str | Path | LoadedEncoder,
    out_dir: str | Path,
    options: GenerateOptions | None = None,
    *,
    progress: Progress | None = None,
    cancelled: Cancel | None = None,
) -> Path:
    """Embed one tile into files; see :func:`generate_tiles`. Returns the embedding file."""
    return generate_tiles([tile_dir], weights, out_dir, options, progress=progress, cancelled=cancelled)[0].path


def generate_tiles(
    tile_dirs: Iterable[str | Path],
    weights: str | Path | LoadedEncoder,
    out_dir: str | Path,
    options: GenerateOptions | None = None,
    *,
    progress: Progress | None = None,
    cancelled: Cancel | None = None,
    failed: list[Failure] | None = None,
    share: Share = WHOLE,
    threads: int | None = None,
    engines: dict[str | None, Engine] | None = None,
) -> list[Generated]:
    """Embed tiles into files; calling again after an interruption goes on where it stopped.

    Several processes may work on the same tiles in one folder at the same time: a tile that another is at is put back to the end.

    Args:
        tile_dirs: tile directories.
        weights: a name, a checkpoint file, or a loaded encoder.
        out_dir: folder for the results.
        options: how; None for the published embedding.
        progress: pixels done, pixels in all, a message with pixels per second.
        cancelled: asked between batches.
        failed: takes the tiles that are damaged or have not one valid observation, while the others are embedded; without it,
            and where none is left, they are an error.
        share: which of the tiles are done here. Each writes its own part of a Zarr store, which appears when the last is done.
        threads: batches in flight on the CPU; None for all cores.
        engines: by data source, of the same weights and options; takes those that are made here, for the next call.

    Raises:
        TileError: a folder is no tile, or has not one valid observation.
        CheckpointError: the weights are not usable.
        InputError: an option does not fit the model or machine.
        InUseError: another run is at every tile that is left.
        ExportError: the results cannot be written.
        Cancelled: ``cancelled`` returned true; finished blocks are kept.
    """
    options = options or GenerateOptions()
    out, store = Path(out_dir), None
    folders = [Path(folder) for folder in tile_dirs]
    names = [folder.resolve().name for folder in folders]
    if len(set(names)) < len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise InputError(
            f"Two tiles are called {twice}, and their results would overwrite each other; run them separately."
        )
    if folders and not share.take(folders):
        return []
    if options.layout == "zarr":
        store = StoreInWaiting(out, folders)
        store.begin(share.take(names))
    problems: list[TesseraError] = []
    todo: deque[_Planned] = deque()
    for folder in share.take(folders):
        try:
            # Opened one at a time: a tile is a dozen open files.
            todo.append(_planned(folder, out, options.layout))
        except TileError as error:
            problems.append(_noted(error, folder.name, failed))
            if store is not None:
                store.give_up(folder.resolve().name, error)
    if not todo and problems and (store is None or not store.due):
        raise problems[0]
    loaded = weights if isinstance(weights, LoadedEncoder) else load_checkpoint(weights, progress=progress)
    loaded = loaded.with_arithmetic(options.arithmetic)
    meter = _Meter(progress, sum(one.pixels for one in todo))
    engines = {} if engines is None else engines
    results: dict[str, Generated] = {}
    order, put_back, before = [one.name for one in todo], set[str](), 0
    while todo:
        one = todo.popleft()
        try:
            tile = DPixelTile.open(one.folder)
            if store is not None:
                store.require_place(tile)
            source = options.data_source or _source(tile)
            if source not in engines:
                engines[source] = Engine(loaded.for_data(source), options.device, options.dtype, threads=threads)
            run = _TileRun(tile, engines[source], out if store is None else store.place, options)
            if options.layout == "npy":
                _require_same_dataset(out, tile.name, run.provenance())
            results[one.name] = run.run(meter.shifted(before), cancelled)
            if store is not None:
                store.add(one.name, loaded.config.prefixes)
        except InUseError as error:
            if one.name not in put_back:
                # Somebody else is at it: by the time that all others are done, so may this one be.
                put_back.add(one.name)
                todo.append(one)
                continue
            problems.append(_noted(error, one.name, failed))
        except TileError as error:
            problems.append(_noted(error, one.name, failed))
            if store is not None:
                store.give_up(one.name, error)
        before += one.pixels
    if not results and problems:
        if store is not None and store.due:
            # All others have come: nobody else will write it.
            store.finish(loaded.config.prefixes)
        raise problems[0]
    made = [results[name] for name in order if name in results]
    if store is not None:
        path = store.finish(loaded.config.prefixes)
        made = [replace(result, path=path) for result in made]
    meter.finish()
    return made


@dataclass(frozen=True)
class _Planned:
    """A tile that was looked at and closed again."""

    folder: Path
    name: str
    pixels: int


def _planned(folder: Path, out: Path, layout: Layout) -> _Planned:
    tile = DPixelTile.open(folder)
    if layout != "zarr":
        _require_ours(out, tile, layout)
    return _Planned(folder, tile.name, tile.shape[0] * tile.shape[1])


def _noted(error: TesseraError, what: str, failed: list[Failure] | None) -> TesseraError:
    """Note a tile that is passed over, or raise where none may be."""
    if failed is None:
        raise error
    failed.append(Failure(what, str(error)))
    return error


def _require_ours(out: Path, tile: DPixelTile, layout: Layout) -> None:
    """Refuse to replace a file of another program or person, or the result of another tile of this name.

    Raises:
        InputError: such a file is there.
    """
    name = tile.name
    if layout == "geotiff":
        taken = [out / f"{name}.tif"] if (out / f"{name}.tif").exists() and not _our_tiff(out / f"{name}.tif") else []
    else:
        taken = [out / file for file in (f"{name}{end}" for end in _ENDINGS) if (out / file).exists()]
    header = _header(out, name)
    if taken and (layout == "geotiff" or header.get("format") != FORMAT):
        raise InputError(
            f"{taken[0]} is there already and was not made by this command; nothing was changed. Choose another folder."
        )
    # Earlier versions did not stamp windows that are no calendar year.
    years = {tile.year, None} if isinstance(tile.year, Period) else {tile.year}
    if taken and (header.get("grid") != tile.grid.to_json() or _stamp(header).year not in years):
        raise InputError(
            f"{out} holds the embeddings of another tile {name} ({_stamp(header).year or 'another place'}); nothing was "
            "changed. Choose another folder for each year and place."
        )


def _require_same_dataset(out: Path, name: str, provenance: Provenance) -> None:
    """Refuse to replace a tile's embeddings by those of another encoder.

    Raises:
        InputError: there are such.
    """
    header = _header(out, name)
    if header.get("format") == FORMAT and _stamp(header).dataset != provenance.dataset:
        raise InputError(
            f"{out} holds embeddings of {name} by {_stamp(header).dataset}, not by {provenance.dataset}; nothing was changed. "
            "Choose another folder for each encoder."
        )


def _stamp(header: Mapping[str, Any]) -> Provenance:
    return Provenance.from_json(header.get("provenance", {}))


def _our_tiff(path: Path) -> bool:
    try:
        with open_raster(path) as dataset:
            return str(dataset.tags().get("tessera_source")) == "generated"
    except RasterError:
        return False


def _header(out: Path, name: str) -> dict[str, Any]:
    try:
        header = json.loads((out / f"{name}.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return header if isinstance(header, dict) else {}


def _source(tile: DPixelTile) -> str | None:
    """The data source where the tile's ``meta.json`` names it plainly."""
    value = tile.meta.get("source")
    return value if value in ("mpc", "aws") else None


class _Meter:
    """Progress over several tiles, with the pixels per second of this run."""

    def __init__(self, progress: Progress | None, total: int) -> None:
        self.progress, self.total = progress, total
        self.started = time.monotonic()
        self.skipped = 0

    def shifted(self, before: int) -> Progress:
        def report(done: int, skipped: int, _: str) -> None:
            if self.progress is None:
                return
            elapsed = time.monotonic() - self.started
            fresh = before + done - skipped
            rate = f"{fresh / elapsed:,.0f} pixels/s" if elapsed > 0.5 and fresh > 0 else ""
            self.progress(before + done, self.total, rate)

        return report

    def finish(self) -> None:
        if self.progress:
            self.progress(self.total, self.total, "")


class _TileRun:
    """One tile through one engine into one folder."""

    def __init__(self, tile: DPixelTile, engine: Engine, out: Path, options: GenerateOptions) -> None:
        config, dim = engine.config, options.dim
        self.tile, self.engine, self.out = tile, engine, out
        self.remarks = remarks(tile)
        self.options = options
        self.float32 = options.float32 or options.layout == "geotiff"
        if not self.float32 and config.quantiser is None:
            raise InputError(
                f"{engine.loaded.name} has no int8 form (its authors offer none); add --float32 for its {config.output_dim} "
                "float32 values per pixel."
            )
        if options.float32 and dim in (None, 128) and dim != config.output_dim:
            # Reduced v1.1 models keep fewer than 128 of their values in int8, yet the reference's float32 file has them all.
            self.dim = min(max(128, config.output_dim), config.representation_dim)
        else:
            self.dim = check_dim(config, None if dim == 128 and config.output_dim > 128 else dim)

    def _fingerprint(self, rows: int) -> dict[str, Any]:
        tile, config = self.tile, self.engine.config
        arrays = {
            name: _array_identity(getattr(tile, name))
            for name in ("bands", "masks", "doys", "sar_asc", "doys_asc", "sar_desc", "doys_desc")
        }
        draws = {"seed": self.options.seed, "repeats": self.options.repeats} if config.sampling.rule == "v1.0" else {}
        return {
            "format": FORMAT,
            "weights": self.engine.loaded.sha256,
            "normalisation": config.normalisation.to_json(),
            **({} if config.arithmetic == "trained" else {"arithmetic": config.arithmetic}),
            "dtype": str(self.engine.dtype).removeprefix("torch."),
            "device": self.engine.device.type,
            "dim": self.dim,
            "float32": self.float32,
            "rows": rows,
            "roi": None if tile.roi is None else int(np.packbits(tile.roi).astype(np.int64).sum()),
            "tile": arrays,
            **draws,
        }

    def provenance(self) -> Provenance:
        """The stamp of this run's embeddings; the same for equal inputs, so that resumed runs end in equal bytes."""
        tile, engine = self.tile, self.engine
        details: dict[str, Any] = {
            "tile": tile.name,
            "dtype": str(engine.dtype).removeprefix("torch."),
            "normalisation": engine.config.normalisation.name,
        }
        if engine.config.sampling.rule == "v1.0":
            details |= {"seed": self.options.seed, "repeats": self.options.repeats}
        if self.remarks:
            details["warnings"] = list(self.remarks)
        return engine.loaded.provenance(dim=self.dim, year=tile.year, source="generated", details=details)

    def run(self, report: Progress, cancelled: Cancel | None) -> Generated:
        started = time.monotonic()
        tile, engine, name = self.tile, self.engine, self.tile.name
        height, width = tile.shape
        step = engine.block_rows(width)
        fingerprint = self._fingerprint(step)
        target = self.out / f"{name}.npy"
        finished = _finished(self.out, name, fingerprint) if self.options.layout != "geotiff" else None
        if finished is not None:
            return self._result(target, 0, height, started, finished)
        tile.require_observations()
        release(tile)
        kind: type = np.float32 if self.float32 else np.int8
        spec = {
            "values": ArraySpec((height, width, self.dim), kind),
            "reasons": ArraySpec((height, width), np.uint8),
        }
        if not self.float32:
            spec["scales"] = ArraySpec((height, width), np.float32)
        with self._working(fingerprint, spec) as work:
            columns = slice(0, width)
            todo = work.remaining((rows, columns) for rows in row_blocks(0, height, step))
            done = skipped = height - sum(rows.stop - rows.start for rows, _ in todo)
            for rows, _ in todo:
                if cancelled and cancelled():
                    raise Cancelled

                def inside(pixels: int, _: int, __: str, done: int = done) -> None:
                    report(done * width + pixels, skipped * width, "")

                found = engine.embed(
                    tile,
                    rows,
                    seed=self.options.seed,
                    repeats=self.options.repeats,
                    outside=self.float32,
                    progress=inside,
                    cancelled=cancelled,
                )
                work.commit((rows, columns), self._block(found.values[..., : self.dim], found.reasons))
                done += rows.stop - rows.start
                report(done * width, skipped * width, "")
                release(tile)
            counts = pixel_counts(np.asarray(work.arrays["reasons"]), len(NoData))
            nodata = {r.name.lower(): int(counts[r]) for r in NoData if r != NoData.VALID and counts[r]}
            header = {
                "format": FORMAT,
                "grid": tile.grid.to_json(),
                "provenance": self.provenance().to_json(),
                "nodata": nodata,
                "fingerprint": _digest(fingerprint),
            }
            if self.options.layout == "zarr":
                header["anywhere"] = _digest_anywhere(fingerprint)
            if self.options.layout != "geotiff":
                self._publish(work, header, bool(nodata))
            if self.options.layout == "geotiff":
                from tessera_core.inference import layouts

                target = self.out / f"{name}.tif"
                arrays = work.arrays
                layouts.write_geotiff(target, arrays["values"], arrays["reasons"], tile.grid, self.provenance())
            work.discard()
        return self._result(target, (height - skipped) * width, skipped, started, nodata)

    @contextmanager
    def _working(self, fingerprint: Mapping[str, Any], spec: Mapping[str, ArraySpec]) -> Iterator[ResumableArrays]:
        folder = self.out / f".{self.tile.name}.generating"
        with ExitStack() as stack:
            try:
                folder.mkdir(parents=True, exist_ok=True)
                stack.enter_context(alone(folder / _LOCK, wait=False))
            except BlockingIOError as error:
                raise InUseError(
                    f"Another run is working on the tile {self.tile.name} in {self.out}; run the same command again when "
                    "it is done."
                ) from error
            except OSError as error:
                raise ExportError(f"Cannot write in {self.out}: {error.strerror or error}.") from error
            yield stack.enter_context(
                ResumableArrays(folder, fingerprint, spec, what=f"The embedding of {self.tile.name}", keeps=(_LOCK,))
            )

    def _block(self, values: NDArray[np.float32], reasons: NDArray[np.uint8]) -> dict[str, NDArray]:
        if self.float32:
            return {"values": values, "reasons": reasons}
        rule = self.engine.config.quantiser
        assert rule is not None  # refused in __init__
        codes, scales = quantise(values, rule)
        empty = reasons != NoData.VALID
        codes[empty], scales[empty] = 0, np.nan
        return {"values": codes, "scales": scales, "reasons": reasons}

    def _publish(self, work: ResumableArrays, header: Mapping[str, Any], any_nodata: bool) -> None:
        name = self.tile.name
        final = self.out / f"{name}.npy"
        # The embedding goes away first and comes back last: its presence says that all its companions belong to it.
        for path in (final, self.out / f"{name}_scales.npy", self.out / f"{name}_nodata.npy"):
            path.unlink(missing_ok=True)
        write_json(self.out / f"{name}.json", header)
        targets = {"scales": self.out / f"{name}_scales.npy"} if not self.float32 else {}
        if any_nodata:
            targets["reasons"] = self.out / f"{name}_nodata.npy"
        work.publish({**targets, "values": final})

    def _result(
        self, target: Path, computed: int, resumed: int, started: float, nodata: Mapping[str, int]
    ) -> Generated:
        shape = (*self.tile.shape, self.dim)
        seconds = time.monotonic() - started
        notes = (*self.engine.loaded.notes, *self.remarks)
        return Generated(target, self.tile.name, shape, computed, resumed, seconds, nodata, notes)


def _finished(out: Path, name: str, fingerprint: Mapping[str, Any]) -> dict[str, int] | None:
    """The no-data counts of a result that is already there and was computed from the same things."""
    written = (out / f"{name}{WRITTEN}").is_file()
    if not written and not (out / f"{name}.npy").is_file():
        return None
    try:
        header = json.loads((out / f"{name}.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    if header.get("fingerprint") == _digest(fingerprint) or (
        written and header.get("anywhere") == _digest_anywhere(fingerprint)
    ):
        return dict(header.get("nodata", {}))
    if written:
        raise InputError(
            f"{name} was put into the store in {out.parent} before its series or the options changed; nothing was changed. Choose "
            f"another folder, or delete {out} to begin again."
        )
    return None


def _digest(fingerprint: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(fingerprint, sort_keys=True).encode()).hexdigest()


def _digest_anywhere(fingerprint: Mapping[str, Any]) -> str:
    """Without what the machine decides: a share may go on on another one."""
    return _digest({key: value for key, value in fingerprint.items() if key not in ("device", "rows")})


def _array_identity(array: NDArray) -> list[Any]:
    """What tells an input file from another without reading gigabytes: shape, dtype, size and time of change."""
    identity: list[Any] = [list(array.shape), str(array.dtype)]
    path = getattr(array, "filename", None)
    if path is not None:
        stat = Path(path).stat()
        identity += [stat.st_size, stat.st_mtime_ns]
    elif array.size:
        # In memory: small arrays such as days of year, or tiles that never were files.
        identity.append(int(np.asarray(array, np.int64).sum()))
    return identity


def release(tile: DPixelTile) -> None:
    """Let the system take back the pages of the tile's files that were read, so that memory is bounded by the block."""
    import mmap

    if not hasattr(mmap, "MADV_DONTNEED"):
        return
    for array in (tile.bands, tile.masks, tile.sar_asc, tile.sar_desc):
        mapped = getattr(array, "_mmap", None)
        if mapped is not None:
            mapped.madvise(mmap.MADV_DONTNEED)

"""Tiles embedded by several processes at once; each takes shares of the list, and all write into one folder."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from dataclasses import replace
from pathlib import Path

from tessera_core._utils.partial import Failure
from tessera_core._utils.share import WHOLE, Share
from tessera_core._utils.spread import RETRIES, processes, spread
from tessera_core.errors import InputError, TesseraError
from tessera_core.inference.engine import Engine
from tessera_core.inference.tiles import Generated, GenerateOptions, generate_tiles
from tessera_core.models.checkpoint import LoadedEncoder, load_checkpoint
from tessera_core.models.config import Arithmetic
from tessera_core.sources.remote.objects import bring_whole
from tessera_core.types import Cancel, Progress


def generate_in_shares(
    tile_dirs: Sequence[str | Path],
    weights: str | Path,
    out_dir: str | Path,
    options: GenerateOptions,
    workers: int,
    *,
    share: Share = WHOLE,
    executor: Callable[[int], Executor] = processes,
    retries: int = RETRIES,
    failed: list[Failure] | None = None,
    progress: Progress | None = None,
    cancelled: Cancel | None = None,
) -> list[Generated]:
    """As :func:`~tessera_core.inference.tiles.generate_tiles`, by several processes; the files are the same bytes.

    Args:
        workers: processes, each with one thread.
        executor, retries, progress: see :func:`tessera_core._utils.spread.spread`.

    Raises:
        InputError, ExportError: as there; nothing could be done.
    """
    # Whoever works for us elsewhere has another current folder.
    folders = tuple(Path(folder).absolute() for folder in tile_dirs)
    weights = Path(weights).absolute() if Path(weights).is_file() else str(weights)
    task = functools.partial(_one_share, folders, weights, Path(out_dir).absolute(), options)
    parts = spread(task, share, workers, executor=executor, retries=retries, progress=progress, cancelled=cancelled)
    by_name = {one.tile: one for made, _ in parts for one in made}
    problems = [one for _, failures in parts for one in failures]
    if problems and not by_name:
        raise InputError(problems[0].why)
    if failed is not None:
        failed += problems
    names = [Path(folder).resolve().name for folder in folders]
    out = Path(out_dir)
    found = [by_name[name] for name in names if name in by_name]
    return [replace(one, path=out / one.path.relative_to(out.absolute())) for one in found]


def _one_share(
    folders: tuple[Path, ...], weights: str | Path, out: Path, options: GenerateOptions, share: Share
) -> tuple[list[Generated], list[Failure]]:
    failed: list[Failure] = []
    # Of an object store's tiles those of other shares stay there.
    bring_whole(share.take(folders))
    loaded, engines = _warm(str(weights), _changed(str(weights)), options.arithmetic, options.device, options.dtype)
    try:
        made = generate_tiles(folders, loaded, out, options, share=share, failed=failed, threads=1, engines=engines)
        return made, failed
    except TesseraError:
        if not failed:
            raise
        # Every tile of this share is bad; those of others are not.
        return [], failed


@functools.lru_cache(maxsize=1)
def _warm(
    weights: str, changed: int, arithmetic: Arithmetic | None, device: str, dtype: str
) -> tuple[LoadedEncoder, dict[str | None, Engine]]:
    """Weights and engines of the last share that this process did: the next one is most likely of the same run."""
    return load_checkpoint(weights), {}


def _changed(weights: str) -> int:
    path = Path(weights)
    return path.stat().st_mtime_ns if path.is_file() else 0

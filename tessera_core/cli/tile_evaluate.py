"""``tessera evaluate --tiles``: the labelled pixels of a folder, read in shares and by several processes."""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from tessera_core.cli.shares import engine_of, planned, share_of

if TYPE_CHECKING:
    from tessera_core.assess.reference import Reference
    from tessera_core.project.tile_pixels import TilePixels, Wanted
    from tessera_core.raster import EmbeddingRaster
    from tessera_core.types import Cancel

SCORE = "score.json"


def labelled(args: argparse.Namespace) -> tuple[Reference, EmbeddingRaster, list[dict[str, str]]] | dict[str, Any]:
    """The labels on the tiles, what stands for a raster of their pixels, and what could not be read.

    Returns:
        Or the command's result, where there is nothing to score yet: a plan, or a share that others have to follow.

    Raises:
        InputError, ExportError: as :class:`~tessera_core.project.tile_pixels.PixelParts` and
            :func:`~tessera_core.project.tile_training.labels_on_tiles`.
    """
    from tessera_core.cli.console import ConsoleProgress
    from tessera_core.cli.head_options import read_classes
    from tessera_core.project.tile_maps import pieces_of
    from tessera_core.project.tile_pixels import PixelParts, plan_reading, read_pixels
    from tessera_core.project.tile_training import labels_on_tiles
    from tessera_core.raster import EmbeddingRaster

    # Whoever works for us elsewhere has another current folder.
    pieces, problems = pieces_of(Path(args.embeddings).absolute())
    labels = labels_on_tiles(pieces, lambda grid: read_classes(args, grid, of_several=True))
    if told := planned(args, lambda: plan_reading(labels.wanted, args.parts)):
        return told
    progress = ConsoleProgress("read")
    read: Callable[[Wanted, Cancel | None], TilePixels] = read_pixels
    alone = args.share is None and args.workers == 1 and not args.scheduler and args.parts is None
    with ExitStack() as stack:
        if not alone:
            # Of our own processes nobody wants the folder afterwards.
            folder = args.parts or stack.enter_context(tempfile.TemporaryDirectory(prefix="tessera-parts-"))
            parts = PixelParts(folder, labels.wanted)
            with engine_of(args) as engine:
                waiting = parts.read(share_of(args), progress=progress, **engine)
            if waiting:
                failed = [*problems, *parts.failed()]
                done = len(labels.wanted) - len(waiting)
                facts = {"read": done, "waiting": waiting, "failed": [one.to_json() for one in failed]}
                return {**facts, "differing": parts.differing()}
            read = parts.of
        reference, pixels, failed = labels.pixels(read, progress=progress if alone else None)
    return reference, cast(EmbeddingRaster, pixels), [one.to_json() for one in (*problems, *failed)]


def keep_score(args: argparse.Namespace, result: dict[str, Any]) -> None:
    """Leave the result where the parts are: of forty tasks nobody knows which was last.

    Raises:
        ExportError: it cannot be written.
    """
    from tessera_core._utils.atomic import write_json

    write_json(Path(args.parts) / SCORE, result)

"""Embeddings of the labelled pixels of many tiles: read by one process, or by several that meet in a folder.

In the folder each tile that has labels becomes ``pixels/NAME.npy`` and, written last, ``pixels/NAME.json``, which says what it was
read from: a run that is begun again reads what is left, and the same labels are scored with another head without reading again.
"""

from __future__ import annotations

import functools
import hashlib
import json
from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from tessera_core._utils.atomic import atomic_path, make_place, write_json
from tessera_core._utils.locks import alone
from tessera_core._utils.npy import load_npy
from tessera_core._utils.partial import Failure
from tessera_core._utils.share import WHOLE, Share
from tessera_core._utils.spread import RETRIES, processes, spread
from tessera_core.errors import Cancelled, InputError
from tessera_core.gate import read_json
from tessera_core.project.plan import READ_S, Planned
from tessera_core.provenance import Provenance
from tessera_core.sources.remote.objects import bring_whole
from tessera_core.types import Cancel, Progress

if TYPE_CHECKING:
    from tessera_core.sources.local.reader import Piece

FORMAT = "tessera-labelled-pixels/1"
_PIXELS, _LABELS = "pixels", "labels.json"
# A scale, float32, behind the codes of its pixel.
_SCALE_BYTES = 4
# At how many labelled pixels a tile is compared with another copy of it that was read.
_COMPARED = 64


@dataclass(frozen=True)
class Wanted:
    """Labelled pixels of a tile.

    Attributes:
        piece: the tile.
        rows, cols: int32 (n,), in the tile.
    """

    piece: Piece
    rows: NDArray[np.int32]
    cols: NDArray[np.int32]


@dataclass(frozen=True)
class TilePixels:
    """What a tile holds there.

    Attributes:
        codes, scales: int8 (n, D) and float32 (n,).
        provenance: of the tile.
    """

    codes: NDArray[np.int8]
    scales: NDArray[np.float32]
    provenance: Provenance


def read_pixels(wanted: Wanted, cancelled: Cancel | None = None) -> TilePixels:
    """Read labelled pixels from their tile.

    Raises:
        InputError: the tile cannot be read.
        Cancelled: ``cancelled`` said so.
    """
    bring_whole([wanted.piece.path])
    raster = wanted.piece.open(cancelled=cancelled)
    scales = np.asarray(raster.scales[wanted.rows, wanted.cols], np.float32)
    return TilePixels(np.asarray(raster.codes[wanted.rows, wanted.cols]), scales, raster.provenance)


class PixelParts:
    """The folder in which processes and machines meet that read labelled pixels.

    Args:
        folder: made if need be; what is there of the same tiles and labels is kept.
        wanted: what is to be read, the same and in the same order for all.

    Raises:
        InputError: the folder holds pixels of other labels or tiles.
        ExportError: it cannot be written.
    """

    def __init__(self, folder: str | Path, wanted: Sequence[Wanted]) -> None:
        # Whoever works for us elsewhere has another current folder.
        self.folder, self.wanted = Path(folder).absolute(), wanted
        self._ends = np.cumsum([len(one.rows) for one in wanted], dtype=np.int64)
        none = np.zeros(0, np.int32)
        places = np.stack([np.concatenate([none, *(getattr(one, way) for one in wanted)]) for way in ("rows", "cols")])
        facts = [FORMAT, [one.piece.name for one in wanted], self._ends.tolist()]
        digest = hashlib.sha256(json.dumps(facts).encode() + places.tobytes()).hexdigest()
        # Not hidden: machines that meet in an object store take it from there.
        self._places = self.folder / f"places-{digest[:16]}.npy"
        make_place(self.folder / _PIXELS)
        note = self.folder / _LABELS
        with alone(self.folder / ".labels.lock", passing=True):
            if note.is_file() and read_json(note).get("digest") != digest:
                raise InputError(
                    f"{self.folder} holds the pixels of other labels or other tiles; nothing was changed. Choose another folder, "
                    "or delete it."
                )
            if not self._places.is_file():
                with atomic_path(self._places) as part:
                    np.save(part, places)
            write_json(note, {"format": FORMAT, "digest": digest, "tiles": len(wanted), "pixels": places.shape[1]})

    def read(
        self,
        share: Share = WHOLE,
        *,
        workers: int = 1,
        executor: Callable[[int], Executor] = processes,
        retries: int = RETRIES,
        progress: Progress | None = None,
        cancelled: Cancel | None = None,
    ) -> list[str]:
        """Read what is left of a share; the names of the tiles of other shares that nobody has read yet.

        Args:
            share: which of the tiles are read here.
            workers: processes; 1 does the work in this one. The files are the same bytes.
            executor, retries: see :func:`tessera_core._utils.spread.spread`.

        Raises:
            ExportError: a file cannot be written, or a worker was lost too often.
            Cancelled: ``cancelled`` returned true; what was read is kept.
        """
        pieces = tuple(one.piece for one in self.wanted)
        task = functools.partial(_read_share, pieces, tuple(self._ends.tolist()), self._places)
        if workers > 1 or executor is not processes:
            spread(task, share, workers, executor=executor, retries=retries, progress=progress, cancelled=cancelled)
        else:
            task(share, progress=progress, cancelled=cancelled)
        return [one.piece.name for one in self.wanted if not self.known(one)]

    def known(self, wanted: Wanted) -> bool:
        """Whether a tile was read, or found to be unreadable; also from another copy of it that holds the same there."""
        return self._noted(wanted) is not None

    def differing(self) -> list[str]:
        """The names of the tiles that others read from a copy that is not as the one here: waiting for them is in vain."""
        noted = ((one, _note(self.folder, one.piece)) for one in self.wanted)
        return [
            one.piece.name
            for one, note in noted
            if note is not None and note.get("made_of") != _made_of(one.piece) and not self.known(one)
        ]

    def _noted(self, wanted: Wanted) -> dict[str, Any] | None:
        """What is noted of a tile, of the copy here or of one that holds the same."""
        if (found := _note(self.folder, wanted.piece)) is None or found.get("made_of") == _made_of(wanted.piece):
            return found
        return found if "why" not in found and _holds(wanted, self.folder, found) else None

    def failed(self) -> list[Failure]:
        """The tiles that are known to be unreadable."""
        notes = ((one, self._noted(one)) for one in self.wanted)
        return [left_out(one, InputError(str(note["why"]))) for one, note in notes if note and "why" in note]

    def of(self, wanted: Wanted, cancelled: Cancel | None = None) -> TilePixels:
        """What was read of a tile.

        Raises:
            InputError: it could not be read by whose turn it was.
        """
        note = self._noted(wanted)
        if note is None:
            raise InputError(f"{wanted.piece.name} was not read; run the same command again.")
        if "why" in note:
            raise InputError(str(note["why"]))
        return _pixels(self.folder, wanted.piece, note)


def _read_share(
    pieces: tuple[Piece, ...],
    ends: tuple[int, ...],
    places: Path,
    share: Share,
    progress: Progress | None = None,
    cancelled: Cancel | None = None,
) -> None:
    """Read the tiles of a share that are left."""
    rows, cols = load_npy(places)
    folder = places.parent
    mine = share.take(range(len(pieces)))
    for done, number in enumerate(mine):
        piece = pieces[number]
        if cancelled is not None and cancelled():
            raise Cancelled
        if progress is not None:
            progress(done, len(mine), f"labels on {piece.name}")
        note = _noted(folder, piece)
        if note is not None and "why" not in note:
            continue
        part = slice(ends[number - 1] if number else 0, ends[number])
        facts: dict[str, Any] = {"made_of": _made_of(piece)}
        try:
            found = read_pixels(Wanted(piece, rows[part], cols[part]), cancelled)
        except InputError as error:
            facts["why"] = str(error)
        else:
            scales = np.ascontiguousarray(found.scales)[:, None].view(np.int8)
            with atomic_path(_file(folder, piece, ".npy")) as part_file:
                np.save(part_file, np.concatenate([found.codes, scales], axis=1))
            facts["provenance"] = found.provenance.to_json()
        write_json(_file(folder, piece, ".json"), facts)
    if progress is not None:
        progress(len(mine), len(mine), "")


def _file(folder: Path, piece: Piece, ending: str) -> Path:
    return folder / _PIXELS / f"{piece.name}{ending}"


def _made_of(piece: Piece) -> str:
    """What was read, as hexadecimal digits."""
    try:
        stat = piece.source.stat()
    except OSError:
        # Reading says what is wrong.
        return ""
    return hashlib.sha256(json.dumps([piece.name, stat.st_size, stat.st_mtime_ns]).encode()).hexdigest()


def _note(folder: Path, piece: Piece) -> dict[str, Any] | None:
    """What is noted of a tile, of whatever copy, where the pixels are there or it could not be read."""
    try:
        found = dict(json.loads(_file(folder, piece, ".json").read_text(encoding="utf-8")))
        whole = "why" in found or _file(folder, piece, ".npy").stat().st_size > 0
    except (OSError, ValueError, TypeError):
        return None
    return found if whole else None


def _noted(folder: Path, piece: Piece) -> dict[str, Any] | None:
    """What is noted of a tile, where it was read as it is here and now."""
    found = _note(folder, piece)
    return found if found is not None and found.get("made_of") == _made_of(piece) else None


def _pixels(folder: Path, piece: Piece, note: dict[str, Any]) -> TilePixels:
    both = load_npy(_file(folder, piece, ".npy"))
    codes, scales = both[:, :-_SCALE_BYTES], np.ascontiguousarray(both[:, -_SCALE_BYTES:])
    return TilePixels(codes, scales.view(np.float32)[:, 0], Provenance.from_json(note["provenance"]))


def _holds(wanted: Wanted, folder: Path, note: dict[str, Any]) -> bool:
    """Whether a tile holds what was read of a copy of it: each machine may have its own, with times of its own."""
    some = np.unique(np.linspace(0, len(wanted.rows) - 1, min(len(wanted.rows), _COMPARED)).astype(int))
    try:
        if not wanted.piece.describe().mapped:
            # Looking would convert all of it.
            return False
        found = _pixels(folder, wanted.piece, note)
        here = read_pixels(Wanted(wanted.piece, wanted.rows[some], wanted.cols[some]))
    except InputError:
        return False
    if len(found.scales) != len(wanted.rows):
        return False
    same = np.array_equal(here.scales, found.scales[some], equal_nan=True) and here.provenance == found.provenance
    return same and np.array_equal(here.codes, found.codes[some])


def left_out(wanted: Wanted, error: InputError) -> Failure:
    """A tile that could not be read, and how many labelled pixels went with it."""
    return Failure(wanted.piece.name, f"{error} {len(wanted.rows)} labelled pixels lie on it.")


def plan_reading(wanted: Sequence[Wanted], folder: str | Path | None) -> list[Planned]:
    """What reading labelled pixels takes, and which tiles are read already into the folder where readers meet, if there is one."""
    parts = []
    for one in wanted:
        found = one.piece.describe()
        done = folder is not None and _noted(Path(folder), one.piece) is not None
        size = len(one.rows) * (found.provenance.dim + _SCALE_BYTES)
        parts.append(Planned(one.piece.name, found.grid, done, size, size, READ_S / 60, len(one.rows)))
    return parts

"""Arrays that grow in a folder until they are whole, and survive a kill on the way.

The folder holds memory-mapped ``.npy`` files of the final size, reserved on the disk at the start, ``plan.json`` (what is
being computed, as a digest) and ``pieces.log`` with a line for every finished piece: its window and the checksum of its
bytes. Started again with the same plan, those pieces are believed whose bytes still match; with another plan all begins
anew. Knows nothing of embeddings. Two processes at one folder are the caller's to keep apart (:mod:`tessera_core._utils.locks`).
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import shutil
import threading
import zlib
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple, Self

import numpy as np
from numpy.typing import DTypeLike, NDArray

from tessera_core._utils.atomic import write_json
from tessera_core.errors import ExportError
from tessera_core.types import Window

PLAN, PIECES = "plan.json", "pieces.log"
_NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
Piece = tuple[int, int, int, int]


class ArraySpec(NamedTuple):
    """What an array is to be: its shape, whose first two axes are rows and columns, and what stands where nothing was written."""

    shape: tuple[int, ...]
    dtype: DTypeLike
    fill: float = 0


class ResumableArrays:
    """Arrays under construction; use as a context manager. Pieces may be stored by several threads at once.

    Args:
        folder: where the work lies; made if need be. What else lies in it is removed when the work begins anew, except
            what ``keeps`` names.
        plan: JSON values that name the computation; equal plans go on with each other's work.
        spec: the arrays by name; the order counts for checksums.
        what: is being made, as the beginning of a sentence about a full disk.
        advice: what to do about one, beside freeing space; ends that sentence.
        make_room: called with the bytes that are needed before they are reserved.
        keeps: names in the folder that are not the work's own, such as a lock.

    Raises:
        ExportError: the folder cannot be written, or the disk has no room for the arrays.
    """

    def __init__(
        self,
        folder: Path,
        plan: Mapping[str, Any],
        spec: Mapping[str, ArraySpec],
        *,
        what: str = "The result",
        advice: str = "",
        make_room: Callable[[int], None] | None = None,
        keeps: Iterable[str] = (),
    ) -> None:
        self.folder = folder
        self.plan = plan_digest(plan)
        self.arrays: dict[str, NDArray[Any]] = {}
        self.done: dict[Piece, int] = {}
        self._spec = spec
        self._what, self._advice = what, advice
        self._make_room = make_room
        self._keeps = frozenset(keeps)
        self._guard = threading.Lock()

    def __enter__(self) -> Self:
        try:
            if not self._resume():
                self._begin()
            self._log = (self.folder / PIECES).open("a", encoding="ascii")
        except OSError as error:
            self.arrays = {}
            raise ExportError(f"Cannot write in {self.folder.parent}: {error.strerror or error}.") from error
        return self

    def __exit__(self, *_: object) -> None:
        self._log.close()
        self.arrays = {}

    def _resume(self) -> bool:
        try:
            known = json.loads((self.folder / PLAN).read_text(encoding="utf-8"))
            lines = (self.folder / PIECES).read_text(encoding="ascii").splitlines(keepends=True)
            if known != {"plan": self.plan}:
                return False
            arrays = {name: np.load(self.folder / f"{name}.npy", mmap_mode="r+") for name in self._spec}
            # A line without its end was being written when the process died; later lines must not become part of it.
            torn = len(lines.pop()) if lines and not lines[-1].endswith("\n") else 0
            noted = [tuple(int(number) for number in line.split()) for line in lines]
        except (OSError, ValueError):
            return False
        if any(arrays[name].shape != one.shape or arrays[name].dtype != one.dtype for name, one in self._spec.items()):
            return False
        self.arrays = arrays
        self.done = {(line[0], line[1], line[2], line[3]): line[4] for line in noted if len(line) == 5}
        if torn:
            os.truncate(self.folder / PIECES, (self.folder / PIECES).stat().st_size - torn)
        return True

    def _begin(self) -> None:
        self.done = {}
        size = sum(int(np.prod(one.shape)) * np.dtype(one.dtype).itemsize for one in self._spec.values())
        if self._make_room is not None:
            self._make_room(size)
        self.folder.mkdir(parents=True, exist_ok=True)
        self._clear()
        try:
            if size > shutil.disk_usage(self.folder).free:
                raise OSError(errno.ENOSPC, "disk full")
            for name, one in self._spec.items():
                path = self.folder / f"{name}.npy"
                self.arrays[name] = np.lib.format.open_memmap(path, "w+", one.dtype, one.shape)
                if hasattr(os, "posix_fallocate"):
                    # A hole in a file that finds no disk space later would kill the process, not raise.
                    with path.open("r+b") as file:
                        os.posix_fallocate(file.fileno(), 0, path.stat().st_size)
        except OSError as error:
            self.arrays = {}
            self._clear()
            if not self._keeps:
                self.folder.rmdir()
            if error.errno in _NO_ROOM:
                raise ExportError(
                    f"{self._what} needs {size / 1e9:.2f} GB in {self.folder.parent}, more than the disk has left. Free some "
                    f"space{self._advice}."
                ) from error
            raise
        for name, one in self._spec.items():
            if one.fill != 0:
                self.arrays[name][:] = one.fill
        (self.folder / PIECES).write_text("", encoding="ascii")
        write_json(self.folder / PLAN, {"plan": self.plan})

    def _clear(self) -> None:
        for path in self.folder.iterdir():
            if path.name in self._keeps:
                continue
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path)
            else:
                path.unlink()

    def remaining(self, windows: Iterable[Window]) -> list[Window]:
        """Those of the planned windows that are not done, or whose bytes are not those that were noted."""
        return [window for window in windows if not self._intact(window)]

    def _intact(self, window: Window) -> bool:
        noted = self.done.get(piece_of(window))
        return noted is not None and noted == _checksum(self.arrays[name][window] for name in self._spec)

    def store(self, window: Window, blocks: Mapping[str, NDArray[Any]]) -> None:
        """Write the blocks of a window without noting it as done: the next run makes them again."""
        for name, block in blocks.items():
            self.arrays[name][window] = block

    def commit(self, window: Window, blocks: Mapping[str, NDArray[Any]]) -> None:
        """Write the blocks of a window, one of every array, and note it as done."""
        self.store(window, blocks)
        piece = piece_of(window)
        checksum = _checksum(self.arrays[name][window] for name in self._spec)
        with self._guard:
            self.done[piece] = checksum
            self._log.write(" ".join(map(str, (*piece, checksum))) + "\n")
            self._log.flush()

    def digest(self) -> str:
        """SHA-256 over the windows done and their checksums, as hexadecimal digits: equal for equal bytes."""
        text = "\n".join(" ".join(map(str, (*piece, value))) for piece, value in sorted(self.done.items()))
        return hashlib.sha256(text.encode()).hexdigest()

    def flush(self) -> None:
        """Bring all bytes to the disk and let the arrays go; what is moved to its final name afterwards is whole."""
        for array in self.arrays.values():
            if isinstance(array, np.memmap):
                array.flush()
        self.arrays = {}

    def publish(self, targets: Mapping[str, Path]) -> None:
        """Move finished arrays to their final names, in the given order.

        Every move is atomic, and the last one is what makes the result visible; dying in between leaves the work to be done
        again, never a broken result under the last name.
        """
        self.flush()
        for name, target in targets.items():
            os.replace(self.folder / f"{name}.npy", target)

    def discard(self) -> None:
        """Remove the work folder."""
        self._log.close()
        shutil.rmtree(self.folder, ignore_errors=True)


def plan_digest(plan: Mapping[str, Any]) -> str:
    """SHA-256 of a plan's JSON, as hexadecimal digits."""
    return hashlib.sha256(json.dumps(plan, sort_keys=True).encode()).hexdigest()


def piece_of(window: Window) -> Piece:
    """``(top, bottom, left, right)`` of a window, as a line of the log begins."""
    rows, cols = window
    return rows.start, rows.stop, cols.start, cols.stop


def _checksum(blocks: Iterable[NDArray[Any]]) -> int:
    value = 0
    for block in blocks:
        value = zlib.crc32(np.ascontiguousarray(block).view(np.uint8).data, value)
    return value

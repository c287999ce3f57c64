"""Work that survives a kill: arrays filled row block by row block beside the target, with a journal of what is done.

The folder ``.<name>.generating`` holds the growing arrays, ``work.json`` (what is being computed, as a fingerprint) and
``rows.log``, to which a line is added after a block's bytes are on disk. Starting again with the same fingerprint goes on
after the last line; with another one starts over. Knows nothing of embeddings.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tessera_core._utils.atomic import write_json
from tessera_core.errors import ExportError

try:
    import fcntl
except ImportError:  # Windows: two runs of one tile at once are then the user's care
    fcntl = None  # type: ignore[assignment]

Spec = Mapping[str, tuple[tuple[int, ...], type]]


class Journal:
    """Arrays under construction; use as a context manager.

    Args:
        folder: where the work lies; made if need be.
        fingerprint: JSON values that name the computation; equal fingerprints continue each other's work.
        spec: shape and dtype of each array by name; the first axis is rows.

    Raises:
        ExportError: another process is at the same work, or the folder cannot be written.
    """

    def __init__(self, folder: Path, fingerprint: Mapping[str, Any], spec: Spec) -> None:
        self.folder = folder
        self._identity = json.loads(json.dumps(fingerprint))
        self._spec = spec
        self.arrays: dict[str, NDArray] = {}
        self.done: set[tuple[int, int]] = set()

    def __enter__(self) -> Journal:
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            self._lock = (self.folder / "lock").open("w")
        except OSError as error:
            raise ExportError(f"Cannot write in {self.folder.parent}: {error.strerror or error}.") from error
        if fcntl is not None:
            try:
                fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError as error:
                self._lock.close()
                raise ExportError(f"Another run is already working on {self.folder.name[1:]}; wait for it.") from error
        if not self._resume():
            self._begin()
        self._log = (self.folder / "rows.log").open("a", encoding="ascii")
        return self

    def __exit__(self, *_: object) -> None:
        self._log.close()
        self.arrays = {}
        self._lock.close()

    def _resume(self) -> bool:
        try:
            work = json.loads((self.folder / "work.json").read_text(encoding="utf-8"))
            lines = (self.folder / "rows.log").read_text(encoding="ascii").splitlines(keepends=True)
        except (OSError, ValueError):
            return False
        if work != self._identity:
            return False
        try:
            arrays = {name: np.load(self.folder / f"{name}.npy", mmap_mode="r+") for name in self._spec}
        except (OSError, ValueError):
            return False
        if any(arrays[n].shape != shape or arrays[n].dtype != dtype for n, (shape, dtype) in self._spec.items()):
            return False
        # A line without its end was being written when the process died: its block may not be whole.
        whole = [line.split() for line in lines if line.endswith("\n")]
        self.done = {(int(a), int(b)) for a, b in whole}
        self.arrays = arrays
        return True

    def _begin(self) -> None:
        for path in self.folder.iterdir():
            if path.name != "lock":
                path.unlink()
        try:
            for name, (shape, dtype) in self._spec.items():
                self.arrays[name] = np.lib.format.open_memmap(self.folder / f"{name}.npy", "w+", dtype, shape)
        except OSError as error:
            raise ExportError(f"Cannot make room for the result in {self.folder.parent}: {error.strerror}.") from error
        (self.folder / "rows.log").write_text("", encoding="ascii")
        write_json(self.folder / "work.json", self._identity)

    def commit(self, rows: slice, blocks: Mapping[str, NDArray]) -> None:
        """Store the block of ``rows`` in each array and note it as done, once its bytes are on disk."""
        for name, block in blocks.items():
            array = self.arrays[name]
            array[rows] = block
            array.flush()  # type: ignore[attr-defined]
        self._log.write(f"{rows.start} {rows.stop}\n")
        self._log.flush()
        os.fsync(self._log.fileno())
        self.done.add((rows.start, rows.stop))

    def remaining(self, blocks: Iterable[slice]) -> list[slice]:
        """Those of the planned blocks that are not done."""
        return [b for b in blocks if (b.start, b.stop) not in self.done]

    def publish(self, targets: Mapping[str, Path]) -> None:
        """Move finished arrays to their final names, in the given order.

        Every move is atomic, and the last one is what makes the result visible; dying in between leaves the work to be done
        again, never a broken result under the last name.
        """
        self.arrays = {}
        for name, target in targets.items():
            os.replace(self.folder / f"{name}.npy", target)

    def discard(self) -> None:
        """Remove the work folder."""
        shutil.rmtree(self.folder, ignore_errors=True)

"""A Zarr store that tiles are on their way into: they wait as ordinary results until the last of them is there.

Several runs may fill one store, each with its share of the same tiles; the one that finishes last writes it. A store that is there,
or that is being filled with other tiles, is never replaced.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

from tessera_core._utils.atomic import require_replaceable, write_json, write_text
from tessera_core._utils.locks import alone
from tessera_core._utils.npy import load_npy
from tessera_core.errors import ExportError, InUseError, TesseraError
from tessera_core.grid import Grid
from tessera_core.inference import layouts
from tessera_core.models.config import EncoderConfig
from tessera_core.provenance import Provenance
from tessera_core.raster import EmbeddingRaster

STORE = "embeddings.zarr"
PLACE = ".zarr-tiles"
# In the place: whose turn it is, which tiles belong together, and the ending of a note on one that cannot be had.
_LOCK, _PLAN, _GIVEN_UP = ".lock", ".plan.json", ".failed"
_ENDINGS = (".npy", "_scales.npy", "_nodata.npy", ".json", _GIVEN_UP)


class StoreInWaiting:
    """The store of a folder, and its tiles while they wait.

    Args:
        out: the folder.
        names: of all the tiles that belong into it, those of other shares as well.
    """

    def __init__(self, out: Path, names: Sequence[str]) -> None:
        self.path, self.place, self.names = out / STORE, out / PLACE, sorted(names)

    def begin(self, mine: Sequence[str]) -> None:
        """Refuse a store that is there, or that another run is filling with other tiles.

        Args:
            mine: names of the tiles that this run brings; what was given up of them earlier is tried again.

        Raises:
            InputError: it is there. It may hold other tiles and years, and is written whole.
            InUseError: another run is at it.
        """
        require_replaceable(self.path, None)
        with self._turn():
            others = [name for name in self._plan() if name not in self.names]
            if busy := next((name for name in others if self._worked_on(name)), None):
                raise InUseError(
                    f"Another run is filling {self.path} with other tiles, {busy} among them; nothing was changed. Give each "
                    "run a folder of its own, or all of them the same list of tiles with --share I/N."
                )
            write_json(self.place / _PLAN, {"tiles": self.names})
            for name in mine:
                (self.place / f"{name}{_GIVEN_UP}").unlink(missing_ok=True)

    def _plan(self) -> list[str]:
        try:
            return list(json.loads((self.place / _PLAN).read_text(encoding="utf-8"))["tiles"])
        except (OSError, ValueError, KeyError, TypeError):
            return []

    def _worked_on(self, name: str) -> bool:
        lock = self.place / f".{name}.generating" / "lock"
        try:
            with alone(lock, wait=False) if lock.is_file() else ExitStack():
                return False
        except BlockingIOError:
            return True

    def _turn(self) -> ExitStack:
        """The lock of the place, held until the returned context ends."""
        stack = ExitStack()
        try:
            self.place.mkdir(parents=True, exist_ok=True)
            stack.enter_context(alone(self.place / _LOCK))
        except OSError as error:
            raise ExportError(f"Cannot write in {self.place.parent}: {error.strerror or error}.") from error
        return stack

    def give_up(self, name: str, error: TesseraError) -> None:
        """Note that a tile will not come, so that nobody waits for it."""
        with self._turn():
            write_text(self.place / f"{name}{_GIVEN_UP}", f"{error}\n")

    @property
    def due(self) -> bool:
        """Whether all tiles have come or been given up, and some have come: whoever sees that writes the store."""
        there = {name for name in self.names if (self.place / f"{name}.npy").is_file()}
        return bool(there) and all((self.place / f"{name}{_GIVEN_UP}").is_file() for name in set(self.names) - there)

    def finish(self, config: EncoderConfig) -> Path:
        """Write the store if all its tiles have come or been given up; the tiles go away once it stands.

        Returns:
            The store, or the folder in which tiles wait for those of other shares.

        Raises:
            InputError: a store has come to be there meanwhile; the tiles are kept.
            ExportError: it cannot be written.
        """
        with self._turn():
            if not self.due:
                return self.path if self.path.exists() else self.place
            there = [name for name in self.names if (self.place / f"{name}.npy").is_file()]
            require_replaceable(self.path, None)
            layouts.write_zarr(self.path, [self._member(name) for name in there], config.prefixes)
            for path in [self.place / f"{name}{end}" for name in self.names for end in _ENDINGS]:
                path.unlink(missing_ok=True)
            (self.place / _PLAN).unlink(missing_ok=True)
        self._leave()
        return self.path

    def _leave(self) -> None:
        """Remove the place where nothing waits there any more."""
        if not set(path.name for path in self.place.iterdir()) - {_LOCK}:
            (self.place / _LOCK).unlink(missing_ok=True)
            self.place.rmdir()

    def _member(self, name: str) -> layouts.Member:
        header = json.loads((self.place / f"{name}.json").read_text(encoding="utf-8"))
        grid, provenance = Grid.from_json(header["grid"]), Provenance.from_json(header["provenance"])

        def opened() -> EmbeddingRaster:
            codes, scales = (load_npy(self.place / f"{name}{end}") for end in (".npy", "_scales.npy"))
            return EmbeddingRaster(codes, scales, grid, provenance)

        return layouts.Member(grid, provenance, opened)

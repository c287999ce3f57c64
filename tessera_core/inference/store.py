"""A Zarr store that tiles are on their way into, by one run or by several at once, each with its share of the same tiles.

Its metadata are made once, of all tiles of the list. A tile comes as ordinary result files. Each file of the store (a shard) in
which only this tile has pixels is written by who made the tile; one that several share by who brings the last of them, in the order
of their names. So every shard is written whole and once, and the bytes are those of one run. A tile's files go away once all its
shards are written; where a run died in between they are still there, and the next one writes its shards again. The store appears
under its name when all tiles have come or been given up. One that is there, or is being filled with other tiles, is never replaced.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from tessera_core._utils.atomic import atomic_path, require_replaceable, write_json, write_text
from tessera_core._utils.locks import alone
from tessera_core._utils.npy import load_npy
from tessera_core.dpixels.tile import DPixelTile
from tessera_core.errors import ExportError, InputError, InUseError, TesseraError, TileError
from tessera_core.grid import Grid
from tessera_core.inference.layouts import OpenStore, Place, Shard, StoreGrid, consolidate, create_store
from tessera_core.provenance import Provenance
from tessera_core.raster import EmbeddingRaster

STORE = "embeddings.zarr"
PLACE = ".zarr-tiles"
# Ending of the note on a tile whose pixels are all in the store.
WRITTEN = ".in-store"
# In the place: whose turn it is, which tiles belong together, the store so far and what is done of its shared shards; and the
# endings of notes on a tile that cannot be had, and on one whose own shards are written.
_LOCK, _PLAN, _PART, _SHARDS, _GIVEN_UP, _OWN = ".lock", ".plan.json", ".store", ".shards", ".failed", ".own"
# In the place: held while the store is made, or its plan.
_MAKING = ".making"
_ARRAYS = ("_scales.npy", "_nodata.npy", ".npy")
_TRIES = 20
# Files of the store whose writer was killed.
_CUT_SHORT = "*.partial"
_ENDINGS = (*_ARRAYS, ".json", _GIVEN_UP, _OWN, WRITTEN)


class StoreInWaiting:
    """The store of a folder while it is filled.

    Args:
        out: the folder.
        folders: of all the tiles that belong into it, those of other shares as well.
    """

    def __init__(self, out: Path, folders: Sequence[Path]) -> None:
        self.path, self.place = out / STORE, out / PLACE
        self._folders = {folder.resolve().name: folder for folder in folders}
        self.names = sorted(self._folders)
        self._opened: OpenStore | None = None

    def begin(self, mine: Sequence[str]) -> None:
        """Make the plan, or see that it is there; refuse a store that is there, or that is being filled with other tiles.

        Args:
            mine: names of the tiles that this run brings; what was given up of them earlier is tried again.

        Raises:
            InputError: a store is there, or begun with other tiles, or the tiles do not fit into one.
            InUseError: another run is at it.
        """
        require_replaceable(self.path, None)
        # Who makes the store holds the second lock only, and then no plan is rewritten.
        with self._turn(), self._errors_told(), alone(self.place / _MAKING, passing=True):
            known = self._read_plan()
            others = sorted(set(known) - set(self.names))
            if busy := next((name for name in others if self._worked_on(name)), None):
                raise InUseError(
                    f"Another run is filling {self.path} with other tiles, {busy} among them; nothing was changed. Give each "
                    "run a folder of its own, or all of them the same list of tiles with --share I/N."
                )
            if (self.place / _PART).exists():
                if sorted(known) != self.names:
                    one = next(iter(sorted(set(known) ^ set(self.names))), "")
                    raise InputError(
                        f"{self.path} is being filled with another list of tiles ({one} is in one of the two only); nothing was "
                        f"changed. Run the earlier command again until it is whole, choose another folder, or delete {self.place}."
                    )
            elif sorted(known) != self.names or any(place is None for place in known.values()):
                self._write_plan(known if sorted(known) == self.names else {})
            for name in mine:
                self._note(name, _GIVEN_UP).unlink(missing_ok=True)

    # -------------------------------------------------------------- the plan

    def _read_plan(self) -> dict[str, dict[str, Any] | None]:
        try:
            return dict(json.loads((self.place / _PLAN).read_text(encoding="utf-8"))["tiles"])
        except (OSError, ValueError, KeyError, TypeError):
            return {}

    def _write_plan(self, known: Mapping[str, Mapping[str, Any] | None]) -> None:
        """Where each tile lies; what is known where that cannot be read, or nothing: such a tile is named when its turn comes."""
        places: dict[str, Place | None] = {}
        for name in self.names:
            try:
                tile = DPixelTile.open(self._folders[name])
            except TileError:
                places[name] = _place(known.get(name))
            else:
                places[name] = Place.of(tile.grid, tile.year)
        StoreGrid.covering(place for place in places.values() if place is not None)
        tiles = {
            name: None if place is None else {"grid": place.grid.to_json(), "year": place.year}
            for name, place in places.items()
        }
        write_json(self.place / _PLAN, {"tiles": tiles})

    @cached_property
    def _places(self) -> Mapping[str, Place]:
        plan = self._read_plan()
        return {name: place for name, known in plan.items() if (place := _place(known)) is not None}

    @cached_property
    def _grid(self) -> StoreGrid:
        return StoreGrid.covering(self._places.values())

    @cached_property
    def _reaches(self) -> tuple[list[str], np.ndarray]:
        """Names, and int64 (N, 6): zone, year, first and last row and column in shards."""
        names = sorted(self._places)
        rows = [
            (int((place.grid.crs or "")[-2:]), place.year, *self._grid.reach(place))
            for place in (self._places[name] for name in names)
        ]
        return names, np.array(rows, np.int64).reshape(-1, 6)

    def _shards_of(self, name: str) -> Iterator[tuple[Shard, list[str]]]:
        """The shards that a tile has pixels in, and the names of all tiles that have."""
        names, reaches = self._reaches
        zone, year, top, bottom, left, right = reaches[names.index(name)]
        near = np.flatnonzero(
            (reaches[:, 0] == zone) & (reaches[:, 1] == year)
            & (reaches[:, 2] <= bottom) & (reaches[:, 3] >= top) & (reaches[:, 4] <= right) & (reaches[:, 5] >= left)
        )  # fmt: skip
        for shard in self._grid.shards(self._places[name]):
            mine = [
                names[n]
                for n in near
                if reaches[n, 2] <= shard.row <= reaches[n, 3] and reaches[n, 4] <= shard.col <= reaches[n, 5]
            ]
            yield shard, mine

    def require_place(self, tile: DPixelTile) -> None:
        """Refuse a tile that is not as it was when the store was begun, before it is embedded.

        Raises:
            TileError: it could not be read then, or lies elsewhere now.
        """
        planned = self._places.get(tile.name)
        if planned is None or planned != Place(tile.grid, planned.year) or tile.year != planned.year:
            raise TileError(
                f"{tile.name} is not as it was when {self.path} was begun, so it has no place there; embed it into a folder of "
                f"its own, or delete {self.place} to begin again."
            )

    # -------------------------------------------------------------- tiles that come

    def add(self, name: str, prefixes: Sequence[int] = ()) -> None:
        """Write what can be written of a tile whose files have come.

        Args:
            prefixes: Matryoshka lengths that get arrays of their own, the same for all tiles.

        Raises:
            MixedDatasetsError: it is of another dataset than those before it.
            ExportError: the store cannot be written.
        """
        with self._errors_told():
            try:
                self._write(name, prefixes)
            except FileNotFoundError:
                # Whoever saw the last tile come has written this one as well, and all is done.
                if not self.path.exists():
                    raise

    def _write(self, name: str, prefixes: Sequence[int], among: Sequence[str] | None = None) -> None:
        """Write a tile's shards: its own, and those it shares with tiles that have come; ``among``: with no others any more."""
        with alone(self.place / f".{name}.adding", passing=True):
            if self._note(name, WRITTEN).is_file():
                self._remove_arrays(name)
                return
            rasters = {name: self._raster(name)}
            store = self._open_store(rasters[name].provenance, prefixes)
            store.provenance.require_same_dataset(rasters[name].provenance, "one Zarr store")
            settled = set[str]()
            own = self._note(name, _OWN).is_file()
            for shard, members in self._shards_of(name):
                if members == [name]:
                    if not own:
                        store.fill(shard, [rasters[name]])
                    continue
                coming = [one for one in members if among is None or one in among]
                if not all(self._has_come(one) for one in coming):
                    continue
                done = self._done(shard)
                with alone(done.with_suffix(".lock"), passing=True):
                    if done.is_file():
                        continue
                    for one in coming:
                        if one not in rasters:
                            rasters[one] = self._raster(one)
                    store.fill(shard, [rasters[one] for one in coming])
                    if coming == members:
                        # Without one that was given up it is whole for now only.
                        done.touch()
                        settled.update(coming)
            self._note(name, _OWN).touch()
            # This one last: while its files are there, nobody takes the store from under us.
            for one in (*sorted(settled - {name}), name):
                self._retire(one)

    def _done(self, shard: Shard) -> Path:
        """Note on a shard that several tiles share: it is written, of all of them."""
        return self.place / _SHARDS / ("-".join(map(str, shard)) + ".done")

    def _retire(self, name: str) -> None:
        """Remove a tile's files if all its shards are written."""
        if not self._note(name, _OWN).is_file():
            return
        shared = (shard for shard, members in self._shards_of(name) if members != [name])
        if all(self._done(shard).is_file() for shard in shared):
            self._note(name, WRITTEN).touch()
            self._remove_arrays(name)

    def _remove_arrays(self, name: str) -> None:
        for ending in _ARRAYS:
            self._note(name, ending).unlink(missing_ok=True)

    def _has_come(self, name: str) -> bool:
        return self._note(name, ".npy").is_file()

    def _raster(self, name: str) -> EmbeddingRaster:
        header = json.loads(self._note(name, ".json").read_text(encoding="utf-8"))
        codes, scales = (load_npy(self._note(name, end)) for end in (".npy", "_scales.npy"))
        return EmbeddingRaster(
            codes, scales, Grid.from_json(header["grid"]), Provenance.from_json(header["provenance"])
        )

    def _open_store(self, provenance: Provenance, prefixes: Sequence[int]) -> OpenStore:
        """The store so far; the first who comes makes it."""
        if self._opened is None:
            part = self.place / _PART
            (self.place / _SHARDS).mkdir(exist_ok=True)
            with alone(self.place / _MAKING, passing=True):
                # Until the store is made, another run may have found a place for a tile that we could not read.
                for name in ("_places", "_grid", "_reaches"):
                    self.__dict__.pop(name, None)
                if not part.exists():
                    with atomic_path(part, directory=True) as made:
                        create_store(made, self._grid, self._common(provenance), prefixes)
            self._opened = OpenStore(part, self._grid)
        return self._opened

    def _common(self, provenance: Provenance) -> Provenance:
        """What a tile's provenance says of all tiles: whoever comes first writes the same."""
        details = {key: value for key, value in provenance.details.items() if key not in ("tile", "warnings")}
        years = self._grid.years
        return replace(provenance, details=details, year=years[0] if len(years) == 1 else None)

    def _note(self, name: str, ending: str) -> Path:
        return self.place / f"{name}{ending}"

    # -------------------------------------------------------------- others

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
        for left in reversed(range(_TRIES)):
            try:
                self.place.mkdir(parents=True, exist_ok=True)
                stack.enter_context(alone(self.place / _LOCK))
                break
            except OSError as error:
                # Another run that is done removes the place, perhaps just after we made it.
                if not left or not isinstance(error, FileNotFoundError):
                    raise ExportError(f"Cannot write in {self.place.parent}: {error.strerror or error}.") from error
        return stack

    @contextmanager
    def _errors_told(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise ExportError(
                f"Cannot write {self.path}: {error.strerror or error}. What is finished is kept; run the same command again."
            ) from error

    def give_up(self, name: str, error: TesseraError) -> None:
        """Note that a tile will not come, so that nobody waits for it."""
        with self._turn():
            write_text(self._note(name, _GIVEN_UP), f"{error}\n")

    @property
    def due(self) -> bool:
        """Whether all tiles have come or been given up, and some have come: whoever sees that finishes the store."""
        there = set(self._there())
        return bool(there) and all(self._note(name, _GIVEN_UP).is_file() for name in set(self.names) - there)

    def _there(self) -> list[str]:
        return [name for name in self.names if self._has_come(name) or self._note(name, WRITTEN).is_file()]

    def finish(self, prefixes: Sequence[int] = ()) -> Path:
        """Give the store its name if all its tiles have come or been given up.

        Returns:
            The store, or the folder in which it is filled.

        Raises:
            InputError: a store has come to be there meanwhile; what was made is kept.
            ExportError: it cannot be written.
        """
        with self._turn(), self._errors_told():
            if self.due:
                # What lies beside tiles that were given up, or was left by a run that died, is not written yet.
                there = self._there()
                for name in there:
                    if self._has_come(name):
                        self._write(name, prefixes, among=there)
                require_replaceable(self.path, None)
                part = self.place / _PART
                for cut_short in part.rglob(_CUT_SHORT):
                    cut_short.unlink()
                consolidate(part)
                if self.path.is_dir():
                    shutil.rmtree(self.path)
                os.replace(part, self.path)
                for path in [self._note(name, end) for name in self.names for end in _ENDINGS]:
                    path.unlink(missing_ok=True)
                shutil.rmtree(self.place / _SHARDS, ignore_errors=True)
                (self.place / _PLAN).unlink(missing_ok=True)
        if not self.path.exists():
            return self.place
        self._leave()
        return self.path

    def _leave(self) -> None:
        """Remove the place where nothing waits there any more."""
        with suppress(OSError):
            if not set(path.name for path in self.place.iterdir()) - {_LOCK}:
                (self.place / _LOCK).unlink(missing_ok=True)
                self.place.rmdir()


def _place(known: Mapping[str, Any] | None) -> Place | None:
    """As the plan has it."""
    return None if known is None else Place(Grid.from_json(known["grid"]), known["year"])

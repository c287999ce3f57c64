"""What of a fetch could not be had, in sentences that name the tiles."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tessera_core._utils.resumable import piece_of
from tessera_core.raster import NoData
from tessera_core.sources.remote.working_grid import WorkingGrid, named_tiles
from tessera_core.types import Window

_NAMED = 6


class Gaps:
    """The gaps of one year of a region.

    Attributes:
        failed: windows of which nothing came, and why.
        in_a_row: of these, how many since the last success.
    """

    def __init__(self, working_grid: WorkingGrid, year: int) -> None:
        self.working_grid, self.year = working_grid, year
        self.failed: dict[Window, str] = {}
        self.in_a_row = 0
        self._reasons: dict[Window, NoData] = {}
        self._problems: dict[Window, tuple[str, ...]] = {}

    def fail(self, window: Window, why: str, reason: NoData) -> None:
        """Nothing came of a window."""
        self.in_a_row += 1
        self.failed[window], self._reasons[window] = why, reason

    def partly(self, window: Window, problems: tuple[str, ...]) -> None:
        """Something of a window is missing."""
        self._problems[window] = problems

    def mark(self, arrays: Mapping[str, NDArray[Any]]) -> None:
        """Write into ``scales`` and ``nodata`` why the failed windows are empty."""
        for window, reason in self._reasons.items():
            wanted = slice(None) if self.working_grid.inside is None else self.working_grid.inside[window]
            arrays["scales"][window] = np.nan
            arrays["nodata"][window][wanted] = reason

    def sentences(self) -> list[str]:
        """What is missing, from north to south, each sentence once."""
        found = [self._sentence(window, why) for window, why in sorted(self.failed.items(), key=_place)]
        for window, texts in sorted(self._problems.items(), key=_place):
            found += [text if text.endswith(".") else self._sentence(window, text) for text in texts]
        return list(dict.fromkeys(found))

    def absent(self, nodata: NDArray[np.uint8]) -> tuple[str, ...]:
        """Names of the tiles that the publisher has not, by the reasons uint8 (H, W) of what did come."""
        gone = np.asarray(nodata == NoData.MISSING_TILE)
        for window in self.failed:
            gone[window] = False
        return tuple(name for name, _ in named_tiles(self.working_grid.grid, gone))

    def _sentence(self, window: Window, why: str) -> str:
        return missing_sentence(self.working_grid, self.year, window, why)


def missing_sentence(working_grid: WorkingGrid, year: int, window: Window, why: str) -> str:
    """That the pixels of a window are missing, by the names of their tiles, and why."""
    grid = working_grid.crop(window).grid
    names = [name for name, _ in named_tiles(grid, np.ones(grid.shape, bool), 2000)]
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    return f"{year}: {grid.height * grid.width:,} pixels of {', '.join(names[:_NAMED])}{more} are missing: {why}."


def _place(item: tuple[Window, Any]) -> tuple[int, ...]:
    return piece_of(item[0])

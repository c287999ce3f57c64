"""Reading one window of one year of a source: a task that knows no files and no threads, and can be sent to another process."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Protocol

from tessera_core.provenance import Provenance
from tessera_core.raster import NoData
from tessera_core.region import Region
from tessera_core.sources.remote.gaps import missing_sentence
from tessera_core.sources.remote.resilient import PieceError
from tessera_core.sources.remote.retry import ATTEMPTS, never, tries
from tessera_core.sources.remote.working_grid import WorkingGrid
from tessera_core.sources.remote.zarr_zone import Block
from tessera_core.types import Cancel, Window

# A damaged window below this many pixels across is not looked at in parts.
SMALLEST = 16
PARTS = 4


class Source(Protocol):
    """Where a region's embeddings can be read window by window: a store, an archive of tiles, an archive of COGs.

    Pickled, a source is the way to open it; each process that it comes to opens it once.
    """

    location: str
    dim: int

    @property
    def name(self) -> str:
        """Of the dataset."""

    @property
    def identity(self) -> str:
        """What must be equal for two reads to give the same vectors."""

    @property
    def years(self) -> tuple[int, ...]:
        """Years it holds."""

    @property
    def received(self) -> int:
        """Bytes that came over the network so far."""

    def working_grid(self, region: Region, *, clip: bool = True) -> WorkingGrid:
        """The working grid of a region; without ``clip`` of all around it, of any size."""

    def block_shape(self, working_grid: WorkingGrid, dim: int) -> tuple[int, int]:
        """Rows and columns in which to read."""

    def provenance(self, year: int, dim: int) -> Provenance:
        """Of what is read."""

    def read(self, working_grid: WorkingGrid, window: Window, year: int, dim: int, *, last: bool = True) -> Block:
        """One window; raises :class:`PieceError`."""


@dataclass(frozen=True)
class WindowResult:
    """What came of a window.

    Attributes:
        window: rows and columns of the region's grid.
        block: its pixels, with what is missing of them; None where nothing could be had.
        why: why not, as the end of a sentence.
        reason: the same for each pixel.
    """

    window: Window
    block: Block | None
    why: str = ""
    reason: NoData = NoData.MISSING_TILE


@dataclass(frozen=True)
class WindowTask:
    """One window of one year to be read.

    Attributes:
        source: from where.
        working_grid: the window's own part of the region's working grid.
        window: its rows and columns in the region's grid.
        year, dim: what to read.
        attempts: tries, until parts of a damaged window are tried.
    """

    source: Source
    working_grid: WorkingGrid
    window: Window
    year: int
    dim: int
    attempts: int = ATTEMPTS

    @classmethod
    def of(
        cls, source: Source, working_grid: WorkingGrid, window: Window, year: int, dim: int, attempts: int
    ) -> WindowTask:
        """The task of a window of a region's working grid."""
        return cls(source, working_grid.crop(window), window, year, dim, attempts)

    def run(self, stopped: Cancel = never) -> WindowResult:
        """Read it; what fails is in the result.

        Args:
            stopped: where it is true, no further try is made.
        """
        whole: Window = (slice(0, self.working_grid.grid.height), slice(0, self.working_grid.grid.width))

        def read(last: bool) -> Block:
            return self.source.read(self.working_grid, whole, self.year, self.dim, last=last)

        try:
            return WindowResult(self.window, tries(read, self.attempts, stopped))
        except PieceError as error:
            block = None if stopped() else self._in_parts(error)
            return WindowResult(self.window, block, str(error), error.reason)

    def _in_parts(self, error: PieceError) -> Block | None:
        """What of a damaged window is whole: its parts, each tried once."""
        height, width = self.working_grid.grid.shape
        if error.reason != NoData.BAD_TILE or min(height, width) < SMALLEST:
            return None
        counts = bool(getattr(self.source, "observed", False))
        block = Block.empty((height, width), self.dim, error.reason, counts=counts)
        problems: list[str] = []
        whole = False
        for part in ((rows, cols) for rows in _split(height) for cols in _split(width)):
            try:
                found = self.source.read(self.working_grid, part, self.year, self.dim)
            except PieceError as cause:
                block.reasons[part] = cause.reason
                problems.append(missing_sentence(self.working_grid, self.year, part, str(cause)))
                continue
            whole = True
            block.codes[part], block.scales[part], block.reasons[part] = found.codes, found.scales, found.reasons
            if block.observations is not None and found.observations is not None:
                block.observations[part] = found.observations
            problems += [missing_sentence(self.working_grid, self.year, part, text) for text in found.problems]
        return replace(block, problems=tuple(problems)) if whole else None


def _split(length: int) -> list[slice]:
    step = max(1, -(-length // PARTS))
    return [slice(start, min(start + step, length)) for start in range(0, length, step)]

"""Rasters in our own layout: a folder of ``raster.json``, ``codes.npy`` and ``scales.npy``."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from pathlib import Path

from tessera_core._utils.partial import Failure
from tessera_core.raster import EmbeddingRaster
from tessera_core.sources.local.reader import Description, Reader
from tessera_core.types import Cancel, Progress

_HEADER = "raster.json"


@dataclass(frozen=True)
class SavedPiece:
    """A raster in our own layout."""

    path: Path

    @property
    def name(self) -> str:
        """Name of its folder."""
        return self.path.name

    @property
    def source(self) -> Path:
        """The codes."""
        return self.path / "codes.npy"

    @property
    def year(self) -> int | None:
        """From the header."""
        return self.describe().provenance.year

    def describe(self) -> Description:
        """By the header, read once while it does not change: of a thousand tiles each is asked several times."""
        header = self.path / _HEADER
        try:
            stat = header.stat()
        except OSError:
            # Opening says what is wrong.
            return _described(self.path, 0, 0)
        return _described(self.path, stat.st_size, stat.st_mtime_ns)

    def open(self, *, progress: Progress | None = None, cancelled: Cancel | None = None) -> EmbeddingRaster:
        """Memory-mapped; nothing is converted."""
        return EmbeddingRaster.open(self.path)


@functools.lru_cache(maxsize=4096)
def _described(path: Path, size: int, changed: int) -> Description:
    raster = EmbeddingRaster.open(path)
    return Description(raster.grid, raster.provenance)


class SavedReader(Reader):
    """Finds rasters in our own layout."""

    wanted = "a saved raster (raster.json)"

    def claims(self, path: Path) -> bool:
        """A folder with a header."""
        return (path / _HEADER).is_file()

    def resolve(self, path: Path) -> Path:
        """The folder of a header."""
        return path.parent if path.name == _HEADER else path

    def find(self, path: Path, problems: list[Failure]) -> list[SavedPiece]:
        """The one raster of the folder."""
        return [SavedPiece(path)]

"""How much work one file may ask for; less where many people share a server."""

from __future__ import annotations

from dataclasses import dataclass

from tessera_core.hosting import hosted


@dataclass(frozen=True)
class FileLimits:
    """Bounds on one file.

    Attributes:
        text_bytes: of a text that is read whole (JSON, CSV).
        rows: of a table, features of a vector file, lines of a log.
        unpacked_bytes: of all that an archive holds.
        members: files in an archive.
        growth: how many times larger than itself an archive may become, above ``free_bytes``.
        free_bytes: sizes that are never called a bomb.
        raster_bytes: decoded bytes of a raster that is read whole.
        block_bytes: decoded bytes of one block of a raster.
        memory_bytes, cpu_s, wall_s: of the process that reads a file on a server.
    """

    text_bytes: int
    rows: int
    unpacked_bytes: int
    members: int
    growth: int
    free_bytes: int
    raster_bytes: int
    block_bytes: int
    memory_bytes: int
    cpu_s: int
    wall_s: int


OWN = FileLimits(
    text_bytes=2 << 30,
    rows=20_000_000,
    unpacked_bytes=8 << 30,
    members=20_000,
    growth=300,
    free_bytes=256 << 20,
    raster_bytes=1 << 40,
    block_bytes=4 << 30,
    memory_bytes=1 << 40,
    cpu_s=3600,
    wall_s=3600,
)
SHARED = FileLimits(
    text_bytes=128 << 20,
    rows=500_000,
    unpacked_bytes=2 << 30,
    members=5_000,
    growth=100,
    free_bytes=64 << 20,
    raster_bytes=4 << 30,
    block_bytes=256 << 20,
    memory_bytes=3 << 30,
    cpu_s=60,
    wall_s=120,
)
# No lossless codec of GeoTIFF but run lengths makes real pixels this much smaller; what claims more is mostly nothing.
RASTER_GROWTH = 2000


def limits() -> FileLimits:
    """The bounds that hold here."""
    return SHARED if hosted() else OWN


def amount(size: int) -> str:
    """A number of bytes for people."""
    return f"{size / (1 << 30):.1f} GB" if size >= 1 << 30 else f"{size / (1 << 20):.1f} MB"

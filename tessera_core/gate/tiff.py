"""What the first image of a TIFF declares, read from its header alone: its size decoded, and how much of it is there."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from tessera_core.errors import RasterError, TesseraError
from tessera_core.gate.files import open_file

_SIZES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4, 16: 8, 17: 8, 18: 8}
_KINDS = {1: "u1", 3: "u2", 4: "u4", 8: "i2", 9: "i4", 13: "u4", 16: "u8", 17: "i8", 18: "u8"}
_MAX_VALUES = 16 << 20
WIDTH, HEIGHT, BITS, BANDS, PLANAR = 256, 257, 258, 277, 284
ROWS, STRIPS, TILE_WIDTH, TILE_HEIGHT, TILES = 278, 279, 322, 323, 325


@dataclass(frozen=True)
class TiffHead:
    """The first image of a TIFF.

    Attributes:
        width, height, bands: of the image.
        decoded_bytes: of all its pixels.
        block_bytes: of one block, decoded.
        present_bytes: of the blocks that are in the file, as they are stored; never more than the file has.
        absent: share of blocks that are not in the file (they read as no data).
    """

    width: int
    height: int
    bands: int
    decoded_bytes: int
    block_bytes: int
    present_bytes: int
    absent: float


def is_tiff(head: bytes) -> bool:
    """Whether a file that begins so is a (Big)TIFF."""
    return head[:4] in (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")


def read_tiff_head(path: str | Path, error: type[TesseraError] = RasterError) -> TiffHead:
    """Read the header of a TIFF; no pixel is decoded.

    Raises:
        error: (the given class) it is no TIFF, or its header is damaged.
    """
    name = Path(path).name
    with open_file(path, error) as file:
        if not is_tiff(file.read(4)):
            raise error(f"{name} cannot be read as a GeoTIFF: its first bytes are those of something else.")
        try:
            return _head(file)
        except (struct.error, KeyError, ValueError, OverflowError, ZeroDivisionError, IndexError) as cause:
            raise error(
                f"{name} cannot be read as a GeoTIFF: its header is damaged; copy or download it again."
            ) from cause
        except OSError as cause:
            raise error(f"{name} cannot be read as a GeoTIFF: {cause.strerror or cause}.") from cause


def _head(file: BinaryIO) -> TiffHead:
    tags = _tags(file)
    width, height = (int(tags[number][0]) for number in (WIDTH, HEIGHT))
    bands = int(tags[BANDS][0]) if BANDS in tags else 1
    bits = int(max(tags[BITS])) if BITS in tags else 1
    if TILE_WIDTH in tags:
        block, sizes = (int(tags[TILE_HEIGHT][0]), int(tags[TILE_WIDTH][0])), tags[TILES]
    else:
        block, sizes = (min(int(tags[ROWS][0]) if ROWS in tags else height, height), width), tags[STRIPS]
    if not (width and height and bands and bits and all(block)):
        raise ValueError("an image without pixels")
    planar = PLANAR in tags and int(tags[PLANAR][0]) == 2
    in_block = block[0] * block[1] * bits * (1 if planar else bands)
    blocks = -(-height // block[0]) * -(-width // block[1]) * (bands if planar else 1)
    length = file.seek(0, 2)
    stored = np.minimum(np.asarray(sizes[:blocks], np.uint64), np.uint64(length))
    absent = 1 - np.count_nonzero(stored) / blocks
    present = min(length, int(stored.astype(np.float64).sum()))
    return TiffHead(width, height, bands, -(-width * height * bands * bits // 8), -(-in_block // 8), present, absent)


def _tags(file: BinaryIO) -> dict[int, Any]:
    """Number -> values of the tags of the first directory that hold whole numbers."""
    file.seek(0)
    start = file.read(16)
    order = "<" if start[:2] == b"II" else ">"
    big = start[2:4] in (b"+\0", b"\0+")
    at = struct.unpack_from(f"{order}Q" if big else f"{order}I", start, 8 if big else 4)[0]
    length = file.seek(0, 2)
    file.seek(at)
    count = struct.unpack(f"{order}Q" if big else f"{order}H", file.read(8 if big else 2))[0]
    size = 20 if big else 12
    if count > 4096 or at + count * size > length:
        raise ValueError("a directory beyond the file")
    table = file.read(count * size)
    tags: dict[int, Any] = {}
    for n in range(count):
        number, kind, values = struct.unpack_from(f"{order}HHQ" if big else f"{order}HHI", table, n * size)
        if number not in (WIDTH, HEIGHT, BITS, BANDS, PLANAR, ROWS, STRIPS, TILE_WIDTH, TILE_HEIGHT, TILES):
            continue
        room = 8 if big else 4
        if kind not in _KINDS or not 0 < values <= _MAX_VALUES:
            raise ValueError("a tag of another kind")
        data = table[(n + 1) * size - room : (n + 1) * size]
        wanted = values * _SIZES[kind]
        if wanted > room:
            file.seek(struct.unpack(f"{order}Q" if big else f"{order}I", data)[0])
            data = file.read(wanted)
        tags[number] = np.frombuffer(data[:wanted], np.dtype(order + _KINDS[kind]))
        if len(tags[number]) != values:
            raise ValueError("values beyond the file")
    return tags

"""Cloud Optimized GeoTIFF of one block, many alike: all that GDAL writes but the pixels and the place is written by it once.

A folder of small tiles has thousands of files that differ in their pixels and their corner alone. What GDAL puts before the pixels
of the first (:class:`Template`) serves for the others; looking up coordinate systems and writing tags takes most of its time.

Sources: TIFF 6.0, section 2 (directories); OGC GeoTIFF 1.1, 7.1 (ModelTiepointTag); GDAL's COG driver, "Header ghost area" (each
block has its length before it and its last four bytes again behind it).
"""

from __future__ import annotations

import struct
import zlib
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tessera_core.errors import ExportError

# Sides of an image that is one block.
LARGEST = 512
# GDAL's COG driver makes none smaller.
_SMALLEST = 128
# zlib's own middle, which GDAL takes as well.
_LEVEL = 6
_ENTRY = struct.Struct("<HHII")
_TILE_OFFSETS, _TILE_BYTES, _TIEPOINT = 324, 325, 33922
_LONG, _DOUBLE = 4, 12


def block_side(shape: tuple[int, int]) -> int:
    """Side of the block, in pixels, that holds an image of at most :data:`LARGEST`; blocks are multiples of 16."""
    return max(_SMALLEST, -(-max(shape) // 16) * 16)


@dataclass(frozen=True)
class Template:
    """What lies before the pixels of an image of one block.

    Attributes:
        head: the file's bytes up to the block's length.
        length_at: where the block's length stands in it.
        place_at: where the corner stands in it, two float64; None where the image has no place on Earth.
        side: of the block, pixels.
    """

    head: bytes
    length_at: int
    place_at: int | None
    side: int

    @classmethod
    def of(cls, file: bytes) -> Template:
        """The template of a file that GDAL's COG driver wrote, of one block and one band.

        Raises:
            ExportError: the file is another kind of TIFF.
        """
        try:
            entries = _entries(file)
            (kind, count, block), (of_length, one, _) = entries[_TILE_OFFSETS], entries[_TILE_BYTES]
            if file[:4] != b"II*\0" or (kind, count, of_length, one) != (_LONG, 1, _LONG, 1):
                raise ExportError("A small image was not written as one block.")
            side = struct.unpack_from("<H", file, _at(file, 322) + 8)[0]
            place = None
            if _TIEPOINT in entries:
                kind, count, where = entries[_TIEPOINT]
                if (kind, count) != (_DOUBLE, 6) or any(struct.unpack_from("<3d", file, where)):
                    raise ExportError("A small image has its place on Earth at another pixel than its corner.")
                place = where + 24
        except (KeyError, struct.error) as error:
            raise ExportError("A small image was not written as one block.") from error
        # The block's length stands in the four bytes before it.
        return cls(file[: block - 4], _at(file, _TILE_BYTES) + 8, place, side)

    def file(self, values: NDArray[np.generic], corner: tuple[float, float]) -> bytes:
        """The whole file of other pixels at another place.

        Args:
            values: (H, W), of the shape and dtype that the template is of.
            corner: x and y of the upper left corner, in the units of the coordinate system.
        """
        block = np.zeros((self.side, self.side), values.dtype.newbyteorder("<"))
        block[: values.shape[0], : values.shape[1]] = values
        packed = zlib.compress(block.tobytes(), _LEVEL)
        length = struct.pack("<I", len(packed))
        head = bytearray(self.head)
        head[self.length_at : self.length_at + 4] = length
        if self.place_at is not None:
            struct.pack_into("<2d", head, self.place_at, *corner)
        return b"".join((head, length, packed, packed[-4:]))


def _entries(file: bytes) -> dict[int, tuple[int, int, int]]:
    """The first directory: tag -> type, count, and the value or where it is."""
    start, count = _directory(file)
    found = (_ENTRY.unpack_from(file, start + 12 * n) for n in range(count))
    return {tag: (kind, number, value) for tag, kind, number, value in found}


def _at(file: bytes, tag: int) -> int:
    """Where a tag's entry begins in the file."""
    start, count = _directory(file)
    return next(at for at in range(start, start + 12 * count, 12) if _ENTRY.unpack_from(file, at)[0] == tag)


def _directory(file: bytes) -> tuple[int, int]:
    (at,) = struct.unpack_from("<I", file, 4)
    return at + 2, struct.unpack_from("<H", file, at)[0]

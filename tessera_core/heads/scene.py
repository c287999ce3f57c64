"""Maps from heads: a whole raster block by block, or quickly and again and again from an open scene.

Knows rasters and heads; refuses to know labels, projects and files.
"""

from __future__ import annotations

import weakref
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tessera_core._utils.threads import run_blocks
from tessera_core.errors import Cancelled
from tessera_core.heads.classification import NO_CLASS, NO_CONFIDENCE, Head
from tessera_core.heads.regression import RegressionHead
from tessera_core.raster import EmbeddingRaster
from tessera_core.types import Bytes, Cancel, Floats, PixelBox, Progress

# Pixels between two looks at `cancelled`: about 10 ms of a linear head.
CHUNK_PIXELS = 1 << 18
# Pixels that one thread copies together from all over a scene.
GATHERED_PIXELS = 1 << 14
# What an open scene may take for its codes: this share of the free memory, and with all others of the process this many bytes.
MEMORY_SHARE = 0.5
RESIDENT_BYTES = 1 << 30


@dataclass(frozen=True)
class ClassMap:
    """A map on the grid of its raster (or of a window of it).

    Attributes:
        classes: uint8 (H, W), class ids, 0 where there is no data.
        confidence: uint8 (H, W), percent, 255 where there is no data.
    """

    classes: Bytes
    confidence: Bytes

    @classmethod
    def empty(cls, shape: tuple[int, int]) -> ClassMap:
        """A map without data."""
        return cls(np.full(shape, NO_CLASS, np.uint8), np.full(shape, NO_CONFIDENCE, np.uint8))


@dataclass(frozen=True)
class ValueMap:
    """A map of numbers on the grid of its raster.

    Attributes:
        values: float32 (H, W), NaN where there is no data.
        margins: float32 (H, W); value - margin to value + margin holds nine of ten labels that the head has not seen.
    """

    values: Floats
    half_widths: Floats

    @classmethod
    def empty(cls, shape: tuple[int, int]) -> ValueMap:
        """A map without data."""
        return cls(np.full(shape, np.nan, np.float32), np.full(shape, np.nan, np.float32))


class Scene:
    """A raster that is predicted many times, its int8 codes held in memory where that is allowed.

    There is no float or bf16 working copy: integer products of the codes are faster than either (see
    :mod:`tessera_core._utils.int8`) and take half the memory.

    Args:
        raster: memory-mapped or in memory.
        resident: copy the codes into memory; None does where they fit beside those of all other scenes of the process
            (:data:`RESIDENT_BYTES`) and into the memory that is free. Otherwise the system's page cache holds what is used of the
            file, once for all processes.
    """

    _in_memory: ClassVar[weakref.WeakSet[Scene]] = weakref.WeakSet()

    def __init__(self, raster: EmbeddingRaster, resident: bool | None = None) -> None:
        self.raster = raster
        self._codes: NDArray[np.int8] = raster.codes
        self._scales: Floats = np.asarray(raster.scales)
        if isinstance(raster.codes, np.memmap):
            if resident is None:
                beside = sum(scene.nbytes for scene in Scene._in_memory)
                size = raster.codes.nbytes + raster.scales.nbytes
                resident = beside + size <= RESIDENT_BYTES and size <= MEMORY_SHARE * available_bytes()
            if resident:
                self._codes, self._scales = np.array(raster.codes), np.array(raster.scales)
                Scene._in_memory.add(self)

    @property
    def shape(self) -> tuple[int, int]:
        """``(height, width)``."""
        return self.raster.shape

    @property
    def nbytes(self) -> int:
        """Bytes of the codes and scales that it holds in memory; 0 where it reads them through their memory map."""
        return 0 if isinstance(self._codes, np.memmap) else self._codes.nbytes + self._scales.nbytes

    def sample(self, rows: ArrayLike, cols: ArrayLike) -> Floats:
        """Vectors of pixels, see :meth:`EmbeddingRaster.sample`."""
        return self.raster.sample(rows, cols)

    def predict(
        self, head: Head, window: tuple[int, int, int, int] | None = None, cancelled: Cancel | None = None
    ) -> ClassMap:
        """Map the scene, or only what is in view.

        Args:
            head: fitted on vectors of this dataset.
            window: ``(row, col, height, width)``, cut to the scene; None for all of it.
            cancelled: asked every 262,144 pixels; answer True when a newer request has made this one stale.

        Raises:
            Cancelled: ``cancelled`` said so.
            HeadError: the head does not fit the vectors.
        """
        row, col, height, width = window or (0, 0, *self.shape)
        top, left = max(row, 0), max(col, 0)
        bottom, right = min(row + height, self.shape[0]), min(col + width, self.shape[1])
        result = ClassMap.empty((max(bottom - top, 0), max(right - left, 0)))
        if result.classes.size == 0:
            return result
        _predict_into(head, self._codes, self._scales, (top, left, bottom, right), result, cancelled, None)
        return result

    def predict_pixels(self, head: Head, index: NDArray[np.int32], cancelled: Cancel | None = None) -> ClassMap:
        """Map chosen pixels of the scene, such as every third of a wide view.

        Args:
            head: fitted on vectors of this dataset; one that sees each pixel by itself.
            index: int (h, w) numbers of pixels in reading order, H*W for no pixel.
            cancelled: asked every 262,144 pixels.

        Returns:
            What :meth:`predict` says of the same pixels, on the grid of ``index``.

        Raises:
            Cancelled: ``cancelled`` said so.
            HeadError: the head does not fit the vectors, or looks around a pixel.
        """
        result = ClassMap.empty(index.shape)
        flat, outside = index.reshape(-1), self.shape[0] * self.shape[1]
        if outside == 0 or flat.size == 0:
            return result
        # A view with gaps, which only memory holds, is copied here; files are read in place.
        codes, scales = self._codes.reshape(outside, -1), self._scales.reshape(-1)
        classes, confidence = result.classes.reshape(-1), result.confidence.reshape(-1)
        near = np.empty((min(flat.size, CHUNK_PIXELS), codes.shape[1]), np.int8)
        for start in range(0, flat.size, CHUNK_PIXELS):
            if cancelled is not None and cancelled():
                raise Cancelled
            part = flat[start : start + CHUNK_PIXELS]
            there = near[: len(part)]

            def gather(some: slice, part: NDArray[np.int32] = part, there: NDArray[np.int8] = there) -> None:
                np.take(codes, part[some], axis=0, out=there[some], mode="clip")

            run_blocks(gather, len(part), GATHERED_PIXELS)
            known = np.where(part == outside, np.float32(0), np.take(scales, part, mode="clip"))
            found = head.predict_codes(there, known)
            classes[start : start + len(part)], confidence[start : start + len(part)] = found
        return result


def predict_raster(
    head: Head,
    raster: EmbeddingRaster,
    out: ClassMap | None = None,
    cancelled: Cancel | None = None,
    progress: Progress | None = None,
) -> ClassMap:
    """Map a raster of any size, reading it once from top to bottom.

    Args:
        head: fitted on vectors of this dataset.
        raster: never held in memory as a whole.
        out: arrays to fill (memory-mapped ones too); None makes new ones.
        cancelled, progress: see docs/architecture.md; units are pixels.

    Raises:
        Cancelled: ``cancelled`` said so; ``out`` is filled down to where it stopped.
        HeadError: the head does not fit the vectors.
    """
    result = ClassMap.empty(raster.shape) if out is None else out
    _predict_into(head, raster.codes, raster.scales, (0, 0, *raster.shape), result, cancelled, progress)
    return result


def predict_values(
    head: RegressionHead,
    raster: EmbeddingRaster,
    cancelled: Cancel | None = None,
    progress: Progress | None = None,
) -> ValueMap:
    """Map numbers over a raster of any size, reading it once from top to bottom; see :func:`predict_raster`.

    Raises:
        Cancelled: ``cancelled`` said so.
        HeadError: the head does not fit the vectors.
    """
    result = ValueMap.empty(raster.shape)
    height, width = raster.shape
    for rows in _row_chunks(height, width):
        if cancelled is not None and cancelled():
            raise Cancelled
        part = (rows.start, 0, rows.stop, width)
        result.values[rows], result.half_widths[rows] = head.predict_window(raster.codes, raster.scales, part)
        if progress is not None:
            progress(rows.stop * width, height * width, "mapping")
    return result


def _predict_into(
    head: Head,
    codes: NDArray[np.int8],
    scales: Floats,
    window: PixelBox,
    result: ClassMap,
    cancelled: Cancel | None,
    progress: Progress | None,
) -> None:
    top, left, bottom, right = window
    height, width = bottom - top, right - left
    for rows in _row_chunks(height, width):
        if cancelled is not None and cancelled():
            raise Cancelled
        part = (top + rows.start, left, top + rows.stop, right)
        result.classes[rows], result.confidence[rows] = head.predict_window(codes, scales, part)
        if progress is not None:
            progress(rows.stop * width, height * width, "mapping")


def _row_chunks(height: int, width: int) -> Iterator[slice]:
    step = max(1, CHUNK_PIXELS // width)
    for start in range(0, height, step):
        yield slice(start, min(start + step, height))


def available_bytes() -> int:
    """Bytes that can be taken without swapping, also within a container; a careful 1 GiB where the system does not say."""
    free = 1 << 30
    meminfo = Path("/proc/meminfo")
    if meminfo.exists():
        for line in meminfo.read_text(encoding="ascii").splitlines():
            if line.startswith("MemAvailable:"):
                free = int(line.split()[1]) * 1024
    try:
        most, taken = (int(Path(f"/sys/fs/cgroup/memory.{name}").read_text()) for name in ("max", "current"))
    except (OSError, ValueError):
        # No container, or one without a limit.
        return free
    return max(0, min(free, most - taken))

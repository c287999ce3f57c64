"""Embeddings in files as the published tasks have them: float, or int8 with a scale a pixel; (H, W, D) or (D, H, W)."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tessera_core._utils.npy import load_npy
from tessera_core.errors import InputError
from tessera_core.gate import read_bytes
from tessera_core.types import Floats

SCALES = "_scales"
# Vectors at a time.
BLOCK = 65536


@dataclass(frozen=True)
class Vectors:
    """Embeddings of one raster or patch in a file.

    Attributes:
        path: ``.npy``, (H, W, D) or (D, H, W).
        scales: ``.npy`` float (H, W) that int8 vectors are multiplied with; None where there is none.
        size: (H, W) of the labels beside it.
    """

    path: Path
    scales: Path | None
    size: tuple[int, int]

    def window(self, rows: slice = slice(None), cols: slice = slice(None)) -> Floats:
        """Vectors float32 (h, w, D); 0 where they are not finite, as the authors have it.

        Raises:
            InputError: the file is damaged, or its shape does not go with the labels.
        """
        stored = self._upright()
        self._fits(stored)
        values = np.asarray(stored[rows, cols], np.float32)
        if self.scales is not None:
            values = values * np.asarray(self._scale(stored.shape)[rows, cols], np.float32)[..., None]
        return np.nan_to_num(values, nan=0.0, posinf=0.0, neginf=0.0)

    def at(self, rows: NDArray[np.integer], cols: NDArray[np.integer]) -> Floats:
        """Vectors float32 (N, D) of pixels of the labels; a raster of another size is read bilinearly between its pixels.

        Raises:
            InputError: as :meth:`window`.
        """
        stored = self._upright()
        if stored.shape[:2] == self.size:
            return self._pixels(stored, rows, cols)
        near = []
        for index, wanted, have in ((rows, self.size[0], stored.shape[0]), (cols, self.size[1], stored.shape[1])):
            place = np.clip((index + 0.5) * have / wanted - 0.5, 0, have - 1)
            low = np.floor(place).astype(np.intp)
            near.append((low, np.minimum(low + 1, have - 1), (place - low).astype(np.float32)[:, None]))
        (top, bottom, down), (left, right, across) = near
        upper = self._pixels(stored, top, left) * (1 - across) + self._pixels(stored, top, right) * across
        lower = self._pixels(stored, bottom, left) * (1 - across) + self._pixels(stored, bottom, right) * across
        return np.asarray(upper * (1 - down) + lower * down, np.float32)

    def mean(self) -> Floats:
        """The mean vector float32 (D,); a file of one vector (D,) is it."""
        stored = load_npy(self.path, InputError)
        if stored.ndim == 1:
            return np.nan_to_num(np.asarray(stored, np.float32))
        return np.asarray(self.window().mean((0, 1)), np.float32)

    def _pixels(self, stored: NDArray[Any], rows: NDArray[np.integer], cols: NDArray[np.integer]) -> Floats:
        values = np.asarray(stored[rows, cols], np.float32)
        if self.scales is not None:
            values = values * np.asarray(self._scale(stored.shape)[rows, cols], np.float32)[:, None]
        return np.nan_to_num(values, nan=0.0, posinf=0.0, neginf=0.0)

    def _upright(self) -> NDArray[Any]:
        stored = load_npy(self.path, InputError)
        if stored.ndim != 3 or stored.dtype.kind not in "fi":
            raise InputError(
                f"{self.path.name} has the shape {stored.shape} and type {stored.dtype}; embeddings are numbers (H, W, D)."
            )
        if stored.dtype.kind == "i" and self.scales is None:
            raise InputError(
                f"{self.path.name} is int8 without the file of scales that belongs to it; copy it beside the embeddings."
            )
        return stored.transpose(1, 2, 0) if stored.shape[:2] != self.size == stored.shape[1:] else stored

    def _fits(self, stored: NDArray[Any]) -> None:
        if stored.shape[:2] != self.size:
            raise InputError(f"{self.path.name} has the shape {stored.shape}; its labels are {self.size}.")

    def _scale(self, shape: tuple[int, ...]) -> NDArray[Any]:
        assert self.scales is not None
        scale = load_npy(self.scales, InputError)
        if scale.shape != shape[:2]:
            raise InputError(f"{self.scales.name} has the shape {scale.shape}; it must be {shape[:2]}.")
        return scale


def labels_of(path: Path, ndim: int = 2) -> NDArray[Any]:
    """An array of labels.

    Raises:
        InputError: it is damaged, or of another number of dimensions.
    """
    labels = load_npy(path, InputError)
    if labels.ndim != ndim or labels.dtype.kind not in "iufb":
        raise InputError(
            f"{path.name} has the shape {labels.shape} and type {labels.dtype}; labels are numbers in {ndim} dimensions."
        )
    return labels


def place_of(folder: Path, inside: Sequence[str], pattern: str) -> Path | None:
    """The folder itself, or the first of the folders ``inside`` it, that has something by the pattern; None for none."""
    places = [folder, *(folder / name for name in inside)]
    return next((place for place in places if any(place.glob(pattern))), None)


def columns(path: Path, names: Sequence[str]) -> dict[str, list[str]]:
    """Columns of a CSV file.

    Raises:
        InputError: it cannot be read as text, or lacks one.
    """
    try:
        rows = list(csv.DictReader(io.StringIO(read_bytes(path).decode("utf-8-sig"))))
    except (UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"{path.name} is no CSV file in UTF-8.") from error
    lacking = [name for name in names if not rows or rows[0].get(name) is None]
    if lacking:
        raise InputError(f"{path.name} has no column {', '.join(lacking)}, or no row.")
    return {name: [row[name] or "" for row in rows] for name in names}


def numbers(texts: Iterable[str], what: str) -> NDArray[np.float64]:
    """A column as numbers.

    Raises:
        InputError: one is none.
    """
    try:
        return np.array([float(text) for text in texts], np.float64)
    except ValueError as error:
        raise InputError(f"{what} holds something that is no number ({error}).") from error


def stamp(paths: Iterable[Path], root: Path) -> list[list[Any]]:
    """Names, sizes and times of files: what tells whether results that were kept are of these files."""
    told = []
    for path in sorted(paths):
        state = path.stat()
        told.append([path.relative_to(root).as_posix(), state.st_size, state.st_mtime_ns])
    return told

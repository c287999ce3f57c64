"""Reference labels on a grid, from a label file or a class raster, with class ids that fit a map."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tessera_core.assess.samples import CodeFeatures, MatrixFeatures, Samples
from tessera_core.errors import LabelError
from tessera_core.grid import Grid
from tessera_core.labels.files import class_tags, is_class_raster, read_class_raster, read_labels
from tessera_core.labels.importing import parse_color
from tessera_core.labels.model import LabelClass, next_color
from tessera_core.labels.sampling import label_pixels
from tessera_core.raster import EmbeddingRaster

MAX_CLASSES = 254


@dataclass(frozen=True)
class Reference:
    """Labelled pixels of a grid.

    Attributes:
        rows, cols: int (N,).
        y: uint8 (N,) class ids.
        groups: int (N,), the polygon, stroke or connected patch each pixel belongs to.
        classes: what the ids mean. Codes of a raster above 254 are renumbered from 1. A raster's class is
            named by its tag ``class_<code>``, or else by its code.
    """

    rows: NDArray[Any]
    cols: NDArray[Any]
    y: NDArray[np.uint8]
    groups: NDArray[Any]
    classes: list[LabelClass]

    @property
    def names(self) -> dict[int, str]:
        """Class id -> name."""
        return {c.id: c.name for c in self.classes}

    def only(self, wanted: Sequence[str]) -> Reference:
        """The labels of some classes, by name, code or id.

        Raises:
            LabelError: a class is not among them.
        """
        ids = []
        for text in wanted:
            found = [c.id for c in self.classes if text in (c.name, c.code)] or [
                c.id for c in self.classes if text == str(c.id)
            ]
            if not found:
                names = ", ".join(c.name for c in self.classes[:12]) + (" ..." if len(self.classes) > 12 else "")
                raise LabelError(f"There is no class {text!r} among the labels; there are {names}.")
            ids += found
        keep = np.isin(self.y, ids)
        return replace(
            self,
            rows=self.rows[keep],
            cols=self.cols[keep],
            y=self.y[keep],
            groups=self.groups[keep],
            classes=[c for c in self.classes if c.id in ids],
        )

    def with_embeddings(self, raster: EmbeddingRaster) -> Samples:
        """The labelled pixels that have an embedding, with it.

        Raises:
            LabelError: none has.
        """
        return self._with(CodeFeatures.at(raster, self.rows, self.cols))

    def with_codes(self, codes: NDArray[np.int8], scales: NDArray[np.floating]) -> Samples:
        """The labelled pixels that have an embedding, given theirs: int8 (N, D) and (N,).

        Raises:
            LabelError: none has.
        """
        return self._with(CodeFeatures(codes, np.asarray(scales, np.float32)))

    def with_matrix(self, values: NDArray[np.float32]) -> Samples:
        """The labelled pixels whose features, float32 (N, F), are all known."""
        return self._with(MatrixFeatures(values))

    def _with(self, features: CodeFeatures | MatrixFeatures) -> Samples:
        usable = features.usable()
        if not usable.any():
            raise LabelError(
                "Not one labelled pixel lies where there are data; check that labels and embeddings overlap."
            )
        return Samples(
            features.take(np.flatnonzero(usable)),
            self.y[usable].astype(np.int64),
            self.groups[usable],
            self.rows[usable],
            self.cols[usable],
            self.names,
            int((~usable).sum()),
        )


def read_reference(path: str | Path, grid: Grid, field: str | None = None) -> Reference:
    """Labels of a vector file, table, label JSON or single-band class raster on ``grid``.

    Args:
        path: the file.
        grid: of the embeddings.
        field: attribute that is the class, for vector files.

    Raises:
        LabelError: the file cannot be read or no label lies on the grid.
    """
    if is_class_raster(path):
        raster = read_class_raster(path, grid)
        rows, cols = np.nonzero(raster.classes)
        codes, index = np.unique(raster.classes[rows, cols], return_inverse=True)
        if len(codes) > MAX_CLASSES:
            raise LabelError(
                f"{Path(path).name} has {len(codes)} classes, a map holds {MAX_CLASSES}; is it a class raster at all?"
            )
        ids = codes if codes[-1] <= MAX_CLASSES else np.arange(1, len(codes) + 1)
        tags, classes = class_tags(path), list[LabelClass]()
        for class_id, code in zip(ids.tolist(), codes.tolist(), strict=True):
            name = tags.get(f"class_{code}") or str(code)
            color = parse_color(tags.get(f"class_{code}_color")) or next_color(classes, class_id)
            classes.append(LabelClass(class_id, name, color, str(code)))
        y = ids.astype(np.uint8)[index]
        return Reference(rows, cols, y, raster.groups[rows, cols], classes)
    imported = read_labels(path, grid, field)
    pixels = label_pixels(imported.labels, grid)
    if len(pixels.rows) == 0:
        raise LabelError(f"Not one label of {Path(path).name} lies on the embeddings; check the region and the CRS.")
    return Reference(pixels.rows, pixels.cols, pixels.class_ids, pixels.label_index, imported.classes)

"""Reference labels on a grid, from a label file or a class raster, with class ids that fit a map."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tessera_core.assess.crossfit import thin
from tessera_core.assess.samples import CodeFeatures, MatrixFeatures, Samples
from tessera_core.errors import HeadError, LabelError
from tessera_core.grid import Grid
from tessera_core.heads.training import require_two
from tessera_core.labels.colors import color_for
from tessera_core.labels.features import NO_HINTS, Hints
from tessera_core.labels.files import class_tags, is_class_raster, read_class_raster, read_labels
from tessera_core.labels.importing import parse_color
from tessera_core.labels.model import SUGGESTION, Label, LabelClass
from tessera_core.labels.report import ImportReport
from tessera_core.labels.sampling import in_order_of_place, label_pixels
from tessera_core.raster import EmbeddingRaster, valid_scales

MAX_CLASSES = 254
# Labels of so few pixels are points by another name: a field plot with its rim, a lone pixel of a raster.
POINT_LIKE_PX = 4


@dataclass(frozen=True)
class Reference:
    """Labelled pixels of a grid.

    Attributes:
        rows, cols: int (N,), in row-major order, each pixel once.
        y: uint8 (N,) class ids.
        groups: int (N,), the polygon, stroke or connected patch each pixel belongs to, numbered from 0 in the order of their
            first pixels: the same labels make the same reference, in whatever order a file lists them.
        classes: what the ids mean. Codes of a raster above 254 are renumbered from 1. A raster's class is
            named by its tag ``class_<code>``, or else by its code.
        points: whether a label of them is a point, which has no field around it to hold out.
        report: what happened to the file they come from, where there is one.
        by_pixel: whether each pixel counts for itself in a score: those of a raster do, whose patches nobody chose.
        suggested: bool (N,), which pixels are of labels where the app suggested to label, as the map was in doubt there; None
            where none is.
    """

    rows: NDArray[Any]
    cols: NDArray[Any]
    y: NDArray[np.uint8]
    groups: NDArray[Any]
    classes: list[LabelClass]
    points: bool = False
    report: ImportReport | None = None
    by_pixel: bool = False
    suggested: NDArray[np.bool_] | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "groups", in_order_of_place(self.groups))

    @classmethod
    def of_labels(
        cls,
        labels: Sequence[Label],
        classes: Sequence[LabelClass],
        grid: Grid,
        report: ImportReport | None = None,
    ) -> Reference:
        """The pixels that labels (in painting order, coordinates in the CRS of ``grid``) cover; there may be none."""
        pixels = label_pixels(labels, grid)
        points = any(labels[i].kind == "point" for i in np.unique(pixels.label_index).tolist())
        return cls(
            pixels.rows,
            pixels.cols,
            pixels.class_ids,
            pixels.label_index,
            list(classes),
            points,
            report,
            suggested=suggested_pixels(labels, pixels.label_index),
        )

    @property
    def split(self) -> str:
        """What is to be held out: ``"field"`` where labels are areas, else ``"blocked"``, for points lie in no field.

        Points beside each other are near copies; held out one by one, they are judged by their own neighbours. The same holds
        of patches of a raster, or polygons, that are no larger than a point's surroundings.
        """
        sizes = np.bincount(self.groups) if len(self.groups) else np.zeros(0, np.int64)
        in_areas = sizes[sizes > POINT_LIKE_PX].sum()
        return "blocked" if self.points or 2 * in_areas < sizes.sum() else "field"

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
            suggested=None if self.suggested is None else self.suggested[keep],
            classes=[c for c in self.classes if c.id in ids],
        )

    def require_two(self) -> None:
        """Refuse labels of one class: nothing can be told apart by them.

        Raises:
            HeadError: all are of one class; it is named, with where the file's classes come from.
        """
        present = [self.names[i] for i in np.unique(self.y).tolist()]
        if len(present) == 1:
            try:
                require_two(present)
            except HeadError as error:
                raise HeadError(" ".join([str(error), *(self.report.notes if self.report else ())])) from None

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

    def samples(self, raster: EmbeddingRaster) -> Samples:
        """As :meth:`with_embeddings`, but there may be none."""
        return self._samples(CodeFeatures.at(raster, self.rows, self.cols))

    def few_samples(self, raster: EmbeddingRaster, seed: int = 0) -> Samples:
        """Those of :meth:`samples` that a score of ``seed`` looks at; only their embeddings are read, however many are labelled."""
        scales = np.asarray(raster.scales[self.rows, self.cols], np.float32)
        # One column tells which have data; the embeddings themselves follow once it is known whose are wanted.
        known = self._samples(MatrixFeatures(np.where(valid_scales(scales), scales, np.nan)[:, None]))
        few = thin(known, seed=seed)
        return replace(few, features=CodeFeatures.at(raster, few.rows, few.cols))

    def _with(self, features: CodeFeatures | MatrixFeatures) -> Samples:
        found = self._samples(features)
        if not len(found.y):
            raise LabelError(
                "Not one labelled pixel lies where there are data; check that labels and embeddings overlap."
            )
        return found

    def _samples(self, features: CodeFeatures | MatrixFeatures) -> Samples:
        usable = features.usable()
        return Samples(
            features.take(np.flatnonzero(usable)),
            self.y[usable].astype(np.int64),
            self.groups[usable],
            self.rows[usable],
            self.cols[usable],
            self.names,
            int((~usable).sum()),
            weight=np.ones(int(usable.sum())) if self.by_pixel else None,
            suggested=None if self.suggested is None else self.suggested[usable],
        )


def suggested_pixels(labels: Sequence[Label], label_index: NDArray[np.integer]) -> NDArray[np.bool_] | None:
    """Which pixels are of labels where the app suggested to label.

    Args:
        labels: all of them.
        label_index: int (N,), which of them each pixel is of.

    Returns:
        bool (N,); None where no label is.
    """
    chosen = np.array([label.origin == SUGGESTION for label in labels], bool)
    return chosen[label_index] if chosen.any() else None


def read_reference(
    path: str | Path,
    grid: Grid,
    field: str | None = None,
    crs: str | None = None,
    hints: Hints = NO_HINTS,
    *,
    of_several: bool = False,
) -> Reference:
    """Labels of a vector file, table, label JSON or single-band class raster on ``grid``.

    Args:
        path: the file.
        grid: of the embeddings.
        field: attribute that is the class, for vector files.
        crs: of the file, where it does not say it.
        hints: layer, columns of coordinates and encoding, where guessing is unsafe.
        of_several: whether labels may lie on other grids as well, so that one class alone is enough here.

    Raises:
        LabelError: the file cannot be read or no label lies on the grid.
    """
    if is_class_raster(path):
        if field is not None or crs is not None or hints != NO_HINTS:
            raise LabelError(f"{Path(path).name} is a raster, which has no fields, layers or columns to name.")
        return _of_raster(Path(path), grid)
    imported = read_labels(path, grid, field, crs, hints)
    reference = Reference.of_labels(imported.labels, imported.classes, grid, imported.report)
    if len(reference.rows) == 0:
        raise imported.report.nothing_left(Path(path).name)
    present = np.unique(reference.y)
    if not of_several and len(present) < 2 <= len(imported.classes):
        name = next(c.name for c in imported.classes if c.id == present[0])
        raise LabelError(
            f"Only the class {name!r} of {Path(path).name} has pixels in the end; two are needed. "
            + " ".join(imported.report.conflicts.sentences())
        )
    return reference


def _of_raster(path: Path, grid: Grid) -> Reference:
    raster = read_class_raster(path, grid)
    rows, cols = np.nonzero(raster.classes)
    codes, index = np.unique(raster.classes[rows, cols], return_inverse=True)
    if len(codes) > MAX_CLASSES:
        raise LabelError(
            f"{path.name} has {len(codes)} classes, a map holds {MAX_CLASSES}; is it a class raster at all?"
        )
    ids = codes if codes[-1] <= MAX_CLASSES else np.arange(1, len(codes) + 1)
    tags, classes = class_tags(path), list[LabelClass]()
    for class_id, stored in zip(ids.tolist(), codes.tolist(), strict=True):
        code = raster.own_code(stored)
        name = tags.get(f"class_{code}") or str(code)
        color = parse_color(tags.get(f"class_{code}_color")) or color_for(name, classes, class_id)
        classes.append(LabelClass(class_id, name, color, str(code)))
    y = ids.astype(np.uint8)[index]
    return Reference(rows, cols, y, raster.groups[rows, cols], classes, report=raster.report, by_pixel=True)

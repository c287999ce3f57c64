"""What really is in the demo region, in the words of a lesson, and how a map compares with it.

Only a simulated place has a truth that is known everywhere; of all others a sample is all that anybody can have.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tessera_core.errors import InputError
from tessera_core.gate import open_raster
from tessera_core.grid import Grid
from tessera_core.labels.model import LabelClass
from tessera_core.project.project import EmbeddingRef, Project


@dataclass(frozen=True)
class Truth:
    """The truth of a year.

    Attributes:
        names: names of the lesson, in order.
        classes: uint8 (H, W), 1 + position in ``names``; 0 where it is none of them.
        grid: its grid.
        year: that it is of.
    """

    names: tuple[str, ...]
    classes: NDArray[np.uint8] = field(repr=False)
    grid: Grid
    year: int | None = None

    def depth(self, name: str) -> NDArray[np.float64]:
        """(H, W) how far inside a patch of a name each pixel is, pixels; 0 outside."""
        from scipy import ndimage

        # The edge of the region is an edge of every patch.
        within = np.pad(self.classes == 1 + self.names.index(name), 1)
        inside: NDArray[np.float64] = ndimage.distance_transform_edt(within)[1:-1, 1:-1]
        return inside


@dataclass(frozen=True)
class Comparison:
    """A map beside the truth.

    Attributes:
        right: share of the pixels that have a truth at which the map is right.
        shares: name -> share of it that the map found.
        wrong: bool (H, W) where it is wrong.
    """

    right: float
    shares: dict[str, float]
    wrong: NDArray[np.bool_] = field(repr=False)


def truth_of(project: Project, year: int | None, legend: Mapping[str, Sequence[str]]) -> Truth | None:
    """The truth of a year of a project of the demo region; None where there is none.

    Args:
        project: any.
        year: of the map.
        legend: name of the lesson -> names of the classes of the truth that it stands for.

    Raises:
        InputError: the file of the truth cannot be read.
    """
    from tessera_core.project.demo import DEMO_CLASSES

    reference = project.embeddings.get(year)
    if reference is None or reference.provenance.source != "demo":
        return None
    path = _truth_file(reference)
    if path is None:
        return None
    with open_raster(path, error=InputError) as file:
        ids: NDArray[np.uint8] = file.read(1)
        grid = Grid(file.crs.to_string(), file.transform, ids.shape)
    table = np.zeros(256, np.uint8)
    for position, kinds in enumerate(legend.values(), 1):
        table[[one.id for one in DEMO_CLASSES if one.name in kinds]] = position
    return Truth(tuple(legend), table[ids], grid, year)


def _truth_file(reference: EmbeddingRef) -> Path | None:
    """The truth beside embeddings of the demo region; or, as those that came in a pack have none, that of the same region here."""
    from tessera_core.project.library import take_demo
    from tessera_core.sources.local.open import open_embeddings

    path = reference.path.parent.parent / "truth" / f"{reference.year}.tif"
    if path.is_file():
        return path
    demo = take_demo()
    here = None if demo is None or reference.year is None else demo.ready.get(reference.year)
    if demo is None or here is None or reference.year is None:
        return None
    raster, path = open_embeddings(here), demo.truth[reference.year]
    same = (raster.provenance, raster.grid) == (reference.provenance, reference.grid)
    return path if same and path.is_file() else None


def compare(
    truth: Truth, classes: NDArray[np.uint8], known: Sequence[LabelClass], spellings: Mapping[str, frozenset[str]]
) -> Comparison:
    """How right a map is, pixel by pixel.

    Args:
        truth: of its year.
        classes: uint8 (H, W), ids of ``known``, 0 where there is no map.
        known: classes of the project; those that the lesson has no name for are never right.
        spellings: name of the lesson -> how it may be spelt, casefolded.

    Raises:
        InputError: the map has another shape.
    """
    if classes.shape != truth.classes.shape:
        raise InputError("The map has another shape than the truth; open the demo region anew.")
    table = np.full(256, 255, np.uint8)
    for one in known:
        for position, name in enumerate(truth.names, 1):
            if one.name.casefold() in spellings[name]:
                table[one.id] = position
    judged = (truth.classes > 0) & (classes > 0)
    right = judged & (table[classes] == truth.classes)
    shares = {
        name: float(right[of].mean())
        for position, name in enumerate(truth.names, 1)
        if (of := judged & (truth.classes == position)).any()
    }
    return Comparison(float(right[judged].mean()) if judged.any() else 0.0, shares, judged & ~right)

"""A published reference sample as the sample that grades a map: places with classes that somebody else has looked at.

Its places have to have been drawn by chance, each with the same chance; then every share of them is one of the region, whatever
the map. Labels that somebody put where they are easy to tell are none.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tessera_core.areas import class_pixels
from tessera_core.assess.designs import Sample
from tessera_core.errors import LabelError
from tessera_core.grid import Grid
from tessera_core.labels.features import NO_HINTS, Hints
from tessera_core.labels.files import read_labels
from tessera_core.labels.importing import ImportedLabels

_SHOWN = 12


@dataclass(frozen=True)
class Published:
    """A sample read from a file.

    Attributes:
        sample: every place with its class.
        column: that was taken for the class.
        left_out: why places were left out -> how many.
        unnamed: classes of the file that are none of the map's -> how many places; they stay in the sample as "cannot tell".
    """

    sample: Sample
    column: str
    left_out: dict[str, int]
    unnamed: dict[str, int]

    @property
    def undecided(self) -> frozenset[int]:
        """Positions of the places whose class is none of the map's."""
        return frozenset(np.flatnonzero(self.sample.reference == 0).tolist())

    def sentences(self) -> list[str]:
        """For people, what was taken first."""
        lines = [f"Places that grade the map: {len(self.sample)}, their classes from the column {self.column}."]
        lines += [f"Left out ({why}): {n}." for why, n in self.left_out.items()]
        if self.unnamed:
            classes = ", ".join(f"{name} ({n})" for name, n in self.unnamed.items())
            lines.append(
                f"None of the map's classes, so counted as places that cannot be told: {classes}. Name them with a legend."
            )
        lines.append(
            "This holds if they were drawn by chance, each with the same chance; where they were not, it does not."
        )
        return lines


def read_published(
    path: str | Path,
    grid: Grid,
    classes: NDArray[np.integer],
    names: Mapping[int, str],
    legend: Mapping[str, str] | None = None,
    *,
    field: str | None = None,
    crs: str | None = None,
    hints: Hints = NO_HINTS,
) -> Published:
    """A sample of places with classes, from a table, GeoJSON, KML or any vector file of points.

    Args:
        path: of the file.
        grid, classes: of the map, classes (H, W) with 0 where there is no data.
        names: class id of the map -> name.
        legend: their class -> name of one of the map's; by default those of the same name. Places of a class that
            is not in it stay, as ones that cannot be told.
        field: column of the classes; by default one is chosen.
        crs, hints: of the file, where it does not say it.

    Raises:
        LabelError: the file cannot be read, the legend names a class that the map has not, or no place is left.
    """
    return published_of(read_labels(path, grid, field, crs, hints), Path(path).name, grid, classes, names, legend)


def classes_found(found: ImportedLabels) -> dict[str, int]:
    """Classes of the places of a file in the region -> how many, the commonest first."""
    theirs = {c.id: c.name for c in found.classes}
    return dict(
        Counter(theirs.get(label.class_id, "") for label in found.labels if label.kind == "point").most_common()
    )


def published_of(
    found: ImportedLabels,
    file: str,
    grid: Grid,
    classes: NDArray[np.integer],
    names: Mapping[int, str],
    legend: Mapping[str, str] | None = None,
) -> Published:
    """The same of labels that were read already, from a file named ``file``; arguments and errors as of :func:`read_published`."""
    ids = {name.strip().casefold(): k for k, name in names.items()}
    theirs = {c.id: c.name for c in found.classes}
    own = {name.strip().casefold(): name.strip() for name in theirs.values()}
    if legend is not None:
        own = {one.strip().casefold(): other.strip() for one, other in legend.items()}
        wrong = sorted({name for name in own.values() if name.casefold() not in ids})
        if wrong:
            raise LabelError(
                f"The legend names {', '.join(wrong[:_SHOWN])}, which the map has not; it has {', '.join(names.values())}."
            )
    left_out, unnamed = Counter[str](), Counter[str]()
    places: list[tuple[int, int, int]] = []
    for label in found.labels:
        name = theirs.get(label.class_id, "")
        class_id = ids.get(own.get(name.strip().casefold(), "").casefold())
        if label.kind != "point":
            left_out["areas, no places"] += 1
            continue
        row, col = (int(np.floor(float(v))) for v in grid.xy_to_pixel(*label.xy[0]))
        if not (0 <= row < grid.height and 0 <= col < grid.width) or classes[row, col] == 0:
            left_out["the map has no data there"] += 1
        else:
            # Left out, a place of another class would make the map look better than it is: it stays, as one that cannot be told.
            places.append((row, col, class_id or 0))
            if class_id is None:
                unnamed[name] += 1
    left_out.update(found.report.left_out)
    if not any(place[2] for place in places):
        known = ", ".join(list(dict.fromkeys(theirs.values()))[:_SHOWN])
        raise LabelError(
            f"No place of {file} can grade this map. Its classes are {known}; the map's are {', '.join(names.values())}. Say "
            "which is which with a legend."
        )
    rows, cols, reference = np.array(places, np.int64).T
    mapped = classes[rows, cols].astype(np.int64)
    sizes = {0: int((np.asarray(classes) > 0).sum())}
    none = np.zeros(len(rows), np.int64)
    sample = Sample(rows, cols, none, mapped, reference, ("",) * len(rows), sizes, "random", class_pixels(classes))
    return Published(sample, found.report.field or "class", dict(left_out), dict(unnamed))

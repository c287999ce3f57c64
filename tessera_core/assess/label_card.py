"""What is to be known of a set of labels before any score of them: a few lines, each with what to do.

A score judges a map by its labels, so it cannot see what is wrong with these: that they lie on one heap, leave ground out, or
stand on borders. Each line compares with what labels put down by chance would show.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from tessera_core._utils.percents import percent
from tessera_core.analysis.applicability import learn
from tessera_core.assess.reference import Reference
from tessera_core.errors import LabelError
from tessera_core.labels.conflicts import conflicts_of
from tessera_core.labels.model import Label, LabelClass
from tessera_core.observations import ELBOW
from tessera_core.periods import calendar_year
from tessera_core.raster import EmbeddingRaster, valid_scales

Level = Literal["ok", "mind", "bad"]

# Labels of a class below which the distance to the next one says nothing.
LEAST_LABELS = 5
ENOUGH_LABELS = 10
# Labelled pixels looked at, evenly from all: enough for a share to a few percent, and quick.
MOST_PIXELS = 2000
# Pixels of the region that stand for the rest.
GROUND = 4000
# A place is called a border where its worst neighbour is as unlike it as at one in ten places of the region.
BORDER_SHARE = 0.1
_NEIGHBOURS = ((-1, 0), (1, 0), (0, -1), (0, 1))
# From where on to mind, and from where on it is bad.
NEAR, VERY_NEAR = 0.4, 0.15
OUTSIDE = (0.15, 0.35)
UNEVEN = (10.0, 50.0)
ON_BORDERS = (0.25, 0.5)
LOST = (0.0, 0.2)
RARELY_SEEN = (0.1, 0.5)
YEARS = (1, 4)


@dataclass(frozen=True)
class CardLine:
    """One thing about a set of labels.

    Attributes:
        what: ``clustered``, ``cover``, ``imbalance``, ``duplicates``, ``borders``, ``no data``, ``rarely seen`` or ``picture``.
        level: ``ok``, ``mind`` or ``bad``.
        sentence: what is so.
        advice: what to do, in a sentence; empty where it is ``ok``.
        value: the figure that the level rests on, in the unit that the sentence gives it in; shares are 0..1.
    """

    what: str
    level: Level
    sentence: str
    advice: str
    value: float

    def to_json(self) -> dict[str, Any]:
        """JSON object of the fields."""
        return {
            "what": self.what,
            "level": self.level,
            "sentence": self.sentence,
            "advice": self.advice,
            "value": self.value,
        }


@dataclass(frozen=True)
class LabelCard:
    """The lines, always in the same order; what cannot be known of these labels has none."""

    lines: tuple[CardLine, ...]

    @property
    def minded(self) -> tuple[CardLine, ...]:
        """Those that are not ``ok``, the bad ones first."""
        return tuple(line for level in ("bad", "mind") for line in self.lines if line.level == level)

    def to_json(self) -> list[dict[str, Any]]:
        """JSON list of the lines."""
        return [line.to_json() for line in self.lines]


def card_of_labels(
    labels: Sequence[Label],
    classes: Sequence[LabelClass],
    raster: EmbeddingRaster,
    *,
    picture: tuple[str, int] | None = None,
) -> LabelCard:
    """The card of labels in painting order, coordinates in the CRS of the raster's grid; ``picture`` as in :func:`label_card`."""
    reference = Reference.of_labels(labels, classes, raster.grid)
    drawn = [label for label in labels if label.kind != "erase"]
    covered = conflicts_of(drawn, classes, raster.grid).covered.total()
    return label_card(reference, raster, covered=covered, picture=picture)


def label_card(
    reference: Reference,
    raster: EmbeddingRaster,
    *,
    covered: int | None = None,
    picture_year: int | None = None,
    picture: tuple[str, int] | None = None,
    seed: int = 0,
) -> LabelCard:
    """What is to be known of labels before they are scored.

    Args:
        reference: the labels.
        raster: the embeddings of the same grid.
        covered: labels that kept no pixel, because later ones lie on the same; by default what the report of the file says.
        picture_year: of the picture that the labels were drawn on, where somebody knows.
        picture: name and year of the picture under the map that is nearest in time to the embeddings, where nobody knows on
            which one they were drawn.
        seed: of the pixels that stand for the region.

    Returns:
        At most eight lines, none where nothing is labelled. The order of labels does not matter.

    Example:
        >>> import numpy as np
        >>> from tessera_core.grid import Grid
        >>> from tessera_core.labels.model import Label, LabelClass
        >>> from tessera_core.provenance import Provenance
        >>> raster = EmbeddingRaster(
        ...     np.ones((8, 8, 4), np.int8), np.ones((8, 8), np.float32), Grid.local((8, 8)), Provenance(dim=4)
        ... )
        >>> water = LabelClass(1, "Water", "#1658a8")
        >>> card = card_of_labels([Label("a", 1, "point", ((2.5, -2.5),))], [water], raster)
        >>> card.minded[0].sentence
        'All labels are of one class (Water).'
    """
    if not len(reference.y):
        return LabelCard(())
    if covered is None:
        covered = 0 if reference.report is None else reference.report.conflicts.covered.total()
    seen = _Seen.at(reference, raster, covered, seed)
    lines = (
        *seen.clustered(),
        *seen.cover(),
        *seen.imbalance(),
        *seen.duplicates(),
        *seen.borders(),
        *seen.without_data(),
        *seen.rarely_seen(),
        *_picture(raster.provenance.year, picture_year, picture),
    )
    return LabelCard(lines)


@dataclass(frozen=True)
class _Seen:
    """Labels on their ground.

    Attributes:
        usable: bool (N,), which labelled pixels have data.
        covered: labels without a pixel of their own.
        ground: int rows and columns (M,) of pixels with data drawn from the whole region; one may be drawn twice.
        with_data: share of the region that has data, as drawn.
    """

    reference: Reference
    raster: EmbeddingRaster
    usable: NDArray[np.bool_]
    covered: int
    ground: tuple[NDArray[np.int64], NDArray[np.int64]]
    with_data: float

    @classmethod
    def at(cls, reference: Reference, raster: EmbeddingRaster, covered: int, seed: int) -> _Seen:
        """Those of labels on a raster."""
        scales = np.asarray(raster.scales[reference.rows, reference.cols], np.float32)
        rng = np.random.default_rng(seed)
        height, width = raster.shape
        rows, cols = rng.integers(0, height, 2 * GROUND), rng.integers(0, width, 2 * GROUND)
        found = np.flatnonzero(valid_scales(np.asarray(raster.scales[rows, cols], np.float32)))
        some = found[:GROUND]
        return cls(reference, raster, valid_scales(scales), covered, (rows[some], cols[some]), len(found) / len(rows))

    @property
    def count(self) -> int:
        """Labels with a pixel."""
        return int(self.reference.groups.max()) + 1

    def some(self) -> NDArray[np.intp]:
        """Labelled pixels with data, at most :data:`MOST_PIXELS` of them, evenly in the order of their places."""
        index = np.flatnonzero(self.usable)
        if len(index) > MOST_PIXELS:
            index = index[np.linspace(0, len(index) - 1, MOST_PIXELS).astype(np.intp)]
        return index

    def clustered(self) -> Iterator[CardLine]:
        """How near the next label of a class is, against labels spread by chance over ground like it (Clark & Evans 1954)."""
        from scipy.spatial import cKDTree

        reference, height, width = self.reference, *self.raster.shape
        # Patches of a raster were chosen by nobody.
        if reference.by_pixel:
            return
        sizes = np.bincount(reference.groups)
        places = np.stack([np.bincount(reference.groups, axis) / sizes for axis in (reference.rows, reference.cols)], 1)
        of_label = np.zeros(len(sizes), np.int64)
        of_label[reference.groups] = reference.y
        shares = self._ground_like()
        worst: tuple[float, float, float, int] | None = None
        for class_id in np.unique(of_label).tolist():
            own = places[of_label == class_id]
            if len(own) < LEAST_LABELS or class_id not in shares:
                continue
            nearest = float(np.median(cKDTree(own).query(own, k=2)[0][:, 1]))
            # The median distance to the nearest of points thrown at random. Labels of pixels are never nearer than one.
            chance = float(np.sqrt(np.log(2) * shares[class_id] * height * width / (np.pi * (len(own) - 1))))
            chance = max(chance, 1.0)
            # The median of few distances is often small by chance.
            strict = min(len(own) / ENOUGH_LABELS, 1.0)
            if worst is None or nearest / chance / strict < worst[0]:
                worst = nearest / chance / strict, nearest, chance, class_id
        if worst is None:
            return
        judged, nearest, chance, class_id = worst
        ratio = nearest / chance
        name = reference.names.get(class_id, str(class_id))
        if judged >= NEAR:
            yield CardLine("clustered", "ok", "Labels lie about as far apart as chance would put them.", "", ratio)
            return
        yield CardLine(
            "clustered",
            "bad" if judged < VERY_NEAR else "mind",
            f"Labels of {name} lie on a heap: the next one is {self._far(nearest)} away (median); spread by chance over "
            f"ground like it, it would be {self._far(chance)}.",
            f"Label {name} in other parts of the region too, where it is found there.",
            ratio,
        )

    def _ground_like(self) -> dict[int, float]:
        """Class -> share of the region, 0..1, that is more like its labels' mean than like another's; without data, none."""
        index, (rows, cols) = self.some(), self.ground
        if not len(index):
            return {}
        units, y = _units(self.raster.codes[self.reference.rows[index], self.reference.cols[index]]), self.reference.y
        ids = np.unique(y[index])
        means = np.stack([units[y[index] == one].mean(0) for one in ids.tolist()])
        means /= np.maximum(np.linalg.norm(means, axis=1, keepdims=True), 1e-6)
        like = (_units(self.raster.codes[rows, cols]) @ means.T).argmax(axis=1)
        counts = self.with_data * np.bincount(like, minlength=len(ids)) / max(len(rows), 1)
        return dict(zip(ids.tolist(), counts.tolist(), strict=True))

    def _far(self, pixels: float) -> str:
        if not self.raster.grid.georeferenced:
            return f"{pixels:.0f} px"
        return f"{pixels * self.raster.grid.pixel_area_m2**0.5:,.0f} m"

    def cover(self) -> Iterator[CardLine]:
        """The share of the region that is unlike every label."""
        index = self.some()
        rows, cols = self.ground
        reference = self.reference
        try:
            known = learn(
                self.raster.sample(reference.rows[index], reference.cols[index]),
                reference.y[index],
                reference.groups[index],
                self.raster.times_seen(reference.rows[index], reference.cols[index]),
            )
        except LabelError:
            advice = "Label at least two places of each of two classes."
            yield CardLine("cover", "mind", "There are too few labels to tell what they leave out.", advice, 0.0)
            return
        share = float(known.outside(self.raster, rows, cols).mean())
        level = _level(share, OUTSIDE)
        advice = "" if level == "ok" else "Label there: the map has a layer that shows where it is."
        yield CardLine(
            "cover",
            level,
            f"Of the region {percent(share)} % is unlike everything that was labelled; of ground like the labels it would be 5 %.",
            advice,
            share,
        )

    def imbalance(self) -> Iterator[CardLine]:
        """How many times as many labels the largest class has as the smallest."""
        reference = self.reference
        if reference.by_pixel:
            of_label: NDArray[Any] = reference.y
        else:
            of_label = np.zeros(self.count, np.int64)
            of_label[reference.groups] = reference.y
        ids, counts = np.unique(of_label, return_counts=True)
        names = [reference.names.get(one, str(one)) for one in ids.tolist()]
        if len(ids) < 2:
            said = f"All labels are of one class ({names[0]})."
            yield CardLine("imbalance", "bad", said, "Label places of a second class.", float("inf"))
            return
        most, least = int(counts.argmax()), int(counts.argmin())
        ratio = float(counts[most] / counts[least])
        level = _level(ratio, UNEVEN)
        yield CardLine(
            "imbalance",
            level,
            f"Labels by class: the most {names[most]} ({counts[most]:,}), the fewest {names[least]} ({counts[least]:,}).",
            "" if level == "ok" else f"Label more places of {names[least]}.",
            ratio,
        )

    def duplicates(self) -> Iterator[CardLine]:
        """Labels under later ones."""
        if self.reference.by_pixel:
            return
        total = self.count + self.covered
        level = _level(self.covered / total, LOST)
        yield CardLine(
            "duplicates",
            level,
            f"Labels on pixels that later ones cover whole: {self.covered:,} of {total:,}.",
            "" if level == "ok" else "Delete one of each pair; where the classes differ, look again which is right.",
            float(self.covered),
        )

    def borders(self) -> Iterator[CardLine]:
        """The share of labels most of whose pixels have a neighbour as unlike them as few places of the region have."""
        index, reference = self.some(), self.reference
        if not len(index):
            return
        usual = self._likeness(*self.ground)
        own = self._likeness(reference.rows[index], reference.cols[index])
        if not np.isfinite(usual).any() or not np.isfinite(own).any():
            return
        border = own < np.nanquantile(usual, BORDER_SHARE)
        _, of = np.unique(reference.groups[index], return_inverse=True)
        labels = np.bincount(of)
        on = int((np.bincount(of, border) > labels / 2).sum())
        share = on / len(labels)
        # Of two or three labels, one on a border is no pattern.
        level = _level(share, ON_BORDERS) if len(labels) >= LEAST_LABELS else "ok"
        yield CardLine(
            "borders",
            level,
            f"Labels where the ground changes from one pixel to the next: {on:,} of {len(labels):,}; by chance it would be "
            "about one in ten.",
            "" if level == "ok" else "Move them into the middle of what they name; a pixel on a border is a mixture.",
            share,
        )

    def _likeness(self, rows: NDArray[Any], cols: NDArray[Any]) -> NDArray[np.float64]:
        """Cosine (N,) of each pixel with the most unlike of its four neighbours; NaN where none has data."""
        height, width = self.raster.shape
        codes = self.raster.codes
        own = _units(codes[rows, cols])
        least = np.full(len(rows), np.nan)
        for down, right in _NEIGHBOURS:
            r, c = rows + down, cols + right
            inside = (r >= 0) & (r < height) & (c >= 0) & (c < width)
            r, c = np.clip(r, 0, height - 1), np.clip(c, 0, width - 1)
            inside &= valid_scales(np.asarray(self.raster.scales[r, c], np.float32))
            cosine = np.einsum("nd,nd->n", own, _units(codes[r, c]))
            least = np.fmin(least, np.where(inside, cosine, np.nan))
        return least

    def without_data(self) -> Iterator[CardLine]:
        """Labels of which no pixel has an embedding."""
        total = self.count
        lost = total - len(np.unique(self.reference.groups[self.usable]))
        level = _level(lost / total, LOST)
        yield CardLine(
            "no data",
            level,
            f"Labels where there are no embeddings: {lost:,} of {total:,}.",
            "" if level == "ok" else "They teach nothing: move them, or take embeddings that cover them.",
            float(lost),
        )

    def rarely_seen(self) -> Iterator[CardLine]:
        """Labels on pixels that satellites saw clearly on few days, where somebody counted."""
        observations, reference = self.raster.observations, self.reference
        if observations is None or not self.usable.any():
            return
        rows, cols = reference.rows[self.usable], reference.cols[self.usable]
        _, of = np.unique(reference.groups[self.usable], return_inverse=True)
        few = np.bincount(of, observations[rows, cols, 0] < ELBOW)
        labels = np.bincount(of)
        count = int((few > labels / 2).sum())
        level = _level(count / len(labels), RARELY_SEEN)
        yield CardLine(
            "rarely seen",
            level,
            f"Labels on ground seen clearly fewer than {ELBOW} times: {count:,} of {len(labels):,}.",
            "" if level == "ok" else "Embeddings are less reproducible there: label better seen ground beside them.",
            count / len(labels),
        )


def _picture(year: int | None, picture_year: int | None, picture: tuple[str, int] | None) -> Iterator[CardLine]:
    if year is None or (picture_year is None and picture is None):
        return
    if picture_year is not None:
        told, said = (
            picture_year,
            f"The labels were drawn on a picture of {picture_year}, the embeddings are of {year}.",
        )
    else:
        assert picture is not None
        name, told = picture
        said = f"Of the pictures under the map that tell their date, {name} is nearest: of {told}; the embeddings are of {year}."
    apart = abs(calendar_year(year) - told)
    level = _level(apart, YEARS)
    yield CardLine(
        "picture",
        level,
        said,
        "" if level == "ok" else "Look again at labels on ground that may have changed between.",
        float(apart),
    )


def _units(codes: NDArray[np.int8]) -> NDArray[np.float32]:
    values = codes.astype(np.float32)
    norms = np.sqrt(np.einsum("nd,nd->n", values, values))[:, None]
    units: NDArray[np.float32] = values / np.maximum(norms, 1)
    return units


def _level(value: float, limits: tuple[float, float]) -> Level:
    """``mind`` above the first limit, ``bad`` above the second."""
    return "bad" if value > limits[1] else "mind" if value > limits[0] else "ok"

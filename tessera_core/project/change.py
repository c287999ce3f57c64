"""A project's years compared: change between them, one head on every year, and labels that hold in more than one.

The page and the command line both come here. Memory holds maps and levels (three bytes a pixel and year); embeddings are read
a block at a time.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from tessera_core.analysis.change import ChangeLayer, detect_change
from tessera_core.analysis.pca import sample_valid
from tessera_core.analysis.transfer import Transfer, transfer_labels
from tessera_core.analysis.transitions import Transitions, count_transitions, intervals
from tessera_core.areas import hectares_per_pixel
from tessera_core.errors import Cancelled, HeadError
from tessera_core.heads import ClassMap, Head, make_head, predict_raster
from tessera_core.heads.choice import DEFAULT_HEAD
from tessera_core.labels.model import Label
from tessera_core.labels.sampling import label_pixels
from tessera_core.raster import EmbeddingRaster
from tessera_core.types import Cancel, Progress

# Share of ground that a change layer may wrongly call changed where nothing else is chosen.
RATE = 0.05
DRAWS = 24
SAMPLE = 12_000


@dataclass(frozen=True)
class YearMaps:
    """One head on every year.

    Attributes:
        head: fitted on the labels' year and, where they hold, on the other years.
        label_year: the year the labels were made for.
        maps: by year.
        transfers: how the labels fared in every other year.
        steps: transitions between consecutive years, with intervals.
        n_train: vectors the head was fitted on, over all years.
    """

    head: Head
    label_year: int
    maps: dict[int, ClassMap]
    transfers: dict[int, Transfer]
    steps: tuple[Transitions, ...]
    n_train: int


def compare_steps(
    rasters: Mapping[int, EmbeddingRaster],
    *,
    stable: NDArray[np.bool_] | None = None,
    progress: Progress | None = None,
    cancelled: Cancel | None = None,
) -> dict[tuple[int, int], ChangeLayer]:
    """Change layers of consecutive years.

    Raises:
        RasterError, MixedDatasetsError, Cancelled: see :func:`~tessera_core.analysis.change.detect_change`.
    """
    years = sorted(rasters)
    pairs = list(itertools.pairwise(years))
    layers = {}
    for number, (a, b) in enumerate(pairs):
        report = _share(progress, number, len(pairs), f"Comparing {a} with {b}")
        layers[a, b] = detect_change(rasters[a], rasters[b], stable=stable, progress=report, cancelled=cancelled)
    return layers


@dataclass(frozen=True)
class YearLabels:
    """Labels and the year that they are of.

    Attributes:
        labels: on the grid of the years that are mapped.
        year: of them.
        raster: embeddings of that year; needed where it is none of the years that are mapped.
    """

    labels: Sequence[Label]
    year: int
    raster: EmbeddingRaster | None = None


def map_years(
    taught: YearLabels,
    rasters: Mapping[int, EmbeddingRaster],
    layers: Mapping[tuple[int, int], ChangeLayer],
    *,
    head: str = DEFAULT_HEAD,
    rate: float = RATE,
    seed: int = 0,
    progress: Progress | None = None,
    cancelled: Cancel | None = None,
) -> YearMaps:
    """Map every year with one head.

    The head learns from the labels in their own year and, in every other year, from those whose ground did not change
    between the two: what a class looks like in a dry year is then learnt, too.

    Args:
        taught: what the head learns from.
        rasters: the years to map, of one dataset on one grid.
        layers: change layers; those between the labels' year and other years are made where they are missing.
        head: name of the head.
        rate: false-discovery rate at which a change confirms a transition.
        seed: of the resampled labels.

    Raises:
        HeadError: fewer than two classes have labels with data.
        LabelError: there are no labels.
        Cancelled: ``cancelled`` said so.
    """
    years = sorted(rasters)
    labels, label_year = taught.labels, taught.year
    source = taught.raster if taught.raster is not None else rasters[label_year]
    grid = source.grid
    total = 3 * len(years)
    transfers: dict[int, Transfer] = {}
    for number, year in enumerate(other for other in years if other != label_year):
        report = _share(progress, number, total, f"Trying the labels on {year}")
        layer = layers.get((label_year, year)) or layers.get((year, label_year))
        if layer is None:
            layer = detect_change(source, rasters[year], progress=report, cancelled=cancelled)
        # A layer is of the pair; the labels go from their year to the other, whichever came first.
        transfers[year] = transfer_labels(labels, grid, replace(layer, years=(label_year, year)))
    x, y, group = _training(labels, source, rasters, transfers)
    fitted = make_head(head).fit(x, y)
    maps = {}
    for number, year in enumerate(years):
        report = _share(progress, len(years) + number, total, f"Mapping {year}")
        maps[year] = predict_raster(fitted, rasters[year], progress=report, cancelled=cancelled)
    draws = list(_resampled(head, x, y, group, seed, cancelled))
    hectare = hectares_per_pixel(grid)
    steps = []
    for number, (a, b) in enumerate(itertools.pairwise(years)):
        layer = layers.get((a, b))
        changed = None if layer is None else layer.mask(rate)
        counted = count_transitions(maps[a].classes, maps[b].classes, hectare, changed=changed, years=(a, b))
        rows, cols = sample_valid(rasters[a], SAMPLE, seed)
        first, second = rasters[a].sample(rows, cols), rasters[b].sample(rows, cols)
        both = np.isfinite(second).all(1)
        if draws and both.any():
            counted = intervals(counted, draws, first[both], second[both])
        steps.append(counted)
        if progress is not None:
            progress(100 * (2 * len(years) + number), 100 * total, "Measuring how sure the areas are")
    return YearMaps(fitted, label_year, maps, transfers, tuple(steps), len(y))


def confirm(maps: YearMaps, layers: Mapping[tuple[int, int], ChangeLayer], rate: float) -> tuple[Transitions, ...]:
    """The transitions with what the change layers confirm at another rate; nothing is mapped anew."""
    steps = []
    for step in maps.steps:
        a, b = step.years
        assert a is not None
        assert b is not None
        layer = layers.get((a, b))
        if layer is None:
            steps.append(step)
            continue
        first, second = maps.maps[a].classes, maps.maps[b].classes
        counted = count_transitions(first, second, step.hectares_per_pixel, changed=layer.mask(rate), years=step.years)
        steps.append(replace(step, confirmed=counted.confirmed))
    return tuple(steps)


def _training(
    labels: Sequence[Label],
    source: EmbeddingRaster,
    rasters: Mapping[int, EmbeddingRaster],
    transfers: Mapping[int, Transfer],
) -> tuple[NDArray[np.float32], NDArray[np.int64], NDArray[np.int64]]:
    """Vectors, classes and groups: what is resampled together is a label in all its years."""
    own = label_pixels(labels, source.grid)
    group_of = {(int(r), int(c)): int(g) for r, c, g in zip(own.rows, own.cols, own.label_index, strict=True)}
    xs = [source.sample(own.rows, own.cols)]
    ys, groups = [own.class_ids.astype(np.int64)], [own.label_index.astype(np.int64)]
    for year, transfer in transfers.items():
        if len(transfer.rows):
            xs.append(rasters[year].sample(transfer.rows, transfer.cols))
            ys.append(transfer.class_ids.astype(np.int64))
            places = zip(transfer.rows.tolist(), transfer.cols.tolist(), strict=True)
            groups.append(np.array([group_of[place] for place in places], np.int64))
    x, y, group = np.concatenate(xs), np.concatenate(ys), np.concatenate(groups)
    usable = np.isfinite(x).all(axis=1)
    return x[usable], y[usable], group[usable]


def _resampled(
    name: str,
    x: NDArray[np.float32],
    y: NDArray[np.int64],
    group: NDArray[np.int64],
    seed: int,
    cancelled: Cancel | None,
) -> list[Head]:
    """Heads fitted on labels drawn again, class by class, whole labels at a time."""
    rng = np.random.default_rng(seed)
    members = {int(g): np.flatnonzero(group == g) for g in np.unique(group)}
    class_of = {g: int(y[rows[0]]) for g, rows in members.items()}
    heads = []
    for _ in range(DRAWS):
        if cancelled is not None and cancelled():
            raise Cancelled
        chosen = []
        for class_id in sorted(set(class_of.values())):
            mine = [g for g, c in class_of.items() if c == class_id]
            chosen += [members[mine[i]] for i in rng.integers(0, len(mine), len(mine))]
        rows = np.concatenate(chosen)
        try:
            heads.append(make_head(name).fit(x[rows], y[rows]))
        except HeadError:
            # A draw may miss what a head needs, e.g. enough places of a class; the others still say how areas vary.
            continue
    return heads


def _share(progress: Progress | None, number: int, total: int, message: str) -> Progress | None:
    """Progress of one of ``total`` equal parts."""
    if progress is None:
        return None

    def report(done: int, of: int, _detail: str) -> None:
        progress(100 * number + 100 * done // max(of, 1), 100 * total, message)

    return report

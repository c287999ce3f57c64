"""Places with time series and labels in fields, on which frozen encoders are judged: held-out simulated worlds, labelled tiles.

A field (parcel) is never split between labels and test pixels. Knows packed pixels, raw statistics and how to score features;
refuses to know how an encoder was trained.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from tessera_core.assess.baseline import raw_medians
from tessera_core.assess.metrics import confusion_matrix
from tessera_core.assess.metrics import score as metrics
from tessera_core.assess.reference import Reference, read_reference
from tessera_core.assess.samples import Samples
from tessera_core.dpixels.simulate import COVER_NAMES, DPixelSample, make_world, sample_dpixels
from tessera_core.dpixels.simulate.observe import observe
from tessera_core.dpixels.tile import DPixelTile
from tessera_core.grid import Grid
from tessera_core.heads import make_head
from tessera_core.labels.colors import color_for
from tessera_core.labels.model import LabelClass
from tessera_core.models.quantise import quantise
from tessera_core.pretrain.pixels import PixelSet, pack_tile
from tessera_core.types import Floats

if TYPE_CHECKING:
    from tessera_core.models.encoder import Encoder
    from tessera_core.models.normalisation import Normalisation

FOLDS = 4
# Classes in fewer fields than this are left out: some must teach and some be tested, in several divisions.
MIN_FIELDS = 4
MAX_S2, MAX_S1 = 96, 144
WORLDS = "simulated worlds"
_STREAM = 77  # of the seeds: no world here is one that training or the choice of a checkpoint saw


@dataclass(frozen=True)
class StudyScene:
    """Labelled pixels of one place and year.

    Attributes:
        name: for people.
        pixels: N pixels, all their valid observations.
        reference: class and field of each.
        medians: float32 (N, F), what people use without embeddings; see :func:`.raw_medians`.
        group: scenes of one group are averaged in tables.
    """

    name: str
    pixels: PixelSet
    reference: Reference
    medians: Floats
    group: str = ""

    def __len__(self) -> int:
        return len(self.pixels)

    def plain(self) -> Samples:
        """The pixels with their raw statistics."""
        return self.reference.with_matrix(self.medians)

    def floats(self, features: Floats) -> Samples:
        """The pixels with features (N, D), standardised by what is trained on."""
        return self.reference.with_matrix(features)

    def codes(self, features: Floats) -> Samples:
        """The pixels with embeddings (N, D) as the app has them: int8 with one scale a pixel."""
        return self.reference.with_codes(*quantise(features, "v2"))


def held_out_worlds(count: int, seed: int = 0, *, parcels: int = 300, per_parcel: int = 4) -> list[StudyScene]:
    """``count`` simulated worlds that nothing was trained on, ``parcels`` x ``per_parcel`` pixels each."""
    scenes = []
    for number in range(count):
        own = int(np.random.SeedSequence((seed, _STREAM, number)).generate_state(1, np.uint64)[0] >> 1)
        sample = sample_dpixels(parcels * per_parcel, own, pixels_per_parcel=per_parcel, parcels_per_world=parcels)
        scenes.append(replace(_of_sample(sample, f"simulated world {number + 1}"), group=WORLDS))
    return scenes


def landscape(
    name: str, size: int, seed: int = 0, year: int = 2023, *, per_parcel: int = 2, climate: str = "temperate"
) -> StudyScene:
    """A simulated map, such as the demo region (320 pixels, seed 0), as its tile shows it: whole parcels are its fields.

    Args:
        name: for people.
        size, seed, year, climate: of the landscape, see :func:`.make_world`.
        per_parcel: pixels drawn from each parcel.

    Raises:
        InputError: there is no such landscape.
    """
    world = make_world(seed, size, (year,), climate)
    parcel = world.layout.parcel.ravel()
    order = np.random.default_rng((seed, _STREAM)).permutation(parcel.size)
    order = order[np.argsort(parcel[order], kind="stable")]
    # The first few of each parcel's shuffled pixels.
    starts = np.searchsorted(parcel[order], parcel[order])
    rows, cols = np.divmod(np.sort(order[np.arange(parcel.size) - starts < per_parcel]), size)
    classes: list[LabelClass] = []
    for number, title in enumerate(world.class_names, start=1):
        classes.append(LabelClass(number, title, color_for(title, classes, number)))
    y, groups = world.truth[year][rows, cols], world.layout.parcel[rows, cols]
    with TemporaryDirectory() as folder:
        tile = observe(world, year, Path(folder) / "tile")
        return of_tile(tile, Reference(rows, cols, y, groups, classes), name)


def labelled_tile(folder: str | Path, labels: str | Path, only: Sequence[str] = (), name: str = "") -> StudyScene:
    """The labelled pixels of a d-pixel tile.

    Args:
        folder: the tile.
        labels: class raster or label file, see :func:`.read_reference`; connected patches of a raster are its fields.
        only: classes by name or code; none for all.
        name: for people; the tile's name by default.

    Raises:
        TileError: the tile cannot be read.
        LabelError: the labels cannot be read, or a class is not among them.
    """
    tile = DPixelTile.open(folder)
    reference = read_reference(labels, tile.grid)
    if only:
        reference = reference.only(only)
    return of_tile(tile, reference, name or tile.name)


def _of_sample(sample: DPixelSample, name: str) -> StudyScene:
    """One world of a sample as a scene; its pixels share their dates."""
    n = len(sample)
    dates = [int((days[0] > 0).sum()) for days in (sample.doys, sample.doys_asc, sample.doys_desc)]
    s2, ascending, descending = dates

    def upright(values: NDArray, count: int) -> NDArray:
        return np.moveaxis(values[:, :count], 0, 1)[:, :, None]

    tile = DPixelTile(
        bands=upright(sample.s2, s2),
        masks=upright(sample.masks, s2),
        doys=sample.doys[0, :s2],
        sar_asc=upright(sample.sar_asc, ascending),
        doys_asc=sample.doys_asc[0, :ascending],
        sar_desc=upright(sample.sar_desc, descending),
        doys_desc=sample.doys_desc[0, :descending],
        roi=None,
        grid=Grid.local((n, 1)),
        name=name,
    )
    classes: list[LabelClass] = []
    for number, cover in enumerate(COVER_NAMES, start=1):
        classes.append(LabelClass(number, cover, color_for(cover, classes, number)))
    reference = Reference(np.arange(n), np.zeros(n, int), sample.covers + np.uint8(1), sample.parcels, classes)
    return of_tile(tile, reference, name)


def of_tile(tile: DPixelTile, reference: Reference, name: str) -> StudyScene:
    """The labelled pixels of a tile that have statistics, of classes that lie in at least :data:`MIN_FIELDS` fields."""
    medians = raw_medians(tile, reference.rows, reference.cols)
    usable = np.isfinite(medians).all(axis=1)
    fields = {k: len(np.unique(reference.groups[usable & (reference.y == k)])) for k in np.unique(reference.y)}
    keep = usable & np.isin(reference.y, [k for k, count in fields.items() if count >= MIN_FIELDS])
    reference = replace(
        reference,
        rows=reference.rows[keep],
        cols=reference.cols[keep],
        y=reference.y[keep],
        groups=reference.groups[keep],
    )
    pixels = pack_tile(tile, reference.rows, reference.cols, max_s2=MAX_S2, max_s1=MAX_S1, seed=0)
    return StudyScene(name, pixels, reference, medians[keep], name)


def embed(encoder: Encoder, normalisation: Normalisation, pixels: PixelSet) -> Floats:
    """Embeddings (N, D) of a frozen encoder, from all valid observations of each pixel."""
    from tessera_core.pretrain.monitor import embed as represent

    encoder.eval()
    # A bounded number of pixels at a time: the packed series become float32.
    parts = [represent(encoder, pixels.take(slice(i, i + 2048)), normalisation) for i in range(0, len(pixels), 2048)]
    return np.concatenate(parts)[:, : encoder.config.output_dim]


def without_radar(pixels: PixelSet) -> PixelSet:
    """The pixels as if Sentinel-1 had never passed."""
    none = np.zeros(len(pixels), np.uint16)
    return replace(pixels, s1=np.zeros_like(pixels.s1), s1_count=none, s1_ascending=none)


def divide(
    samples: Samples, per_class: int | None, rng: np.random.Generator
) -> list[tuple[NDArray[np.intp], NDArray[np.intp]]]:
    """Random folds, as pixels to train on and to test on: each class's fields are dealt to :data:`FOLDS` parts.

    With ``per_class``, that many labels of each class, spread over its teaching fields: one of every field before any gives
    a second. A class with fewer gives all it has. ``StratifiedGroupKFold`` would deal few fields alike for every seed.
    """
    part, turn = np.zeros(len(samples.y), int), np.zeros(len(samples.y), int)
    order = rng.permutation(len(samples.y))
    for value in np.unique(samples.y):
        mine = order[samples.y[order] == value]
        for number, field in enumerate(rng.permutation(np.unique(samples.groups[mine]))):
            inside = mine[samples.groups[mine] == field]
            part[inside] = number % FOLDS
            turn[inside] = np.arange(len(inside))
    folds = []
    for k in range(FOLDS):
        train: list[NDArray[np.intp]] = []
        for value in np.unique(samples.y):
            pool = order[(samples.y[order] == value) & (part[order] != k)]
            train.append(pool[np.argsort(turn[pool], kind="stable")][:per_class])
        rows = np.concatenate(train)
        # A parcel of two classes could be dealt to both sides; what teaches of it is not tested beside it.
        tested = (part == k) & ~np.isin(samples.groups, samples.groups[rows])
        folds.append((np.sort(rows), np.flatnonzero(tested)))
    return folds


def score(samples: Samples, head: str, per_class: int | None, repeats: int = 1, seed: int = 0) -> list[float]:
    """Macro-F1 with whole fields held out, one value for each random division of the fields (and draw of labels).

    Every pixel is predicted once in a division, by a head that saw nothing of its field. The same ``seed`` divides and draws
    alike whatever the features, so scores of two kinds of features are paired.

    Args:
        samples: labelled pixels.
        head: name of the head trained on top.
        per_class: labels of each class to train on, None for all of the teaching fields.
        repeats: divisions.
        seed: of the divisions.
    """
    ids = np.unique(samples.y).tolist()
    scores = []
    for repeat in range(repeats):
        matrix = np.zeros((len(ids), len(ids)), np.int64)
        for train, test in divide(samples, per_class, np.random.default_rng((seed, repeat))):
            predicted = samples.features.fit_predict(make_head(head), train, samples.y[train], test)
            matrix += confusion_matrix(samples.y[test], predicted, ids)
        scores.append(float(metrics(matrix, ids, samples.names)["macro_f1"]))
    return scores

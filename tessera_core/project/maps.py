"""Finished maps as values: what was made, of which embeddings and labels, how sure it is, and how it is written.

The command line and notebooks make their maps here; a project's own map is made by the same fit in
:mod:`tessera_core.project.classify` and :mod:`tessera_core.project.regress`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from html import escape
from math import isnan
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from tessera_core._utils.percents import percent
from tessera_core._utils.scratch import scratch
from tessera_core.areas import MappedArea, hectares, mapped_areas
from tessera_core.errors import HeadError, InputError
from tessera_core.grid import Grid
from tessera_core.heads.choice import HeadChoice
from tessera_core.labels.colors import color_for
from tessera_core.labels.model import LabelClass
from tessera_core.project.classify import Trained, train, what_was_seen
from tessera_core.project.regress import RegressionChoice, fit_regression
from tessera_core.provenance import Provenance
from tessera_core.raster import EmbeddingRaster
from tessera_core.types import Cancel, Progress

if TYPE_CHECKING:
    from tessera_core.analysis.change import ChangeLayer
    from tessera_core.assess.live import LiveScore
    from tessera_core.assess.reference import Reference
    from tessera_core.assess.regression import RegressionSamples
    from tessera_core.heads import ClassMap, Head, RegressionHead, SavedHead, ValueMap

# Share of false alarms that a map of change accepts where nothing else is said.
RATE = 0.05
# A smaller share of unlike ground is not worth a warning.
HARDLY_ANY = 0.005


@dataclass(frozen=True)
class GivenHead(HeadChoice):
    """A head that somebody made, as a choice: each fit gets a copy with its parameters, never what it has learnt."""

    head: Head | None = None

    def make(self, seed: int | None = None, **params: Any) -> Head:
        """An unfitted copy; its own seed stays."""
        from sklearn.base import clone

        copy: Head = clone(self.head).set_params(**params)
        return copy


@dataclass(frozen=True)
class GivenRegressionHead(RegressionChoice):
    """The same for regression."""

    head: RegressionHead | None = None

    def make(self, seed: int = 0) -> RegressionHead:
        """An unfitted copy; its own seed stays."""
        from sklearn.base import clone

        copy: RegressionHead = clone(self.head)
        return copy


@dataclass(frozen=True, repr=False, eq=False)
class Mapped[MapT: (ClassMap, ValueMap), HeadT: (Head, RegressionHead)]:
    """A map that a head made, with what it was made of.

    Attributes:
        raster: the embeddings.
        map: what the head says of each pixel.
        head: fitted.
        trained_on: of the embeddings that the head learnt from.
    """

    raster: EmbeddingRaster
    map: MapT
    head: HeadT
    trained_on: Provenance

    @property
    def grid(self) -> Grid:
        """Where the pixels lie."""
        return self.raster.grid

    @property
    def provenance(self) -> Provenance:
        """Of the embeddings mapped."""
        return self.raster.provenance

    def save_head(self, path: str | Path) -> Path:
        """Write the head, for other regions of the same dataset (:func:`tessera_core.heads.load_head`).

        Raises:
            HeadError: the head is of a type that cannot be saved.
            ExportError: the file cannot be written.
        """
        from tessera_core.heads import save_head

        return save_head(path, self.head, *self._kept_with_head())

    def _kept_with_head(self) -> tuple[dict[int, str], Provenance, Mapping[str, NDArray[Any]]]:
        """Names of its classes, what it was trained on, and arrays that tell other ground."""
        return {}, self.trained_on, {}

    def explore(self, **options: Any) -> Any:
        """The map on a leafmap map in a notebook; see :meth:`EmbeddingRaster.explore`."""
        return self.raster.explore(map=self, **options)

    def _described(self, kind: str) -> str:
        height, width = self.grid.shape
        return f"{kind} {width} x {height} pixels of {self.provenance.dataset}, {self.provenance.year or 'no year'}"


@dataclass(frozen=True, repr=False, eq=False)
class MappedClasses(Mapped["ClassMap", "Head"]):
    """A map of classes with what it was made of: :class:`Mapped`, and

    Attributes:
        map: ``classes``, uint8 (H, W) with 0 = no data, and ``confidence``, uint8 (H, W) percent with 255 = no data.
        legend: names and colours of the class ids.
        labels: the head learnt from; None where it was saved earlier.
        trained: how many pixels taught it, its score and calibration; None likewise.
        seen: arrays that tell ground unlike the labels; empty where none came with the head.
        seed: of everything random.
    """

    legend: tuple[LabelClass, ...] = ()
    labels: Reference | None = None
    trained: Trained | None = None
    seen: Mapping[str, NDArray[Any]] = field(default_factory=dict)
    seed: int = 0

    @property
    def classes(self) -> NDArray[np.uint8]:
        """uint8 (H, W) class ids, 0 = no data."""
        return self.map.classes

    @property
    def confidence(self) -> NDArray[np.uint8]:
        """uint8 (H, W) percent, 255 = no data."""
        return self.map.confidence

    @property
    def score(self) -> LiveScore | None:
        """How good the map is at places held out; None where that is not known."""
        return None if self.trained is None else self.trained.score

    @property
    def names(self) -> dict[int, str]:
        """Class id -> name."""
        return {c.id: c.name for c in self.legend}

    def areas(self) -> dict[int, MappedArea]:
        """Class id -> pixels, share and hectares of each class of the legend and of the map, 0 for what is not mapped."""
        return mapped_areas(self.classes, self.grid, {int(i) for i in self.head.classes_})

    def save_head(self, path: str | Path) -> Path:
        """Write the head, for other regions of the same dataset (:func:`tessera_core.heads.load_head`), or for other programs.

        Args:
            path: its ending says the form: ``.safetensors``; or ``.json``, ``.onnx``, ``.js`` (Earth Engine) and ``.txt`` (QGIS's
                raster calculator), which docs/howto/portable.md describes.

        Raises:
            HeadError, InputError: the head is of a kind that cannot be written in this form.
            ExportError: the file cannot be written.
        """
        from tessera_core.export.head_formula import ENDINGS, write_head
        from tessera_core.heads import PortableHead
        from tessera_core.project.head_file import training_card

        if Path(path).suffix.lower() not in ENDINGS:
            return super().save_head(path)
        names, provenance, seen = self._kept_with_head()
        colors = {c.id: c.color for c in self.legend}
        return write_head(
            path,
            PortableHead.of(
                self.head,
                names,
                provenance,
                colors=colors,
                card=training_card(self._label_counts(), self.score, provenance),
                seen=seen,
            ),
        )

    def _label_counts(self) -> dict[str, int]:
        """How many labels of each class taught the head; none where it was saved earlier."""
        if self.labels is None:
            return {}
        pairs = np.unique(np.stack([self.labels.y.astype(np.int64), self.labels.groups.astype(np.int64)]), axis=1)[0]
        names = self.names
        return {names.get(int(i), str(i)): int((pairs == i).sum()) for i in np.unique(pairs)}

    def outside_applicability(self) -> Outside | None:
        """How much of the region is unlike what the head was trained on (outside its area of applicability)."""
        from tessera_core.analysis.applicability import AreaOfApplicability

        if not self.seen:
            return None
        known = AreaOfApplicability.of_arrays(self.seen)
        share = known.share_outside(self.raster, self.seed)
        return None if share is None else Outside(share, known.home)

    def _kept_with_head(self) -> tuple[dict[int, str], Provenance, Mapping[str, NDArray[Any]]]:
        seen = self.seen if self.labels is None else what_was_seen(self.labels, self.raster, self.seed)
        return self.names, self.trained_on, seen

    def write(self, path: str | Path, confidence: str | Path | None = None) -> list[Path]:
        """Write the map, and with ``confidence`` that too, as Cloud Optimized GeoTIFF with a style for QGIS beside it.

        Raises:
            ExportError: a file cannot be written.
        """
        from tessera_core.export.geotiff import write_class_map, write_confidence

        tags = {"tessera_head": self.head.kind, "tessera_trained_on_year": str(self.trained_on.year or "")}
        files = [write_class_map(path, self.classes, None, self.grid, self.legend, self.provenance, tags=tags)]
        if confidence is not None:
            warmth = self.head.applied_temperature_
            files.append(write_confidence(confidence, self.confidence, self.grid, self.provenance, temperature=warmth))
        return files

    def explore(self, **options: Any) -> Any:
        """The map on a leafmap map in a notebook; see :meth:`EmbeddingRaster.explore`."""
        return super().explore(labels=options.pop("labels", self.labels), **options)

    def __repr__(self) -> str:
        right = "" if self.score is None else f"; {self.score.headline}"
        return f"<{self._described('MappedClasses')}: {', '.join(c.name for c in self.legend)}{right}>"

    def _repr_html_(self) -> str:
        areas, rows = self.areas(), ""
        for c in self.legend:
            if (area := areas.get(c.id)) is not None:
                square = f'<span style="display:inline-block;width:1em;height:1em;background:{c.color}"></span>'
                ground = "" if area.hectares is None else f"{area.hectares:,.1f}"
                rows += f"<tr><td>{square} {escape(c.name)}</td><td>{area.pixels:,}</td><td>{ground}</td></tr>"
        told = "" if self.score is None else f"<p>{escape(self.score.headline)}</p>"
        return f"<table><tr><th>class</th><th>pixels</th><th>hectares</th></tr>{rows}</table>{told}"


@dataclass(frozen=True)
class Outside:
    """How far a saved head may be trusted elsewhere.

    Attributes:
        share: of the region that is unlike anything the head was trained on, 0..1.
        home: the same share where it was trained; NaN where that was not noted.
    """

    share: float
    home: float

    @property
    def sentence(self) -> str:
        """What to mind."""
        if self.share < HARDLY_ANY:
            return "Nearly all of the region resembles what the head was trained on."
        said = f"{percent(self.share)} % of the region is unlike anything the head was trained on"
        guesses = "the map guesses there, however sure it looks"
        if isnan(self.home):
            return f"{said}; {guesses}."
        # Labels never show all of their own region; but few classes may leave most of it out, and the map guesses there as well.
        if self.share <= self.home + 0.05:
            return f"{said}, about as much as where it was trained; {guesses}."
        return f"{said} ({percent(self.home)} % where it was trained); {guesses}."


@dataclass(frozen=True, repr=False, eq=False)
class MappedValues(Mapped["ValueMap", "RegressionHead"]):
    """A map of a measured value with what it was made of: :class:`Mapped`, and

    Attributes:
        map: ``values`` and ``half_widths``, float32 (H, W), NaN = no data; nine of ten lie within value - margin to value + margin
            (the half-width of a 90 % prediction interval).
        name: what was measured.
        n_train: pixels that taught the head; None where it was saved earlier.
        labels: it learnt from; None likewise.
    """

    name: str = "value"
    n_train: int | None = None
    labels: RegressionSamples | None = None

    @property
    def values(self) -> NDArray[np.float32]:
        """float32 (H, W), NaN = no data."""
        return self.map.values

    @property
    def half_widths(self) -> NDArray[np.float32]:
        """float32 (H, W): how far off nine of ten may be."""
        return self.map.half_widths

    def write(self, path: str | Path, margin: str | Path | None = None) -> list[Path]:
        """Write the values, and with ``margin`` how far off they may be, as Cloud Optimized GeoTIFF.

        Raises:
            ExportError: a file cannot be written.
        """
        from tessera_core.export.values import RegressionProduct, write_half_widths, write_value_map
        from tessera_core.labels.values import name_and_unit

        unit, kind = name_and_unit(self.name)[1], self.head.kind
        product = RegressionProduct(
            self.name, self.name, unit, self.values, self.half_widths, self.grid, self.provenance, kind
        )
        files = [write_value_map(path, product)]
        return files if margin is None else [*files, write_half_widths(margin, product)]

    def __repr__(self) -> str:
        known = self.values[np.isfinite(self.values)]
        span = f"{known.min():.4g} to {known.max():.4g}" if known.size else "no data"
        return f"<{self._described('MappedValues')}: {self.name}, {span}>"


@dataclass(frozen=True, repr=False, eq=False)
class MappedChange:
    """What changed between two years, at any rate of false alarms.

    Attributes:
        layer: evidence for change in every pixel; thresholds are look-ups.
        first, second: the embeddings compared, the earlier first.
    """

    layer: ChangeLayer
    first: EmbeddingRaster
    second: EmbeddingRaster

    @property
    def grid(self) -> Grid:
        """Where the pixels lie."""
        return self.first.grid

    def changed(self, rate: float = RATE) -> NDArray[np.bool_]:
        """bool (H, W): what changed, with up to ``rate`` false alarms among it (Benjamini-Hochberg)."""
        return self.layer.mask(rate)

    def hectares(self, rate: float = RATE) -> float | None:
        """Changed hectares; None for a grid without a place on Earth."""
        return hectares(self.layer.count(rate), self.grid)

    def write(self, path: str | Path, rate: float = RATE) -> list[Path]:
        """Write 1 unchanged, 2 changed, 0 no data, and beside it ``NAME_p.tif`` with p-values.

        Raises:
            ExportError: a file cannot be written.
        """
        from tessera_core.export.change import write_change

        return write_change(path, self.layer, rate, self.grid, self.second.provenance)

    def explore(self, **options: Any) -> Any:
        """The changed ground on a leafmap map in a notebook; see :meth:`EmbeddingRaster.explore`."""
        return self.second.explore(map=self, **options)

    def __repr__(self) -> str:
        years = " to ".join(str(year or "no year") for year in self.layer.years)
        share = self.layer.count(RATE) / max(self.layer.pixels, 1)
        said = f"{percent(share, 1)} % of {self.layer.pixels:,} pixels changed"
        return f"<MappedChange {years}: {said}, with up to {percent(RATE)} % false alarms>"


def map_classes(
    raster: EmbeddingRaster,
    labels: Reference,
    choice: str | HeadChoice,
    *,
    legend: Sequence[LabelClass] | None = None,
    seed: int = 0,
    calibrated: bool = True,
    progress: Progress | None = None,
    cancelled: Cancel | None = None,
) -> MappedClasses:
    """Fit a head on labels and map the raster with it.

    Args:
        raster: the embeddings.
        labels: on its grid.
        choice: of the head.
        legend: classes of the map where they are more than those of the labels, such as those of a tree.
        seed: of everything random.
        calibrated: whether confidence is checked on places held out, and mended (temperature scaling).

    Raises:
        HeadError: fewer than two classes have labels with data, or there is no such head.
        Cancelled: ``cancelled`` said so.
    """
    from tessera_core.heads import predict_raster

    trained = train(
        labels,
        raster,
        choice,
        seed=seed,
        calibrated=calibrated,
        progress=progress,
        cancelled=cancelled,
    )
    made = predict_raster(trained.head, raster, _room(raster), progress=progress, cancelled=cancelled)
    classes = tuple(labels.classes if legend is None else legend)
    return MappedClasses(raster, made, trained.head, raster.provenance, classes, labels, trained, seed=seed)


def map_values(
    raster: EmbeddingRaster,
    labels: RegressionSamples,
    choice: RegressionChoice,
    *,
    seed: int = 0,
    progress: Progress | None = None,
    cancelled: Cancel | None = None,
) -> MappedValues:
    """Fit a regression head on measured values and map the raster with it; see :func:`map_classes`.

    Raises:
        HeadError: fewer than three pixels have data, or all values are the same.
        Cancelled: ``cancelled`` said so.
    """
    from tessera_core.heads import predict_values

    head = choice.make(seed)
    n_train = fit_regression(labels, raster, head, seed=seed, progress=progress, cancelled=cancelled)
    made = predict_values(head, raster, progress=progress, cancelled=cancelled)
    return MappedValues(raster, made, head, raster.provenance, labels.field or "value", n_train, labels)


def map_values_with(
    raster: EmbeddingRaster, saved: SavedHead, *, progress: Progress | None = None, cancelled: Cancel | None = None
) -> MappedValues:
    """Map a raster with a regression head saved earlier; nothing is trained.

    Raises:
        MixedDatasetsError: the head was trained on another dataset.
        HeadError: it maps classes, or does not fit the vectors.
        Cancelled: ``cancelled`` said so.
    """
    from tessera_core.heads import predict_values

    raster.provenance.require_same_dataset(saved.provenance, "one map")
    if (head := saved.regression) is None:
        raise HeadError("The saved head maps classes; give it to map_classes.")
    return MappedValues(
        raster, predict_values(head, raster, progress=progress, cancelled=cancelled), head, saved.provenance
    )


def map_classes_with(
    raster: EmbeddingRaster,
    saved: SavedHead,
    *,
    legend: Sequence[LabelClass] | None = None,
    seed: int = 0,
    progress: Progress | None = None,
    cancelled: Cancel | None = None,
) -> MappedClasses:
    """Map a raster with a head of classes saved earlier; nothing is trained.

    Args:
        legend: :func:`legend_of` the head, where it is known already.

    Raises:
        MixedDatasetsError: the head was trained on another dataset.
        HeadError: it maps values, or does not fit the vectors.
        Cancelled: ``cancelled`` said so.
    """
    from tessera_core.heads import predict_raster

    raster.provenance.require_same_dataset(saved.provenance, "one map")
    if (head := saved.classification) is None:
        raise HeadError("The saved head maps measured values; give it to map_values.")
    made = predict_raster(head, raster, _room(raster), progress=progress, cancelled=cancelled)
    classes = legend_of(saved) if legend is None else tuple(legend)
    return MappedClasses(raster, made, head, saved.provenance, classes, seen=saved.seen, seed=seed)


def _room(raster: EmbeddingRaster) -> ClassMap:
    """Where a map of the raster is put: two bytes a pixel, which of a large one would be most of the memory."""
    from tessera_core.heads.classification import NO_CLASS, NO_CONFIDENCE
    from tessera_core.heads.scene import ClassMap

    return ClassMap(scratch(raster.shape, NO_CLASS), scratch(raster.shape, NO_CONFIDENCE))


def legend_of(saved: SavedHead) -> tuple[LabelClass, ...]:
    """The classes of a saved head with their colours."""
    legend: list[LabelClass] = []
    colours = _colours_of(saved)
    for class_id, name in saved.class_names.items():
        legend.append(LabelClass(class_id, name, colours.get(class_id) or color_for(name, legend, class_id)))
    return tuple(legend)


def _colours_of(saved: SavedHead) -> dict[int, str]:
    """Class id -> colour, as the card of a head says; a stranger's card may say anything."""
    found = {}
    classes = saved.card.get("classes")
    for one in classes if isinstance(classes, list) else []:
        if isinstance(one, dict) and re.fullmatch(r"#[0-9a-fA-F]{6}", str(one.get("color"))):
            found[one.get("id")] = str(one["color"])
    return {class_id: colour for class_id, colour in found.items() if isinstance(class_id, int)}


def write_map(
    path: str | Path,
    made: MappedClasses | MappedValues | MappedChange,
    *,
    confidence: str | Path | None = None,
    margin: str | Path | None = None,
    rate: float | None = None,
) -> list[Path]:
    """Write a map; see the ``write`` of each kind.

    Raises:
        InputError: what is asked for beside the map is none of its kind.
        ExportError: a file cannot be written.
    """
    if confidence is not None and not isinstance(made, MappedClasses):
        raise InputError("Confidence is of a map of classes; a map of values has a margin, one of change a rate.")
    if margin is not None and not isinstance(made, MappedValues):
        raise InputError("A margin is of a map of values; a map of classes has confidence, one of change a rate.")
    if rate is not None and not isinstance(made, MappedChange):
        raise InputError("A rate of false alarms is of a map of change; maps of classes and of values have none.")
    if isinstance(made, MappedClasses):
        return made.write(path, confidence)
    if isinstance(made, MappedValues):
        return made.write(path, margin)
    return made.write(path, RATE if rate is None else rate)

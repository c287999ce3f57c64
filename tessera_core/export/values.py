"""A map of a number as files: values and margins as GeoTIFF, the plots, and all of it for QGIS in one zip."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tessera_core._utils.atomic import atomic_path
from tessera_core.errors import ExportError
from tessera_core.export.archive import write_zip
from tessera_core.export.geotiff import Band, ValueStyle, write_values
from tessera_core.export.qgisproject import ProjectLayer, write_qgz
from tessera_core.export.style import plots_renderer, values_renderer
from tessera_core.export.vector import GPKG_OPTIONS, label_features
from tessera_core.grid import Grid
from tessera_core.labels.model import Label
from tessera_core.provenance import Provenance
from tessera_core.render.colormap import Scale

PLOTS, PLOT_AREAS = "plots", "plot_areas"


@dataclass(frozen=True)
class RegressionProduct:
    """A map of a number with everything that belongs to it.

    Attributes:
        name: of the project.
        measure: what was measured.
        unit: of it, or empty.
        values, margins: float32 (H, W), NaN = no data; nine of ten plots lie within value - margin to value + margin.
        grid: of both.
        provenance: of the embeddings.
        head: name of the head.
        plots: what the head learnt from, CRS of the grid.
        numbers: float64 (N,) of the plots.
        held_out: float64 (N,) what a head says that has not seen the plot; NaN where none was asked.
        facts: sentences on how far to trust it.
        r2: share of the differences between plots that it explains where it has not seen them; None where that is not known.
    """

    name: str
    measure: str
    unit: str
    values: NDArray[np.float32]
    half_widths: NDArray[np.float32]
    grid: Grid
    provenance: Provenance
    head: str
    plots: Sequence[Label] = ()
    numbers: NDArray[np.float64] | None = None
    held_out: NDArray[np.float64] | None = None
    facts: Sequence[str] = ()
    r2: float | None = None

    @property
    def title(self) -> str:
        """What is mapped, with its unit."""
        return f"{self.measure} ({self.unit})" if self.unit else self.measure

    @property
    def scale(self) -> Scale:
        """Which numbers the colours stand for: those of the plots, so that a map of nothing does not look rich."""
        return Scale.of(self.values) if self.numbers is None else plots_scale(self.numbers, self.values)

    @property
    def useless(self) -> bool:
        """Whether the map is no better than the mean of the plots."""
        return self.r2 is not None and self.r2 <= 0

    @property
    def simulated(self) -> bool:
        """Whether the landscape is made up."""
        return self.provenance.simulated


def plots_scale(numbers: NDArray[np.float64], values: NDArray[np.float32] | None = None) -> Scale:
    """Which numbers the colours of a map and its plots stand for: those of the plots; of a map without any, its own.

    Args:
        numbers: float64 (N,) of the plots.
        values: of the map, which says whether there are numbers beyond the ends; None while there is none.
    """
    if not len(numbers):
        return Scale.of(np.zeros(0) if values is None else values)
    scale = Scale.of(numbers)
    return scale if values is None else scale.covering(values)


def write_value_map(path: str | Path, product: RegressionProduct) -> Path:
    """Write the map as COG, float32.

    Raises:
        ExportError: it cannot be written.
    """
    return write_values(
        path,
        product.values,
        product.grid,
        product.provenance,
        Band(product.measure, product.unit, {"tessera_head": product.head}),
        ValueStyle(scale=product.scale),
    )


def write_half_widths(path: str | Path, product: RegressionProduct) -> Path:
    """Write how far off nine of ten may be, as COG, float32.

    Raises:
        ExportError: it cannot be written.
    """
    return write_values(
        path,
        product.half_widths,
        product.grid,
        product.provenance,
        Band(f"margin of {product.measure}, nine of ten", product.unit, {"tessera_head": product.head}),
        ValueStyle("uncertainty"),
    )


def write_plots(path: str | Path, product: RegressionProduct) -> Path:
    """Write the plots as GeoPackage in the grid's CRS, with their number, what the map says unseen, and the difference.

    Raises:
        ExportError: there are no plots, or the file cannot be written.
    """
    import pyogrio
    import shapely
    from pyogrio.errors import DataLayerError, DataSourceError

    path = Path(path)
    path = path if path.suffix.lower() == ".gpkg" else path.with_name(path.name + ".gpkg")
    if not product.plots or product.numbers is None:
        raise ExportError("There are no plots to write.")
    held_out = np.full(len(product.plots), np.nan) if product.held_out is None else product.held_out
    place = {label.id: n for n, label in enumerate(product.plots)}
    features = label_features(product.plots, ())
    layers: dict[str, tuple[str, list[Any]]] = {
        PLOTS: ("Point", [f for f in features if f.label.kind == "point"]),
        PLOT_AREAS: ("MultiPolygon", [f for f in features if f.label.kind != "point"]),
    }
    try:
        with atomic_path(path) as part, warnings.catch_warnings():
            # A local grid has no CRS on purpose.
            warnings.filterwarnings("ignore", message="'crs' was not provided")
            written = 0
            for layer, (kind, some) in layers.items():
                if not some:
                    continue
                index = np.array([place[f.label.id] for f in some])
                truth, guess = product.numbers[index], held_out[index]
                shapes = [
                    shapely.MultiPolygon([f.geometry]) if f.geometry.geom_type == "Polygon" else f.geometry
                    for f in some
                ]
                pyogrio.raw.write(
                    part,
                    geometry=np.array([shapely.to_wkb(shape) for shape in shapes], dtype=object),
                    # Whoever reads both layers back paints them in the order they were made in.
                    field_data=[truth, guess, guess - truth, np.array([f.order for f in some], np.int32)],
                    fields=np.array([product.measure, "map_unseen", "difference", "paint_order"], dtype=object),
                    layer=layer,
                    driver="GPKG",
                    geometry_type=kind,
                    crs=product.grid.crs,
                    append=written > 0,
                    dataset_options=GPKG_OPTIONS,
                )
                written += 1
    except (DataSourceError, DataLayerError, RuntimeError) as error:
        raise ExportError(f"{path.name} could not be written: {str(error).splitlines()[0]}") from error
    return path


def write_regression_qgis(path: str | Path, product: RegressionProduct) -> Path:
    """Write ``project.qgz``, ``values.tif``, ``half_widths.tif``, their styles, ``plots.gpkg`` and ``README.txt`` as one zip.

    Returns:
        The file written (``.zip`` is added where it is missing).

    Raises:
        ExportError: it cannot be written.
    """
    return write_zip(path, lambda folder: _fill(folder, product))


def _fill(folder: Path, product: RegressionProduct) -> None:
    write_value_map(folder / "values.tif", product)
    write_half_widths(folder / "margins.tif", product)
    what, unit = product.title, product.unit
    layers = []
    if product.plots:
        write_plots(folder / "plots.gpkg", product)
        kinds = {label.kind == "point" for label in product.plots}
        if True in kinds:
            layers.append(ProjectLayer("plots.gpkg", "Plots", plots_renderer(point=True), "Plots", PLOTS, "Point"))
        if False in kinds:
            layers.append(ProjectLayer("plots.gpkg", "Areas", plots_renderer(point=False), "Plots", PLOT_AREAS))
    half_width_renderer = values_renderer(Scale.of(product.half_widths), "uncertainty", unit)
    amount = values_renderer(product.scale, "amount", unit)
    layers += [
        ProjectLayer("margins.tif", f"Margin of {what}, nine of ten", half_width_renderer, "Map", shown=False),
        ProjectLayer("values.tif", what, amount, "Map"),
    ]
    write_qgz(folder / "project.qgz", product.name, layers, product.grid)
    (folder / "README.txt").write_text(_readme(product), encoding="utf-8")


def _readme(product: RegressionProduct) -> str:
    what = product.title
    year = f", {product.provenance.year}" if product.provenance.year else ""
    lines = [
        f"{product.name}{year}: {what}",
        "",
        "Unpack this archive into a folder and open project.qgz with QGIS 3.22 or newer. Each file also opens by itself, with",
        "its colours.",
        "",
        f"values.tif   {what} of each pixel",
        "margins.tif  how far off that may be: nine of ten plots lie within value - margin to value + margin",
        f"plots.gpkg   the {len(product.plots)} plots it was learnt from; map_unseen: what the map says of a plot it has not seen",
        "",
        f"Coordinates: {product.grid.crs or 'no georeference: the rasters are pixels only'}",
        f"Embeddings: {product.provenance.dataset}",
        f"Learnt by: {product.head}",
        f"Made with: {product.provenance.software}",
        "",
        "How far to trust it:",
        *(f"- {fact}" for fact in product.facts or ("It was not checked against plots that it has not seen.",)),
    ]
    return "\n".join(lines) + "\n"

"""The map of a number as files, for the page Continuous map and the page Export."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from tessera_core.export.pictures import value_layout
from tessera_core.export.values import (
    RegressionProduct,
    write_half_widths,
    write_plots,
    write_regression_qgis,
    write_value_map,
)
from tessera_core.language import t
from tessera_core.project.folders import safe_name
from tessera_core.project.project import Project
from tessera_core.project.regress import regression_product
from tessera_core.ui.files import Item, pictures, stem_of
from tessera_core.ui.regress.context import RegressContext, known_map, known_score
from tessera_core.ui.scene import OpenScene


def map_files(project: Project, scene: OpenScene, year: int | None) -> list[Item]:
    """What there is to take of the map of a number; nothing without plots."""
    context = RegressContext.of(project, year)
    if context.measure is None or not context.plots:
        return []
    stem = f"{stem_of(project, year)}-{safe_name(context.measure.name).replace(' ', '-')}"
    missing = context.problem

    def writing(write: Callable[[Path, RegressionProduct], object]) -> Callable[[Path], object]:
        return lambda path: write(path, product(context))

    return [
        Item(
            t("{name} for QGIS", name=context.measure.name),
            t("Values, margins and plots, with colours; unpack and open."),
            t("Continuous map for QGIS (.zip)"),
            f"{stem}-qgis.zip",
            "application/zip",
            writing(write_regression_qgis),
            missing=missing,
            first=True,
        ),
        Item(
            t("Values"),
            t("{title} of every pixel; grey in QGIS without the second file beside it (GeoTIFF).", title=context.title),
            t("Values (.tif)"),
            f"{stem}.tif",
            "image/tiff",
            writing(write_value_map),
            missing=missing,
            style=t("Value colours (.qml)"),
        ),
        *pictures(stem, lambda: value_layout(product(context)), missing),
        Item(
            t("Margins"),
            t(
                "How far off nine of ten may be, for every pixel; grey in QGIS without the second file beside "
                "it (GeoTIFF)."
            ),
            t("Margins (.tif)"),
            f"{stem}-margin.tif",
            "image/tiff",
            writing(write_half_widths),
            missing=missing,
            style=t("Margin colours (.qml)"),
        ),
        Item(
            t("Plots"),
            t("Your plots, and what the map says of each without having seen it (GeoPackage)."),
            t("Plots (.gpkg)"),
            f"{stem}-plots.gpkg",
            "application/geopackage+sqlite3",
            writing(write_plots),
            missing=missing,
        ),
    ]


def product(context: RegressContext) -> RegressionProduct:
    """The map with everything that belongs to it; made now where it is not there yet.

    Raises:
        LabelError: the plots do not suffice.
    """
    assert context.measure is not None
    return regression_product(
        context.project,
        context.measure,
        context.plots,
        context.scene.raster,
        context.choice,
        known_map(context),
        known_score(context),
    )

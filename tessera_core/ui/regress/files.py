"""The map of a number as files, for the page Numbers and the page Export."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from tessera_core.export.values import (
    NumberProduct,
    write_number_margins,
    write_number_values,
    write_numbers_qgis,
    write_plots,
)
from tessera_core.project.project import Project, safe_name
from tessera_core.project.regress import number_product
from tessera_core.ui.files import Item, stem_of
from tessera_core.ui.regress.context import Desk, known_map, known_score
from tessera_core.ui.scene import OpenScene


def items(project: Project, scene: OpenScene, year: int | None) -> list[Item]:
    """What there is to take of the map of a number; nothing without plots."""
    desk = Desk.of(project, year)
    if desk.measure is None or not desk.plots:
        return []
    stem = f"{stem_of(project, year)}-{safe_name(desk.measure.name).replace(' ', '-')}"
    missing = desk.problem

    def writing(write: Callable[[Path, NumberProduct], object]) -> Callable[[Path], object]:
        return lambda path: write(path, product(desk))

    return [
        Item(
            f"{desk.measure.name} for QGIS",
            "Values, margins and plots, with colours; unpack and open.",
            "Numbers for QGIS (.zip)",
            f"{stem}-qgis.zip",
            "application/zip",
            writing(write_numbers_qgis),
            missing=missing,
            first=True,
        ),
        Item(
            "Values",
            f"{desk.title} of every pixel; grey in QGIS without the second file beside it (GeoTIFF).",
            "Values (.tif)",
            f"{stem}.tif",
            "image/tiff",
            writing(write_number_values),
            missing=missing,
            style="Value colours (.qml)",
        ),
        Item(
            "Margins",
            "How far off nine of ten may be, for every pixel; grey in QGIS without the second file beside it (GeoTIFF).",
            "Margins (.tif)",
            f"{stem}-margin.tif",
            "image/tiff",
            writing(write_number_margins),
            missing=missing,
            style="Margin colours (.qml)",
        ),
        Item(
            "Plots",
            "Your plots, and what the map says of each without having seen it (GeoPackage).",
            "Plots (.gpkg)",
            f"{stem}-plots.gpkg",
            "application/geopackage+sqlite3",
            writing(write_plots),
            missing=missing,
        ),
    ]


def product(desk: Desk) -> NumberProduct:
    """The map with everything that belongs to it; made now where it is not there yet.

    Raises:
        LabelError: the plots do not suffice.
    """
    assert desk.measure is not None
    return number_product(
        desk.project, desk.measure, desk.plots, desk.scene.raster, desk.choice, known_map(desk), known_score(desk)
    )

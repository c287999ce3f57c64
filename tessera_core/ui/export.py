"""The page Export: the map, the labels and the project as files, each with what it is for.

Files are built when they are asked for; what is in them is the matter of :mod:`tessera_core.export`.
"""

from __future__ import annotations

import functools
import tempfile
import zlib
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import streamlit as st
from numpy.typing import NDArray

from tessera_core.export.product import Product
from tessera_core.mapping import ProjectMap, head_choice, head_name, score_labels
from tessera_core.project import SUFFIX, Project, safe_name
from tessera_core.raster import EmbeddingRaster
from tessera_core.ui import maps, state, words
from tessera_core.ui.scene import OpenScene


@dataclass(frozen=True)
class _Item:
    """A file on offer.

    Attributes:
        title: what it is.
        about: what it is for, one line.
        button: text of its button.
        name: of the file.
        mime: its media type.
        write: writes it to a path.
        size: estimated bytes, 0 where there is no telling.
        missing: why it cannot be had now, or empty.
        first: whether it is what most people want.
    """

    title: str
    about: str
    button: str
    name: str
    mime: str
    write: Callable[[Path], object]
    size: int = 0
    missing: str = ""
    first: bool = False


def page() -> None:
    """Draw the page."""
    st.title("Export")
    project = state.current_project()
    if project is None:
        st.info("Open a region first; then there is something to take with you.", icon=":material/info:")
        if st.button("Go to Region", type="primary", icon=":material/public:", key="export_region"):
            st.switch_page("pages/region.py")
        return
    year = _year(project)
    scene = state.scene_for(project, year)
    made, missing = maps.project_map(project, scene, year)
    if made is None:
        st.info(missing, icon=":material/info:")
        if st.button("Go to Label", type="primary", icon=":material/draw:", key="export_label"):
            st.switch_page("pages/label.py", query_params=state.query())
        _labels_and_project(project, scene, year)
        return
    product = Product(
        name=project.name,
        classes=made.map.classes,
        confidence=made.map.confidence,
        grid=scene.raster.grid,
        label_classes=project.log.classes,
        labels=project.log.labels,
        provenance=scene.raster.provenance,
        head=head_name(project),
    )
    files, areas = st.columns([3, 2], gap="large")
    with files:
        st.subheader("The map")
        for item in _map_items(project, product, made, scene.raster, _stem(project, year)):
            _row(item)
        _labels_and_project(project, scene, year)
    with areas:
        _areas(product)


def _year(project: Project) -> int | None:
    current = state.current_year(project)
    if len(project.years) < 2:
        return current
    chosen = st.segmented_control(
        "Year of the map", project.years, default=current, key=f"export_year_{project.id}", required=True
    )
    return chosen if chosen in project.years else current


# ------------------------------------------------------------------ files


def _stem(project: Project, year: int | None) -> str:
    return safe_name(project.name if year is None else f"{project.name} {year}").replace(" ", "-")


def _map_items(project: Project, product: Product, made: ProjectMap, raster: EmbeddingRaster, stem: str) -> list[_Item]:
    from tessera_core.export.archive import write_qgis
    from tessera_core.export.geotiff import write_class_map, write_confidence
    from tessera_core.export.report import write_report
    from tessera_core.heads import save_head

    def report(path: Path) -> object:
        # Scoring takes a moment, and only the report tells the score.
        score = score_labels(product.labels, product.label_classes, raster, head_choice(project))
        return write_report(path, replace(product, score=score))

    grid, provenance, classes = product.grid, product.provenance, product.label_classes
    names = {c.id: c.name for c in classes}
    map_size, sure_size = _deflated(product.classes), _deflated(product.confidence)
    return [
        _Item(
            "Everything for QGIS",
            "Map, confidence and labels, with colours and names; unpack and open.",
            "All for QGIS (.zip)",
            f"{stem}-qgis.zip",
            "application/zip",
            lambda path: write_qgis(path, product),
            map_size + sure_size,
            first=True,
        ),
        _Item(
            "Report",
            "One page to read, print or send: the map, its areas, how far to trust it.",
            "Report (.html)",
            f"{stem}-report.html",
            "text/html",
            report,
        ),
        _Item(
            "Class map",
            "One class for every pixel, with names and colours (GeoTIFF).",
            "Class map (.tif)",
            f"{stem}-classes.tif",
            "image/tiff",
            lambda path: write_class_map(path, product.classes, None, grid, classes, provenance),
            map_size,
        ),
        _Item(
            "Confidence",
            "How sure the map is of each pixel, in percent (GeoTIFF).",
            "Confidence (.tif)",
            f"{stem}-confidence.tif",
            "image/tiff",
            lambda path: write_confidence(path, product.confidence, grid, provenance),
            sure_size,
        ),
        _Item(
            "Trained head",
            "What was learnt from your labels, to map other regions of the same dataset.",
            "Head (.safetensors)",
            f"{stem}-head.safetensors",
            "application/octet-stream",
            lambda path: save_head(path, made.head, names, provenance),
        ),
    ]


def _labels_and_project(project: Project, scene: OpenScene, year: int | None) -> None:
    from tessera_core.export.vector import write_labels_geojson, write_labels_gpkg

    log, grid, provenance = project.log, scene.raster.grid, scene.raster.provenance
    stem = _stem(project, year)
    unlabelled = "" if log.labels else "There are no labels yet."
    unplaced = "" if grid.georeferenced else "GeoJSON needs a place on Earth, which this region does not have."
    st.subheader("Your labels")
    _row(
        _Item(
            "Labels for QGIS and ArcGIS",
            "Points and areas with class names and colours (GeoPackage).",
            "Labels (.gpkg)",
            f"{stem}-labels.gpkg",
            "application/geopackage+sqlite3",
            lambda path: write_labels_gpkg(path, log.labels, log.classes, grid, provenance),
            missing=unlabelled,
        )
    )
    _row(
        _Item(
            "Labels for the web",
            "The same in longitude and latitude (GeoJSON).",
            "Labels (.geojson)",
            f"{stem}-labels.geojson",
            "application/geo+json",
            lambda path: write_labels_geojson(path, log.labels, log.classes, grid, provenance),
            missing=unlabelled or unplaced,
        )
    )
    st.subheader("To go on later")
    _row(
        _Item(
            "Project file",
            "Labels, classes and settings in one file. The embeddings stay where they are.",
            f"Project ({SUFFIX})",
            f"{safe_name(project.name)}{SUFFIX}",
            "application/zip",
            project.export_file,
        )
    )


def _deflated(array: NDArray[np.uint8]) -> int:
    """About how large an array is in a compressed file, from every fourth row."""
    return 4 * len(zlib.compress(np.ascontiguousarray(array[::4]), 1))


def _row(item: _Item) -> None:
    with st.container(horizontal=True, vertical_alignment="center", border=True):
        about = item.missing or item.about
        size = f" About {words.size(item.size)}." if item.size and not item.missing else ""
        st.markdown(f"**{item.title}**  \n:small[:gray[{words.escape(about + size)}]]", width="stretch")
        st.download_button(
            item.button,
            functools.partial(_build, item),
            item.name,
            item.mime,
            key=f"export_{item.button}",
            help=item.missing or f"Saves {item.name}",
            on_click="ignore",
            icon=":material/download:",
            disabled=bool(item.missing),
            type="primary" if item.first else "secondary",
        )


def _build(item: _Item) -> bytes:
    """The file's bytes; built in a folder of its own because some formats write helpers beside it."""
    with tempfile.TemporaryDirectory(prefix="tessera-export-") as folder:
        path = Path(folder) / item.name
        item.write(path)
        return path.read_bytes()


# ------------------------------------------------------------------ areas


def _areas(product: Product) -> None:
    st.subheader("How much of each class")
    sums = np.bincount(product.classes.ravel(), weights=product.confidence.ravel(), minlength=256)
    table = [
        {
            "Class": area.klass.name,
            "Labels": area.labels,
            "Share": 100 * area.share,
            "Area (ha)": area.hectares,
            "Confidence": sums[area.klass.id] / area.pixels if area.pixels else None,
        }
        for area in product.areas()
    ]
    st.dataframe(
        table,
        hide_index=True,
        width="stretch",
        column_config={
            "Share": st.column_config.NumberColumn(format="%.1f %%"),
            "Area (ha)": st.column_config.NumberColumn(format="%.1f"),
            "Confidence": st.column_config.NumberColumn(format="%.0f %%"),
        },
    )
    st.caption("Counted on the map as it is. Mistakes of the map shift these areas, so do not publish them unchecked.")

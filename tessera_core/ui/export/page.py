"""The page Export: the map, the labels and the project as files, each with what it is for.

Files are built when they are asked for; what is in them is the matter of :mod:`tessera_core.export`.
"""

from __future__ import annotations

import zlib
from pathlib import Path

import numpy as np
import streamlit as st
from numpy.typing import NDArray

from tessera_core.errors import LabelError, ProjectError
from tessera_core.export.product import Product
from tessera_core.language import relay, t
from tessera_core.project import validate
from tessera_core.project.classify import ProjectMap, project_product
from tessera_core.project.folders import safe_name
from tessera_core.project.project import Project
from tessera_core.project.project_files import SUFFIX
from tessera_core.project.validate import Validation
from tessera_core.ui import frame, humanize, maps, state, tables
from tessera_core.ui.export.check_report import check_report
from tessera_core.ui.export.head_files import classifier
from tessera_core.ui.export.label_files import other_format
from tessera_core.ui.export.record import record
from tessera_core.ui.export.zone_tables import zone_tables
from tessera_core.ui.files import Item, noting, pictures, row, stem_of
from tessera_core.ui.scene import OpenScene
from tessera_core.ui.validate import certified


def page() -> None:
    """Draw the page."""
    st.title(t("Export"))
    project = frame.opened(t("Open a region first; then there is something to take with you."))
    if project is None:
        return
    year = frame.year_choice(project, "export", t("Year of the map"), shown=True)
    scene = state.scene_for(project, year)
    made, missing = maps.project_map(project, scene, year)
    if made is None:
        st.info(humanize.plain(missing), icon=":material/info:")
        if st.button(t("Go to Label"), type="primary", icon=":material/draw:", key="export_label"):
            st.switch_page("pages/label.py", query_params=state.query())
        _plots_map(project, scene, year)
        _labels_and_project(project, scene, year)
        return
    # Scoring takes a moment, and only the report tells the score.
    product = project_product(project, scene.raster, made, scored=False)
    files, areas = st.columns([8, 9], gap="medium")
    with files:
        st.header(t("The map"))
        if made.left_out is not None:
            st.caption(humanize.plain(relay(made.left_out.sentence)))
        with st.container(key="export_map_files"):
            for item in _map_items(project, product, made, scene, stem_of(project, year)):
                row(noting(item, project))
        if saved := _checked_on(project, made):
            row(certified.item(project, scene, saved, made, certified.part_of(project, scene, saved, made)))
        _web_map(project, product, scene, stem_of(project, year))
        classifier(project, made, scene, stem_of(project, year))
        _plots_map(project, scene, year)
        _labels_and_project(project, scene, year)
    with areas:
        _areas(product)
        zone_tables(project, made, scene, stem_of(project, year))
        record(project, made, scene, stem_of(project, year))
        check_report()


# ------------------------------------------------------------------ files


def _checked_on(project: Project, made: ProjectMap) -> Validation | None:
    """The sample with its answers, on the map; None without one, or where it cannot be read: Validate says why."""
    try:
        saved = validate.load(project, made.year)
        return None if saved is None else saved.on_map(made.map.classes)
    except (LabelError, ProjectError):
        return None


def _map_items(project: Project, product: Product, made: ProjectMap, scene: OpenScene, stem: str) -> list[Item]:
    from tessera_core.export.archive import write_qgis
    from tessera_core.export.geotiff import write_class_map, write_confidence
    from tessera_core.export.pictures import class_layout
    from tessera_core.export.report import write_report
    from tessera_core.project.report import project_report

    raster = scene.raster

    def report(path: Path) -> object:
        scored, photo = project_product(project, raster, made), scene.true_colour
        said = project_report(project, scored, made.year, photo=photo is not None)
        return write_report(path, said, class_layout(scored, photo))

    grid, provenance, classes = product.grid, product.provenance, product.label_classes
    map_size, sure_size = _deflated(product.classes), _deflated(product.confidence)
    return [
        Item(
            t("Everything for QGIS"),
            t("Map, confidence and labels, with colours and names; unpack and open."),
            t("All for QGIS (.zip)"),
            f"{stem}-qgis.zip",
            "application/zip",
            lambda path: write_qgis(path, product),
            map_size + sure_size,
            first=True,
        ),
        Item(
            t("Report"),
            t("One page to read, print or send: the map, its areas, how far to trust it."),
            t("Report (.html)"),
            f"{stem}-report.html",
            "text/html",
            report,
        ),
        Item(
            t("Report to file"),
            t("The same to print or to hand in (A4); it carries its own data, and can be checked later (PDF)."),
            t("Report (.pdf)"),
            f"{stem}-report.pdf",
            "application/pdf",
            report,
        ),
        *pictures(stem, lambda: class_layout(project_product(project, raster, made), scene.true_colour)),
        Item(
            t("Class map"),
            t(
                "One class for every pixel, in its colours; QGIS shows the names with the second file beside it "
                "(GeoTIFF)."
            ),
            t("Class map (.tif)"),
            f"{stem}-classes.tif",
            "image/tiff",
            lambda path: write_class_map(path, product.classes, None, grid, classes, provenance),
            map_size,
            style=t("Class names (.qml)"),
        ),
        Item(
            t("Confidence"),
            t(
                "How sure the map is of each pixel, in percent; grey in QGIS without the second file beside it "
                "(GeoTIFF)."
            ),
            t("Confidence (.tif)"),
            f"{stem}-confidence.tif",
            "image/tiff",
            lambda path: write_confidence(path, product.confidence, grid, provenance, temperature=product.temperature),
            sure_size,
            style=t("Confidence colours (.qml)"),
        ),
    ]


def _web_map(project: Project, product: Product, scene: OpenScene, stem: str) -> None:
    """The map as a page for browsers; with maps from the internet beneath it where that is wanted."""
    from tessera_core.export.webmap import MAX_BYTES, Background, write_web_map
    from tessera_core.session.base_maps import BASE_MAPS

    key = f"export_web_{project.key}"
    online = bool(st.session_state.get(key))

    def write(path: Path) -> object:
        true_colour = scene.true_colour
        name = t("Embeddings as colours") if true_colour is None else t("True colour")
        picture = scene.picture if true_colour is None else true_colour
        background = Background(name, picture, scene.raster.valid())
        return write_web_map(path, product, background, BASE_MAPS if online else ())

    row(
        Item(
            t("Interactive web map"),
            t(
                "One file that any browser opens without a network: classes, confidence and the picture as "
                "layers, click to read (HTML, at most {size}).",
                size=humanize.size(MAX_BYTES),
            ),
            t("Web map (.html)"),
            f"{stem}-map.html",
            "text/html",
            write,
        )
    )
    if product.grid.georeferenced:
        st.toggle(
            t("Offer streets and satellite pictures from the internet in the web map"),
            key=key,
            help=t(
                "Whoever opens the file then asks their publishers for the part in sight. Without it the file "
                "asks nobody."
            ),
        )


def _plots_map(project: Project, scene: OpenScene, year: int | None) -> None:
    from tessera_core.ui.regress.files import map_files

    if files := map_files(project, scene, year):
        st.header(t("The map of a number"))
        for item in files:
            row(item)


def _labels_and_project(project: Project, scene: OpenScene, year: int | None) -> None:
    from tessera_core.export.vector import write_labels_geojson, write_labels_gpkg

    log, grid, provenance = project.log, scene.raster.grid, scene.raster.provenance
    stem = stem_of(project, year)
    unlabelled = "" if log.labels else t("There are no labels yet.")
    unplaced = "" if grid.georeferenced else t("GeoJSON needs a place on Earth, which this region does not have.")
    st.header(t("Your labels"))
    row(
        Item(
            t("Labels for QGIS and ArcGIS"),
            t("Points and areas with class names and colours (GeoPackage)."),
            t("Labels (.gpkg)"),
            f"{stem}-labels.gpkg",
            "application/geopackage+sqlite3",
            lambda path: write_labels_gpkg(path, log.labels, log.classes, grid, provenance),
            missing=unlabelled,
        )
    )
    row(
        Item(
            t("Labels for the web"),
            t("The same in longitude and latitude (GeoJSON)."),
            t("Labels (.geojson)"),
            f"{stem}-labels.geojson",
            "application/geo+json",
            lambda path: write_labels_geojson(path, log.labels, log.classes, grid, provenance),
            missing=unlabelled or unplaced,
        )
    )
    other_format(project, scene, year)
    st.header(t("To go on later"))
    row(
        Item(
            t("Project file"),
            t("Labels, classes and settings in one file. The embeddings stay where they are."),
            t("Project ({SUFFIX})", SUFFIX=SUFFIX),
            f"{safe_name(project.name)}{SUFFIX}",
            "application/zip",
            project.export_file,
        )
    )


def _deflated(array: NDArray[np.uint8]) -> int:
    """About how large an array is in a compressed file, from every fourth row."""
    return 4 * len(zlib.compress(np.ascontiguousarray(array[::4]), 1))


# ------------------------------------------------------------------ areas


def _areas(product: Product) -> None:
    st.header(t("How much of each class"))
    sums = np.bincount(product.classes.ravel(), weights=product.confidence.ravel(), minlength=256)
    table = [
        {
            "Class": area.klass.name,
            "Share": 100 * area.share,
            "On the map (ha)": area.hectares,
            "Confidence": sums[area.klass.id] / area.pixels if area.pixels else None,
            "Labels": area.labels,
        }
        for area in product.areas()
    ]
    tables.show(
        table,
        hide_index=True,
        width="stretch",
        column_config={
            "Share": st.column_config.NumberColumn(format="%.1f %%", width=62),
            "On the map (ha)": st.column_config.NumberColumn(format="%.1f", width=108),
            "Confidence": st.column_config.NumberColumn(format="%.0f %%", width=86),
            "Labels": st.column_config.NumberColumn(width=58),
        },
    )
    if product.checked is None:
        st.caption(
            t("Counted on the map as it is. Mistakes of the map shift these areas, so do not publish them unchecked.")
        )
        return
    st.caption(
        t("Counted on the map as it is, mistakes included. Corrected by the places you checked on the page Validate:")
    )
    st.markdown(humanize.escape(relay(product.checked.sentence)))
    unit = product.checked.unit
    tables.show(
        [
            {
                "Class": one.name,
                "Truly": one.area,
                "At least": None if one.interval is None else one.interval[0],
                "At most": None if one.interval is None else one.interval[1],
            }
            for one in product.checked.classes
        ],
        hide_index=True,
        width="stretch",
        column_config={
            "Truly": st.column_config.NumberColumn(t("Truly, {unit}", unit=unit), format="%.1f"),
            "At least": st.column_config.NumberColumn(t("At least, {unit}", unit=unit), format="%.1f"),
            "At most": st.column_config.NumberColumn(t("At most, {unit}", unit=unit), format="%.1f"),
        },
    )

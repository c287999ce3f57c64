"""The page Export: the map, the labels and the project as files, each with what it is for.

Files are built when they are asked for; what is in them is the matter of :mod:`tessera_core.export`.
"""

from __future__ import annotations

import functools
import tempfile
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import streamlit as st
from numpy.typing import NDArray

from tessera_core.errors import HeadError
from tessera_core.mapping import ProjectMap, head_name, map_project
from tessera_core.project import SUFFIX, Project, safe_name
from tessera_core.ui import state, words
from tessera_core.ui.scene import OpenScene


@dataclass(frozen=True)
class _Item:
    """A file on offer.

    Attributes:
        key: of its button.
        title: on its button.
        about: what it is for, one line.
        name: of the file.
        mime: its media type.
        write: writes it to a path.
        size: estimated bytes, 0 where there is no telling.
        missing: why it cannot be had now, or empty.
    """

    key: str
    title: str
    about: str
    name: str
    mime: str
    write: Callable[[Path], object]
    size: int = 0
    missing: str = ""


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
    made, missing = _map(project, scene, year)
    if made is None:
        st.info(missing, icon=":material/info:")
        if st.button("Go to Label", type="primary", icon=":material/draw:", key="export_label"):
            st.switch_page("pages/label.py", query_params=state.query())
    _offer(project, scene, made, missing)
    if made is not None:
        _areas(project, scene, made)


def _year(project: Project) -> int | None:
    years = project.years
    current = state.current_year(project)
    if len(years) < 2:
        return current
    chosen = st.segmented_control(
        "Year of the map", years, default=current, key=f"export_year_{project.id}", required=True
    )
    return chosen if chosen in years else current


def _map(project: Project, scene: OpenScene, year: int | None) -> tuple[ProjectMap | None, str]:
    """The map, or None and the reason."""
    try:
        with st.spinner("Making the map…"):
            return _made(project.id, scene.key, project.log.version, head_name(project), project, scene, year), ""
    except HeadError as error:
        return None, str(error)


@st.cache_resource(scope="session", max_entries=2, show_spinner=False)
def _made(
    project_id: str, scene: str, version: int, head: str, _project: Project, _scene: OpenScene, _year: int | None
) -> ProjectMap:
    return map_project(_project, _scene.raster, _year)


def _offer(project: Project, scene: OpenScene, made: ProjectMap | None, missing: str) -> None:
    items = _items(project, scene, made, missing)
    st.subheader("The map")
    _rows(items["map"])
    st.subheader("Your labels")
    _rows(items["labels"])
    st.subheader("To go on later")
    _rows(items["project"])


def _items(project: Project, scene: OpenScene, made: ProjectMap | None, missing: str) -> dict[str, list[_Item]]:
    """All files on offer, by heading."""
    from tessera_core.export.geotiff import write_class_map, write_confidence
    from tessera_core.export.vector import write_labels_geojson, write_labels_gpkg
    from tessera_core.heads import save_head

    log, grid, provenance = project.log, scene.raster.grid, scene.raster.provenance
    year = None if made is None else made.year
    stem = safe_name(project.name if year is None else f"{project.name} {year}").replace(" ", "-")
    unlabelled = "" if log.labels else "There are no labels yet."
    unplaced = "" if grid.georeferenced else "GeoJSON needs a place on Earth, which this region does not have."

    def tif(write: Callable[..., object], *arguments: object) -> Callable[[Path], object]:
        return lambda path: write(path, *arguments, provenance)

    def labels(write: Callable[..., object]) -> Callable[[Path], object]:
        return lambda path: write(path, log.labels, log.classes, grid, provenance)

    maps = []
    if made is not None:
        names = {c.id: c.name for c in log.classes}
        maps = [
            _Item(
                "classes",
                "Class map",
                "One class for every pixel, with names and colours (GeoTIFF).",
                f"{stem}-classes.tif",
                "image/tiff",
                tif(write_class_map, made.map.classes, None, grid, log.classes),
                _deflated(made.map.classes),
            ),
            _Item(
                "confidence",
                "Confidence",
                "How sure the map is of each pixel, in percent (GeoTIFF).",
                f"{stem}-confidence.tif",
                "image/tiff",
                tif(write_confidence, made.map.confidence, grid),
                _deflated(made.map.confidence),
            ),
            _Item(
                "head",
                "Trained head",
                "What was learnt from your labels, to map other regions of the same dataset (safetensors).",
                f"{stem}-head.safetensors",
                "application/octet-stream",
                lambda path: save_head(path, made.head, names, provenance),
            ),
        ]
    return {
        "map": maps,
        "labels": [
            _Item(
                "gpkg",
                "Labels for QGIS and ArcGIS",
                "Points and areas with class names and colours (GeoPackage).",
                f"{stem}-labels.gpkg",
                "application/geopackage+sqlite3",
                labels(write_labels_gpkg),
                missing=unlabelled,
            ),
            _Item(
                "geojson",
                "Labels for the web",
                "The same in longitude and latitude (GeoJSON).",
                f"{stem}-labels.geojson",
                "application/geo+json",
                labels(write_labels_geojson),
                missing=unlabelled or unplaced,
            ),
        ],
        "project": [
            _Item(
                "project",
                "Project file",
                "Labels, classes and settings in one file. The embeddings stay where they are.",
                f"{safe_name(project.name)}{SUFFIX}",
                "application/zip",
                project.export_file,
            )
        ],
    }


def _deflated(array: NDArray[np.uint8]) -> int:
    """About how large an array is in a compressed file, from every fourth row."""
    return 4 * len(zlib.compress(np.ascontiguousarray(array[::4]), 1))


def _rows(items: list[_Item]) -> None:
    for item in items:
        with st.container(horizontal=True, vertical_alignment="center", border=True):
            about = item.missing or item.about
            size = f" About {words.size(item.size)}." if item.size and not item.missing else ""
            st.markdown(f"**{item.title}**  \n:small[:gray[{words.escape(about + size)}]]", width="stretch")
            st.download_button(
                "Download",
                functools.partial(_build, item),
                item.name,
                item.mime,
                key=f"export_{item.key}",
                help=item.missing or f"Saves {item.name}",
                on_click="ignore",
                icon=":material/download:",
                disabled=bool(item.missing),
            )


def _build(item: _Item) -> bytes:
    """The file's bytes; built in a folder of its own because some formats write helpers beside it."""
    with tempfile.TemporaryDirectory(prefix="tessera-export-") as folder:
        path = Path(folder) / item.name
        item.write(path)
        return path.read_bytes()


def _areas(project: Project, scene: OpenScene, made: ProjectMap) -> None:
    st.subheader("How much of each class")
    classes, confidence = made.map.classes, made.map.confidence
    total = int(np.count_nonzero(classes))
    pixels = np.bincount(classes.ravel(), minlength=256)
    sure = np.bincount(classes.ravel(), weights=confidence.ravel(), minlength=256)
    km2 = scene.raster.grid.pixel_area_m2 / 1e6
    table = [
        {
            "Class": c.name,
            "Labels": project.log.counts.get(c.id, 0),
            "Share of the map": 100 * pixels[c.id] / max(total, 1),
            "Area (km²)": pixels[c.id] * km2 if np.isfinite(km2) else None,
            "Mean confidence": sure[c.id] / pixels[c.id] if pixels[c.id] else None,
        }
        for c in project.log.classes
    ]
    st.dataframe(
        table,
        hide_index=True,
        width="stretch",
        column_config={
            "Share of the map": st.column_config.NumberColumn(format="%.1f %%"),
            "Area (km²)": st.column_config.NumberColumn(format="%.2f"),
            "Mean confidence": st.column_config.NumberColumn(format="%.0f %%"),
        },
    )
    st.caption("Counted on the map as it is. Mistakes of the map shift these areas, so do not publish them unchecked.")

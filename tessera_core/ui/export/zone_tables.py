"""A table of fields or farms on the page Export: polygons in, what the map says of each, as CSV, XLSX or GeoPackage."""

from __future__ import annotations

import hashlib

import streamlit as st

from tessera_core.errors import TesseraError
from tessera_core.export.zone_table import ZoneTable, write_zone_table
from tessera_core.language import relay, t
from tessera_core.project.classify import ProjectMap
from tessera_core.project.project import Project
from tessera_core.project.zone_maps import project_zone_maps
from tessera_core.project.zones import measure_zones, read_zones
from tessera_core.ui import humanize
from tessera_core.ui.files import PLACES, Item, row, with_upload
from tessera_core.ui.scene import OpenScene

_SHOWN = 200
_FORMS = {
    ".xlsx": "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
    ".csv": "text/csv",
    ".gpkg": "application/geopackage+sqlite3",
}


def zone_tables(project: Project, made: ProjectMap, scene: OpenScene, stem: str) -> None:
    """A folded part of the page: a file of polygons, its table, and the table as files."""
    with st.expander(t("A table of fields or farms"), icon=":material/table_view:"):
        st.caption(
            t(
                "Polygons in, table out: class shares and areas of each field, farm or reserve, with the share of each pixel "
                "that lies inside. Nothing of the file is kept."
            )
        )
        file = st.file_uploader(
            t("Polygons (GeoPackage, GeoJSON, zipped shapefile, KML)"), PLACES, key=f"export_zones_{project.key}"
        )
        if file is None:
            return
        try:
            table = _measured(project, made, scene, file)
        except TesseraError as error:
            st.error(humanize.escape(relay(error)), icon=":material/error:")
            return
        for note in table.notes:
            st.caption(humanize.escape(relay(note)))
        # Names of columns are those of the files, and not of the page.
        st.dataframe(table.records()[:_SHOWN], hide_index=True, width="stretch")
        if len(table.rows) > _SHOWN:
            st.caption(t("The first {shown} of {all} lines; the files have all.", shown=_SHOWN, all=len(table.rows)))
        forms = {
            ".xlsx": (t("Table for spreadsheets"), t("With the notes on a second sheet (XLSX)."), t("Table (.xlsx)")),
            ".csv": (t("Table as text"), t("For any program (CSV)."), t("Table (.csv)")),
            ".gpkg": (t("Table with outlines"), t("For QGIS and ArcGIS (GeoPackage)."), t("Table (.gpkg)")),
        }
        for ending, (title, about, button) in forms.items():
            row(
                Item(
                    title,
                    about,
                    button,
                    f"{stem}-zones{ending}",
                    _FORMS[ending],
                    lambda path: write_zone_table(path, table),
                )
            )


def _measured(project: Project, made: ProjectMap, scene: OpenScene, file: object) -> ZoneTable:
    """The table of a file, computed once for each file, map and validation."""
    content = file.getvalue()  # type: ignore[attr-defined]
    found = project_zone_maps(project, scene.raster, made)
    errors = found.maps.errors
    answers = b"" if errors is None else errors.mapped.tobytes() + errors.true.tobytes()
    name = hashlib.blake2b(content + answers + made.map.classes.tobytes(), digest_size=16).hexdigest()
    key = f"export_zone_table_{project.key}"
    known = st.session_state.get(key)
    if known is not None and known[0] == name:
        kept: ZoneTable = known[1]
        return kept
    with st.spinner(t("Measuring each polygon …")):
        zones = with_upload(file, lambda path: read_zones(path, scene.raster.grid))
        table = measure_zones(zones, found.maps)
    st.session_state[key] = (name, table)
    return table

"""What the answers of the page Validate say so far: areas and accuracy with intervals, and their files."""

from __future__ import annotations

import functools
import math
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import streamlit as st
from numpy.typing import NDArray

from tessera_core.assess.area import AreaEstimate, Assessment
from tessera_core.assess.by_depth import accuracy_by_depth
from tessera_core.assess.exchange import ENDINGS, read_answers, sample_text
from tessera_core.errors import LabelError
from tessera_core.language import later, percentage, relay, t
from tessera_core.project import steps, stopping, validate
from tessera_core.project.folders import safe_name
from tessera_core.project.project import Project
from tessera_core.project.validate import Validation
from tessera_core.ui import humanize, tables
from tessera_core.ui.files import with_upload
from tessera_core.ui.scene import OpenScene
from tessera_core.ui.validate.context import assessed, key_of, names_of

# Places looked at after which a map counts as checked in the list of next steps.
ENOUGH = 10


def results(project: Project, scene: OpenScene, current: Validation, classes: NDArray[np.uint8]) -> None:
    """Areas, accuracy, the confusion matrix and downloads; or what is still open."""
    names = names_of(project)
    if current.seen >= ENOUGH:
        steps.take(project, steps.CHECK)
    st.header(t("What follows so far"))
    for sentence in validate.taught_sentences(project, current):
        st.warning(humanize.plain(relay(sentence)), icon=":material/school:")
    try:
        found = assessed(current)
    except LabelError:
        open_ = sorted(
            {int(k) for k in current.sample.sizes}
            - {int(k) for k in current.sample.strata[current.sample.reference > 0]}
        )
        rest = ", ".join(names.get(k, "the region") for k in open_[:4]) + (t(" and others") if len(open_) > 4 else "")
        st.info(t("Nothing yet: there is no answer in {rest}. Go on; the places come in random order.", rest=rest))
        _downloads(project, scene, current, names, None)
        return
    unit = validate.unit_of(current)
    first, *_ = found.sentences(names, unit)
    st.markdown(f"**{humanize.escape(relay(first))}**")
    parts = accuracy_by_depth(current.sample, scene.times_seen, classes > 0)
    for part in parts:
        st.markdown(f":material/satellite_alt: {humanize.escape(relay(part.sentence))}")
    for sentence in stopping.sure_sentences(current):
        st.markdown(f":material/flag_check: {humanize.escape(relay(sentence))}")
    areas, matrix = st.tabs([t("Areas and accuracy"), t("What is taken for what")])
    with areas:
        tables.show(_table(found, names, unit), hide_index=True, width="stretch", column_config=_columns(unit))
        st.caption(
            t(
                "“On the map” counts pixels, mistakes included; “truly” corrects it by what you saw. Right of "
                "mapped: of the ground mapped as the class, how much is it. Found: of the class on the ground, "
                "how much is mapped so. In brackets, and from and to: 95 % sure that the truth lies there, also "
                "where no mistake was seen."
            )
        )
    with matrix:
        _matrix(found, names)
    for note in found.notes:
        st.caption(f":material/info: {humanize.escape(relay(note))}")
    _downloads(project, scene, current, names, found)


def _table(found: Assessment, names: Mapping[int, str], unit: str) -> list[dict[str, object]]:
    return [
        {
            "Class": names.get(c.id, str(c.id)),
            "On the map": c.mapped * found.total_area,
            "Truly": c.area.value,
            "From": c.area.low,
            "To": c.area.high,
            "Right of mapped": _percent(c.users),
            "Found": _percent(c.producers),
            "Places": c.sampled,
        }
        for c in found.classes
    ]


def _columns(unit: str) -> dict[str, Any]:
    number = st.column_config.NumberColumn
    return {
        "On the map": number(t("On the map ({unit})", unit=unit), format="%.1f"),
        "Truly": number(t("Truly ({unit})", unit=unit), format="%.1f"),
        "From": number(t("From ({unit})", unit=unit), format="%.1f", help=t("95 % sure that it is at least this")),
        "To": number(t("To ({unit})", unit=unit), format="%.1f", help=t("95 % sure that it is at most this")),
        "Places": number(t("Places seen"), help=t("Places where you saw this class")),
    }


def _percent(share: AreaEstimate) -> str:
    if not math.isfinite(share.value):
        return t("no place")
    return t(
        "{value} % ({low} to {high})",
        value=percentage(share.value),
        low=percentage(share.low),
        high=percentage(share.high),
    )


def _matrix(found: Assessment, names: Mapping[int, str]) -> None:
    what = st.segmented_control(
        t("Show"),
        [later("Places"), later("Share of the region")],
        format_func=t,
        default="Places",
        required=True,
        key="validate_matrix",
    )
    titles = [names.get(k, str(k)) for k in found.ids]
    values = found.counts if what == "Places" else 100 * found.shares
    rows = [
        {"Map says": title, **{other: values[i, j].item() for j, other in enumerate(titles)}}
        for i, title in enumerate(titles)
    ]
    form = "%d" if what == "Places" else "%.1f %%"
    tables.show(
        rows,
        hide_index=True,
        width="stretch",
        column_config={
            title: st.column_config.NumberColumn(t("Seen: {title}", title=title), format=form) for title in titles
        },
    )
    st.caption(t("Rows are what the map says, columns what you saw; on the diagonal both agree."))


def _downloads(
    project: Project, scene: OpenScene, current: Validation, names: Mapping[int, str], found: Assessment | None
) -> None:
    stem = safe_name(f"{project.name} {current.year or ''}").replace(" ", "-")
    with st.container(horizontal=True):
        st.download_button(
            t("Sample (.csv)"),
            lambda: validate.sample_csv(_newest(project, current), names).encode(),
            f"{stem}-sample.csv",
            "text/csv",
            icon=":material/download:",
            on_click="ignore",
            help=t("Places and answers; fill in the column reference elsewhere and bring it back here."),
            key="validate_csv",
        )
        if found is not None:
            st.download_button(
                t("Areas and accuracy (.csv)"),
                lambda: validate.estimates_csv(_newest(project, current).assess(), names, validate.unit_of(current)),
                f"{stem}-areas.csv",
                "text/csv",
                icon=":material/download:",
                on_click="ignore",
                key="validate_areas_csv",
            )


_FORMS = {
    "Collect Earth Online (.csv)": (".csv", "text/csv", later("Its list of plots (LON, LAT, PLOTID).")),
    "GeoJSON": (".geojson", "application/geo+json", later("For QGIS and other maps; fill in the field class.")),
    "KML": (".kml", "application/vnd.google-earth.kml+xml", later("For Google Earth.")),
}


def elsewhere(project: Project, scene: OpenScene, current: Validation) -> None:
    """The places for other programs to answer, and their answers back."""
    grid = scene.raster.grid
    if not grid.georeferenced:
        return
    stem = safe_name(f"{project.name} {current.year or ''}").replace(" ", "-")
    with st.expander(t("Answer the places in another program"), icon=":material/swap_horiz:"):
        st.caption(t("What the map says is in none of these files, so that nobody is led by it."))
        with st.container(horizontal=True):
            for title, (ending, mime, about) in _FORMS.items():
                st.download_button(
                    title,
                    functools.partial(sample_text, current.sample, grid, ending, project.name),
                    f"{stem}-places{ending}",
                    mime,
                    icon=":material/download:",
                    on_click="ignore",
                    help=t(about),
                    key=f"validate_places{ending}",
                )
        file = st.file_uploader(
            t("Answers (CSV, GeoJSON or KML with PLOTID and a column of classes)"),
            [ending.removeprefix(".") for ending in ENDINGS],
            key=f"{key_of(project, current)}_answers",
        )
        if file is None:
            return
        read = with_upload(file, lambda path: read_answers(path, current.sample, names_of(project)))
        for sentence in read.sentences():
            st.markdown(humanize.escape(relay(sentence)))
        if st.button(t("Take these answers"), type="primary", key=f"{key_of(project, current)}_take"):
            validate.save(project, _newest(project, current).with_answers(read))
            st.rerun()


def _newest(project: Project, current: Validation) -> Validation:
    """With the answers given since the page was drawn, as far as they are of the same places."""
    saved = validate.load(project, current.year, two_maps=current.two_maps)
    if saved is None or not np.array_equal(
        (saved.sample.rows, saved.sample.cols), (current.sample.rows, current.sample.cols)
    ):
        return current
    return replace(saved, sample=replace(saved.sample, mapped=current.sample.mapped))

"""Part of the page Make embeddings: ask for a region, a time and an archive, and say honestly what fetching will cost.

Everything typed stays in the session, so an error or another page loses nothing.
"""

from __future__ import annotations

import datetime as dt
import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from tessera_core.dpixels.acquire import Window
from tessera_core.dpixels.acquire.presets import Season, cost_of, season_window, seasons_at
from tessera_core.language import later, numeral, relay, t
from tessera_core.project import generate
from tessera_core.project.acquire import Request
from tessera_core.region import Region, parse_bbox, read_region_report
from tessera_core.sources.local.uploads import keep_region_file
from tessera_core.ui import humanize, shell, state

_ARCHIVES = {"mpc": later("Planetary Computer"), "aws": "AWS"}
_LAST_MONTHS, _OTHER_DAYS = later("The last twelve months"), later("Other days…")
_SEASONS: dict[Season | None, str] = {
    None: later("The whole calendar year"),
    "agricultural": later("The agricultural year"),
    "wet": later("The wet season"),
    "dry": later("The dry season"),
    "q1": later("January to March"),
    "q2": later("April to June"),
    "q3": later("July to September"),
    "q4": later("October to December"),
}
# A latitude while no region is chosen: where most fields are.
_ANYWHERE = 45.0
_FIRST_YEAR = 2017  # the first with both Sentinel-2 satellites and surface reflectance nearly everywhere
_FILE = "acquire_file_path"
_LARGE_KM2 = 400.0
_RULES = {"date": later("As for published embeddings"), "baseline": later("Physically correct")}


def request() -> Request | None:
    """The form; None until it is filled in with what can be fetched. What is wrong is said where it was typed."""
    region = window = None
    # A wrong box must not take the rest of the form away.
    with shell.plain_errors():
        region = _region()
    archive = "mpc"
    with shell.plain_errors():
        window, archive = _when_and_where(region)
    with st.expander(t("How the images are prepared"), icon=":material/tune:"):
        rule = st.radio(
            t("Brightness of Sentinel-2"),
            list(_RULES),
            format_func=lambda name: t(_RULES[name]),
            key="acquire_rule",
            persist_state="session",
        )
        st.caption(
            t(
                "Since January 2022 Sentinel-2 numbers carry a constant of 1000, which must be taken off again. "
                "The TESSERA authors go by the date of the image; that is wrong for older images that were "
                "processed anew, but the models were trained and the published embeddings made that way. Keep "
                "it, unless you make all your data with the other."
            )
        )
    if archive == "aws" and not os.environ.get("EARTHDATA_TOKEN"):
        st.info(
            t(
                "The radar images on AWS are NASA's and need its free Earthdata token in the environment "
                "variable EARTHDATA_TOKEN; without it they will probably be missing. Planetary Computer needs "
                "none."
            ),
            icon=":material/key:",
        )
    if region is None or window is None:
        return None
    wanted = Request(region, window, archive, "baseline" if rule == "baseline" else "date")
    with shell.plain_errors():
        _cost(wanted)
        return wanted
    return None


def _region() -> Region | None:
    project = state.current_project()
    here = None if project is None else generate.region_of(project)
    kinds = {"box": t("Type a box"), "file": t("A file of polygons")}
    if here is not None:
        kinds["here"] = t("The open region")
    elif st.session_state.get("acquire_kind") == "here":
        # Another project has been opened since, of which nobody knows the outline.
        st.session_state["acquire_kind"] = "box"
    kind = st.segmented_control(
        t("Region"),
        list(kinds),
        default="box",
        required=True,
        format_func=lambda name: kinds[name],
        key="acquire_kind",
        persist_state="session",
    )
    if kind == "here" and project is not None:
        st.caption(
            t(
                "The region of {name}, pixel for pixel: another time of it can be compared with the years that are there.",
                name=humanize.escape(project.name),
            )
        )
        return here
    if kind != "file":
        text = st.text_input(
            t("Box in degrees: west, south, east, north"),
            placeholder=t("for example 0.05, 52.18, 0.10, 52.21"),
            key="acquire_box",
            persist_state="session",
            help=t("Longitudes first: the western and southern edge, then the eastern and northern one."),
        )
        return _named(parse_bbox(text)) if text.strip() else None
    upload = st.file_uploader(
        t("GeoJSON, GeoPackage, KML or zipped Shapefile"),
        type=["geojson", "json", "gpkg", "kml", "zip"],
        key="acquire_file",
    )
    if upload is not None:
        st.session_state[_FILE] = str(keep_region_file(upload.name, upload.getvalue()))
    path = st.session_state.get(_FILE)
    if path is None:
        return None
    region, told = read_region_report(path)
    st.caption(
        t(
            "Region from {name}. {join}",
            name=humanize.escape(Path(path).name),
            join=humanize.escape(" ".join(told.sentences())),
        )
    )
    return region


def _named(box: Region) -> Region:
    """The box under a name that people can read in a list of projects: its centre."""
    lon, lat = box.geometry.centroid.x, box.geometry.centroid.y
    return replace(box, name=f"{abs(lat):.2f} {'N' if lat >= 0 else 'S'} {abs(lon):.2f} {'E' if lon >= 0 else 'W'}")


def _when_and_where(region: Region | None) -> tuple[Window | None, str]:
    left, middle, right = st.columns(3, gap="medium")
    last = dt.date.today().year - 1
    years: list[int | str] = [*range(last, _FIRST_YEAR - 1, -1), _LAST_MONTHS, _OTHER_DAYS]
    year = left.selectbox(
        t("Year"),
        years,
        format_func=lambda name: t(name) if isinstance(name, str) else str(name),
        key="acquire_year",
        persist_state="session",
    )
    archive = right.selectbox(
        t("Where the images come from"),
        list(_ARCHIVES),
        format_func=lambda name: t(_ARCHIVES[name]),
        key="acquire_archive",
        persist_state="session",
        help=t("Where the images are fetched from. The models TESSERA 1.1 come in one version for each."),
    )
    latitude = None if region is None else (region.bbox[1] + region.bbox[3]) / 2
    if isinstance(year, int) or year == _LAST_MONTHS:
        return _season(year, latitude, middle), archive
    today = dt.date.today()
    days = middle.date_input(
        t("First and last day"),
        value=(today - dt.timedelta(365), today - dt.timedelta(1)),
        min_value=dt.date(_FIRST_YEAR, 1, 1),
        max_value=today,
        key="acquire_days",
        persist_state="session",
    )
    # While the person has clicked only the first day, there is one.
    if not isinstance(days, tuple) or len(days) != 2:
        return None, archive
    window = Window(*days)
    _cost_of_months(cost_of(window, latitude or _ANYWHERE))
    return window, archive


def _season(year: int | str, latitude: float | None, place: DeltaGenerator) -> Window | None:
    """The part of a year that is wanted, told with its dates and with what fewer months cost."""
    if not isinstance(year, int):
        named = season_window("last12", None, latitude or _ANYWHERE)
        st.caption(humanize.plain(relay(named.sentence)))
        return named.window
    # Before a region is chosen, those of the north between the tropics and the pole; dates follow when it is.
    seasons: list[Season | None] = [None, *seasons_at(_ANYWHERE if latitude is None else latitude)]
    kept = st.session_state.get("acquire_season")
    if kept not in seasons:
        st.session_state["acquire_season"] = None
    season = place.selectbox(
        t("Part of the year"),
        seasons,
        format_func=lambda name: t(_SEASONS[name]),
        key="acquire_season",
        persist_state="session",
        help=t(
            "Published embeddings are of calendar years. An agricultural year begins with sowing and bears the year of its "
            "harvest; wet and dry seasons go by the latitude. Whoever knows the place chooses “Other days” under Year."
        ),
    )
    if season is None:
        return Window.of_year(year)
    if latitude is None:
        st.caption(t("The dates follow when the region is chosen."))
        return None
    named = season_window(season, year, latitude)
    first, *rest = named.sentences
    st.caption(humanize.plain(relay(first)))
    _cost_of_months(rest)
    return named.window


def _cost_of_months(sentences: Sequence[str]) -> None:
    if sentences:
        st.info(" ".join(map(relay, sentences)), icon=":material/event_busy:")


def _cost(wanted: Request) -> None:
    km2 = wanted.area_km2
    tiles = t("one tile") if wanted.patches == 1 else t("{patches} tiles", patches=wanted.patches)
    zone = (wanted.grid.crs or "").removeprefix("EPSG:")
    st.success(
        t(
            "{km2} km²; {width} x {height} pixels of 10 m (UTM, EPSG {zone}), in {tiles}.",
            km2=numeral(km2, f",.{2 if km2 < 10 else 0}f"),
            width=wanted.grid.width,
            height=wanted.grid.height,
            zone=zone,
            tiles=tiles,
        ),
        icon=":material/check:",
    )
    st.caption(
        t(
            "Fetches very roughly {size} and keeps {size2} on this computer. The archives hand out squares "
            "of 5 x 5 km, so a small region costs nearly as much as one of that size. You can stop at any "
            "time and go on later: what has arrived is kept.",
            size=humanize.size(wanted.download_bytes),
            size2=humanize.size(wanted.disk_bytes),
        )
    )
    if km2 > _LARGE_KM2:
        st.warning(
            t("This is a large region: fetching it will take hours. Try a smaller one first."),
            icon=":material/warning:",
        )


def prefill(region: Region, year: int) -> None:
    """Fill the form in with a region and year of another page; before its widgets are drawn."""
    from tessera_core.project.request import address_of, keep

    st.session_state["generate_source"] = "region"
    st.session_state["acquire_year"] = year
    st.session_state["acquire_season"] = None
    if region.geometry.equals(region.geometry.envelope):
        st.session_state["acquire_kind"] = "box"
        st.session_state["acquire_box"] = address_of(region).replace(",", ", ")
    else:
        st.session_state["acquire_kind"] = "file"
        st.session_state[_FILE] = str(keep(region))

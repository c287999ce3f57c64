"""Part of the page Region: choose a place on Earth by drawing, by name, by coordinates or by a file.

Where the choice is kept is the matter of ``chosen``, what then happens with it that of ``load``.
"""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import streamlit as st

from tessera_core.errors import InputError, TesseraError
from tessera_core.geocoding import coordinates, gazetteer, online
from tessera_core.geocoding.gazetteer import NamedPlace
from tessera_core.language import numeral, relay, t
from tessera_core.project.request import UNNAMED, box_around, rounded, size_of, swapped, title_of
from tessera_core.region import Region, RegionReport, read_region_report
from tessera_core.sources.local.uploads import keep_region_file
from tessera_core.types import BBox
from tessera_core.ui import humanize, jobs, shell
from tessera_core.ui.components import view_map
from tessera_core.ui.region import chosen, load

MAP = "place_map"
_LOADING = "gazetteer"
_TEXT, _SIDE, _FILE, _FOUND, _CLOSED = (f"place_{name}" for name in ("text", "side", "file", "found", "closed"))
SIDES_KM = (2, 5, 10, 20)
_SUFFIXES = ["geojson", "json", "gpkg", "kml", "zip"]
_AT_KM, _NEAR_KM, _FAR_KM = 3.0, 50.0, 300.0
_CHOSEN, _TOWN = "#0f766e", "#4b5563"
_TOWNS = 8
_COLOURS = {"covered": "#7d8f8f", "water": "#3b82c4", "partial": "#e2b714", "missing": "#d55e00"}


def page() -> None:
    """Draw this part of the page."""
    view_map.loader()
    with shell.plain_errors():
        chosen.follow_address()
        region = chosen.region()
        if region is not None and region.name == UNNAMED:
            chosen.choose(replace(region, name=_name_near(region)), *chosen.notes())
    chosen.open_here()
    with st.container(horizontal=True, vertical_alignment="center"):
        st.title(t("A place on Earth"), width="stretch")
        if st.button(t("Back"), icon=":material/arrow_back:", key="place_back"):
            chosen.close()
            st.rerun()
    st.markdown(
        t(
            "Choose a place, see which published embeddings there are, and load them. Nothing is fetched "
            "before you say so."
        )
    )
    left, right = st.columns([2, 3], gap="medium")
    request = None
    with left:
        with shell.plain_errors():
            _search()
        if not _gazetteer() and (job := jobs.pool().get(_LOADING)) is not None and job.active:
            _await_gazetteer()
        with shell.plain_errors():
            _file()
        with shell.plain_errors():
            region = chosen.region()
            _chosen(region)
            if region is not None:
                request = load.choose(region)
    if request is not None:
        chosen.write_address(request)
    card = st.container()
    cover = None
    with card, shell.plain_errors():
        if request is not None:
            cover = load.card(request)
    with right, shell.plain_errors():
        _map(cover)


# ------------------------------------------------------------------ what was chosen


def _choose(region: Region, *notes: str) -> None:
    chosen.choose(region, *notes)
    st.session_state.pop(_FOUND, None)


def _chosen(region: Region | None) -> None:
    if region is None:
        st.info(t("No place yet: search above, upload a file, or draw a box on the map."), icon=":material/crop_free:")
        return
    width, height, area = size_of(region)
    near = _near(region)
    with st.container(border=True):
        st.markdown(
            t(
                "**{title_of}**  \n{km} x {km2} km, {area} km²",
                title_of=humanize.escape(title_of(region)),
                km=_km(width),
                km2=_km(height),
                area=numeral(area, f",.{1 if area < 100 else 0}f"),
            )
            + (f", {near}" if near else "")
        )
        for note in chosen.notes():
            st.caption(humanize.escape(relay(note)))
        other = swapped(region)
        likely_swapped = other is not None and _probably_swapped(region, other)
        if likely_swapped and other is not None:
            st.warning(
                t(
                    "There is no town within {FAR_KM} km. With latitude and longitude swapped it would be {near}.",
                    FAR_KM=numeral(_FAR_KM, ".0f"),
                    near=_near(other),
                ),
                icon=":material/swap_horiz:",
            )
        if other is not None:
            st.button(
                t("Swap latitude and longitude"),
                icon=":material/swap_horiz:",
                type="primary" if likely_swapped else "tertiary",
                key="place_swap",
                on_click=_swap,
                args=(other,),
            )


def _swap(region: Region) -> None:
    name = _name_near(region) if region.name in (UNNAMED, _name_near(swapped(region))) else region.name
    _choose(replace(region, name=name), t("Latitude and longitude were swapped."))


def _km(value: float) -> str:
    return numeral(value, f".{2 if value < 1 else 1 if value < 100 else 0}f")


def _nearest(region: Region) -> tuple[gazetteer.NamedPlace, float]:
    """The town nearest to the region's centre, and how many km away it is."""
    centre = region.geometry.centroid
    return gazetteer.nearest(centre.x, centre.y)


def _near(region: Region) -> str:
    if not _gazetteer():
        return ""
    town, km = _nearest(region)
    if km < _AT_KM:
        return t("at {name}, {country}", name=town.name, country=town.country)
    return (
        t("{km} km from {name}, {country}", km=numeral(km, ",.0f"), name=town.name, country=town.country)
        if km < 1000
        else ""
    )


def _name_near(region: Region | None) -> str:
    """A readable name for a region that has none of its own."""
    if region is None:
        return ""
    if not _gazetteer():
        return UNNAMED
    town, km = _nearest(region)
    if km < _NEAR_KM:
        return town.name if km < _AT_KM else t("near {name}", name=town.name)
    return title_of(replace(region, name=UNNAMED))


def _gazetteer() -> bool:
    """Whether the list of places is loaded; if not, that is done in the background, since the first time takes seconds."""
    if gazetteer.ready():
        return True
    if jobs.pool().get(_LOADING) is None:
        jobs.pool().start(_LOADING, t("Loading the list of places"), lambda progress, cancelled: gazetteer.load())
    return False


@st.fragment(run_every=0.5)
def _await_gazetteer() -> None:
    job = jobs.pool().get(_LOADING)
    if job is None or not job.active:
        st.rerun()
    st.caption(t("Getting the list of places ready…"))


def _probably_swapped(region: Region, other: Region) -> bool:
    return _gazetteer() and _nearest(region)[1] > _FAR_KM and _nearest(other)[1] < _NEAR_KM


# ------------------------------------------------------------------ by name and coordinates


def _search() -> None:
    st.text_input(
        t("Name of a place, or coordinates"),
        placeholder=t("Cambridge, or 52.2 N 0.12 E, or west, south, east, north"),
        key=_TEXT,
        on_change=shell.shielded(_read_text),
        help=t(
            "Coordinates in degrees, in degrees and minutes, UTM (33N 500000 4649776) or a box (west, "
            "south, east, north). Names are looked up on this computer."
        ),
    )
    st.segmented_control(
        t("Box around it"),
        SIDES_KM,
        default=5,
        required=True,
        format_func=lambda km: t("{km} km", km=km),
        key=_SIDE,
        persist_state="session",
    )
    found: list[NamedPlace] | str = st.session_state.get(_FOUND, [])
    if isinstance(found, str):
        st.error(found, icon=":material/error:")
    with st.container(gap=None):
        for number, place in enumerate(_places()):
            st.button(
                f"{number + 1}\\. {humanize.escape(_place_line(place))}",
                key=f"place_found_{number}",
                type="tertiary",
                icon=":material/place:",
                on_click=shell.shielded(_take_place),
                args=(place,),
            )
    text = str(st.session_state.get(_TEXT, "")).strip()
    if found and text and not _looks_like_numbers(text):
        st.button(
            t("Search OpenStreetMap"),
            icon=":material/travel_explore:",
            key="place_online",
            on_click=_look_up_online,
            args=(text,),
            help=t("Looks this name up on the internet: what you typed is sent to OpenStreetMap."),
        )


def _places() -> list[NamedPlace]:
    """What the last search found."""
    found = st.session_state.get(_FOUND, [])
    return found if isinstance(found, list) else []


def _place_line(place: NamedPlace) -> str:
    return f"{place.name}, {place.country}" + (
        t(" ({population} people)", population=numeral(place.population, ",")) if place.population else ""
    )


def _take_place(place: NamedPlace) -> None:
    side = float(st.session_state.get(_SIDE) or 5)
    _choose(box_around(place.lon, place.lat, side, place.name))


def _look_up_online(text: str) -> None:
    try:
        found = online.search_online(text)
        if not found:
            raise InputError(
                t("OpenStreetMap knows no place called {text}. Try coordinates, or the map.", text=repr(text))
            )
        st.session_state[_FOUND] = found
    except TesseraError as error:
        st.session_state[_FOUND] = humanize.told(error)


def _read_text() -> None:
    text = str(st.session_state.get(_TEXT, "")).strip()
    st.session_state.pop(_FOUND, None)
    if not text:
        return
    # What was chosen before is not what is looked for now: its card must not stay, ready to load.
    chosen.clear()
    try:
        found = _read_coordinates(text) if _looks_like_numbers(text) else _look_up(text)
    except TesseraError as error:
        st.session_state[_FOUND] = humanize.told(error)
        return
    if found:
        st.session_state[_FOUND] = found


def _looks_like_numbers(text: str) -> bool:
    return sum(character.isdigit() for character in text) >= 2


def _read_coordinates(text: str) -> list[NamedPlace]:
    import shapely

    parsed = coordinates.parse(text)
    notes = [parsed.order_note] if parsed.order_note else []
    if parsed.bbox is not None:
        region = Region(shapely.box(*parsed.bbox))
    else:
        region = box_around(parsed.lon, parsed.lat, float(st.session_state.get(_SIDE) or 5), UNNAMED)
    _choose(replace(region, name=_name_near(region)), *notes)
    return []


def _look_up(text: str) -> list[NamedPlace]:
    found = gazetteer.search(text)
    if not found:
        raise InputError(
            t(
                "No town called {text} is known here; villages and fields are not. Try the nearest town, "
                "coordinates, or the map.",
                text=repr(text),
            )
        )
    return found


# ------------------------------------------------------------------ by a file


def _file() -> None:
    with st.expander(t("Use a file of polygons"), icon=":material/upload_file:"):
        upload = st.file_uploader(t("GeoJSON, GeoPackage, KML or zipped Shapefile"), type=_SUFFIXES, key=_FILE)
        if upload is None:
            st.session_state.pop(_CLOSED, None)
            return
        path = keep_region_file(upload.name, upload.getvalue())
        if st.session_state.get(_CLOSED) != str(path):
            _take_file(path, swap=False)


def _take_file(path: Path, *, swap: bool) -> None:
    """Make a file the region, once: later choices on the map are not overruled by a file that is still there."""
    try:
        region, report = read_region_report(path, swap=swap)
    except InputError as error:
        st.error(humanize.told(error), icon=":material/error:")
        if not swap and _readable_when_swapped(path):
            st.button(
                t("Swap latitude and longitude"),
                type="primary",
                icon=":material/swap_horiz:",
                key="place_swap_file",
                on_click=_take_swapped,
                args=(path,),
            )
        return
    st.session_state[_CLOSED] = str(path)
    _choose_file(region, report)
    st.rerun()


def _take_swapped(path: Path) -> None:
    region, report = read_region_report(path, swap=True)
    st.session_state[_CLOSED] = str(path)
    _choose_file(region, report)


def _choose_file(region: Region, report: RegionReport) -> None:
    _choose(region, t("From your file: ") + " ".join(report.sentences()))


def _readable_when_swapped(path: Path) -> bool:
    try:
        read_region_report(path, swap=True)
    except InputError:
        return False
    return True


# ------------------------------------------------------------------ by drawing


def _map(cover: Any) -> None:
    region = chosen.region()
    outlines = [] if cover is None else [_tile_outline(tile) for tile in cover.tiles]
    if region is not None:
        outlines.append(view_map.Outline("chosen", _geojson(region), _CHOSEN, 0.0, title_of(region)))
    view_map.view_map(
        MAP,
        None,
        view_map.MapContent(markers=_markers(region), outlines=outlines),
        tools=("box", "polygon", "click"),
        fly_to=None if region is None else _padded(region.bbox),
        look=view_map.MapLook(height=520, world=True),
        on_event=shell.shielded(_on_map),
    )
    st.caption(
        t(
            "Draw a box or a polygon, or click for a box of the size chosen. The land outline comes with "
            "the program; other base maps are fetched from the internet when you choose them."
        )
    )


def _markers(region: Region | None) -> list[view_map.Marker]:
    """What a search found, to click on; else the towns about the region, to see where one is without a base map."""
    if places := _places():
        return [
            view_map.Marker(
                f"found {number}",
                lon=place.lon,
                lat=place.lat,
                label=str(number + 1),
                text=_place_line(place),
                kind="number",
            )
            for number, place in enumerate(places)
        ]
    if region is None:
        return []
    if not _gazetteer():
        return []
    towns = gazetteer.within(*_padded(region.bbox), limit=_TOWNS)
    return [
        view_map.Marker(
            f"town {number}",
            lon=town.lon,
            lat=town.lat,
            label=town.name,
            colour=_TOWN,
            text=_place_line(town),
        )
        for number, town in enumerate(towns)
    ]


def _on_map() -> None:
    import shapely

    event = view_map.event(MAP)
    if event is None:
        return
    if event.kind == "marker" and event.target.startswith("found "):
        places = _places()
        number = int(event.target.removeprefix("found "))
        if number < len(places):
            _take_place(places[number])
        return
    try:
        if event.kind in ("box", "polygon") and len(event.ring) >= 3:
            drawn = Region.of_shape(shapely.Polygon(event.ring))
        elif event.kind == "click" and event.lon is not None and event.lat is not None:
            drawn = box_around(event.lon, event.lat, float(st.session_state.get(_SIDE) or 5), UNNAMED)
        else:
            return
        _choose(replace(rounded(drawn), name=_name_near(drawn)))
    except TesseraError as error:
        st.session_state[_FOUND] = humanize.told(error)


def _geojson(region: Region) -> dict[str, Any]:
    import shapely

    shape: dict[str, Any] = json.loads(shapely.to_geojson(region.geometry))
    return shape


def _padded(box: BBox) -> BBox:
    west, south, east, north = box
    x, y = 0.3 * (east - west), 0.3 * (north - south)
    return max(west - x, -180.0), max(south - y, -85.0), min(east + x, 180.0), min(north + y, 85.0)


def _tile_outline(tile: Any) -> view_map.Outline:
    half = 0.05
    west, south, east, north = tile.lon - half, tile.lat - half, tile.lon + half, tile.lat + half
    ring = [[west, south], [east, south], [east, north], [west, north], [west, south]]
    shape = {"type": "Polygon", "coordinates": [ring]}
    told = {
        "covered": "complete",
        "partial": t("only a part is there"),
        "missing": t("nothing there"),
        "water": "water",
    }
    return view_map.Outline(
        f"tile {tile.name}",
        shape,
        _COLOURS[tile.state],
        0.12 if tile.state != "covered" else 0.0,
        f"{tile.name}: {told[tile.state]}",
    )

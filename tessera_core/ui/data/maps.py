"""A folder of maps that were made tile by tile, shown as one: where they lie on Earth, and what each class covers."""

from __future__ import annotations

import dataclasses
import hashlib
import time
from typing import TYPE_CHECKING, Any

import streamlit as st

from tessera_core.areas import CAVEAT, MappedArea
from tessera_core.errors import InputError
from tessera_core.language import numeral, percentage, relay, t, tn
from tessera_core.project.library import typed_path
from tessera_core.types import BBox, Cancel, Progress
from tessera_core.ui import humanize, jobs, shell, tables
from tessera_core.ui.components import view_map
from tessera_core.ui.components.view_map import Layer, MapContent, MapLook, Marker, Outline
from tessera_core.ui.legend import legend

if TYPE_CHECKING:
    from tessera_core.project.map_folder_pictures import FolderPictures, GroupPicture
    from tessera_core.project.map_folder_tiles import MapTile
    from tessera_core.project.map_folders import MapFolder
    from tessera_core.project.place_views import Picture

PAGE = "data"
_MAP = "data_maps"
_PATH, _TILE, _LOOKED, _FLY = "data_maps_path", "data_maps_tile", "data_maps_looked", "data_maps_fly"
# The picture of the tile that was looked at last.
_SEEN = "data_maps_seen"


def panel() -> None:
    """The part of the page; on one's own computer only, since it takes the path of a folder."""
    st.header(t("A folder of maps"))
    st.markdown(
        t(
            "Maps made tile by tile or place by place on the command line (tessera map --tiles, tessera change --tiles, "
            "tessera places --out), seen as one map, in any number of zones. Nothing in the folder is changed."
        )
    )
    with st.container(horizontal=True, vertical_alignment="bottom"):
        path = st.text_input(t("Folder"), placeholder=t("for example ~/my-maps"), key=_PATH)
        looked = st.button(t("Look inside"), icon=":material/search:", key="data_maps_look")
    if looked:
        if not path.strip():
            st.error(t("Type or paste the path of a folder first."), icon=":material/error:")
            return
        st.session_state[_LOOKED] = path
    if not path.strip() or st.session_state.get(_LOOKED) != path:
        return
    _look(path, looked)


def _look(path: str, looked: bool) -> None:
    folder = typed_path(path)
    if not folder.is_dir():
        raise InputError(t("{name} is no folder; choose the folder that holds the maps.", name=folder.name))
    # Not of the state of the folder: one that maps are being written into would be looked at again and again.
    key = f"{PAGE}|maps|{folder}"
    job = jobs.pool().get(key)
    if job is not None and job.active:
        jobs.wait_on(PAGE, key)
        jobs.show(job)
        return
    if job is None or looked:

        def work(progress: Progress, cancelled: Cancel) -> object:
            from tessera_core.project.map_folder_pictures import draw
            from tessera_core.project.map_folders import open_maps

            maps = open_maps(folder, progress=progress, cancelled=cancelled)
            return maps, draw(maps, progress=progress, cancelled=cancelled), time.time_ns()

        jobs.pool().forget(key)
        jobs.pool().start(key, t("Looking inside…"), work)
        st.session_state.pop(_TILE, None)
        st.session_state.pop(_FLY, None)
        st.rerun()
    if jobs.outcome(job):
        maps, drawn, looked_at = job.result
        _drawn(_in_words(maps), drawn, key=hashlib.blake2b(f"{key}|{looked_at}".encode(), digest_size=8).hexdigest())


def _in_words(maps: MapFolder) -> MapFolder:
    """With the classes of change, which are no names that people gave, in the reader's language."""
    if maps.kind != "change":
        return maps
    words = {"unchanged": t("unchanged"), "changed": t("changed")}
    return dataclasses.replace(
        maps, legend=tuple(dataclasses.replace(c, name=words.get(c.name, c.name)) for c in maps.legend)
    )


def _drawn(maps: MapFolder, drawn: FolderPictures, *, key: str) -> None:
    by_name = {tile.name: tile for tile in maps.tiles}
    known = st.session_state.get(_TILE)
    if known is not None and known not in by_name:
        # Of another folder. What nobody chose is not written: it would undo what is being chosen.
        st.session_state[_TILE] = None
    chosen = by_name.get(known or "")
    if drawn.pictures:
        legend(maps.legend)
        _on_earth(maps, drawn, chosen, key)
    _told(maps, drawn)
    st.selectbox(
        t("Tile"),
        sorted(by_name),
        key=_TILE,
        index=None,
        placeholder=t("choose one, or click it on the map"),
        on_change=shell.shielded(_fly_there),
        width=420,
    )
    _areas(maps, chosen)


def _told(maps: MapFolder, drawn: FolderPictures) -> None:
    st.caption(
        tn("{n} tile of {folder}.", "{n} tiles of {folder}.", len(maps.tiles), folder=humanize.escape(maps.folder.name))
        + (
            " "
            + t(
                "{n} of them lie where a map of the Earth cannot show them; they are in the table.",
                n=len(drawn.nowhere),
            )
            if drawn.nowhere
            else ""
        )
        + (
            " "
            + t(
                "{n} are in the table only, since their files have no smaller copies of the map to draw them from; each is "
                "drawn once you choose it.",
                n=len(drawn.unread),
            )
            if drawn.unread
            else ""
        )
    )
    lost = [*maps.failed, *drawn.failed]
    for failure in lost[:5]:
        st.warning(f"{humanize.escape(failure.what)}: {humanize.escape(relay(failure.why))}", icon=":material/warning:")
    if len(lost) > 5:
        st.warning(t("{n} more tiles cannot be read.", n=len(lost) - 5), icon=":material/warning:")


def _fly_there() -> None:
    st.session_state[_FLY] = st.session_state.get(_TILE)


def _on_earth(maps: MapFolder, drawn: FolderPictures, chosen: MapTile | None, key: str) -> None:
    layers = [
        Layer(
            f"part{n}",
            one.tiles[0] if len(one.tiles) == 1 else t("{tile} and {n} more", tile=one.tiles[0], n=len(one.tiles) - 1),
            one.picture.png,
            one.picture.version,
            bounds=one.picture.bounds,
        )
        for n, one in enumerate(drawn.pictures)
    ]
    boxes = [one.picture.lonlat for one in drawn.pictures]
    fly: BBox | None = drawn.view
    # Small tiles of many zones are less than a dot of the screen.
    markers = [] if len(drawn.pictures) < 2 else [_marker(n, one) for n, one in enumerate(drawn.pictures)]
    outlines: list[Outline] = []
    picture = None if chosen is None else _picture(maps, chosen, key)
    if chosen is not None and picture is not None:
        layers.append(
            Layer("tile", t("The chosen tile"), picture.png, f"{chosen.name} {picture.version}", bounds=picture.bounds)
        )
        outlines.append(Outline("tile", _frame(chosen), colour="#111111", text=chosen.name))
        if st.session_state.get(_FLY) == chosen.name:
            fly = picture.lonlat
    if isinstance(n := st.session_state.get(_FLY), int) and n < len(boxes):
        fly = boxes[n]

    def clicked() -> None:
        event = view_map.event(_MAP)
        if event is not None and event.kind == "marker":
            st.session_state[_FLY] = next((n for n, marker in enumerate(markers) if marker.id == event.target), None)
        elif event is not None and event.lon is not None and event.lat is not None:
            tile = maps.at(event.lon, event.lat)
            if tile is not None:
                st.session_state[_TILE] = tile.name

    view_map.view_map(
        _MAP,
        None,
        MapContent(layers, markers, outlines),
        tools=("click",),
        fly_to=fly,
        look=MapLook(title=maps.folder.name, world=True, base_maps=True, height=520),
        on_event=shell.shielded(clicked),
    )


def _marker(number: int, group: GroupPicture) -> Marker:
    """Where tiles near each other lie; a click leads there."""
    west, south, east, north = group.picture.lonlat
    text = tn("{n} tile; click to see it larger", "{n} tiles; click to see them larger", len(group.tiles))
    return Marker(str(number), lon=(west + east) / 2, lat=(south + north) / 2, text=text)


def _frame(tile: MapTile) -> dict[str, Any]:
    """The edge of a tile, in degrees."""
    height, width = tile.grid.shape
    rows, cols = [0, 0, height, height, 0], [0, width, width, 0, 0]
    lon, lat = tile.grid.pixel_to_lonlat(rows, cols)
    return {"type": "Polygon", "coordinates": [[[float(x), float(y)] for x, y in zip(lon, lat, strict=True)]]}


def _picture(maps: MapFolder, tile: MapTile, key: str) -> Picture | None:
    """The tile by itself, made once while it is looked at."""
    from tessera_core.project.map_folder_pictures import draw_tile

    known = st.session_state.get(_SEEN)
    if known is None or known[0] != (key, tile.name):
        with shell.plain_errors():
            known = st.session_state[_SEEN] = ((key, tile.name), draw_tile(maps, tile))
    return known[1] if known is not None and known[0] == (key, tile.name) else None


def _areas(maps: MapFolder, chosen: MapTile | None) -> None:
    """What each class covers of all tiles, and of the chosen one."""
    total, own = maps.areas(), {} if chosen is None else chosen.areas()
    earth = all(area.hectares is not None for i, area in total.items() if i)
    rows: list[dict[str, Any]] = []
    for c in maps.legend:
        row: dict[str, Any] = {"Class": c.name}
        row |= _columns("All tiles", total.get(c.id), earth)
        if chosen is not None:
            row |= _columns("This tile", own.get(c.id), earth)
        rows.append(row)
    st.markdown(t("**Areas, hectares**") if earth else t("**Areas, pixels**"))
    titles: dict[str, Any] = {"All tiles": st.column_config.Column(t("All tiles"), alignment="right")}
    if chosen is not None:
        titles["This tile"] = st.column_config.Column(chosen.name, alignment="right")
    for column in ("All tiles share", "This tile share"):
        titles[column] = st.column_config.Column("%", alignment="right")
    tables.show(rows, column_config=titles, hide_index=True)
    pixels = sum(area.pixels for area in total.values())
    if 0 in total and total[0].pixels:
        st.caption(
            t("{percent} % of the pixels have no data.", percent=percentage(total[0].pixels / pixels, 1)),
        )
    st.caption(relay(CAVEAT))


def _columns(name: str, area: MappedArea | None, earth: bool) -> dict[str, str]:
    amount = 0.0 if area is None else area.hectares if earth else float(area.pixels)
    share = 0.0 if area is None else area.share
    return {
        name: "–" if amount is None else numeral(amount, ",.1f" if earth else ",.0f"),
        f"{name} share": percentage(share, 1),
    }

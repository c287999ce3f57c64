"""Part of the page Region: bad tiles and seams of loaded embeddings, drawn on a map, masked by a click, levelled on trial.

The finding is in :mod:`tessera_core.sources.quality.tiles`, what a project then uses in :mod:`tessera_core.project.tile_repair`.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import streamlit as st

from tessera_core.language import numeral, t, tn
from tessera_core.project import tile_repair
from tessera_core.project.project import Project
from tessera_core.project.tile_repair import SeamCorrection
from tessera_core.raster import EmbeddingRaster
from tessera_core.render.picture import encode_picture
from tessera_core.sources.quality.tiles import EdgeReport, QualityReport, TileReport, check_quality
from tessera_core.ui import humanize, jobs, shell, state
from tessera_core.ui.components import view_map
from tessera_core.ui.scene import OpenScene, small_png

MAP = "tiles_map"
_BAD, _SEAM, _MASKED = "#d55e00", "#cc79a7", "#777777"
_SHOWN = 12


def panel(project: Project) -> None:
    """The panel, for embeddings that come in published tiles."""
    scene = state.scene_for(project)
    raster = scene.raster
    if not raster.grid.georeferenced or raster.provenance.source in ("demo", "generated"):
        return
    year = state.current_year(project)
    with st.container(border=True), shell.plain_errors():
        st.header(t("Tiles and seams") if year is None else t("Tiles and seams of {year}", year=year))
        if tile_repair.seams_corrected(project, year):
            st.info(t("The steps between tiles are levelled in this project."), icon=":material/tune:")
        masked = tile_repair.masked(project, year)
        if (masked or tile_repair.seams_corrected(project, year)) and st.button(
            t("Use all tiles as published"), icon=":material/undo:", key="tiles_restore"
        ):
            if tile_repair.seams_corrected(project, year):
                # What was found is of the levelled tiles.
                jobs.pool().forget(_key(project, year))
            tile_repair.restore(project, year)
            st.rerun()
        job = jobs.pool().get(_key(project, year))
        if job is not None and job.active:
            jobs.show(job)
            return
        if job is None or not jobs.outcome(job):
            _offer(project, year, raster)
            return
        _found(project, year, scene, job.result, masked)


def _key(project: Project, year: int | None) -> str:
    return f"inspect-{project.key}-{year}"


def _offer(project: Project, year: int | None, raster: EmbeddingRaster) -> None:
    st.markdown(
        t(
            "Published embeddings come in tiles of 0.1 degrees. Some are damaged, and some do not fit their "
            "neighbours, which shows in every map made of them."
        )
    )
    if st.button(t("Look for bad tiles and seams"), icon=":material/grid_guides:", key="tiles_look"):
        jobs.pool().forget(_key(project, year))
        jobs.pool().start(
            _key(project, year),
            t("Looking at every tile and edge"),
            lambda progress, cancelled: check_quality(raster, progress=progress, cancelled=cancelled),
        )
        st.rerun()


def _found(project: Project, year: int | None, scene: OpenScene, found: QualityReport, masked: tuple[str, ...]) -> None:
    st.markdown(_summary(found))
    if not found.bad_tiles and not found.seams and not masked:
        return
    view_map.loader()
    _map(project, year, scene, found, masked)
    for tile in [tile for tile in found.tiles if tile.problems or tile.name in masked][:_SHOWN]:
        _tile_row(project, year, tile, masked)
    _seams(project, year, found)


def _summary(found: QualityReport) -> str:
    """What was found, and how sure it is, in sentences."""
    tiles = t("one tile") if len(found.tiles) == 1 else t("{tiles} tiles", tiles=len(found.tiles))
    bad, seams = len(found.bad_tiles), len(found.seams)
    said = (
        tn("In {tiles}: {n} bad tile", "In {tiles}: {n} bad tiles", bad, tiles=tiles)
        if bad
        else t("In {tiles}: no bad tile", tiles=tiles)
    )
    if not found.edges:
        return t("{said}; no edge between good tiles is long enough to look for seams.", said=said)
    edges = tn("{n} edge", "{n} edges", len(found.edges))
    return t(
        "{said}, {seams}. An edge counts as a seam when the embeddings jump across it by more than {threshold} times "
        "what is usual along lines inside the tiles (learnt from {lines} lines; about {percent} % of lines without a "
        "seam jump that much).",
        said=said,
        seams=tn("{n} seam at {edges}", "{n} seams at {edges}", seams, edges=edges)
        if seams
        else t("no seam at {edges}", edges=edges),
        threshold=numeral(found.threshold, ".1f"),
        lines=found.lines,
        percent=numeral(100 * found.false_alarms, "g"),
    )


def _map(project: Project, year: int | None, scene: OpenScene, found: QualityReport, masked: tuple[str, ...]) -> None:
    outlines = [_tile_outline(tile, masked) for tile in found.tiles if tile.problems or tile.name in masked]
    outlines += [_seam_outline(edge) for edge in found.seams]
    picture = view_map.Layer("pca", t("Embeddings"), _picture(scene), scene.key)
    view_map.view_map(
        MAP,
        scene.display,
        view_map.MapContent([picture], outlines=outlines),
        tools=(),
        look=view_map.MapLook(height=420, base_maps=False),
        on_event=shell.shielded(lambda: _clicked(project, year)),
    )
    st.caption(
        t("Orange: bad tiles, click one to mask it. Pink: seams. Grey: masked tiles, click one to bring it back.")
    )


def _picture(scene: OpenScene) -> bytes:
    """The embedding picture on the display grid; made once while the scene is the same."""
    known: tuple[str, bytes] | None = st.session_state.get("tiles_picture")
    if known is None or known[0] != scene.key:
        png = encode_picture(scene.picture, np.asarray(scene.raster.valid()), scene.display)
        known = st.session_state["tiles_picture"] = (scene.key, png)
    return known[1]


def _clicked(project: Project, year: int | None) -> None:
    event = view_map.event(MAP)
    if event is not None and event.kind == "outline" and event.target.startswith("grid_"):
        _toggle(project, year, event.target)


def _toggle(project: Project, year: int | None, name: str) -> None:
    masked = set(tile_repair.masked(project, year))
    tile_repair.mask(project, year, masked ^ {name})


def _tile_outline(tile: TileReport, masked: Iterable[str]) -> view_map.Outline:
    west, south, east, north = tile.lon - 0.05, tile.lat - 0.05, tile.lon + 0.05, tile.lat + 0.05
    ring = [[west, south], [east, south], [east, north], [west, north], [west, south]]
    gone = tile.name in masked
    text = t("{name} is masked", name=tile.name) if gone else " ".join(tile.sentences)
    shape = {"type": "Polygon", "coordinates": [ring]}
    return view_map.Outline(tile.name, shape, _MASKED if gone else _BAD, 0.25, text)


def _seam_outline(edge: EdgeReport) -> view_map.Outline:
    shape = {"type": "LineString", "coordinates": [list(end) for end in edge.line]}
    return view_map.Outline(
        f"seam {edge.first} {edge.second}",
        shape,
        _SEAM,
        0.0,
        t("Seam, {step} times the usual step", step=numeral(edge.step, ".1f")),
    )


def _tile_row(project: Project, year: int | None, tile: TileReport, masked: tuple[str, ...]) -> None:
    gone = tile.name in masked
    with st.container(horizontal=True, vertical_alignment="center"):
        text = t("{name} is masked.", name=tile.name) if gone else " ".join(tile.sentences)
        st.markdown(humanize.escape(text), width="stretch")
        st.button(
            t("Bring it back") if gone else t("Mask this tile"),
            icon=":material/undo:" if gone else ":material/hide_source:",
            key=f"tile_{tile.name}",
            on_click=shell.shielded(_toggle),
            args=(project, year, tile.name),
        )


# ------------------------------------------------------------------ levelling


def _seams(project: Project, year: int | None, found: QualityReport) -> None:
    if not found.seams:
        return
    worst = found.seams[:_SHOWN]
    st.markdown(
        "  \n".join(
            t(
                "Seam between {first} and {second}: {step} times the usual step.",
                first=humanize.escape(edge.first),
                second=humanize.escape(edge.second),
                step=numeral(edge.step, ".1f"),
            )
            for edge in worst
        )
    )
    if tile_repair.seams_corrected(project, year):
        return
    key = f"level-{project.key}-{year}"
    job = jobs.pool().get(key)
    if job is not None and job.active:
        jobs.show(job)
        return
    if job is not None and jobs.outcome(job):
        _decide(project, year, job.result, key)
        return
    st.caption(
        t(
            "Levelling adds one correction to every tile so that the steps become small. It is an "
            "approximation: look at before and after, and keep what was read if you are not sure."
        )
    )
    if st.button(t("Try levelling the tiles"), icon=":material/tune:", key="tiles_level"):
        jobs.pool().start(
            key,
            t("Levelling the tiles"),
            lambda progress, cancelled: tile_repair.try_seam_correction(project, year, progress, cancelled),
        )
        st.rerun()


def _decide(project: Project, year: int | None, made: SeamCorrection, key: str) -> None:
    before, after = made.steps
    st.markdown(
        t(
            "The usual step across the seams goes from **{before}** to **{after}** times the usual (1 is "
            "like anywhere else); seams left: {seams} of {seams2}.",
            before=numeral(before, ".1f"),
            after=numeral(after, ".1f"),
            seams=len(made.after.seams),
            seams2=len(made.before.seams),
        )
    )
    left, right = st.columns(2)
    left.image(small_png(made.pictures[0], made.valid), caption=t("Before"), width="stretch")
    right.image(small_png(made.pictures[1], made.valid), caption=t("After, in the same colours"), width="stretch")
    with st.container(horizontal=True):
        if st.button(t("Keep the levelled tiles"), icon=":material/check:", key="tiles_keep"):
            tile_repair.keep_seam_correction(project, year, made)
            jobs.pool().forget(key)
            jobs.pool().forget(_key(project, year))
            st.rerun()
        if st.button(t("Keep what was read"), type="primary", icon=":material/undo:", key="tiles_drop"):
            tile_repair.drop_seam_correction(made)
            jobs.pool().forget(key)
            st.rerun()

"""The page Make embeddings: choose tiles and a model, see what it costs, run it in the background, open the result.

The work is in :mod:`tessera_core.embed`; a run belongs to the server, so that a reload or another tab finds it.
"""

from __future__ import annotations

from pathlib import Path

import streamlit as st

from tessera_core import embed
from tessera_core.library import typed_path
from tessera_core.ui import jobs, state, words

_PLAN, _RUN = "generate-plan", "generate-run"
_WAITING = "generate_waiting"
_OWN_FILE = "Another file…"
_DEVICES = {"auto": "The best there is", "cpu": "Processor", "cuda": "Graphics card"}
_ABOUT = {
    "studio-nano": "Tessera Studio nano: comes with the program, quick",
    "v2-nano": "TESSERA 2 nano: small and quick",
    "v2-small": "TESSERA 2 small",
    "v2-medium": "TESSERA 2 medium: slow without a graphics card",
    "v2-large": "TESSERA 2 large: needs a graphics card",
    "v2-teacher": "TESSERA 2 teacher: needs a large graphics card",
    "v1.1-mpc": "TESSERA 1.1 for data from Planetary Computer",
    "v1.1-aws": "TESSERA 1.1 for data from AWS",
    "v1.0-qat": "TESSERA 1.0",
    "v1.0-fp32": "TESSERA 1.0, full precision",
}


def page() -> None:
    """Draw the page."""
    st.title("Make embeddings")
    st.markdown(
        "Turn a year of Sentinel-1 and Sentinel-2 images on this computer into embeddings: "
        "numbers that describe how each place changed through the year, from which a map can be learnt."
    )
    if state.hosted():
        st.info("This needs folders of your own computer. Run Tessera Studio there.", icon=":material/info:")
        return
    if not _running():
        _choose()


def _running() -> bool:
    """Show the run if there is one; True while nothing else can be started."""
    job = jobs.pool().get(_RUN)
    if job is None:
        return False
    if job.active:
        st.session_state[_WAITING] = True
        with st.container(border=True):
            jobs.show(job)
            st.caption("You can label other regions meanwhile. If you cancel, the next run goes on from here.")
        return True
    if st.session_state.pop(_WAITING, False) and jobs.outcome(job):
        state.open_project(job.result)
        st.switch_page("pages/region.py", query_params=state.query())
    return False


def _choose() -> None:
    path = st.text_input(
        "Folder of a tile, or with several tiles",
        placeholder=f"for example {Path.home() / 'tiles'}",
        key="generate_folder",
        persist_state="session",
        help="A tile is a folder with bands.npy, masks.npy, doys.npy and the radar files sar_ascending.npy and so on, "
        "as 'tessera acquire' and the TESSERA tools write them.",
    )
    if not path.strip():
        st.caption("The folder holds what the satellites saw (d-pixel tiles). 'tessera acquire' fetches them.")
        return
    tiles = embed.open_tiles(typed_path(path))
    st.success(_found(tiles), icon=":material/check:")
    weights, dim, device = _model()
    if not weights:
        return
    plan_job = jobs.pool().get(_PLAN)
    wanted = (path, weights, dim, device)
    known = st.session_state.get("generate_wanted") == wanted
    if known and plan_job is not None and plan_job.active:
        jobs.show(plan_job)
        return
    if known and plan_job is not None and jobs.outcome(plan_job):
        _start(tiles, plan_job.result, dim, device)
        return
    if st.button("How long will it take?", type="primary", icon=":material/timer:", key="generate_plan"):
        st.session_state["generate_wanted"] = wanted
        jobs.pool().start(
            _PLAN,
            "Looking at the tiles and this computer",
            lambda progress, cancelled: embed.plan(tiles, weights, dim, device, progress, cancelled),
        )
        st.rerun()


def _found(tiles: embed.TileSet) -> str:
    first = tiles.tiles[0]
    count = "One tile" if len(tiles.tiles) == 1 else f"{len(tiles.tiles)} tiles"
    radar = len(first.doys_asc) + len(first.doys_desc)
    return (
        f"{count}, {tiles.pixels:,} pixels in all; {words.years(tiles.years)}; "
        f"{len(first.doys)} optical and {radar} radar dates{'' if len(tiles.tiles) == 1 else ' in the first'}."
    )


def _model() -> tuple[str, int | None, str]:
    """Weights (a name or a path, empty while there is none), leading numbers to keep or None, device."""
    from tessera_core.models.zoo import PUBLISHED, names

    def about(name: str) -> str:
        size = PUBLISHED[name].size if name in PUBLISHED else 0
        fetched = f" (fetches {words.size(size)} once)" if size else " (fetched once)" if name in PUBLISHED else ""
        return _ABOUT.get(name, name) + fetched

    weights = st.selectbox(
        "Model", [*names(), _OWN_FILE], format_func=about, key="generate_model", persist_state="session"
    )
    if weights == _OWN_FILE:
        weights = st.text_input("Checkpoint file", key="generate_weights", persist_state="session").strip()
        weights = str(typed_path(weights)) if weights else ""
    with st.expander("More choices", icon=":material/tune:"):
        dim = st.segmented_control(
            "Numbers a pixel",
            ["all", 64, 32, 16],
            default="all",
            required=True,
            key="generate_dim",
            help="Fewer numbers take less room and lose a little accuracy. Only for models trained for it.",
        )
        device = st.segmented_control(
            "Compute on",
            list(_DEVICES),
            default="auto",
            required=True,
            key="generate_device",
            format_func=lambda name: _DEVICES[name],
        )
    return weights, dim if isinstance(dim, int) else None, device or "auto"


def _start(tiles: embed.TileSet, plan: embed.Plan, dim: int | None, device: str) -> None:
    cost = plan.estimate
    for note in plan.notes:
        st.warning(words.escape(note), icon=":material/warning:")
    time, speed, memory, disk = st.columns(4)
    time.metric("Time, about", words.duration(cost.seconds))
    speed.metric("Pixels per second", f"{cost.pixels_per_second:,.0f}")
    memory.metric("Memory", words.size(cost.memory_bytes))
    disk.metric("Disk", words.size(cost.output_bytes))
    if st.button("Make the embeddings", type="primary", icon=":material/play_arrow:", key="generate_start"):
        st.session_state[_WAITING] = True
        jobs.pool().start(
            _RUN,
            f"Making embeddings of {tiles.name}",
            lambda progress, cancelled: embed.make_project(tiles, plan.loaded, dim, device, progress, cancelled),
        )
        st.rerun()

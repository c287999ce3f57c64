"""The page Label: the map on which people label, its panel, and the choice of year and method.

Map and panel are one fragment, so that a click costs nothing of the rest of the page. What a click does: the component's
operation -> :func:`_on_ops` -> label log -> head -> class map -> palette PNG -> component.
"""

from __future__ import annotations

import threading

import streamlit as st

from tessera_core.mapping import DEFAULT_HEAD, head_name
from tessera_core.project import Project
from tessera_core.ui import label_map, shell, state, words
from tessera_core.ui.label_map.live import LiveMap
from tessera_core.ui.label_map.protocol import ProtocolState, apply_message
from tessera_core.ui.scene import MAX_OPEN, OpenScene

# The instant ones; how to make each is the business of tessera_core.heads.
HEAD_NAMES = {
    "ridge": "Linear (ridge), instant",
    "logistic": "Logistic regression",
    "prototype": "Nearest class average",
    "knn": "Nearest labels",
}
_RUNS = "label_runs"
_PROTOCOL = "label_protocol"


def page() -> None:
    """Build the page."""
    if state.current_project() is None:
        st.subheader("Label")
        st.info("Open a region first; then you can label it here.", icon=":material/public:")
        st.page_link("pages/region.py", label="Choose a region", icon=":material/public:")
        return
    label_map.loader()
    _studio()


@st.fragment
@shell.shielded
def _studio() -> None:
    project = state.current_project()
    if project is None:
        return
    scene = state.scene_for(project)
    key = _key(project)
    live = _live_map(project, scene)
    pictures = ["pca", "truecolour"] if scene.has_true_colour else ["pca"]
    protocol = _protocol(key)
    map_column, panel_column = st.columns([7, 2], gap="small")
    with map_column:
        run = st.session_state.setdefault(_RUNS, 0)
        data = live.message(key, project.log, head_name(project), protocol, run, project.saved_at, pictures)
        label_map.label_map(key, data, _on_ops)
        for name in pictures:
            label_map.picture(key, name, {**live.picture_header(), "version": scene.key}, _png(scene.key, name, scene))
    with panel_column:
        _year(project)
        label_map.label_panel(key)
        _method(project)


@shell.shielded
def _on_ops() -> None:
    """What the browser did, before the fragment runs."""
    project = state.current_project()
    if project is None:
        return
    key = _key(project)
    live = _live_map(project, state.scene_for(project))
    protocol = apply_message(project.log, live.display, label_map.message(key), _protocol(key))
    # One assignment each: a run may be interrupted between two.
    st.session_state[_PROTOCOL] = {key: protocol}
    st.session_state[_RUNS] = st.session_state.get(_RUNS, 0) + 1


def _protocol(key: str) -> ProtocolState:
    known: dict[str, ProtocolState] = st.session_state.get(_PROTOCOL, {})
    return known.get(key, ProtocolState())


def _key(project: Project) -> str:
    return f"label_map_{project.id}"


def _live_map(project: Project, scene: OpenScene) -> LiveMap:
    provenance = scene.raster.provenance
    subtitle = f"{provenance.year or ''} · {words.dataset(provenance)}".strip(" ·")
    return _live(project.id, scene.key, project.name, subtitle, scene)


# No more than open scenes, because each keeps its scene in memory.
@st.cache_resource(max_entries=MAX_OPEN, show_spinner=False)
def _live(project_id: str, scene_key: str, title: str, subtitle: str, _scene: OpenScene) -> LiveMap:
    key = f"{project_id}@{scene_key}"
    live = LiveMap(key, project_id, _scene.raster, lambda: _scene.scene, _scene.display, title, subtitle)
    threading.Thread(target=live.warm_up, name="tessera-label-warm-up", daemon=True).start()
    return live


@st.cache_resource(max_entries=8, show_spinner=False)
def _png(scene_key: str, name: str, _scene: OpenScene) -> bytes:
    from tessera_core.render.picture import encode_picture

    picture = _scene.picture if name == "pca" else _scene.true_colour
    if picture is None:
        return b""
    return encode_picture(picture, _scene.raster.valid(), _scene.display)


def _year(project: Project) -> None:
    years = project.years
    if len(years) < 2:
        return
    key = f"label_year_{project.id}"
    st.segmented_control(
        "Year",
        years,
        default=state.current_year(project),
        required=True,
        key=key,
        on_change=lambda: project.update(year=st.session_state[key]),
        width="stretch",
    )


def _method(project: Project) -> None:
    key = f"label_head_{project.id}"
    current = head_name(project)
    options = list(dict.fromkeys([*HEAD_NAMES, current]))
    with st.expander("Method", icon=":material/tune:"):
        st.selectbox(
            "How the map is made from your labels",
            options,
            index=options.index(current),
            format_func=lambda name: HEAD_NAMES.get(name, name),
            key=key,
            on_change=lambda: project.update(head=st.session_state[key]),
            help=f"{HEAD_NAMES[DEFAULT_HEAD]} suits most regions; the others are worth a look when two classes look alike.",
        )

"""The page Label: the map on which people label, and beside it what is known about the map.

The map is a fragment of its own, so that a click costs nothing of the rest of the page: component's operation ->
:func:`_on_ops` -> label log -> head -> class map -> palette PNG -> component. Everything else (score, next places, doubts,
further layers, tools) is a second fragment with its own channel to the browser, which speaks only while nobody labels.
"""

from __future__ import annotations

from collections.abc import Mapping

import streamlit as st

from tessera_core.language import relay, t
from tessera_core.lessons import library as lessons
from tessera_core.project import steps
from tessera_core.project.classify import head_choice
from tessera_core.project.project import Project
from tessera_core.render.canvas import EMBEDDING, PICTURES
from tessera_core.render.canvas import TRUE_COLOUR as SATELLITE
from tessera_core.session.insight_protocol import InsightState, apply_wishes
from tessera_core.session.labelling import LabelSession, LabelSessions
from tessera_core.session.live_map import LiveMap
from tessera_core.session.protocol import ProtocolState, apply_message
from tessera_core.session.reading import next_step
from tessera_core.ui import base_maps, canvas, frame, humanize, sessions, state
from tessera_core.ui.components import label_map
from tessera_core.ui.label import notes, panels
from tessera_core.ui.scene import OpenScene

# Beside the map, the panel is wide enough for the names of classes, and no wider.
_PANEL = """<style>
@media (min-width: 641px) {
  .st-key-label_columns > * > [data-testid="stHorizontalBlock"] {
    > [data-testid="stColumn"]:last-child { flex: 0 0 clamp(264px, 24vw, 380px); }
    > [data-testid="stColumn"]:first-child { flex: 1 1 0; min-width: 0; }
  }
}
</style>"""
_RUNS = "label_runs"
_SIDE_RUNS = "label_side_runs"
_PROTOCOL = "label_protocol"
_SIDE = "label_side"
_SEATED = "label_seated"
_STEPS_UP_TO = 1000

_sessions = LabelSessions()


def page() -> None:
    """Build the page."""
    if frame.opened(t("Open a region first; then you can label it here."), t("Label")) is None:
        return
    label_map.loader()
    st.html(_PANEL)
    with st.container(key="label_columns"):
        map_column, panel_column = st.columns([7, 2], gap="small")
    with map_column:
        _map()
    with panel_column:
        _panel()
    with map_column:
        # Of a large region it takes a while; the classes do not wait for it.
        _embedding()


@frame.part
def _map(project: Project) -> None:
    scene = state.scene_for(project)
    key = _key(project)
    live = _session(project, scene).live
    pictures = [EMBEDDING, SATELLITE] if scene.satellite_pictures else [EMBEDDING]
    run = st.session_state.setdefault(_RUNS, 0)
    base = base_maps.shown()
    data = live.message(key, project.log, head_choice(project), _protocol(key), run, project.saved_at, pictures, base)
    label_map.label_map(key, data, _on_ops)
    rest = live.rest(project.log, head_choice(project), _protocol(key).confidence)
    if rest is not None:
        label_map.picture(key, "rest", *rest)
    # Of a large region the pictures are coarse; what is in sight of the upper one is not.
    view = live.finer(_protocol(key).view)
    if view is not None:
        name = canvas.chosen(project, scene, satellite=True)
        where = {
            **live.picture_header(),
            "bounds": view.bounds,
            "version": f"{scene.key}|{name}|{view.bounds}|{view.shape}",
        }
        label_map.picture(key, f"{pictures[-1]}_view", where, scene.view_png(name, view))


@frame.part
def _embedding(project: Project) -> None:
    scene = state.scene_for(project)
    where = {**_session(project, scene).live.picture_header(), "version": scene.key}
    label_map.picture(_key(project), EMBEDDING, where, scene.png(EMBEDDING))


@frame.part
def _panel(project: Project) -> None:
    scene = state.scene_for(project)
    key = _key(project)
    session = _session(project, scene)
    picture = canvas.chosen(project, scene, satellite=True)
    if picture != EMBEDDING:
        # Here, because it is chosen here; its name on the map stays, so that what people set of that layer does.
        where = {**session.live.picture_header(), "version": f"{scene.key}|{picture}"}
        label_map.picture(key, SATELLITE, where, scene.png(picture))
    label_map.label_panel(key, lessons.guides(project))
    frame.year_choice(project, "label", width="stretch", shown=True)
    canvas.choice(project, scene, "label", embedding=False)
    opened = panels.show(session, project, scene)
    side = _side(key)
    run = st.session_state.setdefault(_SIDE_RUNS, 0)
    layers, header = session.answer(key, project, side, run, opened)
    header["chosen"] = notes.chosen(project)
    header["canvas"] = {
        "wish": project.settings.canvas or "",
        "satellite": {name: relay(text) for name, text in PICTURES[picture]._asdict().items()},
        "embedding": {name: relay(text) for name, text in PICTURES[EMBEDDING]._asdict().items()},
    }
    for layer in layers:
        if layer.png:
            where = {**session.live.picture_header(), "version": layer.version, "mode": layer.mode}
            label_map.picture(key, layer.name, where, layer.png)
    label_map.insight(key, header, _on_wishes)


@frame.answers
def _on_ops(project: Project) -> None:
    """What the browser did, before the fragment runs."""
    key = _key(project)
    session = _session(project, state.scene_for(project))
    message = label_map.message(key)
    # Who only looks elsewhere does not label.
    if isinstance(message, Mapping) and message.get("ops"):
        session.assessor.pause()
    log, had_map = project.log, not next_step(project.log)
    # Who has that many labels needs no list of next steps, and a click shall not wait for it.
    listed = had_map and len(log.labels) < _STEPS_UP_TO and steps.open_steps(project)
    known = {label.id for label in log.labels} if listed else None
    protocol = apply_message(log, session.live.display, message, _protocol(key), session.suggested_places)
    # One assignment each: a run may be interrupted between two.
    st.session_state[_PROTOCOL] = {key: protocol}
    st.session_state[_RUNS] = st.session_state.get(_RUNS, 0) + 1
    # Last: what was done is acknowledged, also where a step cannot be noted.
    if known is not None:
        steps.note_labels(project, [label for label in log.labels if label.id not in known], session.suggested_places)


@frame.answers
def _on_wishes(project: Project) -> None:
    """What the browser wants to know, or to have done, beside the map."""
    key = _key(project)
    session = _session(project, state.scene_for(project))
    display, known = session.live.display, _side(key)
    wished = apply_wishes(label_map.wishes(key), display, known, lambda op, now: session.act(project, op, now))
    if wished.selected != known.selected:
        notes.follow(project, wished.selected)
    st.session_state[_SIDE] = {key: wished}
    st.session_state[_SIDE_RUNS] = st.session_state.get(_SIDE_RUNS, 0) + 1


def _protocol(key: str) -> ProtocolState:
    known: dict[str, ProtocolState] = st.session_state.get(_PROTOCOL, {})
    return known.get(key, ProtocolState())


def _side(key: str) -> InsightState:
    known: dict[str, InsightState] = st.session_state.get(_SIDE, {})
    return known.get(key, InsightState())


def _key(project: Project) -> str:
    return f"label_map_{project.key}"


def _session(project: Project, scene: OpenScene) -> LabelSession:
    provenance = scene.raster.provenance
    year = "" if provenance.year is None else humanize.year_name(provenance.year)
    subtitle = f"{year} · {provenance.title}".strip(" ·")

    def make() -> LabelSession:
        live = LiveMap(
            f"{project.key}@{scene.key}",
            project.key,
            scene.raster,
            lambda: scene.scene,
            display,
            project.name,
            subtitle,
        )
        session = LabelSession(live, lambda: scene.index, None if scene.path is None else (scene.key, str(scene.path)))
        session.assessor.prepare()
        return session

    # May take a while, which nobody else shall wait for.
    display = scene.display
    scene.warm_up()
    return _sessions.sit(_seat(), (project.key, scene.key, project.name, subtitle), make)


def _seat() -> str:
    """Names the session among those that use desks; what only it used is put away when it ends."""
    session = sessions.session_id()
    if not st.session_state.get(_SEATED):
        st.session_state[_SEATED] = True
        sessions.on_session_end(lambda: _sessions.leave(session))
    return session

"""The page Validate's other question: which of two maps is right more often, told by places where they differ."""

from __future__ import annotations

import time
from collections.abc import Mapping
from functools import partial
from typing import Any

import streamlit as st

from tessera_core.assess.two_maps import MOST_PLACES
from tessera_core.errors import TesseraError
from tessera_core.language import later, numeral, percentage, relay, t
from tessera_core.project import two_maps, validate
from tessera_core.project.classify import ProjectMap
from tessera_core.project.project import Project
from tessera_core.project.sample_plan import SECONDS_PER_PLACE
from tessera_core.project.saved_heads import head_names, kept_head
from tessera_core.project.two_maps import Legend, NamedMap, Pair
from tessera_core.project.validate import Validation
from tessera_core.render import palette
from tessera_core.session.view_parts import Layer
from tessera_core.types import Bytes
from tessera_core.ui import canvas, humanize, maps, state
from tessera_core.ui.components import view_map
from tessera_core.ui.files import with_upload
from tessera_core.ui.scene import OpenScene
from tessera_core.ui.validate.context import names_of, place_key
from tessera_core.ui.validate.results import elsewhere
from tessera_core.ui.validate.screen import screen
from tessera_core.ui.validate.two import two_people

# Where they differ: an orange that stands out from pictures of land, by lightness too.
_COLOUR = "#d55e00"
_FILE, _YEAR, _HEAD = "file", "year", "head"
_KINDS = {
    _FILE: later("A map as a file"),
    _YEAR: later("Another year of this project"),
    _HEAD: later("A kept head"),
}
_BETTER = [10, 15, 20, 25, 30, 40, 50, 60]
_RISKS = [1, 2, 5, 10, 20]
# Of a legend, classes that are shown at once.
_MOST_CLASSES = 60


def which_map(project: Project, scene: OpenScene, year: int | None, made: ProjectMap) -> None:
    """Choose the other map and draw places; or answer them and read the verdict."""
    current = validate.load(project, year, two_maps=True)
    if current is None:
        st.caption(
            t(
                "Your map against another: an official one, another year's, another method's. Where both say the same, no place "
                "can tell them apart; so places are drawn by chance where they differ, you say what is there without seeing what "
                "either map says, and the answers tell which is right more often."
            )
        )
        _form(project, scene, year, made)
        return
    _verdict(project, scene, current, made)
    screen(project, scene, current)
    two_people(project, current)
    elsewhere(project, scene, current)
    with st.expander(t("Compare other maps, or draw other places"), icon=":material/restart_alt:"):
        st.caption(t("The answers given so far stay in the project's folder; a new comparison begins without them."))
        _form(project, scene, year, made)


# ------------------------------------------------------------------ before


def _form(project: Project, scene: OpenScene, year: int | None, made: ProjectMap) -> None:
    key = place_key(project, year, two_maps=True)
    try:
        other = _other(project, scene, year, key)
    except TesseraError as error:
        st.error(humanize.told(error), icon=":material/error:")
        return
    if other is None:
        return
    own = names_of(project)
    legend = None if other.source == _YEAR else _legend(other, own, key)
    try:
        pair = two_maps.paired(two_maps.own_map(project, year, made.map.classes), other, own, legend)
    except TesseraError as error:
        st.error(humanize.told(error), icon=":material/error:")
        return
    for number, sentence in enumerate(pair.sentences()):
        text = humanize.escape(relay(sentence))
        st.markdown(f"**{text}**" if not number else text)
    if not pair.found.where.any():
        return
    if other.source == _YEAR:
        st.caption(
            t(
                "Answer what was there in {year}. Where the ground changed between the years, the map of the other year is not "
                "wrong but of another time.",
                year=humanize.year_name(year),
            )
        )
    looking, asking = st.columns([3, 2], gap="large")
    with looking:
        version = f"{scene.key}|{made.version}|{hash(pair.maps.tobytes())}"
        _map(project, scene, pair.maps, version, f"{pair.first.title} · {pair.second.title}", "form")
    with asking:
        _draw(project, scene, year, pair, key)


def _other(project: Project, scene: OpenScene, year: int | None, key: str) -> NamedMap | None:
    """The map that is chosen to compare with; None before it is."""
    years, heads = [one for one in project.years if one != year], head_names()
    kinds = [_FILE, *([_YEAR] if years else []), *([_HEAD] if heads else [])]
    kind = st.segmented_control(
        t("Compare your map with"),
        kinds,
        format_func=lambda one: t(_KINDS[one]),
        default=_FILE,
        required=True,
        key=f"{key}_kind",
    )
    if kind == _YEAR:
        chosen = st.selectbox(t("Which year"), years, key=f"{key}_year")
        with_scene = state.scene_for(project, chosen)
        found, missing = maps.project_map(project, with_scene, chosen)
        if found is None:
            st.info(humanize.plain(missing), icon=":material/info:")
            return None
        return two_maps.own_map(project, chosen, found.map.classes)
    if kind == _HEAD:
        name = st.selectbox(t("Which head"), heads, key=f"{key}_head")
        path = kept_head(name)
        with st.spinner(t("Making the map…")):
            return _by_head(f"{path}|{path.stat().st_mtime_ns}|{scene.key}", project, year, name)
    upload = st.file_uploader(
        t("A map of classes (GeoTIFF)"),
        ["tif", "tiff"],
        key=f"{key}_file",
        help=t("On any grid and in any coordinate system: each pixel of yours takes the class of the nearest of its."),
    )
    return None if upload is None else _by_file(upload.file_id, scene.key, upload, scene)


@st.cache_data(max_entries=8, show_spinner=False)
def _by_file(file_id: str, scene_key: str, _upload: Any, _scene: OpenScene) -> NamedMap:
    return with_upload(_upload, lambda path: two_maps.file_map(path, _scene.raster.grid))


@st.cache_data(max_entries=4, show_spinner=False)
def _by_head(key: str, _project: Project, _year: int | None, _name: str) -> NamedMap:
    return two_maps.head_map(_project, _year, kept_head(_name))


def _legend(other: NamedMap, own: Mapping[int, str], key: str) -> Legend:
    """Which of one's own classes each class of the other map is, in a small table of choices."""
    counts = sorted(other.counts().items(), key=lambda item: -item[1])
    known = dict.fromkeys(name for name, _ in counts)
    goal: dict[str, list[str]] = {name: [] for name in known}
    for theirs, mine in two_maps.suggested(other, own):
        if theirs in goal:
            goal[theirs].append(mine)
    unknown = [name for name in known if not goal[name]]
    title = t("Its classes among yours: {n} of {total}", n=len(known) - len(unknown), total=len(known))
    total = max(sum(n for _, n in counts), 1)
    lines = []
    with st.expander(title, icon=":material/table_rows:", expanded=bool(unknown)):
        st.caption(
            t(
                "Which of your classes is each of its classes? Give several where it does not tell them apart: these then count as "
                "one. What has no counterpart is left out and counted."
            )
        )
        for name, pixels in counts[:_MOST_CLASSES]:
            said, choice = st.columns([2, 3], vertical_alignment="center")
            said.markdown(f"{humanize.escape(name)}  \n:small[:gray[{percentage(pixels / total, 1)} %]]")
            chosen = choice.multiselect(
                t("{name} is", name=name),
                list(own.values()),
                default=goal[name],
                placeholder=t("None of yours"),
                label_visibility="collapsed",
                key=f"{key}_legend_{other.title}_{name}",
            )
            lines += [(name, mine) for mine in chosen]
    return lines


def _draw(project: Project, scene: OpenScene, year: int | None, pair: Pair, key: str) -> None:
    st.header(t("How many places?"))
    better = st.select_slider(
        t("How much better should one be for you to care?"),
        _BETTER,
        value=30,
        format_func=lambda points: t("{points} of 100 places", points=points),
        key=f"{key}_better",
        help=t(
            "Of 100 places where they differ, how many more one map is right at than the other. At 10 none is, we take it."
        ),
    )
    risk = st.select_slider(
        t("Risk"),
        _RISKS,
        value=5,
        format_func=lambda percent: f"{percent}\xa0%",
        key=f"{key}_risk",
        help=t("How often one map may be called better though none is."),
    )
    found = two_maps.plan(pair.found.share, better / 100, risk=risk / 100)
    st.markdown(
        t(
            "That is {points} points of the accuracy over all that both map.",
            points=numeral(100 * found.points, ".1f"),
        )
    )
    ways = [later("Look whenever I like"), later("Settle the number now")]
    way = st.radio(
        t("When do you want the verdict?"),
        ways,
        format_func=t,
        captions=[
            t("After every answer; it takes more places, and you may stop as soon as it is clear."),
            t("No verdict before the last place; it takes fewer."),
        ],
        key=f"{key}_way",
    )
    needed = found.settled if way == ways[1] else found.any_time
    if needed is None:
        st.warning(
            t("So small a difference takes thousands of places. Ask for a larger one."), icon=":material/warning:"
        )
    there = int(pair.found.where.sum())
    n = st.number_input(
        t("Places"),
        1,
        min(there, MOST_PLACES),
        min(needed or 100, there),
        key=f"{key}_n_{needed}",
        help=t("As proposed, four of five such differences are found."),
    )
    st.caption(t("About {duration} of looking.", duration=humanize.duration(n * SECONDS_PER_PLACE)))
    if st.button(
        t("Choose places where they differ"),
        type="primary",
        icon=":material/casino:",
        key=f"{key}_draw",
        width="stretch",
    ):
        seed = int(time.time()) & 0x7FFFFFFF
        current = two_maps.drawn(
            pair, scene.raster.grid, year, int(n), planned=way == ways[1], risk=risk / 100, seed=seed
        )
        two_maps.start(project, current, pair)
        st.session_state[key] = 0
        st.rerun()


# ------------------------------------------------------------------ after


def _verdict(project: Project, scene: OpenScene, current: Validation, made: ProjectMap) -> None:
    assert current.maps is not None
    first, second = current.maps.first, current.maps.second
    st.header(humanize.escape(f"{first.title} · {second.title}"))
    for number, sentence in enumerate(two_maps.sentences(current)):
        text = humanize.escape(relay(sentence))
        st.markdown(f"**{text}**" if not number else text)
    for sentence in validate.taught_sentences(project, current):
        st.warning(humanize.escape(relay(sentence)), icon=":material/school:")
    if moved := two_maps.differing_now(current, made.map.classes):
        st.caption(
            t(
                "Your map has changed since the places were drawn: at {moved} of them it says something else now. The verdict is "
                "about the map as it was; compare anew to judge the one of today.",
                moved=moved,
            )
        )
    with st.expander(t("Where they differ"), icon=":material/map:"):
        kept = two_maps.kept_maps(project, current)
        if kept is None:
            st.caption(t("The two maps did not come along with this project; the places and the answers did."))
        else:
            version = f"{scene.key}|{validate.path_of(project, current.year, two_maps=True)}|{hash(kept.tobytes())}"
            _map(project, scene, kept, version, f"{first.title} · {second.title}", "verdict")
        for sentence in two_maps.left_out_sentences(current):
            st.caption(humanize.escape(relay(sentence)))


def _map(project: Project, scene: OpenScene, pair: Bytes, version: str, title: str, name: str) -> None:
    """The two maps and where they differ; each can be hidden and laid beside the other."""
    colours = {c.id: c.color for c in project.log.classes}
    first, _, second = title.partition(" · ")
    layers = [
        Layer(f"{place}_map", said, partial(_classes_png, f"{version}|{place}|{colours}", scene, pair[k], colours),
              f"{version}|{place}|{colours}", opacity=0.8, visible=False)
        for k, (place, said) in enumerate((("first", first), ("second", second)))
    ]  # fmt: skip
    differ = Layer(
        "differ",
        t("Where they differ"),
        partial(_differ_png, version, scene, pair),
        version,
        opacity=0.8,
        legend=((_COLOUR, t("Different classes")),),
    )
    view_map.view_map(
        f"validate_two_maps_{name}_{project.key}",
        scene.display,
        view_map.MapContent([*canvas.layers(project, scene), *layers, differ]),
        tools=(),
        look=view_map.MapLook(height=400),
    )


@st.cache_data(max_entries=8, show_spinner=False)
def _classes_png(key: str, _scene: OpenScene, _classes: Bytes, _colours: Mapping[int, str]) -> bytes:
    return palette.encode(_scene.display.warp(_classes), _colours)


@st.cache_data(max_entries=8, show_spinner=False)
def _differ_png(key: str, _scene: OpenScene, _pair: Bytes) -> bytes:
    return palette.encode(_scene.display.warp(two_maps.where_different(_pair).astype("uint8")), {1: _COLOUR})

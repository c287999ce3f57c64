"""The page Region: the welcome with every way to start, or the open project at a glance.

What starts a project is in :mod:`tessera_core.project.library`; this module is what people see of it. Choosing a place on Earth
is in ``choose``, what is wrong with tiles in ``tiles``.
"""

from __future__ import annotations

import base64
import html
from collections.abc import Sequence
from typing import Any

import streamlit as st

from tessera_core._utils.partial import Failure
from tessera_core.areas import pixel_counts
from tessera_core.errors import InputError
from tessera_core.hosting import settings
from tessera_core.language import later, percentage, relay, t
from tessera_core.lessons import library as lessons
from tessera_core.project import library, registration
from tessera_core.project.project import Project
from tessera_core.raster import EmbeddingRaster, NoData
from tessera_core.render.canvas import PICTURES
from tessera_core.sources.local.npy import DEPRECATED as NPY_DEPRECATED
from tessera_core.sources.local.uploads import KINDS
from tessera_core.ui import canvas, frame, humanize, jobs, projects, shell, state
from tessera_core.ui.generate.page import show_outcome
from tessera_core.ui.help import checklist, words
from tessera_core.ui.region import chosen, starts, wanted
from tessera_core.ui.scene import OpenScene

KEEP_ADDRESS = later(
    "Keep the address of this page, as a bookmark or in a message to yourself: it leads back to "
    "this project from any browser."
)
_DEMO = "demo"
_WAITING = "region_demo_waiting"
# The folder of tiles of which it was said, once in a visit.
_TOLD_NPY = "region_told_npy"
_FRESH, _GO_ON = "fresh", "go on"
_REASONS = {
    NoData.WATER: "water",
    NoData.OUTSIDE: later("outside your region"),
    NoData.MISSING_TILE: later("not published"),
    NoData.BAD_TILE: later("bad tiles"),
    NoData.NO_OBSERVATIONS: later("never seen clearly"),
    NoData.TOO_FEW: later("seen clearly too few times"),
    NoData.YEAR_NOT_PUBLISHED: later("year not published there"),
    NoData.NOT_LAND: later("no tile of land"),
}
_NEXT_STEPS = later(
    "\n1. Name a class, for example Wood, and click a few places that show it.\n2. Do the same for "
    "another class: the map appears.\n3. Find where the map is wrong, click there, and watch it "
    "learn.\n4. Take the map with you on the page Export.\n"
)


def page() -> None:
    """Draw the page."""
    if chosen.is_open():
        # What reads stores and maps is not loaded for those who only want the demo.
        from tessera_core.ui.region import choose

        choose.page()
        return
    project = state.current_project()
    if project is None:
        st.title(t("Make a map from satellite data"))
        st.markdown(
            t(
                "Open a place, click a few examples of what you see, and watch the map fill in. No account and "
                "no code; everything stays on this computer."
            )
            if not state.hosted()
            else t("Open a place, click a few examples of what you see, and watch the map fill in.")
            + (t(" No account and no code.") if settings().enter.by == "anyone" else "")
        )
        # First: whoever knows the studio reads over one line, whoever does not looks no further than the first screen.
        st.page_link("pages/learn.py", label=t("New here? Learn it in lessons of 15 minutes"), icon=":material/school:")
        _ways_to_start()
        starts.welcome()
        words.caption(
            t(
                "Embeddings are numbers that say how each place changed through a year, as satellites saw it. A "
                "map can be learnt from them with a handful of examples."
            )
        )
        projects.recent()
    else:
        shell.unseen_title(t("Region"))
        opened = False
        with shell.plain_errors():
            starts.take_up(project)
            if project.settings.class_name:
                from tessera_core.ui.classroom import by_files

                by_files.tasks_of(project)
            wanted.panel(project)
            # Said by a note of theirs, below.
            registration.register_years(project)
            if not project.wanted or project.embeddings:
                _summary(project)
            opened = True
            if any(ref.provenance.source not in ("demo", "generated") for ref in project.embeddings.values()):
                from tessera_core.ui.region import holes, newer, tiles

                holes.panel(project, _REASONS)
                tiles.panel(project)
                newer.panel(project)
        starts.in_project(project)
        with st.expander(t("Open something else"), icon=":material/folder_open:", expanded=not opened):
            _ways_to_start()
            projects.recent()


def _summary(project: Project) -> None:
    scene = state.scene_for(project)
    raster = scene.raster
    labels = project.log.labels
    facts = {
        "Size": humanize.area(raster.grid),
        "Years": humanize.years(list(project.embeddings)),
        "Embeddings": f"{raster.provenance.title}, {relay(raster.provenance.origin)}",
        "Labels": t("{labels} in {classes} classes", labels=len(labels), classes=len(project.log.classes))
        if labels
        else t("none yet"),
    }
    with st.container(border=True):
        left, right = st.columns([1, 1], gap="medium")
        with left:
            st.header(t("Your region"))
            words.facts(facts)
            if state.hosted():
                st.info(t(KEEP_ADDRESS), icon=":material/bookmark:")
            details = raster.provenance.details
            # A raster of another program may have anything under the name of ours.
            told = [note for name in ("warnings", "notes") for note in _sentences(details.get(name))]
            if absent := _sentences(details.get("missing_tiles")):
                more = t(" and {absent} more", absent=len(absent) - 6) if len(absent) > 6 else ""
                told.append(
                    t(
                        "The publisher has nothing for {join}{more}; they stay blank.",
                        join=", ".join(absent[:6]),
                        more=more,
                    )
                )
            for note in [*told, *project.notes]:
                st.warning(humanize.escape(relay(note)), icon=":material/warning:")
            of_project, left_out = st.session_state.get("region_left_out", ("", []))
            for note in left_out if of_project == project.key else []:
                st.warning(note, icon=":material/warning:")
            show_outcome(project.settings)
            if "request" in project.region:
                from tessera_core.ui.region import loaded

                loaded.retry(project)
            if blank := _blank(raster):
                st.caption(blank)
            with st.container(horizontal=True):
                if st.button(
                    t("Go on labelling") if labels else t("Start labelling"),
                    type="primary",
                    icon=":material/draw:",
                    key="region_label",
                ):
                    st.switch_page("pages/label.py", query_params=state.query())
                if "request" in project.region:
                    loaded.add_years(project)
                if st.button(t("Close project"), icon=":material/close:", key="region_close"):
                    state.close_project()
                    st.rerun()
            if not labels:
                if not lessons.guides(project):
                    st.markdown(t(_NEXT_STEPS))
            elif sum(count > 0 for count in project.log.counts.values()) > 1:
                checklist.show(project)
        with right:
            frame.year_choice(project, "region")
            _show(scene, canvas.choice(project, scene, "region"))


def _show(scene: OpenScene, name: str) -> None:
    """The region in the picture that people chose, with what it shows."""
    told = PICTURES[name]
    # Streamlit's own pictures have no text for those who cannot see them.
    data = base64.b64encode(scene.thumbnail(name)).decode()
    sentence = relay(told.sentence)
    about = html.escape(f"{t(told.title)}. {sentence}")
    st.html(f'<img alt="{about}" src="data:image/png;base64,{data}" style="width:100%;image-rendering:pixelated">')
    st.caption(sentence)


def _blank(raster: EmbeddingRaster) -> str:
    """How many pixels have no data, and why; empty where hardly any."""
    counts = pixel_counts(raster.nodata_reasons(), len(NoData))
    empty = 1 - counts[NoData.VALID] / counts.sum()
    if empty <= 0.001:
        return ""
    total = counts.sum() - counts[NoData.VALID]
    why = [f"{t(_REASONS[reason])} {_percent(counts[reason] / total)}" for reason in _REASONS if counts[reason]]
    reasons = f" ({', '.join(why)})" if why and not counts[NoData.UNKNOWN] else ""
    return t(
        "{percent} of the pixels have no data{reasons}; they stay blank on the map.",
        percent=_percent(empty),
        reasons=reasons,
    )


def _percent(share: float) -> str:
    return f"{percentage(share)} %"


def _sentences(value: object) -> list[str]:
    return [entry for entry in value if isinstance(entry, str)] if isinstance(value, list) else []


def _ways_to_start() -> None:
    first, second = st.columns(2, gap="medium")
    with first.container(border=True, height="stretch"), shell.plain_errors():
        _demo()
    with second.container(border=True, height="stretch"), shell.plain_errors():
        _place()
    columns = st.columns(1 if state.hosted() else 2, gap="medium")
    if not state.hosted():
        with columns[0].container(border=True, height="stretch"), shell.plain_errors():
            _folder()
    with columns[-1].container(border=True, height="stretch"), shell.plain_errors():
        _upload()


def _go(project: Project, failed: Sequence[Failure] = ()) -> None:
    st.session_state["region_left_out"] = (project.key, [humanize.left_out(failure) for failure in failed])
    state.open_project(project)
    st.rerun()


# ------------------------------------------------------------------ demo


def _demo() -> None:
    st.header(t("Try the demo region"))
    st.markdown(t("Fields, woods, water and a town, two years, made by this computer for practice."))
    job = jobs.pool().get(_DEMO)
    if job is not None and job.active and jobs.mine(job):
        # Also in a session that only finds it running, such as the one after a reload.
        st.session_state.setdefault(_WAITING, _GO_ON)
        jobs.show(job)
        return
    # Forgotten only when it is made: a run that another overtakes loses nothing.
    if job is not None and (fresh := st.session_state.get(_WAITING)) is not None and jobs.outcome(job):
        project = library.start_demo(job.result, fresh=fresh == _FRESH)
        st.session_state.pop(_WAITING, None)
        _go(project)
    known = library.demo_projects()
    asked = st.button(t("Open the demo region"), type="primary", icon=":material/landscape:", key="region_demo")
    fresh = bool(known) and st.button(t("Start afresh"), icon=":material/note_add:", key="region_demo_fresh")
    if asked or fresh:
        with st.spinner(t("Opening the demo region…")):
            demo = library.take_demo()
        if demo is not None:
            st.session_state.pop(_WAITING, None)
            _go(library.start_demo(demo, fresh=fresh))
        st.session_state[_WAITING] = _FRESH if fresh else _GO_ON
        jobs.pool().start(_DEMO, t("Making the demo region"), library.make_demo)
        st.rerun()
    if known:
        st.caption(
            t(
                "Goes on in **{name}**, where you were last. Start afresh makes another project and leaves that "
                "one as it is.",
                name=humanize.escape(known[0].name),
            )
        )
    else:
        at_once = library.demo_at_once()
        st.caption(t("Opens at once.") if at_once else t("The first time takes about a minute and a half."))


# ------------------------------------------------------------------ a place on Earth


def _place() -> None:
    st.header(t("A place on Earth"))
    st.markdown(t("Published TESSERA embeddings of any place, 2017 on: draw it, type its name, or use a file."))
    if st.button(t("Choose a place"), icon=":material/travel_explore:", key="region_place"):
        chosen.open_here()
        st.rerun()
    st.caption(t("Needs the internet the first time; what was loaded stays on this computer."))


# ------------------------------------------------------------------ folder


def _folder() -> None:
    st.header(t("Open a folder"))
    st.markdown(
        t("Embeddings on this computer: tiles as they are published (.npy), a GeoTIFF, or what Tessera Studio made.")
    )
    path = st.text_input(t("Folder or file"), placeholder=t("for example ~/my-region"), key="region_folder")
    looked = st.button(t("Look inside"), icon=":material/search:", key="region_look")
    if not path.strip():
        if looked:
            st.error(t("Type or paste the path of a folder first."), icon=":material/error:")
        return
    with shell.plain_errors():
        found = _look(path)
        st.success(humanize.identified(found), icon=":material/check:")
        if found.npy_tiles and not st.session_state.get(_TOLD_NPY):
            st.session_state[_TOLD_NPY] = path
        if found.npy_tiles and st.session_state.get(_TOLD_NPY) == path:
            st.caption(relay(NPY_DEPRECATED))
        for failure in found.failed:
            st.warning(humanize.left_out(failure), icon=":material/warning:")
        name = st.text_input(t("Name of the project"), value=found.name, key=f"region_name_{found.name}")
        if st.button(t("Open it"), type="primary", key="region_open", icon=":material/arrow_forward:"):
            _go(library.start(found, name), found.failed)


def _look(path: str) -> library.Identified:
    """What is at a path; looked up again only when another path is given, since a GeoTIFF may have to be converted."""
    known = st.session_state.get("region_found")
    if known is None or known[0] != path:
        with st.spinner(t("Looking inside…")):
            known = st.session_state["region_found"] = (path, library.identify(path))
    return known[1]


# ------------------------------------------------------------------ upload


def _upload() -> None:
    st.header(t("Upload files"))
    st.markdown(
        t(
            "A project (.tessera), a pack that somebody handed out (.tesserapack), or embeddings: a pair of "
            "tile files (.npy), a GeoTIFF, a .zip of a tile folder."
        )
    )
    files = st.file_uploader(
        t("Files"),
        type=[*KINDS, "tessera", "tesserapack"],
        accept_multiple_files=True,
        key="region_files",
        label_visibility="collapsed",
    )
    if st.button(t("Open the files"), icon=":material/upload:", key="region_upload", disabled=not files):
        with shell.plain_errors(), st.spinner(t("Reading…")):
            failed: list[Failure] = []
            if any(file.name.lower().endswith(".tesserapack") for file in files):
                _go(_open_pack(files))
            _go(library.start_upload([(file.name, file) for file in files], failed), failed)


def _open_pack(files: Sequence[Any]) -> Project:
    """The first project of an uploaded pack; the others are in the list then.

    Raises:
        InputError: there are other files beside it.
        ProjectError: it is no pack.
    """
    from tessera_core.project import pack

    if len(files) > 1:
        raise InputError(t("Upload a pack alone, without other files beside it."))
    opened = pack.upload(files[0])
    if not state.hosted():
        from tessera_core.ui.learn import own

        own.taken_along(files[0])
    if len(opened) > 1:
        others = ", ".join(humanize.escape(project.name) for project in opened[1:])
        st.toast(
            t("The pack holds more projects: {others}. They are in the list of projects.", others=others),
            icon=":material/inventory_2:",
        )
    return opened[0]

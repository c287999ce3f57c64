"""The shell around every page: navigation, the header with project and provenance, and errors in plain words.

Everything a page may need before its first line is set up here; what a page shows is its own matter.
"""

from __future__ import annotations

import functools
import gc
import html
import importlib
import logging
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import numpy as np
import streamlit as st
from PIL.Image import Image, fromarray

from tessera_core._utils.int8 import kernels
from tessera_core.errors import Cancelled, Hint, TesseraError
from tessera_core.hosting import acting_for, hosted, may, offers_embeddings
from tessera_core.language import later, t
from tessera_core.ui import demo_rest, humanize, jobs, logs, people, projects, reception, sessions, speech, state
from tessera_core.ui.components import lesson, manners
from tessera_core.ui.help import words

if TYPE_CHECKING:
    from tessera_core.project.project import Project

log = logging.getLogger(__name__)

# Loaded while the person reads the first page, so that the first click on the map does not wait for them.
_HEAVY = (
    "rasterio",
    "tessera_core.sources.local.open",
    "tessera_core.render.picture",
    "pyproj",
    "tessera_core.heads",
    "tessera_core.project.classify",
    "tessera_core.session.live_map",
    "tessera_core.ui.label.page",
    "tessera_core.ui.region.choose",
    "tessera_core.ui.region.tiles",
)
_WARM_UP_DELAY = 1.5
_SHOWN = "shell_shown"
# Where an error can be put right: page, and what its link says.
_PAGES = {
    Hint.REGION: ("region", later("Choose a region")),
    Hint.LABELS: ("label", later("Label some places")),
    Hint.PLOTS: ("continuous", later("Bring field plots")),
    Hint.PACKS: ("data", later("Open a pack")),
    Hint.MAPS: ("data", later("See the maps of a folder")),
    Hint.GENERATE: ("generate", later("Make embeddings")),
}
# On a phone the line above every page is one line; the page Region has it in full.
_LOOKS = """<style>
/* What carries the lesson's messages, and what only loads a part of a page, takes no room. */
.st-key-studio_lesson, [data-testid="stLayoutWrapper"]:has(> .st-key-studio_lesson),
[class*="st-key-tessera_"][class*="_loader"] { position: absolute; }
.studio-languages { display: flex; flex-direction: column; gap: 0.25rem; }
.studio-languages a { padding: 0.35rem 0.5rem; border-radius: 0.4rem; color: inherit; text-decoration: none; }
.studio-languages a:hover, .studio-languages a:focus-visible { background: rgba(128, 128, 128, 0.2); }
.studio-languages a[aria-current] { font-weight: 600; }
.st-key-studio_header button { min-height: 1.75rem; padding-block: 0; }
/* What is chosen is the brightest of its row, in the dark too, where the colour of buttons would be the dimmest. */
[data-variant="segmented_control"][data-selected] p, [data-testid="stSliderThumbValue"] p { color: light-dark(#0b7a75, #6ad6ce); }
[data-variant="segmented_control"][data-selected] p { font-weight: 600; }
/* What can be chosen is all in sight, in two rows where one has no room. */
[data-testid="stButtonGroup"] > div { flex-wrap: wrap; row-gap: 4px; }
/* What is told for a moment lies over the page, never over the panel of a lesson beside it. */
[data-testid="stToastContainer"] { margin-right: var(--studio-beside, 0px); }
/* Circles of what is not chosen can be seen on white. */
[data-testid="stRadioOption"] > div > div:first-child { box-shadow: 0 0 0 1px #7d8a8c; }
/* The one button of the navigation on a phone has a name, which is also read out. */
[data-testid="stExpandSidebarButton"]::after { content: "__PAGES__"; margin-inline-start: 0.4rem; font-size: 0.95rem; }
[data-testid="stExpandSidebarButton"] { width: auto; }
/* A title that is read out, where the map needs the room of one that is seen. */
[data-testid="stElementContainer"]:has(h1.tessera-title) { position: absolute; }
h1.tessera-title { position: absolute; width: 1px; height: 1px; padding: 0; overflow: hidden; clip-path: inset(50%); }
/* Streamlit puts its side bar at the left, wherever a language begins. */
html[dir="rtl"] [data-testid="stApp"] { direction: ltr; }
html[dir="rtl"] :is([data-testid="stMainBlockContainer"], [data-testid="stSidebarContent"]) { direction: rtl; }
html[dir="rtl"] [data-testid="stMainBlockContainer"] [data-testid="stElementContainer"] { text-align: right; }
/* A finger hovers over nothing, so the tools of a table are always there: not on the text above it. */
@media (hover: none) { [data-testid="stElementContainer"]:has([data-testid="stDataFrame"]) { margin-top: 1.75rem; } }
/* Where there is little room, the map and what stands beside it have it, not the margin. */
@media (min-width: 641px) and (max-width: 1300px) { [data-testid="stMainBlockContainer"] { padding-inline: 1.5rem; } }
@media (max-width: 640px) {
  /* The places of a map are one row that is pushed along; the map has the room. */
  .st-key-studio_places { flex-wrap: nowrap; overflow-x: auto; scrollbar-width: none; }
  .st-key-studio_places > * { flex: none; }
  .st-key-studio_header { flex-wrap: nowrap; }
  .st-key-studio_header > * { min-width: 0; }
  .st-key-studio_header button { max-width: 60vw; }
  .st-key-studio_header p { white-space: nowrap; overflow: hidden; text-overflow: ellipsis; }
  .st-key-studio_header > *:last-child { flex: none; }
  /* Where both have no room, when it was saved is what changes. */
  .st-key-studio_header > *:has(+ .st-key-studio_saved), .st-key-studio_header > *:has(+ * .st-key-studio_saved) { display: none; }
  .st-key-studio_header > .st-key-studio_saved, .st-key-studio_header > *:has(.st-key-studio_saved) { flex: 1 1 auto; }
  .st-key-studio_language_choice button > div > [aria-hidden="true"] { display: none; }
  .st-key-studio_header [data-testid="stPageLink"] p,
  .st-key-studio_language_choice button p { position: absolute; clip-path: inset(50%); }
}
</style>"""
# Of Streamlit's own menu, what means something to people here: the choice between light and dark.
_MENU = """<style>
[data-testid="stMainMenuItem-print"], [data-testid="stMainMenuItem-recordScreencast"],
[data-testid="stMainMenuDivider"], [data-testid="stMainMenuList"] + * { display: none; }
</style>"""


class _Drawing:
    """Which pages are being drawn: while one is, nothing else is loaded that it does not need."""

    def __init__(self) -> None:
        self._pages = 0
        self._changed = threading.Condition()

    def __enter__(self) -> None:
        with self._changed:
            self._pages += 1

    def __exit__(self, *_: object) -> None:
        with self._changed:
            self._pages -= 1
            self._changed.notify_all()

    def wait(self, seconds: float = 5.0) -> bool:
        """Wait until no page is being drawn, but not for ever: on a busy server there always is one."""
        with self._changed:
            return self._changed.wait_for(lambda: self._pages == 0, seconds)


_drawing = _Drawing()


def run() -> None:
    """Build one run of the app; called by app.py and by nothing else."""
    st.set_page_config(page_title=t("Tessera Studio"), page_icon=_icon(), layout="wide")
    logs.set_up()
    speech.settle()
    sessions.present()
    state.mark_entered()
    page = st.navigation(
        [
            st.Page("pages/region.py", title=t("Region"), icon=":material/public:", default=True),
            st.Page("pages/explore.py", title=t("Explore"), icon=":material/travel_explore:"),
            st.Page("pages/label.py", title=t("Label"), icon=":material/draw:"),
            st.Page("pages/continuous.py", title=t("Continuous map"), icon=":material/straighten:"),
            st.Page("pages/validate.py", title=t("Validate"), icon=":material/fact_check:"),
            st.Page("pages/compare.py", title=t("Compare"), icon=":material/compare:"),
            st.Page("pages/export.py", title=t("Export"), icon=":material/download:"),
            st.Page(
                "pages/generate.py",
                title=t("Make embeddings"),
                icon=":material/satellite_alt:",
                visibility="visible" if offers_embeddings() else "hidden",
            ),
            st.Page("pages/data.py", title=t("Data"), icon=":material/folder_open:"),
            # On one's own computer it says how a class is begun, and is reached from the page Learn.
            st.Page(
                "pages/classroom.py",
                title=t("Class"),
                icon=":material/groups:",
                visibility="visible" if hosted() else "hidden",
            ),
            # For whoever runs a server for many; to others it says that there is no page.
            st.Page(
                "pages/server.py",
                title=t("Server"),
                icon=":material/dns:",
                visibility="visible" if hosted() and may(people.person(), "see the server") else "hidden",
            ),
            # Reached from the header of every page.
            st.Page("pages/help.py", title=t("Help"), icon=":material/help:", visibility="hidden"),
            st.Page("pages/learn.py", title=t("Learn"), icon=":material/school:", visibility="hidden"),
            # Addresses of the page Continuous map from before it had that name.
            st.Page(_continuous_map, title=t("Continuous map"), url_path="numbers", visibility="hidden"),
        ],
        position="top",
    )
    st.logo(_icon(), size="large")
    state.forward_deep_link()
    # After it is known which page was asked for, so that it is shown when there is room.
    reception.admit()
    # The projects of its list, and the copies made there, are the visitor's.
    with plain_errors(), acting_for(people.person()):
        state.restore_project()
        # The map of the page Label says itself when it was saved.
        header(saved=page.url_path != "label")
    jobs.entered(page.url_path)
    st.session_state[_SHOWN] = page.url_path or "region"
    if (project := state.current_project()) is not None and project.settings.lesson is not None:
        with st.container(key="studio_lesson", gap=None):
            lesson.loader()
            _lesson()
    with plain_errors(), acting_for(people.person()), _drawing:
        if not _paused(page.url_path):
            page.run()
    manners.load(speech.manners())
    _warm_up()
    _make_room()


def _paused(page: str) -> bool:
    """Draw the line of the class that the open project belongs to; whether its teacher has all look to the front."""
    project = state.current_project()
    if project is None or project.settings.classroom is None or page == "classroom":
        return False
    from tessera_core.ui.classroom import learner

    return learner.banner(project)


def _continuous_map() -> None:
    st.switch_page("pages/continuous.py", query_params=st.query_params.to_dict())


@st.cache_resource(ttl=86_400, show_spinner=False)
def _make_room() -> threading.Thread:
    """Once a day, and when the server starts: remove what nobody used for a while or wants back."""
    from tessera_core.project.deletion import sweep
    from tessera_core.project.room import remove_old

    def work() -> None:
        sweep()
        if removed := remove_old():
            log.info("Removed %d projects that nobody used for a while", len(removed))

    thread = threading.Thread(target=work, name="make-room", daemon=True)
    thread.start()
    return thread


@functools.cache
def _icon() -> Image:
    """The icon of the browser tab, drawn here because Streamlit would fetch an icon by name from the web."""
    mosaic = np.array([[11, 122, 117], [89, 201, 193], [226, 183, 20], [28, 37, 38]], np.uint8)
    pattern = np.array([[0, 0, 1, 2], [0, 1, 1, 2], [3, 1, 2, 2], [3, 3, 0, 0]])
    return fromarray(mosaic[pattern].repeat(16, 0).repeat(16, 1))


@contextmanager
def plain_errors() -> Iterator[None]:
    """Show what goes wrong inside as one sentence on the page; the unforeseen goes to the log file with its traceback."""
    try:
        yield
    except Cancelled as stopped:
        st.info(humanize.told(stopped), icon=":material/block:")
    except TesseraError as error:
        st.error(humanize.told(error), icon=":material/error:")
        page, label = _PAGES[error.hint] if error.hint is not None else ("", "")
        if page and page != st.session_state.get(_SHOWN) and (page != "generate" or offers_embeddings()):
            st.page_link(
                f"pages/{page}.py", label=t(label), icon=":material/arrow_forward:", query_params=state.query()
            )
    except Exception as error:
        log.exception("Unforeseen error")
        st.error(logs.unforeseen(error), icon=":material/error:")


def shielded[**P, R](function: Callable[P, R]) -> Callable[P, R | None]:
    """Decorator for fragments and callbacks, which run outside the page and so outside its :func:`plain_errors`."""

    @functools.wraps(function)
    def inner(*args: P.args, **kwargs: P.kwargs) -> R | None:
        with plain_errors(), acting_for(people.person()):
            return function(*args, **kwargs)
        return None

    return inner


def header(*, saved: bool = True) -> None:
    """One line above every page: the project, where its embeddings come from, when it was saved, and help."""
    project = state.current_project()
    st.html(_LOOKS.replace("__PAGES__", t("Pages")) + _MENU + words.STYLE)
    with st.container(horizontal=True, vertical_alignment="center", gap="small", key="studio_header"):
        if project is not None:
            projects.switcher(project)
        st.markdown(
            "" if project is None else f":small[:gray[{humanize.escape(_provenance(project))}]]", width="stretch"
        )
        if project is not None and saved:
            with st.container(width="content", key="studio_saved"):
                _saved()
        reception.account()
        speech.choice()
        st.page_link(
            "pages/help.py", label=t("Help"), icon=":material/help:", query_params=state.query(), width="content"
        )
    if project is not None:
        projects.strip(project)
    if hosted():
        reception.news()
    if project is not None and demo_rest.grows(project):
        _growing_demo()


@st.fragment(run_every=2)
@shielded
def _growing_demo() -> None:
    project = state.current_project()
    if project is not None:
        demo_rest.show(project)


@st.fragment
@shielded
def _lesson() -> None:
    project = state.current_project()
    if project is not None and project.settings.lesson is not None:
        from tessera_core.ui.lesson import panel

        with acting_for(people.person()):
            panel.show(project, st.session_state[_SHOWN], _did)


@shielded
def _did() -> None:
    project = state.current_project()
    if project is not None:
        from tessera_core.ui.lesson import panel

        with acting_for(people.person()):
            panel.answer(project)


def wants_region(sentence: str, title: str = "") -> None:
    """What a page shows before a region is open: its name, what has to be open for what, and the way there."""
    if title:
        st.title(title)
    st.info(sentence, icon=":material/public:")
    st.page_link("pages/region.py", label=t("Choose a region"), icon=":material/public:")


def unseen_title(title: str) -> None:
    """The title of a page whose map needs the room of one that is seen: screen readers read it, and go to it."""
    st.html(f'<h1 class="tessera-title">{html.escape(title)}</h1>')


def _provenance(project: Project) -> str:
    references = list(project.embeddings.values())
    if not references:
        return t("nothing loaded yet")
    line = humanize.provenance_line(references[-1].provenance, [reference.year for reference in references])
    return " · ".join(part for part in (_place(project), line) if part)


def _place(project: Project) -> str:
    """The town that a project's region lies at, where the list of places is loaded already and the region is a real one."""
    from tessera_core.geocoding import gazetteer

    grid = project.grid
    made_up = any(reference.provenance.simulated for reference in project.embeddings.values())
    if grid is None or not grid.georeferenced or made_up or not gazetteer.ready():
        return ""
    lon, lat = grid.pixel_to_lonlat(grid.height / 2, grid.width / 2)
    town, km = gazetteer.nearest(float(lon), float(lat))
    if km >= 50:
        return ""
    place = f"{town.name}, {town.country}"
    return t("at {name}", name=place) if km < 3 else t("near {name}", name=place)


@st.fragment(run_every=10)
@shielded
def _saved() -> None:
    project = state.current_project()
    if project is not None:
        st.caption(f":material/check: {humanize.saved(project.saved_at, time.time())}", width="content")


@st.cache_resource(show_spinner=False)
def _warm_up() -> threading.Thread:
    """Start loading the heavy libraries once per server, in the background."""

    def load() -> None:
        time.sleep(_WARM_UP_DELAY)
        for name in _HEAVY:
            _drawing.wait()
            try:
                importlib.import_module(name)
            except (ImportError, MemoryError, OSError) as error:
                log.warning("Could not load %s: %s", name, error)
        # Compiled on the first start of all, so that no click waits for it.
        kernels()
        # What the imports left behind lives as long as the server; later collections need not look at it again.
        gc.collect()
        gc.freeze()

    thread = threading.Thread(target=load, name="tessera-warm-up", daemon=True)
    thread.start()
    return thread

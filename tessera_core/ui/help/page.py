"""The page Help: the first steps, the words, the keys, what this is, and whom to tell when something is wrong."""

from __future__ import annotations

import html
import platform

import streamlit as st

from tessera_core import __version__
from tessera_core.hosting import Limits, acting_person, hosted
from tessera_core.language import later, t
from tessera_core.project import steps
from tessera_core.project.project import Project
from tessera_core.ui import humanize, logs, shell, state
from tessera_core.ui.help import pictures, words

_STEPS = later(
    "\n1. **Open a place.** The demo region opens at once; any place on Earth can be loaded with the "
    "internet.\n2. **Name two classes and click a few places of each.** The map appears with the "
    "second class.\n3. **Find where it is wrong, and click there.** Each click makes the map "
    "anew.\n4. **Check it by chance.** Look at places that are drawn for you; from that follow "
    "accuracy and areas that hold.\n5. **Take it with you**: a picture for a slide, a page to print, "
    "files for other programs.\n"
)
_KEYS = {
    "Label": [
        ("1 to 9", "choose a class"),
        ("D, B, P, R, E", "the tools: point, brush, polygon, rectangle, erase"),
        ("V or S", "select a label, move the map"),
        ("[ and ]", "size of the brush"),
        ("Z and Y", "undo and redo"),
        ("N", "next suggested place; then 1 to 9"),
        ("M", "hide or show the class map"),
        ("C", "the satellite picture or the embedding picture"),
        ("Space", "move the map while it is held"),
        ("Enter", "label at the cross, finish a polygon"),
        ("Escape", "end what was begun"),
    ],
    "Validate": [
        ("1 to 9", "what is there"),
        ("Y", "the map is right"),
        ("U", "cannot tell"),
        ("Z", "take the answer back"),
        ("Left and right arrow", "the place before, the next one"),
    ],
    "Every map": [("+ and −", "nearer, further"), ("Arrows", "move the map"), ("Two fingers", "move and zoom")],
}
_CREDITS = later(
    "\nTessera Studio is free software under the MIT licence. It stands on the work of others:\n\n- "
    "**TESSERA**, the model behind the published embeddings (Feng and others 2025, "
    "arXiv:2506.20380); geotessera brings them.\n- **Sentinel-1 and Sentinel-2** of the Copernicus "
    "programme, whose data are free for everybody.\n- **Place names** of "
    "[GeoNames](https://www.geonames.org) (CC BY 4.0), folded for the search.\n- Names that you look "
    "up online, and **street maps**, of OpenStreetMap contributors.\n- Streamlit, Leaflet, NumPy, "
    "PyTorch, scikit-learn, rasterio, GDAL, PROJ and many more, each under its own free licence.\n"
)


def page() -> None:
    """Build the page."""
    st.title(t("Help"))
    project = state.current_project()
    start, told, keys, wrong, about = st.tabs(
        [t("First steps"), t("Words"), t("Keys"), t("Something is wrong"), t("About")]
    )
    with start:
        st.markdown(t(_STEPS))
        st.page_link(
            "pages/learn.py", label=t("Lessons that show you how"), icon=":material/school:", query_params=state.query()
        )
        if project is not None and steps.HIDDEN in project.settings.steps_done:
            st.button(
                t("Show the next steps again"),
                icon=":material/checklist:",
                key="help_steps",
                on_click=shell.shielded(steps.hide),
                args=(project, False),
            )
        words.caption(
            t(
                "Words with a dotted line explain themselves: hover over them, or go there with the Tab key. "
                "Try it: embeddings."
            )
        )
    with told:
        _words()
    with keys:
        for where, rows in _KEYS.items():
            lines = [t("| Key | What it does |"), "|:--|:--|", *(f"| {key} | {what} |" for key, what in rows)]
            st.header(where)
            st.markdown("\n".join(lines))
    with wrong:
        _wrong(project)
    with about:
        st.markdown(
            t(
                "**Tessera Studio {version__}** turns satellite embeddings into a map you can trust: you click "
                "a few examples, it makes the map, says honestly how good it is, and where to click next.",
                version__=__version__,
            )
        )
        st.markdown(t(_CREDITS))
        st.header(t("Privacy"))
        st.markdown(_kept_of_you())


def _kept_of_you() -> str:
    """What this server keeps of whoever looks, in short; docs/privacy.md says all of it."""
    if not hosted():
        return t(
            "All that you do stays on this computer. Nothing is sent to the makers, and nothing is counted. "
            "What you ask for comes from the internet: the embeddings of a place, a name that you look up "
            "online, street maps."
        )
    days = Limits.read(acting_person().role).keep_days
    return t(
        "This server keeps your projects until you delete them, or until nobody has used them for "
        "{days} days; a name in a cookie, by which you find them again; and which events there were, "
        "never what is in a project. Errors are noted without what you typed, drew or uploaded. The "
        "address of a project works as a password: give it to those alone who may open it. Whoever runs "
        "this server is responsible for it, and tells you more.",
        days=days,
    )


def _words() -> None:
    wanted = st.text_input(t("Look for a word"), key="help_word", placeholder=t("for example interval"))
    found = [
        term
        for term in words.terms().values()
        if wanted.strip().casefold() in " ".join(map(t, (term.name, term.short, term.long, *term.also))).casefold()
    ]
    if not found:
        st.info(t("No word like that. Try another one, or a part of it."), icon=":material/search_off:")
    for term in found:
        also = t(" (also: {words})", words=", ".join(map(t, term.also))) if term.also else ""
        said = (
            f"<b>{html.escape(t(term.name))}</b>{html.escape(also)}<br>{html.escape(f'{t(term.short)} {t(term.long)}')}"
        )
        st.html(f'<div class="studio-word">{pictures.picture(term.name)}<p>{said}</p></div>')


def _wrong(project: Project | None) -> None:
    st.markdown(
        t(
            "Your work is saved after every click, so nothing is lost by loading the page again. If it goes "
            "wrong again, tell whoever gave you Tessera Studio:"
        )
    )
    st.markdown(t("- what you did just before, and what you expected;\n- the text below, and a picture of the screen."))
    opened = t("none open")
    if project is not None:
        opened = t(
            "{labels} labels, years {years}", labels=len(project.log.labels), years=humanize.years(project.years)
        )
    facts = [
        t("Tessera Studio {version__}", version__=__version__),
        t(
            "Python {python_version} on {system} {release}",
            python_version=platform.python_version(),
            system=platform.system(),
            release=platform.release(),
        ),
        t("Streamlit {version__}", version__=st.__version__),
        t("Project: {opened}", opened=opened),
    ]
    if not state.hosted():
        facts.append(t("Log file: {log_file}", log_file=logs.log_file()))
    st.code("\n".join(facts), language=None, wrap_lines=True)

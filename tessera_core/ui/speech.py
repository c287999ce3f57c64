"""Which language a session speaks: as its address asks (``?lang=de``), as was chosen here before, or as the browser does.

The choice is a link, so that the page is loaded anew and what runs in the browser speaks it too; a cookie remembers it.
"""

from __future__ import annotations

import functools
import html
from collections.abc import Callable, Mapping
from urllib.parse import urlencode

import streamlit as st
from streamlit.runtime.scriptrunner import get_script_run_ctx

from tessera_core.language import ENGLISH, LANGUAGES, RIGHT_TO_LEFT, ask_with, best, current, known, later, phrases, t
from tessera_core.ui import state
from tessera_core.ui.asgi import LANGUAGE_COOKIE

QUERY = "lang"
_KEY = "studio_language"
# What Streamlit's widgets say by themselves, which know English alone.
_OWN_WORDS = (
    later("Upload"),
    later("Drag and drop a file here"),
    later("Drag and drop files here"),
    later("{size} per file"),
    later("{n} more"),
    later("Choose an option"),
    later("Choose options"),
    later("No options to select"),
)


def settle() -> None:
    """Find out the session's language; at the beginning of every run."""
    ask_with(_of_session)
    asked = st.query_params.get(QUERY, "")
    if known(asked):
        st.session_state[_KEY] = asked
    elif _KEY not in st.session_state:
        headers = st.context.headers
        st.session_state[_KEY] = best(headers.get("Accept-Language") or "", st.context.cookies.get(LANGUAGE_COOKIE, ""))


def manners() -> dict[str, object]:
    """What the browser has to know: the language, its direction, under which name to remember it, and Streamlit's own words."""
    return {
        "language": current(),
        "rtl": current() == RIGHT_TO_LEFT,
        "cookie": LANGUAGE_COOKIE,
        "words": phrases(_OWN_WORDS),
    }


def dialog[**P](title: str) -> Callable[[Callable[P, None]], Callable[P, None]]:
    """``st.dialog`` with its title in the language that is spoken when it opens.

    Args:
        title: in English, marked by :func:`tessera_core.language.later`.
    """

    def decorated(draw: Callable[P, None]) -> Callable[P, None]:
        @functools.wraps(draw)
        def opened(*args: P.args, **options: P.kwargs) -> None:
            st.dialog(t(title))(draw)(*args, **options)

        return opened

    return decorated


def choice() -> None:
    """The choice of the language, for the header."""
    with st.popover(
        LANGUAGES.get(current(), current()), icon=":material/translate:", type="tertiary", key="studio_language_choice"
    ):
        st.html(
            f'<nav class="studio-languages" aria-label="{html.escape(t("Language"))}">{_links(state.query())}</nav>'
        )


def _links(query: Mapping[str, str]) -> str:
    return "".join(
        f'<a href="?{html.escape(urlencode({**query, QUERY: language}))}" lang="{language}"'
        f"{' aria-current="true"' if language == current() else ''}>{name}</a>"
        for language, name in LANGUAGES.items()
    )


def _of_session() -> str:
    # Outside a run, as in a job's thread, nobody is spoken to.
    if get_script_run_ctx(suppress_warning=True) is None:
        return ENGLISH
    return str(st.session_state.get(_KEY, ENGLISH))

"""The words of the studio: one file of terms, told where a word stands by hovering over it or going there by keyboard."""

from __future__ import annotations

import functools
import html
import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import streamlit as st

from tessera_core.language import current, t, using

# The word can be reached by keyboard, and what it means appears beneath it without the help of the server.
STYLE = """<style>
.studio-term { border-bottom: 1px dotted currentColor; cursor: help; position: relative; }
.studio-term > span { display: none; position: absolute; left: 0; top: 1.5em; z-index: 1000; width: max-content;
  max-width: min(20rem, 70vw); padding: 0.4rem 0.6rem; border-radius: 0.4rem; background: #1c2526; color: #ffffff;
  border: 1px solid rgba(128, 128, 128, 0.6);
  font-size: 0.85rem; line-height: 1.35; font-weight: 400; white-space: normal; }
.studio-term:hover > span, .studio-term:focus > span { display: block; }
.studio-word { display: flex; gap: 0.9rem; align-items: flex-start; }
.studio-word img { flex: none; width: 132px; height: 84px; }
.studio-word p { margin: 0; }
.studio-words { font-size: 0.9rem; line-height: 1.7; margin: 0; overflow-wrap: anywhere; }
</style>"""


@dataclass(frozen=True)
class Term:
    """A word of the studio.

    Attributes:
        name: as it stands on the screen.
        short: what it is, one line.
        long: two sentences for who wants more.
        also: other forms of the word.
        everyday: whether it means something else in most sentences, so that it is not explained where it stands.
    """

    name: str
    short: str
    long: str
    also: tuple[str, ...] = ()
    everyday: bool = False


@functools.cache
def terms() -> dict[str, Term]:
    """All terms by name, in alphabetical order."""
    known = tomllib.loads(Path(__file__).with_name("glossary.toml").read_text(encoding="utf-8"))
    made = [Term(name, **{**one, "also": tuple(one.get("also", ()))}) for name, one in known.items()]
    return {term.name: term for term in sorted(made, key=lambda term: term.name.casefold())}


@functools.cache
def _pattern(language: str) -> tuple[re.Pattern[str], dict[str, Term]]:
    spoken = [term for term in terms().values() if not term.everyday]
    with using(language):
        forms = {t(form).casefold(): term for term in spoken for form in (term.name, *term.also)}
    # The longest first: "class map" is not a class.
    words = "|".join(re.escape(form) for form in sorted(forms, key=len, reverse=True))
    return re.compile(rf"(?<!\w)({words})(?!\w)", re.IGNORECASE), forms


def marked(sentence: str) -> str:
    """A sentence as HTML in which each term is explained where it first stands; all else is text.

    >>> marked("A label & a wish").startswith('A <span class="studio-term" tabindex="0">label<span role="tooltip">')
    True
    """
    pattern, forms = _pattern(current())
    told: set[str] = set()
    out, at = [], 0
    for found in pattern.finditer(sentence):
        term = forms[found[0].casefold()]
        if term.name in told:
            continue
        told.add(term.name)
        out.append(html.escape(sentence[at : found.start()]))
        out.append(
            f'<span class="studio-term" tabindex="0">{html.escape(found[0])}<span role="tooltip">'
            f"{html.escape(t(term.short))}</span></span>"
        )
        at = found.end()
    return "".join([*out, html.escape(sentence[at:])])


def caption(sentence: str) -> None:
    """A sentence on the page, its terms explained."""
    st.html(f'<p class="studio-words">{marked(sentence)}</p>')


def facts(rows: Mapping[str, str]) -> None:
    """Facts on the page, a line each, the terms in their names explained."""
    lines = (f"<b>{marked(t(name))}:</b> {html.escape(text)}" for name, text in rows.items())
    st.html(f'<div class="studio-words">{"<br>".join(lines)}</div>')


def tip(name: str) -> str:
    """What a term is and more, for the ``help`` of a widget.

    Raises:
        KeyError: there is no such term.
    """
    term = terms()[name]
    return f"{t(term.short)} {t(term.long)}"

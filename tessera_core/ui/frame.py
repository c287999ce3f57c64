"""The frame of a page: what it says before a region is open, its parts that run by themselves, the year in sight, its context.

A page is a function that draws. What it looks at in one run is a :class:`PageContext` of its own; parts and callbacks are given
the open project, and do nothing where it was closed meanwhile, in another tab for example.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar, Literal

import streamlit as st

from tessera_core.language import later, t
from tessera_core.project.project import Project
from tessera_core.ui import humanize, shell, state


@dataclass(frozen=True)
class PageContext:
    """What a page looks at in one run; each page adds its own.

    Attributes:
        page: names the page in the keys of widgets and of the session.
        project: the open one.
    """

    page: ClassVar[str]
    project: Project

    def key(self, name: str) -> str:
        """Of a widget or a piece of session state of this page and project."""
        return f"{self.page}_{name}_{self.project.key}"


def opened(sentence: str, title: str = "") -> Project | None:
    """The open project; None before there is one, when the page says what has to be open for what, and the way there.

    A page that shows no title of its own gives it here.
    """
    project = state.current_project()
    if project is None:
        shell.wants_region(sentence, title)
    elif title:
        shell.unseen_title(title)
    return project


def answers(act: Callable[[Project], None]) -> Callable[[], None]:
    """Decorator of what answers a person, before the page is drawn anew: it is given the open project, its errors are told."""

    @shell.shielded
    @functools.wraps(act)
    def inner() -> None:
        project = state.current_project()
        if project is not None:
            act(project)

    return inner


def part(draw: Callable[[Project], None]) -> Callable[[], None]:
    """Decorator of a part of a page that is drawn anew by itself (a fragment): as :func:`answers`."""
    fragment: Callable[[], None] = st.fragment(answers(draw))
    return fragment


def year_choice(
    project: Project,
    page: str,
    label: str = later("Year"),
    *,
    about: str | None = None,
    shown: bool = False,
    width: Literal["content", "stretch"] = "content",
) -> int | None:
    """Which year is looked at, on every page the same; nothing is asked where there is one.

    Args:
        project: the open one; it remembers the choice.
        page: names the page in the key of the widget.
        label: for those who hear the page, and for all where it is ``shown``.
        about: what the choice means here.
    """
    years = sorted(project.embeddings, key=lambda year: year or 0)
    current = state.current_year(project)
    if len(years) > 1:
        key = f"{page}_year_{project.key}"
        st.segmented_control(
            t(label),
            years,
            default=current,
            required=True,
            key=key,
            format_func=humanize.year_name,
            on_change=shell.shielded(lambda: project.update(year=st.session_state[key])),
            label_visibility="visible" if shown else "collapsed",
            width=width,
            help=about,
        )
    return current

"""Two people on the page Validate: how many places are meant for two, how far they agree, and what counts where they differ."""

from __future__ import annotations

import streamlit as st

from tessera_core.language import relay, t
from tessera_core.project import second
from tessera_core.project.project import Project
from tessera_core.project.response import Opinion
from tessera_core.project.validate import Validation
from tessera_core.ui import humanize, shell
from tessera_core.ui.validate import response
from tessera_core.ui.validate.context import change, key_of, names_of, said_by_two

_SHARES = [0, 10, 25, 50, 75, 100]
# Places to settle that are shown at once; the next come as these are settled.
_SHOWN = 8


def two_people(project: Project, current: Validation) -> None:
    """Have a share of the places answered by two people, and settle those of which two say different things."""
    key = key_of(project, current)
    differing = second.differing(current)
    with st.expander(
        t("Two people, one place"), icon=":material/group:", expanded=bool(differing), key=f"{key}_two_people"
    ):
        st.caption(
            t(
                "People err, and the result should know it: have a share of the places answered by two, neither of whom sees "
                "what the other said. Where they differ, settle it here; what both said stays."
            )
        )
        share = st.select_slider(
            t("Places that two people answer"),
            _SHARES,
            value=25,
            format_func=lambda percent: t("{percent}\xa0% of them", percent=percent),
            key=f"{key}_share",
            help=t("They are drawn by chance, at least two of every class."),
        )
        meant = second.for_two(current, share / 100)
        st.button(
            t("Have {n} of {total} places answered by two", n=len(meant.doubled), total=len(current.sample)),
            icon=":material/group_add:",
            key=f"{key}_for_two",
            disabled=meant.doubled == current.doubled,
            on_click=_share,
            args=(project, current, share / 100),
        )
        if current.doubled:
            st.markdown(
                t("{n} of {total} places are meant for two.", n=len(current.doubled), total=len(current.sample))
            )
        for sentence in said_by_two(current):
            st.markdown(humanize.escape(relay(sentence)))
        if differing and not response.person(project, current):
            st.caption(t("Give your name above, so that it stands beside what you settle."))
        for place in differing[:_SHOWN]:
            _place(project, current, place)


def _place(project: Project, current: Validation, place: int) -> None:
    """One place: what each said, and the class that counts."""
    names, key = names_of(project) | {0: t("cannot tell")}, key_of(project, current)
    told = [(one.response.interpreter or t("no name"), one.class_id) for one in current.said(place)]
    answers = " · ".join(f"{who}: {names.get(said, str(said))}" for who, said in told)
    first = list(dict.fromkeys(said for _, said in told))
    row = st.columns([4, 3, 2], vertical_alignment="bottom")
    row[0].markdown(t("**Place {place}**", place=place + 1) + f"  \n{humanize.escape(answers)}")
    row[1].selectbox(
        t("Place {place} is", place=place + 1),
        [*first, *(one for one in names if one not in first)],
        format_func=lambda one: names.get(one, str(one)),
        index=None,
        placeholder=t("Choose what counts"),
        disabled=not response.person(project, current),
        key=f"{key}_final_{place}",
        on_change=_settle,
        args=(project, current, place, f"{key}_final_{place}"),
    )
    row[2].button(
        t("Look at it"),
        icon=":material/search:",
        key=f"{key}_look_{place}",
        width="stretch",
        on_click=_look,
        args=(key, place),
    )


@shell.shielded
def _share(project: Project, current: Validation, share: float) -> None:
    change(project, current, lambda newest: second.for_two(newest, share))


@shell.shielded
def _settle(project: Project, current: Validation, place: int, widget: str) -> None:
    chosen = st.session_state[widget]
    if chosen is None:
        return
    final = Opinion(class_id=chosen, response=response.given(project, current, decided=bool(chosen)))
    change(project, current, lambda newest: newest.settle(place, final))


def _look(key: str, place: int) -> None:
    st.session_state[key] = place

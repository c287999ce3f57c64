"""What stands behind the answers of the page Validate: how sure, from what, by whom; said once and kept for the next places."""

from __future__ import annotations

import streamlit as st

from tessera_core.language import later, relay, t
from tessera_core.project import second
from tessera_core.project.project import Project
from tessera_core.project.response import MAX_TEXT, Response, respond
from tessera_core.project.validate import Validation
from tessera_core.ui import humanize
from tessera_core.ui.validate.context import key_of

_SURE = {"sure": later("Sure"), "probably": later("Probably")}
_REASONS = (
    later("No picture is clear enough"),
    later("Several classes are mixed"),
    later("It lies on a border"),
    later("The class is not in the list"),
    later("It changed during the year"),
)


def form(project: Project, current: Validation) -> None:
    """Ask for it; every answer from now on is kept with what stands here."""
    key = key_of(project, current)
    st.segmented_control(
        t("How sure are you?"),
        list(_SURE),
        format_func=lambda one: t(_SURE[one]),
        default="sure",
        required=True,
        key=f"{key}_confidence",
        help=t("Counts for the answers from now on; where you cannot tell at all, say so instead of guessing."),
    )
    if current.doubled:
        # Of places for two nobody can answer before they said who they are.
        _name(project, current)
    with st.expander(t("Who you are, and what you look at"), icon=":material/person_edit:", key=f"{key}_who"):
        if not current.doubled:
            _name(project, current)
        layers = {layer.name: layer for layer in project.settings.base_layers}
        looked_at = st.selectbox(
            t("What you look at"),
            list(layers),
            index=None,
            accept_new_options=True,
            placeholder=t("Aerial picture, field visit, …"),
            key=f"{key}_evidence",
            help=t("A picture that lies under the map brings its date with it; or type what else it is."),
        )
        if looked_at in layers:
            st.caption(humanize.escape(relay(layers[looked_at].date_sentence(current.year))))
        st.text_input(
            t("Date of that"),
            max_chars=MAX_TEXT,
            key=f"{key}_evidence_date",
            placeholder=t("2023-06-14, or as far as it is known"),
        )
        st.selectbox(
            t("Where you cannot tell: why?"),
            _REASONS,
            format_func=lambda one: t(one) if one in _REASONS else one,
            index=None,
            accept_new_options=True,
            placeholder=t("Choose, or type another reason"),
            key=f"{key}_reason",
        )


def _name(project: Project, current: Validation) -> None:
    st.text_input(
        t("Your name"),
        max_chars=MAX_TEXT,
        key=f"{key_of(project, current)}_interpreter",
        help=t("It stands in the report."),
        on_change=_to_own,
        args=(project, current),
    )


def _to_own(project: Project, current: Validation) -> None:
    """To the first place that waits for whoever has just said who they are, where this one does not."""
    key, who = key_of(project, current), person(project, current)
    place = int(st.session_state.get(key, 0))
    following = second.next_for(current, who, place - 1) if who else None
    if following is not None:
        st.session_state[key] = following


def person(project: Project, current: Validation) -> str:
    """Who answers, as they call themselves; empty where they gave no name."""
    return str(st.session_state.get(f"{key_of(project, current)}_interpreter") or "")


def given(project: Project, current: Validation, *, decided: bool) -> Response:
    """What stands behind an answer that is given now; how sure only of a class, a reason only where it could not be told."""
    key = key_of(project, current)
    state = st.session_state
    evidence = str(state.get(f"{key}_evidence") or "")
    # Of a picture under the map its own date, where nobody typed another.
    told = next((one.date_for(current.year) for one in project.settings.base_layers if one.name == evidence), "")
    return respond(
        state.get(f"{key}_confidence", "") if decided else "",
        reason="" if decided else str(state.get(f"{key}_reason") or ""),
        evidence=evidence,
        evidence_date=str(state.get(f"{key}_evidence_date") or "") or told,
        interpreter=str(state.get(f"{key}_interpreter") or ""),
    )

"""The class on the wall: address and code in large type, how many are where, and scores where the teacher wants them."""

from __future__ import annotations

import html

import streamlit as st

from tessera_core.classroom import board, store
from tessera_core.classroom.model import Classroom, shown_code
from tessera_core.language import t, tn
from tessera_core.ui import humanize, shell
from tessera_core.ui.classroom import scores
from tessera_core.ui.classroom.addresses import address, qr

SHOWN = "class_projector"
LOOK_SECONDS = 3
# As many as can be read from the back of a room.
MOST_ON_WALL = 10
_LARGE = "<style>.st-key-class_wall [data-testid=stProgress] p { font-size: clamp(1rem, 1.6vw, 2rem); }</style>"


def show(on: bool) -> None:
    """Go to the wall, or back to the board."""
    st.session_state[SHOWN] = on


def draw(found: Classroom) -> None:
    """Draw the page as it hangs on the wall."""
    shell.unseen_title(t("Class"))
    with st.container(horizontal=True, horizontal_alignment="right"):
        scores_toggle(found, "class_scores_wall")
        st.button(
            t("Back to the board"), icon=":material/close:", key="class_project_off", on_click=show, args=(False,)
        )
    where = address(found.code)
    alt = html.escape(t("QR code of the address for learners"))
    st.markdown(
        '<div style="display:flex;gap:3rem;align-items:center;flex-wrap:wrap">'
        f'<img src="{qr(where)}" style="width:min(40vh,80vw)" alt="{alt}">'
        f'<div><div style="font-size:clamp(1.2rem,2.5vw,2.4rem)">{html.escape(where.split("?")[0])}</div>'
        f'<div style="font-size:clamp(3rem,11vw,11rem);font-weight:700;letter-spacing:.06em">{shown_code(found.code)}</div>'
        f'<div style="font-size:clamp(1.2rem,2.5vw,2.4rem)">{html.escape(found.name)}</div></div></div>',
        unsafe_allow_html=True,
    )
    with st.container(key="class_wall"):
        st.html(_LARGE)
        _wall(found.id)


def scores_toggle(found: Classroom, key: str) -> None:
    """Whether scores are shown side by side; off until the teacher turns it on."""
    key = f"{key}_{found.id}"

    def turned() -> None:
        store.change(found.id, scores=bool(st.session_state[key]))

    st.toggle(
        t("Show scores"),
        found.scores,
        key=key,
        on_change=shell.shielded(turned),
        help=t(
            "How often each learner's map is right at places held out, and how many labels that is made of. "
            "Off, nobody is compared."
        ),
    )


@st.fragment(run_every=LOOK_SECONDS)
@shell.shielded
def _wall(class_id: str) -> None:
    found = store.read(class_id)
    rows = board.rows(found)
    here = sum(row.state in ("working", "stuck") for row in rows)
    st.markdown(
        t("## {rows} joined, {here} here, {sum} labels", rows=len(rows), here=here, sum=sum(row.labels for row in rows))
    )
    if found.said:
        st.markdown(f"## {humanize.escape(found.said)}")
    if found.scores:
        _scores(found, rows)
        return
    counts: dict[tuple[int, str], int] = {}
    for row in rows:
        if row.steps:
            counts[row.step, row.doing] = counts.get((row.step, row.doing), 0) + 1
    for (step, doing), count in sorted(counts.items()):
        st.progress(count / len(rows), f"{step}. {humanize.escape(doing)}: {count}")


def _scores(found: Classroom, rows: list[board.Row]) -> None:
    order = scores.of_class(found, rows)
    scored = [one for one in order if one.held_out is not None]
    for one in scored[:MOST_ON_WALL]:
        assert one.held_out is not None
        st.progress(
            one.held_out,
            f"{one.rank}. **{humanize.escape(one.learner)}**: {scores.share(one.held_out, one.interval)} · {scores.made_of(one)}",
        )
    if (more := len(scored) - MOST_ON_WALL) > 0:
        st.caption(tn("{n} more has a score.", "{n} more have a score.", more))
    if waiting := len(rows) - len(scored):
        st.caption(tn("{n} has no score yet.", "{n} have no score yet.", waiting))
    if scored:
        st.caption(t(scores.NOTE))

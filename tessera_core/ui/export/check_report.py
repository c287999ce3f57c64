"""Check a report on the page Export: drop the file, and every number of it is computed anew from the open project."""

from __future__ import annotations

import streamlit as st

from tessera_core.export.report import ENDINGS, sealed_in
from tessera_core.language import relay, t
from tessera_core.lessons.record import lesson_of
from tessera_core.project.project import Project
from tessera_core.project.verify import Verdict, verify
from tessera_core.ui import frame, humanize

_SHOWN = 20


@frame.part
def check_report(project: Project) -> None:
    """A folded part of the page: a file, and what is to be said of it."""
    with st.expander(t("Check a report"), icon=":material/fact_check:"):
        st.caption(
            t(
                "Was a report of this project changed after it was made, and do its numbers still follow from "
                "the project? Choose the file; nothing of it is kept."
            )
        )
        file = st.file_uploader(
            t("Report (HTML, PDF or JSON)"),
            [ending.removeprefix(".") for ending in ENDINGS],
            key=f"export_check_{project.key}",
        )
        if file is None:
            return
        sealed = sealed_in(file.getvalue(), file.name)
        with st.spinner(t("Computing every number anew …")):
            found = verify(sealed, project, lesson=lesson_of(project))
        _say(found)


def _say(found: Verdict) -> None:
    lines = [humanize.escape(relay(line)) for line in found.sentences()]
    if found.holds:
        st.success(lines[0], icon=":material/check_circle:")
    else:
        st.error(lines[0], icon=":material/error:")
    rest = lines[1:]
    for line in rest[:_SHOWN]:
        st.markdown(line)
    if len(rest) > _SHOWN:
        st.caption(t("And {rest} more; “tessera verify” names all of them.", rest=len(rest) - _SHOWN))

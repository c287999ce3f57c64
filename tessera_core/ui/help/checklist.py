"""What is worth doing after the first map, as a quiet list that ticks itself; it can be put away and brought back."""

from __future__ import annotations

import streamlit as st

from tessera_core.language import later, t
from tessera_core.lessons import library as lessons
from tessera_core.project import steps
from tessera_core.project.project import Project
from tessera_core.ui import shell

_SAID = {
    steps.CORRECT: later("Find where the map is wrong, and label it"),
    steps.SUGGESTED: later("Label a suggested place (press N)"),
    steps.CONFIDENCE: later("Look at “How good is it?”"),
    steps.CHECK: later("Check ten places by chance, on the page Validate"),
    steps.TAKE: later("Take it with you, on the page Export"),
}


def show(project: Project) -> None:
    """The list, for a project that has a map; nothing once all is done, it was put away, or while a lesson leads."""
    known = project.settings.steps_done
    if steps.HIDDEN in known or not steps.open_steps(project) or lessons.guides(project):
        return
    lines = [
        f":gray[:material/check_box: {t(said)}]" if step in known else f":material/check_box_outline_blank: {t(said)}"
        for step, said in _SAID.items()
    ]
    with st.container(border=True, gap="small", key="studio_steps"):
        st.markdown(t("**Next steps** :small[{done} of {all}]", done=len(steps.done(project)), all=len(_SAID)))
        st.markdown("  \n".join(f":small[{line}]" for line in lines))
        st.button(
            t("Put this list away"),
            type="tertiary",
            key=f"steps_hide_{project.key}",
            on_click=shell.shielded(steps.hide),
            args=(project,),
            help=t("It can be brought back on the page Help."),
        )

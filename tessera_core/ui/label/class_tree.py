"""The panel of classes as a tree: its text, the trees that come with the program, and the counts at each level."""

from __future__ import annotations

import streamlit as st

from tessera_core.language import later, t
from tessera_core.project.project import Project
from tessera_core.session.labelling import LabelSession
from tessera_core.ui import humanize
from tessera_core.ui.label import tasks
from tessera_core.ui.scene import OpenScene


def panel(session: LabelSession, project: Project, scene: OpenScene, ready: bool) -> None:
    """The tree in use with its counts, or a form for one."""
    from tessera_core.labels.schema import SHIPPED, adopt, parse_tree

    tree = project.class_tree
    if tree is not None:
        lines = [
            f"{'&nbsp;' * 4 * row.depth}{humanize.escape(row.name)} :small[:gray[{row.below or ''}]]"
            for row in tree.rows(project.log.classes, project.log.counts)
        ]
        st.markdown("  \n".join(lines))
        st.caption(t("Label at any level. Numbers: labels of a class and everything beneath it."))
        st.button(
            t("Take the tree away (classes stay)"),
            key=f"label_tree_off_{project.key}",
            width="stretch",
            on_click=lambda: project.update(schema=None),
        )
        tasks.said("tree")
        return
    key = f"label_tree_text_{project.key}"

    def fill() -> None:
        chosen = st.session_state[f"label_tree_pick_{project.key}"]
        if chosen in SHIPPED:
            st.session_state[key] = SHIPPED[chosen].to_text()

    st.selectbox(
        t("Begin with"),
        [later("your own"), *SHIPPED],
        format_func=t,
        key=f"label_tree_pick_{project.key}",
        on_change=fill,
    )
    text = st.text_area(
        t("One class a line, indented beneath the class above it"),
        key=key,
        height=180,
        placeholder=t("Woodland\n  Broadleaved\n  Coniferous\nGrassland"),
    )

    def use() -> str:
        parsed = parse_tree(text)
        added = adopt(project.log, parsed)
        project.update(schema=parsed.to_json())
        return t("{added} classes added; undo takes them back.", added=added)

    st.button(
        t("Use this tree"),
        disabled=not text.strip(),
        key=f"label_tree_use_{project.key}",
        width="stretch",
        on_click=lambda: tasks.say("tree", use),
    )
    tasks.said("tree")

"""The panel that sorts all pixels into clusters, without labels, and makes labels of those that got names."""

from __future__ import annotations

from typing import TYPE_CHECKING

import streamlit as st

from tessera_core.language import percentage, t
from tessera_core.project.project import Project
from tessera_core.session.labelling import LabelSession
from tessera_core.types import Cancel, Progress
from tessera_core.ui.label import tasks
from tessera_core.ui.scene import OpenScene

if TYPE_CHECKING:
    from tessera_core.analysis.clusters import Clusters

CLUSTER_LABELS = 20
CLUSTERS_FIRST = 8


def panel(session: LabelSession, project: Project, scene: OpenScene, ready: bool) -> None:
    """Find clusters, name them, and label them by their names."""
    from tessera_core.analysis.clusters import cluster_tree
    from tessera_core.session import layers

    st.caption(t("Sort all pixels into groups that look alike, without labels; then name the groups you recognise."))

    def work(progress: Progress, cancelled: Cancel) -> object:
        return cluster_tree(scene.raster, progress=progress, cancelled=cancelled)

    key = f"groups {project.key} {scene.key}"
    tree = tasks.job(key, t("Find groups"), work)
    if tree is None:
        return
    k = tree.finest
    if k > 2:
        k = st.slider(
            t("Groups, from coarse to fine"),
            2,
            tree.finest,
            min(CLUSTERS_FIRST, tree.finest),
            key=f"label_k_{key}",
            help=t(
                "One step finer splits one group in two; all others stay as they are. Names stay with their pixels."
            ),
        )
    found = session.cut_clusters(tree, k)
    colours = layers.cluster_colours(k)
    total = int(found.sizes.sum())
    # Names belong to the finest groups, so that they survive merging and splitting.
    names: dict[int, str] = st.session_state.setdefault(f"label_group_names_{key}", {})
    named = {}
    for number, (size, members) in enumerate(zip(found.sizes.tolist(), tree.members(k), strict=True), 1):
        box = f"display:inline-block;width:1.1em;height:1.1em;border-radius:3px;vertical-align:-2px;background:{colours[number]}"
        left, right = st.columns([2, 3], vertical_alignment="center")
        left.html(f"<span style='{box}'></span>&ensp;{percentage(size / total)} %")
        same = {names.get(leaf, "") for leaf in members}
        name = same.pop() if len(same) == 1 else ""
        field = f"label_group_{key}_{number}"
        st.session_state[field] = name
        right.text_input(
            t("Name of group {number}", number=number),
            key=field,
            placeholder=t("named in parts") if same else t("name it, or leave it"),
            label_visibility="collapsed",
            max_chars=80,
            on_change=_name_cluster,
            args=(names, members, field),
        )
        if name:
            named[number] = name
    st.caption(
        t(
            "Groups of the same name become one class. {CLUSTER_LABELS} places spread over each are labelled.",
            CLUSTER_LABELS=CLUSTER_LABELS,
        )
    )
    st.button(
        t("Make labels of the named groups"),
        disabled=not named,
        key=f"label_promote_{key}",
        width="stretch",
        on_click=lambda: tasks.say("groups", lambda: _promote(session, project, found, named)),
    )
    tasks.said("groups")


def _name_cluster(names: dict[int, str], members: list[int], field: str) -> None:
    names.update(dict.fromkeys(members, str(st.session_state[field]).strip()))


def _promote(session: LabelSession, project: Project, found: Clusters, named: dict[int, str]) -> str:
    from tessera_core.session.similar import label_area

    areas = [(found.labels == number, name) for number, name in named.items()]
    count = label_area(project.log, session.live.raster, areas, t("named group"), count=CLUSTER_LABELS)
    session.used = found
    groups = t("a group") if len(named) == 1 else t("{named} groups", named=len(named))
    return t("{count} labels made of {groups}. Undo takes them back.", count=count, groups=groups)

"""The panel that chooses how the map is made from labels."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import streamlit as st

from tessera_core.language import relay, t
from tessera_core.project.classify import head_choice, label_samples
from tessera_core.project.project import Project
from tessera_core.session.labelling import LabelSession
from tessera_core.session.reading import is_instant
from tessera_core.ui import humanize
from tessera_core.ui.scene import OpenScene

if TYPE_CHECKING:
    from tessera_core.heads import HeadChoice


def _counts_evenly(choice: HeadChoice) -> bool | None:
    """Whether a head gives every class the same say; None where it cannot be told to, or has a weight for each class."""
    from tessera_core.heads import HEADS

    own = HEADS[choice.name]().get_params() if choice.name in HEADS else {}
    if "class_weight" not in own or isinstance(choice.class_weight, tuple):
        return None
    return (own["class_weight"] if choice.class_weight == "own" else choice.class_weight) == "balanced"


def _comparison(project: Project, scene: OpenScene) -> None:
    """Asks the labels at hand whether class means or logistic regression suit them; what was said stays until they change."""
    key, state = f"label_suits_{project.key}", [project.log.version, scene.raster.provenance.dataset]
    if st.button(
        t("Which method suits these labels?"),
        key=f"{key}_ask",
        help=t(
            "Two methods (class means and logistic regression) are judged at the same places held out. Nothing is changed."
        ),
    ):
        from tessera_core.assess.head_comparison import compare_heads

        with st.spinner(t("Both methods are judged ...")):
            samples = label_samples(project.log.labels, project.log.classes, scene.raster)
            st.session_state[key] = state, compare_heads(samples).sentence
    known, sentence = st.session_state.get(key, (None, ""))
    if known == state:
        st.caption(humanize.plain(relay(sentence)))


def panel(session: LabelSession, project: Project, scene: OpenScene, ready: bool) -> None:
    """The head, what it looks at, and how classes count."""
    from tessera_core.heads import CHOICES
    from tessera_core.heads.choice import EVERY_LABEL

    choice = head_choice(project)
    options = list(dict.fromkeys([*CHOICES, choice.name]))

    def keep(setting: str, key: str) -> Callable[[], None]:
        return lambda: project.update(**{setting: st.session_state[key]})

    key = f"label_head_{project.key}"
    st.selectbox(
        t("How the map is made from your labels"),
        options,
        index=options.index(choice.name),
        format_func=lambda name: relay(CHOICES[name]).partition(":")[0].strip() if name in CHOICES else name,
        key=key,
        on_change=keep("head", key),
    )
    about = relay(CHOICES.get(choice.name, "")).partition(":")[2].strip()
    if about:
        st.caption(f"{about[0].upper()}{about[1:]}")
    for told in session.live.told(project.log, choice) if ready else ():
        st.caption(humanize.plain(relay(told)))
    if ready and choice.name in ("prototype", "logistic"):
        _comparison(project, scene)
    if choice.name != "unet":
        key = f"label_context_{project.key}"
        st.segmented_control(
            t("What it looks at"),
            [1, 3, 5],
            default=choice.neighbourhood,
            required=True,
            format_func=lambda n: t("Pixel") if n == 1 else f"{n} x {n}",
            key=key,
            on_change=keep("neighbourhood", key),
            help=t(
                "The pixel alone, or with its neighbours. Neighbours smooth the map and blur narrow things; it "
                "takes longer."
            ),
            width="stretch",
        )
    evenly = _counts_evenly(choice)
    if evenly is not None:
        # Heads have rules of their own, so the switch belongs to one head.
        key = f"label_evenly_{project.key}_{choice.name}"
        st.toggle(
            t("Classes count the same"),
            evenly,
            key=key,
            on_change=lambda: project.update(class_weight="balanced" if st.session_state[key] else EVERY_LABEL),
            help=t(
                "On: a class with few labels weighs as much as one with many. Off: each label weighs the same, "
                "so classes with many labels are mapped more often."
            ),
        )
    if choice.parents:
        key = f"label_certainty_{project.key}"
        st.slider(
            t("Sure enough for the finer class, %"),
            0,
            95,
            round(100 * choice.confidence_threshold),
            5,
            key=key,
            on_change=lambda: project.update(confidence_threshold=st.session_state[key] / 100),
            help=t("Where the map is less sure than this, it shows the class above in your tree."),
        )
    if not is_instant(choice):
        st.caption(t("A quick map follows your clicks; this method's own map replaces it when it is ready."))

"""The panel that removes single odd pixels, and says whether that makes the map better or worse."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import streamlit as st

from tessera_core.errors import TesseraError
from tessera_core.language import later, localized, numeral, percentage, relay, t
from tessera_core.observations import ELBOW, percent
from tessera_core.project.classify import head_choice, label_samples
from tessera_core.project.project import Project
from tessera_core.session.labelling import LabelSession, PostProcessed
from tessera_core.types import Cancel, Progress
from tessera_core.ui import humanize
from tessera_core.ui.label import tasks
from tessera_core.ui.scene import OpenScene

if TYPE_CHECKING:
    from tessera_core.analysis.postprocess import PostProcessing
    from tessera_core.heads import HeadChoice

POST_PROCESSING_NAMES = {
    "majority": later("Most frequent of its neighbours"),
    "sieve": later("Smallest patch"),
    "potts": later("Smooth edges, weighing certainty"),
}


def panel(session: LabelSession, project: Project, scene: OpenScene, ready: bool) -> None:
    """Choose how single odd pixels go, look at it, and say whether exports go without them."""
    from tessera_core.analysis.postprocess import PostProcessing, pixels_of

    _seldom_seen(project, scene)
    if not ready:
        st.caption(t("Once there is a map, single odd pixels can be removed here."))
        return
    st.caption(t("Remove single odd pixels, and see whether that makes the map better or worse."))
    method = st.radio(
        t("How"),
        list(POST_PROCESSING_NAMES),
        format_func=lambda one: t(POST_PROCESSING_NAMES[one]),
        key=f"label_tidy_how_{project.key}",
    )
    size, hectares, beta = 3, 0.1, 1.0
    grid = scene.raster.grid
    if method == "majority":
        size = st.segmented_control(
            t("Square that is looked at"),
            [3, 5, 7],
            default=3,
            required=True,
            format_func=lambda n: t("{n} x {n} pixels", n=n),
            key="label_tidy_size",
        )
    elif method == "sieve":
        hectares = st.number_input(t("Smallest patch, hectares"), 0.01, 1000.0, 0.1, 0.05, key="label_tidy_ha")
        if grid.georeferenced:
            st.caption(
                t(
                    "That is {pixels_of} pixels; smaller patches go to their largest neighbour.",
                    pixels_of=pixels_of(hectares, grid),
                )
            )
    else:
        beta = st.slider(t("Strength"), 0.2, 3.0, 1.0, 0.2, key="label_tidy_beta")
    post_processing = PostProcessing(str(method), int(size), float(hectares), float(beta))
    version, choice = project.log.version, head_choice(project)
    labels, classes = project.log.labels, project.log.classes

    def work(progress: Progress, cancelled: Cancel) -> object:
        return _post_processed_layer(scene, labels, classes, version, choice, post_processing, progress, cancelled)

    done = tasks.job(
        f"tidy {project.key} {scene.key} {version} {choice} {post_processing}",
        t("Preview"),
        work,
    )
    if done is not None:
        session.post_processed = done
        st.markdown(f":small[{humanize.escape(relay(done.sentence))}]")
    used = project.settings.post_processing == post_processing.to_json()
    if st.toggle(t("Export the map tidied like this"), used, key=f"label_tidy_use_{post_processing}") != used:
        project.update(post_processing=None if used else post_processing.to_json())


def _seldom_seen(project: Project, scene: OpenScene) -> None:
    """Whether the finished map leaves out what satellites saw too rarely, and what that costs; nothing where nobody counted."""
    used = project.settings.least_seen
    if scene.depth is None or (scene.depth.below_elbow == 0 and used is None):
        return
    taken = scene.left_out(used or ELBOW)
    wanted = st.toggle(
        t("Leave out pixels seen fewer than {times} times", times=used or ELBOW),
        used is not None,
        key=f"label_careful_{project.key}",
        help=t(
            "Two embeddings of the same ground agree best from {times} clear days on. What is left out is missing in files, "
            "reports and checks of the map; the map on this page shows it, and labels there still teach.",
            times=ELBOW,
        ),
    )
    share = localized(percent(taken.share or 0))
    area = "" if taken.hectares is None else t(" ({hectares} ha)", hectares=numeral(taken.hectares, ",.1f"))
    st.caption(
        t("Left out: {share} of the region{area}.", share=share, area=area)
        if wanted
        else t("It would take {share} of the region{area}.", share=share, area=area)
    )
    if wanted != (used is not None):
        project.update(least_seen=ELBOW if wanted else None)


def _post_processed_layer(
    scene: OpenScene,
    labels: Any,
    classes: Any,
    version: int,
    choice: HeadChoice,
    post_processing: PostProcessing,
    progress: Progress,
    cancelled: Cancel,
) -> PostProcessed:
    from tessera_core.assess.postprocess import score_post_processing
    from tessera_core.heads import make_head, predict_raster
    from tessera_core.project.classify import fit_labels

    head = fit_labels(labels, scene.raster, choice, cancelled=cancelled)
    rough = predict_raster(head, scene.raster, cancelled=cancelled).classes
    smooth = post_processing(rough, scene.raster, head, cancelled)
    score, sentence = None, ""
    try:
        samples = label_samples(labels, classes, scene.raster)
        score = score_post_processing(
            samples,
            make_head(choice),
            scene.raster,
            lambda m, h: post_processing(m, scene.raster, h, cancelled),
            cancelled=cancelled,
            progress=progress,
        )
        sentence = score.sentence
    except TesseraError as error:
        if cancelled():
            raise
        changed = float((rough != smooth).sum()) / max(int((rough > 0).sum()), 1)
        sentence = t(
            "{value} % of the map changed. Whether it is better cannot be said yet: {error}",
            value=percentage(changed, 1),
            error=humanize.told(error),
        )
    return PostProcessed(post_processing, version, choice, smooth, score, sentence)

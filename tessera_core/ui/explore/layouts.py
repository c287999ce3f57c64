"""How the scatter's pixels are laid out by UMAP: the ways there are, why one would take which, and what makes the picture."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import streamlit as st

from tessera_core.analysis import embedding_space, umap_learn
from tessera_core.analysis.embedding_space import Picture, Way
from tessera_core.language import later, numeral, t
from tessera_core.ui import humanize, jobs, shell
from tessera_core.ui.explore.context import PAGE, ExploreContext

AXES = {"2-D": 2, "3-D": 3}


@dataclass(frozen=True)
class _Offer:
    """A way to lay pixels out, as people choose it.

    Attributes:
        name: short.
        why: when to take it, in sentences.
        start_s, pixel_s: seconds it takes on a free computer, and more for each pixel.
    """

    name: str
    why: str
    start_s: float
    pixel_s: float

    def seconds(self, pixels: int) -> float:
        """About how long so many pixels take."""
        return self.start_s + self.pixel_s * pixels


# Figures of quick and full: docs/performance.md, two quiet cores, umap-learn's start in its own process included; that of
# years aligned is an estimate from them.
_OFFERS = {
    Way.QUICK: _Offer(
        later("Quick"),
        later(
            "Quick is the first choice because 20,000 pixels took it 7 s and 50,000 took it 28 s, "
            "umap-learn 45 and 62 s and 22 s to begin, and it kept near neighbours together as well "
            "(trustworthiness 0.887 and 0.882, continuity 0.939 and 0.943)."
        ),
        1,
        0.00053,
    ),
    Way.FULL: _Offer(
        later("Full (umap-learn)"),
        later(
            "The layout that publications show, by the package umap-learn. Pixels labelled by now are "
            "placed in it by its transform."
        ),
        50,
        0.001,
    ),
    Way.GUIDED: _Offer(
        later("Guided by labels (umap-learn)"),
        later(
            "Labelled pixels of one class draw together and take their like along: it shows what your "
            "classes claim, and which pixels no class does. It shows what you taught it, so it is no proof "
            "that classes differ."
        ),
        50,
        0.001,
    ),
    Way.ALIGNED: _Offer(
        later("Years aligned (umap-learn)"),
        later(
            "The same places in every year; each year a picture of its own, turned and bent to fit the "
            "others. Colour by year to see what moved."
        ),
        80,
        0.002,
    ),
}


def choose_way(context: ExploreContext, row: st.delta_generator.DeltaGenerator) -> None:
    """The choice of a way, in a row of controls."""
    row.selectbox(
        t("Layout"),
        _ways(context),
        key=context.key("way"),
        format_func=lambda way: t(_OFFERS[way].name),
        width=230,
        help=None if umap_learn.is_here() else umap_learn.missing(),
    )


def pixel_count(context: ExploreContext) -> int:
    """How many pixels are wanted."""
    return int(st.session_state.get(context.key("count")) or 20_000)


def axes_count(context: ExploreContext) -> int:
    """How many axes are wanted."""
    return AXES[st.session_state.get(context.key("axes")) or "2-D"]


def picture_path(context: ExploreContext) -> Path:
    """Where the picture that is wanted is kept, be it there or not."""
    count, axes = pixel_count(context), axes_count(context)
    return embedding_space.umap_path(context.project.folder, context.content, count, axes, _way(context))


def picture_version(context: ExploreContext) -> str:
    """Names what is kept there now."""
    path = picture_path(context)
    return f"{path.stem} {path.stat().st_mtime_ns if path.exists() else 0}"


def picture(context: ExploreContext) -> Picture | None:
    """The picture that is wanted, where it is made."""
    return (
        _loaded(str(picture_path(context)), picture_version(context), context)
        if picture_path(context).exists()
        else None
    )


@st.cache_resource(max_entries=2, show_spinner=False)
def _loaded(path: str, version: str, _place: ExploreContext) -> Picture | None:
    return embedding_space.load_umap(Path(path), _place.rasters)


def picture_ready(context: ExploreContext) -> bool:
    """Whether there is a picture to show; else its progress is drawn, or what to do for one."""
    path = picture_path(context)
    key = f"umap {path}"
    job = jobs.pool().get(key)
    if job is not None and job.active:
        jobs.wait_on(PAGE, key)
        jobs.show(job)
        return False
    if job is not None and jobs.outcome(job) and path.exists():
        jobs.pool().forget(key)
        st.rerun()
    way, count, found = _way(context), pixel_count(context), picture(context)
    lay_out: dict[str, Any] = {"key": context.key("umap"), "on_click": _start, "args": (context, key)}
    if found is not None:
        if way is Way.GUIDED and found.made_from != embedding_space.labels_digest(context.project.log.labels):
            st.caption(t("Your labels have changed since this picture was made."))
            st.button(t("Lay out again"), icon=":material/refresh:", **lay_out)
        return True
    st.markdown(t("UMAP lays pixels out so that those which behave alike lie together. It is made once and kept."))
    if _OFFERS[way].why:
        st.markdown(t(_OFFERS[way].why))
    st.button(
        t("Lay out {count} pixels", count=numeral(count, ",")),
        type="primary",
        icon=":material/scatter_plot:",
        **lay_out,
    )
    seconds = humanize.duration(_OFFERS[way].seconds(count))
    st.caption(
        t(
            "About {seconds} on two free processor cores; you can go on with other tabs of this page meanwhile.",
            seconds=seconds,
        )
    )
    return False


def _ways(context: ExploreContext) -> list[Way]:
    if not umap_learn.is_here():
        return [Way.QUICK]
    offered = [Way.QUICK, Way.FULL]
    if len({label.class_id for label in context.project.log.labels}) > 1:
        offered.append(Way.GUIDED)
    if len(context.scenes) > 1:
        offered.append(Way.ALIGNED)
    return offered


def _way(context: ExploreContext) -> Way:
    wanted = st.session_state.get(context.key("way"))
    return wanted if wanted in _ways(context) else Way.QUICK


@shell.shielded
def _start(context: ExploreContext, key: str) -> None:
    path, rasters = picture_path(context), context.rasters
    plan = embedding_space.UmapPlan(
        pixel_count(context), axes_count(context), _way(context), context.project.log.labels
    )
    jobs.pool().start(
        key,
        t("Laying out the pixels"),
        lambda progress, cancelled: bool(
            embedding_space.make_umap(rasters, plan, path, progress=progress, cancelled=cancelled)
        ),
    )

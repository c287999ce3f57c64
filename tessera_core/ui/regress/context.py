"""What the parts of the page Continuous map share: what is looked at, and the map and score that belong to it.

A quick head is computed at once, a slow one in the background; both are kept by what they were made from, so that looking
about, renaming and going away and back compute nothing again.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar

import streamlit as st

from tessera_core.errors import TesseraError
from tessera_core.labels.model import LabelClass
from tessera_core.labels.plots import Plot, digest
from tessera_core.language import relay, t
from tessera_core.project.project import Project
from tessera_core.project.regress import (
    REGRESSION_CHOICES,
    RegressionChoice,
    RegressionMap,
    RegressionScore,
    chosen_measure,
    map_plots,
    plots_in,
    require_plots,
    score_plots,
)
from tessera_core.ui import jobs, results, state
from tessera_core.ui.frame import PageContext
from tessera_core.ui.scene import OpenScene

PAGE = "continuous"
MAP = "continuous_map"
# Up to so many pixels the quick head makes its map within a second or so.
AT_ONCE = 1_500_000


@dataclass(frozen=True)
class RegressContext(PageContext):
    """What the page looks at in one run.

    Attributes:
        year: of the map.
        scene: its embeddings.
        measure: what is mapped, or None while nothing was measured.
        plots: of it.
        choice: the head.
    """

    page: ClassVar[str] = PAGE
    year: int | None
    scene: OpenScene
    measure: LabelClass | None
    plots: list[Plot]
    choice: RegressionChoice

    @classmethod
    def of(cls, project: Project, year: int | None = None) -> RegressContext:
        """Of the open project, in the year that is looked at.

        Raises:
            TesseraError: embeddings are gone or cannot be read.
        """
        year = state.current_year(project) if year is None else year
        measure = chosen_measure(project)
        return cls(
            project,
            year,
            state.scene_for(project, year),
            measure,
            plots_in(project, measure),
            RegressionChoice.from_settings(project.settings),
        )

    @cached_property
    def content(self) -> str:
        """Names what the map is made from; equal for equal maps."""
        return f"{self.scene.key}|{digest(self.plots)}|{self.choice.name}|{self.choice.neighbourhood}"

    @property
    def unit(self) -> str:
        """Of the number, with a space before it; empty where it is not known."""
        return f" {self.measure.code}" if self.measure is not None and self.measure.code else ""

    @property
    def title(self) -> str:
        """What is mapped, with its unit."""
        if self.measure is None:
            return ""
        return f"{self.measure.name} ({self.measure.code})" if self.measure.code else self.measure.name

    @property
    def problem(self) -> str:
        """Why there can be no map, or empty."""
        try:
            require_plots(self.plots, self.scene.raster)
        except TesseraError as error:
            return relay(error)
        return ""


def regression_map(context: RegressContext) -> RegressionMap | None:
    """The map, or None while it is being made; only where there is no :attr:`RegressContext.problem`."""
    made: RegressionMap | None = _result(
        context,
        "map",
        t("Making the map: {name}", name=relay(REGRESSION_CHOICES[context.choice.name]).partition(":")[0].strip()),
        lambda progress, cancelled: map_plots(
            context.plots, context.scene.raster, context.choice, progress=progress, cancelled=cancelled
        ),
    )
    return made


def regression_score(context: RegressContext) -> RegressionScore | None:
    """How good the map is, or None while that is being worked out."""
    score: RegressionScore | None = _result(
        context,
        "score",
        t("Testing on plots it has not seen"),
        lambda progress, cancelled: score_plots(
            context.plots, context.scene.raster, context.choice, progress=progress, cancelled=cancelled
        ),
    )
    return score


def known_score(context: RegressContext) -> RegressionScore | None:
    """The score if it is there already."""
    score: RegressionScore | None = results.kept(PAGE).get(_key(context, "score"))
    return score


def known_map(context: RegressContext) -> RegressionMap | None:
    """The map if it is there already."""
    made: RegressionMap | None = results.kept(PAGE).get(_key(context, "map"))
    return made


def _key(context: RegressContext, what: str) -> str:
    return f"{PAGE} {what} {context.content}"


def _result(context: RegressContext, what: str, title: str, work: Any) -> Any:
    key = _key(context, what)
    _only(context, what, key)
    height, width = context.scene.raster.shape
    if not context.choice.instant or height * width > AT_ONCE:
        return results.result_of(PAGE, key, title, work, t("Try again"))
    known = results.kept(PAGE).get(key)
    if known is None:
        with st.spinner(t("Making the map…") if what == "map" else t("Testing on plots it has not seen…")):
            known = work(None, None)
        results.kept(PAGE).put(key, known)
    return known


def _only(context: RegressContext, what: str, key: str) -> None:
    """Stop the work for plots or a method that are no longer the chosen ones."""
    mark = context.key(f"job_{what}")
    before = st.session_state.get(mark)
    if before not in (None, key):
        job = jobs.pool().get(before)
        if job is not None:
            jobs.leave(job)
    st.session_state[mark] = key

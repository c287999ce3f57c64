"""Part of the page Region: pixels that are missing, made here from satellite images and joined where they agree.

What is missing, how it is made and whether it may be joined is in :mod:`tessera_core.project.filling`.
"""

from __future__ import annotations

import os
from collections.abc import Mapping

import streamlit as st

from tessera_core._utils.torch_part import has_torch, how_to_add
from tessera_core.assess.holes import MARGIN, DisagreementError
from tessera_core.hosting import offers_embeddings
from tessera_core.language import later, numeral, percentage, relay, t
from tessera_core.periods import Period
from tessera_core.project import filling, load
from tessera_core.project.filling import How, Lack
from tessera_core.project.library import typed_path
from tessera_core.project.project import Project
from tessera_core.raster import EmbeddingRaster, NoData
from tessera_core.ui import humanize, jobs, shell, state
from tessera_core.ui.generate import acquire

_PIXEL_KM2 = 1e-4
_OWN_FILE = later("A file of mine…")
_ARCHIVES = {"mpc": later("Planetary Computer"), "aws": "AWS"}


def panel(project: Project, reasons: Mapping[NoData, str]) -> None:
    """The panel, where a year has pixels that are missing, or some that were made here; ``reasons`` in words."""
    year = state.current_year(project)
    scene = state.scene_for(project)
    # What is published is of calendar years.
    if year is None or isinstance(year, Period) or not scene.raster.grid.georeferenced:
        return
    lack, told = scene.lack, filling.filled_sentence(project, year)
    if not lack.pixels and not told:
        return
    with st.container(border=True), shell.plain_errors():
        st.header(t("Missing pixels of {year}", year=year))
        if told:
            _filled(project, year, told)
        if lack.pixels:
            _missing(project, year, scene.raster, reasons)


def _filled(project: Project, year: int, told: str) -> None:
    st.success(humanize.escape(relay(told)), icon=":material/join:")
    if st.button(t("Use only what was published"), icon=":material/undo:", key="holes_undo"):
        filling.unfill(project, year)
        jobs.pool().forget(_key(project, year))
        st.rerun()


def _key(project: Project, year: int) -> str:
    return f"holes-{project.key}-{year}"


def _missing(project: Project, year: int, raster: EmbeddingRaster, reasons: Mapping[NoData, str]) -> None:
    lack = state.scene_for(project).lack
    total = raster.shape[0] * raster.shape[1]
    why = ", ".join(t(reasons[reason]) for reason in lack.reasons if reason in reasons)
    st.markdown(
        t(
            "{pixels} pixels ({percent} %) are missing{why}.",
            pixels=numeral(lack.pixels, ","),
            percent=percentage(lack.pixels / total, 1),
            why=f" ({why})" if why else "",
        )
    )
    if lack.refused:
        st.caption(
            t(
                "{pixels} others were seen too rarely, so the publisher gives them no embedding; they stay blank, because what "
                "so few images say would not fit the rest.",
                pixels=numeral(lack.refused, ","),
            )
        )
    job = jobs.pool().get(_key(project, year))
    if job is not None and job.active:
        jobs.show(job)
        st.caption(t("You can label meanwhile. If you cancel, the next run goes on from here."))
        return
    if state.hosted() or not offers_embeddings():
        st.caption(t("They can be made from satellite images, on a computer of your own: `tessera fill`."))
        return
    if not has_torch():
        st.info(
            t(
                "They can be made here from satellite images. This needs the part of Tessera Studio that generates "
                "embeddings: {how_to_add}.",
                how_to_add=how_to_add(),
            ),
            icon=":material/info:",
        )
        return
    if job is not None and not jobs.outcome(job) and isinstance(job.error, DisagreementError):
        found = job.error.agreement
        st.caption(
            t(
                "Likeness, 1 being the same: {cosine} usually, {cosine2} at the least alike hundredth; {value} % of the stored "
                "numbers are equal, of {pixels} pixels",
                cosine=numeral(found.cosine_median, ".4f"),
                cosine2=numeral(found.cosine_p1, ".4f"),
                value=percentage(found.equal_codes, 1),
                pixels=numeral(found.pixels, ","),
            )
        )
    _offer(project, year, raster, lack)


def _offer(project: Project, year: int, raster: EmbeddingRaster, lack: Lack) -> None:
    fitting, source = filling.fitting_weights(raster.provenance)
    how = None
    if not lack.comparable:
        st.markdown(
            t(
                "Too few published pixels lie around them to know whether what is made here belongs to the rest. It can be "
                "made as a dataset of its own."
            )
        )
    else:
        st.markdown(
            t(
                "They can be made here from satellite images: exactly these, and {margin} pixels around each gap, where the "
                "new ones are compared with the published. Only if they are practically the same do they join the map, "
                "and which pixels were made here is kept.",
                margin=MARGIN,
            )
        )
        how = _how(fitting, source)
    fetched, kept = filling.cost(raster, lack, year)
    if how is not None:
        with st.container(horizontal=True, gap="medium"):
            area = t("{km2} km²", km2=numeral(lack.to_make * _PIXEL_KM2, ",.2f"))
            st.metric(t("To make"), area, width="content")
            st.metric(t("To fetch, very roughly"), humanize.size(fetched), width="content")
            st.metric(t("On disk"), humanize.size(kept), width="content")
        if how.source == "aws" and not os.environ.get("EARTHDATA_TOKEN"):
            st.info(
                t(
                    "The radar images on AWS are NASA's and need its free Earthdata token in the environment "
                    "variable EARTHDATA_TOKEN; without it they will probably be missing. Planetary Computer needs "
                    "none."
                ),
                icon=":material/key:",
            )
    with st.container(horizontal=True):
        if how is not None and st.button(
            t("Make these pixels"), type="primary", icon=":material/satellite_alt:", key="holes_make"
        ):
            _start(project, year, how)
        request = load.request_of(project)
        if request is not None and st.button(
            t("Make all of {year} as its own dataset", year=year), icon=":material/library_add:", key="holes_whole"
        ):
            acquire.prefill(request.region, year)
            st.switch_page("pages/generate.py", query_params=state.query())


def _how(fitting: str, source: str) -> How | None:
    """With which model and images; None while there is none."""
    weights: str = fitting
    if not fitting:
        st.caption(t("Nobody knows which model made these embeddings; give its checkpoint if you have it."))
    with st.expander(t("More choices"), icon=":material/tune:", expanded=not fitting):
        options = [*([fitting] if fitting else []), _OWN_FILE]
        weights = st.selectbox(
            t("Model"), options, format_func=lambda name: t(name) if name == _OWN_FILE else name, key="holes_model"
        )
        if weights == _OWN_FILE:
            weights = st.text_input(t("Checkpoint file"), key="holes_weights", persist_state="session").strip()
            weights = str(typed_path(weights)) if weights else ""
        archive = st.selectbox(
            t("Where the images come from"),
            list(_ARCHIVES),
            index=list(_ARCHIVES).index(source),
            format_func=lambda name: t(_ARCHIVES[name]),
            key="holes_archive",
            help=t("Where the images are fetched from. The models TESSERA 1.1 come in one version for each."),
        )
    return How(weights, archive) if weights else None


def _start(project: Project, year: int, how: How) -> None:
    jobs.pool().forget(_key(project, year))
    jobs.pool().start(
        _key(project, year),
        t("Making the missing pixels of {year}", year=year),
        lambda progress, cancelled: filling.fill_year(project, year, how, progress, cancelled),
    )
    st.rerun()

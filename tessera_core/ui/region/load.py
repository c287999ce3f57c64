"""Part of the page Region: years and dataset, the preflight card, and loading in the background until there is a project.

The looking is in :mod:`tessera_core.sources.remote.coverage`, the loading in :mod:`tessera_core.project.load`.
"""

from __future__ import annotations

import datetime as dt
import secrets
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import streamlit as st

from tessera_core.errors import InputError, MixedDatasetsError, ProjectError
from tessera_core.hosting import offers_embeddings
from tessera_core.language import later, numeral, percentage, relay, t, tn
from tessera_core.project import load
from tessera_core.project.folders import safe_name
from tessera_core.project.jobs import Job
from tessera_core.project.project import Project
from tessera_core.project.request import FIRST_YEAR, EmbeddingRequest, title_of
from tessera_core.region import RESOLUTION_M, Region
from tessera_core.sources.remote.coverage import Coverage, YearCover, request_text, survey
from tessera_core.sources.remote.datasets import Dataset, dataset_named, datasets
from tessera_core.sources.remote.tile_list import YearDepth
from tessera_core.ui import humanize, jobs, people, seats, state, tables
from tessera_core.ui.generate import acquire
from tessera_core.ui.region import chosen
from tessera_core.ui.region.chosen import DATASET, DIM, STORE, YEARS

_ALSO, _INTO, _TOKEN = "place_also", "place_into", "place_token"
_ABOUT = {
    "1.0/vultr": later("TESSERA 1.0: the first public model; most regions have 2024, some all years"),
    "1.1/dclimate": later("TESSERA 1.1: the global run, 2017 on"),
    "1.1/cambridge": later("TESSERA 1.1: a test run by Cambridge, few regions"),
    "2.0/2B-L~beta1": later("TESSERA 2.0 beta 1: the newest family, few regions yet"),
    "2.0/2B-L~beta2": later("TESSERA 2.0 beta 2: the newest family, few regions yet"),
}
_STATES = {
    "covered": later("complete"),
    "partial": later("partly there"),
    "missing": later("missing"),
    "water": later("water"),
}


# ------------------------------------------------------------------ what is wanted


def choose(region: Region) -> EmbeddingRequest | None:
    """The form; None while no year is chosen."""
    last = dt.date.today().year - 1
    options = sorted({*range(FIRST_YEAR, last + 1), *st.session_state.get(YEARS, [])})
    if YEARS not in st.session_state:
        st.session_state[YEARS] = [last - 1]
    years = st.pills(t("Years"), options, selection_mode="multi", key=YEARS, persist_state="session", wrap=True)
    known = {dataset.name: dataset for dataset in datasets() if dataset.location}
    store = "" if state.hosted() else str(st.session_state.get(STORE, ""))
    name = st.selectbox(
        t("Version of the embeddings"),
        list(known),
        format_func=lambda name: _dataset_line(known[name]),
        key=DATASET,
        persist_state="session",
        disabled=bool(store.strip()),
        help=t(
            "A dataset is one run of one version of the model. Numbers of two datasets mean different "
            "things and are never mixed in one project. The default covers most places and years."
        ),
    )
    if not store.strip():
        st.caption(_why(known[name]))
    with st.expander(t("Advanced"), icon=":material/tune:"):
        if not state.hosted():
            store = st.text_input(
                t("Another store"),
                placeholder=t("address (URL) or folder of a store in the published layout"),
                key=STORE,
                persist_state="session",
                help=t("Read instead of the dataset above, for example a mirror in your institute."),
            ).strip()
        sizes: list[int | str] = ["all", 64, 32, 16]
        dim = st.selectbox(
            t("Numbers a pixel"),
            sizes,
            format_func=lambda size: t("all") if size == "all" else str(size),
            key=DIM,
            persist_state="session",
            help=t(
                "Fewer numbers are quicker to load. Only datasets of TESSERA 2 are made for it; others lose accuracy."
            ),
        )
    if not years:
        st.info(t("Choose at least one year."), icon=":material/calendar_today:")
        return None
    return EmbeddingRequest(
        region, tuple(sorted(years)), "" if store else name, store, dim if isinstance(dim, int) else None
    )


def _dataset_line(dataset: Dataset) -> str:
    about = t(_ABOUT[dataset.name]) if dataset.name in _ABOUT else f"TESSERA {dataset.name}: {dataset.description}"
    return t("{about} (the usual one)", about=about) if dataset.default else about


def _why(dataset: Dataset) -> str:
    if dataset.default:
        return t(
            "The usual choice: made for all land (59 S to 84 N) and every year since 2017. Below you see "
            "what it has of your place."
        )
    return t("Not the usual choice; take it to go on with work that began with it.")


# ------------------------------------------------------------------ the preflight card


def card(request: EmbeddingRequest) -> YearCover | None:
    """The card and what follows from it; returns the year whose tiles the map shows, if anything is known."""
    load_job = jobs.pool().get(_load_key(request))
    if load_job is not None and _loading(request, load_job):
        return None
    if problem := too_large(request):
        st.error(problem, icon=":material/error:")
        return None
    project = state.current_project()
    here = load.in_cache(request)
    look = jobs.pool().get(_look_key(request))
    if look is not None and look.active:
        with st.container(border=True):
            jobs.show(look)
        return None
    found: list[Coverage] | None = look.result if look is not None and jobs.outcome(look) else None
    if len(here) == len(request.years):
        with st.container(border=True):
            st.success(
                tn(
                    "{years} of this region is on this computer already; no network is needed.",
                    "{years} of this region are on this computer already; no network is needed.",
                    len(here),
                    years=humanize.years(list(request.years)),
                ),
                icon=":material/download_done:",
            )
            _load_button(request, project, t("Open it"))
    elif found is None:
        others = [d.name for d in datasets() if d.location and d.name != request.dataset]
        with st.container(border=True):
            st.markdown(t("Look first: what is available of this place, how much to fetch and how long it will take."))
            also = (
                st.multiselect(
                    t("Compare with"),
                    others,
                    key=_ALSO,
                    persist_state="session",
                    placeholder=t("no other version"),
                    format_func=lambda name: _dataset_line(dataset_named(name)),
                )
                if not request.store
                else []
            )
            if st.button(t("See what is available"), type="primary", icon=":material/search:", key="place_look"):
                _look(request, also)
                st.rerun()
        return None
    if found is None:
        return None
    return _coverage_card(request, project, found, here)


def _look_key(request: EmbeddingRequest) -> str:
    return f"look-{request.key}"


def _look(request: EmbeddingRequest, also: Sequence[str]) -> None:
    asked = [request.source, *(dataset_named(name) for name in also)]
    jobs.pool().forget(_look_key(request))
    jobs.pool().start(
        _look_key(request),
        t("Looking up what is available"),
        lambda progress, cancelled: survey(
            request.region, asked, years=request.years, dim=request.dim, progress=progress, cancelled=cancelled
        ),
    )


def _coverage_card(
    request: EmbeddingRequest, project: Project | None, found: list[Coverage], here: tuple[int, ...]
) -> YearCover | None:
    cover, by_name = found[0], {dataset.name: dataset for dataset in datasets()}
    with st.container(border=True):
        st.header(t("What is available"))
        _table(found)
        untold = [
            other.dataset for other in found if other.dataset in by_name and not by_name[other.dataset].tells_water
        ]
        if untold:
            st.caption(
                t(
                    "{dataset} does not tell water from land: lakes, rivers and sea near land have embeddings like land. Only "
                    "open sea counts as water here.",
                    dataset=humanize.escape(", ".join(untold)),
                )
            )
        for other in found:
            if other.problem:
                st.error(humanize.escape(other.problem), icon=":material/cloud_off:")
        if cover.problem:
            with st.container(horizontal=True):
                if st.button(t("Look again"), icon=":material/refresh:", key="place_again"):
                    jobs.pool().forget(_look_key(request))
                    st.rerun()
            _gaps(request, cover, list(request.years))
            return None
        usable = [year for year in cover.years if year.valid > 0]
        none = [year.year for year in cover.years if year.valid == 0]
        with st.container(horizontal=True, gap="medium"):
            st.metric(t("To fetch, at most"), humanize.size(sum(year.fetch_bytes for year in usable)), width="content")
            seconds = [year.seconds for year in usable]
            known = [s for s in seconds if s is not None]
            time_text = humanize.duration(sum(known)) if len(known) == len(seconds) and known else t("not known yet")
            st.metric(t("Time, about"), time_text if usable else "none", width="content")
            st.metric(t("Memory"), humanize.size(cover.memory_bytes), width="content")
            st.metric(t("On disk"), humanize.size(sum(year.disk_bytes for year in usable)), width="content")
        looked = t("every pixel") if cover.exact else t("a sample of squares in every tile")
        speed = t(" at {size} a second, as measured", size=humanize.size(int(cover.speed))) if cover.speed else ""
        st.caption(
            t(
                "{shape} x {shape2} pixels of 10 m. Looked at {looked}; time{speed}.",
                shape=numeral(cover.shape[1], ","),
                shape2=numeral(cover.shape[0], ","),
                looked=looked,
                speed=speed,
            )
        )
        if cover.depth is not None:
            # What the publisher's list of tiles says, before a single pixel is read.
            st.caption(" ".join(humanize.plain(relay(sentence)) for sentence in cover.depth.sentences))
        if none:
            st.warning(
                t("Of {years} there is nothing here", years=humanize.years(none))
                + (
                    t("; only {years} will be loaded.", years=humanize.years([y.year for y in usable]))
                    if usable
                    else "."
                ),
                icon=":material/block:",
            )
        if usable:
            wanted = replace(request, years=tuple(year.year for year in usable))
            if len(here) < len(request.years):
                count = len(usable)
                _load_button(
                    wanted,
                    project,
                    t("Load {years}", years=humanize.years(list(wanted.years)))
                    if count < 4
                    else t("Load {count} years", count=count),
                    asked=request,
                )
        _gaps(request, cover, [year.year for year in cover.years if not year.complete])
    return _shown_year(cover)


def _shown_year(cover: Coverage) -> YearCover | None:
    """The year whose tiles are drawn on the map; the first with gaps."""
    with_gaps = [year for year in cover.years if not year.complete]
    return next(iter(with_gaps or cover.years), None)


def _table(found: Sequence[Coverage]) -> None:
    rows: list[dict[str, Any]] = []
    seen = any(cover.depth is not None for cover in found)
    for cover in found:
        listed = {} if cover.depth is None else {year.year: year for year in cover.depth.years}
        for year in cover.years:
            missing = [tile for tile in year.tiles if tile.state in ("missing", "partial")]
            rows.append(
                {
                    "Dataset": cover.dataset + (t(" (the usual one)") if cover.default else ""),
                    "Year": str(year.year),
                    "Covered": 100 * year.valid,
                    "Water": 100 * year.water,
                    "Tiles complete": t(
                        "{tiles} of {tiles2}", tiles=len(year.tiles) - len(missing), tiles2=len(year.tiles)
                    ),
                    "To fetch": "nothing" if year.cached or not year.valid else humanize.size(year.fetch_bytes),
                    "Time": _time(year),
                    "Here already": t("yes") if year.cached else t("no"),
                    **(_seen(listed.get(year.year)) if seen else {}),
                }
            )
    if len(found) == 1:
        # A phone has no room for a column that says the same in every line.
        st.caption(
            t("{dataset} (the usual one)", dataset=humanize.escape(found[0].dataset))
            if found[0].default
            else humanize.escape(found[0].dataset)
        )
        rows = [{key: value for key, value in row.items() if key != "Dataset"} for row in rows]
    if rows:
        tables.show(
            rows,
            hide_index=True,
            column_config={
                "Covered": st.column_config.ProgressColumn(format="%.0f %%", min_value=0, max_value=100),
                "Water": st.column_config.NumberColumn(format="%.0f %%"),
            },
            alt=t("Coverage of the region by dataset and year"),
        )


def _seen(year: YearDepth | None) -> dict[str, str]:
    """What the publisher's list of tiles says of a year."""

    def share(value: float | None) -> str:
        return t("not measured") if value is None else t("{percent} %", percent=percentage(value, 1))

    if year is None or year.published is False:
        nothing = "" if year is None else t("not published")
        return {"Seen too rarely": nothing, "Times seen (median)": "", "Seen by radar": ""}
    refused = None if year.too_few is None else year.too_few + (year.never_seen or 0.0)
    times = t("not measured") if year.optical_median is None else numeral(year.optical_median, ".0f")
    return {"Seen too rarely": share(refused), "Times seen (median)": times, "Seen by radar": share(year.radar)}


def _time(year: YearCover) -> str:
    if not year.valid:
        return t("nothing there")
    return t("at once") if year.cached else t("not known") if year.seconds is None else humanize.duration(year.seconds)


def _gaps(request: EmbeddingRequest, cover: Coverage, years: Sequence[int]) -> None:
    """What is missing by name, and the two ways to get it."""
    lacking = [year for year in cover.years if year.year in years]
    if not years:
        return
    count = sum(len(year.missing) for year in lacking)
    title = tn("Missing: {n} tile", "Missing: {n} tiles", count) if lacking else t("Other ways to get it")
    with st.expander(title, icon=":material/grid_off:", expanded=count > 0):
        for year in lacking:
            names = [f"{tile.name} ({t(_STATES[tile.state])})" for tile in year.tiles if tile.name in year.missing]
            more = t(" and {names} more", names=len(names) - 20) if len(names) > 20 else ""
            st.markdown(f"**{year.year}:** {humanize.escape(', '.join(names[:20]))}{more}")
        st.markdown(t("You can make these embeddings yourself from satellite images, or ask the publishers for them."))
        if offers_embeddings() and not state.hosted():
            st.caption(
                t(
                    "Making a year here makes all of the region as a dataset of its own, which is not mixed with published "
                    "embeddings. To fill only gaps of a year, load it first; its page then offers that."
                )
            )
        text = request_text(request.region, cover if lacking else cover.dataset, years)
        with st.container(horizontal=True):
            for year_number in list(years)[:3]:
                if (
                    offers_embeddings()
                    and not state.hosted()
                    and st.button(
                        t("Make {year_number} here", year_number=year_number),
                        icon=":material/satellite_alt:",
                        key=f"place_make_{year_number}",
                    )
                ):
                    acquire.prefill(request.region, year_number)
                    st.switch_page("pages/generate.py", query_params=state.query())
            st.download_button(
                t("Request (.txt)"),
                text,
                file_name=f"request-{safe_name(title_of(request.region)).replace(' ', '-')}.txt",
                mime="text/plain",
                icon=":material/mail:",
                key="place_request",
                on_click="ignore",
            )
        if st.toggle(t("Show the text of the request"), key="place_request_shown"):
            st.code(text, language=None, wrap_lines=True, height=240)


# ------------------------------------------------------------------ loading


def _owner() -> str:
    """On a server for strangers, what one asks for must not open in another's window."""
    return str(st.session_state.setdefault(_TOKEN, secrets.token_hex(8))) if state.hosted() else ""


def _load_key(request: EmbeddingRequest) -> str:
    # Without the years: the card leaves out those of which there is nothing.
    return f"load-{replace(request, years=()).key}-{_owner()}"


def _load_button(
    request: EmbeddingRequest, project: Project | None, label: str, *, asked: EmbeddingRequest | None = None
) -> None:
    into: Project | None = None
    if project is not None and _same_place(project, request):
        join = st.segmented_control(
            t("Where to"),
            ["join", "new"],
            default="join",
            required=True,
            format_func=lambda key: t("Add to {name}", name=project.name) if key == "join" else t("A new project"),
            key=_INTO,
        )
        into = project if join == "join" else None
    if st.button(label, type="primary", icon=":material/download:", key="place_load"):
        start(request, into)
        st.rerun()


def _same_place(project: Project, request: EmbeddingRequest) -> bool:
    known = load.request_of(project)
    return known is not None and bool(known.region.geometry.equals(request.region.geometry))


def too_large(request: EmbeddingRequest) -> str:
    """Why a server for strangers does not load a place of this size; ``""`` where it does, and on one's own computer."""
    if not state.hosted():
        return ""
    granted = seats.room().granted(people.person()).region_km2
    grid = request.region.grid()
    asked = grid.shape[0] * grid.shape[1] * RESOLUTION_M**2 / 1e6
    if asked <= granted:
        return ""
    return t(
        "This place spans {asked} km², and this server loads up to {granted} km² for one visitor. "
        "Choose a smaller one, or run Tessera Studio on your own computer.",
        asked=numeral(asked, ",.0f"),
        granted=numeral(granted, ","),
    )


def start(request: EmbeddingRequest, into: Project | None) -> Job:
    """Load in the background, into a new project or a given one.

    Raises:
        InputError: the place is larger than a server for strangers grants.
    """
    if problem := too_large(request):
        raise InputError(problem)
    key = _load_key(request)
    jobs.pool().forget(key)
    return jobs.pool().start(
        key,
        t("Loading {title_of}", title_of=title_of(request.region)),
        lambda progress, cancelled: load.load(request, progress, cancelled, project=into),
    )


def _loading(request: EmbeddingRequest, job: Job) -> bool:
    """Show a load that is under way or has just ended; True while nothing else can be started."""
    if job.active:
        with st.container(border=True):
            jobs.show(job)
            st.caption(
                t(
                    "You can go to other pages or close this one meanwhile. What has arrived is kept, also if you "
                    "cancel."
                )
            )
        return True
    if job.state == "done":
        jobs.pool().forget(job.key)
        # What was looked up says what was still to fetch.
        jobs.pool().forget(_look_key(request))
        chosen.close()
        state.open_project(job.result)
        st.rerun()
    jobs.outcome(job)
    if isinstance(job.error, MixedDatasetsError | ProjectError) and st.button(
        t("Make a second project instead"), type="primary", icon=":material/library_add:", key="place_second"
    ):
        start(request, None)
        st.rerun()
    return False

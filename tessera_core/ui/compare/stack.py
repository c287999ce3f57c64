"""Compare, part Join: two embeddings of one place, or embeddings and their seasons or other rasters, as a region of its own."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import streamlit as st

from tessera_core._utils.paths import data_home
from tessera_core.analysis.season_raster import KNOWN, has_seasons, join_seasons, knows_seasons
from tessera_core.analysis.stacking import Stacked, stack, stack_years, weights_like
from tessera_core.dpixels.tile import DPixelTile, find_tiles
from tessera_core.errors import InputError
from tessera_core.language import later, numeral, percentage, relay, t
from tessera_core.project import library
from tessera_core.project.folders import safe_name
from tessera_core.project.project import Project
from tessera_core.provenance import Provenance
from tessera_core.sources.local.layers import MODEL, RULES
from tessera_core.sources.local.uploads import plain_name
from tessera_core.types import Cancel, Progress
from tessera_core.ui import humanize, jobs, state, tables
from tessera_core.ui.compare.context import PAGE

_SEASONS = later("the seasons of this year")
_ELSEWHERE = later("a folder or file")
_ALL = later("all years")
_RASTERS = later("other rasters (elevation, canopy height, soils)")
# The share of a region that is lost by joining and not passed over.
_MUCH = 0.2
# What a raster is -> the kind of tessera_core.sources.local.layers.LayerSource.
_KINDS = {"number": later("Numbers"), "slope": later("Elevation, as slope"), "classes": later("Classes")}


@dataclass(frozen=True)
class StackResult:
    """What was written: ``folder`` to open as a region, and each joined raster in it, by rising year."""

    folder: Path
    parts: tuple[Stacked, ...]


def show(project: Project) -> None:
    """The part of the page."""
    st.caption(
        t(
            "Put two embeddings of this place side by side: another model's (such as AlphaEarth beside "
            "TESSERA), or two years as one. Maps, scatter and change then use both. The result is a region "
            "of its own, with your labels; this one stays as it is."
        )
    )
    elsewhere = not state.hosted()
    years: list[int | str] = [*project.years]
    if elsewhere and len(years) > 1:
        years.append(_ALL)
    left, right = st.columns(2, gap="medium")
    first = left.selectbox(
        t("These embeddings"), years, index=len(project.years) - 1, key="compare_join_first", format_func=_named
    )
    options: list[int | str] = [] if first == _ALL else [year for year in project.years if year != first]
    series = _series(project, first) if isinstance(first, int) else None
    if elsewhere:
        options.append(_ELSEWHERE)
    if series is not None:
        options.append(_SEASONS)
    usual = max(len(options) - 1, 0)
    if first is not None and first != _ALL:
        options.append(_RASTERS)
    if not options or first is None:
        st.info(t("Load another year on the page Region first."), icon=":material/info:")
        return
    second = right.selectbox(t("and"), options, index=usual, key="compare_join_second", format_func=_named)
    path = ""
    sources = _rasters(project) if second == _RASTERS else []
    like = _like(project) if second == _RASTERS else None
    if second == _ELSEWHERE:
        path = st.text_input(t("Folder or file of the other embeddings"), key="compare_join_path")
        st.caption(
            t(
                "They may lie on another grid, or in other coordinates: each pixel here takes the one there "
                "that its middle lies in."
            )
            + (
                t(" For all years, choose a folder with the same years; change then sees both.")
                if first == _ALL
                else ""
            )
        )
    if second == _SEASONS:
        st.caption(
            t(
                "From the satellite time series of {year}: monthly medians with gaps filled, how strongly and when "
                "the land turns green and wet, and radar means. They help maps of this year from a few labels on; they are "
                "not for change between years.",
                year=first,
            )
        )
        if isinstance(first, int) and knows_seasons(project.embeddings[first].provenance):
            st.warning(relay(KNOWN), icon=":material/warning:")
    given = ",".join(f"{upload.file_id} {kind}" for upload, kind in sources)
    key = "|".join((PAGE, "join", project.key, str(first), str(second), path + given, like.dataset if like else ""))
    missing = (second == _ELSEWHERE and not path.strip()) or (second == _RASTERS and not sources)
    if st.button(t("Join them"), type="primary", icon=":material/join:", disabled=missing):
        jobs.pool().forget(key)
        if second == _RASTERS and isinstance(first, int):
            work = _work_rasters(project, first, sources, like)
        elif series is not None and second == _SEASONS and isinstance(first, int):
            work = _work_seasons(project, first, series)
        else:
            other = project.embeddings_path(second) if isinstance(second, int) else library.typed_path(path)
            work = _work(project, first, other) if isinstance(first, int) else _work_all(project, other)
        jobs.pool().start(key, t("Joining the embeddings"), work)
    job = jobs.pool().get(key)
    if job is None:
        return
    if job.active:
        jobs.wait_on(PAGE, key)
        jobs.show(job)
    elif jobs.outcome(job):
        _done(project, job.result, key)


def _named(option: int | str) -> str:
    return t(option) if isinstance(option, str) else humanize.year_name(option)


def _series(project: Project, year: int) -> Path | None:
    """Where the satellite time series of a year lie; None where there are none, or the embeddings have their seasons already."""
    known = project.embeddings[year]
    if known.dpixels is None or not known.dpixels.is_dir() or has_seasons(known.provenance):
        return None
    return known.dpixels


def _work_seasons(project: Project, year: int, series: Path) -> Callable[[Progress, Cancel], StackResult]:
    from tessera_core.sources.local.open import open_embeddings

    here = project.embeddings_path(year)
    folder = _free(data_home() / "joined", safe_name(f"{project.name} joined"))

    def work(progress: Progress, cancelled: Cancel) -> StackResult:
        tiles = [DPixelTile.open(tile) for tile in find_tiles(series)]
        made = join_seasons(open_embeddings(here), tiles, folder, progress=progress, cancelled=cancelled)
        return StackResult(folder, (made,))

    return work


def _rasters(project: Project) -> list[tuple[Any, str]]:
    """The rasters that somebody chose, each with what it is."""
    uploads = st.file_uploader(
        t("GeoTIFFs"),
        type=["tif", "tiff"],
        accept_multiple_files=True,
        key=f"compare_join_rasters_{project.key}",
    )
    st.caption(
        t(
            "What embeddings cannot see, another raster may. A finer one is averaged over each pixel, a coarser one interpolated "
            "(bilinear), of classes the commonest counts. Numbers are standardised; a pixel without data in one of them has none."
        )
    )
    return [
        (
            upload,
            st.selectbox(
                upload.name,
                list(_KINDS),
                format_func=lambda kind: t(_KINDS[kind]),
                key=f"compare_join_kind_{project.key}_{upload.file_id}",
            ),
        )
        for upload in uploads
    ]


def _like(project: Project) -> Provenance | None:
    """How another region's rasters were joined, where somebody wants these joined so; only asked where there is one."""
    found = {
        entry.dataset: entry.name
        for entry in library.recent()
        # Of a layer's dataset, see tessera_core.sources.local.layers.
        if entry.dataset and f"{project.dataset} + {MODEL} " in entry.dataset.partition("/")[2]
    }
    if not found:
        return None
    chosen = st.selectbox(
        t("Numbers standardised as in"),
        list(found),
        index=None,
        format_func=lambda dataset: found.get(dataset, ""),
        key=f"compare_join_like_{project.key}",
        placeholder=t("this region alone"),
        help=t("A head that learnt in the other region maps this one then. Drop the same rasters in the same order."),
    )
    if chosen is None:
        return None
    entry = next(one for one in library.recent() if one.dataset == chosen)
    known = Project.open(entry.folder).embeddings
    return next(iter(known.values())).provenance if known else None


def _work_rasters(
    project: Project, first: int, sources: list[tuple[Any, str]], like: Provenance | None
) -> Callable[[Progress, Cancel], StackResult]:
    from tessera_core.sources.local.layers import LayerSource, read_layers
    from tessera_core.sources.local.open import open_embeddings

    here = project.embeddings_path(first)
    folder = _free(data_home() / "joined", safe_name(f"{project.name} joined"))

    def work(progress: Progress, cancelled: Cancel) -> StackResult:
        raster = open_embeddings(here)
        with TemporaryDirectory(prefix="tessera-upload-") as place:
            files = []
            for number, (upload, kind) in enumerate(sources):
                # Two files may have one name.
                path = Path(place) / str(number) / plain_name(upload.name)
                path.parent.mkdir()
                path.write_bytes(upload.getvalue())
                files.append(LayerSource(path, kind))
            earlier = None if like is None else Provenance.from_json(like.details["parts"][1])
            layers = read_layers(files, raster.grid, year=first, like=earlier, progress=progress, cancelled=cancelled)
        weights = None if like is None else weights_like(like, raster.provenance, layers.provenance)
        made = stack(raster, layers, folder, weights=weights, progress=progress, cancelled=cancelled)
        return StackResult(folder, (made,))

    return work


def _work(project: Project, first: int, other: Path) -> Callable[[Progress, Cancel], StackResult]:
    from tessera_core.sources.local.open import find_years, open_embeddings

    here = project.embeddings_path(first)
    folder = _free(data_home() / "joined", safe_name(f"{project.name} joined"))

    def work(progress: Progress, cancelled: Cancel) -> StackResult:
        # Of a folder with several years, the same one.
        year = first if len(find_years(other)) > 1 else None
        second = open_embeddings(other, year=year, cancelled=cancelled)
        made = stack(open_embeddings(here), second, folder, progress=progress, cancelled=cancelled)
        return StackResult(folder, (made,))

    return work


def _work_all(project: Project, other: Path) -> Callable[[Progress, Cancel], StackResult]:
    from tessera_core.sources.local.open import find_years, open_embeddings

    here = {year: project.embeddings_path(year) for year in project.years}
    folder = _free(data_home() / "joined", safe_name(f"{project.name} joined"))

    def work(progress: Progress, cancelled: Cancel) -> StackResult:
        there = [year for year in find_years(other) if year in here]
        first = {year: open_embeddings(path) for year, path in here.items()}
        second = {year: open_embeddings(other, year=year, cancelled=cancelled) for year in there if year is not None}
        made = stack_years(first, second, folder, progress=progress, cancelled=cancelled)
        return StackResult(folder, tuple(made[year] for year in sorted(made)))

    return work


def _free(home: Path, name: str) -> Path:
    home.mkdir(parents=True, exist_ok=True)
    for number in range(1, 10_000):
        folder = home / (name if number == 1 else f"{name} {number}")
        if not folder.exists():
            return folder
    raise InputError(t("There are too many joined embeddings in {home}; delete some.", home=home))


def _done(project: Project, made: StackResult, key: str) -> None:
    rasters = [part.raster for part in made.parts]
    missing = sum(part.missing for part in made.parts)
    left_out = (
        t(" {missing} pixels that only one of the two has are left out.", missing=numeral(missing, ","))
        if missing
        else ""
    )
    cosine = min(part.cosine for part in made.parts)
    st.success(
        t(
            "Joined: {dim} numbers a pixel, {years}. Rounding kept {value} % of the likeness.{left_out}",
            dim=rasters[0].dim,
            years=humanize.years([raster.provenance.year for raster in rasters]),
            value=numeral(100 * cosine, ".2f"),
            left_out=left_out,
        ),
        icon=":material/check:",
    )
    share = missing / sum(raster.grid.height * raster.grid.width for raster in rasters)
    if share > _MUCH:
        st.warning(
            t(
                "That is {percent} % of the region: the joined one can be mapped only where both have data. Join what covers "
                "the region, or choose a smaller region first.",
                percent=percentage(share),
            ),
            icon=":material/warning:",
        )
    parts = rasters[0].provenance.details["parts"]
    for warning in [text for part in parts for text in part.get("details", {}).get("warnings", ())]:
        st.warning(humanize.escape(relay(warning)), icon=":material/warning:")
    rows = [
        {
            "Part": f"{number}",
            "Embeddings": relay(Provenance.from_json(part).title),
            "Numbers": part["dim"],
            "Year": str(part["year"] or "") if len(rasters) == 1 else t("each"),
            "Source": part["source"],
            "Multiplied by": numeral(part["weight"], ".3g"),
        }
        for number, part in enumerate(parts, start=1)
    ]
    tables.show(rows, hide_index=True, width="stretch")
    layers = [fact for part in parts for fact in part.get("details", {}).get("layers", ())]
    if layers:
        rules = [
            {
                "File": fact["title"],
                "Onto the grid": t(RULES.get(fact["rule"].removesuffix(", then slope"), fact["rule"])),
                "Mean": None if fact["code"] is not None else float(f"{fact['mean']:.4g}"),
                "Deviation": None if fact["code"] is not None else float(f"{fact['sd']:.4g}"),
            }
            for fact in layers
        ]
        tables.show(rules, hide_index=True, width="stretch")
        st.caption(
            t("On the page Explore you can look at each of them on the map, and read its value where the pointer is.")
        )
    if not any("spread_fixed" in part.get("details", {}) for part in parts):
        st.caption(
            t(
                "Each part is multiplied so that both weigh the same in distances. Where they come from stays "
                "written in the data."
            )
        )
    st.caption(
        t(
            "It becomes a region of its own beside this one, with your labels, and opens on the page Explore. Its map on the page "
            "Label learns from both parts."
        )
    )
    if st.button(t("Open it as a region"), type="primary", icon=":material/public:"):
        joined = library.start_stacked(project, made.folder, t("{name} joined", name=project.name))
        jobs.pool().forget(key)
        state.open_project(joined)
        st.switch_page("pages/explore.py", query_params=state.query())

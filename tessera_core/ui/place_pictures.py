"""Pictures of a place beside a question about it: the clearest day of each season, and the year on all days."""

from __future__ import annotations

from collections.abc import Callable

import streamlit as st

from tessera_core.errors import TesseraError
from tessera_core.grid import Grid
from tessera_core.hosting import hosted
from tessera_core.imagery.places import ECHOES, Line, PlacePictures
from tessera_core.language import later, numeral, relay, t
from tessera_core.periods import period
from tessera_core.project import place_pictures
from tessera_core.project.project import Project
from tessera_core.types import Cancel, Progress
from tessera_core.ui import charts, humanize, jobs, shell

_COLOURS = {"clear": "#1b7837", "cloud or shadow": "#b4b9bf"}
_ECHOES = dict(
    zip(
        ECHOES,
        (
            (later("Echo (VV), morning"), "#56b4e9"),
            (later("Turned echo (VH), morning"), "#e69f00"),
            (later("Echo (VV), evening"), "#0072b2"),
            (later("Turned echo (VH), evening"), "#d55e00"),
        ),
        strict=True,
    )
)
_WIDTH = 124


def beside(
    project: Project, year: int | None, grid: Grid, row: int, col: int, page: str, *, two_maps: bool = False
) -> None:
    """The pictures of a pixel of a grid, or the way to them.

    Args:
        page: names the page in the keys of widgets.
        two_maps: the place is of the sample where two maps differ.
    """
    try:
        found = place_pictures.pictures_of(project, year, grid, row, col)
    except TesseraError as error:
        st.warning(humanize.escape(relay(error)), icon=":material/warning:")
        return
    if found is None:
        _way_there(project, year, page, two_maps)
        return
    _seasons(found, year)
    if found.few:
        if "seasons" in found.unread:
            st.caption(t("Files of some days could not be read, so a season of this place may be missing."))
            if year is not None and not hosted() and place_pictures.request_for(project, year) is not None:
                _clearest(project, year, page, two_maps)
        if found.series:
            _series(found, f"{page}_{year}_{row}_{col}")
        elif page == "validate":
            _greenness(project, year, two_maps)
        _whole_year(project, year, page, two_maps)
        return
    _series(found, f"{page}_{year}_{row}_{col}")


def _seasons(found: PlacePictures, year: int | None) -> None:
    if not found.seasons:
        st.caption(t("On no day of this year was the place seen clearly, so there is no picture of it."))
        return
    true, false = st.columns(2, gap="medium")
    with true:
        st.markdown(t("**True colour**, the clearest day of each season"))
        _row([(one.true_colour, found.date_of(one)) for one in found.seasons])
    with false:
        st.markdown(t("**Plants in red**, the same days"))
        _row([(one.false_colour, found.date_of(one)) for one in found.seasons])
    edge = found.metres * 33
    told = t(
        "Each picture is about {edge} m wide, the place in the frame; Sentinel-2, pixels of {metres} m.",
        edge=numeral(edge, ",.0f"),
        metres=numeral(found.metres, ".0f"),
    )
    if found.year is not None and year is not None:
        told = f"{_of_years(found.year, year)} {told}"
    st.caption(told)


def _of_years(pictures: int, mapped: int) -> str:
    """Of when the pictures are, beside the map."""
    of_pictures, of_map = period(pictures), period(mapped)
    if of_pictures == of_map:
        return t("Pictures and map are of {year}.", year=of_map)
    return t("Pictures of {year}; the map is of {year2}.", year=of_pictures, year2=of_map)


def _row(pictures: list[tuple[bytes, str]]) -> None:
    with st.container(horizontal=True, gap="small"):
        for png, date in pictures:
            st.image(png, caption=date, width=_WIDTH)


def _series(found: PlacePictures, key: str) -> None:
    ndvi = {
        name: (list(line.days), [value for value in line.values if value is not None])
        for name, line in (("clear", found.clear), (t("cloud or shadow"), found.cloudy))
        if line.days
    }
    seen = len(found.clear.days)
    lines = {t(_ECHOES[name][0]): _drawn(line) for name, line in found.echoes.items() if name in _ECHOES and line.days}
    left, right = st.columns(2, gap="medium")
    if ndvi:
        with left:
            st.markdown(
                t("**Greenness (NDVI)**: {seen} clear days of {seen2}", seen=seen, seen2=seen + len(found.cloudy.days))
            )
            figure = charts.day_figure(ndvi, _COLOURS, title="NDVI", height=250, dots=[t("cloud or shadow")])
            charts.show(figure, t("Greenness (NDVI) of the place through the year"), f"{key}_ndvi")
    if lines:
        with right:
            st.markdown(t("**Radar of Sentinel-1**, in decibels"))
            figure = charts.day_figure(
                lines, {t(name): colour for name, colour in _ECHOES.values()}, title=t("Radar"), height=250, zero=False
            )
            charts.show(figure, t("Radar of the place through the year, in decibels"), f"{key}_radar")


def _drawn(line: Line) -> tuple[list[int], list[float]]:
    return list(line.days), [value for value in line.values if value is not None]


def _way_there(project: Project, year: int | None, page: str, two_maps: bool) -> None:
    """Only embeddings are here: what it costs to get pictures of the sample's places, or the satellites' year, and the buttons."""
    # A server for strangers fetches no satellite data for its visitors, as on Make embeddings.
    if place_pictures.request_for(project, year) is None or year is None or hosted():
        st.caption(
            t(
                "The satellite data of this region are not here, only its embeddings; so there are no pictures "
                "of places."
            )
        )
        return
    st.caption(
        t("The satellite pictures of {year} are not here, only the embeddings that were made of them.", year=year)
    )
    _clearest(project, year, page, two_maps)
    _whole_year(project, year, page, two_maps)


def _clearest(project: Project, year: int, page: str, two_maps: bool) -> None:
    """The way to the clearest days around the places of the sample; nothing where all have them."""
    needed = place_pictures.clearest_bytes(project, year) if page == "validate" else 0
    if not needed:
        return
    _fetching(
        project,
        year,
        f"{page}_clearest",
        t("Fetch the pictures of all places"),
        t(
            "Of every place of the sample the clearest day of each season, in true colour and with plants in red: "
            "very roughly {size} from the Planetary Computer. You can stop and go on later.",
            size=humanize.size(needed),
        ),
        place_pictures.fetch_clearest,
        two_maps,
    )


def _greenness(project: Project, year: int | None, two_maps: bool) -> None:
    """The way to how green the places of the sample were through the year."""
    # What it takes is known only after a look into every file that is kept.
    if year is None or hosted() or place_pictures.request_for(project, year) is None:
        return
    needed = place_pictures.series_bytes(project, year)
    if not needed:
        return
    _fetching(
        project,
        year,
        "validate_series",
        t("Fetch how green all places were"),
        t(
            "Of every place of the sample its greenness (NDVI) on two days of each month, the least cloudy ones: very roughly "
            "{size} from the Planetary Computer. You can stop and go on later.",
            size=humanize.size(needed),
        ),
        place_pictures.fetch_series,
        two_maps,
    )


def _whole_year(project: Project, year: int | None, page: str, two_maps: bool) -> None:
    """The way to all days of the year, with radar."""
    request = place_pictures.request_for(project, year)
    if request is None or year is None or hosted():
        return
    _fetching(
        project,
        year,
        f"{page}_fetch",
        t("Fetch all days of {year}", year=year),
        t(
            "All days of the whole region, with radar, so that every place has its year: very roughly {size} from the "
            "Planetary Computer, {size2} on the disk. You can stop and go on later.",
            size=humanize.size(request.download_bytes),
            size2=humanize.size(request.disk_bytes),
        ),
        place_pictures.fetch,
        two_maps,
    )


def _fetching(
    project: Project,
    year: int,
    key: str,
    label: str,
    about: str,
    fetch: Callable[[Project, int, Progress, Cancel], place_pictures.Fetched],
    two_maps: bool,
) -> None:
    """A button that fetches in the background, or how far it is; what came of it stays below."""
    name = f"{fetch.__name__}|{project.key}|{year}"
    job = jobs.pool().get(name)
    active = job is not None and job.active
    # Of its own, so that the bar moves nothing below into its place; the button stays where it was pressed.
    with st.container():
        if job is not None and not active and jobs.outcome(job):
            # Of both samples of a year everything is fetched at once; told is of the one that is looked at.
            fetched = place_pictures.of_sample(job.result, project, year, two_maps=two_maps)
            for sentence in fetched.sentences():
                st.caption(humanize.escape(relay(sentence)))
        st.caption(about)

        @shell.shielded
        def start() -> None:
            jobs.pool().start(name, label, lambda progress, cancelled: fetch(project, year, progress, cancelled))

        st.button(label, icon=":material/satellite_alt:", key=f"{key}_{project.key}", on_click=start, disabled=active)
        if job is not None and active:
            jobs.show(job)


def keep_all(project: Project, year: int | None, page: str) -> None:
    """Keep the pictures of all places of the sample with the project, for where its time series are not."""
    if not place_pictures.has_time_series(project, year):
        return
    key = f"place-pictures-kept|{project.key}|{year}"
    job = jobs.pool().get(key)
    if job is not None and job.active:
        jobs.show(job)
        return
    if job is not None and jobs.outcome(job):
        st.caption(
            t("Pictures of {result} places are kept with the project; packs take them along.", result=job.result)
        )

    @shell.shielded
    def start() -> None:
        jobs.pool().start(
            key,
            t("Pictures of all places"),
            lambda progress, cancelled: place_pictures.prepare(project, year, progress, cancelled),
        )

    st.button(
        t("Keep the pictures of all places"),
        icon=":material/download_for_offline:",
        key=f"{page}_keep_{project.key}",
        on_click=start,
        help=t(
            "For working without this computer's time series or a network: they lie in the project and in its packs."
        ),
    )

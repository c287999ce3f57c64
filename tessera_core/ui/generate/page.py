"""The page Make embeddings: choose images and a model, see what it costs, run it in the background, open the result.

The work is in :mod:`tessera_core.project.generate`; a run belongs to the server, so that a reload or another tab finds it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import streamlit as st

from tessera_core._utils.torch_part import has_torch, how_to_add
from tessera_core.hosting import offers_embeddings
from tessera_core.language import later, numeral, percentage, relay, t, tn
from tessera_core.project import generate, library
from tessera_core.project.acquire import Request
from tessera_core.project.library import typed_path
from tessera_core.project.project import Project
from tessera_core.project.settings import ProjectSettings
from tessera_core.ui import humanize, jobs, state
from tessera_core.ui.generate import acquire

_PLAN, _RUN = "generate-plan", "generate-run"
# The same job as on the page Region: whoever asks for the demo first makes it for both.
_DEMO = "demo"
_SOURCES = {"region": later("A region"), "folder": later("A folder of tiles"), "demo": later("The demo")}
_WAITING = "generate_waiting"
_OWN_FILE = later("A file of mine…")
_DEVICES = {"auto": later("The best there is"), "cpu": later("Processor"), "cuda": later("Graphics card")}
_ABOUT = {
    "studio-nano": later("Tessera Studio nano: ours, not a published TESSERA model; quick, comes with the program"),
    "v2-nano": later("TESSERA 2 nano: small and quick"),
    "v2-small": "TESSERA 2 small",
    "v2-medium": later("TESSERA 2 medium: slow without a graphics card"),
    "v2-large": later("TESSERA 2 large: needs a graphics card"),
    "v2-teacher": later("TESSERA 2 teacher: needs a large graphics card"),
    "v1.1-mpc": later("TESSERA 1.1 for data from Planetary Computer"),
    "v1.1-aws": later("TESSERA 1.1 for data from AWS"),
    "v1.1-dclimate": later("TESSERA 1.1 for data from AWS, computed as the published embeddings were"),
    "v1.0-qat": "TESSERA 1.0",
    "v1.0-fp32": later("TESSERA 1.0, full precision"),
}


def page() -> None:
    """Draw the page."""
    st.title(t("Make embeddings"))
    st.markdown(
        t(
            "Turn a year of Sentinel-1 and Sentinel-2 images into embeddings: numbers that describe how "
            "each place changed through the year, from which a map can be learnt."
        )
    )
    if not offers_embeddings():
        st.info(
            t(
                "Whoever runs Tessera Studio here does not offer making embeddings. Published embeddings are ready to "
                "use: choose a region on the page Region."
            ),
            icon=":material/info:",
        )
        return
    if state.hosted():
        st.info(
            t(
                "Embeddings are not made on a server for many, because that takes folders of the computer and "
                "hours of its processors. Run Tessera Studio on your own computer; or ask whoever runs this "
                "server, who can make them there with the command `tessera generate` and give them out as a "
                "pack, which the page Data opens."
            ),
            icon=":material/info:",
        )
        return
    if not has_torch():
        st.info(
            t(
                "This needs the part of Tessera Studio that generates embeddings, which is not installed here: "
                "{how_to_add}. It takes about 1 GB, more with a graphics card; then start again. Published "
                "embeddings need no such part: choose a region on the page Region.",
                how_to_add=how_to_add(),
            ),
            icon=":material/info:",
        )
        return
    if not _running():
        _choose()


def _running() -> bool:
    """Show the run if there is one; True while nothing else can be started."""
    job = jobs.pool().get(_RUN)
    if job is None:
        return False
    if job.active:
        st.session_state[_WAITING] = True
        with st.container(border=True):
            jobs.show(job)
            st.caption(t("You can label other regions meanwhile. If you cancel, the next run goes on from here."))
        return True
    if st.session_state.get(_WAITING) and jobs.outcome(job):
        del st.session_state[_WAITING]
        state.open_project(job.result)
        st.switch_page("pages/region.py", query_params=state.query())
    return False


def _choose() -> None:
    source = st.segmented_control(
        t("Images"),
        list(_SOURCES),
        default="region",
        required=True,
        format_func=lambda name: t(_SOURCES[name]),
        key="generate_source",
        persist_state="session",
    )
    what = {"region": acquire.request, "folder": _folder, "demo": _demo}[source or "region"]()
    if what is None:
        return
    weights, dim, device, reference = _model()
    if not weights:
        return
    plan_job = jobs.pool().get(_PLAN)
    wanted = (source, what.folder if isinstance(what, Request) else what.folders, weights, dim, device, reference)
    known = st.session_state.get("generate_wanted") == wanted
    if known and plan_job is not None and plan_job.active:
        jobs.show(plan_job)
        return
    if known and plan_job is not None and jobs.outcome(plan_job):
        _start(what, plan_job.result, dim, device)
        return
    if st.button(t("How long will it take?"), type="primary", icon=":material/timer:", key="generate_plan"):
        st.session_state["generate_wanted"] = wanted
        st.session_state.pop(_WAITING, None)
        jobs.pool().start(
            _PLAN,
            t("Looking at the model and this computer"),
            lambda progress, cancelled: generate.plan(
                what, weights, dim, device, progress, cancelled, reference=reference
            ),
        )
        st.rerun()


def _folder() -> generate.TileSet | None:
    path = st.text_input(
        t("Folder of a tile, or with several tiles"),
        placeholder=t("for example ~/tiles"),
        key="generate_folder",
        persist_state="session",
        help=t(
            "A tile is a folder with bands.npy, masks.npy, doys.npy and the radar files sar_ascending.npy "
            "and so on, as 'tessera acquire' and the TESSERA tools write them."
        ),
    )
    if not path.strip():
        st.caption(t("The folder holds what the satellites saw (d-pixel tiles). 'A region' fetches them."))
        return None
    tiles = generate.open_tiles(typed_path(path))
    st.success(_found(tiles), icon=":material/check:")
    for failure in tiles.damaged:
        st.warning(t("Left out: {why}", why=humanize.escape(relay(failure.why))), icon=":material/warning:")
    return tiles


def _demo() -> generate.TileSet | None:
    job = jobs.pool().get(_DEMO)
    if job is not None and job.active:
        jobs.show(job)
        return None
    demo = library.demo_ready()
    if demo is None:
        if job is not None and job.state != "done":
            jobs.outcome(job)
        st.caption(
            t("A simulated landscape for practice. Its images are made by this computer, in a minute and a half.")
        )
        if st.button(t("Make the demo region"), type="primary", icon=":material/landscape:", key="generate_demo"):
            jobs.pool().start(_DEMO, t("Making the demo region"), library.make_demo)
            st.rerun()
        return None
    tiles = generate.demo_tiles(demo)
    st.success(_found(tiles), icon=":material/check:")
    st.caption(
        t(
            "The demo region has embeddings of Tessera Studio nano already. Make them again to see how "
            "close you come, or try another model on the same images."
        )
    )
    return tiles


def _found(tiles: generate.TileSet) -> str:
    first = tiles.tiles[0]
    count = t("One tile") if len(tiles.tiles) == 1 else t("{tiles} tiles", tiles=len(tiles.tiles))
    radar = len(first.doys_asc) + len(first.doys_desc)
    return tn(
        "{count}, {pixels} pixels in all; {years}; {doys} optical and {radar} radar dates.",
        "{count}, {pixels} pixels in all; {years}; {doys} optical and {radar} radar dates in the first.",
        len(tiles.tiles),
        count=count,
        pixels=numeral(tiles.pixels, ","),
        years=humanize.years(tiles.years),
        doys=len(first.doys),
        radar=radar,
    )


def _model() -> tuple[str, int | None, str, str]:
    """Weights (a name or a path, empty while there is none), leading numbers to keep or None, device, what to compare with."""
    from tessera_core.models.zoo import OTHERWISE, PUBLISHED, names

    def about(name: str) -> str:
        file = PUBLISHED.get(OTHERWISE.get(name, name))
        size = file.size if file else 0
        fetched = (
            t(" (fetches {size} once)", size=humanize.size(size)) if size else t(" (fetched once)") if file else ""
        )
        if file and not file.repo:
            fetched = t(" (download it by hand, then choose 'A file of mine')")
        return t(_ABOUT.get(name, name)) + fetched

    weights = st.selectbox(
        t("Model"), [*names(), _OWN_FILE], format_func=about, key="generate_model", persist_state="session"
    )
    if weights == _OWN_FILE:
        weights = st.text_input(t("Checkpoint file"), key="generate_weights", persist_state="session").strip()
        weights = str(typed_path(weights)) if weights else ""
    device: str | None = "auto"
    with st.expander(t("More choices"), icon=":material/tune:"):
        dim = st.segmented_control(
            t("Numbers a pixel"),
            ["all", 64, 32, 16],
            default="all",
            required=True,
            key="generate_dim",
            persist_state="session",
            help=t("Fewer numbers take less room and lose a little accuracy. Only for models trained for it."),
        )
        if generate.has_graphics_card():
            device = st.segmented_control(
                t("Compute on"),
                list(_DEVICES),
                default="auto",
                required=True,
                key="generate_device",
                persist_state="session",
                format_func=lambda name: t(_DEVICES[name]),
            )
        reference = st.text_input(
            t("Published embeddings to compare with"),
            placeholder=t("not needed"),
            key="generate_reference",
            persist_state="session",
            help=t(
                "A folder or file of embeddings of the same place, year and model. When the run ends you see "
                "how close yours come. Embeddings that a project of yours uses already are found without this."
            ),
        )
    return weights, dim if isinstance(dim, int) else None, device or "auto", reference.strip()


def _start(what: generate.TileSet | Request, plan: generate.GeneratePlan, dim: int | None, device: str) -> None:
    cost = plan.estimate
    for note in plan.notes:
        st.warning(humanize.escape(relay(note)), icon=":material/warning:")
    fetched = isinstance(what, Request)
    with st.container(horizontal=True, gap="medium"):
        st.metric(
            t("Embedding, about") if fetched else t("Time, about"), humanize.duration(cost.seconds), width="content"
        )
        st.metric(t("Pixels per second"), numeral(cost.pixels_per_second, ",.0f"), width="content")
        st.metric(t("Memory"), humanize.size(cost.memory_bytes), width="content")
        st.metric(t("Embeddings on disk"), humanize.size(cost.output_bytes), width="content")
    if fetched:
        st.caption(t("Fetching the images comes first; how long it takes depends on your connection and the archive."))
    if plan.reference:
        st.caption(t("At the end the result is compared with the published embeddings that you gave."))
    into = _into(what, plan)
    if st.button(
        t("Fetch and make the embeddings") if fetched else t("Make the embeddings"),
        type="primary",
        icon=":material/play_arrow:",
        key="generate_start",
    ):
        st.session_state[_WAITING] = True
        jobs.pool().start(
            _RUN,
            t("Making embeddings of {name}", name=what.name),
            lambda progress, cancelled: generate.run(what, plan, dim, device, progress, cancelled, into),
        )
        st.rerun()


def _into(what: generate.TileSet | Request, plan: generate.GeneratePlan) -> Project | None:
    """The open project where the result may lie beside its years and is wanted there; None for a project of its own."""
    project = state.current_project()
    if project is None or not generate.fits_into(project, what, plan):
        return None
    years = humanize.years([what.period] if isinstance(what, Request) else what.years)
    beside = st.radio(
        t("Where the result goes"),
        ["here", "own"],
        format_func=lambda name: {
            "here": t(
                "Into {name}, beside its {years}", name=project.name, years=humanize.years(list(project.embeddings))
            ),
            "own": t("A region of its own"),
        }[name],
        key="generate_into",
        help=t(
            "In one region, {years} can be chosen and compared like any year, and labels count for all.", years=years
        ),
    )
    return project if beside == "here" else None


# ------------------------------------------------------------------ afterwards


def show_outcome(settings: ProjectSettings) -> None:
    """What the run that made a project found out: the comparison with published embeddings, and what could not be fetched."""
    for found in settings.agreement:
        year = f"{humanize.year_name(found.year)}: " if found.year is not None and len(settings.agreement) > 1 else ""
        if found.verdict is None:
            st.info(humanize.escape(f"{year}{relay(found.sentence)}"), icon=":material/info:")
            continue
        box, icon, name = _VERDICTS[found.verdict]
        figures = t(
            "Likeness, 1 being the same: {cosine} usually, {cosine2} at the least alike hundredth; {value} "
            "% of the stored numbers are equal, of {pixels} pixels",
            cosine=_cosine(found.cosine_median),
            cosine2=_cosine(found.cosine_p1),
            value=percentage(found.equal_codes, 1),
            pixels=numeral(found.pixels, ",.0f"),
        )
        box(f"**{year}{t(name)}.** {humanize.escape(relay(found.sentence))}  \n:small[{figures}]", icon=icon)
    if missing := settings.missing:
        count = t("One piece") if len(missing) == 1 else t("{missing} pieces", missing=len(missing))
        with st.expander(t("{count} of the satellite data could not be had", count=count), icon=":material/warning:"):
            st.markdown(
                t("The embeddings were made without. Start the same run again on 'Make embeddings' to try once more.")
            )
            st.markdown("\n".join(f"- {humanize.escape(str(sentence))}" for sentence in missing[:20]))


def _cosine(value: float) -> str:
    """Four decimals, never rounded up to a perfection that is not there."""
    return "1" if value >= 1 else f"{min(value, 0.9999):.4f}"


_VERDICTS: dict[str, tuple[Callable[..., Any], str, str]] = {
    "green": (st.success, ":material/verified:", later("Comparison: the same")),
    "amber": (st.warning, ":material/warning:", later("Comparison: close")),
    "red": (st.error, ":material/error:", later("Comparison: different")),
}

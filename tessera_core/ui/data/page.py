"""The page Data: what is kept on this computer, how large it may grow, and packs to hand out.

The cache is the matter of :mod:`tessera_core.sources.remote.cache`.
"""

from __future__ import annotations

import os
import time

import streamlit as st

from tessera_core._utils.paths import cache_home
from tessera_core.language import later, numeral, t
from tessera_core.project import library
from tessera_core.sources.remote import cache
from tessera_core.ui import humanize, shell, speech, state, tables
from tessera_core.ui.classroom import by_files
from tessera_core.ui.components import view_map
from tessera_core.ui.data import maps, packs

_LIMIT, _TABLE = "data_limit", "data_table"


def _set_limit() -> None:
    cache.set_limit(float(st.session_state[_LIMIT]))


def page() -> None:
    """Build the page."""
    st.title(t("Data"))
    view_map.loader()
    if state.hosted():
        st.markdown(
            t("Your projects on this server are listed on the page Region. Here they can be taken along, or brought.")
        )
        with shell.plain_errors():
            packs.panel()
        with shell.plain_errors():
            by_files.panel("data")
        return
    with shell.plain_errors():
        _cache()
    with shell.plain_errors():
        maps.panel()
    with shell.plain_errors():
        packs.panel()
    with shell.plain_errors():
        by_files.panel("data")
    with shell.plain_errors():
        _demos()
    st.page_link(
        "pages/server.py",
        label=t("What this app works out now, and the memory and room it takes"),
        icon=":material/dns:",
    )


def _cache() -> None:
    st.header(t("Loaded embeddings"))
    st.markdown(
        t(
            "What you load from published stores is kept here, so that it opens again without the internet. "
            "Projects keep what they use: deleting it here never breaks one."
        )
    )
    entries = cache.entries()
    total, limit = cache.total_bytes(), cache.limit_bytes()
    unfinished = max(0, total - sum(entry.bytes for entry in entries))
    with st.container(horizontal=True, gap="medium", vertical_alignment="bottom"):
        st.metric(t("Kept"), humanize.size(total), width="content")
        st.metric(t("Regions and years"), len(entries), width="content")
        _limit(limit)
    st.progress(
        min(1.0, total / limit), text=t("{size} of {size2}", size=humanize.size(total), size2=humanize.size(limit))
    )
    if unfinished > 1_000_000:
        st.caption(t("{size} of it are loads that were stopped and can go on.", size=humanize.size(unfinished)))
    if not entries:
        st.info(t("Nothing was loaded yet. The page Region loads a place on Earth."), icon=":material/info:")
    else:
        _entries(entries)
    st.caption(t("It lies in {place_on_disk}.", place_on_disk=humanize.escape(humanize.place_on_disk(cache_home()))))


def _limit(limit: int) -> None:
    fixed = "TESSERA_CACHE_GB" in os.environ
    st.number_input(
        t("Room for it (GB)"),
        min_value=0.1,
        max_value=100_000.0,
        value=limit / 1e9,
        step=1.0,
        format="%.1f",
        key=_LIMIT,
        on_change=shell.shielded(_set_limit),
        disabled=fixed,
        help=t("Set by TESSERA_CACHE_GB on this computer.")
        if fixed
        else t("When it is full, what was not used for longest makes room. Projects are not touched."),
        width=180,
    )


def _entries(entries: list[cache.CachedRaster]) -> None:
    now = time.time()
    rows = [
        {
            "Place": entry.name,
            "Year": str(entry.year),
            "Dataset": entry.dataset,
            "Pixels": f"{numeral(entry.shape[1], ',')} x {numeral(entry.shape[0], ',')}",
            "Size": humanize.size(entry.bytes),
            "Used": humanize.ago(now - entry.used),
            "Complete": t("yes") if entry.complete else t("{missing} pieces missing", missing=len(entry.missing)),
        }
        for entry in entries
    ]
    chosen = tables.show(
        rows,
        hide_index=True,
        key=_TABLE,
        on_select="rerun",
        selection_mode="multi-row",
        alt=t("Loaded embeddings"),
    )
    picked = [entries[row] for row in chosen.selection.rows if row < len(entries)]
    with st.container(horizontal=True):
        if st.button(
            t("Delete the chosen ({size})", size=humanize.size(sum(entry.bytes for entry in picked)))
            if picked
            else t("Delete the chosen"),
            icon=":material/delete:",
            key="data_delete",
            disabled=not picked,
            help=None if picked else t("Choose lines of the table first."),
        ):
            cache.evict([entry.key for entry in picked])
            st.rerun()
        if st.button(t("Empty all"), icon=":material/delete_sweep:", key="data_empty"):
            _empty()


@speech.dialog(later("Empty the store of loaded embeddings"))
@shell.shielded
def _empty() -> None:
    st.markdown(t("Delete all loaded embeddings that no project uses? They can be loaded again with the internet."))
    with st.container(horizontal=True):
        if st.button(t("Empty it"), type="primary", icon=":material/delete_sweep:", key="data_empty_yes"):
            cache.empty()
            st.rerun()
        if st.button(t("Keep it"), key="data_empty_no"):
            st.rerun()


def _demos() -> None:
    old = library.old_demos()
    if not old:
        return
    st.header(t("Old demo regions"))
    st.markdown(t("Earlier versions of the program made these; this one makes its own."))
    for demo in old:
        used = t(", used by {join}", join=", ".join(demo.projects)) if demo.projects else ""
        st.markdown(f"- {humanize.escape(demo.folder.name)}: {humanize.size(demo.bytes)}{humanize.escape(used)}")
    free = sum(demo.bytes for demo in old if not demo.projects)
    if st.button(
        t("Delete those that no project uses ({size})", size=humanize.size(free)),
        icon=":material/delete:",
        key="data_demos",
        disabled=not free,
    ):
        library.remove_old_demos()
        st.rerun()

"""Choose a head that was kept or saved, on any page: one of another dataset, or a file that is none, is refused at once."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import streamlit as st

from tessera_core.errors import HeadError, TesseraError
from tessera_core.language import later, relay, t, tn
from tessera_core.project import saved_heads
from tessera_core.provenance import Provenance
from tessera_core.ui import files, humanize

if TYPE_CHECKING:
    from tessera_core.heads import SavedHead

FILE = later("A file of a head")
_MOST_PLACES = 6


@dataclass(frozen=True)
class Given:
    """A head that was chosen: a kept one, or a file that was dropped.

    Attributes:
        name: for people.
        content: changes with what is in the file.
        saved: the head.
        kept: whether it is kept under that name.
    """

    name: str
    content: str
    saved: SavedHead
    kept: bool


def choose(key: str, provenance: Provenance, own: str = "") -> Given | str | None:
    """The head that somebody chose.

    Args:
        key: of the widgets.
        provenance: of the embeddings that it is to map.
        own: text of a choice of the page's own, which is the first one and chosen to begin with.

    Returns:
        The head; ``own`` where that is chosen; None where nothing is chosen yet, or what was chosen is refused.
    """
    names = saved_heads.head_names()
    name: str | None = None
    options = [*([own] if own else []), *names, FILE]
    if len(options) > 1:
        name = st.selectbox(
            t("Which head"),
            options,
            # The names of kept heads are people's own.
            format_func=lambda one: t(one) if one in (own, FILE) else one,
            index=0 if own else None,
            key=f"{key}_which",
            placeholder=t("Choose a head"),
        )
        if name is None or (own and name == own):
            return name
    try:
        if name is None or name == FILE:
            upload = st.file_uploader(
                t("A head that was saved"),
                type=["safetensors", "json"],
                key=f"{key}_file",
                help=t("A file that Tessera Studio wrote. Nothing in it is run, so a stranger's file does no harm."),
            )
            if upload is None:
                return None
            given = Given(Path(upload.name).stem, str(upload.file_id), _read(upload.file_id, upload), False)
        else:
            path = saved_heads.kept_head(name)
            stamp = path.stat()
            content = hashlib.blake2b(f"{path} {stamp.st_mtime_ns} {stamp.st_size}".encode(), digest_size=8).hexdigest()
            given = Given(name, content, _load(content, path), True)
        if given.saved.classification is None:
            raise HeadError(t("This head maps measured values; choose a head of classes."))
        provenance.require_same_dataset(given.saved.provenance, "one map")
    except (TesseraError, OSError) as error:
        st.error(humanize.escape(relay(error)), icon=":material/error:")
        return None
    return given


@st.cache_resource(max_entries=8, show_spinner=False)
def _load(content: str, _path: Path) -> SavedHead:
    from tessera_core.heads import load_head

    return load_head(_path)


@st.cache_resource(max_entries=8, show_spinner=False)
def _read(file_id: str, _upload: Any) -> SavedHead:
    from tessera_core.heads import load_head

    return files.with_upload(_upload, load_head)


def about(saved: SavedHead) -> None:
    """Classes, labels, places and date of a head, as far as its file says."""
    card = saved.card
    counts = card.get("labels")
    total = sum(n for n in counts.values() if isinstance(n, int)) if isinstance(counts, dict) else 0
    given = card.get("places")
    places = [str(place) for place in given] if isinstance(given, dict) else []
    lines = [t("Classes: {names}", names=", ".join(saved.class_names.values()))]
    if total:
        lines.append(tn("{n} label", "{n} labels", total))
    if places:
        more = len(places) - _MOST_PLACES
        names = ", ".join(places[:_MOST_PLACES]) + (t(" and {more} more", more=more) if more > 0 else "")
        lines.append(t("taught in {places}", places=names))
    if saved.provenance.year:
        lines.append(str(saved.provenance.year))
    if isinstance(card.get("made"), str):
        lines.append(t("made on {date}", date=card["made"][:10]))
    st.caption(humanize.escape(" · ".join(lines)))
    told = card.get("sentences")
    for sentence in told[:_MOST_PLACES] if isinstance(told, list) else []:
        st.caption(humanize.escape(relay(str(sentence)[:300])))

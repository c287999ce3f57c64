"""What a person has chosen on the page Region: place, years and dataset, in the session and in the address bar.

The address can be handed on: whoever opens it finds the same choice. Nothing here draws anything.
"""

from __future__ import annotations

import streamlit as st

from tessera_core.project.request import KEYS, EmbeddingRequest, from_query, rounded
from tessera_core.region import Region
from tessera_core.ui import state

# Keys of the form's widgets.
YEARS, DATASET, STORE, DIM = "place_years", "place_dataset", "place_store", "place_dim"
_OPEN, _REGION, _NOTES, _ADDRESS = "place_open", "place_region", "place_notes", "place_address"


def is_open() -> bool:
    """Whether the page is for choosing a place: asked for by a button, or by an address that names one."""
    return bool(st.session_state.get(_OPEN)) or "place" in st.query_params


def open_here(request: EmbeddingRequest | None = None) -> None:
    """Let the page be for choosing a place, with what is given filled in."""
    st.session_state[_OPEN] = True
    if request is not None:
        fill(request)


def close() -> None:
    """Let the page be what it was, and clear the address; what was chosen stays for the next time."""
    st.session_state[_OPEN] = False
    st.session_state.pop(_ADDRESS, None)
    for key in KEYS:
        st.query_params.pop(key, None)


def region() -> Region | None:
    """The chosen region."""
    known: Region | None = st.session_state.get(_REGION)
    return known


def notes() -> tuple[str, ...]:
    """Sentences about how the region was read."""
    told: tuple[str, ...] = st.session_state.get(_NOTES, ())
    return told


def choose(region: Region, *notes: str) -> None:
    """Make a region the chosen one.

    Raises:
        InputError: it is too small.
    """
    st.session_state[_REGION] = rounded(region)
    st.session_state[_NOTES] = tuple(notes)


def clear() -> None:
    """Choose no region, in the session and in the address."""
    for key in (_REGION, _NOTES, _ADDRESS):
        st.session_state.pop(key, None)
    st.query_params.pop("place", None)
    st.query_params.pop("name", None)


def fill(request: EmbeddingRequest) -> None:
    """Choose what a request says; before the form's widgets are drawn."""
    choose(request.region)
    if request.years:
        st.session_state[YEARS] = list(request.years)
    st.session_state[STORE] = request.store
    st.session_state[DIM] = request.dim or "all"
    if request.dataset:
        st.session_state[DATASET] = request.dataset


def follow_address() -> None:
    """Take over a choice that the address names and that this session did not write there itself.

    Raises:
        InputError: the address is not usable.
    """
    given = {key: st.query_params[key] for key in KEYS if key in st.query_params}
    if not given.get("place") or given == st.session_state.get(_ADDRESS):
        return
    st.session_state[_ADDRESS] = dict(given)
    if state.hosted():
        # Else an address could make the server read its own files and network.
        given.pop("store", None)
    request = from_query(given)
    if request is not None:
        fill(request)


def write_address(request: EmbeddingRequest) -> None:
    """Let the address bar say what is chosen."""
    wanted = request.query()
    if wanted == {key: st.query_params[key] for key in KEYS if key in st.query_params}:
        return
    st.session_state[_ADDRESS] = wanted
    for key in KEYS:
        if key not in wanted:
            st.query_params.pop(key, None)
    st.query_params.update(wanted)

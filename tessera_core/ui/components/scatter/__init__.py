"""The scatter: up to 50,000 points in two or three dimensions, linked with a view map in the browser.

Drawn by our own few lines on a canvas rather than by a chart library: a lasso reaches the map without the server in between,
points can be lassoed in three dimensions too, and selecting draws nothing anew but dots. Selections come up as the indices of
the points, run-length packed, and only so that the page can say and do something with them.

    scatter.loader()
    scatter.scatter("explore_scatter", cloud, link="explore")
    scatter.selection("explore_scatter")         # int64 indices of the selected points
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import streamlit as st
from numpy.typing import NDArray

from tessera_core.language import current
from tessera_core.session import payload
from tessera_core.ui.components import shared

HUB = "__tesseraScatter"
MAX_POINTS = 50_000


@dataclass(frozen=True)
class Cloud:
    """What a scatter shows.

    Attributes:
        version: changes when the points do.
        points: float32 (N, 2 or 3) where they lie.
        place: float64 (N, 2) x, y of each on the linked map, in its display frame.
        colours: uint8 (N,) indices into ``palette``.
        palette: ``"#rrggbb"`` colours, at most 256.
        legend: ``(colour, text)`` entries.
        axes: names of the axes.
        note: one sentence below.
    """

    version: str
    points: NDArray[np.float32] = field(repr=False)
    place: NDArray[np.float64] = field(repr=False)
    colours: NDArray[np.uint8] = field(repr=False)
    palette: tuple[str, ...]
    legend: tuple[tuple[str, str], ...] = ()
    axes: tuple[str, ...] = ("1", "2")
    note: str = ""


def loader() -> None:
    """Bring the scatter's code into the page; call it once per page run, outside every fragment."""
    sheets = ("shared/assets/style.css", "scatter/assets/scatter.css")
    shared.load(
        f"tessera_scatter_loader_{current()}",
        shared.loader(HUB, "scatter/assets/main.js", sheets, current(), leaflet=False),
    )


def scatter(
    key: str, cloud: Cloud, *, link: str, height: int = 420, on_select: Callable[[], None] | None = None
) -> None:
    """Show the scatter.

    Args:
        key: names it within the session.
        cloud: the points; drawn anew only when its version or colours change.
        link: what a view map of the same ``link`` shares its selection by.
        height: pixels.
        on_select: called before the script when the selection changed; read it with :func:`selection`.
    """
    mount = shared.mount("tessera_scatter", HUB)
    if st.session_state.get(_version_key(key)) != cloud.version:
        # The browser has let go of it, too: an index would mean another pixel.
        forget(key)
        st.session_state[_version_key(key)] = cloud.version
    with st.container(gap=None):
        header = {
            "kind": "scatter",
            "key": key,
            "link": link,
            "height": height,
            "version": cloud.version,
            "palette": list(cloud.palette),
            "legend": [list(entry) for entry in cloud.legend],
            "axes": list(cloud.axes),
            "note": cloud.note,
            "seen": st.session_state.get(_seen_key(key), 0),
        }
        mount(
            key=key,
            data=payload.pack(header, np.ascontiguousarray(cloud.colours, np.uint8).tobytes()),
            on_selected_change=lambda: _selected(key, len(cloud.points), on_select),
        )
        # Positions travel once for each version, whatever they are coloured by.
        count, dims = cloud.points.shape
        told = {"kind": "points", "key": key, "version": cloud.version, "count": count, "dims": dims}
        mount(key=f"{key}-points", data=payload.pack(told, _positions(cloud)), height=1)


def selection(key: str) -> NDArray[np.int64]:
    """Indices of the selected points, sorted; kept until another selection or other points."""
    known: NDArray[np.int64] = st.session_state.get(_selection_key(key), np.zeros(0, np.int64))
    return known


def forget(key: str) -> None:
    """Let the selection go, because its points are out of sight; :func:`let_go` tells of how many."""
    if count := len(selection(key)):
        st.session_state[_gone_key(key)] = count
    st.session_state.pop(_selection_key(key), None)


def let_go(key: str) -> int:
    """How many points were selected when :func:`forget` let them go, until others are selected; 0 where none were."""
    return int(st.session_state.get(_gone_key(key), 0))


def select(key: str, indices: NDArray[np.int64]) -> None:
    """Set what :func:`selection` answers, for a selection made elsewhere (a box on the map)."""
    st.session_state[_selection_key(key)] = np.unique(np.asarray(indices, np.int64))


def unpack_selection(message: object, count: int) -> tuple[int, NDArray[np.int64]]:
    """Number and indices of a selection as the browser packs it: ``{"n": int, "runs": [start, length, start, length, ...]}``.

    Untrusted: what is no such thing is an empty selection.
    """
    empty = np.zeros(0, np.int64)
    if not isinstance(message, dict) or type(message.get("n")) is not int or not isinstance(message.get("runs"), list):
        return 0, empty
    runs = message["runs"]
    if len(runs) % 2 or len(runs) > 2 * MAX_POINTS or not all(type(v) is int and 0 <= v <= MAX_POINTS for v in runs):
        return message["n"], empty
    chosen = np.zeros(count + 1, bool)
    for start, length in zip(runs[::2], runs[1::2], strict=True):
        chosen[start : min(start + length, count)] = True
    return message["n"], np.flatnonzero(chosen)


def _selected(key: str, count: int, on_select: Callable[[], None] | None) -> None:
    state = st.session_state.get(key)
    number, indices = unpack_selection(getattr(state, "selected", None), count)
    st.session_state[_seen_key(key)] = number
    st.session_state[_selection_key(key)] = indices
    st.session_state.pop(_gone_key(key), None)
    if on_select is not None:
        on_select()


def _positions(cloud: Cloud) -> bytes:
    """float32 points, centred and scaled to about -1..1, then the places on the map as float64."""
    points = np.asarray(cloud.points, np.float32)
    low, high = np.percentile(points, (0.1, 99.9), axis=0) if len(points) else (np.zeros(1), np.ones(1))
    size = max(float(np.max(high - low)), 1e-9)
    unit = (points - (low + high) / 2) * (2 / size)
    return unit.astype("<f4").tobytes() + np.ascontiguousarray(cloud.place, "<f8").tobytes()


def _seen_key(key: str) -> str:
    return f"_scatter_seen_{key}"


def _version_key(key: str) -> str:
    return f"_scatter_version_{key}"


def _gone_key(key: str) -> str:
    return f"_scatter_gone_{key}"


def _selection_key(key: str) -> str:
    return f"_scatter_selection_{key}"

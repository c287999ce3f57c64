"""The label map: a Leaflet map in the page on which people label and watch the class map follow.

Three components of Streamlit 1.67's second kind, registered inline (no build step, no CDN, nothing to install):
:func:`loader` carries Leaflet and our modules once per session and never changes; :func:`label_map` is a few lines that hand
each message over; :func:`label_panel` shows classes and layers wherever the page wants them. :func:`picture` sends a static
picture once. This module only wires; the protocol is in ``protocol``, what is sent in ``payload``, what is computed in ``live``.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import streamlit as st

from tessera_core.language import current
from tessera_core.session import payload
from tessera_core.session.protocol import ProtocolState
from tessera_core.ui.components import shared

__all__ = ["ProtocolState", "insight", "label_map", "label_panel", "loader", "message", "picture", "wishes"]

HUB = "__tesseraLabelMap"


def loader() -> None:
    """Bring the map's code into the page; call it once per page run, outside every fragment."""
    sheets = ("shared/assets/style.css", "label_map/assets/label.css")
    shared.load(
        f"tessera_label_map_loader_{current()}", shared.loader(HUB, "label_map/assets/main.js", sheets, current())
    )


def label_map(key: str, data: bytes, on_ops: Callable[[], None]) -> None:
    """Show the map.

    Args:
        key: names the map within the session; its view, tools and unsent operations live under it.
        data: from :func:`tessera_core.session.live_map.LiveMap.message`.
        on_ops: called before the script when the browser sent operations; read them with :func:`message`.
    """
    _component()(key=key, data=data, on_ops_change=on_ops)


def message(key: str) -> object:
    """What the browser sent to the map ``key`` in this run, or None; untrusted."""
    state = st.session_state.get(key)
    return None if state is None else getattr(state, "ops", None)


def label_panel(key: str, guided: bool = False) -> None:
    """Show the classes, layers and state of the map ``key``; call it in the container where they shall stand.

    Args:
        key: the map.
        guided: whether somebody else says what comes next, so that the panel does not.
    """
    data = payload.pack({"kind": "panel", "key": key, "guided": guided})
    _component()(key=f"{key}_panel", data=data)


def insight(key: str, header: dict[str, Any], on_wishes: Callable[[], None]) -> None:
    """Tell the map ``key`` and its panel what is known about the map: score, next places, doubts, extra layers.

    Args:
        key: the map.
        header: from :func:`tessera_core.session.insight_protocol.header`.
        on_wishes: called before the script when the browser wants to know or do something; read it with :func:`wishes`.
    """
    _component()(key=f"{key}_insight", data=payload.pack(header), on_ops_change=on_wishes, height=1)


def wishes(key: str) -> object:
    """What the browser sent for :func:`insight` in this run, or None; untrusted."""
    return message(f"{key}_insight")


def picture(key: str, name: str, header: dict[str, Any], png: bytes) -> None:
    """Send the static picture ``name`` of the map ``key``; Streamlit sends equal bytes only once.

    Args:
        key: the map.
        name: ``"pca"``, ``"truecolour"``, or that of an extra layer of :mod:`tessera_core.session.layers`.
        header: from :func:`tessera_core.session.live_map.LiveMap.picture_header`.
        png: display PNG.
    """
    data = payload.pack({"kind": "picture", "key": key, "name": name, **header}, png)
    _component()(key=f"{key}_{name}", data=data, height=1)


def _component() -> Callable[..., Any]:
    return shared.mount("tessera_label_map", HUB)

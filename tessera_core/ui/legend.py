"""Names and colours of classes in one line, for a map whose pictures share them."""

from __future__ import annotations

import html
from collections.abc import Iterable

import streamlit as st

from tessera_core.labels.model import LabelClass

_CHIPS = """<style>
.place-legend { display: flex; flex-wrap: wrap; gap: 4px 14px; font-size: 0.85rem; }
.place-legend i { display: inline-block; width: 12px; height: 12px; margin-right: 5px; border-radius: 3px; vertical-align: -1px; }
</style>"""


def legend(classes: Iterable[LabelClass]) -> None:
    """Show them."""
    chips = [f"<span><i style='background:{c.color}'></i>{html.escape(c.name)}</span>" for c in classes]
    st.html(f"{_CHIPS}<div class='place-legend'>{''.join(chips)}</div>")

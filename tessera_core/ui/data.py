"""The page Data: what is kept on this computer, and packs to hand out."""

from __future__ import annotations

import streamlit as st


def page() -> None:
    """Build the page."""
    st.subheader("Data")

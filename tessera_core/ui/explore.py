"""The page Explore: see the region, its embedding space, and the story of a pixel."""

from __future__ import annotations

import streamlit as st


def page() -> None:
    """Build the page."""
    st.subheader("Explore")

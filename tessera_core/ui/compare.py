"""The page Compare: what changed between years, and what only seems to have."""

from __future__ import annotations

import streamlit as st


def page() -> None:
    """Build the page."""
    st.subheader("Compare")

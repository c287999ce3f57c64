"""The page Validate: check a map on a sample, and give its areas with intervals."""

from __future__ import annotations

import streamlit as st


def page() -> None:
    """Build the page."""
    st.subheader("Validate")

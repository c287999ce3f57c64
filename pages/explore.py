"""Explore: see the region, its embedding space, and the story of a pixel."""

from tessera_core.ui import state
from tessera_core.ui.explore import page

state.guard(__file__)
page.page()

"""Explore: see the region, its embedding space, and the story of a pixel."""

from tessera_core.ui import explore, state

state.guard(__file__)
explore.page()

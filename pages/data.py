"""Data: what is kept on this computer, and packs to hand out."""

from tessera_core.ui import data, state

state.guard(__file__)
data.page()

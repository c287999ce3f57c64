"""Export: take the map, the labels and the project with you."""

from tessera_core.ui import export, state

state.guard(__file__)
export.page()

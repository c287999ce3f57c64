"""Export: take the map, the labels and the project with you."""

from tessera_core.ui import state
from tessera_core.ui.export import page

state.guard(__file__)
page.page()

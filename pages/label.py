"""Label: click examples of each class and watch the map follow."""

from tessera_core.ui import label, state

state.guard(__file__)
label.page()

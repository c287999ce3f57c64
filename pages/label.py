"""Label: click examples of each class and watch the map follow."""

from tessera_core.ui import state
from tessera_core.ui.label import page

state.guard(__file__)
page.page()

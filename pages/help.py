"""Help: the first steps, the words of the studio, its keys, and whom to tell when something is wrong."""

from tessera_core.ui import state
from tessera_core.ui.help import page

state.guard(__file__)
page.page()

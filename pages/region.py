"""Region: start with a place, or come back to one."""

from tessera_core.ui import state
from tessera_core.ui.region import page

state.guard(__file__)
page.page()

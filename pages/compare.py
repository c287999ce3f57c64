"""Compare: what changed between years, and what only seems to have."""

from tessera_core.ui import state
from tessera_core.ui.compare import page

state.guard(__file__)
page.page()

"""Data: what is kept on this computer, and packs to hand out."""

from tessera_core.ui import state
from tessera_core.ui.data import page

state.guard(__file__)
page.page()

"""Class: open a class and see where everybody is, or join one with a code."""

from tessera_core.ui import state
from tessera_core.ui.classroom import page

state.guard(__file__)
page.page()

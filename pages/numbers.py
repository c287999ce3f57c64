"""Numbers: field plots with a number each become a map of that number."""

from tessera_core.ui import state
from tessera_core.ui.regress import page as numbers

state.guard(__file__)
numbers.page()

"""Numbers: field plots with a number each become a map of that number."""

from tessera_core.ui import numbers, state

state.guard(__file__)
numbers.page()

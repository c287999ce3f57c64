"""Compare: what changed between years, and what only seems to have."""

from tessera_core.ui import compare, state

state.guard(__file__)
compare.page()

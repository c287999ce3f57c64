"""Region: start with a place, or come back to one."""

from tessera_core.ui import region, state

state.guard(__file__)
region.page()

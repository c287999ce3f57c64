"""Validate: check a map on a sample, and give its areas with intervals."""

from tessera_core.ui import state
from tessera_core.ui.validate import page

state.guard(__file__)
page.page()

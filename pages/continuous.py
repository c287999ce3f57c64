"""Continuous map: field plots with a number each become a map of that number (regression)."""

from tessera_core.ui import state
from tessera_core.ui.regress import page

state.guard(__file__)
page.page()

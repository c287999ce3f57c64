"""Learn: lessons inside the app, each in a project of its own."""

from tessera_core.ui import state
from tessera_core.ui.learn import page

state.guard(__file__)
page.page()

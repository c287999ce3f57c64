"""Server: who is here and what is kept, for whoever runs this server."""

from tessera_core.ui import state
from tessera_core.ui.owner import page

state.guard(__file__)
page.page()

"""Make embeddings: from satellite time series on this computer to a region that can be labelled."""

from tessera_core.ui import state
from tessera_core.ui.generate import page

state.guard(__file__)
page.page()

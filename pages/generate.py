"""Make embeddings: from satellite time series on this computer to a region that can be labelled."""

from tessera_core.ui import generate, state

state.guard(__file__)
generate.page()

"""The class on the screen: see :mod:`tessera_core.classroom`."""

"""What a page owes to people beyond its parts: the focus is not lost when what had it goes away, and a phone's navigation
folds once it was used.
"""

from __future__ import annotations

from tessera_core.ui.components import shared


def load() -> None:
    """Bring it into the page; once per page run, outside every fragment, after everything else."""
    shared.load("tessera_manners", shared.asset("manners/assets/main.js"))

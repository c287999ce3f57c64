"""What a page owes to people beyond its parts: the focus is not lost when what had it goes away, and a phone's navigation
folds once it was used.
"""

from __future__ import annotations

from collections.abc import Mapping

from tessera_core.ui.components import shared


def load(language: Mapping[str, object]) -> None:
    """Bring it into the page; once per page run, outside every fragment, after everything else.

    Args:
        language: ``Language`` of ``messages.d.ts``.
    """
    component = shared.register("tessera_manners", shared.joined("manners/assets/main.js"))
    component(key="tessera_manners", height=1, data=dict(language))

"""The base maps that the maps of a session may offer: those of every map, and those of the open project."""

from __future__ import annotations

from typing import Any

from streamlit import config

from tessera_core.imagery.keys import known_keys
from tessera_core.project.imagery import TILES_ROUTE
from tessera_core.session import base_maps
from tessera_core.ui import state


def shown() -> list[dict[str, Any]]:
    """What a map is told of them; see :func:`tessera_core.session.base_maps.entries`."""
    project = state.current_project()
    if project is None:
        return base_maps.entries()
    layers = project.settings.base_layers
    year = state.current_year(project) if project.embeddings else None
    keys = known_keys() if any(layer.needs_key for layer in layers) else {}
    # What names a project in the address bar opens its pictures, too, and nothing that it does not.
    under = "/".join(("", *filter(None, [str(config.get_option("server.baseUrlPath") or "").strip("/")])))
    files = f"{under}{TILES_ROUTE}/{state.key_of(project.folder)}"
    return base_maps.entries(layers, year, keys, files)

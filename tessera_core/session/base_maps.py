"""Base maps: the few from the internet that every map of ours may offer, those of a project, and leafmap's for notebooks."""

from __future__ import annotations

import difflib
import importlib
from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any

from tessera_core.errors import InputError
from tessera_core.imagery.layers import BaseLayer, entry, shown_date

# Tile servers whose terms allow light use with attribution. Nothing is asked of them unless a person switches one on.
BASE_MAPS = (
    {
        "name": "Streets",
        "date": "",
        "url": "https://tile.openstreetmap.org/{z}/{x}/{y}.png",
        "zoom": 19,
        "attribution": '© <a href="https://www.openstreetmap.org/copyright">OpenStreetMap</a> contributors',
    },
    {
        "name": "Satellite, 2016 and 2017",
        "date": "2016 and 2017",
        "url": "https://tiles.maps.eox.at/wmts/1.0.0/s2cloudless_3857/default/g/{z}/{y}/{x}.jpg",
        "zoom": 15,
        "attribution": '<a href="https://s2maps.eu">Sentinel-2 cloudless</a> by EOX (contains modified Copernicus '
        "Sentinel data 2016 and 2017), CC BY 4.0",
    },
)


def entries(
    layers: Sequence[BaseLayer] = (), year: int | None = None, keys: Mapping[str, str] | None = None, files: str = ""
) -> list[dict[str, Any]]:
    """What a map in the browser is told of the base maps it may offer: ours, then those of a project.

    Args:
        layers: of the project; one whose key or file is not here is left out, and so is one with the name of another.
        year: of the map.
        keys: of services, by server.
        files: address of the project's own pictures; empty where none are served.
    """
    found: dict[str, dict[str, Any]] = {}
    for ours in BASE_MAPS:
        facts = {name: ours[name] for name in ("name", "url", "zoom", "attribution")}
        about = shown_date(str(ours["date"]), year) if ours["date"] else ""
        found[str(ours["name"])] = facts | {"about": about, "kind": "xyz", "wms": None, "levels": []}
    for layer in layers:
        told = entry(layer, year, keys or {}, files)
        if told is not None:
            found.setdefault(layer.name, told)
    return list(found.values())


def names() -> list[str]:
    """Names of the base maps that a map in a notebook can take: ours, tiles that need no key (xyzservices) and WMS layers.

    Reading the catalogue asks nothing of the network.
    """
    return sorted(_catalogue())


def layer(name: str) -> Any:
    """A base map as a layer of ipyleaflet; its server is asked once the layer is on a map that somebody looks at.

    Raises:
        InputError: there is no such base map.
    """
    import ipyleaflet

    known = _catalogue()
    if name not in known:
        near = difflib.get_close_matches(name, known, 3, 0.5) or sorted(known)[:3]
        raise InputError(
            f"There is no base map {name!r}; near are {', '.join(near)}. All names: tessera_core.session.base_maps.names()."
        )
    kind, options = known[name]
    made = {"tiles": ipyleaflet.TileLayer, "wms": ipyleaflet.WMSLayer}[kind](**options)
    made.name, made.base = name, True
    return made


@cache
def _catalogue() -> dict[str, tuple[str, dict[str, Any]]]:
    """Name -> kind and options of the layer."""
    # `from leafmap import basemaps` would give a table of the same name.
    basemaps = importlib.import_module("leafmap.basemaps")
    known: dict[str, tuple[str, dict[str, Any]]] = {}
    for name, one in basemaps.custom_tiles["wms"].items():
        wms = {key: one[key] for key in ("url", "layers", "attribution", "format", "transparent") if key in one}
        known[name] = "wms", wms
    for name, one in basemaps.custom_tiles["xyz"].items():
        # Google's tiles may not be used outside its own programs.
        if "google" not in one["url"]:
            known[name] = "tiles", {"url": one["url"], "attribution": one["attribution"], "max_zoom": 19}
    for name, one in basemaps.get_xyz_dict(free_only=True).items():
        tiles = {"url": one.build_url(), "attribution": one.attribution, "max_zoom": one.get("max_zoom", 22)}
        known[name] = "tiles", tiles
    for ours in BASE_MAPS:
        tiles = {"url": ours["url"], "attribution": ours["attribution"], "max_zoom": ours["zoom"]}
        known[str(ours["name"])] = "tiles", tiles
    return known

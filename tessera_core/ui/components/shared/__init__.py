"""What our map and scatter components share: linking their JavaScript into the page, and the modules that several use.

Components of Streamlit 1.67's second kind, registered inline (no build step, no CDN, nothing to install). Each package has a
*loader*, which carries its code once per session and never changes, and a *mount* of a few lines that hands every message
over; both meet at a hub, a global object of the page.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any

import streamlit as st

# Modules here, which any component may name besides its own; in the order of their imports.
SHARED = ("wire.js", "dom.js", "layers.js", "links.js", "mounting.js")


@cache
def loader(
    hub: str, package: str, modules: tuple[str, ...], css: tuple[tuple[str, str], ...], leaflet: bool = True
) -> str:
    """The code of a component that links ``modules`` and style sheets into the page, for :func:`load`.

    Args:
        hub: name of the global object where loader and mounts meet.
        package: where the modules lie that are not :data:`SHARED`, in its folder ``assets``.
        modules: in the order of their imports: each may import those before it. The last is ``main.js``, which exports
            ``start(hub, css)``. Leaflet, where wanted, comes first, as ``leaflet.js``.
        css: ``(package, file)`` of style sheets, after Leaflet's.
        leaflet: whether the modules want it.
    """
    linked = [("leaflet.js", _leaflet("leaflet.js").split("//# sourceMappingURL")[0])] if leaflet else []
    linked += [(module, asset(__package__ if module in SHARED else package, module)) for module in modules]
    # Leaflet's pictures (layer control, markers) are not used, and their relative addresses would not resolve.
    sheets = ["\n".join(line for line in _leaflet("leaflet.css").splitlines() if "url(" not in line)] if leaflet else []
    assets = {"modules": linked, "css": sheets + [asset(*sheet) for sheet in css]}
    text = json.dumps(assets).replace("</", "<\\/")
    return asset(__package__, "boot.js").replace("__HUB__", hub).replace('"__ASSETS__"', text)


def load(name: str, script: str) -> None:
    """Bring a loader's code into the page; once per page run, outside every fragment."""
    register(name, script)(key=name, height=1)


def mount(name: str, hub: str) -> Callable[..., Any]:
    """The component that hands its messages to the code of ``hub``."""
    return register(name, asset(__package__, "mount.js").replace("__HUB__", hub))


@cache
def register(name: str, js: str) -> Callable[..., Any]:
    """A component of that name and code."""
    return st.components.v2.component(name, js=js)


@cache
def asset(package: str, name: str) -> str:
    """Text of a file in a package's folder ``assets``."""
    return (files(package) / "assets" / name).read_text(encoding="utf-8")


@cache
def _leaflet(name: str) -> str:
    import xstatic.pkg.leaflet as leaflet

    return (Path(leaflet.BASE_DIR) / name).read_text(encoding="utf-8")

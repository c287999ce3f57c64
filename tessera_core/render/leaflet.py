"""Leaflet's script and style sheet, from the wheel XStatic-Leaflet, as text that needs no other file and no network."""

from __future__ import annotations

from functools import cache
from pathlib import Path

__all__ = ["leaflet_script", "leaflet_style"]


def leaflet_script() -> str:
    """``leaflet.js`` without the note where its source map lies; it makes the global ``L``.

    Example:
        >>> "</script" in leaflet_script()
        False
    """
    return _file("leaflet.js").split("//# sourceMappingURL")[0]


def leaflet_style() -> str:
    """``leaflet.css`` without its pictures (layer control, markers), whose relative addresses would not resolve."""
    return "\n".join(line for line in _file("leaflet.css").splitlines() if "url(" not in line)


@cache
def _file(name: str) -> str:
    import xstatic.pkg.leaflet as leaflet

    return (Path(leaflet.BASE_DIR) / name).read_text(encoding="utf-8")

"""The outline of the world's land and countries, for maps without a network.

Natural Earth 1:110m, public domain (``data/README.md``): quantised arcs that neighbouring shapes share. Refuses to know where it
is drawn.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

import numpy as np
from numpy.typing import NDArray

Line = NDArray[np.float64]


@dataclass(frozen=True)
class WorldOutline:
    """Lines of the world in degrees.

    Attributes:
        land: closed rings, float64 (n, 2) of lon, lat.
        borders: lines between two countries, float64 (n, 2) of lon, lat.
    """

    land: tuple[Line, ...]
    borders: tuple[Line, ...]


@cache
def world_outline() -> WorldOutline:
    """The world's outline; the same read-only object every time.

    Example:
        >>> len(world_outline().land) > 100
        True
    """
    content = json.loads((files(__package__) / "data" / "world-110m.json").read_text(encoding="utf-8"))
    scale, shift = (np.asarray(content["transform"][name]) for name in ("scale", "translate"))
    # Arcs hold differences of whole numbers (TopoJSON specification 1.0, section 2.2).
    arcs = [np.cumsum(np.asarray(arc, np.int64), axis=0) * scale + shift for arc in content["arcs"]]
    for arc in arcs:
        arc.flags.writeable = False
    land = tuple(_ring(arcs, ring) for ring in content["land"])
    return WorldOutline(land, tuple(arcs[index] for index in content["borders"]))


def _ring(arcs: list[Line], indices: list[int]) -> Line:
    # A negative index is an arc walked backwards; neighbouring arcs share their end point.
    parts = [arcs[index] if index >= 0 else arcs[~index][::-1] for index in indices]
    ring = np.concatenate([parts[0], *(part[1:] for part in parts[1:])])
    ring.flags.writeable = False
    return ring

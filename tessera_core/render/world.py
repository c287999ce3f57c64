"""The outline of the world's land and countries, for maps without a network.

Read from the topology that the package bqplot ships (Natural Earth 1:110m, public domain): quantised arcs that neighbouring
shapes share. Refuses to know where it is drawn.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tessera_core.errors import InputError

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

    Raises:
        InputError: the package that holds it is not installed.
    """
    # Found without importing the package, which would load all of Jupyter's widgets.
    spec = find_spec("bqplot")
    if spec is None or spec.origin is None:
        raise InputError("The world's outline is not installed. Install the package bqplot: pip install bqplot.")
    topology = json.loads((Path(spec.origin).parent / "map_data" / "WorldMap.json").read_text(encoding="utf-8"))
    scale, shift = (np.asarray(topology["transform"][name]) for name in ("scale", "translate"))
    # Arcs hold differences of whole numbers (TopoJSON specification 1.0, section 2.2).
    arcs = [np.cumsum(np.asarray(arc, np.int64), axis=0) * scale + shift for arc in topology["arcs"]]
    for arc in arcs:
        arc.flags.writeable = False
    land = tuple(_ring(arcs, ring) for ring in _rings(topology["objects"]["land"]))
    uses = Counter(
        index if index >= 0 else ~index
        for country in topology["objects"]["subunits"]["geometries"]
        for ring in _rings(country)
        for index in ring
    )
    return WorldOutline(land, tuple(arcs[index] for index, count in uses.items() if count > 1))


def _rings(geometry: dict[str, Any]) -> Iterator[list[int]]:
    if geometry["type"] == "MultiPolygon":
        for polygon in geometry["arcs"]:
            yield from polygon
    elif geometry["type"] == "Polygon":
        yield from geometry["arcs"]


def _ring(arcs: list[Line], indices: list[int]) -> Line:
    # A negative index is an arc walked backwards; neighbouring arcs share their end point.
    parts = [arcs[index] if index >= 0 else arcs[~index][::-1] for index in indices]
    ring = np.concatenate([parts[0], *(part[1:] for part in parts[1:])])
    ring.flags.writeable = False
    return ring

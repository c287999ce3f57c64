"""Embeddings from d-pixel tiles: the inference engine, resumable runs over tiles, writers of the published layouts.

``engine`` computes, ``tiles`` runs over a tile and keeps what is done, ``layouts`` writes GeoTIFF and Zarr, ``calibration`` says
beforehand how long it will take.
"""

from __future__ import annotations

import importlib
from typing import Any

_HOMES = {
    "Engine": "engine",
    "embed_tile": "engine",
    "generate_tile": "tiles",
    "GenerateOptions": "tiles",
    "Generated": "tiles",
    "estimate": "calibration",
    "RunTimeEstimate": "calibration",
}


def __getattr__(name: str) -> Any:
    # Loaded on first use: torch takes seconds to import, and pages that only name this package should not wait for it.
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)

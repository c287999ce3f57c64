"""Tessera Studio: from satellite time series or published embeddings to a map that can be trusted.

In a notebook or a script, this is all there is to import::

    import tessera_core as tessera

    raster = tessera.open("embeddings/2024")
    labels = tessera.read_labels("fields.gpkg", like=raster)
    made = tessera.map_classes(raster, labels)
    tessera.write_map("map.tif", made)
    made.explore()

The names below are loaded when they are first used, so that importing the package takes no time. What each does stands in
:mod:`tessera_core.api`; the package's floors and conventions in ``docs/architecture.md``.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

__version__ = "0.2.0"

__all__ = [
    "EmbeddingRaster",
    "Grid",
    "HeadChoice",
    "InputError",
    "Project",
    "Provenance",
    "Region",
    "TesseraError",
    "__version__",
    "certify",
    "change",
    "compare_maps",
    "coverage",
    "demo",
    "evaluate",
    "features",
    "fetch",
    "find_fields",
    "find_new",
    "generate",
    "join",
    "keep_head",
    "kept_heads",
    "load_head",
    "make_head",
    "map_classes",
    "map_values",
    "open",
    "open_maps",
    "read_labels",
    "read_review",
    "read_values",
    "teach_head",
    "validate",
    "weak_labels",
    "write_map",
    "zones",
]

# Where those live that are no calls of the front door.
_ELSEWHERE = {
    "EmbeddingRaster": "raster",
    "Grid": "grid",
    "HeadChoice": "heads.choice",
    "InputError": "errors",
    "Project": "project.project",
    "Provenance": "provenance",
    "Region": "region",
    "TesseraError": "errors",
}

if TYPE_CHECKING:
    from tessera_core.api import (
        certify,
        change,
        compare_maps,
        coverage,
        demo,
        evaluate,
        features,
        fetch,
        find_fields,
        find_new,
        generate,
        join,
        keep_head,
        kept_heads,
        load_head,
        make_head,
        map_classes,
        map_values,
        open,
        open_maps,
        read_labels,
        read_review,
        read_values,
        teach_head,
        validate,
        weak_labels,
        write_map,
        zones,
    )
    from tessera_core.errors import InputError, TesseraError
    from tessera_core.grid import Grid
    from tessera_core.heads.choice import HeadChoice
    from tessera_core.project.project import Project
    from tessera_core.provenance import Provenance
    from tessera_core.raster import EmbeddingRaster
    from tessera_core.region import Region


def __getattr__(name: str) -> Any:
    """A public name, loaded now."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(f"{__name__}.{_ELSEWHERE.get(name, 'api')}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(set(globals()) | set(__all__))

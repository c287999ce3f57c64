"""Embeddings as a picture on matplotlib axes; ``EmbeddingRaster.plot`` is this."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from tessera_core.raster import EmbeddingRaster
from tessera_core.render.picture import pca_picture

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def plot(raster: EmbeddingRaster, ax: Axes | None = None, **options: Any) -> Axes:
    """See :meth:`~tessera_core.raster.EmbeddingRaster.plot`."""
    import matplotlib.pyplot as plt

    picture = np.dstack([pca_picture(raster, **options), np.where(raster.valid(), np.uint8(255), np.uint8(0))])
    if ax is None:
        _, ax = plt.subplots()
    grid = raster.grid
    west, south, east, north = grid.bounds
    # A turned grid has no box of its own; it is drawn as it is stored.
    straight = grid.crs is not None and not (grid.transform.b or grid.transform.d)
    ax.imshow(picture, extent=(west, east, south, north) if straight else None, interpolation="nearest")
    ax.set_title(f"{raster.provenance.dataset}{f', {raster.provenance.year}' if raster.provenance.year else ''}")
    ax.set_xlabel("easting (m)" if straight else "column")
    ax.set_ylabel("northing (m)" if straight else "row")
    return ax

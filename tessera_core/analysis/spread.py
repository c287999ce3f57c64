"""A few places that stand for a whole area: well inside it and far from each other."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

# Candidates for each place that is wanted.
CANDIDATES = 25


def spread_places(mask: NDArray[np.bool_], count: int, seed: int = 0) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Up to ``count`` pixels of an area, each as far as can be from those before it (farthest-first; Gonzalez 1985).

    Pixels all of whose eight neighbours belong to the area are preferred, because a boundary pixel is often a mixture.

    Args:
        mask: bool (H, W), the area.
        count: wanted.
        seed: for the first place and the draw of candidates.

    Returns:
        Rows and columns; fewer than ``count`` where the area has fewer pixels.
    """
    from scipy import ndimage

    random = np.random.default_rng(seed)
    inner = np.flatnonzero(ndimage.binary_erosion(mask, np.ones((3, 3), bool)))
    pixels = inner if len(inner) >= count else np.flatnonzero(mask)
    if len(pixels) == 0 or count < 1:
        return np.zeros(0, np.intp), np.zeros(0, np.intp)
    if len(pixels) > CANDIDATES * count:
        pixels = random.choice(pixels, CANDIDATES * count, replace=False)
    rows, cols = np.divmod(pixels, mask.shape[1])
    ground = np.stack([rows, cols], axis=1).astype(np.float64)
    chosen = [int(random.integers(len(pixels)))]
    nearest = ((ground - ground[chosen[0]]) ** 2).sum(1)
    while len(chosen) < min(count, len(pixels)):
        chosen.append(int(nearest.argmax()))
        nearest = np.minimum(nearest, ((ground - ground[chosen[-1]]) ** 2).sum(1))
    return rows[chosen], cols[chosen]

"""Which half of real ground our own training may read, without labels, and which is kept to judge by.

Of pixels that lie apart every second block of :data:`BLOCK` degrees, as on a chessboard; of a tile every second field of each
class, so that no judged field lends a pixel to training. Both sides of the same rule stand here, for training and for studies.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

BLOCK = 0.3  # degrees
# Unlabelled ground of a tile is dealt by squares of so many pixels.
SQUARE = 8
# Beside a tile: the class raster whose fields are dealt. A tile without it is taught whole.
OUTLINES = "labels_ct.tif"


def taught_blocks(lonlat: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Whether pixels at longitude and latitude (N, 2), in degrees, lie in blocks that training may read; bool (N,).

    Example:
        >>> taught_blocks(np.array([[0.1, 0.1], [0.4, 0.1], [0.4, 0.4]])).tolist()
        [True, False, True]
    """
    return np.asarray(np.floor(lonlat / BLOCK).astype(int).sum(1) % 2 == 0)


def judged_fields(y: NDArray[Any], fields: NDArray[Any]) -> NDArray[np.bool_]:
    """Whether labelled pixels (N,) lie in fields that are kept to judge by: of each class every second by size, from the largest.

    Args:
        y: class of each pixel.
        fields: number of the field of each pixel.

    Example:
        >>> judged_fields(np.ones(6, int), np.array([0, 0, 0, 1, 1, 2])).tolist()
        [True, True, True, False, False, True]
    """
    judged = np.zeros(len(y), bool)
    for k in np.unique(y):
        numbers, sizes = np.unique(fields[y == k], return_counts=True)
        order = numbers[np.argsort(-sizes, kind="stable")]
        judged |= (y == k) & np.isin(fields, order[::2])
    return judged


def taught_ground(labels: NDArray[Any]) -> NDArray[np.bool_]:
    """The pixels of a tile that training may read, bool (H, W).

    Args:
        labels: (H, W) class codes, 0 where there is none. Only the outlines of fields are used. Ground without a code is dealt by
            squares; what touches a judged field is left out.
    """
    judged = np.zeros(labels.shape, bool)
    for code in np.unique(labels[labels != 0]):
        part, _ = ndimage.label(labels == code)
        here = part > 0
        judged[here] = judged_fields(np.ones(int(here.sum()), int), part[here])
    rows, cols = np.indices(labels.shape)
    board = (rows // SQUARE + cols // SQUARE) % 2 == 0
    near = ndimage.binary_dilation(judged, np.ones((3, 3)))
    return np.asarray(np.where(labels != 0, ~judged, board & ~near))

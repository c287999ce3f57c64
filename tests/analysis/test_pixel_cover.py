"""The share of each pixel that a polygon covers is that of plain geometry, pixel by pixel."""

from __future__ import annotations

import numpy as np
import shapely
from hypothesis import assume, given
from hypothesis import strategies as st

from tessera_core.analysis.pixel_cover import pixel_cover

_COORDINATE = st.one_of(
    st.integers(-3, 12).map(float), st.floats(-3, 12, allow_subnormal=False).map(lambda v: round(v, 3))
)
_RING = st.lists(st.tuples(_COORDINATE, _COORDINATE), min_size=3, max_size=9)
BOX = (1, -2, 9, 7)
AROUND = (-3, -3, 12, 12)


def _plain(shape, box):
    top, left, bottom, right = box
    rows, cols = np.mgrid[top:bottom, left:right]
    cells = shapely.box(cols, rows, cols + 1, rows + 1)
    return shapely.area(shapely.intersection(cells, shape))


def _areas(shape):
    parts = shapely.get_parts(shapely.get_parts(shapely.make_valid(shape)))
    return shapely.union_all([p for p in parts if p.geom_type == "Polygon"])


@given(_RING, _RING)
def test_covers_are_those_of_intersections_with_every_pixel(shell, hole):
    shape = shapely.difference(_areas(shapely.Polygon(shell)), _areas(shapely.Polygon(hole)))
    if shape.is_empty or not shape.is_valid or shape.geom_type not in ("Polygon", "MultiPolygon"):
        return
    # Of slivers a thousand million times longer than wide, GEOS itself takes whole pixels for covered.
    assume(abs(_plain(shape, AROUND).sum() - shape.area) < 1e-9)
    np.testing.assert_allclose(pixel_cover(shape, BOX), _plain(shape, BOX), atol=1e-9)


def test_blocks_of_rows_are_those_of_the_whole():
    star = shapely.Polygon([(0.3, 0.2), (9.1, 4.4), (1.7, 3.9), (8.2, 9.6)]).buffer(0)
    whole = pixel_cover(star, (0, 0, 10, 10))
    pieces = [pixel_cover(star, (row, 0, row + 2, 10)) for row in range(0, 10, 2)]
    np.testing.assert_allclose(np.concatenate(pieces), whole, atol=1e-12)
    assert abs(whole.sum() - star.area) < 1e-9

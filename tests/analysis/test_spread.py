import numpy as np
import pytest

from tessera_core.analysis.spread import spread_places


def test_places_lie_inside_and_far_apart() -> None:
    mask = np.zeros((60, 90), bool)
    mask[5:25, 5:85] = True
    mask[40, 40] = True
    rows, cols = spread_places(mask, 6, seed=3)
    assert len(rows) == 6
    # Well inside: neither on the edge of the field nor the lone pixel.
    assert ((rows > 5) & (rows < 24) & (cols > 5) & (cols < 84)).all()
    squares = (rows[:, None] - rows) ** 2 + (cols[:, None] - cols) ** 2
    assert squares[~np.eye(6, dtype=bool)].min() > 8**2


def test_the_same_seed_gives_the_same_places_and_another_others() -> None:
    mask = np.ones((50, 50), bool)
    first = spread_places(mask, 5, seed=1)
    assert np.array_equal(first, spread_places(mask, 5, seed=1))
    assert not np.array_equal(first, spread_places(mask, 5, seed=2))


@pytest.mark.parametrize(("pixels", "wanted", "given"), [(0, 4, 0), (2, 4, 2), (5, 0, 0)])
def test_small_areas_give_what_they_have(pixels: int, wanted: int, given: int) -> None:
    mask = np.zeros((8, 8), bool)
    mask.reshape(-1)[: pixels * 7 : 7] = True
    rows, cols = spread_places(mask, wanted)
    assert len(rows) == given
    assert mask[rows, cols].all()
    assert len({*zip(rows.tolist(), cols.tolist(), strict=True)}) == given

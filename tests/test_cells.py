"""Cells lie alike for everybody: whatever part of a zone is cut, each pixel is in one cell, and always in the same."""

from __future__ import annotations

import numpy as np
import pytest
from affine import Affine

from tessera_core.cells import CELL_PX, Cell, cut, place
from tessera_core.errors import GridError
from tessera_core.grid import Grid


def grid_of(rng: np.random.Generator, south: bool) -> Grid:
    x, y = (int(v) for v in rng.integers((17_000, 100_000), (80_000, 900_000)))
    shape = tuple(int(v) for v in rng.integers(1, 3000, 2))
    return Grid(f"EPSG:{32731 if south else 32631}", Affine(10, 0, 10.0 * x, 0, -10, 10.0 * y), (shape[0], shape[1]))


@pytest.mark.parametrize("seed", range(8))
def test_parts_cover_a_grid_once_and_each_lies_in_its_cell(seed: int) -> None:
    grid = grid_of(np.random.default_rng(seed), south=bool(seed % 2))
    covered = np.zeros(grid.shape, np.uint8)
    for cell, part in cut(grid):
        rows, cols = (round(float(v)) for v in grid.xy_to_pixel(part.transform.c, part.transform.f))
        covered[rows : rows + part.height, cols : cols + part.width] += 1
        top, left = place(part)
        for first, size, number in ((top, part.height, cell.row), (left, part.width, cell.column)):
            assert number * CELL_PX <= first <= first + size <= (number + 1) * CELL_PX
        assert [one for one, _ in cut(part)] == [cell]
    assert (covered == 1).all()


def test_both_hemispheres_count_on_in_one_zone() -> None:
    north = Grid("EPSG:32631", Affine(10, 0, 500_000, 0, -10, 50), (10, 1))
    south = Grid("EPSG:32731", Affine(10, 0, 500_000, 0, -10, 10_000_050), (10, 1))
    assert list(map(str, (one for one, _ in cut(north)))) == list(map(str, (one for one, _ in cut(south))))
    assert [cell.row for cell, _ in cut(north)] == [999, 1000]
    assert Cell(1, 999, 48).name == "utm01_r0999_c0048"


@pytest.mark.parametrize("grid", [Grid.local((4, 4)), Grid("EPSG:4326", Affine(1, 0, 0, 0, -1, 0), (4, 4))])
def test_a_grid_of_no_zone_has_no_cells(grid: Grid) -> None:
    with pytest.raises(GridError, match="UTM"):
        list(cut(grid))

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from affine import Affine

from tessera_core.errors import Cancelled, RasterError
from tessera_core.fusion import fuse
from tessera_core.grid import Grid
from tessera_core.heads import make_head
from tessera_core.provenance import Provenance
from tessera_core.raster import EmbeddingRaster
from tests.analysis.two_years import two_years


def other_model(raster: EmbeddingRaster, size: float = 0.05, dim: int = 16) -> EmbeddingRaster:
    """A second dataset of the same place: a projection of the first, much smaller in size."""
    rng = np.random.default_rng(3)
    values = raster.sample(*[a.ravel() for a in np.indices(raster.shape)]) @ rng.normal(size=(raster.dim, dim)) * size
    values = np.nan_to_num(values).reshape(*raster.shape, dim)
    top = np.maximum(np.abs(values).max(-1), 1e-9)
    scales = np.where(raster.valid(), top / 127, np.nan).astype(np.float32)
    codes = np.rint(values / top[..., None] * 127).astype(np.int8)
    return EmbeddingRaster(codes, scales, raster.grid, Provenance("alphaearth", "1", "", dim, raster.provenance.year))


def test_both_halves_are_kept_and_weigh_the_same(tmp_path: Path) -> None:
    first = two_years(0, size=60).first
    second = other_model(first)
    fused = fuse(first, second, tmp_path / "fused")
    raster = fused.raster
    assert raster.dim == 64
    assert fused.cosine > 0.9995
    rows, cols = np.nonzero(raster.valid())
    values = raster.sample(rows, cols)
    parts = values[:, :48], values[:, 48:]
    spreads = [float(part.var(0).sum()) for part in parts]
    assert spreads == pytest.approx([1, 1], rel=0.02)
    for part, source, weight in zip(parts, (first, second), fused.weights, strict=True):
        wanted = source.sample(rows, cols) * weight
        error = np.linalg.norm(part - wanted, axis=1) / np.linalg.norm(wanted, axis=1)
        assert np.median(error) < 0.02
    np.testing.assert_array_equal(raster.valid(), first.valid() & second.valid())


def test_the_provenance_names_both(tmp_path: Path) -> None:
    first = two_years(0, size=60).first
    raster = fuse(first, other_model(first), tmp_path / "fused").raster
    again = EmbeddingRaster.open(tmp_path / "fused")
    assert again.provenance == raster.provenance
    assert raster.provenance.year == 2023
    assert "studio test (48-d) + alphaearth 1 (16-d)" in raster.provenance.dataset
    assert [part["model"] for part in raster.provenance.details["parts"]] == ["studio", "alphaearth"]
    years = two_years(0, size=60)
    two = fuse(years.first, years.second, tmp_path / "years").raster.provenance
    assert two.year is None
    assert "of 2023" in two.dataset
    assert "of 2024" in two.dataset


def test_another_grid_is_looked_up_by_place(tmp_path: Path) -> None:
    first = two_years(0, size=60).first
    window = replace(
        first,
        codes=np.array(first.codes[10:50, 5:45]),
        scales=np.array(first.scales[10:50, 5:45]),
        grid=first.grid.window(10, 5, 40, 40),
    )
    fused = fuse(first, window, tmp_path / "fused")
    valid = fused.raster.valid()
    assert valid[10:50, 5:45].all()
    assert valid.sum() == 1600
    assert fused.missing == 60 * 60 - 4 - 1600
    halves = fused.raster.sample([20, 30], [20, 40])
    np.testing.assert_allclose(halves[:, :48] / fused.weights[0], halves[:, 48:] / fused.weights[1], atol=0.2)
    lonlat = replace(window, grid=Grid("EPSG:4326", Affine(1e-4, 0, 100, 0, -1e-4, 10), (40, 40)))
    with pytest.raises(RasterError, match="no ground"):
        fuse(first, lonlat, tmp_path / "nowhere")
    assert not (tmp_path / "nowhere").exists()


def test_a_head_learns_from_both(tmp_path: Path) -> None:
    years = two_years(2, size=60)
    raster = fuse(years.first, other_model(years.first), tmp_path / "fused").raster
    rng = np.random.default_rng(0)
    rows, cols = rng.integers(1, 60, (2, 150))
    head = make_head("ridge").fit(raster.sample(rows, cols), years.covers[rows, cols] + 1)
    inner = np.index_exp[2:, 2:]
    predicted = head.predict(raster.sample(*[a[inner].ravel() for a in np.indices((60, 60))]))
    assert (predicted == years.covers[inner].ravel() + 1).mean() > 0.9


def test_stopping_leaves_nothing_behind(tmp_path: Path) -> None:
    first = two_years(0, size=60).first
    with pytest.raises(Cancelled):
        fuse(first, first, tmp_path / "fused", cancelled=lambda: True)
    assert list(tmp_path.iterdir()) == []

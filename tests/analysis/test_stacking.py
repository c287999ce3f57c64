from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from affine import Affine

from tessera_core.analysis.change import detect_change
from tessera_core.analysis.embedding_space import draw_pixels
from tessera_core.analysis.pca import fit_pca
from tessera_core.analysis.stacking import stack, stack_years
from tessera_core.errors import Cancelled, InputError, RasterError
from tessera_core.grid import Grid
from tessera_core.heads import make_head
from tessera_core.provenance import Provenance
from tessera_core.raster import EmbeddingRaster
from tessera_core.sources.local.open import open_embeddings
from tests.analysis.two_years import two_years
from tests.factories import alphaearth_like


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
    stacked = stack(first, second, tmp_path / "fused")
    raster = stacked.raster
    assert raster.dim == 64
    assert stacked.cosine > 0.9995
    rows, cols = np.nonzero(raster.valid())
    values = raster.sample(rows, cols)
    parts = values[:, :48], values[:, 48:]
    spreads = [float(part.var(0).sum()) for part in parts]
    assert spreads == pytest.approx([1, 1], rel=0.02)
    for part, source, weight in zip(parts, (first, second), stacked.weights, strict=True):
        wanted = source.sample(rows, cols) * weight
        error = np.linalg.norm(part - wanted, axis=1) / np.linalg.norm(wanted, axis=1)
        assert np.median(error) < 0.02
    np.testing.assert_array_equal(raster.valid(), first.valid() & second.valid())


def test_the_provenance_names_both(tmp_path: Path) -> None:
    first = two_years(0, size=60).first
    raster = stack(first, other_model(first), tmp_path / "fused").raster
    again = EmbeddingRaster.open(tmp_path / "fused")
    assert again.provenance == raster.provenance
    assert raster.provenance.year == 2023
    assert "studio test (48-d) + alphaearth 1 (16-d)" in raster.provenance.dataset
    assert [part["model"] for part in raster.provenance.details["parts"]] == ["studio", "alphaearth"]
    years = two_years(0, size=60)
    two = stack(years.first, years.second, tmp_path / "years").raster.provenance
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
    stacked = stack(first, window, tmp_path / "fused")
    valid = stacked.raster.valid()
    assert valid[10:50, 5:45].all()
    assert valid.sum() == 1600
    assert stacked.missing == 60 * 60 - 4 - 1600
    halves = stacked.raster.sample([20, 30], [20, 40])
    np.testing.assert_allclose(halves[:, :48] / stacked.weights[0], halves[:, 48:] / stacked.weights[1], atol=0.2)
    lonlat = replace(window, grid=Grid("EPSG:4326", Affine(1e-4, 0, 100, 0, -1e-4, 10), (40, 40)))
    with pytest.raises(RasterError, match="no ground"):
        stack(first, lonlat, tmp_path / "nowhere")
    assert not (tmp_path / "nowhere").exists()


def test_a_head_learns_from_both(tmp_path: Path) -> None:
    years = two_years(2, size=60)
    raster = stack(years.first, other_model(years.first), tmp_path / "fused").raster
    rng = np.random.default_rng(0)
    rows, cols = rng.integers(1, 60, (2, 150))
    head = make_head("ridge").fit(raster.sample(rows, cols), years.covers[rows, cols] + 1)
    inner = np.index_exp[2:, 2:]
    predicted = head.predict(raster.sample(*[a[inner].ravel() for a in np.indices((60, 60))]))
    assert (predicted == years.covers[inner].ravel() + 1).mean() > 0.9


def test_stopping_leaves_nothing_behind(tmp_path: Path) -> None:
    first = two_years(0, size=60).first
    with pytest.raises(Cancelled):
        stack(first, first, tmp_path / "fused", cancelled=lambda: True)
    assert list(tmp_path.iterdir()) == []


def test_alphaearth_beside_tessera_on_another_grid_is_one_source_for_everything(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TESSERA_HOME", str(tmp_path / "home"))
    years = two_years(3, size=96, share=0.25)
    alphaearth_like((years.first, years.second), tmp_path / "ae")
    theirs = {year: open_embeddings(tmp_path / "ae", year=year) for year in (2023, 2024)}
    assert theirs[2023].grid.crs != years.first.grid.crs
    assert theirs[2023].provenance.dataset == "alphaearth 1 (64-d)"
    ours = {2023: years.first, 2024: years.second}
    made = stack_years(ours, theirs, tmp_path / "both")
    rasters = {year: one.raster for year, one in made.items()}
    # Provenance of both, and one dataset over the years.
    assert (
        rasters[2023].provenance.dataset
        == rasters[2024].provenance.dataset
        == ("stack/studio test (48-d) + alphaearth 1 (64-d) (112-d)")
    )
    assert [part["dim"] for part in rasters[2024].provenance.details["parts"]] == [48, 64]
    assert [part["year"] for part in rasters[2024].provenance.details["parts"]] == [2024, 2024]
    # The parts weigh the same, whatever their size and width, and the years share the weights.
    assert made[2023].weights == made[2024].weights
    valid = rasters[2023].valid() & rasters[2024].valid()
    assert valid.mean() > 0.95
    rows, cols = np.nonzero(valid)
    spreads = [
        [float(r.sample(rows, cols)[:, part].var(0).sum()) for part in (slice(48), slice(48, None))]
        for r in rasters.values()
    ]
    np.testing.assert_allclose(np.mean(spreads, axis=0), 1, rtol=0.05)
    assert min(one.cosine for one in made.values()) > 0.999
    # Heads.
    chosen = np.random.default_rng(0).choice(len(rows), 200, replace=False)
    head = make_head("ridge").fit(
        rasters[2023].sample(rows[chosen], cols[chosen]), years.covers[rows, cols][chosen] + 1
    )
    predicted = head.predict(rasters[2023].sample(rows, cols))
    assert (predicted == years.covers[rows, cols] + 1).mean() > 0.9
    # Scatter.
    sample = draw_pixels(rasters, 2000)
    assert sample.values.shape == (2000, 112)
    assert fit_pca(list(rasters.values()), 3).components.shape == (3, 112)
    # Change.
    layer = detect_change(rasters[2023], rasters[2024])
    called = layer.mask(0.05)
    found = (called & years.changed).sum() / (years.changed & valid).sum()
    assert found > 0.6
    assert (called & ~years.changed).sum() <= 0.1 * called.sum()


def test_joining_never_deletes_what_it_did_not_make(tmp_path: Path) -> None:
    first = two_years(0, size=20).first
    second = other_model(first)
    work = tmp_path / "mywork"
    work.mkdir()
    (work / "notes.txt").write_text("mine")
    inputs = {2023: first}, {2023: second}
    for join in (lambda: stack(first, second, work), lambda: stack_years(*inputs, work)):
        with pytest.raises(InputError, match=r"notes\.txt"):
            join()
    source = first.save(tmp_path / "source")
    for join in (lambda: stack(first, second, source), lambda: stack_years(*inputs, source)):
        with pytest.raises(InputError, match="nothing was"):
            join()
    first.save(tmp_path / "years" / "2023")
    with pytest.raises(InputError, match="not joined"):
        stack_years(*inputs, tmp_path / "years")
    stack_years(*inputs, tmp_path / "joined")
    stack_years(*inputs, tmp_path / "joined")
    # A year that is not joined anew is not thrown away with the others.
    stack(first, second, tmp_path / "joined" / "2022")
    with pytest.raises(InputError, match="2022"):
        stack_years(*inputs, tmp_path / "joined")
    assert (work / "notes.txt").read_text() == "mine"
    assert EmbeddingRaster.open(source).provenance == first.provenance
    assert (tmp_path / "joined" / "2022" / "codes.npy").exists()


def test_only_years_of_both_are_joined(tmp_path: Path) -> None:
    years = two_years(0, size=60)
    other = other_model(years.second)
    made = stack_years({2023: years.first, 2024: years.second}, {2024: other, 2025: other}, tmp_path / "both")
    assert list(made) == [2024]
    assert made[2024].folder == tmp_path / "both" / "2024"
    assert EmbeddingRaster.open(tmp_path / "both" / "2024").provenance.year == 2024
    with pytest.raises(RasterError, match="no year in common"):
        stack_years({2023: years.first}, {2025: other}, tmp_path / "none")
    with pytest.raises(Cancelled):
        stack_years({2024: years.second}, {2024: other}, tmp_path / "stopped", cancelled=lambda: True)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["both"]


def test_embeddings_of_elsewhere_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TESSERA_HOME", str(tmp_path / "home"))
    years = two_years(0, size=60)
    alphaearth_like((years.first, years.second), tmp_path / "ae", wrong=True)
    with pytest.raises(RasterError, match="no ground"):
        stack(years.first, open_embeddings(tmp_path / "ae", year=2023), tmp_path / "both")

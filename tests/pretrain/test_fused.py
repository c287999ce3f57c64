"""The fused teacher: seasons of packed pixels, the geometry of its targets, and the fourth stage of the shipped weights."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from tessera_core.dpixels.seasons import seasonal_statistics
from tessera_core.dpixels.tile import DPixelTile
from tessera_core.models.checkpoint import LoadedEncoder, load_checkpoint
from tessera_core.models.normalisation import Normalisation
from tessera_core.pretrain.fused import Block, FusedTarget, packed_seasons
from tessera_core.pretrain.pixels import PixelSet, pack_tile
from tests.factories import make_tile
from tools import fused_nano


@pytest.fixture(scope="module")
def nano() -> LoadedEncoder:
    return load_checkpoint("studio-nano")


@pytest.fixture(scope="module")
def tile(tmp_path_factory: pytest.TempPathFactory) -> DPixelTile:
    return DPixelTile.open(make_tile(tmp_path_factory.mktemp("fused") / "tile", (12, 10), clear=0.6))


def _pixels(tile: DPixelTile, rows: np.ndarray, cols: np.ndarray) -> PixelSet:
    return pack_tile(tile, rows, cols, max_s2=32, max_s1=32, seed=0)


def test_seasons_of_packed_pixels_are_those_of_their_tile(tile: DPixelTile, nano: LoadedEncoder):
    rows, cols = (one.ravel() for one in np.indices((12, 10)))
    optical, radar = packed_seasons(_pixels(tile, rows, cols), nano.config.normalisation)
    wanted = seasonal_statistics(tile, rows, cols)[:, :135]
    never = (rows == 5) & (cols == 5)
    np.testing.assert_allclose(optical[~never], wanted[~never], rtol=1e-5, atol=1e-3)
    assert np.isnan(optical[never]).all()
    assert np.isnan(radar[never]).all()
    assert np.isfinite(radar[~never]).all()


def test_radar_months_are_means_over_both_orbits_each_normalised(nano: LoadedEncoder, tile: DPixelTile):
    pixels = _pixels(tile, np.array([3]), np.array([3]))
    passes = np.zeros_like(pixels.s1)
    passes[0, :3] = [[100, 10], [200, 20], [600, 60]]
    days = np.zeros_like(pixels.s1_doy)
    days[0, :3] = [5, 40, 8]  # two ascending passes, then a descending one in the first month
    one = np.ones(1, np.uint16)
    pixels = replace(pixels, s1=passes, s1_doy=days, s1_count=3 * one, s1_ascending=2 * one)
    plain = replace(
        nano.config.normalisation, asc_mean=(0, 0), asc_std=(1, 1), desc_mean=(100, 0), desc_std=(5, 1), name="plain"
    )
    assert isinstance(plain, Normalisation)
    _, radar = packed_seasons(pixels, plain)
    # (100 + (600 - 100) / 5) / 2 in January, 200 in February and, as nothing is known, in every later month.
    np.testing.assert_allclose(radar[0, :6], [100, 35, 200, 20, 200, 20], rtol=1e-5)


def test_a_target_keeps_the_distances_of_the_fused_vectors_and_its_prefix_holds_most():
    rng = np.random.default_rng(1)
    x = (rng.normal(size=(400, 6)) * [5, 3, 1, 0.3, 0.1, 0.1]).astype(np.float32)
    z = (rng.normal(size=(400, 4)) * [100, 1, 1, 1] + 7).astype(np.float32)
    z[:40] = np.nan
    blocks = [Block(x), Block(z, 2.0, even=True)]
    target = FusedTarget.fit(blocks, np.ones(400), 10, constant=40.0)
    found = target([x, z])
    np.testing.assert_allclose([found.mean(1).max(), found.std(1).min(), found.std(1).max()], [0, 1, 1], atol=1e-5)
    # With a large offset the length that is taken away is nearly the same everywhere: distances stay in proportion, but for
    # what lay along the mean of the axes.
    known = z[40:]
    a = (x - x.mean(0)) / np.sqrt(x.var(0).sum())
    b = np.zeros_like(z)
    b[40:] = np.clip((known - known.mean(0)) / known.std(0), -5, 5) * np.sqrt(2 / 4)
    joined = np.concatenate([a, b], axis=1)
    pairs = rng.integers(0, 400, (2, 300))
    before = np.linalg.norm(joined[pairs[0]] - joined[pairs[1]], axis=1)
    after = np.linalg.norm(found[pairs[0]] - found[pairs[1]], axis=1)
    assert np.corrcoef(before, after)[0, 1] > 0.9
    variance = found.var(0)
    assert variance[:5].sum() > 0.8 * variance.sum()


def test_the_student_starts_near_its_teacher_and_learns(tile: DPixelTile, nano: LoadedEncoder, monkeypatch):
    rows, cols = (one.ravel()[80:120] for one in np.indices((12, 10)))
    pixels = _pixels(tile, rows, cols)
    pool = [pixels, *(pixels.take(slice(0, 32)) for _ in range(4))]
    monkeypatch.setattr(fused_nano, "BATCH", 84)
    monkeypatch.setattr(fused_nano, "EVERY", 2)
    encoder = load_checkpoint("studio-nano").encoder
    state = {key: value.clone() for key, value in encoder.state_dict().items()}
    weight = np.ones(sum(map(len, pool)))
    targets = fused_nano.fused(encoder, [state, state], nano.config.normalisation, pool, weight)
    assert [len(one) for one in targets] == [len(one) for one in pool]
    assert all(torch.equal(value, encoder.state_dict()[key]) for key, value in state.items())
    stream = fused_nano.Stream(pool, targets, nano.config.normalisation)
    batch, target = stream(1)
    assert len(batch) == len(target) == 84
    # Each pixel comes with its own target.
    for place, wanted in zip(batch.place[:20], target[:20], strict=True):
        row = np.flatnonzero((pixels.place == place).all(1))[0]
        np.testing.assert_array_equal(wanted, targets[0][row])

    def distance() -> float:
        view = stream.view(5, batch)
        with torch.no_grad():
            said = encoder(torch.from_numpy(view.s2), torch.from_numpy(view.s1)).numpy()
        return float(np.square(said - target).mean())

    before = distance()
    fused_nano.fit_last_layer(encoder, stream, batches=1)
    near = distance()
    assert near < 0.6 * before
    averaged = fused_nano.train(encoder, stream, steps=2)
    assert set(averaged) == set(state)
    assert not all(torch.equal(value, averaged[key]) for key, value in state.items())


def test_the_shipped_weights_say_that_they_are_distilled(nano: LoadedEncoder):
    told = nano.card["training"]["distilled"]
    assert (told["steps"], told["seasons"]) == (fused_nano.STEPS, fused_nano.SEASONS)
    assert told["pixels"] == told["steps"] * fused_nano.BATCH

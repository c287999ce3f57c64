"""The second stage of the shipped weights: what it trains on, and weights between two."""

from __future__ import annotations

from itertools import islice
from pathlib import Path

import numpy as np
import rasterio
import torch

from tessera_core.dpixels.tile import S2_BANDS
from tessera_core.models.checkpoint import load_checkpoint
from tessera_core.pretrain.pixels import PixelSet, Series, pack_pixels
from tests.factories import make_grid, make_tile
from tools import further_nano

DOYS = np.arange(3, 363, 5)


def _pixels(count: int, seed: int = 0) -> PixelSet:
    rng = np.random.default_rng(seed)
    s2 = rng.integers(1, 9000, (count, len(DOYS), 10)).astype(np.uint16)
    s1 = rng.integers(1, 9000, (count, 4, 2)).astype(np.int16)
    radar = Series(s1, np.arange(1, 5))
    return pack_pixels(Series(s2, DOYS), radar, radar, max_s2=len(DOYS), max_s1=8, seed=0)


def test_a_third_of_the_pixels_become_medians_of_ten_days():
    before = _pixels(9)
    after = further_nano.composites(before, np.random.default_rng(3))
    changed = np.flatnonzero(after.s2_count != before.s2_count)
    assert len(changed) == 3
    one = int(changed[0])
    first = (DOYS - 1) // 10 == 0
    assert first.sum() == 2
    np.testing.assert_array_equal(after.s2[one, 0], np.median(before.s2[one][first], axis=0).astype(np.uint16))
    assert (after.s2_count[one], after.s2_doy[one, 0]) == (36, 6)
    assert not after.s2[one, 36:].any()
    kept = np.setdiff1d(np.arange(9), changed)
    np.testing.assert_array_equal(after.s2[kept], before.s2[kept])


def test_real_pixels_are_those_of_every_second_block_and_have_no_label(tmp_path: Path):
    lonlat = np.array([[0.1, 0.1], [0.4, 0.1], [0.4, 0.4], [0.7, 0.4]])
    s2 = np.ones((4, 36, 10), np.uint16) * np.arange(1, 5, dtype=np.uint16)[:, None, None]
    mask, doy = np.ones((4, 36), bool), np.arange(6, 366, 10)
    mask[2, :30] = False
    bands = list(reversed(S2_BANDS))
    np.savez(tmp_path / "place.npz", s2=s2, mask=mask, doy=doy, bands=bands, label=np.arange(4), lonlat=lonlat)
    half = further_nano.real_half(tmp_path / "place.npz", 64, 96)
    assert half.s2[:, 0, 0].tolist() == [1, 3]
    assert half.s2_count.tolist() == [36, 6]
    assert not half.label.any()
    assert not half.s1_count.any()


def test_a_batch_holds_all_kinds_and_an_epoch_holds_no_pixel_twice():
    simulated, crops, tile, stand = _pixels(3 * 224), _pixels(40, 1), _pixels(30, 2), _pixels(4, 3)
    for number, one in enumerate((simulated, crops, tile, stand)):
        one.place[:, 0], one.place[:, 2] = number, np.arange(len(one))
    for values in (crops.s1, crops.s1_doy, crops.s1_count, crops.s1_ascending):
        values[:] = 0
    made = list(islice(further_nano.batches(simulated, (crops, tile, stand), (20, 11.5, 0.5)), 4))
    counted = [np.bincount(one.place[:, 0], minlength=4).tolist() for one in made]
    assert counted == [[224, 20, 12, 0], [224, 20, 11, 1], [224, 20, 12, 0], [224, 20, 11, 1]]
    seen = np.concatenate([one.place[one.place[:, 0] == 0, 2] for one in made[:3]])
    np.testing.assert_array_equal(np.sort(seen), np.arange(3 * 224))
    # Of pixels of tiles half lack radar; simulated ones are as they were.
    radar = np.concatenate([one.s1_count[one.place[:, 0] >= 2] for one in made])
    assert 0.2 < (radar > 0).mean() < 0.8
    assert all((one.s1_count[one.place[:, 0] == 0] > 0).all() for one in made)


def test_of_a_tile_every_second_field_takes_part_and_of_one_without_outlines_all(tmp_path: Path):
    tile = make_tile(tmp_path / "tile", (16, 16), clear=1)
    assert len(further_nano.tile_half(tile, 20, 15)) == 256
    outlines = np.zeros((1, 16, 16), np.uint16)
    outlines[0, 2:8, 2:8], outlines[0, 10:14, 2:6] = 5, 5
    grid = make_grid((16, 16))
    profile = {"driver": "GTiff", "dtype": "uint16", "count": 1, "height": 16, "width": 16}
    with rasterio.open(tile / "labels_ct.tif", "w", **profile, crs=grid.crs, transform=grid.transform) as file:
        file.write(outlines)
    half = further_nano.tile_half(tile, 20, 15)
    places = {(int(row), int(col)) for _, row, col in half.place}
    assert {(row, col) for row in range(10, 14) for col in range(2, 6)} <= places
    assert not places & {(row, col) for row in range(1, 9) for col in range(1, 9)}
    assert not half.label.any()


def test_the_shipped_weights_say_what_they_lie_between():
    training = load_checkpoint("studio-nano").card["training"]
    assert training["continued"]["share"] == further_nano.STAGES["third"].share
    assert training["continued"]["steps"] == further_nano.STAGES["third"].steps
    first, last = {"w": torch.tensor([0.0, 2.0])}, {"w": torch.tensor([1.0, 0.0])}
    assert torch.allclose(further_nano.between(first, last, 0.25)["w"], torch.tensor([0.25, 1.5]))

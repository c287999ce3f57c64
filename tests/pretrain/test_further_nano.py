"""The second stage of the shipped weights: what it trains on, and weights between two."""

from __future__ import annotations

from itertools import islice
from pathlib import Path

import numpy as np
import torch

from tessera_core.dpixels.tile import S2_BANDS
from tessera_core.models.checkpoint import load_checkpoint
from tessera_core.pretrain.pixels import PixelSet, Series, pack_pixels
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


def test_a_batch_holds_both_kinds_and_an_epoch_holds_no_pixel_twice():
    simulated, real = _pixels(3 * 224), _pixels(40, 1)
    simulated.place[:, 2], real.place[:, 2] = np.arange(3 * 224), -1 - np.arange(40)
    places = [batch.place[:, 2] for batch in islice(further_nano.batches(simulated, real), 3)]
    assert all(len(one) == 256 and (one < 0).sum() == 32 for one in places)
    seen = np.concatenate(places)
    np.testing.assert_array_equal(np.sort(seen[seen >= 0]), np.arange(3 * 224))


def test_the_shipped_weights_say_what_they_lie_between():
    training = load_checkpoint("studio-nano").card["training"]
    assert training["continued"]["share"] == further_nano.SHARE
    assert training["continued"]["steps"] == further_nano.STEPS
    first, last = {"w": torch.tensor([0.0, 2.0])}, {"w": torch.tensor([1.0, 0.0])}
    assert torch.allclose(further_nano.between(first, last, 0.25)["w"], torch.tensor([0.25, 1.5]))

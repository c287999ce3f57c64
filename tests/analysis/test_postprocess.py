from __future__ import annotations

import json
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from affine import Affine
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy import ndimage

from tessera_core.analysis import postprocess
from tessera_core.errors import Cancelled, LabelError, RasterError
from tessera_core.grid import Grid
from tessera_core.heads import make_head, predict_raster
from tessera_core.raster import EmbeddingRaster
from tests.factories import make_raster

MAPS = arrays(np.uint8, st.tuples(st.integers(1, 9), st.integers(1, 9)), elements=st.integers(0, 3))


@given(MAPS, st.sampled_from([3, 5]))
@settings(deadline=None, max_examples=60)
def test_majority_equals_counting(classes: np.ndarray, size: int) -> None:
    found = postprocess.majority(classes, size)
    half = size // 2
    for r in range(classes.shape[0]):
        for c in range(classes.shape[1]):
            if classes[r, c] == 0:
                assert found[r, c] == 0
                continue
            window = classes[max(r - half, 0) : r + half + 1, max(c - half, 0) : c + half + 1]
            counts = np.bincount(window.ravel(), minlength=4)
            counts[0] = 0
            if counts[classes[r, c]] == counts.max():
                assert found[r, c] == classes[r, c]
            else:
                assert counts[found[r, c]] == counts.max()


def test_the_sieve_leaves_no_patch_below_the_mapping_unit() -> None:
    rng = np.random.default_rng(0)
    classes = postprocess.majority(rng.integers(1, 4, (60, 60)).astype(np.uint8))
    classes[:4] = 0
    grid = Grid("EPSG:32631", Affine(10, 0, 4e5, 0, -10, 5.7e6), classes.shape)
    assert postprocess.pixels_of(0.1, grid) == 10
    assert postprocess.pixels_of(0.101, grid) == 11
    found = postprocess.sieve(classes, 0.1, grid)
    assert ((found == 0) == (classes == 0)).all()
    assert (found != classes).any()
    for k in (1, 2, 3):
        patches, n = ndimage.label(found == k)
        assert n == 0 or np.bincount(patches.ravel())[1:].min() >= 10
    np.testing.assert_array_equal(postprocess.sieve(classes, 0.0, grid), classes)


def field(shape: tuple[int, int] = (48, 40), noise: float = 1.4) -> tuple[EmbeddingRaster, np.ndarray]:
    rng = np.random.default_rng(0)
    truth = np.where(np.arange(shape[1]) < shape[1] // 2, 1, 2)[None].repeat(shape[0], 0)
    truth[shape[0] // 2 :] = 3 - truth[shape[0] // 2 :]
    centres = np.zeros((3, 8))
    centres[1, 0], centres[2, 0] = 1, -1
    x = centres[truth] + noise * rng.normal(size=(*shape, 8))
    return make_raster(x, empty=np.s_[2:4, 5:9]), truth


def head_of(raster: EmbeddingRaster, truth: np.ndarray):
    rows, cols = np.divmod(np.random.default_rng(1).permutation(truth.size)[:300], truth.shape[1])
    return make_head("ridge").fit(raster.sample(rows, cols), truth[rows, cols])


def test_the_random_field_mends_noise_and_keeps_edges() -> None:
    raster, truth = field()
    head = head_of(raster, truth)
    valid = raster.valid()
    plain = postprocess.potts(raster, head, beta=0)
    np.testing.assert_array_equal(plain[valid], head.predict(raster.sample(*np.nonzero(valid))))
    smooth = postprocess.potts(raster, head)
    assert (smooth[~valid] == 0).all()
    before, after = ((m == truth)[valid].mean() for m in (plain, smooth))
    assert after > before + 0.05


def test_strips_meet_without_seams(monkeypatch: pytest.MonkeyPatch) -> None:
    raster, truth = field()
    head = head_of(raster, truth)
    whole = postprocess.potts(raster, head, beta=0.8, rounds=3)
    for rows in (1, 5, 7):
        monkeypatch.setattr(postprocess, "STRIP_BYTES", rows * 40 * 8 * 4)
        np.testing.assert_array_equal(postprocess.potts(raster, head, beta=0.8, rounds=3), whole)


def test_every_sweep_lowers_the_energy() -> None:
    raster, truth = field()
    head = head_of(raster, truth)
    evidence, valid = postprocess._evidence(raster, head, slice(0, 48))

    def energy(state: np.ndarray) -> float:
        same = ((state[1:] == state[:-1]) & valid[1:] & valid[:-1]).sum()
        same += ((state[:, 1:] == state[:, :-1]) & valid[:, 1:] & valid[:, :-1]).sum()
        own = np.take_along_axis(evidence, state[None], 0)[0][valid].sum()
        return -float(own) - 0.7 * float(same)

    energies = [energy(postprocess._icm(evidence, valid, 0.7, rounds, 0)) for rounds in range(5)]
    assert all(b <= a + 1e-3 for a, b in pairwise(energies))
    assert energies[1] < energies[0]


def test_wrong_wishes() -> None:
    raster, truth = field()
    with pytest.raises(LabelError, match="odd"):
        postprocess.majority(truth.astype(np.uint8), 4)
    with pytest.raises(LabelError, match="no place on Earth"):
        postprocess.sieve(truth.astype(np.uint8), 1.0, raster.grid)
    with pytest.raises(RasterError, match="negative"):
        postprocess.potts(raster, head_of(raster, truth), beta=-1)
    with pytest.raises(Cancelled):
        postprocess.potts(raster, head_of(raster, truth), cancelled=lambda: True)


def test_a_cleaning_survives_a_project_and_does_what_its_method_does() -> None:
    local, truth = field()
    grid = Grid("EPSG:32631", Affine(10, 0, 600_000, 0, -10, 5_800_000), local.shape)
    raster = replace(local, grid=grid)
    head = head_of(raster, truth)
    classes = predict_raster(head, raster).classes
    for way, expected in (
        (postprocess.PostProcessing("majority", size=5), postprocess.majority(classes, 5)),
        (postprocess.PostProcessing("sieve", hectares=0.05), postprocess.sieve(classes, 0.05, raster.grid)),
        (postprocess.PostProcessing("potts", beta=2.0), postprocess.potts(raster, head, 2.0)),
    ):
        again = postprocess.PostProcessing.from_json(json.loads(json.dumps(way.to_json())))
        assert again == way
        np.testing.assert_array_equal(again(classes, raster, head), expected)


@pytest.mark.parametrize("value", [{}, {"method": "majority"}, {"method": "blur", "size": 3, "hectares": 1, "beta": 1}])
def test_a_damaged_cleaning_is_refused_in_words(value: dict[str, object]) -> None:
    with pytest.raises(LabelError):
        postprocess.PostProcessing.from_json(value)

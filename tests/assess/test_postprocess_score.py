"""The score of a cleaned map comes from labels that its map has not seen."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from tessera_core.analysis.postprocess import majority, potts
from tessera_core.assess.postprocess import score_post_processing
from tessera_core.assess.samples import CodeFeatures, MatrixFeatures, Samples
from tessera_core.errors import Cancelled, LabelError
from tessera_core.heads import make_head
from tests.factories import make_raster


def region(noise=1.5):
    """Large squares of two classes, so noisy that neighbours help; 60 clicks."""
    rng = np.random.default_rng(0)
    truth = (np.add.outer(np.arange(120) // 30, np.arange(120) // 30) % 2) + 1
    centres = np.zeros((3, 8))
    centres[1, 0], centres[2, 0] = 1, -1
    raster = make_raster(centres[truth] + noise * rng.normal(size=(120, 120, 8)))
    rows, cols = np.divmod(rng.permutation(120 * 120)[:60], 120)
    features = CodeFeatures(raster.codes[rows, cols], raster.scales[rows, cols])
    return raster, Samples(features, truth[rows, cols], np.arange(60), rows, cols, {1: "field", 2: "wood"})


@pytest.mark.parametrize("how", ["majority", "field"])
def test_smoothing_of_large_fields_is_seen_to_help(how):
    raster, samples = region()
    smoothed = {"majority": lambda m, _: majority(m, 5), "field": lambda _, head: potts(raster, head)}[how]
    found = score_post_processing(samples, make_head("ridge"), raster, smoothed)
    assert found.n_labels == 60
    assert found.after > found.before + 0.05
    assert 0 < found.changed < 0.5
    assert "better" in found.sentence


def test_what_changes_nothing_scores_the_same_and_what_spoils_is_told():
    raster, samples = region()
    same = score_post_processing(samples, make_head("ridge"), raster, lambda m, _: m.copy())
    assert same.before == same.after
    assert "no difference" in same.sentence
    spoilt = score_post_processing(samples, make_head("ridge"), raster, lambda m, _: np.ones_like(m))
    assert "worse" in spoilt.sentence
    with pytest.raises(Cancelled):
        score_post_processing(samples, make_head("ridge"), raster, lambda m, _: m, cancelled=lambda: True)
    plain = MatrixFeatures(np.zeros((60, 2), np.float32))
    with pytest.raises(LabelError, match="on embeddings"):
        score_post_processing(replace(samples, features=plain), make_head("ridge"), raster, lambda m, _: m)

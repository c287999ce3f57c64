"""The objective equals the golden vectors and its plain written-out form."""

from __future__ import annotations

import csv
import math

import numpy as np
import pytest
import torch

from tessera_core.pretrain.barlow import (
    Mixture,
    barlow_loss,
    cross_correlation,
    effective_rank,
    mixup_loss,
    objective,
)
from tessera_core.pretrain.schedule import learning_rate


@pytest.fixture(scope="module")
def golden(shared):
    with np.load(shared / "golden/training/barlow_mix.npz") as file:
        return {key: torch.from_numpy(np.asarray(file[key])) for key in file.files}


def test_barlow_equals_golden(golden):
    terms = barlow_loss(golden["z1"], golden["z2"])
    assert torch.allclose(cross_correlation(golden["z1"], golden["z2"]), golden["cc"], atol=1e-6)
    assert float(terms.loss) == pytest.approx(float(golden["loss"]), rel=1e-6)
    assert float(terms.on_diagonal) == pytest.approx(float(golden["on_diag"]), rel=1e-6)
    assert float(terms.off_diagonal) == pytest.approx(float(golden["off_diag"]), rel=1e-6)


def test_mixup_and_total_equal_golden(golden):
    z1, z2, zm, order = golden["z1"], golden["z2"], golden["zm"], golden["idxs"].long()
    alpha = float(golden["alpha"])
    assert float(mixup_loss(z1, z2, zm, order, alpha)) == pytest.approx(float(golden["mix"]), rel=1e-6)
    total, _, _ = objective(z1, z2, Mixture(zm, order, alpha, 1.0), 5e-3)
    assert float(total) == pytest.approx(float(golden["total"]), rel=1e-6)


def test_rank_equals_golden(golden):
    assert effective_rank(golden["z1"]) == pytest.approx(float(golden["rankme_z1"]), abs=1e-6)
    assert effective_rank(golden["z2"]) == pytest.approx(float(golden["rankme_z2"]), abs=1e-6)


@pytest.mark.parametrize("shape", [(12, 40), (40, 12)])
def test_gram_shortcut_equals_the_written_out_formulas(shape):
    generator = torch.Generator().manual_seed(1)
    z1, z2, zm = (torch.randn(shape, generator=generator, dtype=torch.float32) for _ in range(3))
    order, alpha, lambd = torch.randperm(shape[0], generator=generator), 0.3, 5e-3
    c = cross_correlation(z1, z2)
    on = (c.diagonal() - 1).square().sum()
    off = c.square().sum() - c.diagonal().square().sum()
    a = cross_correlation(zm, z1) - (alpha * cross_correlation(z1, z1) + 0.7 * cross_correlation(z2[order], z1))
    b = cross_correlation(zm, z2) - (alpha * cross_correlation(z1, z2) + 0.7 * cross_correlation(z2[order], z2))
    expected = on + lambd * off + lambd * (a.square().sum() + b.square().sum())
    total, terms, _ = objective(z1, z2, Mixture(zm, order, alpha, 1.0), lambd)
    assert float(total) == pytest.approx(float(expected), rel=1e-5)
    assert float(terms.off_diagonal) == pytest.approx(float(off), rel=1e-5)


def test_perfect_views_have_almost_no_diagonal_loss():
    z = torch.randn(64, 8, generator=torch.Generator().manual_seed(0))
    terms = barlow_loss(z, z)
    assert float(terms.on_diagonal) == pytest.approx(8 * (1 / 64) ** 2, rel=1e-3)


def test_a_constant_column_stays_finite():
    z = torch.randn(16, 4, generator=torch.Generator().manual_seed(0))
    z[:, 2] = 1.5
    assert math.isfinite(float(barlow_loss(z, z).loss))


def test_schedule_equals_golden(shared):
    with open(shared / "golden/training/lr_schedule.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert rows
    for row in rows:
        total, step = int(row["total_steps"]), int(row["step"])
        lr = learning_rate(step, total, 0.002, float(row["warmup_ratio"]), float(row["plateau_ratio"]))
        assert 0.2 * lr == pytest.approx(float(row["lr_weights"]), rel=1e-6, abs=1e-18)
        assert 0.0048 * lr == pytest.approx(float(row["lr_biases"]), rel=1e-6, abs=1e-18)


def test_mixup_of_a_part_of_the_batch_is_that_parts_own_term():
    generator = torch.Generator().manual_seed(2)
    z1, z2 = (torch.randn(20, 6, generator=generator) for _ in range(2))
    zm, order = torch.randn(8, 6, generator=generator), torch.randperm(8, generator=generator)
    total, terms, mix = objective(z1, z2, Mixture(zm, order, 0.4, 1.0), 5e-3)
    assert float(mix) == pytest.approx(float(mixup_loss(z1[:8], z2[:8], zm, order, 0.4)), rel=1e-5)
    assert float(total) == pytest.approx(float(terms.loss + mix), rel=1e-6)

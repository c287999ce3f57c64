"""The golden comparison has teeth: each classic mistake (spec section 7), put in on purpose, makes it fail by far."""

from __future__ import annotations

import copy
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from tessera_core.models import layers
from tessera_core.models.config import StackConfig
from tessera_core.models.encoder import Encoder
from tessera_core.models.inputs import PixelSeries, choose_positions
from tessera_core.models.normalisation import NORMALISATIONS, Normalisation
from tests.models.golden_runs import GoldenRun, golden_run


def assert_fails(run: GoldenRun, **changed: object) -> None:
    assert run.difference() <= run.tolerance, "the unchanged implementation must agree"
    assert run.difference(**changed) > 20 * run.tolerance


def _torch_style_scan(
    inputs: torch.Tensor, state_rz: torch.Tensor, state_n: torch.Tensor, reset: str = "before"
) -> torch.Tensor:
    """Reset gate after the candidate's matrix product, as in torch and cuDNN."""
    width, state, states = state_n.shape[0], inputs.new_zeros(inputs.shape[0], state_n.shape[0]), []
    for step in inputs.unbind(1):
        r, z = torch.sigmoid(step[:, : 2 * width] + F.linear(state, state_rz)).chunk(2, dim=-1)
        state = (1 - z) * state + z * torch.tanh(step[:, 2 * width :] + r * F.linear(state, state_n))
        states.append(state)
    return torch.stack(states, dim=1)


def _flipped_z_scan(
    inputs: torch.Tensor, state_rz: torch.Tensor, state_n: torch.Tensor, reset: str = "before"
) -> torch.Tensor:
    """z keeps the old state, as in torch and cuDNN."""
    width, state, states = state_n.shape[0], inputs.new_zeros(inputs.shape[0], state_n.shape[0]), []
    for step in inputs.unbind(1):
        r, z = torch.sigmoid(step[:, : 2 * width] + F.linear(state, state_rz)).chunk(2, dim=-1)
        state = z * state + (1 - z) * torch.tanh(step[:, 2 * width :] + F.linear(r * state, state_n))
        states.append(state)
    return torch.stack(states, dim=1)


@pytest.mark.parametrize("scan", [_torch_style_scan, _flipped_z_scan])
@pytest.mark.parametrize(("folder", "name"), [("v1_0_qat_tiny", "exact40"), ("v1_1_tiny", "a_mpc")])
def test_wrong_gru(shared: Path, monkeypatch: pytest.MonkeyPatch, folder: str, name: str, scan: object) -> None:
    run = golden_run(shared, folder, name)
    assert run.difference() <= run.tolerance
    monkeypatch.setattr(layers, "custom_gru_scan", scan)
    assert run.difference() > 20 * run.tolerance


def test_pooling_the_context_instead_of_the_tokens(shared: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = golden_run(shared, "v1_1_tiny", "a_mpc")

    def pooled(self: layers.AttentionPooling, x: torch.Tensor, log_multiplicity: object = None) -> torch.Tensor:
        context = self.layer_norm(self.temporal_context(x))
        return (torch.softmax(self.query(context), 1) * context).sum(1)

    monkeypatch.setattr(layers.AttentionPooling, "forward", pooled)
    assert run.difference() > 20 * run.tolerance


def _orbits_exchanged(run: GoldenRun) -> PixelSeries:
    a = run.arrays()
    a["sar_asc"], a["sar_desc"] = a["sar_desc"], a["sar_asc"]
    a["doys_asc"], a["doys_desc"] = a["doys_desc"], a["doys_asc"]
    return PixelSeries.of_arrays(**a)


def _statistics_exchanged(n: Normalisation) -> Normalisation:
    return Normalisation("exchanged", n.s2_mean, n.s2_std, n.desc_mean, n.desc_std, n.asc_mean, n.asc_std)


def test_descending_before_ascending_with_right_statistics(shared: Path) -> None:
    # Only the order is wrong, which the recurrent pooling sees.
    run = golden_run(shared, "v1_1_tiny", "a_mpc")
    config = run.config.with_normalisation(_statistics_exchanged(run.config.normalisation))
    assert_fails(run, series=_orbits_exchanged(run), config=config)


@pytest.mark.parametrize("folder", ["v1_1_tiny", "v2_student_nano"])
def test_orbits_exchanged(shared: Path, folder: str) -> None:
    run = golden_run(shared, folder, "a_mpc" if folder == "v1_1_tiny" else "a")
    assert_fails(run, series=_orbits_exchanged(run))


@pytest.mark.parametrize(
    ("folder", "name", "wrong"),
    [("v1_1_tiny", "a_mpc", "v2"), ("v2_student_nano", "a", "v1.1"), ("v2_teacher_tiny", "long", "v1.1")],
)
def test_padding_rule_of_another_version(shared: Path, folder: str, name: str, wrong: str) -> None:
    run = golden_run(shared, folder, name)
    sampling = replace(run.config.sampling, rule=wrong)
    # Pixels that are run under both rules; what only one of them runs would fail for another reason.
    ours = run.embeddings(config=replace(run.config, sampling=sampling))
    both = run.expected_embeddings().any(axis=1)
    assert run.difference() <= run.tolerance
    assert np.abs(ours - run.expected_embeddings())[both].max() > 20 * run.tolerance


@pytest.mark.parametrize(
    ("folder", "name", "wrong"),
    [
        ("v1_0_fp32_tiny", "exact40", "v1.1-mpc"),
        ("v1_0_qat_tiny", "exact40", "v2-student"),
        ("v1_1_tiny", "a_mpc", "v1.1-aws"),
        ("v1_1_tiny", "a_aws", "v1.1-mpc"),
        ("v2_student_nano", "a", "v2-teacher"),
        ("v2_teacher_tiny", "a", "v2-student"),
    ],
)
def test_normalisation_of_another_version(shared: Path, folder: str, name: str, wrong: str) -> None:
    run = golden_run(shared, folder, name)
    assert_fails(run, config=run.config.with_normalisation(NORMALISATIONS[wrong]))


def test_hiding_duplicates_instead_of_counting_them(shared: Path) -> None:
    run = golden_run(shared, "v2_student_nano", "a")
    sampling = replace(run.config.sampling, bins=tuple(range(1, 257)))
    assert_fails(run, config=replace(run.config, sampling=sampling))


def test_another_number_of_heads(shared: Path) -> None:
    run = golden_run(shared, "v1_0_fp32_tiny", "t40")
    wrong = replace(run.config, s2=StackConfig(2, 8, 64), s1=StackConfig(2, 8, 64))
    encoder = Encoder(wrong).eval()
    encoder.load_state_dict(run.loaded.encoder.state_dict())
    assert_fails(run, encoder=encoder)


@pytest.mark.parametrize(
    ("folder", "change"),
    [
        ("v2_student_tiny_qknorm", {"norm": "pre"}),
        ("v2_teacher_tiny", {"norm": "post"}),
        ("v2_student_nano", {"final_layernorm": False}),
    ],
)
def test_another_norm_placement(shared: Path, folder: str, change: dict) -> None:
    run = golden_run(shared, folder, "a")
    encoder = Encoder(replace(run.config, **change)).eval()
    encoder.load_state_dict(run.loaded.encoder.state_dict())
    assert_fails(run, encoder=encoder)


def test_sensors_fused_in_the_wrong_order(shared: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = golden_run(shared, "v2_teacher_tiny", "a")
    fuse = Encoder.fuse
    monkeypatch.setattr(Encoder, "fuse", lambda self, s2, s1: fuse(self, s1, s2))
    assert run.difference() > 20 * run.tolerance


def test_day_of_year_in_bfloat16(shared: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = golden_run(shared, "v2_student_nano", "long")
    from tessera_core.models import encoder as module

    exact = module.doy_encoding
    monkeypatch.setattr(module, "doy_encoding", lambda doys, width: exact(doys.bfloat16(), width))
    assert run.difference() > 20 * run.tolerance


def test_exact_integer_positions(shared: Path) -> None:
    """The tidy formula i * (n - 1) // (B - 1) is not what the reference does."""
    golden = np.load(shared / "golden/v2_student_nano/expected/pad_patterns.npz")
    differ = [
        n
        for n in (295, 310, 311, 343, 358)
        if not np.array_equal(np.arange(256) * (n - 1) // 255, golden[f"n{n}_B256"])
    ]
    assert differ == [295, 310, 311, 343, 358]


def test_swapping_bands(shared: Path) -> None:
    run = golden_run(shared, "v2_student_nano", "a")
    arrays = run.arrays()
    arrays["bands"] = arrays["bands"][..., [1, 2, 0, 3, 5, 6, 7, 4, 8, 9]]  # ascending wavelengths
    assert_fails(run, series=PixelSeries.of_arrays(**arrays))


def test_perturbed_weight_is_seen(shared: Path) -> None:
    run = golden_run(shared, "v2_student_nano", "a")
    encoder = copy.deepcopy(run.loaded.encoder)
    with torch.no_grad():
        encoder.s1_backbone.attn_pool.query.weight[0, 0] += 0.05
    assert_fails(run, encoder=encoder)


def test_order_of_positions_matters_where_it_should(shared: Path) -> None:
    run = golden_run(shared, "v1_1_tiny", "a_mpc")
    assert run.config.order_matters
    assert not golden_run(shared, "v2_student_nano", "a").config.order_matters
    assert list(choose_positions(3, run.config.sampling)) == [0, 1, 2, 0, 1, 1, 1, 2]

"""Properties of the parts that hold for any weights."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch.nn import functional as F

from tessera_core.models.config import EncoderConfig, StackConfig, v1_0_fp32, v1_0_qat, v1_1, v2_student, v2_teacher
from tessera_core.models.encoder import Encoder
from tessera_core.models.layers import CustomGRUCell, QKNormLayer, attend, custom_gru_scan, doy_encoding

CONFIGS: dict[str, EncoderConfig] = {
    "v1.0-fp32": v1_0_fp32(4, 1, 4, 16, 8),
    "v1.0-qat": v1_0_qat(4, 1, 4, 16, 8),
    "v1.1": v1_1(4, 12, 8, StackConfig(1, 4, 16), StackConfig(2, 2, 12)),
    "v2-student": v2_student(4, 2, 4, 16, 8, (4, 8)),
    "v2-student-qk": v2_student(4, 2, 4, 16, 8, (4, 8), qk_norm=True),
    "v2-teacher": v2_teacher(4, 2, 4, 16, 8),
}


def encoder_of(config: EncoderConfig) -> Encoder:
    torch.manual_seed(1)
    encoder = Encoder(config)
    for parameter in encoder.parameters():
        parameter.data += 0.1 * torch.randn_like(parameter)
    return encoder.eval()


def series(batch: int, steps: int, channels: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(steps)
    x = torch.randn(batch, steps, channels + 1, generator=generator)
    x[..., -1] = torch.randint(1, 367, (batch, steps), generator=generator).float()
    return x


@pytest.mark.parametrize("name", ["v2-student", "v2-student-qk", "v2-teacher"])
def test_log_multiplicity_equals_repetition(name: str) -> None:
    backbone = encoder_of(CONFIGS[name]).double().s2_backbone
    x = series(3, 5, 10).double()
    times = torch.tensor([[1, 2, 1, 3, 1], [4, 1, 1, 1, 1], [1, 1, 1, 1, 4]])
    repeated = torch.stack([row.repeat_interleave(t, dim=0) for row, t in zip(x, times, strict=True)])
    # Filling (minus infinity) must leave no trace either.
    filled = torch.cat((x, 100 * torch.ones(3, 2, 11, dtype=torch.float64)), dim=1)
    bias = torch.cat((times.double().log(), torch.full((3, 2), -torch.inf, dtype=torch.float64)), dim=1)
    with torch.inference_mode():
        torch.testing.assert_close(backbone(filled, bias), backbone(repeated), rtol=0, atol=1e-6)


@pytest.mark.parametrize("name", ["v1.0-fp32", "v1.0-qat", "v1.1"])
def test_recurrent_pooling_refuses_multiplicity(name: str) -> None:
    with pytest.raises(ValueError, match="repeated observation"):
        encoder_of(CONFIGS[name]).s2_backbone(series(1, 3, 10), torch.zeros(1, 3))


@pytest.mark.parametrize("name", CONFIGS)
def test_order_matters_only_where_the_configuration_says_so(name: str) -> None:
    encoder = encoder_of(CONFIGS[name])
    x = series(2, 6, 10)
    with torch.inference_mode():
        same = torch.allclose(encoder.s2_backbone(x), encoder.s2_backbone(x.flip(1)), atol=1e-5)
    assert same != CONFIGS[name].order_matters


@pytest.mark.parametrize("name", CONFIGS)
def test_lengths_zero_and_one(name: str) -> None:
    encoder = encoder_of(CONFIGS[name])
    with torch.inference_mode():
        assert not encoder.s1_backbone(torch.zeros(2, 0, 3)).any()
        x = series(2, 1, 2)
        token = encoder.s1_backbone.transformer_encoder(encoder.s1_backbone.tokens(x))[:, 0]
        torch.testing.assert_close(encoder.s1_backbone(x), token)


@pytest.mark.parametrize("name", CONFIGS)
def test_every_parameter_learns(name: str) -> None:
    encoder = encoder_of(replace(CONFIGS[name], dropout=0.1)).train()
    out = encoder(series(8, 5, 10), series(8, 4, 2))
    (out * torch.randn_like(out)).sum().backward()
    # The bias of the pooling query shifts all scores alike, so softmax hides it from the loss.
    without = {n for n, p in encoder.named_parameters() if p.grad is None or not p.grad.any()}
    assert {n for n in without if not n.endswith(("attn_pool.query.bias", "k_proj.bias"))} == set()


def test_dropout_only_while_training() -> None:
    encoder = encoder_of(replace(CONFIGS["v2-student"], dropout=0.5))
    s2, s1 = series(2, 5, 10), series(2, 4, 2)
    assert torch.equal(encoder(s2, s1), encoder(s2, s1))
    encoder.train()
    assert not torch.equal(encoder(s2, s1), encoder(s2, s1))


def test_gru_scan_equals_the_cell_written_out() -> None:
    torch.manual_seed(0)
    cell = CustomGRUCell(6).double()
    for parameter in cell.parameters():
        torch.nn.init.normal_(parameter)
    x, h, states = torch.randn(3, 4, 6, dtype=torch.float64), torch.zeros(3, 6, dtype=torch.float64), []
    for t in range(4):
        r = torch.sigmoid(cell.W_ir(x[:, t]) + cell.W_hr(h) + cell.b_r)
        z = torch.sigmoid(cell.W_iz(x[:, t]) + cell.W_hz(h) + cell.b_z)
        n = torch.tanh(cell.W_ih(x[:, t]) + cell.W_hh(r * h) + cell.b_h)
        h = (1 - z) * h + z * n
        states.append(h)
    torch.testing.assert_close(cell(x), torch.stack(states, 1))


def test_gru_scan_compiles_whole() -> None:
    torch.manual_seed(0)
    inputs, rz, n = torch.randn(2, 3, 12), torch.randn(8, 4), torch.randn(4, 4)
    compiled = torch.compile(custom_gru_scan, fullgraph=True, backend="eager")
    torch.testing.assert_close(compiled(inputs, rz, n), custom_gru_scan(inputs, rz, n))


def test_attend_equals_softmax_written_out() -> None:
    torch.manual_seed(0)
    q, k, v = torch.randn(3, 2, 5, 8, dtype=torch.float64).unbind()
    parts = []
    for head in range(2):
        s = slice(4 * head, 4 * head + 4)
        parts.append(F.softmax(q[..., s] @ k[..., s].mT / 2, -1) @ v[..., s])
    torch.testing.assert_close(attend(q, k, v, 2, None, 0.0), torch.cat(parts, -1))


def test_qk_norm_stays_in_float32_under_autocast() -> None:
    torch.manual_seed(0)
    layer = QKNormLayer(8, 2, 16, 0.0, True)
    seen = []
    layer.q_norm.register_forward_hook(lambda _, inputs, __: seen.append(inputs[0].dtype))
    with torch.autocast("cpu", torch.bfloat16):
        layer(torch.randn(1, 3, 8))
    assert seen == [torch.float32]
    assert layer.q_norm.eps == torch.finfo(torch.float32).eps


@pytest.mark.parametrize("name", CONFIGS)
def test_bfloat16_autocast_stays_close(name: str) -> None:
    encoder = encoder_of(CONFIGS[name])
    s2, s1 = series(16, 9, 10), series(16, 7, 2)
    with torch.inference_mode():
        exact = encoder(s2, s1)
        with torch.autocast("cpu", torch.bfloat16):
            rough = encoder(s2, s1).float()
    assert F.cosine_similarity(exact, rough).min() > 0.99


def test_doy_encoding() -> None:
    pe = doy_encoding(torch.tensor([0, 366]), 8)
    assert pe.dtype == torch.float32
    assert pe[0].tolist() == [0, 1, 0, 1, 0, 1, 0, 1]
    torch.testing.assert_close(pe[1, :2], torch.stack((torch.tensor(366.0).sin(), torch.tensor(366.0).cos())))
    assert doy_encoding(torch.zeros(2, 3, 4), 6).shape == (2, 3, 4, 6)

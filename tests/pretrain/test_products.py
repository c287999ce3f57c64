"""The quicker products give what torch's own give, values and gradients."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional as F

from tessera_core.bench.pretrain import measure
from tessera_core.pretrain import products
from tessera_core.pretrain.products import QuickProducts


def leaves(*shapes: tuple[int, ...], dtype: torch.dtype = torch.float32) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    return [torch.randn(shape, generator=generator).to(dtype).requires_grad_() for shape in shapes]


# Narrow, wide and odd widths; with 20 rows torch's own function runs.
@pytest.mark.parametrize("shape", [(9, 16, 144, 432), (300, 1, 10, 144), (20, 1, 8, 8), (130, 1, 200, 130)])
@pytest.mark.parametrize("bias", [True, False])
def test_linear_equals_torch(shape, bias):
    pixels, dates, inputs, outputs = shape
    results = []
    for quick in (False, True):
        x, weight, b = leaves((pixels, dates, inputs), (outputs, inputs), (outputs,))
        arguments = (x, weight, b) if bias else (x, weight)
        if quick:
            with QuickProducts():
                y = F.linear(*arguments)
                y.square().mean().backward()
        else:
            y = F.linear(*arguments)
            y.square().mean().backward()
        results.append([y.detach(), *[leaf.grad for leaf in arguments]])
    for a, b in zip(*results, strict=True):
        assert torch.allclose(a, b, rtol=1e-4, atol=1e-5 * float(a.abs().max()))


def test_the_quicker_way_is_taken_where_it_can_be(monkeypatch):
    calls = []
    monkeypatch.setattr(products, "_product", lambda x, w, b: calls.append(1) or F.linear(x, w, b))
    monkeypatch.setattr(products.torch_private, "HAS_ONEDNN", True)
    x, weight = leaves((100, 144), (144, 144))
    with QuickProducts():
        F.linear(x, weight).sum().backward()
    assert len(calls) == 3
    with QuickProducts(), torch.autocast("cpu", torch.bfloat16):
        F.linear(x, weight)
    assert len(calls) == 3


def test_attention_in_bfloat16_equals_float32():
    results = []
    for dtype in (torch.float32, torch.bfloat16):
        q, k, v = leaves((6, 4, 16, 36), (6, 4, 16, 36), (6, 4, 16, 36), dtype=dtype)
        with QuickProducts():
            out = F.scaled_dot_product_attention(q, k, v, attn_mask=None, dropout_p=0.0)
            out.float().square().sum().backward()
        assert out.dtype == dtype
        assert q.grad is not None
        results.append([out.detach().float(), q.grad.float(), v.grad.float()])
    for a, b in zip(*results, strict=True):
        assert torch.allclose(a, b, rtol=0.05, atol=0.03 * float(a.abs().max()))


def test_the_measurement_compares_equal_steps():
    """Both forms start from the same weights and inputs, so their first losses agree."""
    result = measure(16, 6, 1, threads=1)
    losses = result["loss_of_the_first_step"]
    assert losses["ours_fp32"] == pytest.approx(losses["plain_fp32"], rel=1e-4)
    seconds = result["seconds"]
    assert result["ratio_reference_fp32"] == pytest.approx(seconds["plain_fp32"] / seconds["ours_fp32"], rel=0.05)
    best = seconds[f"ours_{result['dtype']}"]
    assert result["hours_per_epoch"] == pytest.approx(8e8 / 16 * (best + seconds["views"]) / 3600, rel=0.05)
    assert "800,000,000" in result["assumption"]

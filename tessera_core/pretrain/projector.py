"""The projector: the part of the network that only training needs."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn


class Projector(nn.Module):
    """Linear, BatchNorm, ReLU per hidden width, then a bare Linear (spec/model.md section 1.2).

    BatchNorm sees one call per view, so that no view's statistics leak into another's.
    """

    def __init__(self, inputs: int, widths: Sequence[int]) -> None:
        super().__init__()
        parts: list[nn.Module] = []
        first = inputs
        for width in widths[:-1]:
            # A bias before BatchNorm would be subtracted again.
            parts += [nn.Linear(inputs, width, bias=False), nn.BatchNorm1d(width, track_running_stats=False), nn.ReLU()]
            inputs = width
        self.inputs = first
        self.net = nn.Sequential(*parts, nn.Linear(inputs, widths[-1]))

    def forward(self, x: Tensor) -> Tensor:
        """(B, n) -> (B, widths[-1])."""
        return self.net(x)

"""The projector: the part of the network that only training needs."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from tessera_core.pretrain.ranks import ALONE, Ranks


class BatchNorm(nn.BatchNorm1d):
    """BatchNorm by the batch's own statistics, of all ranks' rows together; torch's own of this kind needs GPUs."""

    def __init__(self, width: int) -> None:
        super().__init__(width, track_running_stats=False)

    def over(self, x: Tensor, ranks: Ranks, count: int) -> Tensor:
        """(B, n) -> (B, n); ``count`` rows on all ranks together."""
        if ranks.world == 1:
            return self(x)
        centred = x - ranks.total(x.sum(0)) / count
        variance = ranks.total(centred.square().sum(0)) / count
        return centred * (variance + self.eps).rsqrt() * self.weight + self.bias


class Projector(nn.Module):
    """Linear, BatchNorm, ReLU per hidden width, then a bare Linear (docs/spec/model.md section 1.2).

    BatchNorm sees one call per view, so that no view's statistics leak into another's.
    """

    def __init__(self, inputs: int, widths: Sequence[int]) -> None:
        super().__init__()
        parts: list[nn.Module] = []
        first = inputs
        for width in widths[:-1]:
            # A bias before BatchNorm would be subtracted again.
            parts += [nn.Linear(inputs, width, bias=False), BatchNorm(width), nn.ReLU()]
            inputs = width
        self.inputs = first
        self.net = nn.Sequential(*parts, nn.Linear(inputs, widths[-1]))

    def forward(self, x: Tensor, ranks: Ranks = ALONE, count: int | None = None) -> Tensor:
        """(B, n) -> (B, widths[-1]); with several ``ranks`` their rows are ``count`` together."""
        for part in self.net:
            x = part.over(x, ranks, count if count is not None else len(x)) if isinstance(part, BatchNorm) else part(x)
        return x

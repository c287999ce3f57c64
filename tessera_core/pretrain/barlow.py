"""The objective: Barlow Twins and its mix-up term, and the rank that is watched beside it.

Formulas: spec/model.md section 5 (Zbontar et al. 2021, arXiv 2103.03230; Feng et al. 2025, arXiv 2506.20380). Knows tensors only.

Frobenius norms of D x D correlation matrices are taken from B x B Gram matrices where the batch is smaller than the
projection: ``|X^T Y|_F^2 = <X X^T, Y Y^T>``. And since column standardisation commutes with a permutation of the rows, the
mix-up residual is one matrix, ``A = R^T Z1 / B`` with ``R = Zm - a Z1 - (1 - a) Z2[p]``, instead of three.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor


class BarlowTerms(NamedTuple):
    """Parts of the objective, all scalars: ``loss = on_diagonal + lambda * off_diagonal``."""

    loss: Tensor
    on_diagonal: Tensor
    off_diagonal: Tensor


def standardise(z: Tensor) -> Tensor:
    """Columns of ``z`` (B, D) with the batch's own mean 0 and unbiased standard deviation 1 (clamped at 1e-9), float32."""
    z = z.float()
    return (z - z.mean(0)) / z.std(0).clamp_min(1e-9)


def cross_correlation(z1: Tensor, z2: Tensor) -> Tensor:
    """Cross-correlation (D, D) of two batches of projections (B, D); a perfect diagonal is ``(B - 1) / B``."""
    return standardise(z1).T @ standardise(z2) / z1.shape[0]


def _correlation_power(x: Tensor, y: Tensor) -> Tensor:
    """``|x^T y / B|_F^2`` of two (B, D) matrices, by whichever Gram matrices are smaller."""
    batch, width = x.shape
    power = ((x @ x.T) * (y @ y.T)).sum() if batch < width else (x.T @ y).square().sum()
    return power / batch**2


def barlow_loss(z1: Tensor, z2: Tensor, lambd: float = 5e-3) -> BarlowTerms:
    """Barlow Twins loss of two batches of projections (B, D)."""
    return _barlow(standardise(z1), standardise(z2), lambd)


def _barlow(s1: Tensor, s2: Tensor, lambd: float) -> BarlowTerms:
    diagonal = (s1 * s2).sum(0) / s1.shape[0]
    on_diagonal = (diagonal - 1).square().sum()
    off_diagonal = _correlation_power(s1, s2) - diagonal.square().sum()
    return BarlowTerms(on_diagonal + lambd * off_diagonal, on_diagonal, off_diagonal)


def mixup_loss(
    z1: Tensor, z2: Tensor, zm: Tensor, order: Tensor, alpha: float, lambd: float = 5e-3, weight: float = 1.0
) -> Tensor:
    """Mix-up term: the mixture's correlations must be the mixture of the correlations.

    Args:
        z1, z2: projections (B, D) of the two views.
        zm: projections (B, D) of the inputs ``alpha * view1 + (1 - alpha) * view2[order]``.
        order: permutation (B,) of the rows of view 2.
        alpha: mixing coefficient, one per batch.
        lambd: Barlow Twins' lambda.
        weight: lambda of the mix-up term.
    """
    return _mixup(standardise(z1), standardise(z2), standardise(zm), order, alpha, lambd, weight)


def _mixup(s1: Tensor, s2: Tensor, sm: Tensor, order: Tensor, alpha: float, lambd: float, weight: float) -> Tensor:
    residual = sm - alpha * s1 - (1 - alpha) * s2[order]
    return weight * lambd * (_correlation_power(residual, s1) + _correlation_power(residual, s2))


def objective(
    z1: Tensor, z2: Tensor, zm: Tensor | None, order: Tensor | None, alpha: float, lambd: float, weight: float
) -> tuple[Tensor, BarlowTerms, Tensor]:
    """Total loss, Barlow terms and mix-up term (zero without ``zm``).

    ``zm`` and ``order`` may have fewer rows than the views: the mix-up term is then that of the batch's first rows, with
    their own correlations.
    """
    s1, s2 = standardise(z1), standardise(z2)
    terms = _barlow(s1, s2, lambd)
    if zm is None or order is None:
        return terms.loss, terms, torch.zeros((), device=s1.device)
    rows = len(order)
    if rows < len(z1):
        s1, s2 = standardise(z1[:rows]), standardise(z2[:rows])
    mix = _mixup(s1, s2, standardise(zm), order, alpha, lambd, weight)
    return terms.loss + mix, terms, mix


def effective_rank(z: Tensor, eps: float = 1e-7) -> float:
    """Entropy of the normalised singular values of ``z`` (B, D) over the log of their number, in [0, 1] (RankMe)."""
    values = torch.linalg.svdvals(z.float())
    p = values / (values.sum() + eps)
    entropy = -(p * torch.log(p + eps)).sum()
    return float(entropy / torch.log(torch.tensor(float(len(values)))))

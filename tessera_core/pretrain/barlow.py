"""The objective: Barlow Twins and its mix-up term, and the rank that is watched beside it.

Formulas: docs/spec/model.md section 5 (Zbontar et al. 2021, arXiv 2103.03230; Feng et al. 2025, arXiv 2506.20380). Knows tensors,
and the processes that share a batch.

Frobenius norms of D x D correlation matrices are taken from B x B Gram matrices where the batch is smaller than the
projection: ``|X^T Y|_F^2 = <X X^T, Y Y^T>``. And since column standardisation commutes with a permutation of the rows, the
mix-up residual is one matrix, ``A = R^T Z1 / B`` with ``R = Zm - a Z1 - (1 - a) Z2[p]``, instead of three.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from tessera_core.pretrain.ranks import ALONE, Ranks


class BarlowTerms(NamedTuple):
    """Parts of the objective, all scalars: ``loss = on_diagonal + lambda * off_diagonal``."""

    loss: Tensor
    on_diagonal: Tensor
    off_diagonal: Tensor


def standardise(z: Tensor) -> Tensor:
    """Columns of ``z`` (B, D) with the batch's own mean 0 and unbiased standard deviation 1 (clamped at 1e-9), float32."""
    return _standardise(z, ALONE, len(z))


def _standardise(z: Tensor, ranks: Ranks, count: int) -> Tensor:
    """The same over the ``count`` rows that all ranks hold together."""
    z = z.float()
    if ranks.world == 1:
        return (z - z.mean(0)) / z.std(0).clamp_min(1e-9)
    centred = z - ranks.total(z.sum(0)) / count
    variance = ranks.total(centred.square().sum(0)) / (count - 1)
    return centred / variance.clamp_min(1e-18).sqrt()


def cross_correlation(z1: Tensor, z2: Tensor) -> Tensor:
    """Cross-correlation (D, D) of two batches of projections (B, D); a perfect diagonal is ``(B - 1) / B``."""
    return standardise(z1).T @ standardise(z2) / z1.shape[0]


def _correlation_power(x: Tensor, y: Tensor, ranks: Ranks = ALONE, count: int = 0) -> Tensor:
    """``|x^T y / B|_F^2`` of two (B, D) matrices, by whichever Gram matrices are smaller; over ranks only D x D adds up."""
    if ranks.world > 1:
        return ranks.total(x.T @ y).square().sum() / count**2
    batch, width = x.shape
    power = ((x @ x.T) * (y @ y.T)).sum() if batch < width else (x.T @ y).square().sum()
    return power / batch**2


def barlow_loss(z1: Tensor, z2: Tensor, lambd: float = 5e-3) -> BarlowTerms:
    """Barlow Twins loss of two batches of projections (B, D)."""
    return _barlow(standardise(z1), standardise(z2), lambd, ALONE, len(z1))


def _barlow(s1: Tensor, s2: Tensor, lambd: float, ranks: Ranks, count: int) -> BarlowTerms:
    diagonal = ranks.total((s1 * s2).sum(0)) / count
    on_diagonal = (diagonal - 1).square().sum()
    off_diagonal = _correlation_power(s1, s2, ranks, count) - diagonal.square().sum()
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
    residual = standardise(zm) - alpha * standardise(z1) - (1 - alpha) * standardise(z2)[order]
    return _mixup(residual, standardise(z1), standardise(z2), lambd, weight, ALONE, len(zm))


def _mixup(residual: Tensor, s1: Tensor, s2: Tensor, lambd: float, weight: float, ranks: Ranks, count: int) -> Tensor:
    power = _correlation_power(residual, s1, ranks, count) + _correlation_power(residual, s2, ranks, count)
    return weight * lambd * power


class Mixture(NamedTuple):
    """The mix-up term's part of a step; see :func:`mixup_loss`.

    Attributes:
        z: projections (B, D) of the mixed inputs; with several ranks the rows ``ranks.rows(...)`` of them.
        order: the whole permutation, of all ranks' mixtures.
        alpha: mixing coefficient.
        weight: of the term.
    """

    z: Tensor
    order: Tensor
    alpha: float
    weight: float


def objective(
    z1: Tensor,
    z2: Tensor,
    mixture: Mixture | None,
    lambd: float,
    ranks: Ranks = ALONE,
    batch: int | None = None,
) -> tuple[Tensor, BarlowTerms, Tensor]:
    """Total loss, Barlow terms and mix-up term (zero without a ``mixture``).

    The mixture may have fewer rows than the views: the mix-up term is then that of the batch's first rows, with
    their own correlations.

    Args:
        z1, z2: projections (B, D); with several ``ranks`` the rows ``ranks.rows(...)`` of them.
        mixture: of the two views.
        lambd: Barlow Twins' lambda.
        ranks: the processes over whose rows all means, deviations and correlations are taken; all get the same loss.
        batch: rows of all ranks together; needed with several.
    """
    count = batch if batch is not None else len(z1)
    s1, s2 = _standardise(z1, ranks, count), _standardise(z2, ranks, count)
    terms = _barlow(s1, s2, lambd, ranks, count)
    if mixture is None:
        return terms.loss, terms, torch.zeros((), device=s1.device)
    zm, order, alpha, weight = mixture
    rows = len(order)
    if rows < count:
        s1, s2 = _standardise(z1[: len(zm)], ranks, rows), _standardise(z2[: len(zm)], ranks, rows)
    partners = ranks.gather(s2, rows)[order[torch.from_numpy(ranks.rows(rows)).to(order.device)]]
    residual = _standardise(zm, ranks, rows) - alpha * s1 - (1 - alpha) * partners
    mix = _mixup(residual, s1, s2, lambd, weight, ranks, rows)
    return terms.loss + mix, terms, mix


def effective_rank(z: Tensor, eps: float = 1e-7) -> float:
    """Entropy of the normalised singular values of ``z`` (B, D) over the log of their number, in [0, 1] (RankMe)."""
    values = torch.linalg.svdvals(z.float())
    p = values / (values.sum() + eps)
    entropy = -(p * torch.log(p + eps)).sum()
    return float(entropy / torch.log(torch.tensor(float(len(values)))))

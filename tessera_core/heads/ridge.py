"""Ridge classification in closed form: the head for instant maps."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray

from tessera_core.errors import HeadError
from tessera_core.heads.base import ClassWeight, Floats
from tessera_core.heads.linear import LinearHead

# Penalties tried, relative to the mean eigenvalue of the labels' scatter matrix.
PENALTIES = np.geomspace(1e-2, 1e2, 9)
TEMPERATURES = np.geomspace(0.03, 1.0, 16)
# Vectors of one label, and of all, that are left out in turn.
PER_LABEL, LEFT_OUT = 8, 2000


class RidgeHead(LinearHead):
    """One-against-all least squares on indicator targets, with a penalty and a soft-max temperature chosen by leave-one-out.

    Both choices use the closed form of leave-one-out residuals (Hastie, Tibshirani & Friedman 2009, section 7.10), so nothing is
    refitted; a label of several pixels is left out as a whole, see :class:`LeftOut`.

    Args:
        alpha: ``"loo"``, or the penalty relative to the mean eigenvalue of the scatter matrix.
        class_weight: ``"balanced"`` gives every class the same say, None every label; or weights by class id.

    Attributes:
        alpha_: the relative penalty used.
        temperature_: the temperature used; already divided into ``coef_``.
    """

    def __init__(self, alpha: float | str = "loo", class_weight: ClassWeight = "balanced") -> None:
        self.alpha = alpha
        self.class_weight = class_weight

    def _fit(self, X: Floats, targets: NDArray[np.intp], weight: NDArray[np.float64]) -> None:
        if self.alpha != "loo" and not (isinstance(self.alpha, int | float) and self.alpha > 0):
            raise HeadError(
                f"The penalty alpha of a ridge head must be 'loo' or a positive number, not {self.alpha!r}."
            )
        # torch, not NumPy, solves: a second thread pool (OpenBLAS) costs 10 to 50 ms under contention.
        x, w = torch.from_numpy(X).double(), torch.from_numpy(weight)
        y = torch.nn.functional.one_hot(torch.from_numpy(targets)).double()
        judge = LeftOut(x, y, w, self._groups)
        truth = torch.from_numpy(targets)[judge.kept]
        # A class of a single label cannot be left out of itself, so it does not vote here.
        labels = torch.unique(torch.stack([truth, judge.groups]), dim=1)
        votes = torch.bincount(labels[0])[truth] > 1
        candidates = PENALTIES if self.alpha == "loo" else np.array([float(self.alpha)])
        if votes.any():
            say = judge.weight[votes] / judge.weight[votes].sum()
            left_out = [y[judge.kept] - judge.residuals(float(alpha))[0] for alpha in candidates]
            errors = [float(say @ (y[judge.kept] - f)[votes].square().sum(1)) for f in left_out]
            best = int(np.argmin(errors))
            nll = [
                float(
                    say @ torch.nn.functional.cross_entropy(left_out[best][votes] / t, truth[votes], reduction="none")
                )
                for t in TEMPERATURES
            ]
            self.temperature_ = float(TEMPERATURES[int(np.argmin(nll))])
        else:
            best, self.temperature_ = len(candidates) // 2, 0.2
        self.alpha_ = float(candidates[best])
        share, root = w / w.sum(), w.sqrt()[:, None]
        x_mean, y_mean = share @ x, share @ y
        xs, ys = (x - x_mean) * root, (y - y_mean) * root
        basis, spectrum = (judge.basis, judge.spectrum) if judge.whole else left_basis(xs)
        # W = Xs' (Xs Xs' + a)^-1 Ys, written in the basis of the left singular vectors.
        ridge = spectrum + self.alpha_ * spectrum.sum() / x.shape[1]
        coef = xs.T @ (basis @ ((basis.T @ ys) / ridge[:, None]))
        intercept = y_mean - x_mean @ coef
        self._set((coef / self.temperature_).numpy(), (intercept / self.temperature_).numpy())


class LeftOut:
    """What ridge regression says of each label when it was not taught by it, in closed form.

    For single vectors the residual is ``r_i / (1 - h_ii)`` (Allen's PRESS). A label of several vectors is left out as a
    whole: ``(I - H_gg)^-1 r_g`` with its block of the hat matrix; at most :data:`PER_LABEL` of its vectors take part.

    Args:
        x: float64 (N, D).
        y: float64 (N, K).
        weight: float64 (N,).
        groups: (N,) from 0, or None where each vector is a label of its own.

    Attributes:
        kept: (n,) vectors that take part, in order.
        groups: (n,) the label of each.
        weight: (n,), a label's vectors having its whole weight between them.
        whole: whether all vectors take part.
        basis, spectrum: of the weighted, centred vectors that take part, see :func:`left_basis`.
    """

    def __init__(self, x: torch.Tensor, y: torch.Tensor, weight: torch.Tensor, groups: NDArray[np.intp] | None) -> None:
        self.kept = torch.arange(len(x))
        self.groups = self.kept
        self.whole = groups is None
        self.weight = weight
        if groups is not None:
            sizes = np.bincount(groups)
            most = int(np.clip(LEFT_OUT // len(sizes), 1, PER_LABEL))
            # Every so many-th vector of each label, so that all of it is seen.
            order = np.argsort(groups, kind="stable")
            rank = np.arange(len(groups)) - np.repeat(np.cumsum(sizes) - sizes, sizes)
            size = np.repeat(sizes, sizes)
            take = (rank * np.minimum(most, size)) // size != ((rank - 1) * np.minimum(most, size)) // size
            self.kept = torch.from_numpy(np.sort(order[take]))
            self.groups = torch.from_numpy(groups)[self.kept]
            counts = torch.bincount(self.groups)[self.groups]
            self.weight = weight[self.kept] * torch.from_numpy(sizes)[self.groups] / counts
        share = self.weight / self.weight.sum()
        root = self.weight.sqrt()[:, None]
        x, y = x[self.kept], y[self.kept]
        self.basis, self.spectrum = left_basis((x - share @ x) * root)
        self._unit = self.spectrum.sum() / x.shape[1]
        self._share, self._root = share, root
        self._ys = (y - share @ y) * root
        self._projected = self.basis.T @ self._ys

    def residuals(self, alpha: float) -> tuple[torch.Tensor, torch.Tensor]:
        """Residuals (n, K) of left-out labels under a relative penalty, and their doubt (n,): the predictive standard
        deviation in units of the noise."""
        shrink = self.spectrum / (self.spectrum + alpha * self._unit)
        residual = self._ys - self.basis @ (shrink[:, None] * self._projected)
        if self.whole:
            leverage = (self.basis.square() * shrink).sum(1) + self._share
            left = (1 - leverage).clamp_min(1e-6)
            return residual / self._root / left[:, None], (1 + leverage / left).sqrt()
        return self._by_label(shrink, residual)

    def _by_label(self, shrink: torch.Tensor, residual: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """The same where labels have several vectors: a small system for each, all at once."""
        counts = torch.bincount(self.groups)
        most, order = int(counts.max()), torch.argsort(self.groups, stable=True)
        place = torch.arange(len(order)) - torch.repeat_interleave(counts.cumsum(0) - counts, counts)
        half = torch.cat([self.basis * shrink.sqrt(), self._share.sqrt()[:, None]], dim=1)
        blocks = half.new_zeros(len(counts), most, half.shape[1])
        inside = half.new_zeros(len(counts), most, residual.shape[1])
        which = self.groups[order]
        blocks[which, place], inside[which, place] = half[order], residual[order]
        # Empty places are rows of the identity and change nothing.
        system = torch.eye(most, dtype=half.dtype) * (1 + 1e-9) - blocks @ blocks.mT
        solved = torch.linalg.solve(system, inside)
        doubt = torch.linalg.inv(system).diagonal(dim1=1, dim2=2).clamp_min(1).sqrt()
        out, spread = torch.empty_like(residual), torch.empty_like(self._share)
        out[order], spread[order] = solved[which, place], doubt[which, place]
        return out / self._root, spread


def left_basis(xs: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Left singular vectors (N, R) and squared singular values (R,) of ``xs`` (N, D), through its smaller Gram matrix."""
    n, dim = xs.shape
    values, vectors = torch.linalg.eigh(xs @ xs.T if n <= dim else xs.T @ xs)
    keep = values > values.max().clamp_min(1e-30) * 1e-10
    values, vectors = values[keep], vectors[:, keep]
    return (vectors if n <= dim else xs @ vectors / values.sqrt()), values

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


class RidgeHead(LinearHead):
    """One-against-all least squares on indicator targets, with a penalty and a soft-max temperature chosen by leave-one-out.

    Both choices use the closed form of leave-one-out residuals, ``r_i / (1 - h_ii)`` (Allen's PRESS; Hastie, Tibshirani &
    Friedman 2009, section 7.10), so nothing is refitted.

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
        share, root = w / w.sum(), w.sqrt()[:, None]
        x_mean, y_mean = share @ x, share @ y
        xs, ys = (x - x_mean) * root, (y - y_mean) * root
        basis, spectrum = _left_basis(xs)
        unit = spectrum.sum() / x.shape[1]
        projected = basis.T @ ys

        candidates = PENALTIES if self.alpha == "loo" else np.array([float(self.alpha)])
        repeated = torch.bincount(torch.from_numpy(targets))[torch.from_numpy(targets)] > 1
        left_out = []
        for alpha in candidates:
            shrink = spectrum / (spectrum + alpha * unit)
            leverage = (basis.square() * shrink).sum(1) + share
            residual = (ys - basis @ (shrink[:, None] * projected)) / root
            left_out.append(y - residual / (1 - leverage).clamp_min(1e-6)[:, None])
        if repeated.any():
            # A class with a single label cannot be left out of itself, so it does not vote here.
            judge = w[repeated] / w[repeated].sum()
            errors = [float(judge @ (y - f)[repeated].square().sum(1)) for f in left_out]
            best = int(np.argmin(errors))
            truth = torch.from_numpy(targets)[repeated]
            nll = [
                float(judge @ torch.nn.functional.cross_entropy(left_out[best][repeated] / t, truth, reduction="none"))
                for t in TEMPERATURES
            ]
            self.temperature_ = float(TEMPERATURES[int(np.argmin(nll))])
        else:
            best, self.temperature_ = len(candidates) // 2, 0.2
        self.alpha_ = float(candidates[best])
        # W = Xs' (Xs Xs' + a)^-1 Ys, written in the basis of the left singular vectors.
        coef = xs.T @ (basis @ (projected / (spectrum + self.alpha_ * unit)[:, None]))
        intercept = y_mean - x_mean @ coef
        self._set((coef / self.temperature_).numpy(), (intercept / self.temperature_).numpy())


def _left_basis(xs: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Left singular vectors (N, R) and squared singular values (R,) of ``xs`` (N, D), through its smaller Gram matrix."""
    n, dim = xs.shape
    values, vectors = torch.linalg.eigh(xs @ xs.T if n <= dim else xs.T @ xs)
    keep = values > values.max().clamp_min(1e-30) * 1e-10
    values, vectors = values[keep], vectors[:, keep]
    return (vectors if n <= dim else xs @ vectors / values.sqrt()), values

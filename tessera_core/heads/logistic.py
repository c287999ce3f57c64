"""Multinomial logistic regression, fast enough to be refitted after every label."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray

from tessera_core.errors import HeadError
from tessera_core.heads.base import ClassWeight, Floats, independent
from tessera_core.heads.linear import LinearHead


class LogisticHead(LinearHead):
    """Multinomial logistic regression with an L2 penalty.

    Minimises ``sum_i w_i log-loss_i + alpha/2 ||W||^2`` over vectors centred and divided by one common standard deviation
    (one for all dimensions: with few labels a deviation for each is noise). The problem is solved in the principal axes of
    the labels, of which there are at most as many as labels, scaled by Boehning's bound on the Hessian (Ann. Inst. Statist.
    Math. 44, 1992), where L-BFGS needs 10 to 30 steps.

    Args:
        alpha: the penalty, of labels of one pixel; where labels have several it grows with them (:func:`independent`). 5
            had the best log-loss and macro-F1 of 0.1 to 20 on 18 classes of AlphaEarth points at 3 to 30 labels a class
            (docs/performance.md).
        class_weight: ``"balanced"`` gives every class the same say, None every label; or weights by class id.
        max_iter: steps at most.
        tol: relative size of the gradient at which to stop.

    Attributes:
        n_iter_: steps taken.
    """

    def __init__(
        self, alpha: float = 5.0, class_weight: ClassWeight = "balanced", max_iter: int = 200, tol: float = 1e-4
    ) -> None:
        self.alpha = alpha
        self.class_weight = class_weight
        self.max_iter = max_iter
        self.tol = tol

    def _fit(self, X: Floats, targets: NDArray[np.intp], weight: NDArray[np.float64]) -> None:
        if not (isinstance(self.alpha, int | float) and self.alpha > 0):
            raise HeadError(f"The penalty alpha of a logistic head must be a positive number, not {self.alpha!r}.")
        x, w = torch.from_numpy(X).double(), torch.from_numpy(weight)
        truth = torch.from_numpy(targets)
        k = int(truth.max()) + 1
        # The sum of the loss grows with the pixels of a label, what they say does not.
        alpha = self.alpha * len(X) / independent(self._groups, len(X))
        mean = (w / w.sum()) @ x
        x = x - mean
        unit = (w[:, None] * x.square()).sum().div(w.sum() * x.shape[1]).sqrt().clamp_min(1e-12)
        x /= unit
        weighted = x * w.sqrt()[:, None]
        n, dim = x.shape
        if n < dim:
            values, left = torch.linalg.eigh(weighted @ weighted.T)
            keep = values > values[-1] * 1e-10
            values = values[keep]
            axes = weighted.T @ left[:, keep] / values.sqrt()
        else:
            values, axes = torch.linalg.eigh(weighted.T @ weighted)
            values = values.clamp_min(0)
        # Hessian <= (1/2) X'X + alpha I: dividing each axis by its root makes the problem nearly round.
        scale = (values / 2 + alpha).rsqrt()
        z = torch.cat([x @ axes * scale, torch.ones(n, 1, dtype=x.dtype) * (w.sum() / 2) ** -0.5], dim=1)
        penalty = torch.cat([alpha * scale.square(), torch.zeros(1, dtype=x.dtype)])[:, None]
        rows, zt = torch.arange(n), z.T.contiguous()

        def loss(v: torch.Tensor) -> tuple[float, torch.Tensor]:
            logp = torch.log_softmax(z @ v, dim=1)
            shrunk = penalty * v
            value = -(w @ logp[rows, truth]) + 0.5 * (shrunk * v).sum()
            p = logp.exp_()
            p[rows, truth] -= 1
            return float(value), torch.addmm(shrunk, zt, p * w[:, None])

        v, self.n_iter_ = minimise(loss, torch.zeros(z.shape[1], k, dtype=x.dtype), self.max_iter, self.tol)
        coef = axes @ (v[:-1] * scale[:, None]) / unit
        intercept = v[-1] * (w.sum() / 2) ** -0.5 - mean @ coef
        self._set(coef.numpy(), intercept.numpy())


def minimise(
    loss: Callable[[torch.Tensor], tuple[float, torch.Tensor]],
    start: torch.Tensor,
    max_iter: int,
    tol: float,
    memory: int = 10,
) -> tuple[torch.Tensor, int]:
    """L-BFGS with Armijo backtracking (Nocedal & Wright 2006, algorithm 7.4), for smooth convex functions.

    SciPy's and torch's do the same at five times the overhead per step, which is what counts for a millisecond problem.

    Args:
        loss: value and gradient at a point.
        start: first point, any shape.
        max_iter: steps at most.
        tol: stop when the largest gradient entry is this small relative to the first.
        memory: pairs kept.

    Returns:
        The point found and the number of steps.
    """
    x = start
    value, grad = loss(x)
    threshold = tol * float(grad.abs().max())
    pairs: list[tuple[torch.Tensor, torch.Tensor, float]] = []
    for step in range(max_iter):
        if float(grad.abs().max()) <= threshold:
            return x, step
        direction = _two_loop(grad, pairs)
        slope = float(torch.sum(grad * direction))
        length = 1.0
        while True:
            trial = torch.add(x, direction, alpha=length)
            new_value, new_grad = loss(trial)
            if new_value <= value + 1e-4 * length * slope:
                break
            length /= 2
            if length < 1e-10:  # no descent is left at this precision
                return x, step
        s, y = trial - x, new_grad - grad
        curvature = float(torch.sum(s * y))
        if curvature > 1e-14:
            pairs = [*pairs[1 - memory :], (s, y, curvature)]
        x, value, grad = trial, new_value, new_grad
    return x, max_iter


def _two_loop(grad: torch.Tensor, pairs: list[tuple[torch.Tensor, torch.Tensor, float]]) -> torch.Tensor:
    """The L-BFGS direction: minus the approximate inverse Hessian times the gradient."""
    q, alphas = grad.clone(), []
    for s, y, curvature in reversed(pairs):
        a = float(torch.sum(s * q)) / curvature
        alphas.append(a)
        q.sub_(y, alpha=a)
    if pairs:
        _, y, curvature = pairs[-1]
        q.mul_(curvature / float(torch.sum(y * y)))
    for (s, y, curvature), a in zip(pairs, reversed(alphas), strict=True):
        q.add_(s, alpha=a - float(torch.sum(y * q)) / curvature)
    return q.neg_()

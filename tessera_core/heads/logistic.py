"""Multinomial logistic regression, fast enough to be refitted after every label."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tessera_core._utils.softmax import logsumexp, softmax
from tessera_core.errors import HeadError
from tessera_core.heads.linear import LinearHead
from tessera_core.heads.training import ClassWeight, independent, one_hot
from tessera_core.types import Floats

# Steps after which the minimiser is told the Hessian; of 2 to 8, 4 to 6 needed the fewest.
TOLD_AFTER = 4


class LogisticHead(LinearHead):
    """Multinomial logistic regression with an L2 penalty (Bishop 2006, section 4.3.4).

    Minimises ``sum_i w_i log-loss_i + alpha/2 ||W||^2`` over vectors centred and divided by one common standard deviation
    (one for all dimensions: with few labels a deviation for each is noise). The problem is solved in the principal axes of
    the labels, of which there are at most as many as labels, scaled by the Hessian at zero, where L-BFGS needs 10 to 30 steps:
    after a few of them it is told the mean of the classes' Hessians where it stands.

    Args:
        alpha: the penalty, of labels of one pixel; where labels have several it grows with them (:func:`independent`). 5
            had the best log-loss and macro-F1 of 0.1 to 20 on 18 classes of AlphaEarth points at 3 to 30 labels a class
            (docs/performance.md).
        class_weight: ``"balanced"`` gives every class the same say, None every label; or weights by class id.
        max_iter: steps at most.
        tol: relative size of the gradient at which to stop.

    Attributes:
        n_iter_: steps taken.

    Example:
        >>> X = np.array([[0.0, 1.0], [0.1, 0.9], [1.0, 0.0], [0.9, 0.2]])
        >>> head = LogisticHead(alpha=1.0).fit(X, [3, 3, 7, 7])
        >>> head.predict([[0.8, 0.1]]).tolist()
        [7]
        >>> head.predict_proba([[0.8, 0.1]]).shape
        (1, 2)
    """

    name = "logistic"

    def __init__(
        self, alpha: float = 5.0, class_weight: ClassWeight = "balanced", max_iter: int = 200, tol: float = 1e-4
    ) -> None:
        self.alpha = alpha
        self.class_weight = class_weight
        self.max_iter = max_iter
        self.tol = tol

    def _solve(self, X: Floats, targets: NDArray[np.intp], weight: NDArray[np.float64]) -> None:
        if not (isinstance(self.alpha, int | float) and self.alpha > 0):
            raise HeadError(f"The penalty alpha of a logistic head must be a positive number, not {self.alpha!r}.")
        x, w = X.astype(np.float64), weight
        k = int(targets.max()) + 1
        # The sum of the loss grows with the pixels of a label, what they say does not.
        alpha = self.alpha * len(X) / independent(self._groups, len(X))
        mean = (w / w.sum()) @ x
        x = x - mean
        unit = max(np.sqrt((w[:, None] * np.square(x)).sum() / (w.sum() * x.shape[1])), 1e-12)
        x /= unit
        weighted: NDArray[Any] = x * np.sqrt(w)[:, None]
        n, dim = x.shape
        if n < dim:
            values, left = np.linalg.eigh(weighted @ weighted.T)
            keep = values > values[-1] * 1e-10
            values = values[keep]
            axes = weighted.T @ left[:, keep] / np.sqrt(values)
        else:
            values, axes = np.linalg.eigh(weighted.T @ weighted)
            values = values.clip(min=0)
        # At zero the Hessian is X'X / K + alpha I but for what classes share: dividing by its root makes the problem nearly round.
        scale, one = (values / k + alpha) ** -0.5, (w.sum() / k) ** -0.5
        z = np.concatenate([x @ axes * scale, np.full((n, 1), one)], axis=1)
        penalty = np.append(alpha * np.square(scale), 0.0)
        # Classes lie along the first axis: products and soft-max are then more than twice as quick.
        zt = np.ascontiguousarray(z.T)
        # What the labels say is linear in the weights, and does not change.
        said = (one_hot(targets, k).T * w) @ z

        def loss(v: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
            logits = v @ zt
            total = logsumexp(logits, axis=0)
            shrunk = penalty * v - said
            # 1/2 penalty v^2 - said v, with what the gradient needs as well.
            value = w @ total + 0.5 * np.vdot(shrunk - said, v)
            logits -= total
            np.exp(logits, out=logits)
            logits *= w
            return float(value), logits @ z + shrunk

        def inverse_hessian(v: NDArray[np.float64]) -> NDArray[np.float64]:
            p = softmax(v @ zt, axis=0)
            hessian = (zt * (w * (p * (1 - p)).sum(0) / (k - 1))) @ z
            hessian[np.diag_indices_from(hessian)] += penalty + 1e-9
            return np.linalg.inv(hessian)

        start = np.zeros((k, z.shape[1]))
        v, self.n_iter_ = minimise(loss, start, self.max_iter, self.tol, inverse_hessian=inverse_hessian)
        coef = axes @ (v[:, :-1] * scale).T / unit
        intercept = v[:, -1] * one - mean @ coef
        self._set(coef, intercept)


def minimise(
    loss: Callable[[NDArray[np.float64]], tuple[float, NDArray[np.float64]]],
    start: NDArray[np.float64],
    max_iter: int,
    tol: float,
    memory: int = 10,
    inverse_hessian: Callable[[NDArray[np.float64]], NDArray[np.float64]] | None = None,
) -> tuple[NDArray[np.float64], int]:
    """L-BFGS with Armijo backtracking (Nocedal & Wright 2006, algorithm 7.4), for smooth convex functions.

    SciPy's does the same at five times the overhead per step, which is what counts for a millisecond problem.

    Args:
        loss: value and gradient at a point.
        start: first point, any shape.
        max_iter: steps at most.
        tol: stop when the largest gradient entry is this small relative to the first.
        memory: pairs kept.
        inverse_hessian: about the inverse Hessian at a point, (P, P) for the last axis of points; asked once, after
            :data:`TOLD_AFTER` steps.

    Returns:
        The point found and the number of steps.
    """
    shape, x = start.shape, start.reshape(-1)
    value, grad = _flat(loss(start))
    threshold = tol * float(np.abs(grad).max())
    pairs: list[tuple[NDArray[np.float64], NDArray[np.float64], float]] = []
    inverse: NDArray[np.float64] | None = None
    for step in range(max_iter):
        if float(np.abs(grad).max()) <= threshold:
            return x.reshape(shape), step
        if step == TOLD_AFTER and inverse_hessian is not None:
            inverse = inverse_hessian(x.reshape(shape))
        direction = _two_loop(grad, pairs, inverse)
        slope = float(grad @ direction)
        length = 1.0
        while True:
            trial = x + length * direction
            new_value, new_grad = _flat(loss(trial.reshape(shape)))
            if new_value <= value + 1e-4 * length * slope:
                break
            length /= 2
            if length < 1e-10:  # no descent is left at this precision
                return x.reshape(shape), step
        s, y = trial - x, new_grad - grad
        curvature = float(s @ y)
        if curvature > 1e-14:
            pairs = [*pairs[1 - memory :], (s, y, curvature)]
        x, value, grad = trial, new_value, new_grad
    return x.reshape(shape), max_iter


def _flat(found: tuple[float, NDArray[np.float64]]) -> tuple[float, NDArray[np.float64]]:
    return found[0], found[1].reshape(-1)


def _two_loop(
    grad: NDArray[np.float64],
    pairs: list[tuple[NDArray[np.float64], NDArray[np.float64], float]],
    inverse: NDArray[np.float64] | None,
) -> NDArray[np.float64]:
    """The L-BFGS direction: minus the approximate inverse Hessian times the gradient.

    ``inverse`` is about it for each run of its length, but for a factor; None for the identity.
    """

    def about(vector: NDArray[np.float64]) -> NDArray[np.float64]:
        return vector if inverse is None else (vector.reshape(-1, len(inverse)) @ inverse).reshape(-1)

    q, alphas = grad.copy(), []
    for s, y, curvature in reversed(pairs):
        a = float(s @ q) / curvature
        alphas.append(a)
        q -= a * y
    q = about(q)
    if pairs:
        _, y, curvature = pairs[-1]
        q = q * (curvature / float(y @ about(y)))
    for (s, y, curvature), a in zip(pairs, reversed(alphas), strict=True):
        q += (a - float(y @ q) / curvature) * s
    return -q

"""Ridge classification in closed form: the head for instant maps."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from tessera_core._utils.softmax import logsumexp
from tessera_core.errors import HeadError
from tessera_core.heads.linear import LinearHead
from tessera_core.heads.training import ClassWeight, one_hot
from tessera_core.types import Floats

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

    Example:
        >>> X = np.array([[0.0, 1.0], [0.1, 0.9], [1.0, 0.0], [0.9, 0.2]])
        >>> head = RidgeHead().fit(X, ["grass", "grass", "maize", "maize"])
        >>> head.predict([[0.8, 0.1], [np.nan, 0.0]]).tolist()
        ['maize', '']
        >>> head.coef_.shape, head.intercept_.shape
        ((2, 2), (2,))
    """

    name = "ridge"

    def __init__(self, alpha: float | str = "loo", class_weight: ClassWeight = "balanced") -> None:
        self.alpha = alpha
        self.class_weight = class_weight

    def _solve(self, X: Floats, targets: NDArray[np.intp], weight: NDArray[np.float64]) -> None:
        if self.alpha != "loo" and not (isinstance(self.alpha, int | float) and self.alpha > 0):
            raise HeadError(
                f"The penalty alpha of a ridge head must be 'loo' or a positive number, not {self.alpha!r}."
            )
        x, w = X.astype(np.float64), weight
        y = one_hot(targets, int(targets.max()) + 1)
        judge = LeftOut(x, y, w, self._groups)
        truth = targets[judge.kept]
        # A class of a single label cannot be left out of itself, so it does not vote here.
        of_class = np.unique(np.stack([truth, judge.groups]), axis=1)[0]
        votes = np.bincount(of_class)[truth] > 1
        candidates = PENALTIES if self.alpha == "loo" else np.array([float(self.alpha)])
        if votes.any():
            say = judge.weight[votes] / judge.weight[votes].sum()
            residuals = judge.path(candidates)[:, votes]
            errors = np.square(residuals).sum(2) @ say
            best = int(errors.argmin())
            left_out, truth = y[judge.kept][votes] - residuals[best], truth[votes]
            softer = left_out / TEMPERATURES[:, None, None]
            losses = logsumexp(softer, axis=2) - softer[:, np.arange(len(truth)), truth]
            self.temperature_ = float(TEMPERATURES[int((losses @ say).argmin())])
        else:
            best, self.temperature_ = len(candidates) // 2, 0.2
        self.alpha_ = float(candidates[best])
        share, root = w / w.sum(), np.sqrt(w)[:, None]
        x_mean, y_mean = share @ x, share @ y
        xs, ys = (x - x_mean) * root, (y - y_mean) * root
        penalty = self.alpha_ * float(np.square(xs).sum()) / x.shape[1]
        # W = Xs' (Xs Xs' + a)^-1 Ys = (Xs' Xs + a)^-1 Xs' Ys, whichever is the smaller system.
        coef = xs.T @ _solve(xs @ xs.T, ys, penalty) if len(xs) < x.shape[1] else _solve(xs.T @ xs, xs.T @ ys, penalty)
        intercept = y_mean - x_mean @ coef
        self._set(coef / self.temperature_, intercept / self.temperature_)


def _solve(system: NDArray[np.float64], right: NDArray[np.float64], penalty: float) -> NDArray[np.float64]:
    """``(system + penalty I)^-1 right`` of a positive semi-definite system, which is changed."""
    # A hair more where all vectors are the same.
    system[np.diag_indices_from(system)] += penalty + 1e-30
    return np.linalg.solve(system, right)


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

    def __init__(
        self,
        x: NDArray[np.float64],
        y: NDArray[np.float64],
        weight: NDArray[np.float64],
        groups: NDArray[np.intp] | None,
    ) -> None:
        self.kept = np.arange(len(x))
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
            self.kept = np.sort(order[take])
            self.groups = groups[self.kept]
            counts = np.bincount(self.groups)[self.groups]
            self.weight = weight[self.kept] * sizes[self.groups] / counts
        share = self.weight / self.weight.sum()
        root = np.sqrt(self.weight)[:, None]
        x, y = x[self.kept], y[self.kept]
        self.basis, self.spectrum = left_basis((x - share @ x) * root)
        self._unit = self.spectrum.sum() / x.shape[1]
        self._share, self._root = share, root
        self._ys = (y - share @ y) * root
        self._projected = self.basis.T @ self._ys
        if not self.whole:
            counts = np.bincount(self.groups)
            # Where each vector stands among those of its label: (labels, most), with empty places at the end of short ones.
            self._order = np.argsort(self.groups, kind="stable")
            self._which = self.groups[self._order]
            self._place = np.arange(len(x)) - np.repeat(np.cumsum(counts) - counts, counts)
            self._shape = len(counts), int(counts.max())

    def residuals(self, alpha: float) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Residuals (n, K) of left-out labels under a relative penalty, and their interval scale (n,): the predictive standard
        deviation in units of the noise."""
        shrink = self.spectrum / (self.spectrum + alpha * self._unit)
        if self.whole:
            leverage = np.square(self.basis) @ shrink + self._share
            interval_scale = np.sqrt(1 + leverage / np.maximum(1 - leverage, 1e-6))
        else:
            inverse = np.linalg.inv(self._systems(shrink[None])[0])
            own = np.sqrt(np.maximum(np.diagonal(inverse, axis1=1, axis2=2), 1))
            interval_scale = np.empty_like(self._share)
            interval_scale[self._order] = own[self._which, self._place]
        return self.path(np.array([alpha]))[0], interval_scale

    def path(self, alphas: NDArray[np.float64]) -> NDArray[np.float64]:
        """Residuals (A, n, K) of left-out labels under each of A relative penalties."""
        shrink = self.spectrum / (self.spectrum + alphas[:, None] * self._unit)
        n, k = self._ys.shape
        # All penalties in one product: their columns lie side by side.
        fitted = self.basis @ (shrink.T[:, :, None] * self._projected[:, None, :]).reshape(len(self.spectrum), -1)
        residual = (self._ys[:, None] - fitted.reshape(n, len(alphas), k)).swapaxes(0, 1)
        if self.whole:
            leverage = shrink @ np.square(self.basis).T + self._share
            alone: NDArray[np.float64] = residual / self._root / np.maximum(1 - leverage, 1e-6)[:, :, None]
            return alone
        inside = np.zeros((len(alphas), *self._shape, k))
        inside[:, self._which, self._place] = residual[:, self._order]
        solved = np.linalg.solve(self._systems(shrink), inside)
        out: NDArray[np.float64] = np.empty_like(residual)
        out[:, self._order] = solved[:, self._which, self._place]
        out /= self._root
        return out

    def _systems(self, shrink: NDArray[np.float64]) -> NDArray[np.float64]:
        """``I - H_gg`` of each label under each penalty, (A, labels, most, most); empty places are rows of the identity."""
        rank = self.basis.shape[1]
        blocks = np.zeros((*self._shape, rank + 1))
        blocks[self._which, self._place, :rank] = self.basis[self._order]
        blocks[self._which, self._place, rank] = np.sqrt(self._share[self._order])
        shrink = np.concatenate([shrink, np.ones((len(shrink), 1))], axis=1)
        eye = np.eye(self._shape[1]) * (1 + 1e-9)
        systems: NDArray[np.float64] = eye - np.stack([(blocks * one) @ blocks.swapaxes(1, 2) for one in shrink])
        return systems


def left_basis(xs: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Left singular vectors (N, R) and squared singular values (R,) of ``xs`` (N, D), through its smaller Gram matrix."""
    n, dim = xs.shape
    values, vectors = np.linalg.eigh(xs @ xs.T if n <= dim else xs.T @ xs)
    keep = values > max(float(values.max()), 1e-30) * 1e-10
    values, vectors = values[keep], vectors[:, keep]
    return (vectors if n <= dim else xs @ vectors / np.sqrt(values)), values

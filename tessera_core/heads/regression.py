"""Heads for labels that are numbers: a value for each pixel, and how far off it may be.

Every value comes with a *margin*: value - margin to value + margin holds nine of ten labels that the head has not seen. Each
head has its own measure of local doubt (the scale of its prediction interval); what it amounts to is learnt from left-out
labels (normalised conformal prediction; Lei et al., JASA 113, 2018). Where labels lie close together, neighbours are not left
out and margins are too small by what the blocked score tells.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tessera_core.errors import HeadError
from tessera_core.heads.base import Pixels, RasterEstimator
from tessera_core.heads.estimators import RegressorMixin
from tessera_core.heads.forest import grow, summed, tree_arrays, trees_from
from tessera_core.heads.mlp import Layers, Perceptron, forward, layer_arrays, layers_from
from tessera_core.heads.ridge import LeftOut, left_basis
from tessera_core.types import Floats

COVERAGE = 0.9
# Parts that labels are held out in where a head cannot leave single ones out.
PARTS = 4
PENALTIES = np.geomspace(1e-3, 1e3, 19)
# In saved networks, before the names of what the interval scale is kept as; files of 0.1 and 0.2 have the second.
_SCALES = ("interval_scale.", "doubt.")


class RegressionHead(RegressorMixin, RasterEstimator[np.float32]):
    """Base of the regression heads; a subclass implements ``_fit`` and ``_values``. Its layers are values and margins.

    Attributes:
        half_width_: margin of a unit of the interval scale, from left-out labels.
    """

    _fits_alone = False
    half_width_: float

    def _labels(self, y: NDArray[Any], vectors: Floats, of: str = "number", many: str = "numbers") -> NDArray[Any]:
        labels = super()._labels(y, vectors, of, many)
        try:
            return labels.astype(np.float64)
        except (TypeError, ValueError) as error:
            raise HeadError("A regression head learns numbers; some of these labels are no numbers.") from error

    def _learn(self, X: Floats, y: NDArray[Any], weight: NDArray[np.float64]) -> None:
        if len(y) < 3 or y.min() == y.max():
            raise HeadError(
                "A map of numbers needs at least three labelled pixels with data and two different numbers; there "
                f"{'is' if len(y) == 1 else 'are'} {len(y)} sample{'' if len(y) == 1 else 's'} to learn from. Label more places."
            )
        self._run(lambda: self._fit(X, y, weight * (len(weight) / weight.sum())))

    def _fit(self, X: Floats, y: NDArray[np.float64], weight: NDArray[np.float64]) -> None:
        """Learn, and set ``half_width_`` by :meth:`_set_half_width`."""
        raise NotImplementedError

    def _values(self, X: Floats) -> tuple[NDArray[np.floating], NDArray[np.floating]]:
        """Values and interval scales, (N,) each, of finite vectors."""
        raise NotImplementedError

    def _set_half_width(self, residual: NDArray[np.float64], interval_scale: NDArray[np.float64]) -> None:
        """Learn what a unit of the interval scale amounts to from residuals of left-out labels."""
        ratio = np.sort(np.abs(residual) / np.maximum(interval_scale, 1e-12))
        place = int(np.ceil((len(ratio) + 1) * COVERAGE)) - 1
        self.half_width_ = float(ratio[min(place, len(ratio) - 1)])

    def predict(self, X: ArrayLike) -> Floats:
        """Values float32 (N,); NaN where a vector has no data."""
        return self.predict_interval(X)[0]

    def predict_interval(self, X: ArrayLike) -> tuple[Floats, Floats]:
        """Values and margins, float32 (N,) each; NaN where a vector has no data."""
        X = self._check(X)
        values, half_widths = self._no_data((len(X),))
        finite = np.isfinite(X).all(axis=1)
        if finite.any():
            values[finite], half_widths[finite] = self._mapped(np.ascontiguousarray(X[finite]))
        return values, half_widths

    def interval_at(
        self, raster: Pixels, rows: NDArray[np.integer], cols: NDArray[np.integer]
    ) -> tuple[Floats, Floats]:
        """Values and margins of pixels of a raster; see :meth:`predict_interval`."""
        return self.predict_interval(self._sample(raster, rows, cols))

    def _no_data(self, shape: tuple[int, ...]) -> tuple[Floats, Floats]:
        return np.full(shape, np.nan, np.float32), np.full(shape, np.nan, np.float32)

    def _mapped(self, X: Floats) -> tuple[NDArray[Any], NDArray[Any]]:
        values, interval_scale = self._values(X)
        return values, interval_scale * self.half_width_


class RidgeRegressionHead(RegressionHead):
    """Ridge regression in closed form, its penalty chosen by leave-one-out (see :class:`RidgeHead`).

    The interval scale is the predictive standard deviation of Bayesian linear regression, ``sqrt(1 + x' (X'X + a I)^-1 x)``
    in units of the noise (Bishop 2006, equation 3.59).

    Args:
        alpha: ``"loo"``, or the penalty relative to the mean eigenvalue of the scatter matrix.

    Attributes:
        coef_: float64 (D,).
        intercept_: of centred vectors.
        alpha_: the relative penalty used.
        left_out_: int (n,), vectors that were left out in turn to learn the margins.
        left_out_interval_scale_: float64 (n,), theirs.

    Example:
        >>> X = np.random.default_rng(0).normal(size=(60, 4))
        >>> head = RidgeRegressionHead().fit(X, 10 + 3 * X[:, 0])
        >>> value, margin = head.predict_interval([[1.0, 0, 0, 0]])
        >>> abs(float(value[0]) - 13) < 0.1, margin.shape
        (True, (1,))
    """

    name = "ridge-regression"
    _fits_alone = True
    _side_by_side = True

    def __init__(self, alpha: float | str = "loo") -> None:
        self.alpha = alpha

    def _fit(self, X: Floats, y: NDArray[np.float64], weight: NDArray[np.float64]) -> None:
        if self.alpha != "loo" and not (isinstance(self.alpha, int | float) and self.alpha > 0):
            raise HeadError(f"The penalty alpha must be 'loo' or a positive number, not {self.alpha!r}.")
        x, w, t = X.astype(np.float64), weight, y
        share, root = w / w.sum(), np.sqrt(w)
        mean, level = share @ x, float(share @ t)
        xs, ys = (x - mean) * root[:, None], (t - level) * root
        judge = LeftOut(x, t[:, None], w, self._groups)
        best = None
        for alpha in PENALTIES if self.alpha == "loo" else [float(self.alpha)]:
            residual, interval_scale = judge.residuals(float(alpha))
            error = float(judge.weight @ np.square(residual[:, 0]))
            if best is None or error < best[0]:
                best = error, float(alpha), residual[:, 0], interval_scale
        assert best is not None
        _, self.alpha_, residual, interval_scale = best
        basis, spectrum = left_basis(xs)
        unit = float(spectrum.sum()) / x.shape[1]
        ridge = spectrum + self.alpha_ * unit
        axes = xs.T @ basis / np.sqrt(spectrum)
        self.coef_ = axes @ (np.sqrt(spectrum) * (basis.T @ ys) / ridge)
        self.intercept_ = level
        self._mean = mean
        # x' (X'X + a I)^-1 x within the span of the labels, and |x|^2 / a beside it.
        self._axes = axes * np.sqrt(1 / (self.alpha_ * unit) - 1 / ridge)
        self._prior = 1 / (self.alpha_ * unit)
        self.left_out_ = judge.kept
        self.left_out_interval_scale_ = interval_scale
        self._set_half_width(residual, self.left_out_interval_scale_)

    def _values(self, X: Floats) -> tuple[NDArray[np.floating], NDArray[np.floating]]:
        x = X - self._mean.astype(np.float32)
        # Unlike a product by BLAS, this rounds a vector's value alike wherever it stands among others.
        value = np.einsum("nd,d->n", x, self.coef_.astype(np.float32)) + np.float32(self.intercept_)
        spread = np.square(x).sum(axis=1) * np.float32(self._prior)
        spread -= np.square(x @ self._axes.astype(np.float32)).sum(axis=1)
        return value, np.sqrt(1 + np.maximum(spread, 0))

    def _arrays(self) -> dict[str, NDArray[Any]]:
        numbers = np.array([self.intercept_, self._prior, self.half_width_])
        return {"coef": self.coef_, "mean": self._mean, "axes": self._axes, "numbers": numbers}

    def _restore(self, arrays: dict[str, NDArray[Any]]) -> None:
        self.coef_, self._mean, self._axes = arrays["coef"], arrays["mean"], arrays["axes"]
        self.intercept_, self._prior, self.half_width_ = (float(v) for v in arrays["numbers"])


class ForestRegressionHead(RegressionHead):
    """Random forest regression (Breiman 2001), with margins from out-of-bag labels; the spread of the trees is the interval scale.

    Args:
        n_estimators: trees.
        max_depth: None grows until the leaves hold ``min_samples_leaf``.
        min_samples_leaf: labels in a leaf at least.
        seed: for bootstrap and feature draws.

    Example:
        >>> X = np.linspace(0, 1, 60)[:, None]
        >>> head = ForestRegressionHead(n_estimators=20).fit(X, 10 * X[:, 0])
        >>> abs(float(head.predict([[0.5]])[0]) - 5) < 0.5
        True
    """

    name = "forest-regression"

    def __init__(
        self, n_estimators: int = 200, max_depth: int | None = None, min_samples_leaf: int = 2, seed: int = 0
    ) -> None:
        self.n_estimators = n_estimators
        self.max_depth = max_depth
        self.min_samples_leaf = min_samples_leaf
        self.seed = seed

    def _fit(self, X: Floats, y: NDArray[np.float64], weight: NDArray[np.float64]) -> None:
        from sklearn.ensemble import RandomForestRegressor

        if self.n_estimators < 1:
            raise HeadError("A forest needs at least one tree.")
        forest = RandomForestRegressor(
            max_depth=self.max_depth,
            min_samples_leaf=self.min_samples_leaf,
            max_features=1 / 3,
            random_state=self.seed,
            n_jobs=-1,
            warm_start=True,
        )
        grow(forest, self.n_estimators, self._step, X, y, weight)
        self._trees = [estimator.tree_ for estimator in forest.estimators_]
        self._floor = float(0.1 * y.std())
        self._set_half_width(
            *(self._out_of_bag(forest, X, y) if self._groups is None else self._by_parts(X, y, weight))
        )

    def _by_parts(
        self, X: Floats, y: NDArray[np.float64], weight: NDArray[np.float64]
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Residuals and interval scales of labels of several vectors, by smaller forests that saw none of a label's vectors."""
        assert self._groups is not None
        number = int(self._groups.max()) + 1
        part = (np.random.default_rng(self.seed).permutation(number) % min(PARTS, number))[self._groups]
        value, spread = np.zeros(len(y)), np.zeros(len(y))
        for k in range(int(part.max()) + 1):
            other = part != k
            few = ForestRegressionHead(
                max(10, self.n_estimators // PARTS), self.max_depth, self.min_samples_leaf, self.seed
            )
            few.fit(X[other], y[other], weight[other], cancelled=self._cancelled)
            value[~other], spread[~other] = few._values(X[~other])
        return y - value, spread

    def _out_of_bag(
        self, forest: Any, X: Floats, y: NDArray[np.float64]
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Residuals and interval scales of labels by the trees that did not see them."""
        count, first, second = np.zeros(len(y)), np.zeros(len(y)), np.zeros(len(y))
        for tree, seen in zip(self._trees, forest.estimators_samples_, strict=True):
            out = np.ones(len(y), bool)
            out[seen] = False
            value = tree.predict(np.ascontiguousarray(X[out])).ravel()
            count[out] += 1
            first[out] += value
            second[out] += value**2
        # A label that every tree saw (few trees) says nothing.
        some = count > 0
        mean = first[some] / count[some]
        spread = np.sqrt(np.maximum(second[some] / count[some] - mean**2, 0))
        return y[some] - mean, spread + self._floor

    def _values(self, X: Floats) -> tuple[NDArray[np.floating], NDArray[np.floating]]:
        def both(tree: Any, X: Floats) -> NDArray[np.float64]:
            value = tree.predict(X).reshape(len(X), 1)
            return np.concatenate([value, value**2], axis=1)

        mean, square = (summed(self._trees, X, 2, both) / len(self._trees)).T
        return mean, np.sqrt(np.maximum(square - mean**2, 0)) + self._floor

    def _arrays(self) -> dict[str, NDArray[Any]]:
        return tree_arrays(self._trees) | {"numbers": np.array([self._floor, self.half_width_])}

    def _restore(self, arrays: dict[str, NDArray[Any]]) -> None:
        self._trees = trees_from(arrays, self.n_features_in_, 1)
        self._floor, self.half_width_ = (float(v) for v in arrays["numbers"])


class MLPRegressionHead(Perceptron, RegressionHead):
    """Small networks (see :class:`MLPHead`), each taught without one part of the labels; their mean is the value.

    The interval scale is that of ridge regression, which grows away from the labels; margins are learnt from the part that
    each network has not seen (cross-conformal prediction; Vovk, Ann. Math. Artif. Intell. 74, 2015). The spread of the
    networks is no measure of it: on their own labels it is another than elsewhere.

    Args:
        hidden: widths of the hidden layers.
        steps: optimiser steps at least, of each network.
        epochs: passes over the labels at least.
        dropout: share of hidden units dropped while training.
        learning_rate: highest rate of the schedule.
        members: networks, and parts of the labels.
        seed: for parts, weights, batches and dropout.

    Example:
        >>> X = np.linspace(0, 1, 60)[:, None]
        >>> head = MLPRegressionHead(hidden=(8,), steps=60, epochs=1, members=2, learning_rate=0.03).fit(X, 10 * X[:, 0])
        >>> abs(float(head.predict([[0.5]])[0]) - 5) < 2
        True
    """

    name = "mlp-regression"

    def __init__(
        self,
        hidden: tuple[int, ...] = (256, 128),
        steps: int = 300,
        epochs: int = 20,
        dropout: float = 0.1,
        learning_rate: float = 3e-3,
        members: int = 4,
        seed: int = 0,
    ) -> None:
        self.hidden = hidden
        self.steps = steps
        self.epochs = epochs
        self.dropout = dropout
        self.learning_rate = learning_rate
        self.members = members
        self.seed = seed

    def _fit(self, X: Floats, y: NDArray[np.float64], weight: NDArray[np.float64]) -> None:
        if not self.hidden or min(self.hidden) < 1 or self.members < 2:
            raise HeadError("A network for numbers needs a hidden layer of at least one unit and at least two members.")
        level, spread = float(np.average(y, weights=weight)), float(y.std())
        target = (y - level) / spread
        groups = np.arange(len(y)) if self._groups is None else self._groups
        number = int(groups.max()) + 1
        part = (np.random.default_rng(self.seed).permutation(number) % min(self.members, number))[groups]
        nets: list[Layers] = []
        held = np.zeros(len(y))
        for number in range(part.max() + 1):
            rows = np.flatnonzero(part != number)

            def step(done: int, total: int, number: int = number) -> None:
                self._step(number * total + done, (int(part.max()) + 1) * total)

            layers = self._trained(X[rows], target[rows], weight[rows], 1, step, number)
            nets.append(layers)
            held[part == number] = forward(layers, X[part == number])[:, 0] * spread + level
        self._nets = nets
        self._numbers = (level, spread)
        self._interval_scale = RidgeRegressionHead().fit(X, y, weight, groups=self._groups)
        kept = self._interval_scale.left_out_
        self._set_half_width((y - held)[kept], self._interval_scale.left_out_interval_scale_)

    def _values(self, X: Floats) -> tuple[NDArray[np.floating], NDArray[np.floating]]:
        level, spread = self._numbers
        each = np.stack([forward(net, X)[:, 0] for net in self._nets]) * np.float32(spread)
        return each.mean(0) + np.float32(level), self._interval_scale._values(X)[1]

    def _arrays(self) -> dict[str, NDArray[Any]]:
        arrays = {f"{i}/{k}": v for i, net in enumerate(self._nets) for k, v in layer_arrays(net).items()}
        arrays |= {f"{_SCALES[0]}{k}": v for k, v in self._interval_scale._arrays().items()}
        return arrays | {"numbers": np.array([*self._numbers, self.half_width_])}

    def _restore(self, arrays: dict[str, NDArray[Any]]) -> None:
        level, spread, self.half_width_ = (float(v) for v in arrays["numbers"])
        self._numbers = (level, spread)
        self._interval_scale = RidgeRegressionHead()
        self._interval_scale.n_features_in_ = self.n_features_in_
        own = {k.partition(".")[2]: v for k, v in arrays.items() if k.startswith(_SCALES)}
        self._interval_scale._restore(own)
        count = 1 + max(int(k.split("/")[0]) for k in arrays if "/" in k)
        self._nets = [
            layers_from({k.split("/")[1]: v for k, v in arrays.items() if k.startswith(f"{i}/")}) for i in range(count)
        ]

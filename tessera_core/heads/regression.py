"""Heads for labels that are numbers: a value for each pixel, and how far off it may be.

Every value comes with a *margin*: value - margin to value + margin holds nine of ten labels that the head has not seen. Each
head has its own measure of local doubt; what it amounts to is learnt from left-out labels (normalised conformal prediction; Lei et
al., JASA 113, 2018). Where labels lie close together, neighbours are not left out and margins are too small by what the blocked
score tells.
"""

from __future__ import annotations

from typing import Any, Self

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from sklearn.base import BaseEstimator, RegressorMixin
from sklearn.exceptions import NotFittedError

from tessera_core._utils.threads import run_alone, run_blocks
from tessera_core.errors import Cancelled, HeadError
from tessera_core.heads.base import FLOAT_BLOCK, Pixels, Stepwise, dense_groups
from tessera_core.heads.forest import grow, summed, tree_arrays, trees_from
from tessera_core.heads.mlp import Layers, forward, layer_arrays, layers_from, train_layers
from tessera_core.heads.ridge import LeftOut, left_basis
from tessera_core.raster import dequantise, valid_scales
from tessera_core.types import Cancel, Floats, PixelBox, Progress

COVERAGE = 0.9
# Parts that labels are held out in where a head cannot leave single ones out.
PARTS = 4
PENALTIES = np.geomspace(1e-3, 1e3, 19)


class RegressionHead(Stepwise, RegressorMixin, BaseEstimator):
    """Base of the regression heads; a subclass implements ``_fit`` and ``_values``.

    Attributes:
        n_features_in_: length of the vectors.
        n_ignored_: how many training vectors were left out because they, or their number, had no data.
        margin_: margin of a unit of doubt, from left-out labels.
    """

    reach: int = 0
    _fits_alone = False
    n_features_in_: int
    n_ignored_: int
    margin_: float

    def fit(
        self,
        X: ArrayLike,
        y: ArrayLike,
        sample_weight: ArrayLike | None = None,
        *,
        groups: ArrayLike | None = None,
        progress: Progress | None = None,
        cancelled: Cancel | None = None,
    ) -> Self:
        """Learn from vectors and their numbers.

        Args:
            X: float (N, D); rows that are not finite are left out and counted in ``n_ignored_``.
            y: float (N,); likewise.
            sample_weight: (N,) non-negative; None for equal weights.
            groups: int (N,), which label each vector belongs to, see :meth:`Head.fit`; margins then are for other labels.
            progress, cancelled: see docs/architecture.md.

        Raises:
            HeadError: shapes disagree, or fewer than three vectors with data, or all numbers are the same.
            Cancelled: ``cancelled`` said so; the head is not fitted.
        """
        X = np.asarray(X, np.float32)
        try:
            y = np.asarray(y, np.float64)
        except (TypeError, ValueError) as error:
            raise HeadError("A regression head learns numbers; some of these labels are no numbers.") from error
        if X.ndim != 2 or y.ndim != 1 or len(X) != len(y):
            raise HeadError(
                f"A head needs one number for each vector; there are vectors of shape {X.shape} and numbers of shape {y.shape}."
            )
        weight = np.ones(len(X)) if sample_weight is None else np.asarray(sample_weight, np.float64)
        if weight.shape != y.shape or not (np.isfinite(weight) & (weight >= 0)).all():
            raise HeadError("Sample weights must be one non-negative number for each vector.")
        usable = np.isfinite(X).all(axis=1) & np.isfinite(y) & (weight > 0)
        self.n_ignored_ = int(len(X) - usable.sum())
        X, y, weight = X[usable], y[usable], weight[usable]
        self._groups = dense_groups(groups, usable)
        if len(y) < 3 or y.min() == y.max():
            raise HeadError(
                f"A map of numbers needs at least three labelled pixels with data and two different numbers; there are {len(y)} "
                "usable. Label more places."
            )
        self.n_features_in_ = X.shape[1]
        weight = weight * (len(weight) / weight.sum())

        def work() -> None:
            self._fit(X, y, weight)

        try:
            self._reporting((lambda: run_alone(work)) if self._fits_alone else work, progress, cancelled)
        except Cancelled:
            del self.n_features_in_
            raise
        return self

    def _fit(self, X: Floats, y: NDArray[np.float64], weight: NDArray[np.float64]) -> None:
        """Learn, and set ``margin_`` by :meth:`_set_margin`."""
        raise NotImplementedError

    def _values(self, X: Floats) -> tuple[NDArray[np.floating], NDArray[np.floating]]:
        """Values and doubts, (N,) each, of finite vectors."""
        raise NotImplementedError

    def _set_margin(self, residual: NDArray[np.float64], doubt: NDArray[np.float64]) -> None:
        """Learn what a unit of doubt amounts to from residuals of left-out labels."""
        ratio = np.sort(np.abs(residual) / np.maximum(doubt, 1e-12))
        place = int(np.ceil((len(ratio) + 1) * COVERAGE)) - 1
        self.margin_ = float(ratio[min(place, len(ratio) - 1)])

    def predict(self, X: ArrayLike) -> Floats:
        """Values float32 (N,); NaN where a vector has no data."""
        return self.predict_margin(X)[0]

    def predict_margin(self, X: ArrayLike) -> tuple[Floats, Floats]:
        """Values and margins, float32 (N,) each; NaN where a vector has no data."""
        self._check_fitted()
        X = np.asarray(X, np.float32)
        if X.ndim != 2:
            raise HeadError(f"Vectors must be a table (N, D); these have shape {X.shape}.")
        self._check_dim(X.shape[1])
        values, margins = (np.full(len(X), np.nan, np.float32) for _ in range(2))
        finite = np.isfinite(X).all(axis=1)
        if finite.any():
            values[finite], doubt = self._values(np.ascontiguousarray(X[finite]))
            margins[finite] = doubt * self.margin_
        return values, margins

    def predict_codes(self, codes: NDArray[np.int8], scales: Floats) -> tuple[Floats, Floats]:
        """Values and margins, float32 (N,) each, of pixels as rasters hold them; NaN where there is no data.

        Args:
            codes: int8 (N, D).
            scales: float32 (N,).

        Raises:
            HeadError: D differs from what the head was trained on.
        """
        self._check_fitted()
        self._check_dim(codes.shape[1])
        values, margins = (np.full(len(codes), np.nan, np.float32) for _ in range(2))

        def work(part: slice) -> None:
            valid = np.flatnonzero(valid_scales(scales[part])) + part.start
            if len(valid):
                values[valid], doubt = self._values(dequantise(codes[valid], scales[valid]))
                margins[valid] = doubt * self.margin_

        if self._fits_alone:
            run_blocks(work, len(codes), FLOAT_BLOCK)
        else:
            for start in range(0, len(codes), FLOAT_BLOCK):
                work(slice(start, min(start + FLOAT_BLOCK, len(codes))))
        return values, margins

    def fit_at(
        self,
        raster: Pixels,
        rows: NDArray[np.integer],
        cols: NDArray[np.integer],
        y: ArrayLike,
        *,
        groups: ArrayLike | None = None,
        progress: Progress | None = None,
        cancelled: Cancel | None = None,
    ) -> Self:
        """Learn from pixels of a raster; see :meth:`fit`."""
        return self.fit(raster.sample(rows, cols), y, groups=groups, progress=progress, cancelled=cancelled)

    def margin_at(self, raster: Pixels, rows: NDArray[np.integer], cols: NDArray[np.integer]) -> tuple[Floats, Floats]:
        """Values and margins of pixels of a raster; see :meth:`predict_margin`."""
        return self.predict_margin(raster.sample(rows, cols))

    def predict_window(self, codes: NDArray[np.int8], scales: Floats, window: PixelBox) -> tuple[Floats, Floats]:
        """Values and margins (h, w) of a window of a raster; as :meth:`Head.predict_window`."""
        top, left, bottom, right = window
        part = codes[top:bottom, left:right]
        values, margins = self.predict_codes(
            np.ascontiguousarray(part).reshape(-1, codes.shape[2]),
            np.ascontiguousarray(scales[top:bottom, left:right], np.float32).reshape(-1),
        )
        return values.reshape(part.shape[:2]), margins.reshape(part.shape[:2])

    def _check_dim(self, dim: int) -> None:
        if dim != self.n_features_in_:
            raise HeadError(f"This head was trained on {self.n_features_in_} dimensions, these vectors have {dim}.")

    def _check_fitted(self) -> None:
        if not hasattr(self, "n_features_in_"):
            raise NotFittedError(f"This {type(self).__name__} is not trained yet; call fit first.")

    def _arrays(self) -> dict[str, NDArray[Any]]:
        raise NotImplementedError

    def _restore(self, arrays: dict[str, NDArray[Any]]) -> None:
        raise NotImplementedError


class RidgeRegressionHead(RegressionHead):
    """Ridge regression in closed form, its penalty chosen by leave-one-out (see :class:`RidgeHead`).

    Doubt is the predictive standard deviation of Bayesian linear regression, ``sqrt(1 + x' (X'X + a I)^-1 x)`` in units of
    the noise (Bishop 2006, equation 3.59).

    Args:
        alpha: ``"loo"``, or the penalty relative to the mean eigenvalue of the scatter matrix.

    Attributes:
        coef_: float64 (D,).
        intercept_: of centred vectors.
        alpha_: the relative penalty used.
        left_out_: int (n,), vectors that were left out in turn to learn the margins.
        left_out_doubt_: float64 (n,), their doubt.
    """

    _fits_alone = True

    def __init__(self, alpha: float | str = "loo") -> None:
        self.alpha = alpha

    def _fit(self, X: Floats, y: NDArray[np.float64], weight: NDArray[np.float64]) -> None:
        if self.alpha != "loo" and not (isinstance(self.alpha, int | float) and self.alpha > 0):
            raise HeadError(f"The penalty alpha must be 'loo' or a positive number, not {self.alpha!r}.")
        x, w, t = (torch.from_numpy(a).double() for a in (X, weight, y))
        share, root = w / w.sum(), w.sqrt()
        mean, level = share @ x, float(share @ t)
        xs, ys = (x - mean) * root[:, None], (t - level) * root
        judge = LeftOut(x, t[:, None], w, self._groups)
        best = None
        for alpha in PENALTIES if self.alpha == "loo" else [float(self.alpha)]:
            residual, doubt = judge.residuals(float(alpha))
            error = float(judge.weight @ residual[:, 0].square())
            if best is None or error < best[0]:
                best = error, float(alpha), residual[:, 0], doubt
        assert best is not None
        _, self.alpha_, residual, doubt = best
        basis, spectrum = left_basis(xs)
        unit = float(spectrum.sum()) / x.shape[1]
        ridge = spectrum + self.alpha_ * unit
        axes = xs.T @ basis / spectrum.sqrt()
        self.coef_ = (axes @ (spectrum.sqrt() * (basis.T @ ys) / ridge)).numpy()
        self.intercept_ = level
        self._mean = mean.numpy()
        # x' (X'X + a I)^-1 x within the span of the labels, and |x|^2 / a beside it.
        self._axes = (axes * (1 / (self.alpha_ * unit) - 1 / ridge).sqrt()).numpy()
        self._prior = 1 / (self.alpha_ * unit)
        self.left_out_ = judge.kept.numpy()
        self.left_out_doubt_ = doubt.numpy()
        self._set_margin(residual.numpy(), self.left_out_doubt_)

    def _values(self, X: Floats) -> tuple[NDArray[np.floating], NDArray[np.floating]]:
        x = torch.from_numpy(X) - torch.from_numpy(self._mean).float()
        value = x @ torch.from_numpy(self.coef_).float() + self.intercept_
        spread = x.square().sum(1) * self._prior - (x @ torch.from_numpy(self._axes).float()).square().sum(1)
        return value.numpy(), (1 + spread.clamp_min(0)).sqrt().numpy()

    def _arrays(self) -> dict[str, NDArray[Any]]:
        numbers = np.array([self.intercept_, self._prior, self.margin_])
        return {"coef": self.coef_, "mean": self._mean, "axes": self._axes, "numbers": numbers}

    def _restore(self, arrays: dict[str, NDArray[Any]]) -> None:
        self.coef_, self._mean, self._axes = arrays["coef"], arrays["mean"], arrays["axes"]
        self.intercept_, self._prior, self.margin_ = (float(v) for v in arrays["numbers"])


class ForestRegressionHead(RegressionHead):
    """Random forest regression; doubt is the spread of the trees, margins are learnt from out-of-bag labels.

    Args:
        n_estimators: trees.
        max_depth: None grows until the leaves hold ``min_samples_leaf``.
        min_samples_leaf: labels in a leaf at least.
        seed: for bootstrap and feature draws.
    """

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
        self._set_margin(*(self._out_of_bag(forest, X, y) if self._groups is None else self._by_parts(X, y, weight)))

    def _by_parts(
        self, X: Floats, y: NDArray[np.float64], weight: NDArray[np.float64]
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Residuals and doubts of labels of several vectors, by smaller forests that saw none of a label's vectors."""
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
        """Residuals and doubts of labels by the trees that did not see them."""
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
        return tree_arrays(self._trees) | {"numbers": np.array([self._floor, self.margin_])}

    def _restore(self, arrays: dict[str, NDArray[Any]]) -> None:
        self._trees = trees_from(arrays, self.n_features_in_, 1)
        self._floor, self.margin_ = (float(v) for v in arrays["numbers"])


class MLPRegressionHead(RegressionHead):
    """Small networks (see :class:`MLPHead`), each taught without one part of the labels; their mean is the value.

    Doubt is that of ridge regression, which grows away from the labels; margins are learnt from the part that each network
    has not seen. (The spread of the networks is no measure of it: on their own labels it is another than elsewhere.)

    Args:
        hidden: widths of the hidden layers.
        steps: optimiser steps at least, of each network.
        epochs: passes over the labels at least.
        dropout: share of hidden units dropped while training.
        learning_rate: highest rate of the schedule.
        members: networks, and parts of the labels.
        seed: for parts, weights, batches and dropout.
    """

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
        target, w = torch.from_numpy((y - level) / spread).float(), torch.from_numpy(weight).float()
        groups = np.arange(len(y)) if self._groups is None else self._groups
        number = int(groups.max()) + 1
        part = (np.random.default_rng(self.seed).permutation(number) % min(self.members, number))[groups]
        nets: list[Layers] = []
        held = np.zeros(len(y))
        for number in range(part.max() + 1):
            rows = np.flatnonzero(part != number)
            own = torch.from_numpy(rows)

            def loss(out: torch.Tensor, pick: torch.Tensor, own: torch.Tensor = own) -> torch.Tensor:
                each = nn_huber(out[:, 0], target[own[pick]])
                return (each * w[own[pick]]).sum() / w[own[pick]].sum()

            def step(done: int, total: int, number: int = number) -> None:
                self._step(number * total + done, (int(part.max()) + 1) * total)

            layers = train_layers(
                X[rows],
                (*self.hidden, 1),
                loss,
                step,
                steps=self.steps,
                epochs=self.epochs,
                dropout=self.dropout,
                learning_rate=self.learning_rate,
                seed=self.seed + number,
            )
            nets.append(layers)
            held[part == number] = forward(layers, X[part == number])[:, 0].numpy() * spread + level
        self._nets = nets
        self._numbers = (level, spread)
        self._doubt = RidgeRegressionHead().fit(X, y, weight, groups=self._groups)
        kept = self._doubt.left_out_
        self._set_margin((y - held)[kept], self._doubt.left_out_doubt_)

    def _values(self, X: Floats) -> tuple[NDArray[np.floating], NDArray[np.floating]]:
        level, spread = self._numbers
        each = torch.stack([forward(net, X)[:, 0] for net in self._nets]) * spread
        return (each.mean(0) + level).numpy(), self._doubt._values(X)[1]

    def _arrays(self) -> dict[str, NDArray[Any]]:
        arrays = {f"{i}/{k}": v for i, net in enumerate(self._nets) for k, v in layer_arrays(net).items()}
        arrays |= {f"doubt.{k}": v for k, v in self._doubt._arrays().items()}
        return arrays | {"numbers": np.array([*self._numbers, self.margin_])}

    def _restore(self, arrays: dict[str, NDArray[Any]]) -> None:
        level, spread, self.margin_ = (float(v) for v in arrays["numbers"])
        self._numbers = (level, spread)
        self._doubt = RidgeRegressionHead()
        self._doubt.n_features_in_ = self.n_features_in_
        self._doubt._restore({k[6:]: v for k, v in arrays.items() if k.startswith("doubt.")})
        count = 1 + max(int(k.split("/")[0]) for k in arrays if "/" in k)
        self._nets = [
            layers_from({k.split("/")[1]: v for k, v in arrays.items() if k.startswith(f"{i}/")}) for i in range(count)
        ]


def nn_huber(value: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    """Huber's loss for each label: squares near, distances far, so that a wrong label does not rule."""
    return torch.nn.functional.huber_loss(value, target, reduction="none")

"""Heads whose decision is linear in the embedding, and their hot path over int8 codes.

Since ``embedding = code * scale``, a linear head acts on the codes: ``logits = (codes @ W) * scale + b``.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tessera_core._utils.int8 import BLOCK, CodeProduct
from tessera_core._utils.softmax import softmax
from tessera_core._utils.threads import run_blocks
from tessera_core.heads.blocks import block_weights, columns
from tessera_core.heads.classification import NO_CLASS, NO_CONFIDENCE, Head
from tessera_core.raster import valid_scales
from tessera_core.types import Bytes, Floats

# How much the head of the joined vectors counts beside the mean of those of the parts alone (docs/heads.md).
JOINED = 0.5


def _centred(
    coef: NDArray[np.floating], intercept: NDArray[np.floating]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The same soft-max with coefficients that add up to zero over classes, so that heads can be averaged."""
    whole, start = coef.astype(np.float64), intercept.astype(np.float64)
    return whole - whole.mean(1, keepdims=True), start - start.mean()


class LinearHead(Head):
    """A head ``softmax(X @ coef_ + intercept_)``; the temperature of the soft-max is part of the coefficients.

    Attributes:
        coef_: float32 (D, K).
        intercept_: float32 (K,).
        block_weights_: float64 (B,), how much each part of joined vectors counts; there only after a fit on such. It is part
            of the coefficients.
    """

    takes_temperature = True
    coef_: Floats
    intercept_: Floats
    _product: CodeProduct | None
    block_weights_: NDArray[np.float64]

    def _fit(self, X: Floats, targets: NDArray[np.intp], weight: NDArray[np.float64]) -> None:
        if not self._blocks:
            self._solve(X, targets, weight)
            return
        weights = block_weights(X, targets, weight, self._groups, self._blocks)
        factors = columns(weights, self._blocks)
        alone = self._alone(X, targets, weight, weights > 0)
        self._solve((X * factors).astype(np.float32), targets, weight)
        joined = _centred(self.coef_ * factors[:, None], self.intercept_)
        self._set(*(JOINED * one + (1 - JOINED) * other for one, other in zip(joined, alone or joined, strict=True)))
        self.block_weights_ = weights

    def _alone(
        self, X: Floats, targets: NDArray[np.intp], weight: NDArray[np.float64], used: NDArray[np.bool_]
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]] | None:
        """The mean log-odds of heads that each see one of the parts ``used``, as coefficients (D, K) and intercept (K,); None
        where only one is, which is then the whole."""
        if used.sum() < 2:
            return None
        k = int(targets.max()) + 1
        coef, intercept = np.zeros((X.shape[1], k)), np.zeros(k)
        edges = np.cumsum([0, *self._blocks])
        for a, b in np.stack([edges[:-1], edges[1:]], axis=1)[used]:
            self._solve(np.ascontiguousarray(X[:, a:b]), targets, weight)
            own, start = _centred(self.coef_, self.intercept_)
            coef[a:b] = own / used.sum()
            intercept += start / used.sum()
        return coef, intercept

    def _solve(self, X: Floats, targets: NDArray[np.intp], weight: NDArray[np.float64]) -> None:
        """Set the coefficients; see :meth:`Head._fit`."""
        raise NotImplementedError

    def _set(self, coef: NDArray[np.floating], intercept: NDArray[np.floating]) -> None:
        self.coef_, self.intercept_ = coef.astype(np.float32), intercept.astype(np.float32)
        self._product = None

    def decision_function(self, X: ArrayLike) -> Floats:
        """Logits, float32 (N, K), of two classes (N,) how far the second lies above the first; rows without data are NaN."""
        logits = self._logits(self._check(X))
        return logits[:, 1] - logits[:, 0] if len(self.classes_) == 2 else logits

    def _logits(self, X: Floats) -> Floats:
        logits: Floats = X @ self.coef_ + self.intercept_
        return logits

    def _proba(self, X: Floats) -> NDArray[np.floating]:
        return softmax(self._logits(X), axis=1)

    def scaled_proba(self, X: Floats) -> NDArray[np.floating]:
        """See :meth:`Head.scaled_proba`."""
        return softmax(self._logits(X) / np.float32(self._temperature), axis=1)

    def predict_codes(self, codes: NDArray[np.int8], scales: Floats) -> tuple[Bytes, Bytes]:
        """See :meth:`Head.predict_codes`; no float copy of the codes is made."""
        self._check_codes(codes, scales)
        ids = self.map_ids()
        product = self._code_product()
        classes, confidence = np.empty(len(codes), np.uint8), np.empty(len(codes), np.uint8)
        valid = valid_scales(scales)
        usable = scales if valid.all() else np.where(valid, scales, np.float32(0))

        def classify(part: slice) -> None:
            filled = classes[part], confidence[part]
            product.largest(codes[part], usable[part], self.intercept_, *filled, None, ids, self._temperature)

        run_blocks(classify, len(codes), BLOCK)
        if not valid.all():
            classes[~valid], confidence[~valid] = NO_CLASS, NO_CONFIDENCE
        return classes, confidence

    def _code_product(self) -> CodeProduct:
        if self._product is None:
            self._product = CodeProduct(self.coef_)
        return self._product

    def __getstate__(self) -> dict[str, Any]:
        return super().__getstate__() | {"_product": None}

    def linear(self) -> tuple[Floats, Floats, float]:
        """See :meth:`Head.linear`."""
        return self.coef_, self.intercept_, self._temperature

    def _arrays(self) -> dict[str, NDArray[Any]]:
        return {"coef": self.coef_, "intercept": self.intercept_}

    def _restore(self, arrays: dict[str, NDArray[Any]]) -> None:
        self._set(arrays["coef"], arrays["intercept"])

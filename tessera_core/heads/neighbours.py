"""k nearest neighbours by brute force on int8 codes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tessera_core._utils.int8 import CodeProduct
from tessera_core._utils.softmax import largest_of
from tessera_core._utils.threads import run_blocks
from tessera_core.errors import HeadError
from tessera_core.heads.classification import NO_CLASS, NO_CONFIDENCE, Head
from tessera_core.heads.training import ClassWeight, balanced_draw, class_factors, one_hot
from tessera_core.raster import valid_scales
from tessera_core.types import Bytes, Floats

# Similarities of one block (references x pixels, float32) should stay in the second-level cache.
SIMILARITIES = 1 << 19


class KNNHead(Head):
    """Majority vote of the k nearest labelled vectors (Euclidean distance; Cover & Hart, IEEE Trans. Inf. Theory 13, 1967).

    References at exactly the distance of the k-th all vote; the nearest has half a vote more, which breaks ties. Confidence
    is the share of votes with one vote spread over the classes in advance: ``(votes + 1/K) / (k + 1)``. Of a ``sample_weight``
    only 0 tells, which leaves a label out.

    Args:
        n_neighbors: k; at most twice the labels of the smallest class less one, so that every class can win.
        max_references: labels kept; beyond it each class gives the same number, drawn with ``seed``. Time grows with it.
        class_weight: ``"balanced"`` weighs a vote by the inverse frequency of its class among the references (an
            unbalanced set of labels is an accident of labelling), None counts votes, a mapping gives weights by class id.
        seed: for the draw.

    Attributes:
        references_: float32 (R, D), ordered by class.
        reference_classes_: int64 (R,) indices into ``classes_``.

    Example:
        >>> X = np.array([[0.0, 1.0], [0.1, 0.9], [1.0, 0.0], [0.9, 0.2]])
        >>> head = KNNHead(n_neighbors=1).fit(X, [1, 1, 2, 2])
        >>> head.predict_proba([[0.8, 0.1]]).round(2).tolist()
        [[0.25, 0.75]]
    """

    name = "knn"
    takes_temperature = True
    references_: Floats
    reference_classes_: NDArray[np.int64]
    _product: CodeProduct | None

    def __init__(
        self, n_neighbors: int = 5, max_references: int = 2048, class_weight: ClassWeight = None, seed: int = 0
    ) -> None:
        self.n_neighbors = n_neighbors
        self.max_references = max_references
        self.class_weight = class_weight
        self.seed = seed

    def _fit(self, X: Floats, targets: NDArray[np.intp], weight: NDArray[np.float64]) -> None:
        for name in ("n_neighbors", "max_references"):
            if not isinstance(getattr(self, name), int | np.integer) or getattr(self, name) < 1:
                raise HeadError(f"{name} of a nearest-neighbour head must be a whole number above 0.")
        keep = balanced_draw(targets, self.max_references, self.seed)
        self._restore({"references": X[keep], "reference_classes": targets[keep]})

    def _votes(self, similarity: NDArray[np.floating]) -> Floats:
        """Share of the votes, float32 (K, n), from similarities (R, n)."""
        nearest = kth = similarity.max(axis=0)
        left = similarity
        for _ in range(self._k - 1):
            left = np.where(left < kth, left, np.float32(-np.inf))
            kth = left.max(axis=0)
        ballots = (similarity >= kth).astype(np.float32)
        ballots[similarity >= nearest] += np.float32(0.5)
        votes: Floats = self._member @ ballots
        votes /= votes.sum(axis=0)
        return votes

    def _proba(self, X: Floats) -> NDArray[np.floating]:
        out = np.empty((len(X), len(self.classes_)), np.float32)
        step = max(16, SIMILARITIES // len(self.references_))
        for start in range(0, len(X), step):
            similarity = self.references_ @ X[start : start + step].T - self._half_norms
            out[start : start + step] = self._smooth(self._votes(similarity)).T
        return out

    def predict_codes(self, codes: NDArray[np.int8], scales: Floats) -> tuple[Bytes, Bytes]:
        """See :meth:`Head.predict_codes`; similarities are integer products of codes."""
        if self._temperature != 1:
            return super().predict_codes(codes, scales)
        self._check_codes(codes, scales)
        ids = self.map_ids()
        if self._product is None:
            self._product = CodeProduct(self.references_.T, digits=_digits(self.references_))
        product = self._product
        classes, confidence = np.empty(len(codes), np.uint8), np.empty(len(codes), np.uint8)
        valid = valid_scales(scales)
        # Distance order at a pixel: r.x - |r|^2/2 with x = code * scale, divided by the scale.
        inverse = np.divide(1, scales, out=np.ones_like(scales), where=valid)
        step = max(64, SIMILARITIES // len(self.references_))

        def classify(part: slice) -> None:
            similarity = product(codes[part])
            similarity -= self._half_norms * inverse[part]
            index, share, _ = largest_of(self._smooth(self._votes(similarity)), False)
            classes[part], confidence[part] = ids[index], np.rint(100 * share)

        run_blocks(classify, len(codes), step)
        classes[~valid], confidence[~valid] = NO_CLASS, NO_CONFIDENCE
        return classes, confidence

    def _smooth(self, share: Floats) -> Floats:
        smooth: Floats = (share * np.float32(self._k) + np.float32(1 / len(self.classes_))) / np.float32(self._k + 1)
        return smooth

    def __getstate__(self) -> dict[str, Any]:
        return super().__getstate__() | {"_product": None}

    def _arrays(self) -> dict[str, NDArray[Any]]:
        return {"references": self.references_, "reference_classes": self.reference_classes_}

    def _restore(self, arrays: dict[str, NDArray[Any]]) -> None:
        self.references_ = np.ascontiguousarray(arrays["references"], np.float32)
        self.reference_classes_ = arrays["reference_classes"].astype(np.int64)
        self._k = min(self.n_neighbors, 2 * int(np.bincount(self.reference_classes_).min()) - 1)
        member = one_hot(self.reference_classes_, len(self.classes_))
        if self.class_weight == "balanced":
            member /= member.sum(0)
        elif isinstance(self.class_weight, Mapping):
            member *= class_factors(self.class_weight, self.classes_)
        self._member = np.ascontiguousarray(member.T, np.float32)
        self._half_norms = np.square(self.references_).sum(axis=1, keepdims=True) / 2
        self._product = None


def _digits(references: Floats) -> int:
    """One digit where the references are themselves int8 codes times a scale (their largest code being 127), else three."""
    codes = references * (127 / np.abs(references).max(axis=1, keepdims=True).clip(1e-30))
    return 1 if np.abs(codes - np.rint(codes)).max() < 1e-3 else 3

"""A head over a tree of classes: labels of any level teach it, and a pixel gets the finest class that is certain enough.

At each branching of the tree one head tells the branches apart, taught by all labels beneath them; a label of the branching
class itself teaches the levels above only. A class's probability is the product along its path (top-down local
classification; Silla & Freitas, Data Min. Knowl. Discov. 22, 2011). The map goes down the likeliest path as long as the next class
stays above the wanted certainty.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tessera_core._utils.int8 import BLOCK, CodeProduct
from tessera_core._utils.softmax import softmax
from tessera_core._utils.threads import run_blocks
from tessera_core.errors import HeadError
from tessera_core.heads.classification import NO_CLASS, NO_CONFIDENCE, Head, as_temperature, percent
from tessera_core.heads.registry import HEADS, make_head
from tessera_core.heads.training import ClassWeight, require_two
from tessera_core.raster import valid_scales
from tessera_core.types import Bytes, Floats

# Stands above the roots; no class can have this id.
ROOT = int(np.iinfo(np.int64).min)
# What files of earlier versions have in its place.
OLD_ROOT = 0
CONFIDENCE_THRESHOLD = 0.6


class HierarchicalHead(Head):
    """Heads at the branchings of a class tree.

    ``classes_`` are the finest classes that the labels distinguish ("leaves"); :meth:`predict_proba` gives their
    probabilities. :meth:`predict` and maps hold classes of any level.

    Args:
        parents: pairs ``(class id, id of the class above)``; classes that are not in it are roots.
        head: name of the head at each branching.
        confidence_threshold: probability that a class needs to be mapped instead of the one above it; 0 always maps the
            finest, a root
            is always mapped.
        class_weight: as of other heads, at each branching.

    Attributes:
        nodes_: int64 (M,) ids of all classes with labels on or beneath them, those above first.

    Example:
        Wood (1) is oak (2) or pine (3); water (4) is of its own. Half of the trees are only known to be wood.

        >>> X = np.array([[0, 0.0], [0, 0.1], [0, 1.0], [0, 0.9], [5, 0.0], [5, 0.2], [0, 0.4], [0, 0.6]])
        >>> head = HierarchicalHead(parents=[(2, 1), (3, 1)], confidence_threshold=0.9).fit(X, [2, 2, 3, 3, 4, 4, 1, 1])
        >>> head.classes_.tolist(), head.nodes_.tolist()
        ([2, 3, 4], [1, 4, 2, 3])
        >>> head.predict([[0, 0.5], [5, 0.1]]).tolist()
        [1, 4]
    """

    name = "tree"
    _fits_alone = False

    def __init__(
        self,
        parents: Iterable[tuple[int, int]] = (),
        head: str = "ridge",
        confidence_threshold: float = CONFIDENCE_THRESHOLD,
        class_weight: ClassWeight = "balanced",
    ) -> None:
        self.parents = parents
        self.head = head
        self.confidence_threshold = confidence_threshold
        self.class_weight = class_weight

    @property
    def nested(self) -> bool:
        """See :class:`Head`; always."""
        return True

    def _labels(self, y: NDArray[Any], vectors: Floats, of: str = "class", many: str = "classes") -> NDArray[Any]:
        ids = super()._labels(y, vectors, of, many)
        if ids.dtype.kind not in "iub":
            raise HeadError("A tree is of class ids; classes must be whole numbers here, not names.")
        return ids

    def _learn(self, X: Floats, y: NDArray[Any], weight: NDArray[np.float64]) -> None:
        if not 0 <= self.confidence_threshold <= 1:
            raise HeadError(f"The certainty must lie between 0 and 1, not {self.confidence_threshold!r}.")
        up = self._up()
        labelled = {int(i) for i in np.unique(y)}
        nodes = sorted({n for i in labelled for n in _line(i, up)}, key=lambda n: (len(_line(n, up)), n))
        # With one kind of a class labelled beside the class itself, nothing says what another kind looks like.
        alone = [n for n in nodes if n in labelled and sum(up.get(m) == n for m in nodes) == 1]
        nodes = [n for n in nodes if not any(a in _line(n, up)[1:] for a in alone)]
        leaves = sorted(set(nodes) - {up.get(n, ROOT) for n in nodes})
        require_two(leaves)
        below: dict[int, list[int]] = {n: [] for n in (ROOT, *nodes)}
        for n in nodes:
            below[up.get(n, ROOT)].append(n)
        branchings = {n: children for n, children in below.items() if len(children) > 1}
        heads: dict[int, Head] = {}
        for done, (n, children) in enumerate(branchings.items()):
            which = {i: c for c in children for i in labelled if c in _line(i, up)}
            rows = np.flatnonzero(np.isin(y, list(which)))
            heads[n] = make_head(self.head, **self._options()).fit(
                X[rows],
                np.array([which[int(i)] for i in y[rows]]),
                weight[rows],
                groups=None if self._groups is None else self._groups[rows],
                cancelled=self._cancelled,
            )
            self._step(done + 1, len(branchings))
        self.classes_ = np.array(leaves, np.int64)
        self._settle(nodes, heads)

    def _options(self) -> dict[str, Any]:
        if self.head not in HEADS:
            return {}
        return {"class_weight": self.class_weight} if "class_weight" in HEADS[self.head]().get_params() else {}

    def _up(self) -> dict[int, int]:
        up = {int(child): int(parent) for child, parent in self.parents}
        for child in up:
            seen, n = {child}, child
            while n in up:
                n = up[n]
                if n in seen:
                    raise HeadError(f"The class tree goes round in a circle at the class {n}.")
                seen.add(n)
        return up

    def _settle(self, nodes: list[int], heads: dict[int, Head]) -> None:
        """Arrange what was learnt: each node's parent and its column among the branchings' probabilities."""
        up = self._up()
        self.nodes_, self._heads = np.array(nodes, np.int64), heads
        place = {n: i for i, n in enumerate(nodes)}
        self._parent = np.array([place.get(up.get(n, ROOT), -1) for n in nodes])
        self._column = np.full(len(nodes), -1)
        start = 0
        for head in heads.values():
            for k, child in enumerate(head.classes_):
                self._column[place[int(child)]] = start + k
            start += len(head.classes_)
        self._leaves = np.array([place[int(i)] for i in self.classes_])
        self._product: CodeProduct | None = None

    def node_proba(self, X: Floats) -> NDArray[np.float32]:
        """Probabilities (N, M) of all classes of :attr:`nodes_` for finite vectors (N, D)."""
        parts = [head.scaled_proba(X) for head in self._heads.values()]
        return self._along_paths(np.concatenate(parts, axis=1).T.astype(np.float32)).T

    def _along_paths(self, local: NDArray[np.float32]) -> NDArray[np.float32]:
        """(M, n) probabilities of nodes from (C, n) probabilities among the branches of each branching."""
        out = np.ones((len(self.nodes_), local.shape[1]), np.float32)
        for i, (parent, column) in enumerate(zip(self._parent, self._column, strict=True)):
            if parent >= 0:
                out[i] = out[parent]
            if column >= 0:
                out[i] *= local[column]
        return out

    def _rolled_up(self, proba: NDArray[np.float32]) -> tuple[NDArray[np.intp], NDArray[np.float32]]:
        """Index of the class to map and its probability, (n,), from (M, n)."""
        best = np.where(self._parent[:, None] < 0, proba, -1).argmax(axis=0)
        open_ = np.ones(proba.shape[1], bool)
        while open_.any():
            # The likeliest child of where each pixel stands.
            child = np.where(self._parent[:, None] == best[None, :], proba, -1)
            next_ = child.argmax(axis=0)
            open_ &= child[next_, np.arange(len(best))] >= max(self.confidence_threshold, 1e-12)
            best = np.where(open_, next_, best)
        return best, proba[best, np.arange(len(best))]

    def _proba(self, X: Floats) -> NDArray[np.floating]:
        return self.node_proba(X)[:, self._leaves]

    def predict(self, X: ArrayLike) -> NDArray[Any]:
        """Class ids (N,) of the finest level that is certain enough; 0 where a vector has no data."""
        X = self._check(X)
        finite = np.isfinite(X).all(axis=1)
        out = np.full(len(X), NO_CLASS, np.int64)
        if finite.any():
            out[finite] = self.nodes_[self._rolled_up(self.node_proba(X[finite]).T)[0]]
        return out

    def credit(self, proba: Floats, ids: NDArray[Any], truth: NDArray[Any]) -> Floats:
        """Probabilities (N, K) in the order of ``ids`` by which labels of any level can be judged.

        A label is right where the head says its class, one beneath it, or, where the labels do not tell kinds of a class
        apart, the class above it: such probabilities are added up under the label's own class.
        """
        up = self._up()
        out = np.zeros((len(proba), len(ids)), np.float32)
        place = {int(i): k for k, i in enumerate(ids)}
        for k, tip in enumerate(self.classes_):
            line = _line(int(tip), up)
            related = {int(t): t in line or tip in _line(int(t), up) for t in ids}
            column = np.array([place[t] if related[t] else place.get(int(tip), 0) for t in truth.tolist()])
            np.add.at(out, (np.arange(len(proba)), column), proba[:, k])
        return out

    def map_ids(self) -> Bytes:
        """The ids uint8 (M,) of :attr:`nodes_`, which a map may hold; see :meth:`Head.map_ids`."""
        if self.nodes_.min() < 1 or self.nodes_.max() > 255:
            raise HeadError("A class map holds the ids 1 to 255; renumber the classes.")
        return self.nodes_.astype(np.uint8)

    def class_names(self) -> dict[int, str]:
        """See :meth:`Head.class_names`; of classes of all levels."""
        return {i: str(i) for i in sorted({*self.classes_.tolist(), *self.nodes_.tolist()})}

    def _mapped(self, X: Floats) -> tuple[NDArray[Any], NDArray[Any]]:
        best, sure = self._rolled_up(self.node_proba(X).T)
        return self.map_ids()[best], percent(sure)

    def predict_codes(self, codes: NDArray[np.int8], scales: Floats) -> tuple[Bytes, Bytes]:
        """See :meth:`Head.predict_codes`; linear heads act on the codes in one product for all branchings."""
        self._check_codes(codes, scales)
        found = [part for head in self._heads.values() if (part := head.linear()) is not None]
        if len(found) < len(self._heads):
            return super().predict_codes(codes, scales)
        # What is the largest along a path hangs on how sure each branching is.
        parts = [(coef / np.float32(t), own / np.float32(t)) for coef, own, t in found]
        ids = self.map_ids()
        classes, confidence = np.empty(len(codes), np.uint8), np.empty(len(codes), np.uint8)
        valid = valid_scales(scales)
        if self._product is None:
            self._product = CodeProduct(np.concatenate([coef for coef, _ in parts], axis=1))
        product = self._product
        intercept = np.concatenate([own for _, own in parts])
        ends = np.cumsum([len(own) for _, own in parts])[:-1]
        usable = np.where(valid, scales, np.float32(0))

        def classify(part: slice) -> None:
            logits = product(codes[part], usable[part], intercept)
            local = np.concatenate([softmax(one, axis=0) for one in np.split(logits, ends)])
            best, sure = self._rolled_up(self._along_paths(local))
            classes[part], confidence[part] = ids[best], percent(sure)

        run_blocks(classify, len(codes), BLOCK)
        classes[~valid], confidence[~valid] = NO_CLASS, NO_CONFIDENCE
        return classes, confidence

    def _scale_temperature(self, temperature: float) -> None:
        self._settle(self.nodes_.tolist(), {n: one.temperature_scaled(temperature) for n, one in self._heads.items()})

    def __getstate__(self) -> dict[str, Any]:
        state = super().__getstate__()
        return state | {"_product": None} if "_product" in state else state

    def _arrays(self) -> dict[str, NDArray[Any]]:
        arrays: dict[str, NDArray[Any]] = {"nodes": self.nodes_, "branchings": np.array(list(self._heads), np.int64)}
        for n, head in self._heads.items():
            arrays |= {f"{n}/classes": head.classes_} | {f"{n}/{k}": v for k, v in head._arrays().items()}
        left = np.array([head._temperature for head in self._heads.values()])
        return arrays if (left == 1).all() else arrays | {"temperatures": left}

    def _restore(self, arrays: dict[str, NDArray[Any]]) -> None:
        heads, nodes = {}, arrays["nodes"].tolist()
        branchings = arrays["branchings"].tolist()
        left = arrays.get("temperatures", np.ones(len(branchings)))
        for n, temperature in zip(branchings, left, strict=True):
            own = {k.split("/", 1)[1]: v for k, v in arrays.items() if k.startswith(f"{n}/")}
            head = make_head(self.head, **self._options())
            head.classes_, head.n_features_in_, head.n_ignored_ = own.pop("classes"), self.n_features_in_, 0
            head._restore(own)
            head._temperature = as_temperature(temperature)
            heads[ROOT if n == OLD_ROOT and n not in nodes else n] = head
        self._settle(nodes, heads)


def _line(node: int, up: dict[int, int]) -> list[int]:
    """A class and all above it."""
    line = [node]
    while line[-1] in up:
        line.append(up[line[-1]])
    return line

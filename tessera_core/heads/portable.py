"""A head that other programs can run: its layers as numbers, with its classes, what taught it and what it may map.

What can be carried is a linear head or a small neural network: ``x = max(W x + b, 0)`` for every layer but the last, whose
soft-max are the probabilities (the temperature is in them). As JSON (:data:`FORMAT`) it is read in twenty lines of NumPy
(docs/howto/portable.md) and back into the same head here. Forests, neighbours and heads that look around a pixel are too large,
or no formula of one pixel, and say so.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tessera_core._utils.atomic import write_text
from tessera_core.errors import HeadError, RasterError
from tessera_core.gate import read_json
from tessera_core.heads.base import State
from tessera_core.heads.classification import Head
from tessera_core.heads.registry import head_from_state
from tessera_core.heads.regression import RegressionHead
from tessera_core.provenance import Provenance
from tessera_core.types import Floats

FORMAT = "tessera-head/json/1"
SUFFIX = ".json"
MAX_BYTES = 256 << 20
MAX_DIM = 1 << 14
MAX_CLASSES = 255
# What nine digits say of a float32 brings back the same float32.
DIGITS = 9
_COLOR = re.compile(r"#[0-9a-f]{6}")

Layer = tuple[Floats, Floats]


@dataclass(frozen=True)
class PortableClass:
    """A class of the map: its id 1..255, name (one line), and colour ``"#rrggbb"`` or empty."""

    id: int
    name: str
    color: str = ""

    def __post_init__(self) -> None:
        # It is written into formulas and scripts, where a second line would be code.
        object.__setattr__(self, "name", " ".join(self.name.split())[:200])


@dataclass(frozen=True, eq=False)
class PortableHead:
    """See the module.

    Attributes:
        classes: in the order of the last layer's outputs.
        layers: weight float32 (out, in) and bias float32 (out,) of each layer; one for a linear head.
        provenance: of the embeddings that taught it; only vectors of the same dataset may be given to it.
        header: what brings it back as a head here: its name, parameters, classes and temperature.
        card: what is known of it, JSON values: ``labels`` by class, ``score`` with its interval, and so on; may be empty.
        seen: arrays that tell ground unlike what taught it (:class:`tessera_core.analysis.applicability.AreaOfApplicability`).

    Examples:
        >>> from tessera_core.heads import make_head
        >>> head = make_head("ridge").fit([[0.0, 1.0], [0.1, 0.9], [1.0, 0.0], [0.9, 0.2]], [1, 1, 2, 2])
        >>> carried = PortableHead.of(head, {1: "Wood", 2: "Field"}, Provenance(dim=2))
        >>> ids, confidence = carried.predict([[0.95, 0.1]])
        >>> [carried.names[int(i)] for i in ids]
        ['Field']
    """

    classes: tuple[PortableClass, ...]
    layers: tuple[Layer, ...]
    provenance: Provenance
    header: Mapping[str, Any]
    card: Mapping[str, Any] = field(default_factory=dict)
    seen: Mapping[str, NDArray[Any]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        width = self.dim
        for weight, bias in self.layers:
            if weight.ndim != 2 or bias.shape != weight.shape[:1] or weight.shape[1] != width or not len(bias):
                raise HeadError("The layers of this head do not fit each other; the file is damaged.")
            if not (np.isfinite(weight).all() and np.isfinite(bias).all()):
                raise HeadError("A number of this head is not finite; the file is damaged.")
            width = len(bias)
        ids = [c.id for c in self.classes]
        if len(ids) != width or len(set(ids)) != width or not all(1 <= i <= MAX_CLASSES for i in ids):
            raise HeadError("The classes of this head do not fit its layers; the file is damaged.")
        if self.provenance.dim != self.dim:
            raise HeadError(f"This head takes {self.dim} numbers a pixel, its dataset has {self.provenance.dim}.")

    # ------------------------------------------------------------------------------------------------ from and to a head

    @classmethod
    def of(
        cls,
        head: Head | RegressionHead,
        names: Mapping[int, str],
        provenance: Provenance,
        *,
        colors: Mapping[int, str] | None = None,
        card: Mapping[str, Any] | None = None,
        seen: Mapping[str, NDArray[Any]] | None = None,
    ) -> PortableHead:
        """A fitted head as one that can be carried.

        Args:
            head: fitted.
            names: of the class ids; an id without one keeps the head's own.
            provenance: of the embeddings that taught it.
            colors: of the class ids, ``"#rrggbb"``.
            card, seen: see the class.

        Raises:
            HeadError: it is of a kind that cannot be carried; says why.
        """
        layers, temperature = _layers(head)
        assert isinstance(head, Head)
        own, ids = head.class_names(), head.map_ids().tolist()
        classes = tuple(PortableClass(i, names.get(i, own[i]), (colors or {}).get(i, "")) for i in ids)
        state = head.state().header
        header = {key: value for key, value in state.items() if key != "temperature"}
        if temperature != 1:
            # It is in the layers from now on.
            header["temperature"] = {"value": temperature, "wrapped": False}
        return cls(classes, layers, provenance, header, dict(card or {}), dict(seen or {}))

    def head(self) -> Head:
        """The head that it was made of.

        Raises:
            HeadError: what the file says of it does not fit.
        """
        if len(self.layers) == 1:
            weight, bias = self.layers[0]
            linear = {"coef": np.ascontiguousarray(weight.T), "intercept": bias}
        else:
            linear = {}
        stacked = {f"layer{i}.{k}": v for i, pair in enumerate(self.layers) for k, v in zip(_PARTS, pair, strict=True)}
        try:
            found = head_from_state(State(dict(self.header), linear or stacked))
        except (KeyError, TypeError, ValueError, IndexError, RuntimeError, AttributeError) as error:
            raise HeadError(
                "This head cannot be brought back: what the file says of it does not fit its layers."
            ) from error
        if not isinstance(found, Head) or found.map_ids().tolist() != [c.id for c in self.classes]:
            raise HeadError("This head cannot be brought back: its classes do not fit; the file is damaged.")
        if found.n_features_in_ != self.dim:
            raise HeadError("This head cannot be brought back: its layers take another number of inputs.")
        return found

    # ------------------------------------------------------------------------------------------------------------- facts

    @property
    def dim(self) -> int:
        """How many numbers a pixel has."""
        return int(self.layers[0][0].shape[1]) if self.layers and self.layers[0][0].ndim == 2 else 0

    @property
    def names(self) -> dict[int, str]:
        """Class id -> name."""
        return {c.id: c.name for c in self.classes}

    @property
    def linear(self) -> Layer | None:
        """Weight (K, D) and bias (K,) of a linear head; None of a network."""
        return self.layers[0] if len(self.layers) == 1 else None

    def predict(self, X: ArrayLike) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
        """What other programs compute: class ids uint8 (N,) and their probabilities float32 (N,) of vectors (N, D).

        Raises:
            HeadError: the vectors are of another length.
        """
        x = np.asarray(X, np.float32)
        if x.ndim != 2 or x.shape[1] != self.dim:
            raise HeadError(f"This head takes vectors of {self.dim} numbers, these have the shape {x.shape}.")
        for weight, bias in self.layers[:-1]:
            x = np.maximum(x @ weight.T + bias, 0)
        weight, bias = self.layers[-1]
        logits = x @ weight.T + bias
        best = logits.argmax(1)
        sure = 1 / np.exp(logits - logits.max(1, keepdims=True)).sum(1)
        return np.array([c.id for c in self.classes], np.uint8)[best], sure.astype(np.float32)

    # -------------------------------------------------------------------------------------------------------------- JSON

    def to_json(self) -> dict[str, Any]:
        """JSON object; docs/howto/portable.md says what is in it."""
        return {
            "format": FORMAT,
            "dataset": self.provenance.dataset,
            "classes": [{"id": c.id, "name": c.name, "color": c.color} for c in self.classes],
            "layers": [{"weight": _rows(weight), "bias": _row(bias)} for weight, bias in self.layers],
            "card": dict(self.card),
            "head": dict(self.header),
            "provenance": self.provenance.to_json(),
            "applicability": {name: _numbers(array) for name, array in self.seen.items()},
        }

    @classmethod
    def from_json(cls, value: Any) -> PortableHead:
        """The inverse of :meth:`to_json`; of anybody's file.

        Raises:
            HeadError: it is no such object.
        """
        if not isinstance(value, Mapping) or value.get("format") != FORMAT:
            raise HeadError(f"This is no head as JSON: its format is not {FORMAT!r}.")
        try:
            classes = tuple(_class(one) for one in value["classes"])
            layers = tuple((_array(one["weight"]), _array(one["bias"])) for one in value["layers"])
            seen = {str(k): np.asarray(v, np.float64) for k, v in dict(value.get("applicability", {})).items()}
            header, card = dict(value["head"]), dict(value.get("card", {}))
            provenance = Provenance.from_json(value["provenance"])
        except (KeyError, TypeError, ValueError, OverflowError, RecursionError, RasterError) as error:
            raise HeadError("This head as JSON is incomplete or damaged.") from error
        return cls(classes, layers, provenance, header, card, seen)

    def write(self, path: str | Path) -> Path:
        """Write it as JSON, whole or not at all.

        Raises:
            ExportError: the file cannot be written.
        """
        lines = [
            f"{json.dumps(key)}: {json.dumps(value, ensure_ascii=False, allow_nan=False)}"
            for key, value in self.to_json().items()
        ]
        write_text(Path(path), "{\n" + ",\n".join(lines) + "\n}\n")
        return Path(path)


def read_portable(path: str | Path) -> PortableHead:
    """A head as JSON.

    Raises:
        HeadError: the file is missing, damaged, or something else.
    """
    return PortableHead.from_json(read_json(path, HeadError, MAX_BYTES))


_PARTS = ("weight", "bias")


def _layers(head: Head | RegressionHead) -> tuple[tuple[Layer, ...], float]:
    """The layers of a head with its temperature in them, and that temperature."""
    if isinstance(head, RegressionHead):
        raise HeadError("A head that maps numbers cannot be carried to other programs yet; save it as .safetensors.")
    state = head.state()
    if "neighbourhood" in state.header or head.receptive_radius:
        raise HeadError(
            f"{head.kind} looks at the surroundings of a pixel, which other programs cannot do with one formula. Take a head that "
            "looks at the pixel alone, or save it as .safetensors."
        )
    linear = head.linear()
    if linear is not None:
        *layer, temperature = linear
        weight, bias = (np.asarray(one / np.float32(temperature), np.float32) for one in layer)
        return ((np.ascontiguousarray(weight.T), bias),), head.applied_temperature_
    if state.header["head"] != "mlp":
        raise HeadError(
            f"{head.kind} is not a formula that other programs could run. Take class means, ridge, logistic regression or the "
            "neural network, or save it as .safetensors for Tessera Studio."
        )
    arrays = state.arrays
    layers = [
        tuple(np.asarray(arrays[f"layer{i}.{part}"], np.float32) for part in _PARTS) for i in range(len(arrays) // 2)
    ]
    scaling = state.header.get("temperature", {"value": 1.0, "wrapped": False})
    if scaling["wrapped"]:
        left = np.float32(scaling["left"])
        layers[-1] = tuple((part / left).astype(np.float32) for part in layers[-1])
    return tuple((weight, bias) for weight, bias in layers), head.applied_temperature_


def _row(values: NDArray[Any]) -> list[float]:
    return [float(f"{value:.{DIGITS}g}") for value in values.tolist()]


def _rows(values: NDArray[Any]) -> list[list[float]]:
    return [_row(row) for row in values]


def _numbers(values: NDArray[Any]) -> Any:
    boxed = values.astype(object)
    # JSON has no NaN, which here means "not known".
    boxed[~np.isfinite(values)] = None
    return boxed.tolist()


def _array(value: Any) -> Floats:
    with np.errstate(over="ignore"):
        # What is too large for a float32 becomes infinite, and is refused as that.
        found = np.array(value, np.float32)
    if max(found.shape, default=0) > MAX_DIM:
        raise ValueError("too large")
    return found


def _class(value: Mapping[str, Any]) -> PortableClass:
    name, color = value["name"], value.get("color", "")
    if type(value["id"]) is not int or not isinstance(name, str) or not isinstance(color, str):
        raise ValueError("a class is no class")
    return PortableClass(value["id"], name, color if _COLOR.fullmatch(color) else "")

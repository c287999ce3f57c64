"""Heads: scikit-learn style classifiers that turn embeddings into maps at once, and the scene they act on."""

from __future__ import annotations

from typing import Any

from tessera_core.errors import HeadError
from tessera_core.heads.base import Head
from tessera_core.heads.forest import ForestHead
from tessera_core.heads.logistic import LogisticHead
from tessera_core.heads.mlp import MLPHead
from tessera_core.heads.neighbours import KNNHead
from tessera_core.heads.prototype import PrototypeHead
from tessera_core.heads.ridge import RidgeHead
from tessera_core.heads.saving import SavedHead, load_head, save_head
from tessera_core.heads.scene import ClassMap, Scene, predict_raster

HEADS: dict[str, type[Head]] = {
    "ridge": RidgeHead,
    "logistic": LogisticHead,
    "prototype": PrototypeHead,
    "knn": KNNHead,
    "forest": ForestHead,
    "mlp": MLPHead,
}
# Fast enough to be refitted and repainted after every label.
INSTANT_HEADS = ("ridge", "logistic", "prototype", "knn")


def make_head(name: str, **params: Any) -> Head:
    """An unfitted head by its name.

    Raises:
        HeadError: there is no such head or parameter.
    """
    if name not in HEADS:
        raise HeadError(f"There is no head {name!r}; the heads are {', '.join(HEADS)}.")
    try:
        return HEADS[name](**params)
    except TypeError as error:
        known = ", ".join(HEADS[name]().get_params())
        raise HeadError(f"The head {name!r} has no such parameter ({', '.join(params)}); it has {known}.") from error


__all__ = [
    "HEADS",
    "INSTANT_HEADS",
    "ClassMap",
    "ForestHead",
    "Head",
    "KNNHead",
    "LogisticHead",
    "MLPHead",
    "PrototypeHead",
    "RidgeHead",
    "SavedHead",
    "Scene",
    "load_head",
    "make_head",
    "predict_raster",
    "save_head",
]

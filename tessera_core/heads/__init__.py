"""Heads: scikit-learn style classifiers and regressors that turn embeddings into maps, and the scene they act on.

``make_head(name)`` gives an unfitted head, ``make_head(name, neighbourhood=3)`` one that looks at a 3x3 square around each pixel.
"""

from __future__ import annotations

from tessera_core.heads.auto import AutoHead
from tessera_core.heads.boosting import BoostingHead
from tessera_core.heads.choice import DEFAULT_HEAD, HeadChoice
from tessera_core.heads.classification import Head
from tessera_core.heads.forest import ForestHead
from tessera_core.heads.hierarchical import HierarchicalHead
from tessera_core.heads.logistic import LogisticHead
from tessera_core.heads.mlp import MLPHead
from tessera_core.heads.neighbourhood import NeighbourhoodHead, NeighbourhoodRegressionHead
from tessera_core.heads.neighbours import KNNHead
from tessera_core.heads.portable import PortableHead, read_portable
from tessera_core.heads.prototype import PrototypeHead
from tessera_core.heads.registry import CHOICES, HEADS, INSTANT_HEADS, REGRESSION_HEADS, make_head, make_regression_head
from tessera_core.heads.regression import ForestRegressionHead, MLPRegressionHead, RegressionHead, RidgeRegressionHead
from tessera_core.heads.ridge import RidgeHead
from tessera_core.heads.saving import SavedHead, load_head, save_head
from tessera_core.heads.scene import ClassMap, Scene, ValueMap, predict_raster, predict_values
from tessera_core.heads.unet import UNetHead

HEADS.update(
    {
        head.name: head
        for head in (
            RidgeHead,
            LogisticHead,
            PrototypeHead,
            AutoHead,
            KNNHead,
            ForestHead,
            BoostingHead,
            MLPHead,
            UNetHead,
            HierarchicalHead,
        )
    }
)
REGRESSION_HEADS.update({head.name: head for head in (RidgeRegressionHead, ForestRegressionHead, MLPRegressionHead)})
__all__ = [
    "CHOICES",
    "DEFAULT_HEAD",
    "HEADS",
    "INSTANT_HEADS",
    "REGRESSION_HEADS",
    "AutoHead",
    "BoostingHead",
    "ClassMap",
    "ForestHead",
    "ForestRegressionHead",
    "Head",
    "HeadChoice",
    "HierarchicalHead",
    "KNNHead",
    "LogisticHead",
    "MLPHead",
    "MLPRegressionHead",
    "NeighbourhoodHead",
    "NeighbourhoodRegressionHead",
    "PortableHead",
    "PrototypeHead",
    "RegressionHead",
    "RidgeHead",
    "RidgeRegressionHead",
    "SavedHead",
    "Scene",
    "UNetHead",
    "ValueMap",
    "load_head",
    "make_head",
    "make_regression_head",
    "predict_raster",
    "predict_values",
    "read_portable",
    "save_head",
]

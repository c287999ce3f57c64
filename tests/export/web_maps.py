"""A finished map to show in a browser, and a name that tries to break out of it."""

import numpy as np
from affine import Affine

from tessera_core.export.product import Product
from tessera_core.export.webmap import Background
from tessera_core.grid import Grid
from tessera_core.labels.model import LabelClass
from tessera_core.provenance import Provenance

UTM = Grid("EPSG:32631", Affine(10, 0, 500_000, 0, -10, 5_600_000), (40, 60))
HOSTILE = "</script><script>alert(1)</script><!--<img src=x onerror=alert(2)>&lt;\"'\u2028"


def make_product(grid: Grid = UTM, names: tuple[str, ...] = ("Wood", "Water"), name: str = "Fen") -> Product:
    rng = np.random.default_rng(0)
    classes = rng.integers(0, len(names) + 1, grid.shape).astype(np.uint8)
    confidence = np.where(classes, rng.integers(0, 101, grid.shape), 255).astype(np.uint8)
    colours = ("#0072b2", "#e69f00", "#009e73", "#cc79a7")
    label_classes = [LabelClass(i + 1, one, colours[i % 4]) for i, one in enumerate(names)]
    return Product(
        name, classes, confidence, grid, label_classes, [], Provenance("tessera", "2.0", "2B-L", year=2023), "ridge"
    )


def make_background(grid: Grid = UTM) -> Background:
    picture = np.random.default_rng(1).integers(0, 255, (*grid.shape, 3), dtype=np.uint8)
    return Background("Embeddings as colours", picture, np.ones(grid.shape, bool))

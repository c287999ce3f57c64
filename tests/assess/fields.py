"""Synthetic labelled fields whose pixels resemble each other, laid out on ground."""

from __future__ import annotations

import numpy as np

from tessera_core.assess.samples import CodeFeatures, Samples
from tests.factories import quantised

NAMES = {1: "maize", 2: "grass", 3: "wood"}


def labelled_fields(
    per_class=8, classes=3, pixels=9, offset=1.2, noise=0.3, dim=16, apart=20, seed=0, contrast=1.0
) -> Samples:
    """``per_class`` labels a class of ``pixels`` pixels each, ``apart`` pixels from each other; each has its own offset."""
    rng = np.random.default_rng(seed)
    n = per_class * classes
    centres = contrast * np.random.default_rng(7).normal(size=(classes, dim))
    kind = rng.permutation(np.tile(np.arange(classes), per_class))
    x = centres[kind] + offset * rng.normal(size=(n, dim))
    x = x.repeat(pixels, 0) + noise * rng.normal(size=(n * pixels, dim))
    across = int(np.ceil(np.sqrt(n)))
    label = np.arange(n).repeat(pixels)
    edge = int(np.ceil(np.sqrt(pixels)))
    inside = np.tile(np.arange(pixels), n)
    rows = (label // across) * apart + inside // edge
    cols = (label % across) * apart + inside % edge
    return Samples(CodeFeatures(*quantised(x)), kind.repeat(pixels) + 1, label, rows, cols, dict(NAMES))

"""The golden set of tests/data: what tools/make_golden.py made, by run."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tessera_core.dpixels.tile import DPixelTile
from tessera_core.models.checkpoint import LoadedEncoder, load_checkpoint

FOLDER = Path(__file__).resolve().parents[1] / "data" / "golden"
# A float32 network against float64: about 1e-6; 1.4e-5 where the final LayerNorm of a student amplifies it.
TOLERANCE = 3e-5


@dataclass(frozen=True)
class OwnRun:
    """An encoder, the statistics it was run with where there are several, and a tile."""

    name: str

    @property
    def encoder(self) -> str:
        return self.name.partition("_")[0].removesuffix(f"-{self.source}" if self.source else "")

    @property
    def source(self) -> str | None:
        return next((source for source in ("mpc", "aws") if self.name.startswith(f"v1.1-{source}_")), None)

    @property
    def tile_folder(self) -> Path:
        return FOLDER / "tiles" / self.name.partition("_")[2]

    @property
    def weights(self) -> Path:
        return FOLDER / f"{self.encoder}.safetensors"

    def tile(self) -> DPixelTile:
        return DPixelTile.open(self.tile_folder)

    def loaded(self) -> LoadedEncoder:
        return load_checkpoint(self.weights, data_source=self.source)

    def expected(self) -> dict[str, NDArray[Any]]:
        with np.load(FOLDER / "expected" / f"{self.name}.npz") as file:
            return dict(file)


WRONG = "v1.1-gate-after_a"
RUNS = [OwnRun(file.stem) for file in sorted((FOLDER / "expected").glob("*.npz")) if file.stem != WRONG]
IDS = [run.name for run in RUNS]

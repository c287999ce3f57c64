"""Make tests/data/golden: every published encoder at small width with random weights of our own, tiles, and what must come out.

Usage: .venv/bin/python tools/make_golden.py [FOLDER]

The expected arrays are computed by tests/models/reference.py, which is written from docs/spec/model.md and imports nothing of
tessera_core; only the published band statistics, which are data, come from there. Run it when the specification changes, never
to make a test pass.
"""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
from numpy.typing import NDArray
from rasterio.transform import Affine
from safetensors.numpy import save_file

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from tessera_core.models.normalisation import NORMALISATIONS  # noqa: E402
from tests.models.reference import Model, Statistics, embed, quantised  # noqa: E402

FOLDER = ROOT / "tests" / "data" / "golden"
WIDTH = 24


@dataclass(frozen=True)
class Golden:
    """One encoder of the set.

    Attributes:
        model: what the plain computation needs to know.
        runs: (tile, statistics) pairs.
        config: what its checkpoint says about itself, in the published words.
        out: length of the representation.
        layers, feedforward: of the Sentinel-2 and the Sentinel-1 branch.
        qk_norm: whether its layers normalise q and k.
        prefixes: lengths quantised on their own; none where the authors offer no int8.
    """

    model: Model
    runs: tuple[tuple[str, str], ...]
    config: dict[str, Any]
    out: int = 24
    layers: tuple[int, int] = (2, 1)
    feedforward: tuple[int, int] = (40, 32)
    qk_norm: bool = False
    prefixes: tuple[int, ...] = ()
    seed: int = field(default=0)


_V1 = (("t40", "v1.0"),)
_V2 = tuple((tile, "v2-student") for tile in ("a", "long", "noasc", "nosar"))
_TEACHER = tuple((tile, "v2-teacher") for tile in ("a", "long", "noasc", "nosar"))
MODELS = {
    "v1.0-fp32": Golden(Model("v1.0-fp32", (4, 4), 24), _V1, {"nhead": 4}, seed=10),
    "v1.0-qat": Golden(
        Model("v1.0-qat", (4, 4), 24), (*_V1, ("t40-nosar", "v1.0")), {"nhead": 4}, prefixes=(24,), seed=11
    ),
    "v1.1": Golden(
        Model("v1.1", (4, 2), 16),
        (*((tile, "v1.1-mpc") for tile in ("a", "long", "noasc", "nosar")), ("a", "v1.1-aws")),
        {
            "latent_dim": WIDTH // 4,
            "representation_dim": 24,
            "save_embedding_dim": 16,
            "s2_num_heads": 4,
            "s1_num_heads": 2,
        },
        prefixes=(16,),
        seed=12,
    ),
    "v2-student": Golden(
        Model("v2-student", (4, 4), 32, final_layernorm=True),
        _V2,
        {"latent_dim": WIDTH // 4, "nhead": 4, "repr_dim": 32, "matryoshka_dims": "8,16,32", "enable_qk_norm": False},
        out=32,
        prefixes=(8, 16, 32),
        seed=13,
    ),
    "v2-student-qknorm": Golden(
        Model("v2-student", (4, 4), 32, final_layernorm=True),
        (("a", "v2-student"),),
        {"latent_dim": WIDTH // 4, "nhead": 4, "repr_dim": 32, "matryoshka_dims": "8,16,32", "enable_qk_norm": True},
        out=32,
        qk_norm=True,
        prefixes=(8, 16, 32),
        seed=14,
    ),
    "v2-teacher": Golden(
        Model("v2-teacher", (4, 4), 24, final_layernorm=True),
        _TEACHER,
        {"latent_dim": WIDTH // 4, "nhead": 4, "repr_dim": 24, "final_layernorm": True},
        qk_norm=True,
        seed=15,
    ),
    "v2-teacher-nofinalln": Golden(
        Model("v2-teacher", (4, 4), 24),
        (("a", "v2-teacher"),),
        {"latent_dim": WIDTH // 4, "nhead": 4, "repr_dim": 24, "final_layernorm": False},
        qk_norm=True,
        seed=16,
    ),
}


def statistics(name: str) -> Statistics:
    """A published set as the plain computation takes it."""
    n = NORMALISATIONS[name]
    pairs = ((n.s2_mean, n.s2_std), (n.asc_mean, n.asc_std), (n.desc_mean, n.desc_std))
    return Statistics(*((np.array(mean), np.array(std)) for mean, std in pairs))


# -- weights -----------------------------------------------------------------------------------------------------------------


class _Weights:
    """Random tensors under the published names; nothing is left at a value that would hide a mistake."""

    def __init__(self, seed: int) -> None:
        self.rng = np.random.default_rng(seed)
        self.state: dict[str, NDArray[np.float32]] = {}

    def add(self, name: str, *shape: int, scale: float, middle: float = 0.0) -> None:
        self.state[name] = (middle + scale * self.rng.standard_normal(shape)).astype(np.float32)

    def linear(self, name: str, out: int, size: int, bias: bool = True, gain: float = 1.0) -> None:
        self.add(f"{name}.weight", out, size, scale=gain / np.sqrt(size))
        if bias:
            self.add(f"{name}.bias", out, scale=0.1)

    def norm(self, name: str, size: int) -> None:
        self.add(f"{name}.weight", size, scale=0.2, middle=1.0)
        self.add(f"{name}.bias", size, scale=0.1)

    def layer(self, name: str, width: int, feedforward: int, heads: int, qk_norm: bool) -> None:
        if qk_norm:
            for part in ("q_proj", "k_proj", "v_proj", "out_proj"):
                self.linear(f"{name}.{part}", width, width)
            for part in ("q_norm", "k_norm"):
                self.add(f"{name}.{part}.weight", width // heads, scale=0.2, middle=1.0)
        else:
            self.add(f"{name}.self_attn.in_proj_weight", 3 * width, width, scale=1.5 / np.sqrt(width))
            self.add(f"{name}.self_attn.in_proj_bias", 3 * width, scale=0.1)
            self.linear(f"{name}.self_attn.out_proj", width, width)
        self.linear(f"{name}.linear1", feedforward, width)
        self.linear(f"{name}.linear2", width, feedforward)
        self.norm(f"{name}.norm1", width)
        self.norm(f"{name}.norm2", width)

    def branch(self, name: str, golden: Golden, index: int) -> None:
        family = golden.model.family
        self.linear(f"{name}.embedding.0", WIDTH, (10, 2)[index])
        self.linear(f"{name}.embedding.2", WIDTH, WIDTH)
        level = f"{name}.transformer_encoder" + ("" if golden.qk_norm and family == "v2-student" else ".layers")
        for i in range(golden.layers[index]):
            heads = golden.model.heads[index]
            self.layer(f"{level}.{i}", WIDTH, golden.feedforward[index], heads, golden.qk_norm)
        pool = f"{name}.attn_pool"
        # Wide scores, so that the pooling weights differ and a mistake in them shows.
        self.linear(f"{pool}.query", 1, WIDTH, gain=3.0)
        context = f"{pool}.temporal_context"
        if family == "v1.0-fp32":
            for part in ("ih", "hh"):
                self.add(f"{context}.weight_{part}_l0", 3 * WIDTH, WIDTH, scale=1 / np.sqrt(WIDTH))
                self.add(f"{context}.bias_{part}_l0", 3 * WIDTH, scale=0.2)
        elif family in ("v1.0-qat", "v1.1"):
            for part in ("ir", "iz", "ih", "hr", "hz", "hh"):
                self.linear(f"{context}.gru_cell.W_{part}", WIDTH, WIDTH, bias=False)
            for part in "rzh":
                self.add(f"{context}.gru_cell.b_{part}", WIDTH, scale=0.2)
            self.norm(f"{pool}.layer_norm", WIDTH)


def weights(golden: Golden) -> dict[str, NDArray[np.float32]]:
    """All tensors of an encoder, by the names of docs/spec/model.md section 1.7."""
    made = _Weights(golden.seed)
    for index, name in enumerate(("s2_backbone", "s1_backbone")):
        made.branch(name, golden, index)
    if golden.model.family == "v2-teacher":
        made.add("fusion_modality_embed", 2, WIDTH, scale=0.5)
        for i in range(2):
            made.layer(f"fusion_transformer.layers.{i}", WIDTH, 2 * WIDTH, 4, qk_norm=True)
    if golden.model.family.startswith("v1.0"):
        made.linear("dim_reducer.0", golden.out, 2 * WIDTH)
    else:
        made.linear("dim_reducer.0", 4 * WIDTH, 2 * WIDTH)
        made.norm("dim_reducer.1", 4 * WIDTH)
        made.linear("dim_reducer.4", golden.out, 4 * WIDTH)
    return made.state


# -- tiles -------------------------------------------------------------------------------------------------------------------


def observations(
    seed: int, shape: tuple[int, int], dates: tuple[int, int, int], days: int = 365
) -> dict[str, NDArray[Any]]:
    """A tile in which every pixel is seen on every date; ``dates`` of Sentinel-2, ascending and descending passes."""
    rng = np.random.default_rng(seed)

    def when(count: int, dtype: type) -> NDArray[Any]:
        return np.sort((rng.choice(days, count, replace=False) % 366) + 1).astype(dtype)

    tile: dict[str, NDArray[Any]] = {
        "bands": rng.integers(1, 9000, (dates[0], *shape, 10)).astype(np.uint16),
        "masks": np.ones((dates[0], *shape), np.uint8),
        "doys": when(dates[0], np.uint16),
    }
    for name, count in (("ascending", dates[1]), ("descending", dates[2])):
        tile[f"sar_{name}"] = rng.integers(1500, 9000, (count, *shape, 2)).astype(np.int16)
        tile[f"sar_{name}_doy"] = when(count, np.int16)
    return tile


def keep(
    tile: dict[str, NDArray[Any]], row: int, column: int, s2: int | None, asc: int | None, desc: int | None
) -> None:
    """Leave a pixel so many valid observations, spread over the dates; None leaves all."""
    for name, count in (("masks", s2), ("sar_ascending", asc), ("sar_descending", desc)):
        if count is None:
            continue
        total = len(tile[name])
        kept = np.zeros(total, bool)
        kept[np.rint(np.linspace(0, total - 1, count)).astype(int) if count > 1 else [total // 2][:count]] = True
        tile[name][~kept, row, column] = 0


def tiles() -> dict[str, dict[str, NDArray[Any]]]:
    """The tiles by name; each pixel is a case."""
    a = observations(1, (4, 5), (44, 15, 12))
    cases: list[tuple[int | None, int | None, int | None]] = [
        (0, None, None), (None, 0, 0), (0, 0, 0), (0, 0, 0), (1, 1, 0),
        (8, None, None), (9, 4, 4), (16, 5, 4), (None, None, None), (20, None, 0),
        (30, 0, None), (25, None, None), (3, None, None), (2, 2, 1), (12, 9, 8),
        (17, 3, 2), (24, 6, 6), (33, 8, 8), (40, 1, 0), (7, 0, 1),
    ]  # fmt: skip
    for index, counts in enumerate(cases):
        keep(a, index // 5, index % 5, *counts)
    a["bands"][:, 0, 3] = 0
    a["sar_ascending"][:, 2, 1, 1] = 0  # one polarisation is missing: still an observation
    a["bands"][:, 2, 2] = 0  # usable by its mask, and yet without a value
    long = observations(2, (1, 3), (280, 200, 90), days=1200)
    keep(long, 0, 1, 257, 180, 77)
    keep(long, 0, 2, 100, 40, 9)
    noasc, nosar = observations(3, (1, 3), (30, 0, 12)), observations(4, (1, 3), (40, 0, 0))
    keep(noasc, 0, 2, None, None, 0)
    keep(nosar, 0, 1, 0, None, None)
    keep(nosar, 0, 2, 1, None, None)
    # Of v1.0 only what its draw of 40 leaves no choice in: 40, one or no valid observation of 40.
    t40, t40_nosar = observations(5, (2, 3), (40, 22, 18)), observations(6, (1, 3), (40, 0, 0))
    keep(t40, 0, 1, 1, None, None)
    keep(t40, 0, 2, None, 1, 0)
    keep(t40, 1, 0, 0, None, None)
    keep(t40, 1, 1, None, 0, 0)
    t40["bands"][:, 1, 2] = 0
    keep(t40_nosar, 0, 1, 1, None, None)
    return {"a": a, "long": long, "noasc": noasc, "nosar": nosar, "t40": t40, "t40-nosar": t40_nosar}


def save_tile(folder: Path, tile: dict[str, NDArray[Any]]) -> None:
    """Write a tile as docs/spec/model.md section 4.1 says."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, array in tile.items():
        np.save(folder / f"{name}.npy", array)
    height, width = tile["bands"].shape[1:3]
    place = {"crs": "EPSG:32631", "transform": Affine(10, 0, 500_000, 0, -10, 5_800_000)}
    with rasterio.open(
        folder / "roi.tiff", "w", driver="GTiff", height=height, width=width, count=1, dtype="uint8", **place
    ) as roi:
        roi.write(np.ones((1, height, width), np.uint8))


# -- the set -----------------------------------------------------------------------------------------------------------------


def expected(
    golden: Golden, state: dict[str, Any], tile: dict[str, Any], normalisation: str
) -> dict[str, NDArray[Any]]:
    """``embedding`` float32 (H, W, D), ``run`` bool (H, W), and for each prefix ``codes_<n>`` and ``scales_<n>``."""
    values, run = embed(tile, state, golden.model, statistics(normalisation))
    embedding = values.astype(np.float32)
    out: dict[str, NDArray[Any]] = {"embedding": embedding, "run": run}
    for prefix in golden.prefixes:
        out[f"codes_{prefix}"], out[f"scales_{prefix}"] = quantised(embedding[..., :prefix], golden.model.family)
    return out


def main(folder: Path) -> None:
    """Write the whole set."""
    made = tiles()
    for name, tile in made.items():
        save_tile(folder / "tiles" / name, tile)
    (folder / "expected").mkdir(exist_ok=True)
    for name, golden in MODELS.items():
        state = weights(golden)
        save_file(state, folder / f"{name}.safetensors", metadata={"config": json.dumps(golden.config)})
        for tile_name, normalisation in golden.runs:
            source = f"-{normalisation.partition('-')[2]}" if name == "v1.1" else ""
            content = expected(golden, state, made[tile_name], normalisation)
            np.savez_compressed(folder / "expected" / f"{name}{source}_{tile_name}.npz", **content)
        if name == "v1.1":
            # How one publisher ran these weights: not what they were trained as, and not to be mistaken for it.
            other = replace(golden, model=replace(golden.model, gate="after"))
            content = expected(other, state, made["a"], "v1.1-aws")
            np.savez_compressed(folder / "expected" / "v1.1-gate-after_a.npz", **content)
    size = sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())
    print(f"{folder}: {size / 1e6:.2f} MB")


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else FOLDER)

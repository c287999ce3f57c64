"""The arithmetic of the published store 1.1/dclimate: modules, engine and compiled kernels give what a plain computation gives."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from tessera_core.cli import main
from tessera_core.dpixels.tile import DPixelTile
from tessera_core.errors import CheckpointError
from tessera_core.inference.engine import Engine
from tessera_core.models.checkpoint import LoadedEncoder, load_checkpoint
from tessera_core.models.config import PRESETS, EncoderConfig
from tessera_core.models.encoder import Encoder
from tessera_core.models.inputs import PixelSeries, prepare, runnable
from tessera_core.models.plain import embed_pixels
from tessera_core.models.quantise import quantise
from tessera_core.raster import NoData
from tests.models.golden_runs import golden_run
from tests.models.own_golden import TOLERANCE, WRONG, OwnRun

OWN = OwnRun("v1.1-aws_a")


def gate_only(loaded: LoadedEncoder) -> LoadedEncoder:
    """The published recurrent cell with exact days and nothing refused, which is what the golden arrays are of."""
    moved = loaded.with_arithmetic("dclimate")
    config = replace(moved.config, days="exact", sampling=replace(moved.config.sampling, min_optical=0))
    return replace(moved, config=config)


@pytest.mark.usefixtures("kernels")
def test_engine_and_modules_equal_the_plain_computation() -> None:
    loaded, want, tile = gate_only(OWN.loaded()), OwnRun(WRONG).expected()["embedding"], OWN.tile()
    rows = slice(0, tile.shape[0])
    exact = Engine(loaded, "cpu", "fp32").embed(tile, rows, outside=True).values
    np.testing.assert_allclose(exact, want, rtol=0, atol=TOLERANCE)
    plain = embed_pixels(loaded.encoder, loaded.config, PixelSeries.of_tile(tile))
    np.testing.assert_allclose(plain.reshape(want.shape), want, rtol=0, atol=TOLERANCE)
    rounded = Engine(loaded, "cpu", "bf16").embed(tile, rows, outside=True).values
    cosine = (rounded * want).sum(-1) / np.linalg.norm(rounded, axis=-1) / np.linalg.norm(want, axis=-1)
    assert cosine.min() >= 0.9999


@pytest.mark.usefixtures("kernels")
@pytest.mark.parametrize(("file", "days"), [("embedding_fp32_full", "exact"), ("embedding_fp32_full_doybf16", "bf16")])
def test_golden_of_an_independent_program(shared: Path, file: str, days: str) -> None:
    run = golden_run(shared, "v1_1_tiny", "a_mpc")
    loaded = gate_only(run.loaded.for_data("mpc"))
    loaded = replace(loaded, config=replace(loaded.config, days=days))
    folder = shared / "golden-dclimate" / "v1_1_tiny-a_mpc"
    want = np.load(folder / f"{file}.npy")
    plain = embed_pixels(loaded.encoder, loaded.config, run.series()).reshape(want.shape)
    np.testing.assert_allclose(plain, want, rtol=0, atol=2e-6)
    tile = DPixelTile.open(shared / "golden" / "v1_1_tiny" / "tiles" / "a")
    exact = Engine(loaded, "cpu", "fp32").embed(tile, slice(0, tile.shape[0]), outside=True).values
    np.testing.assert_allclose(exact, want, rtol=0, atol=2e-6)
    if days == "exact":
        codes, scales = quantise(plain.reshape(-1, want.shape[-1])[:, :16], "v1")
        off = np.abs(codes.astype(int) - np.load(folder / "tile_emb16_int8.npy").reshape(-1, 16))
        assert off.max() <= 1
        assert (off > 0).mean() < 0.01
        np.testing.assert_allclose(scales, np.load(folder / "tile_emb16_scales.npy").ravel(), rtol=1e-5)
        parts = np.load(folder / "backbone_outputs.npz")
        for bucket in prepare(run.series(), loaded.config):
            with torch.inference_mode():
                s2 = loaded.encoder.s2_backbone(torch.from_numpy(bucket.s2)).numpy()
            np.testing.assert_allclose(s2, parts["s2"].reshape(30, -1)[bucket.pixels], rtol=0, atol=5e-6)


def test_days_move_to_what_bfloat16_has() -> None:
    series = PixelSeries.of_tile(OWN.tile())
    given_days = np.array([1, 100, 255, 256, 257, 258, 259, 260, 261, 263, 361, 363, 364, 365, 366], np.float32)
    moved = replace(series, doys=given_days).for_days("bf16").doys
    assert moved.tolist() == [1, 100, 255, 256, 256, 258, 260, 260, 260, 264, 360, 364, 364, 364, 366]
    assert series.for_days("exact") is series


@given(st.lists(st.floats(-1e6, 1e6, width=32), min_size=1, max_size=50))
def test_rounding_is_torchs(values: list[float]) -> None:
    from tessera_core.models.inputs import _bfloat16

    array = np.array(values, np.float32)
    assert _bfloat16(array).tolist() == torch.from_numpy(array).bfloat16().float().tolist()


def test_thin_pixels_are_refused_and_the_two_arithmetics_do_not_mix(tmp_path: Path) -> None:
    run, tile = OWN, OWN.tile()
    loaded = run.loaded().with_arithmetic("dclimate")
    counts = PixelSeries.of_tile(tile).s2_valid.sum(0)
    assert runnable(PixelSeries.of_tile(tile), loaded.config).tolist() == (counts >= 15).tolist()
    command = [
        "generate",
        str(run.tile_folder),
        "--weights",
        str(run.weights),
        "--data-source",
        "aws",
        "--dtype",
        "fp32",
    ]
    assert main([*command, "--arithmetic", "dclimate", "--out", str(tmp_path / "published")]) == 0
    name = run.tile_folder.name
    header = json.loads((tmp_path / "published" / f"{name}.json").read_text())
    assert header["provenance"]["variant"].endswith("-dclimate")
    assert {key: header["provenance"]["details"][key] for key in ("gru", "doy")} == {"gru": "dclimate", "doy": "bf16"}
    scales = np.load(tmp_path / "published" / f"{name}_scales.npy")
    assert not np.isfinite(scales[counts.reshape(scales.shape) < 15]).any()
    reasons = np.load(tmp_path / "published" / f"{name}_nodata.npy")
    few = (counts.reshape(scales.shape) < 15) & (counts.reshape(scales.shape) > 0) & (reasons != NoData.OUTSIDE)
    assert few.any()
    assert (reasons[few] == NoData.TOO_FEW).all()
    # Into the same folder without it: another dataset.
    assert main([*command, "--out", str(tmp_path / "published")]) == 2
    # The order in which source and arithmetic are told makes no other dataset.
    plain = load_checkpoint(run.weights)
    first = plain.for_data("aws").with_arithmetic("dclimate").provenance().dataset
    assert first == plain.with_arithmetic("dclimate").for_data("aws").provenance().dataset
    assert first != plain.for_data("aws").provenance().dataset


def test_only_weights_of_1_1_were_published_so() -> None:
    nano = OwnRun("v2-student_a").loaded()
    with pytest.raises(CheckpointError, match=r"TESSERA 1\.1"):
        nano.with_arithmetic("dclimate")
    with pytest.raises(CheckpointError, match=r"v1\.1-aws"):
        OWN.loaded().with_arithmetic("dclimate").with_arithmetic("trained")
    preset = PRESETS["v1.1-dclimate"]
    assert (preset.arithmetic, preset.sampling.min_optical) == ("dclimate", 15)
    assert preset.normalisation == PRESETS["v1.1-aws"].normalisation
    assert EncoderConfig.from_json(preset.to_json()) == preset
    # A configuration written before there was a choice.
    older = {key: value for key, value in PRESETS["v1.1-aws"].to_json().items() if key not in ("reset", "days")}
    older["sampling"].pop("min_optical")
    assert EncoderConfig.from_json(older) == PRESETS["v1.1-aws"]


def test_weights_are_shared_when_the_arithmetic_changes() -> None:
    loaded = OWN.loaded()
    moved = loaded.with_arithmetic("dclimate")
    assert isinstance(moved.encoder, Encoder)
    for name, tensor in loaded.encoder.state_dict().items():
        assert moved.encoder.state_dict()[name].data_ptr() == tensor.data_ptr(), name

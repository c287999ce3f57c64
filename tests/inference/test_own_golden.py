"""Every published encoder, by every way through the engine, gives what a plain computation from docs/spec/model.md gives."""

from __future__ import annotations

import ast
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from tessera_core.cli import main
from tessera_core.inference.engine import Engine
from tessera_core.models.config import PRESETS
from tessera_core.models.encoder import Encoder
from tessera_core.models.inputs import PixelSeries, runnable
from tessera_core.models.plain import embed_pixels
from tessera_core.models.quantise import quantise
from tests.models import reference
from tests.models.own_golden import FOLDER, IDS, RUNS, TOLERANCE, WRONG, OwnRun
from tools import make_golden

PARAMETERS = {
    "v1.0-fp32": 87_841_922, "v1.0-qat": 45_828_226, "v1.1-mpc": 57_708_738, "v1.1-aws": 57_708_738, "v2-nano": 1_066_402,
    "v2-small": 7_112_322, "v2-medium": 21_031_506, "v2-large": 43_831_170, "v2-teacher": 2_064_266_242,
}  # fmt: skip


def test_the_set_is_whole_and_small() -> None:
    assert (
        {run.encoder for run in RUNS} == set(make_golden.MODELS) == {file.stem for file in FOLDER.glob("*.safetensors")}
    )
    assert len(RUNS) == sum(len(golden.runs) for golden in make_golden.MODELS.values())
    assert sum(file.stat().st_size for file in FOLDER.rglob("*") if file.is_file()) < 2e6


def test_the_plain_computation_owes_nothing_to_the_code_that_it_proves() -> None:
    tree = ast.parse(Path(reference.__file__).read_text(encoding="utf-8"))
    imported = {
        alias.name if isinstance(node, ast.Import) else node.module
        for node in ast.walk(tree)
        if isinstance(node, ast.Import | ast.ImportFrom)
        for alias in node.names
    }
    assert {str(name).partition(".")[0] for name in imported} - sys.stdlib_module_names == {"numpy"}


@pytest.mark.parametrize("run", RUNS, ids=IDS)
def test_what_is_expected_is_what_the_plain_computation_says(run: OwnRun) -> None:
    """The committed arrays are of the committed weights and tiles; the weights and tiles are those of the tool."""
    golden, made = make_golden.MODELS[run.encoder], make_golden.tiles()[run.tile_folder.name]
    from safetensors.numpy import load_file

    state = load_file(run.weights)
    tile = {file.stem: np.load(file) for file in run.tile_folder.glob("*.npy")}
    assert {key: value.tolist() for key, value in tile.items()} == {key: value.tolist() for key, value in made.items()}
    normalisation = dict(
        (f"{run.encoder}{'-' + s.partition('-')[2] if run.source else ''}_{t}", s) for t, s in golden.runs
    )
    again = make_golden.expected(golden, state, tile, normalisation[run.name])
    want = run.expected()
    assert set(again) == set(want)
    for key, value in again.items():
        np.testing.assert_allclose(value.astype(float), want[key].astype(float), rtol=0, atol=1e-6, err_msg=key)


@pytest.mark.usefixtures("kernels")
@pytest.mark.parametrize("run", RUNS, ids=IDS)
def test_engine(run: OwnRun) -> None:
    tile, loaded, expected = run.tile(), run.loaded(), run.expected()
    want, seen = expected["embedding"], expected["run"]
    rows = slice(0, tile.shape[0])
    exact = Engine(loaded, "cpu", "fp32").embed(tile, rows, outside=True).values
    np.testing.assert_allclose(exact[seen], want[seen], rtol=0, atol=TOLERANCE)
    rounded = Engine(loaded, "cpu", "bf16").embed(tile, rows, outside=True).values[seen]
    cosine = (rounded * want[seen]).sum(-1) / np.linalg.norm(rounded, axis=-1) / np.linalg.norm(want[seen], axis=-1)
    assert cosine.min() >= 0.9999


@pytest.mark.parametrize("run", RUNS, ids=IDS)
def test_modules_and_codes(run: OwnRun) -> None:
    """The torch modules that training uses, and the int8 rule of each prefix."""
    loaded, expected = run.loaded(), run.expected()
    series = PixelSeries.of_tile(run.tile())
    seen = expected["run"].ravel()
    np.testing.assert_array_equal(runnable(series, loaded.config), seen)
    ours = embed_pixels(loaded.encoder, loaded.config, series)
    want = expected["embedding"].reshape(len(ours), -1)
    np.testing.assert_allclose(ours[seen], want[seen], rtol=0, atol=TOLERANCE)
    prefixes = [int(key.removeprefix("codes_")) for key in expected if key.startswith("codes_")]
    assert bool(prefixes) == (loaded.config.quantiser is not None)
    for prefix in prefixes:
        codes, scales = quantise(ours[:, :prefix], loaded.config.quantiser)  # type: ignore[arg-type]
        wanted, wanted_scales = expected[f"codes_{prefix}"].reshape(-1, prefix), expected[f"scales_{prefix}"].ravel()
        np.testing.assert_allclose(scales[seen], wanted_scales[seen], rtol=0, atol=TOLERANCE / 127)
        # A code may differ by one where the exact value lies within the tolerance of a rounding boundary, and nowhere else.
        exact = want[seen, :prefix] / wanted_scales[seen, None]
        tie = np.abs(exact - np.floor(exact) - 0.5) <= 2 * TOLERANCE / wanted_scales[seen, None]
        off = np.abs(codes[seen].astype(int) - wanted[seen])
        assert off.max() <= 1
        assert not off[~tie].any()


@pytest.mark.parametrize("name", ["v1.0-qat_t40", "v1.1-mpc_long", "v2-student_a"])
def test_command_line_writes_the_codes(name: str, tmp_path: Path) -> None:
    run = OwnRun(name)
    options = ["--data-source", run.source] if run.source else []
    command = [
        "generate",
        str(run.tile_folder),
        "--weights",
        str(run.weights),
        "--out",
        str(tmp_path),
        "--dtype",
        "fp32",
    ]
    assert main([*command, *options]) == 0
    codes, expected = np.load(tmp_path / f"{run.tile_folder.name}.npy"), run.expected()
    valid = np.isfinite(np.load(tmp_path / f"{run.tile_folder.name}_scales.npy"))
    assert valid.any()
    assert not valid[~expected["run"]].any()
    off = np.abs(codes[valid].astype(int) - expected[f"codes_{codes.shape[-1]}"][valid])
    assert off.max() <= 1
    assert (off > 0).mean() < 0.005


def test_the_reset_gate_in_the_wrong_place_would_show() -> None:
    run = OwnRun("v1.1-aws_a")
    tile = run.tile()
    ours = Engine(run.loaded(), "cpu", "fp32").embed(tile, slice(0, tile.shape[0]), outside=True).values
    assert np.abs(ours - OwnRun(WRONG).expected()["embedding"]).max() > 1000 * TOLERANCE


@pytest.mark.parametrize("name", PARAMETERS)
def test_full_size_models_have_as_many_parameters_as_published(name: str) -> None:
    with torch.device("meta"):
        encoder = Encoder(PRESETS[name])
    assert sum(p.numel() for p in encoder.parameters()) == PARAMETERS[name]

"""Reading checkpoints: what is accepted, what is refused and in which words; our own format."""

from __future__ import annotations

import io
import pickle
import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from tessera_core.errors import CheckpointError, TesseraError
from tessera_core.models import zoo
from tessera_core.models.checkpoint import load_checkpoint, save_checkpoint
from tessera_core.models.config import PRESETS, EncoderConfig, StackConfig, v1_0_qat, v1_1, v2_student
from tessera_core.models.encoder import Encoder
from tessera_core.models.normalisation import NORMALISATIONS

TINY = v2_student(4, 2, 4, 8, 16, (4, 16))
ARGS = {
    "repr_dim": 16,
    "latent_dim": 4,
    "num_layers": 2,
    "nhead": 4,
    "dim_feedforward": 8,
    "matryoshka_dims": "4,16",
    "dropout": 0.0,
}


def encoder_of(config: EncoderConfig, seed: int = 0) -> Encoder:
    torch.manual_seed(seed)
    return Encoder(config).eval()


def write(path: Path, content: Any) -> Path:
    torch.save(content, path)
    return path


@pytest.fixture
def student(tmp_path: Path) -> Path:
    return write(tmp_path / "student.pt", {"args": ARGS, "model": encoder_of(TINY).state_dict()})


def message(path: Path) -> str:
    with pytest.raises(CheckpointError) as caught:
        load_checkpoint(path)
    text = str(caught.value)
    assert path.name in text
    assert "Traceback" not in text
    assert "\n" not in text
    return text


# -- accepted ----------------------------------------------------------------------------------------------------------------


def test_student_wrapping(student: Path) -> None:
    loaded = load_checkpoint(student)
    assert loaded.config == TINY
    assert loaded.sha256 == zoo.file_sha256(student)
    assert loaded.provenance(4, year=2024).dataset == f"tessera 2.0/custom-{loaded.sha256[:8]} (4-d)"
    assert loaded.notes == ()


@pytest.mark.parametrize("prefix", ["module.", "_orig_mod.", "module._orig_mod.", "_orig_mod.module._orig_mod."])
@pytest.mark.parametrize("wrapper", ["model", "encoder_state_dict", "model_state", "model_state_dict", None])
def test_prefixes_and_wrappers(tmp_path: Path, prefix: str, wrapper: str | None) -> None:
    encoder = encoder_of(TINY)
    state: dict[str, Any] = {prefix + key: value for key, value in encoder.state_dict().items()}
    state[prefix + "projector.net.0.weight"] = torch.zeros(3, 3)
    path = write(tmp_path / "x.pt", {wrapper: state, "args": ARGS, "epoch": 3} if wrapper else state)
    loaded = load_checkpoint(path)
    for key, value in encoder.state_dict().items():
        assert torch.equal(loaded.encoder.state_dict()[key], value)


def test_compile_prefix_inside_names(tmp_path: Path) -> None:
    state = {
        key.replace("s2_backbone.", "s2_backbone._orig_mod."): value
        for key, value in encoder_of(v1_0_qat(4, 1, 4, 8, 8)).state_dict().items()
    }
    loaded = load_checkpoint(write(tmp_path / "qat.pt", {"model_state_dict": state}))
    assert loaded.config.family == "v1.0-qat"
    assert "attention heads" in loaded.notes[0]


def test_old_layout_without_zip(tmp_path: Path) -> None:
    path = tmp_path / "old.pt"
    torch.save({"args": ARGS, "model": encoder_of(TINY).state_dict()}, path, _use_new_zipfile_serialization=False)
    assert load_checkpoint(path).config == TINY


def test_half_precision_weights_become_float32(tmp_path: Path) -> None:
    state = {key: value.half() for key, value in encoder_of(TINY).state_dict().items()}
    loaded = load_checkpoint(write(tmp_path / "half.pt", {"args": ARGS, "model": state}))
    assert {p.dtype for p in loaded.encoder.parameters()} == {torch.float32}


def test_v1_1_source_is_taken_from_the_name_or_asked_for(tmp_path: Path) -> None:
    config = v1_1(4, 24, 16, StackConfig(1, 4, 8), StackConfig(1, 4, 8))
    content = {"model_state": encoder_of(config).state_dict(), "config": {"save_embedding_dim": 16}}
    plain = load_checkpoint(write(tmp_path / "weights.pt", content))
    assert plain.data_source is None
    assert "mpc or the aws" in plain.notes[0]
    aws = plain.for_data("aws")
    assert aws.config.normalisation == NORMALISATIONS["v1.1-aws"]
    assert aws.provenance().dataset != plain.provenance().dataset
    named = load_checkpoint(write(tmp_path / "my_aws_run.pt", content))
    assert named.data_source == "aws"
    assert named.config.normalisation == NORMALISATIONS["v1.1-aws"]
    assert named.for_data("aws").notes == named.notes
    with pytest.raises(CheckpointError, match="mpc or aws"):
        named.for_data("landsat")


def test_wrong_pairing_is_a_warning_and_reaches_the_provenance(tmp_path: Path) -> None:
    config = v1_1(4, 24, 16, StackConfig(1, 4, 8), StackConfig(1, 4, 8))
    content = {"model_state": encoder_of(config).state_dict(), "config": {"save_embedding_dim": 16}}
    loaded = load_checkpoint(write(tmp_path / "tiny_aws.pt", content), data_source="mpc")
    assert loaded.config.normalisation == NORMALISATIONS["v1.1-aws"], "the weights' own statistics stay"
    assert loaded.notes[-1].startswith("Warning:")
    assert loaded.provenance().details["notes"][-1] == loaded.notes[-1]


def test_released_file_keeps_its_published_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = PRESETS["v2-nano"]
    args = {"repr_dim": 128, "latent_dim": 36, "num_layers": 2, "nhead": 4, "dim_feedforward": 384}
    path = write(tmp_path / "renamed.pt", {"args": args, "model": encoder_of(config).state_dict()})
    assert load_checkpoint(path).name == "renamed"
    known = replace(zoo.PUBLISHED["v2-nano"], sha256=zoo.file_sha256(path))
    monkeypatch.setitem(zoo.PUBLISHED, "v2-nano", known)
    loaded = load_checkpoint(path)
    assert (loaded.name, loaded.provenance().dataset) == ("v2-nano", "tessera 2.0/2B-N (128-d)")


# -- refused -----------------------------------------------------------------------------------------------------------------


class Evil:
    """Unpickling this would create a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Callable, tuple]:
        return (open, (str(self.path), "w"))


def test_pickle_with_code_is_refused_and_not_run(tmp_path: Path) -> None:
    trace = tmp_path / "was-run"
    zipped = write(tmp_path / "zipped.pt", {"args": Evil(trace), "model": {}})
    bare = tmp_path / "bare.pt"
    bare.write_bytes(pickle.dumps({"model": Evil(trace)}, protocol=2))
    for path in (zipped, bare):
        assert "refused" in message(path)
        assert "open" in message(path)
    assert not trace.exists()


def test_whole_module_is_refused(tmp_path: Path) -> None:
    path = write(tmp_path / "module.pt", torch.nn.Linear(2, 2))
    assert "torch.nn.modules.linear.Linear" in message(path)


def test_text_file(tmp_path: Path) -> None:
    path = tmp_path / "notes.pt"
    path.write_text("these are not weights\n" * 20)
    assert "not a PyTorch checkpoint" in message(path)


def test_empty_file_and_html_page(tmp_path: Path) -> None:
    for name, content in (("empty.pt", b""), ("page.pt", b"<!DOCTYPE html><html>Google Drive quota</html>")):
        path = tmp_path / name
        path.write_bytes(content)
        assert "not a PyTorch checkpoint" in message(path)


def test_cut_short(student: Path, tmp_path: Path) -> None:
    path = tmp_path / "short.pt"
    path.write_bytes(student.read_bytes()[: student.stat().st_size // 2])
    assert "cut short" in message(path)


def test_zip_of_something_else(tmp_path: Path) -> None:
    path = tmp_path / "archive.pt"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("hello.txt", "hello")
    assert "not a PyTorch checkpoint" in message(path)


def test_not_a_mapping(tmp_path: Path) -> None:
    assert "holds a list" in message(write(tmp_path / "list.pt", [1, 2]))


def test_another_model(tmp_path: Path) -> None:
    path = write(tmp_path / "resnet.pt", {"state_dict": {}, "conv1.weight": torch.zeros(3, 3)})
    assert "another model" in message(path)


def test_missing_and_unexpected_tensors(tmp_path: Path) -> None:
    state = encoder_of(TINY).state_dict()
    del state["s1_backbone.attn_pool.query.bias"]
    state["s1_backbone.surprise"] = torch.zeros(2)
    text = message(write(tmp_path / "odd.pt", {"args": ARGS, "model": state}))
    assert "s1_backbone.attn_pool.query.bias is missing" in text
    assert "s1_backbone.surprise is unexpected" in text


def test_missing_layer(tmp_path: Path) -> None:
    state = {k: v for k, v in encoder_of(TINY).state_dict().items() if "transformer_encoder.layers.0" not in k}
    assert "incomplete" in message(write(tmp_path / "gap.pt", {"args": ARGS, "model": state}))


def test_missing_reducer(tmp_path: Path) -> None:
    state = {k: v for k, v in encoder_of(TINY).state_dict().items() if not k.startswith("dim_reducer")}
    assert "dim_reducer.4.weight is missing" in message(write(tmp_path / "bare.pt", {"model": state}))


def test_wrong_shape(tmp_path: Path) -> None:
    state = encoder_of(TINY).state_dict()
    state["s2_backbone.embedding.0.weight"] = torch.zeros(16, 12)
    assert "has the shape (16, 12) instead of (16, 10)" in message(
        write(tmp_path / "bands.pt", {"args": ARGS, "model": state})
    )


@pytest.mark.parametrize(
    ("key", "value"),
    [("latent_dim", 8), ("num_layers", 3), ("dim_feedforward", 9), ("repr_dim", 128), ("enable_qk_norm", True)],
)
def test_configuration_that_contradicts_the_weights(tmp_path: Path, key: str, value: object) -> None:
    path = write(tmp_path / "liar.pt", {"args": {**ARGS, key: value}, "model": encoder_of(TINY).state_dict()})
    assert f"{key} = {value}" in message(path)


@pytest.mark.parametrize("args", [{"nhead": 3}, {"nhead": "many"}, {"matryoshka_dims": "a,b"}, {"num_layers": None}])
def test_impossible_configuration(tmp_path: Path, args: dict) -> None:
    path = write(tmp_path / "odd.pt", {"args": {**ARGS, **args}, "model": encoder_of(TINY).state_dict()})
    with pytest.raises(CheckpointError):
        load_checkpoint(path)


def test_weights_that_are_not_finite(tmp_path: Path) -> None:
    state = encoder_of(TINY).state_dict()
    state["dim_reducer.4.bias"][3] = torch.nan
    assert "not finite" in message(write(tmp_path / "nan.pt", {"args": ARGS, "model": state}))


def test_tensors_that_are_something_else(tmp_path: Path) -> None:
    state = dict(encoder_of(TINY).state_dict()) | {"s2_backbone.embedding.0.bias": "text"}
    assert "s2_backbone.embedding.0.bias is missing" in message(
        write(tmp_path / "text.pt", {"args": ARGS, "model": state})
    )


# -- our own format ----------------------------------------------------------------------------------------------------------


def test_own_format_round_trip(tmp_path: Path) -> None:
    custom = replace(NORMALISATIONS["v2-student"], name="demo", s2_mean=tuple(range(10)))
    config = TINY.with_normalisation(custom)
    encoder = encoder_of(config)
    card = {"name": "studio-test", "version": "test", "variant": "1", "seed": 3}
    path = save_checkpoint(tmp_path / "own.safetensors", encoder, config, card)
    loaded = load_checkpoint(path)
    assert loaded.config == config
    assert loaded.card == card
    assert (loaded.name, loaded.provenance().dataset) == ("studio-test", "studio test/1 (16-d)")
    s2, s1 = torch.randn(3, 8, 11), torch.randn(3, 8, 3)
    with torch.inference_mode():
        assert torch.equal(loaded.encoder(s2, s1), encoder(s2, s1))
    first = path.read_bytes()
    assert save_checkpoint(path, encoder, config, card).read_bytes() == first


def test_half_a_letter_in_a_card_damages_no_weights(tmp_path: Path) -> None:
    """The seal is of what the file says, not of what is made of it."""
    path = save_checkpoint(tmp_path / "own.safetensors", encoder_of(TINY), TINY, {"by": "Wood \ud83d"})
    assert load_checkpoint(path).card["by"] == "Wood \ufffd"
    path.write_bytes(path.read_bytes().replace(b"ud83d", b"ud83c"))
    assert "damaged" in message(path)


def test_unnamed_variants_are_told_apart(tmp_path: Path) -> None:
    datasets = set()
    for seed in (0, 1):
        path = save_checkpoint(tmp_path / f"{seed}.safetensors", encoder_of(TINY, seed), TINY, {"version": "nano"})
        datasets.add(load_checkpoint(path).provenance().dataset)
    assert len(datasets) == 2


def test_own_format_refuses(tmp_path: Path) -> None:
    encoder = encoder_of(TINY)
    with pytest.raises(CheckpointError, match="safetensors"):
        save_checkpoint(tmp_path / "own.pt", encoder, TINY, {})
    with torch.no_grad():
        encoder.dim_reducer[0].bias[0] = torch.inf
    with pytest.raises(CheckpointError, match="not finite"):
        save_checkpoint(tmp_path / "own.safetensors", encoder, TINY, {})
    assert list(tmp_path.iterdir()) == []


def test_damaged_safetensors(tmp_path: Path) -> None:
    path = save_checkpoint(tmp_path / "own.safetensors", encoder_of(TINY), TINY, {})
    path.write_bytes(path.read_bytes()[:-100])
    assert "damaged" in message(path)
    path.write_text("hello")
    assert "damaged" in message(path)


def test_format_of_the_future(tmp_path: Path) -> None:
    from safetensors.torch import save_file

    path = tmp_path / "future.safetensors"
    save_file({"s2_backbone.x": torch.zeros(1)}, path, metadata={"tessera_encoder": '{"format": "tessera-encoder/9"}'})
    assert "Update" in message(path)


def test_own_configuration_that_is_damaged(tmp_path: Path) -> None:
    value = TINY.to_json()
    for broken in (
        {**value, "family": "v9"},
        {**value, "surprise": 1},
        {k: v for k, v in value.items() if k != "s2"},
        {**value, "s2": {"layers": 2, "heads": 5, "feedforward": 8}},
        {**value, "normalisation": "unknown"},
        {**value, "normalisation": {"name": "short", "s2_mean": [1]}},
        {**value, "sampling": {"rule": "v2", "bins": [8, 4]}},
        {**value, "output_dim": 99},
    ):
        with pytest.raises(CheckpointError):
            EncoderConfig.from_json(broken)


def test_every_preset_survives_json() -> None:
    import json

    for config in PRESETS.values():
        assert EncoderConfig.from_json(json.loads(json.dumps(config.to_json()))) == config


def test_unknown_name_and_folder(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="v2-medium"):
        load_checkpoint("v3-enormous")
    with pytest.raises(CheckpointError, match="folder"):
        load_checkpoint(tmp_path)
    with pytest.raises(TesseraError, match="Google Drive"):
        load_checkpoint("v1.0-fp32")


def test_encoder_outlives_its_file(tmp_path: Path, student: Path) -> None:
    loaded = load_checkpoint(student)
    before = loaded.encoder.dim_reducer[0].weight.clone()
    buffer = io.BytesIO(student.read_bytes())
    student.write_bytes(b"\0" * len(buffer.getvalue()))
    assert torch.equal(loaded.encoder.dim_reducer[0].weight, before)

"""What is trusted because this program made it: nobody else can have made or changed it."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest

from tessera_core._utils.private import is_private, private_folder
from tessera_core.errors import CheckpointError, HeadError

pytestmark = pytest.mark.skipif(not hasattr(os, "getuid"), reason="files have no owners here")

_PLANTED = """
#include <stdio.h>
__attribute__((constructor)) static void run(void) { fclose(fopen("%s", "w")); }
"""


@pytest.mark.skipif(shutil.which("cc") is None, reason="no C compiler here")
def test_a_planted_library_is_never_loaded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from tessera_core._utils import native

    source_of_ours = native.PORTABLE[0]
    # None is laid beside the source.
    monkeypatch.setattr(native, "beside", lambda source: tmp_path / "nowhere.so")
    monkeypatch.setenv("TESSERA_HOME", str(tmp_path / "home"))
    proof, source, planted = tmp_path / "it-ran", tmp_path / "planted.c", tmp_path / "planted.so"
    source.write_text(_PLANTED % proof)
    subprocess.run(["cc", "-shared", "-fPIC", "-o", planted, source], check=True)
    library = native.build(source_of_ours, "cc")
    assert native.is_ours(library)
    inode = library.stat().st_ino
    assert native.build(source_of_ours, "cc").stat().st_ino == inode
    # A link, a file of others, bytes that are not those that were built.
    library.rename(kept := tmp_path / "kept.so")
    library.symlink_to(kept)
    assert not native.is_ours(library)
    library.unlink()
    shutil.copy(kept, library)
    library.chmod(0o777)
    assert not native.is_ours(library)
    shutil.copy(planted, library)
    library.chmod(0o700)
    assert not native.is_ours(library)
    native.forget()
    try:
        assert native.library(source_of_ours) is not None
    finally:
        native.forget()
    assert native.is_ours(library)
    assert not proof.exists()
    # Who may write to the folder can write both the library and its checksum.
    library.parent.chmod(0o777)
    assert private_folder(library.parent) != library.parent


def test_a_folder_that_others_made_is_left_to_them(tmp_path: Path) -> None:
    assert is_private(private_folder(tmp_path / "new"))
    (tmp_path / "open").mkdir()
    (tmp_path / "open").chmod(0o777)
    (tmp_path / "link").symlink_to(tmp_path / "new")
    for name in ("open", "link"):
        folder = private_folder(tmp_path / name)
        assert folder != tmp_path / name
        assert is_private(folder)
    if os.getuid() == 0:
        (tmp_path / "theirs").mkdir(mode=0o700)
        os.chown(tmp_path / "theirs", 12345, 12345)
        assert private_folder(tmp_path / "theirs") != tmp_path / "theirs"


def _flipped(path: Path, places: list[int], target: Path) -> Path:
    data = bytearray(path.read_bytes())
    for place in places:
        data[place] ^= 0x10
    target.write_bytes(data)
    return target


def test_a_head_with_changed_bytes_is_refused_and_an_old_one_without_checksum_opens(tmp_path: Path) -> None:
    from safetensors.numpy import save_file

    from tessera_core.heads import load_head, make_head, save_head
    from tessera_core.provenance import Provenance

    random = np.random.default_rng(0)
    features, classes = random.normal(size=(40, 16)).astype(np.float32), np.arange(40) % 2 + 1
    path = save_head(
        tmp_path / "h.safetensors",
        make_head("ridge").fit(features, classes),
        {1: "a", 2: "b"},
        Provenance("tessera", dim=16),
    )
    head = load_head(path)
    size = path.stat().st_size
    # Every byte of the numbers, and many of the header.
    for place in [*range(size - 1, size - 200, -7), *range(8, size - 200, 29)]:
        with pytest.raises(HeadError):
            load_head(_flipped(path, [place], tmp_path / "f.safetensors"))
    from safetensors import safe_open

    with safe_open(path, framework="numpy") as file:
        arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        header = json.loads(file.metadata()["tessera"])
    del header["sha256"]
    save_file(arrays, tmp_path / "old.safetensors", metadata={"tessera": json.dumps(header)})
    assert load_head(tmp_path / "old.safetensors").class_names == head.class_names


def test_weights_with_changed_bytes_are_refused(tmp_path: Path) -> None:
    import torch
    from safetensors.torch import save_file as save_torch

    from tessera_core.models import zoo
    from tessera_core.models.checkpoint import load_checkpoint, save_checkpoint

    assert {path.name for path in zoo.WEIGHTS_FOLDER.glob("*.safetensors")} == set(zoo.SHIPPED)
    shipped = load_checkpoint("studio-nano")
    path = save_checkpoint(tmp_path / "own.safetensors", shipped.encoder, shipped.config, {})
    assert load_checkpoint(path).config == shipped.config
    size = path.stat().st_size
    for place in (size - 1, size // 2, size - 4000):
        with pytest.raises(CheckpointError, match="checksum"):
            load_checkpoint(_flipped(path, [place], tmp_path / "f.safetensors"))
    state = shipped.encoder.state_dict()
    torch.save({"model": state}, tmp_path / "own.pt")
    where = (tmp_path / "own.pt").stat().st_size // 2
    with pytest.raises(CheckpointError, match="damaged"):
        load_checkpoint(_flipped(tmp_path / "own.pt", [where], tmp_path / "f.pt"))
    save_torch(state, tmp_path / "plain.safetensors")
    assert shipped.sha256 == zoo.SHIPPED[shipped.path.name]


def test_shipped_weights_are_compared_with_what_was_shipped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from tessera_core.models import zoo
    from tessera_core.models.checkpoint import load_checkpoint

    monkeypatch.setattr(zoo, "WEIGHTS_FOLDER", tmp_path)
    name = "studio-nano.safetensors"
    original = Path(zoo.__file__).parent / "weights" / name
    _flipped(original, [original.stat().st_size - 100], tmp_path / name)
    with pytest.raises(CheckpointError, match="came with this program"):
        load_checkpoint("studio-nano")

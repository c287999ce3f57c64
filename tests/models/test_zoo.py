"""Fetching weights by name, against a server that speaks the hub's protocol."""

from __future__ import annotations

import hashlib
import io
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from tessera_core._utils.torch_part import IMAGE_VARIABLE
from tessera_core.errors import Cancelled, CheckpointError, DownloadError, MissingPartError
from tessera_core.models import zoo
from tessera_core.models.checkpoint import load_checkpoint
from tessera_core.models.config import v2_student
from tessera_core.models.encoder import Encoder
from tests.models.hub import Hub, serve

NAME = "v2-nano"
KEY = f"{zoo.PUBLISHED[NAME].repo}/{zoo.PUBLISHED[NAME].filename}"


def checkpoint_bytes() -> bytes:
    torch.manual_seed(0)
    args = {"repr_dim": 16, "latent_dim": 4, "num_layers": 1, "nhead": 4, "dim_feedforward": 8}
    buffer = io.BytesIO()
    torch.save({"args": args, "model": Encoder(v2_student(4, 1, 4, 8, 16, (16,))).state_dict()}, buffer)
    return buffer.getvalue()


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    content = checkpoint_bytes()
    file = replace(zoo.PUBLISHED[NAME], sha256=hashlib.sha256(content).hexdigest(), size=len(content))
    monkeypatch.setitem(zoo.PUBLISHED, NAME, file)
    # The hub client waits a second before it takes up a broken transfer.
    monkeypatch.setattr("time.sleep", lambda seconds: None)
    for name in ("HF_HUB_OFFLINE", "HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hf"))
    with serve(Hub({KEY: content})) as server:
        monkeypatch.setenv("HF_ENDPOINT", server.url)
        yield server


def left_over(tmp_path: Path) -> list[str]:
    return sorted(p.name for p in (tmp_path / "hf").rglob("*") if p.is_file() and ".locks" not in p.parts)


def test_download_load_and_cache(hub: Hub, tmp_path: Path) -> None:
    seen: list[tuple[int, int, str]] = []
    loaded = load_checkpoint(NAME, progress=lambda *args: seen.append(args))
    total = len(hub.files[KEY])
    assert seen[-1][:2] == (total, total)
    assert NAME in seen[-1][2]
    assert loaded.variant.startswith("custom-"), "tiny weights do not pass for v2-nano, whatever their name"
    assert (tmp_path / "hf") in loaded.path.parents
    assert loaded.path.name == "student_nano.pt"
    gets = len(hub.gets)
    assert zoo.resolve(NAME) == loaded.path
    assert len(hub.gets) == gets == 1, "the second time comes from the cache"


def test_the_hubs_own_client_finds_it(hub: Hub, tmp_path: Path) -> None:
    from huggingface_hub import hf_hub_download

    path = zoo.resolve(NAME)
    file = zoo.PUBLISHED[NAME]
    found = hf_hub_download(file.repo, file.filename, cache_dir=tmp_path / "hf" / "hub", local_files_only=True)
    assert Path(found) == path


def test_an_image_without_the_hubs_client_names_the_one_that_has_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    monkeypatch.setenv(IMAGE_VARIABLE, "slim")
    with pytest.raises(MissingPartError, match=f"{NAME}.*generate-cpu"):
        zoo.resolve(NAME)


def test_local_file_works_the_same(hub: Hub, tmp_path: Path) -> None:
    path = tmp_path / "mine.pt"
    path.write_bytes(hub.files[KEY])
    assert zoo.resolve(path) == path
    assert load_checkpoint(path).sha256 == load_checkpoint(NAME).sha256


def test_broken_connection_is_taken_up_where_it_broke(hub: Hub) -> None:
    total = len(hub.files[KEY])
    hub.cut_after = [total // 3, total // 3]
    assert zoo.resolve(NAME).read_bytes() == hub.files[KEY]
    assert hub.gets == [None, f"bytes={total // 3}-", f"bytes={total // 3 * 2}-"]


def test_resumed_by_the_next_attempt(hub: Hub, tmp_path: Path) -> None:
    total = len(hub.files[KEY])

    def stop(done: int, _: int, __: str) -> None:
        raise Cancelled

    hub.cut_after = [total // 2]
    with pytest.raises(Cancelled):
        zoo.resolve(NAME, stop)
    have = next((tmp_path / "hf").rglob("*.part")).stat().st_size
    assert 0 < have < total
    assert not list((tmp_path / "hf").rglob("student_nano.pt"))
    hub.cut_after = []
    progress: list[int] = []
    assert zoo.resolve(NAME, lambda done, *_: progress.append(done)).read_bytes() == hub.files[KEY]
    assert hub.gets[-1] == f"bytes={have}-"
    assert progress[0] > have
    assert not list((tmp_path / "hf").rglob("*.part"))


def test_connection_that_never_lasts(hub: Hub, tmp_path: Path) -> None:
    hub.broken = 0
    with pytest.raises(DownloadError, match="could not be fetched"):
        zoo.resolve(NAME)
    assert not list((tmp_path / "hf").rglob("student_nano.pt"))
    hub.broken = None
    assert zoo.resolve(NAME).read_bytes() == hub.files[KEY]


def test_server_without_ranges(hub: Hub, tmp_path: Path) -> None:
    hub.ignore_range = True
    hub.cut_after = [len(hub.files[KEY]) // 2]
    assert zoo.resolve(NAME).read_bytes() == hub.files[KEY]


def test_wrong_bytes_are_not_kept(hub: Hub, tmp_path: Path) -> None:
    hub.corrupt = True
    with pytest.raises(DownloadError, match="not the released file"):
        zoo.resolve(NAME)
    assert left_over(tmp_path) == []
    hub.corrupt = False
    assert zoo.resolve(NAME).read_bytes() == hub.files[KEY]


def test_another_file_than_the_released_one(hub: Hub, tmp_path: Path) -> None:
    hub.files[KEY] = b"something new under the old name"
    with pytest.raises(DownloadError, match="sha256"):
        zoo.resolve(NAME)
    assert left_over(tmp_path) == []


def test_damaged_cache_is_noticed(hub: Hub) -> None:
    path = zoo.resolve(NAME)
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.resolve().write_bytes(content)
    with pytest.raises(CheckpointError, match="delete it") as caught:
        load_checkpoint(NAME)
    assert str(path.resolve()) in str(caught.value)
    path.resolve().unlink()
    assert load_checkpoint(NAME).path == path, "doing what the message says helps"


def test_not_there(hub: Hub) -> None:
    hub.files = {KEY + ".old": b""}
    with pytest.raises(DownloadError, match="has no file"):
        zoo.resolve(NAME)
    hub.files = {}
    with pytest.raises(DownloadError, match="has no file"):
        zoo.resolve(NAME)


@pytest.mark.parametrize("status", [403, 500])
def test_server_that_fails(hub: Hub, status: int) -> None:
    hub.status = status
    with pytest.raises(DownloadError, match="could not be fetched"):
        zoo.resolve(NAME)


def test_no_server(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    with pytest.raises(DownloadError, match=r"127\.0\.0\.1:9"):
        zoo.resolve(NAME)


def test_offline(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(DownloadError, match="HF_HUB_OFFLINE"):
        zoo.resolve(NAME)
    assert hub.requests == []
    monkeypatch.delenv("HF_HUB_OFFLINE")
    path = zoo.resolve(NAME)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    assert zoo.resolve(NAME) == path


def test_environment_of_a_fresh_process(hub: Hub, tmp_path: Path) -> None:
    """What a user sets in the shell is what counts, also for libraries that read it when imported."""
    code = f"from tessera_core.models import zoo\nzoo.PUBLISHED[{NAME!r}] = {zoo.PUBLISHED[NAME]!r}\nprint(zoo.resolve({NAME!r}))"
    code = "from tessera_core.models.zoo import PublishedFile\n" + code
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "HF_HUB_CACHE": str(tmp_path / "c")},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert Path(done.stdout.strip()).read_bytes() == hub.files[KEY]
    assert (tmp_path / "c") in Path(done.stdout.strip()).parents


def test_names_and_published_facts() -> None:
    assert set(zoo.PUBLISHED) <= set(zoo.names())
    assert all(len(f.sha256) in (0, 64) for f in zoo.PUBLISHED.values())
    aws = zoo.PUBLISHED["v1.1-aws"]
    assert zoo.published(Path("somewhere") / aws.filename, "0" * 64) == (aws, False)
    mpc = zoo.PUBLISHED["v1.1-mpc"]
    assert zoo.published(Path("renamed.pt"), mpc.sha256) == (mpc, True)
    assert zoo.published(Path(mpc.filename), "0" * 64) == (None, False), "a known sum that differs is another file"

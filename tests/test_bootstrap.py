"""The set-up fetches PyTorch only where it is wanted, in the form that suits the computer, and goes on where that cannot be had."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tools import bootstrap

pytestmark = pytest.mark.skipif(os.name == "nt", reason="programs of this test are shell scripts")


def _program(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)


@pytest.fixture
def asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A set-up whose uv notes what it is asked and cannot reach the index of PyTorch; the file of its notes."""
    notes = tmp_path / "asked.txt"
    binaries = tmp_path / "bin"
    _program(binaries / "uv", f'echo "$@" >> {notes}\ncase "$@" in *torch-backend*) exit 2;; esac')
    monkeypatch.setattr(bootstrap, "BIN", binaries)
    monkeypatch.setattr(bootstrap, "EXCLUDES", tmp_path / "cache" / "excludes.txt")
    # Nothing but a shell is on the path: no graphics card's tool.
    (tmp_path / "path").mkdir()
    (tmp_path / "path" / "sh").symlink_to("/bin/sh")
    monkeypatch.setenv("PATH", str(tmp_path / "path"))
    return notes


def test_what_needs_no_torch_asks_for_none(asked: Path) -> None:
    bootstrap.install([], pinned=True)
    bootstrap.install(["docs", "lint"], pinned=True)
    assert len(asked.read_text().splitlines()) == 2
    assert not any(word in asked.read_text() for word in ("--torch-backend", "--excludes", "[generate"))


def test_without_its_index_the_usual_torch_is_taken_and_less_of_it_where_there_is_no_card(asked: Path) -> None:
    bootstrap.install(["generate"], pinned=True)
    first, second = asked.read_text().splitlines()
    assert "--torch-backend auto" in first
    assert "--torch-backend" not in second
    assert f"--excludes {bootstrap.EXCLUDES}" in second
    assert second.endswith("[generate]")
    assert "triton" in bootstrap.EXCLUDES.read_text().split()


@pytest.mark.parametrize(
    ("says", "card"), [("echo 'GPU 0: a card'", True), ("echo 'No devices'", False), ("exit 9", False)]
)
def test_a_card_is_one_that_answers(asked: Path, tmp_path: Path, says: str, card: bool) -> None:
    _program(tmp_path / "path" / "nvidia-smi", says)
    assert bootstrap.has_graphics_card() == card
    bootstrap.install(["generate"], pinned=True)
    assert ("--excludes" in asked.read_text()) == (not card)

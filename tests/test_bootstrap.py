"""The set-up fetches PyTorch only where it is wanted, in the form that suits the computer, and goes on where that cannot be had."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tomllib
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
    assert not any(word in asked.read_text() for word in ("--torch-backend", "[generate"))


def test_without_its_index_the_usual_torch_is_taken_and_less_of_it_where_there_is_no_card(asked: Path) -> None:
    bootstrap.install(["generate"], pinned=True)
    first, second = asked.read_text().splitlines()
    assert "--torch-backend auto" in first
    assert "--torch-backend" not in second
    assert f"--excludes {bootstrap.EXCLUDES}" in second
    assert second.endswith("[generate]")
    assert "triton" in bootstrap.EXCLUDES.read_text().split()


def test_what_only_notebooks_use_comes_with_notebooks(asked: Path) -> None:
    for extras, without in (([], True), (["generate"], True), (["notebook"], False), (["test"], False)):
        bootstrap.install(extras, pinned=True)
        last = asked.read_text().splitlines()[-1]
        left_out = set(bootstrap.EXCLUDES.read_text().split()) if "--excludes" in last else set()
        assert (set(bootstrap.JUPYTER) <= left_out) == without, extras
        assert without or not set(bootstrap.JUPYTER) & left_out


def test_what_is_left_out_is_not_what_we_ask_for(root: Path) -> None:
    project = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    asked_for = {re.split(r"[<>=!~;\[ ]", text)[0].lower() for text in project["dependencies"]}
    assert not asked_for & set(bootstrap.JUPYTER)
    # Names that are in the pins: what was left out by a name that nobody has any more would come back unseen.
    pins = (root / "requirements.txt").read_text(encoding="utf-8")
    assert [name for name in bootstrap.JUPYTER if f"\n{name}==" not in pins] == []


def test_leafmap_is_there_without_them() -> None:
    """As a notebook's kernel begins where somebody installed no extra."""
    code = f"""
import sys
for name in {("bqplot", "bqscales", "bs4", "duckdb", "gdown", "jedi", "maplibre", "parso", "soupsieve")!r}:
    sys.modules[name] = None
import leafmap
leafmap.Map(draw_control=False, toolbar_control=False)
print("a map")
"""
    done = subprocess.run([sys.executable, "-W", "ignore", "-c", code], capture_output=True, text=True, check=False)
    assert done.stdout.strip() == "a map", done.stderr[-2000:]


@pytest.mark.parametrize(
    ("says", "card"), [("echo 'GPU 0: a card'", True), ("echo 'No devices'", False), ("exit 9", False)]
)
def test_a_card_is_one_that_answers(asked: Path, tmp_path: Path, says: str, card: bool) -> None:
    _program(tmp_path / "path" / "nvidia-smi", says)
    assert bootstrap.has_graphics_card() == card
    bootstrap.install(["generate"], pinned=True)
    assert ("triton" in bootstrap.EXCLUDES.read_text().split()) == (not card)


@pytest.mark.parametrize("python", [True, False])
def test_an_environment_behind_a_link_is_never_emptied(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], python: bool
) -> None:
    everybodys = tmp_path / "everybodys"
    (everybodys / "bin").mkdir(parents=True)
    (everybodys / "bin" / "tool").write_text("theirs")
    venv = tmp_path / ".venv"
    venv.symlink_to(everybodys)
    for name, path in (("VENV", venv), ("BIN", venv / "bin"), ("STAMP", venv / "tessera-stamp")):
        monkeypatch.setattr(bootstrap, name, path)
    ran: list[tuple[object, ...]] = []
    monkeypatch.setattr(bootstrap, "run", lambda *command: ran.append(command))
    monkeypatch.setattr(bootstrap, "find_python", lambda: ("python3", (3, 12)) if python else None)
    monkeypatch.setattr(bootstrap, "lay_kernels", lambda: None)
    assert bootstrap.main([]) == 1
    said = capsys.readouterr().out
    assert len(said.splitlines()) == 1
    assert f"{venv} is a link to {everybodys}" in said
    assert "remove the link" in said
    assert ran == []
    assert [path.name for path in everybodys.rglob("*")] == ["bin", "tool"]

"""The lines of the README's section on the command line."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from tessera_core.cli import COMMANDS, command_module, command_parser
from tessera_core.pretrain.config import PretrainConfig


def lines(root: Path) -> tuple[list[str], list[str]]:
    """Command lines that work as they stand, and those that need a network or somebody's data."""
    text = (root / "README.md").read_text(encoding="utf-8")
    section = text.partition("## The command line")[2].partition("\n## ")[0]
    blocks = [block for block in section.split("\n\n") if block.startswith("    tessera ")]
    offline, other = ([line.strip() for line in block.splitlines()] for block in blocks)
    return offline, other


def words(line: str) -> list[str]:
    return shlex.split(line, comments=True)[1:]


def test_every_line_of_the_readme_is_a_command(root: Path) -> None:
    offline, other = lines(root)
    told = set()
    for line in (*offline, *other):
        name, *rest = words(line)
        told.add(name)
        command_parser(name, command_module(name)).parse_args(rest)
    assert told >= set(COMMANDS) - {"app", "bench", "completion", "engine"}


def test_the_configuration_in_the_help_of_pretrain_is_one(tmp_path: Path) -> None:
    text = command_module("pretrain").__doc__ or ""
    shown = "\n".join(re.findall(r"^    (.*)$", text, re.MULTILINE))
    (tmp_path / "mine.toml").write_text(shown)
    config = PretrainConfig.load(tmp_path / "mine.toml")
    assert list(config.data.tiles) == tomllib.loads(shown)["data"]["tiles"]


@pytest.mark.soak
@pytest.mark.timeout(1800)
def test_the_lines_of_the_readme_work_as_they_stand(root: Path, tmp_path: Path) -> None:
    environment = {**os.environ, "TESSERA_HOME": str(tmp_path / "home"), "PYTHONPATH": str(root)}
    for line in lines(root)[0]:
        command = [sys.executable, "-m", "tessera_core", *(word.replace("256", "128") for word in words(line))]
        done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True)
        assert done.returncode == 0, f"{line}: {done.stderr[-2000:]}"

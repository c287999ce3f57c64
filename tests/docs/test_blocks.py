"""Every block of code in the documentation: it can be read in every run, and it is run with what takes long."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import pytest

from tessera_core.cli import COMMANDS, command_module, command_parser

DOCS = Path(__file__).resolve().parents[2] / "docs"
_FENCE = re.compile(r"^```(python|console)( needs-network)?\n(.*?)^```", re.MULTILINE | re.DOTALL)


class Block(NamedTuple):
    """A fenced block: its language, whether it needs what a test must not have, and its text."""

    kind: str
    network: bool
    text: str


def blocks(page: Path) -> list[Block]:
    return [
        Block(kind, bool(network), text) for kind, network, text in _FENCE.findall(page.read_text(encoding="utf-8"))
    ]


def commands(block: Block) -> list[list[str]]:
    """Words of each line of a console block that starts with a prompt."""
    lines = [line[2:] for line in block.text.splitlines() if line.startswith("$ ")]
    return [shlex.split(line, comments=True) for line in lines]


PAGES = [page for page in sorted(DOCS.rglob("*.md")) if blocks(page)]
NAMES = [str(page.relative_to(DOCS)) for page in PAGES]


def test_blocks_are_found() -> None:
    kinds = [block.kind for page in PAGES for block in blocks(page)]
    assert kinds.count("python") > 8
    assert kinds.count("console") > 3


@pytest.mark.parametrize("page", PAGES, ids=NAMES)
def test_blocks_can_be_read(page: Path, root: Path) -> None:
    makefile = (root / "Makefile").read_text(encoding="utf-8")
    for block in blocks(page):
        if block.kind == "python":
            compile(block.text, str(page), "exec")
            continue
        assert commands(block)
        for program, *words in commands(block):
            if program == "make":
                assert re.search(rf"^{words[0]}:", makefile, re.MULTILINE)
            else:
                assert program == "tessera"
                assert words[0] in COMMANDS
                command_parser(words[0], command_module(words[0])).parse_args(words[1:])


@pytest.mark.soak
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("page", PAGES, ids=NAMES)
def test_blocks_work_as_they_stand(page: Path, root: Path, tmp_path: Path) -> None:
    """The blocks of a page one after another, in an empty folder and a home of its own."""
    environment = {
        **os.environ,
        "TESSERA_HOME": str(tmp_path / "home"),
        "PYTHONPATH": os.pathsep.join([str(root), os.environ["PYTHONPATH"]]),
    }
    folder = tmp_path / "work"
    folder.mkdir()
    program = "\n".join(block.text for block in blocks(page) if block.kind == "python" and not block.network)
    runs = [[sys.executable, "-c", program]] if program else []
    for block in blocks(page):
        if block.kind == "console" and not block.network:
            runs += [[sys.executable, "-m", "tessera_core", *w] for p, *w in commands(block) if p == "tessera"]
    for command in runs:
        done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)
        assert done.returncode == 0, f"{command[2:]}: {done.stderr[-3000:]}"

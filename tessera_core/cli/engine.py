"""Serve another program, such as the QGIS plugin: one JSON request a line on stdin, one JSON answer a line on stdout.

The first line on stdout says which protocol is spoken. The engine ends when stdin does, and takes its rasters away. What
requests there are says docs/reference/engine.md.
"""

from __future__ import annotations

import argparse
import os
import shutil
import sys
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import Any

from tessera_core.cli.paths import Output

PATHS = {"work": Output(folder="into")}
EXAMPLES = ("tessera engine", "tessera engine --work rasters")
STOPPED = "labels are saved"
SUMMARY = "serve another program, such as the QGIS plugin, line by line"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's options."""
    parser.add_argument("--work", metavar="FOLDER", help="where rasters are written (default: a temporary folder)")


def run(args: argparse.Namespace) -> dict[str, Any]:
    """Serve until stdin ends; returns how many requests there were."""
    from tessera_core.session.engine import Engine

    if args.work:
        Path(args.work).mkdir(parents=True, exist_ok=True)
    answers, before = _own_stdout()
    requests, work = 0, tempfile.mkdtemp(prefix="tessera-engine-", dir=args.work)
    try:

        def send(line: str) -> None:
            # Where nobody reads any more stdin ends as well, and with it the engine.
            with suppress(BrokenPipeError):
                answers.write(line.encode() + b"\n")
                answers.flush()

        engine = Engine(send, Path(work))
        try:
            engine.greet()
            for line in sys.stdin.buffer:
                requests += 1
                if not engine.take(line.decode("utf-8", "replace")):
                    break
        finally:
            engine.close()
            # Windows keeps what another program still reads.
            shutil.rmtree(work, ignore_errors=True)
    finally:
        sys.stdout.flush()
        os.dup2(before, 1)
        os.close(before)
    return {"requests": requests}


def _own_stdout() -> tuple[Any, int]:
    """A stream for answers alone: what libraries print goes to stderr; and stdout as it was, to be put back."""
    sys.stdout.flush()
    before = os.dup(1)
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    return answers, before


def report(result: dict[str, Any]) -> str:
    """Nothing: who reads stdout expects answers."""
    return ""

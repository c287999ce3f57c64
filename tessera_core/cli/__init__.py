"""The command line, ``tessera``: the app's tasks headless.

Every command is a module of this package with ``SUMMARY: str``, ``add_arguments(parser)`` and ``run(args) -> dict``. The dict
is what ``--json`` prints, one object on stdout; without ``--json`` the command's optional ``report(result) -> str`` is
printed instead. Progress and logs go to stderr. Exit codes: 0 done, 2 bad input, 1 failure, 130 interrupted.

Only the module of the command that runs is imported, and modules import what is heavy inside ``run``, so that
``tessera --help`` is quick.
"""

from __future__ import annotations

import argparse
import importlib
import json
import logging
import os
import sys
from collections.abc import Sequence
from types import ModuleType

from tessera_core import __version__
from tessera_core.errors import InputError, TesseraError

# Order of a user's path through the tool; each name is a module of this package.
COMMANDS = {
    "app": "open the app in the browser",
    "demo": "write the demo region: time series, embeddings and ground truth",
    "info": "say what a tile, raster, checkpoint, head or project is",
    "coverage": "say what published embeddings there are of a region",
    "fetch": "fetch published embeddings of a region, or at points",
    "acquire": "fetch Sentinel-1/2 time series as d-pixel tiles",
    "generate": "turn d-pixel tiles into embeddings",
    "pretrain": "train an encoder on d-pixels",
    "study": "measure what an encoder is worth, with tables",
    "map": "train a head on labels and map a region",
    "change": "find what changed between two years",
    "fuse": "join two embeddings of one place into one",
    "evaluate": "score a head honestly, with whole places held out",
    "export": "write a project's map and labels for others to use",
    "bench": "measure this machine",
}


class _Parser(argparse.ArgumentParser):
    """Reports wrong usage in one sentence."""

    def error(self, message: str) -> None:  # type: ignore[override]
        sys.stderr.write(f"{self.prog}: {message[0].upper() + message[1:]}. Try '{self.prog} --help'.\n")
        raise SystemExit(2)


def _module(name: str) -> ModuleType:
    return importlib.import_module(f"tessera_core.cli.{name.replace('-', '_')}")


def _join_bbox(argv: Sequence[str]) -> list[str]:
    """Join ``--bbox -0.1,51,...`` into one argument: argparse takes a western longitude for an option."""
    joined: list[str] = []
    for word in argv:
        if joined and joined[-1] == "--bbox" and "," in word:
            joined[-1] += "=" + word
        else:
            joined.append(word)
    return joined


def _overview() -> str:
    lines = [f"  {name:<10} {summary}" for name, summary in COMMANDS.items()]
    return (
        "usage: tessera COMMAND ...\n\nFrom satellite embeddings to a map you can trust.\n\ncommands:\n"
        + "\n".join(lines)
        + "\n\n'tessera COMMAND --help' tells more; 'tessera --version' the version.\n"
    )


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit code."""
    argv = list(sys.argv[1:] if argv is None else argv)
    if not argv or argv[0] in ("-h", "--help", "help"):
        sys.stdout.write(_overview())
        return 0 if argv else 2
    if argv[0] in ("-V", "--version"):
        print(f"tessera {__version__}")
        return 0
    name = argv[0]
    if name not in COMMANDS:
        sys.stderr.write(f"tessera: there is no command {name!r}; the commands are {', '.join(COMMANDS)}.\n")
        return 2
    module = _module(name)
    parser = _Parser(
        prog=f"tessera {name}", description=module.__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    module.add_arguments(parser)
    parser.add_argument("--json", action="store_true", help="print exactly one JSON object on stdout")
    args = parser.parse_args(_join_bbox(argv[1:]))
    logging.basicConfig(level=os.environ.get("TESSERA_LOG", "WARNING").upper(), format="%(levelname)s %(message)s")
    try:
        result = module.run(args)
    except TesseraError as error:
        sys.stderr.write(f"tessera {name}: {error}\n")
        return 2 if isinstance(error, InputError) else 1
    except KeyboardInterrupt:
        sys.stderr.write(f"tessera {name}: stopped; run the same command again to go on.\n")
        return 130
    except BrokenPipeError:
        return 1
    if args.json:
        print(json.dumps(result, allow_nan=False))
    else:
        report = getattr(module, "report", None)
        print(report(result) if report else json.dumps(result, indent=2, allow_nan=False))
    return 0

"""Check a report (HTML, PDF or JSON): its checksum, whether its pages show what its data say, and every number.

With the project it was made of, the map, its score, areas and accuracy are computed anew and compared, value by value. Without
PROJECT only the file itself is looked at. Exit code 1: something differs, and it is named.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path
from typing import Any

from tessera_core.cli.console import ConsoleProgress
from tessera_core.cli.paths import Input

SUMMARY = "check a report: recompute every number of it from its project"
EXAMPLES = ("tessera verify report.pdf", "tessera verify report.html PROJECT")


def _project(args: argparse.Namespace) -> Input | None:
    # A name has no ending and no folder in it; the list of projects is asked for it.
    path = Path(args.project or "")
    return None if args.project is None or (not path.exists() and not path.suffix and len(path.parts) == 1) else Input()


PATHS = {"report": Input(), "project": _project}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of the command."""
    parser.add_argument("report", metavar="REPORT", help="a report of this program: .html, .pdf or .json")
    parser.add_argument(
        "project",
        metavar="PROJECT",
        nargs="?",
        help="the project it was made of: its folder, its name, a .tessera file or a pack",
    )
    parser.add_argument("--name", metavar="NAME", help="of several projects in a pack the one meant")


def run(args: argparse.Namespace) -> dict[str, Any]:
    """Look; returns what was found."""
    from tessera_core.cli.export import opened_project
    from tessera_core.export.report import read_sealed
    from tessera_core.lessons.record import lesson_of
    from tessera_core.project.verify import check_seal, verify

    sealed = read_sealed(args.report)
    if args.project is None:
        found = check_seal(sealed)
    else:
        with tempfile.TemporaryDirectory() as home:
            project = opened_project(args.project, Path(home), args.name)
            found = verify(sealed, project, lesson=lesson_of(project), progress=ConsoleProgress("verify"))
    return {
        "report": str(args.report),
        "form": sealed.kind,
        "title": found.report.title,
        "sealed": found.whole,
        "pages_fit": found.shown,
        "compared": found.compared,
        "differences": [{"where": d.where, "report": d.stated, "project": d.found} for d in found.differences],
        "sentences": found.sentences(),
        "differs": not found.holds,
    }


def report(result: dict[str, Any]) -> str:
    """What was found, for people."""
    return "\n".join(result["sentences"])

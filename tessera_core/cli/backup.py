"""Keep all that people have here as one checked file, while the app runs; or put such a file back.

FILE gets every project with its labels, answers of validation, settings and addresses, packs, and the embeddings that
projects refer to in the cache. Labels may be added meanwhile: each file is kept as it stood at one moment. Links are never
followed. The file holds the server's secret, so only you can read it.

With --restore, FILE is checked whole and then put into a TESSERA_HOME that has no projects yet; stop the app before, and
start it afterwards. Addresses of projects that were given out keep working where TESSERA_HOME is called what it was then.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from tessera_core.cli.paths import Declared, Input, Output

EXAMPLES = (
    "tessera backup /mnt/backups/monday",
    "tessera backup labels-only --without-embeddings",
    "tessera backup --restore /mnt/backups/monday.tesserabackup",
)
STOPPED = "nothing was written, and nothing was changed"
SUMMARY = "keep everything here as one file, or put it back"


def _role(args: argparse.Namespace) -> Input | Output:
    return Input() if args.restore else Output(endings=(".tesserabackup",))


PATHS: dict[str, Declared] = {"file": _role}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    parser.add_argument("file", metavar="FILE", help="the backup; .tesserabackup is added where it is missing")
    parser.add_argument("--restore", action="store_true", help="put the backup back instead of making one")
    parser.add_argument(
        "--without-embeddings",
        action="store_true",
        help="keep labels, answers and settings alone: megabytes instead of gigabytes; embeddings are loaded again",
    )


def run(args: argparse.Namespace) -> dict[str, Any]:
    """Make or put back a backup; see the module's docstring."""
    from tessera_core.cli.console import ConsoleProgress
    from tessera_core.project.backup import make_backup, restore_backup

    progress = ConsoleProgress("backup")
    if args.restore:
        found = restore_backup(Path(args.file), progress=progress)
    else:
        found = make_backup(Path(args.file), embeddings=not args.without_embeddings, progress=progress)
    return {
        "file": str(found.path),
        "restored": bool(args.restore),
        "projects": found.projects,
        "files": found.files,
        "bytes": found.bytes,
        "created": found.created,
        "linked": found.linked,
        "elsewhere": found.elsewhere,
        # Exit code 3: whoever runs this by night learns of it.
        "missing": found.changing,
    }


def report(result: dict[str, Any]) -> str:
    """What was done, for people."""
    size, projects = (
        f"{result['bytes'] / 1e6:,.1f} MB",
        f"{result['projects']} project{'s' * (result['projects'] != 1)}",
    )
    if result["restored"]:
        return f"Put back {projects} ({result['files']} files, {size}) from {result['file']}. Start the app now."
    lines = [f"Kept {projects} ({result['files']} files, {size}) in {result['file']}, and read it again: it is whole."]
    if result["linked"]:
        lines.append(f"Left out, because they are links: {_some(result['linked'])}.")
    if result["elsewhere"]:
        lines.append(
            f"The embeddings of these lie in folders of your own, which you keep yourself: {_some(result['elsewhere'])}."
        )
    if result["missing"]:
        lines.append(f"Left out, because they were being written or deleted: {_some(result['missing'])}. Run it again.")
    return "\n".join(lines)


def _some(names: list[str]) -> str:
    return ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")

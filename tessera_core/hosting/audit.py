"""What happened on a server for many: one line of JSON for each event, in one file a day, kept for as long as its owner says.

Who, when and what; never what is in a project, and no network address unless ``[audit] addresses`` asks for it.
"""

from __future__ import annotations

import json
import logging
import os
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from tessera_core._utils.paths import data_home
from tessera_core.hosting.people import Person
from tessera_core.hosting.settings import settings

log = logging.getLogger(__name__)

_DAY = 86_400.0


def folder() -> Path:
    """Where the files lie: ``audit`` in TESSERA_HOME."""
    return data_home() / "audit"


def note(what: str, person: Person, address: str = "", **facts: str | int) -> None:
    """Write down that somebody did something; what cannot be written down is logged, and stops nobody.

    Several processes may write at once: each line is appended whole.

    Args:
        what: in plain words, the same for every event of its kind.
        person: who.
        address: of their computer; written only where the settings ask for it.
        facts: what else tells events of this kind apart, such as the id of a project.
    """
    now = time.time()
    line: dict[str, Any] = {"at": datetime.fromtimestamp(now, UTC).isoformat(timespec="seconds"), "who": person.called}
    line |= {"role": person.role, "how": person.how, "what": what, **facts}
    if address and settings().audit.addresses:
        line["address"] = address
    place = folder() / f"{datetime.fromtimestamp(now, UTC):%Y-%m-%d}.jsonl"
    try:
        if not place.exists():
            place.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            forget(now)
        handle = os.open(place, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        try:
            os.write(handle, (json.dumps(line, ensure_ascii=False) + "\n").encode())
        finally:
            os.close(handle)
    except OSError as error:
        log.warning("An event could not be written down: %s", error)


def forget(now: float) -> int:
    """Remove the files of days that are over for longer than events are kept; returns how many.

    Args:
        now: seconds since 1970.
    """
    oldest = f"{datetime.fromtimestamp(now - settings().audit.keep_days * _DAY, UTC):%Y-%m-%d}"
    gone = [path for path in folder().glob("????-??-??.jsonl") if path.stem < oldest]
    for path in gone:
        path.unlink(missing_ok=True)
    return len(gone)


def events(most: int = 200) -> Iterator[dict[str, Any]]:
    """The events written down last, newest first; lines that a full disk tore are left out."""
    for path in sorted(folder().glob("????-??-??.jsonl"), reverse=True):
        for line in reversed(path.read_text(encoding="utf-8", errors="replace").splitlines()):
            if most <= 0:
                return
            try:
                event = json.loads(line)
            except ValueError:
                continue
            if isinstance(event, dict):
                most -= 1
                yield event

"""What goes to stderr: progress (a single rewritten line on a terminal, sparse lines in a log, or JSON lines) and sentences.

Nothing here ever ends the work: a terminal that is gone, a reader that stopped reading or an encoding that lacks a letter
only costs the words.
"""

from __future__ import annotations

import json
import logging
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

from tessera_core._utils.percents import percent

PROGRESS = ("auto", "json", "none")
_shown = "auto"


def secure_streams() -> None:
    """Let stdout and stderr write any text: what their encoding lacks comes as an escape instead of an error."""
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            # A stream that is closed already says so when it is written to.
            with suppress(ValueError):
                stream.reconfigure(errors="backslashreplace")


def say(text: str) -> None:
    """Write to stderr, where there still is one."""
    with suppress(OSError, ValueError, AttributeError):
        sys.stderr.write(text)
        sys.stderr.flush()


@contextmanager
def talking(progress: str, verbose: bool) -> Iterator[None]:
    """Inside, progress is shown in the given way, and logs of libraries and warnings only where ``verbose``."""
    global _shown
    import os
    import warnings

    before, _shown = _shown, progress
    handler = logging.StreamHandler()
    handler.setFormatter(logging.Formatter("%(levelname)s %(message)s"))
    # What we log ourselves is meant for people; what libraries log is meant for those who debug them.
    handler.addFilter(lambda record: verbose or record.name.startswith("tessera_core"))
    root = logging.getLogger()
    level = root.level
    root.addHandler(handler)
    root.setLevel("INFO" if verbose else os.environ.get("TESSERA_LOG", "WARNING").upper())
    try:
        with warnings.catch_warnings():
            if not verbose and not sys.warnoptions:
                warnings.simplefilter("ignore")
            yield
    finally:
        root.removeHandler(handler)
        root.setLevel(level)
        _shown = before


class ConsoleProgress:
    """A ``progress(done, total, message)`` callable with rate-limited output and time left."""

    def __init__(self, label: str) -> None:
        self.label = label
        self.started = self.last = time.monotonic()
        self.finished = False
        self.tty = bool(sys.stderr is not None and not sys.stderr.closed and sys.stderr.isatty())

    def __call__(self, done: int, total: int, message: str = "") -> None:
        """Show ``done`` of ``total``."""
        if _shown == "none":
            return
        now = time.monotonic()
        finished = total > 0 and done >= total
        wait = 1.0 if _shown == "json" else 0.2 if self.tty else 10.0
        if (finished and self.finished) or (not finished and now - self.last < wait):
            return
        self.last, self.finished = now, finished
        elapsed = now - self.started
        if _shown == "json":
            line: dict[str, Any] = {"task": self.label, "done": done, "total": total, "message": message}
            say(json.dumps({"progress": line | {"seconds": round(elapsed, 2)}}) + "\n")
            return
        left = f", {elapsed * (total - done) / done:.0f} s left" if 0 < done < total else ""
        text = f"{self.label}: {percent(done / max(total, 1))} %{left} {message}".rstrip()
        say(f"\r\x1b[K{text}" + ("\n" if finished else "") if self.tty else text + "\n")

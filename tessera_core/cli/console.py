"""Progress on stderr: a single rewritten line on a terminal, sparse lines in a log."""

from __future__ import annotations

import sys
import time


class ConsoleProgress:
    """A ``progress(done, total, message)`` callable with rate-limited output and time left."""

    def __init__(self, label: str) -> None:
        self.label = label
        self.started = self.last = time.monotonic()
        self.tty = sys.stderr.isatty()

    def __call__(self, done: int, total: int, message: str = "") -> None:
        """Show ``done`` of ``total``."""
        now = time.monotonic()
        finished = total > 0 and done >= total
        if not finished and now - self.last < (0.2 if self.tty else 10.0):
            return
        self.last = now
        elapsed = now - self.started
        left = f", {elapsed * (total - done) / done:.0f} s left" if 0 < done < total else ""
        line = f"{self.label}: {100 * done / max(total, 1):.0f} %{left} {message}".rstrip()
        sys.stderr.write(f"\r\x1b[K{line}" + ("\n" if finished else "") if self.tty else line + "\n")
        sys.stderr.flush()

"""The log file: what a person sends along when something unforeseen happened, since pages never show a traceback."""

from __future__ import annotations

import logging
import re
import time
from functools import lru_cache
from logging.handlers import RotatingFileHandler
from pathlib import Path
from typing import Any

from tessera_core._utils.paths import cache_home
from tessera_core.errors import want_of_memory
from tessera_core.hosting import hosted, shown_text
from tessera_core.language import t

_FORMAT = "%(asctime)s UTC %(levelname)s %(name)s %(message)s"


_FRAME = re.compile(r'  File ".*", line \d+')
_KIND = re.compile(r"([A-Za-z_][\w.]*)(:|$)")
_AROUND = (
    "Traceback (most recent call last)",
    "During handling of the above",
    "The above exception was",
)


class _Plain(logging.Formatter):
    """Lines as they are; on a server for strangers an error is told by its kind and where it arose, because what it says may hold
    what people typed, drew or uploaded."""

    def formatException(self, ei: Any) -> str:
        """The traceback of a record."""
        text = super().formatException(ei)
        return discreet(text) if hosted() else text

    def formatMessage(self, record: logging.LogRecord) -> str:
        """The line itself; paths of the server by their last part."""
        return shown_text(super().formatMessage(record))


def discreet(text: str) -> str:
    """A traceback without what errors say: frames, lines of the program, and kinds of errors.

    >>> discreet('Traceback (most recent call last):\\n  File "x.py", line 1, in f\\n    int(name)\\nValueError: Ada')
    'Traceback (most recent call last):\\n  File "x.py", line 1, in f\\n    int(name)\\nValueError'
    """
    kept: list[str] = []
    in_frame = False
    for line in text.splitlines():
        if _FRAME.match(line):
            kept.append(line)
            in_frame = True
        elif line.startswith(_AROUND) or (in_frame and line.startswith("    ")):
            kept.append(line)
        elif in_frame and (kind := _KIND.match(line)):
            kept.append(kind[1])
            # What follows is the rest of what the error says.
            in_frame = False
    return "\n".join(kept)


def log_file() -> Path:
    """Path of the app's log file."""
    return cache_home() / "logs" / "app.log"


@lru_cache(maxsize=1)
def set_up() -> None:
    """Send warnings and errors of the package to the log file; without a writable folder they only go to stderr."""
    logger = logging.getLogger("tessera_core")
    try:
        log_file().parent.mkdir(parents=True, exist_ok=True)
        handler = RotatingFileHandler(log_file(), maxBytes=1_000_000, backupCount=2, encoding="utf-8", delay=True)
    except OSError as error:
        logger.warning(t("No log file: %s"), error)
        return
    formatter = _Plain(_FORMAT)
    # Pages say the time in UTC.
    formatter.converter = time.gmtime
    handler.setFormatter(formatter)
    handler.setLevel(logging.WARNING)
    logger.addHandler(handler)


def unforeseen(error: Exception) -> str:
    """What to tell people about an error that no one expected, and that was logged."""
    if shortage := want_of_memory(error):
        return shortage
    sentence = t("Something unforeseen happened and this step was not finished. Your labels and settings are saved. ")
    if hosted():
        return t(
            "{sentence}Please try again; if it happens again, tell whoever runs this server that it was at {now}.",
            sentence=sentence,
            now=_now(),
        )
    return t(
        "{sentence}Please try again; if it happens again, send the file {log_file} to the makers.",
        sentence=sentence,
        log_file=log_file(),
    )


def _now() -> str:
    return time.strftime("%H:%M:%S UTC on %d %B %Y", time.gmtime())

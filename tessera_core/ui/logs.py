"""The log file: what a person sends along when something unforeseen happened, since pages never show a traceback."""

from __future__ import annotations

import logging
import time
from functools import lru_cache
from logging.handlers import RotatingFileHandler
from pathlib import Path

from tessera_core._utils.paths import cache_home
from tessera_core.errors import want_of_memory
from tessera_core.hosting import hosted

_FORMAT = "%(asctime)s UTC %(levelname)s %(name)s %(message)s"


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
        logger.warning("No log file: %s", error)
        return
    formatter = logging.Formatter(_FORMAT)
    # Pages say the time in UTC.
    formatter.converter = time.gmtime
    handler.setFormatter(formatter)
    handler.setLevel(logging.WARNING)
    logger.addHandler(handler)


def unforeseen(error: Exception) -> str:
    """What to tell people about an error that no one expected, and that was logged."""
    if shortage := want_of_memory(error):
        return shortage
    sentence = "Something unforeseen happened and this step was not finished. Your labels and settings are saved. "
    if hosted():
        return (
            f"{sentence}Please try again; if it happens again, tell whoever runs this server that it was at {_now()}."
        )
    return f"{sentence}Please try again; if it happens again, send the file {log_file()} to the makers."


def _now() -> str:
    return time.strftime("%H:%M:%S UTC on %d %B %Y", time.gmtime())

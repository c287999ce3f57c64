"""The log file: what a person sends along when something unforeseen happened, since pages never show a traceback."""

from __future__ import annotations

import logging
import time
from functools import lru_cache
from logging.handlers import RotatingFileHandler
from pathlib import Path

from tessera_core.places import cache_home

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

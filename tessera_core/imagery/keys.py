"""Keys that services of pictures ask for: kept with this computer's settings, each for its own server, never with a project.

On a server for strangers nobody's keys are kept; its owner may give some to all in ``TESSERA_IMAGERY_KEYS``.
"""

from __future__ import annotations

import json
import os
import threading
from pathlib import Path

from tessera_core._utils.atomic import atomic_path
from tessera_core._utils.paths import data_home
from tessera_core.errors import ExportError, InputError
from tessera_core.hosting import hosted

VARIABLE = "TESSERA_IMAGERY_KEYS"
"""Keys from the environment: ``tiles.example=KEY``, several with blanks between them."""
_lock = threading.Lock()


def known_keys() -> dict[str, str]:
    """Key by server (with its port where it has one of its own), in small letters."""
    found = {} if hosted() else _kept()
    for part in os.environ.get(VARIABLE, "").split():
        host, _, key = part.partition("=")
        if host and key:
            found[host.lower()] = key
    return found


def keep_key(host: str, key: str) -> None:
    """Keep a key for a server on this computer, in place of an earlier one; an empty one is forgotten.

    Raises:
        InputError: this is a server for strangers, or the key is none.
        ExportError: it cannot be written.
    """
    if hosted():
        raise InputError(
            "This server keeps no keys of its visitors; whoever runs it can give one to all. Leave the key out of the address."
        )
    key = key.strip()
    if len(key) > 500 or any(ord(sign) <= 32 or sign in "\"'<>{}&#" for sign in key):
        raise InputError("A key is one word without blanks, quotes and braces.")
    with _lock:
        kept = _kept()
        kept.pop(host.lower(), None)
        if key:
            kept[host.lower()] = key
        try:
            with atomic_path(_path()) as part:
                part.touch(mode=0o600)
                part.write_text(json.dumps(kept, indent=1), encoding="utf-8")
        except OSError as error:
            raise ExportError(f"The key cannot be kept: {error.strerror or error}.") from error


def _kept() -> dict[str, str]:
    try:
        value = json.loads(_path().read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return {str(host): str(key) for host, key in value.items()} if isinstance(value, dict) else {}


def _path() -> Path:
    return data_home() / "keys" / "imagery.json"

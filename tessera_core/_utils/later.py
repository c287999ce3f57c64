"""Libraries that others load as soon as they find them, though nobody may ever need them: loaded when they are needed."""

from __future__ import annotations

import sys

__all__ = ["permit", "postpone"]


def postpone(name: str) -> None:
    """Let a library look as if it were not installed, until :func:`permit`; without effect where it is loaded already.

    Example:
        >>> postpone("no_such_library"); permit("no_such_library")
    """
    # Python's own sign for a module that cannot be imported.
    sys.modules.setdefault(name, None)  # type: ignore[arg-type]


def permit(name: str) -> None:
    """Let a library be loaded again by whoever imports it."""
    if name in sys.modules and sys.modules[name] is None:
        del sys.modules[name]

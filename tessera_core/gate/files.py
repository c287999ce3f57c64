"""Plain files: only regular ones are opened, and what the system says against it is told in its own words."""

from __future__ import annotations

import errno
import functools
import json
import os
import re
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO

from tessera_core._utils.paths import as_path
from tessera_core.errors import InputError, TesseraError
from tessera_core.gate.limits import amount, limits

_ADVICE = {
    errno.EACCES: "; is it open in another program?",
    errno.EPERM: "; is it open in another program?",
    errno.EBUSY: "; is it open in another program?",
    errno.ETXTBSY: "; is it open in another program?",
    errno.EMFILE: "; close some programs and try again.",
    errno.ENFILE: "; close some programs and try again.",
    errno.ENOMEM: "; close some programs and try again.",
    errno.EIO: "; the disk or the connection to it may be failing.",
    errno.ESTALE: "; the disk or the connection to it may be failing.",
}
# Windows: another process holds the file.
_SHARING = (32, 33)
# JSON may spell half of a letter beyond the first plane; no file and no page can hold it.
_HALF = re.compile("[\ud800-\udfff]")
_SPELT_HALF = re.compile(r"\\u[dD][89a-fA-F]|[\ud800-\udfff]")


def reason(error: OSError) -> str:
    """What the system says, with what a person can do: ``Permission denied; is it open in another program?``"""
    if getattr(error, "winerror", None) in _SHARING:
        return f"{error.strerror}; is it open in another program?"
    said = (error.strerror or str(error) or type(error).__name__).rstrip(".")
    return said + _ADVICE.get(error.errno or 0, ".")


def unreadable(path: str | Path, error: OSError, kind: type[TesseraError] = InputError) -> TesseraError:
    """The error for a file that the system does not let us read, to be raised from ``error``."""
    name = Path(path).name or str(path)
    if isinstance(error, FileNotFoundError):
        return kind(f"{path} does not exist; check the spelling.")
    return kind(f"{name} cannot be read: {reason(error)}")


def told[**P, R](error: type[TesseraError]) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """Decorator of a reader of a path (its last positional argument): what the system refuses is raised as ``error``."""

    def decorate(function: Callable[P, R]) -> Callable[P, R]:
        @functools.wraps(function)
        def reading(*args: P.args, **kwargs: P.kwargs) -> R:
            try:
                return function(*args, **kwargs)
            except OSError as cause:
                raise unreadable(cause.filename or str(args[-1] if args else "the file"), cause, error) from cause

        return reading

    return decorate


def open_file(path: str | Path, error: type[TesseraError] = InputError) -> BinaryIO:
    """Open a regular file for reading; never waits for a pipe or a device.

    Raises:
        error: (the given class) it is missing, no regular file, or not readable.
    """
    path = as_path(path)
    try:
        # A pipe without a writer would make a plain open wait for ever.
        number = os.open(path, os.O_RDONLY | getattr(os, "O_BINARY", 0) | getattr(os, "O_NONBLOCK", 0))
    except OSError as cause:
        if isinstance(cause, IsADirectoryError) or os.path.isdir(path):
            raise error(f"{path.name} is a folder, not a file.") from cause
        raise unreadable(path, cause, error) from cause
    except ValueError as cause:
        raise error(f"{str(path)!r} is not a file name.") from cause
    try:
        mode = os.fstat(number).st_mode
        if not stat.S_ISREG(mode):
            kind = "a folder" if stat.S_ISDIR(mode) else "a pipe or a device"
            raise error(f"{path.name} is {kind}, not a file.")
        return os.fdopen(number, "rb")
    except BaseException:
        os.close(number)
        raise


def is_missing(path: str | Path) -> bool:
    """Whether there is nothing of that name; what is there but may not be looked at is not missing."""
    try:
        os.stat(path)
    except (FileNotFoundError, NotADirectoryError, ValueError):
        return True
    except OSError:
        return False
    return False


def regular(path: str | Path, error: type[TesseraError] = InputError) -> Path:
    """The absolute path of a regular file that can be read, as libraries may open it by name.

    Raises:
        error: (the given class) it is missing, no regular file, or not readable.
    """
    open_file(path, error).close()
    return Path(os.path.abspath(path))


def read_head(path: str | Path, size: int, error: type[TesseraError] = InputError) -> bytes:
    """The first bytes of a file.

    Raises:
        error: (the given class) it is not readable.
    """
    with open_file(path, error) as file:
        try:
            return file.read(size)
        except OSError as cause:
            raise unreadable(path, cause, error) from cause


def read_bytes(path: str | Path, error: type[TesseraError] = InputError, limit: int | None = None) -> bytes:
    """All bytes of a file.

    Args:
        path: of a regular file.
        error: class of what is raised.
        limit: most bytes; by default what a text may have here.

    Raises:
        error: (the given class) it is missing, no regular file, not readable, or larger than the limit.
    """
    limit = limits().text_bytes if limit is None else limit
    with open_file(path, error) as file:
        try:
            # Room is made for what is asked for, not for what is there.
            data = file.read(min(limit, os.fstat(file.fileno()).st_size) + 1)
        except OSError as cause:
            raise unreadable(path, cause, error) from cause
    if len(data) > limit:
        raise error(f"{Path(path).name} is larger than {amount(limit)}, the most that is read of such a file here.")
    return data


def parse_json(text: bytes | str) -> Any:
    """The value of a JSON text from anybody.

    Half of a letter (a lone surrogate), which JSON can spell and which no UTF-8 can hold, is U+FFFD in every text and name.

    Raises:
        ValueError: it is no JSON, or nested deeper than is read.

    Example:
        >>> parse_json(b'{"name": "Wood \\\\ud83d"}') == {"name": "Wood \\ufffd"}
        True
    """
    if isinstance(text, bytes):
        text = text.decode(json.detect_encoding(text), "surrogatepass")
    try:
        value = json.loads(text.removeprefix("\ufeff"))
        # Nearly every text is plain, and lines of a log are many.
        strange = ("\\u" in text or not text.isascii()) and _SPELT_HALF.search(text)
        return _whole_letters(value) if strange else value
    except RecursionError:
        raise ValueError("it is nested too deeply") from None


def whole_letters(text: str) -> str:
    """A text that UTF-8 can hold: U+FFFD in place of half of a letter."""
    return _HALF.sub("\ufffd", text)


def _whole_letters(value: Any) -> Any:
    if isinstance(value, str):
        return whole_letters(value)
    if isinstance(value, list):
        return [_whole_letters(item) for item in value]
    if isinstance(value, dict):
        return {whole_letters(name): _whole_letters(item) for name, item in value.items()}
    return value


def read_json(path: str | Path, error: type[TesseraError] = InputError, limit: int | None = None) -> Any:
    """The value in a JSON file of UTF-8.

    Raises:
        error: (the given class) as :func:`read_bytes`, or it is no JSON.
    """
    data = read_bytes(path, error, limit)
    try:
        return parse_json(data)
    except ValueError as cause:
        name = Path(path).name
        raise error(
            f"{name} in {Path(path).parent} is not readable JSON; mend it, or copy or download it again."
        ) from cause

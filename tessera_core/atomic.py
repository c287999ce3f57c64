"""Files and folders that appear under their final name only when they are whole.

A process killed while writing leaves a hidden ``.<name>.<pid>-<thread>.part`` beside the target, never a half-written target.
"""

from __future__ import annotations

import errno
import json
import os
import shutil
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tessera_core.errors import ExportError


@contextmanager
def atomic_path(target: str | Path, *, directory: bool = False) -> Iterator[Path]:
    """Yield a temporary path in the target's folder; on success it replaces ``target``, on failure it is removed.

    Args:
        target: final file, or final folder when ``directory`` is true (an existing folder is replaced whole).
        directory: create the temporary path as a folder.

    Raises:
        ExportError: the folder cannot be written or the disk is full.
    """
    target = Path(target)
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ExportError(f"Cannot create the folder {target.parent}: {error.strerror or error}.") from error
    # The ending is kept because writers such as GDAL choose the format by it.
    part = target.parent / f".{target.stem}.{os.getpid()}-{threading.get_ident():x}.part{target.suffix}"
    _remove(part)
    try:
        if directory:
            part.mkdir()
        yield part
        if directory and target.is_dir():
            _remove(target)
        os.replace(part, target)
    except Exception as error:
        _remove(part)
        if _disk_is_full(error):
            raise ExportError(f"The disk is full: {target} was not written. Free some space and try again.") from error
        if not isinstance(error, OSError):
            raise
        if error.errno in (errno.EACCES, errno.EROFS, errno.EPERM):
            raise ExportError(f"No permission to write {target}. Choose another folder.") from error
        if error.errno in (errno.EISDIR, errno.ENOTDIR, errno.ENOTEMPTY, errno.ENAMETOOLONG):
            raise ExportError(f"{target} cannot be written: {error.strerror}. Choose another name.") from error
        raise
    except BaseException:
        _remove(part)
        raise


def _disk_is_full(error: BaseException | None) -> bool:
    """Whether an error came from a full disk or quota, also where a library wraps it (torch, safetensors) or hides it (numpy)."""
    while error is not None:
        if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
            return True
        if "No space left on device" in str(error):
            return True
        # numpy says only how many items it could not write.
        if isinstance(error, OSError) and error.errno is None and "requested and" in str(error):
            return True
        error = error.__cause__ or error.__context__
    return False


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def write_text(target: str | Path, text: str) -> None:
    """Write UTF-8 ``text`` to ``target`` atomically, flushed to disk."""
    with atomic_path(target) as part, open(part, "w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())


def write_json(target: str | Path, value: Any) -> None:
    """Write ``value`` as indented JSON to ``target`` atomically; NaN is refused because other readers choke on it."""
    write_text(target, json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) + "\n")

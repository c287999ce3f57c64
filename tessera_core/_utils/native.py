"""C files of this package, compiled by the system's compiler on first use; everything works without them.

Owns building, keeping and opening them, not calling them. A library is kept in a folder that only its owner can write to and
is opened only while it is what was built. Where a computer has no compiler, a library built before and laid beside its source
is taken (``python -m tessera_core._utils.native`` makes those that run on any processor of their kind), and else none:
whoever asks then does without, as with ``TESSERA_NATIVE=0``.
"""

from __future__ import annotations

import ctypes
import hashlib
import logging
import os
import platform
import shutil
import subprocess
import threading
from pathlib import Path

from tessera_core._utils.atomic import atomic_path, write_text
from tessera_core._utils.paths import cache_home
from tessera_core._utils.private import is_private, private_folder
from tessera_core.errors import ExportError

log = logging.getLogger(__name__)

# Sources whose libraries run on every processor of their kind and choose their instructions when they run.
PORTABLE = (Path(__file__).with_name("codes.c"),)
_FLAGS = ("-O3", "-fPIC", "-shared", "-fno-math-errno", "-fno-trapping-math")
_lock = threading.Lock()
_opened: dict[Path, ctypes.CDLL | None] = {}


def library(source: Path) -> ctypes.CDLL | None:
    """The functions of a C file, built if need be (a few seconds, once per machine); None where they cannot be used."""
    with _lock:
        if source not in _opened:
            _opened[source] = _open(source)
        return _opened[source]


def forget() -> None:
    """Open libraries anew when they are next asked for; for tests."""
    with _lock:
        _opened.clear()


def _open(source: Path) -> ctypes.CDLL | None:
    if os.environ.get("TESSERA_NATIVE", "1") == "0":
        return None
    compiler = find_compiler()
    if compiler is None and not beside(source).exists():
        log.info("no C compiler found for %s; slower ways do the same", source.name)
        return None
    try:
        return ctypes.CDLL(
            str(beside(source) if beside(source).exists() or compiler is None else build(source, compiler))
        )
    except (OSError, ExportError, subprocess.SubprocessError) as error:
        detail = getattr(error, "stderr", None) or error
        log.info("%s cannot be built (%s); slower ways do the same", source.name, str(detail)[:500])
        return None


def find_compiler() -> str | None:
    """Where the system's C compiler is: ``$CC``, cc, gcc or clang."""
    return shutil.which(os.environ.get("CC", "cc")) or shutil.which("gcc") or shutil.which("clang")


def beside(source: Path) -> Path:
    """Where a library built before is looked for: beside its source, as much to be trusted as the package itself."""
    # Not by the ending of Python's own extensions, which it would take it for.
    key = hashlib.sha256(source.read_bytes()).hexdigest()[:16]
    return source.with_name(f"{source.stem}-{platform.system()}-{platform.machine()}-{key}.kernels")


def build(source: Path, compiler: str) -> Path:
    """Compile a C file into the folder of this person's caches, unless that has been done.

    Raises:
        OSError, ExportError, subprocess.SubprocessError: it cannot be done.
    """
    version = subprocess.run([compiler, "--version"], capture_output=True, timeout=20, check=True).stdout
    machine = f"{platform.machine()} {platform.system()} {'' if source in PORTABLE else _processor()}"
    parts = (source.read_bytes(), version, " ".join(_flags(source)).encode(), machine.encode())
    key = hashlib.sha256(b"\0".join(parts)).hexdigest()[:24]
    target = private_folder(cache_home() / "native") / f"{source.stem}-{key}.so"
    if not is_ours(target):
        built = _compile(source, compiler, target)
        write_text(target.with_suffix(".sha256"), built)
    return target


def is_ours(library: Path) -> bool:
    """Whether a built library is as it was built, and nobody else could have put it there."""
    note = library.with_suffix(".sha256")
    if not (is_private(library) and is_private(note)):
        return False
    return hashlib.sha256(library.read_bytes()).hexdigest() == note.read_text("ascii", "replace").strip()


def _compile(source: Path, compiler: str, target: Path, mode: int = 0o700) -> str:
    """Write the library to ``target``; returns its SHA-256."""
    with atomic_path(target) as part:
        command = [compiler, *_flags(source), "-o", str(part), str(source), "-lm"]
        subprocess.run(command, capture_output=True, text=True, encoding="utf-8", timeout=120, check=True)
        part.chmod(mode)
        return hashlib.sha256(part.read_bytes()).hexdigest()


def _flags(source: Path) -> tuple[str, ...]:
    # -march=native: such a library is kept per processor and never shipped.
    return _FLAGS if source in PORTABLE else (*_FLAGS, "-march=native")


def _processor() -> str:
    """What distinguishes processors for ``-march=native``: a cache folder may be shared between machines."""
    try:
        with open("/proc/cpuinfo", encoding="ascii", errors="replace") as file:
            return next((line for line in file if line.startswith(("flags", "Features"))), "")
    except OSError:
        return platform.processor()


def lay_beside() -> list[Path]:
    """Build the portable libraries beside their sources, where that is not done, and take away those of former sources.

    For computers without a compiler (an image), and so that no first start waits for it.

    Raises:
        ExportError: there is no compiler here.
        OSError, subprocess.SubprocessError: it cannot be done.
    """
    compiler = find_compiler()
    if compiler is None:
        raise ExportError("There is no C compiler here; install one (the package gcc or clang) and try again.")
    made = [beside(source) for source in PORTABLE]
    for source, target in zip(PORTABLE, made, strict=True):
        if not target.exists():
            _compile(source, compiler, target, mode=0o755)
        for former in set(source.parent.glob(f"{source.stem}-*.kernels")) - {target}:
            former.unlink(missing_ok=True)
    return made


if __name__ == "__main__":
    print(*lay_beside(), sep="\n")

"""On a server for strangers a file is read by a child process with bounded memory and time: what goes wrong ends the child.

The child is bounded, not locked in: it has the rights of the server. Its answer is nevertheless taken apart with nothing but
known types; of arrays that are mapped from a file it says where they lie. One child waits with everything imported, so that
reading costs no start.
"""

from __future__ import annotations

import atexit
import copyreg
import functools
import importlib
import io
import logging
import os
import pickle
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tessera_core.errors import InputError, TesseraError
from tessera_core.gate.limits import amount, limits
from tessera_core.hosting import hosted

log = logging.getLogger(__name__)

MAX_ANSWER = 1 << 30
_ANSWERS = (
    ("numpy", "dtype ndarray"),
    ("numpy._core.multiarray", "_reconstruct scalar"),
    ("numpy.core.multiarray", "_reconstruct scalar"),
    ("numpy._core.numeric", "_frombuffer"),
    ("numpy.core.numeric", "_frombuffer"),
    ("shapely.io", "from_wkb"),
    ("shapely", "from_wkb"),
    ("collections", "Counter OrderedDict"),
    ("builtins", "set frozenset complex bytearray slice range"),
    ("affine", "Affine"),
    ("tessera_core.gate.contained", "_mapped"),
    ("datetime", "date datetime time timedelta timezone"),
)
_KNOWN = {(module, name) for module, names in _ANSWERS for name in names.split()}

_here = {"child": False}
_places = threading.BoundedSemaphore(os.cpu_count() or 2)
_guard = threading.Lock()
_waiting: list[subprocess.Popen[bytes]] = []


def contained[**P, R](function: Callable[P, R]) -> Callable[P, R]:
    """Decorator of a reader of a path (its first argument): on a server for strangers a child process does the reading.

    The function lies at the top of a module; its arguments and its answer are plain data.

    Raises:
        TesseraError: what the function raises, or an InputError where the file asks for more than one file may have.
    """

    @functools.wraps(function)
    def reading(*args: P.args, **kwargs: P.kwargs) -> R:
        if _here["child"] or not hosted():
            return function(*args, **kwargs)
        name = Path(str(args[0] if args else next(iter(kwargs.values())))).name
        answer: R = _ask(name, (function.__module__, function.__name__, args, kwargs))
        return answer

    return reading


def _ask(name: str, job: tuple[str, str, Any, Any]) -> Any:
    bounds = limits()
    # The child may have been started before they were set.
    settings = {name: value for name, value in os.environ.items() if name.startswith("TESSERA_")}
    question = pickle.dumps((settings, bounds.memory_bytes, bounds.cpu_s, *job))
    with _places:
        child = _take()
        try:
            answer, _ = child.communicate(question, timeout=bounds.wall_s)
        except subprocess.TimeoutExpired:
            answer = b""
        finally:
            child.kill()
            child.wait()
    if child.returncode != 0 or not answer:
        raise InputError(
            f"{name} asks for more than one file may have here ({amount(bounds.memory_bytes)} of memory, {bounds.cpu_s} s of "
            "work). Cut out the part you need, or open it on your own computer."
        )
    kind, value, text = _Answers(io.BytesIO(answer)).load()
    if kind == "done":
        return value
    if kind == "error":
        kind_of_error, facts = value
        raised = kind_of_error if issubclass(kind_of_error, TesseraError) else InputError
        # Some take other arguments than their message.
        error = raised.__new__(raised)
        Exception.__init__(error, text)
        error.__dict__.update(facts)
        raise error
    # What it says may hold what somebody uploaded; the frames tell the makers enough.
    frames = "\n".join(line for line in text.splitlines() if line.startswith("  File "))
    log.error("reading a file (%s) failed in the child:\n%s", Path(name).suffix or "without an ending", frames)
    raise InputError(f"{name} cannot be read: something unforeseen is in it. Save it in another format and try again.")


class _Answers(pickle.Unpickler):
    """Reads answers of plain data and of this program's own data classes, and calls nothing else."""

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) in _KNOWN:
            return super().find_class(module, name)
        if module.startswith("tessera_core."):
            found = super().find_class(module, name)
            if isinstance(found, type) and not issubclass(found, os.PathLike):
                return found
        if module in ("pathlib", "pathlib._local") and name in ("PosixPath", "WindowsPath", "Path"):
            return super().find_class(module, name)
        raise pickle.UnpicklingError(f"{module}.{name} is no part of an answer")


def _packed(answer: tuple[str, Any, str]) -> bytes:
    import numpy as np

    buffer = io.BytesIO()
    pickler = pickle.Pickler(buffer, protocol=pickle.HIGHEST_PROTOCOL)
    pickler.dispatch_table = copyreg.dispatch_table | {np.memmap: _where_it_lies}
    pickler.dump(answer)
    return buffer.getvalue()


def _where_it_lies(array: Any) -> Any:
    import numpy as np

    root = array
    while isinstance(root.base, np.ndarray):
        root = root.base
    if not isinstance(root, np.memmap) or root.filename is None:
        return np.array(array).__reduce_ex__(pickle.HIGHEST_PROTOCOL)
    offset = root.offset + array.__array_interface__["data"][0] - root.__array_interface__["data"][0]
    return _mapped, (str(root.filename), offset, array.dtype.str, array.shape, array.strides)


def _mapped(name: str, offset: int, kind: str, shape: tuple[int, ...], strides: tuple[int, ...]) -> Any:
    """The array that :func:`_where_it_lies` told of, mapped for reading."""
    import numpy as np

    return np.ndarray(shape, np.dtype(kind), np.memmap(name, np.uint8, "r"), offset, strides).view(np.memmap)


# ------------------------------------------------------------------ children


def _start() -> subprocess.Popen[bytes]:
    package = str(Path(__file__).resolve().parents[2])
    known = os.environ.get("PYTHONPATH")
    threads = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "GDAL_NUM_THREADS"), "1")
    environment = os.environ | threads | {"PYTHONPATH": f"{package}{os.pathsep}{known}" if known else package}
    command = [sys.executable, "-c", "from tessera_core.gate.contained import _child; _child()"]
    return subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env=environment
    )


def _take() -> subprocess.Popen[bytes]:
    """A child that waits for a question; another one is started to wait for the next."""
    with _guard:
        child = next((one for one in _waiting if one.poll() is None), None) or _start()
        _waiting[:] = [_start()]
        return child


@atexit.register
def _end_waiting() -> None:
    for child in _waiting:
        child.kill()


def _child() -> None:
    """Import what readers need, wait for one question, answer it and end."""
    _here["child"] = True
    # What libraries print must not get into the answer.
    out = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    # pyogrio imports them where it finds them, for more than half of the time that starting takes; no reader needs them.
    for unneeded in ("geopandas", "pandas", "pyarrow"):
        sys.modules[unneeded] = None  # type: ignore[assignment]
    from tessera_core.gate.vectors import prepare_vectors

    # By name: readers lie on floors above this one.
    for reader in ("labels.files", "region", "sources.local.open", "sources.local.uploads"):
        importlib.import_module(f"tessera_core.{reader}")
    for library in ("shapely", "rasterio.vrt"):
        importlib.import_module(library)
    prepare_vectors()
    question = sys.stdin.buffer.read()
    if not question:
        return
    settings, memory, cpu, module, name, args, kwargs = pickle.loads(question)
    os.environ.update(settings)
    _bound(memory, cpu)
    try:
        data = _packed(("done", getattr(importlib.import_module(module), name)(*args, **kwargs), ""))
    except TesseraError as error:
        if _for_memory(error):
            os._exit(1)
        data = pickle.dumps(("error", (type(error), vars(error)), str(error)))
    except MemoryError:
        os._exit(1)
    except Exception:  # noqa: BLE001 - whatever it is, the server is told
        import traceback

        data = pickle.dumps(("unforeseen", None, traceback.format_exc()[-4000:]))
    if len(data) > MAX_ANSWER:
        os._exit(1)
    out.write(data)
    out.close()


def _for_memory(error: BaseException | None) -> bool:
    """Whether an error goes back to memory that was not there, as Python or GDAL say it."""
    while error is not None:
        if isinstance(error, MemoryError) or "OutOfMemory" in type(error).__name__:
            return True
        error = error.__cause__ or error.__context__
    return False


def _bound(memory: int, cpu_s: int) -> None:
    """Limit this process; Windows has no such limits, there only the time on the clock is bounded."""
    if sys.platform == "win32":
        return
    import resource

    with open("/proc/self/statm", encoding="ascii") if os.path.exists("/proc/self/statm") else io.StringIO("0") as file:
        used = int(file.read().split()[0]) * resource.getpagesize()
    for kind, value in (
        (resource.RLIMIT_AS, used + memory),
        (resource.RLIMIT_CPU, int(resource.getrusage(resource.RUSAGE_SELF).ru_utime) + 1 + cpu_s),
        (resource.RLIMIT_CORE, 0),
        (resource.RLIMIT_NOFILE, 256),
    ):
        hard = resource.getrlimit(kind)[1]
        value = value if hard == resource.RLIM_INFINITY else min(value, hard)
        try:
            resource.setrlimit(kind, (value, value))
        except (ValueError, OSError) as error:
            # macOS refuses some of them; the others still hold.
            log.info("no limit of kind %s: %s", kind, error)

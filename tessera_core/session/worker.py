"""A process beside the server that does stages, so that no click waits for the interpreter lock of somebody's score.

It runs at low priority, opens the same memory-mapped files as the server (whose pages the system shares), is told labels as
plain data, and ends when the server does, however that ends. :class:`Worker` is the server's side; the module run as a
program is the other. Messages are pickles behind their length, both ways between these two only; a raster travels by name.
"""

from __future__ import annotations

import importlib.abc
import io
import itertools
import logging
import os
import pickle
import queue
import signal
import struct
import subprocess
import sys
import threading
import traceback
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from tessera_core._utils.heap import give_back
from tessera_core.errors import Cancelled, TesseraError
from tessera_core.raster import EmbeddingRaster
from tessera_core.types import Cancel

if TYPE_CHECKING:
    from tessera_core.session.stages import Ground, Known, Question, Work

log = logging.getLogger(__name__)

NICENESS = 10
# Questions whose samples and heads a worker keeps between two stages, and rasters that it keeps open.
MAX_WORKS, MAX_GROUNDS = 12, 4
# Stages that build on what others found.
BUILDS_ON = ("confidence", "sets")
# What scikit-learn and NumPy take along where it is installed, 40 MB, and no stage asks for.
_UNASKED = ("pandas", "charset_normalizer", "psutil")
_LOOK_SECONDS = 0.05
_END_SECONDS = 2.0


class WorkerLost(Exception):
    """The process has ended or cannot be talked to; it is none of the question's fault, or at least not surely."""


# ------------------------------------------------------------------ messages


class _Pickler(pickle.Pickler):
    def persistent_id(self, obj: object) -> str | None:
        return "raster" if isinstance(obj, EmbeddingRaster) else None


class _Unpickler(pickle.Unpickler):
    def __init__(self, data: bytes, raster: EmbeddingRaster) -> None:
        super().__init__(io.BytesIO(data))
        self._raster = raster

    def persistent_load(self, pid: object) -> EmbeddingRaster:
        return self._raster


def packed(value: object) -> bytes:
    """A value without its raster."""
    buffer = io.BytesIO()
    _Pickler(buffer, pickle.HIGHEST_PROTOCOL).dump(value)
    return buffer.getvalue()


def unpacked(data: bytes, raster: EmbeddingRaster) -> Any:
    """The value with ``raster`` in its place."""
    return _Unpickler(data, raster).load()


def _send(stream: IO[bytes], message: tuple[Any, ...]) -> None:
    data = pickle.dumps(message, pickle.HIGHEST_PROTOCOL)
    stream.write(struct.pack(">Q", len(data)) + data)
    stream.flush()


def _receive(stream: IO[bytes]) -> tuple[Any, ...] | None:
    """The next message, or None at the end."""
    head = stream.read(8)
    if len(head) < 8:
        return None
    (length,) = struct.unpack(">Q", head)
    data = stream.read(length)
    return pickle.loads(data) if len(data) == length else None


# ------------------------------------------------------------ the server's side


class Worker:
    """A process that does one stage at a time.

    Raises:
        OSError: no process can be started here.
    """

    def __init__(self) -> None:
        import tessera_core

        package = str(Path(tessera_core.__file__).resolve().parents[1])
        path = os.pathsep.join(part for part in (package, os.environ.get("PYTHONPATH", "")) if part)
        self._process = subprocess.Popen(
            [sys.executable, "-m", __name__],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=os.environ | {"PYTHONPATH": path},
            # On Windows; elsewhere it lowers its priority itself.
            creationflags=getattr(subprocess, "BELOW_NORMAL_PRIORITY_CLASS", 0),
        )
        self._numbers = itertools.count(1)
        # What the process knows already; it forgets in the same order.
        self._sent: OrderedDict[int, None] = OrderedDict()
        self._answers: queue.SimpleQueue[tuple[Any, ...] | None] = queue.SimpleQueue()
        threading.Thread(target=self._listen, name="tessera-worker", daemon=True).start()

    @property
    def pid(self) -> int:
        """Of the process."""
        return self._process.pid

    def _listen(self) -> None:
        assert self._process.stdout is not None
        try:
            while (answer := _receive(self._process.stdout)) is not None:
                self._answers.put(answer)
        except (OSError, ValueError, EOFError, pickle.UnpicklingError):
            log.warning("What the worker %d says cannot be read any more", self.pid)
        self._answers.put(None)

    def _tell(self, *message: Any) -> None:
        assert self._process.stdin is not None
        try:
            _send(self._process.stdin, message)
        except (OSError, ValueError) as error:
            raise WorkerLost(str(error)) from error

    def do(
        self,
        place: tuple[str, str],
        raster: EmbeddingRaster,
        number: int,
        name: str,
        question: Question,
        known: Known,
        cancelled: Cancel,
        report: Callable[[float], None],
    ) -> dict[str, Any]:
        """As :func:`tessera_core.session.stages.do`.

        Args:
            place: key and path of the raster's files.
            raster: the same raster here.
            number: equal for stages that are about the same labels and method, and for nothing else.

        Raises:
            WorkerLost: the process died; another may try.
            RuntimeError: the stage failed in an unforeseen way, which the message tells at length.
        """
        order, known_there = next(self._numbers), number in self._sent
        # Labels may be many, and are the same for all stages.
        labels = None if known_there else (question.labels, question.classes)
        _keep(self._sent, number, None, MAX_WORKS)
        built = packed(known) if name in BUILDS_ON else None
        self._tell("do", order, place, number, name, replace(question, labels=(), classes=()), labels, built)
        stopping = False
        while True:
            if not stopping and cancelled():
                stopping = True
                self._tell("stop", order)
            try:
                answer = self._answers.get(timeout=_LOOK_SECONDS)
            except queue.Empty:
                continue
            if answer is None:
                raise WorkerLost(f"the worker {self.pid} has ended")
            kind, of, value = answer
            if of != order:
                continue
            match kind:
                case "progress":
                    report(value)
                case "found":
                    return unpacked(value, raster)
                case "stopped":
                    raise Cancelled
                case "refused":
                    raise TesseraError(value)
                case _:
                    raise RuntimeError(value)

    def look(self) -> None:
        """What is being done may be wanted no more: find out now, and not at the next turn."""
        # An answer to no order.
        self._answers.put(("look", 0, None))

    def close(self) -> None:
        """End the process; it gives its memory back."""
        assert self._process.stdin is not None
        try:
            self._process.stdin.close()
        except OSError:
            log.info("The worker %d was gone already", self.pid)
        try:
            self._process.wait(_END_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()


def _keep[K, V](kept: OrderedDict[K, V], key: K, value: V, limit: int) -> None:
    kept[key] = value
    kept.move_to_end(key)
    while len(kept) > limit:
        kept.popitem(last=False)


# ----------------------------------------------------------- the process itself


class _Unasked(importlib.abc.MetaPathFinder):
    """As if they were not installed: libraries look for them, and go on without."""

    def find_spec(self, fullname: str, path: object, target: object = None) -> None:
        if fullname.partition(".")[0] in _UNASKED:
            raise ModuleNotFoundError(f"{fullname} is not loaded in a worker", name=fullname)


class _Server:
    def __init__(self, source: IO[bytes], target: IO[bytes]) -> None:
        self._source, self._target = source, target
        self._orders: queue.SimpleQueue[tuple[Any, ...]] = queue.SimpleQueue()
        self._stopped = 0
        self._labels: OrderedDict[int, tuple[Any, Any]] = OrderedDict()
        self._works: OrderedDict[int, Work] = OrderedDict()
        self._grounds: OrderedDict[str, Ground] = OrderedDict()

    def listen(self) -> None:
        """Take orders in; when the server is gone, so is this process, whatever it is doing."""
        while (message := _receive(self._source)) is not None:
            if message[0] == "stop":
                self._stopped = max(self._stopped, message[1])
            else:
                self._orders.put(message[1:])
        os._exit(0)

    def work(self) -> None:
        """Do one order after the other, for ever."""
        while True:
            order, *what = self._orders.get()
            answer: tuple[str, int, Any]
            try:
                answer = ("found", order, self._do(order, *what))
            except Cancelled:
                answer = ("stopped", order, None)
            except TesseraError as error:
                answer = ("refused", order, str(error))
            except Exception:
                log.exception("The stage %r failed in a worker", what[2])
                answer = ("broke", order, traceback.format_exc())
            _send(self._target, answer)

    def _do(
        self,
        order: int,
        place: tuple[str, str],
        number: int,
        name: str,
        question: Question,
        labels: tuple[Any, Any] | None,
        built: bytes | None,
    ) -> bytes:
        # Not above: this process is to notice the end of its server before all that is loaded.
        from tessera_core.session.stages import Known, Work, do

        told = self._labels[number] if labels is None else labels
        # Kept before anything can fail, because the other side counts on it.
        _keep(self._labels, number, told, MAX_WORKS)
        question = replace(question, labels=told[0], classes=told[1])
        ground = self._ground(*place)
        work = self._works.get(number)
        work = Work(question, ground) if work is None else work
        work.question = question
        _keep(self._works, number, work, MAX_WORKS)
        done = 0.0

        def report(share: float) -> None:
            nonlocal done
            if share - done > 0.01 or share >= 1:
                done = share
                _send(self._target, ("progress", order, share))

        known = Known() if built is None else unpacked(built, ground.raster)
        found = do(name, work, known, lambda: self._stopped >= order, report)
        return packed(found)

    def _ground(self, key: str, path: str) -> Ground:
        from tessera_core.session.stages import Ground
        from tessera_core.sources.local.open import open_embeddings

        ground = self._grounds.get(key) or Ground(open_embeddings(path))
        _keep(self._grounds, key, ground, MAX_GROUNDS)
        return ground


def _load_what_is_slow() -> None:
    """Import what the first stage needs while nobody waits for it yet."""
    import tessera_core.analysis.active_learning
    import tessera_core.analysis.applicability
    import tessera_core.assess.calibration
    import tessera_core.assess.live
    import tessera_core.heads
    import tessera_core.sources.local.open  # noqa: F401


def main() -> None:
    """Serve the process that started this one."""
    source, target = os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "wb")
    # What a library prints must not run into the answers.
    os.dup2(2, 1)
    # Ctrl-C in a terminal reaches all processes; the server decides when this one ends.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    give_back()
    sys.meta_path.insert(0, _Unasked())
    server = _Server(source, target)
    threading.Thread(target=server.listen, daemon=True).start()
    _load_what_is_slow()
    # Only now: at low priority, loading would take for ever where the computer is busy.
    if hasattr(os, "nice"):
        os.nice(NICENESS)
    server.work()


if __name__ == "__main__":
    main()

"""The processes of one server: several may serve one home side by side, and what is counted is counted over all of them.

Each writes what it serves into a file of its own under ``server`` in TESSERA_HOME and holds a lock beside it for as long as it
lives, however it dies; a file whose lock is free is of a process that is gone. Whoever wants something of another process
leaves an order in its folder.
"""

from __future__ import annotations

import json
import logging
import os
import secrets
import shutil
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import IO, Any, Literal

import msgspec

from tessera_core._utils.atomic import write_text
from tessera_core._utils.locks import alone, locked
from tessera_core._utils.paths import data_home

log = logging.getLogger(__name__)

# What one process asks of another: words between programs, in no language of people.
type Order = Literal["let go", "cancel", "drain"]


class Seated(msgspec.Struct, frozen=True, kw_only=True):
    """A tab that is being served.

    Attributes:
        name: of the seat.
        person: a digest of the key of whoever sits there.
        called, role, how: of them.
        seen: when they last did something, seconds since 1970.
        since: when they came.
    """

    name: str
    person: str
    called: str
    role: str
    how: str
    seen: float
    since: float


class Working(msgspec.Struct, frozen=True, kw_only=True):
    """A piece of long work: ``name`` tells it apart, ``called`` are those who wait for it, ``seconds`` is since it was taken up."""

    name: str
    title: str
    state: str
    called: tuple[str, ...]
    fraction: float
    seconds: float


class Process(msgspec.Struct, frozen=True, kw_only=True):
    """What one process serves.

    Attributes:
        name: of the process, made up at its start.
        pid, port: of it.
        since, at: when it started, and when this was written, seconds since 1970.
        memory_mb, workers_mb: its own memory, and that of the processes it started.
        draining: whether it was asked to stop.
        seats, jobs: who is there, and what is being worked out.
    """

    name: str
    pid: int
    port: int
    since: float
    at: float
    memory_mb: float = 0.0
    workers_mb: float = 0.0
    draining: bool = False
    seats: tuple[Seated, ...] = ()
    jobs: tuple[Working, ...] = ()


class Registry:
    """The processes of this home, seen from one of them; may be used from any thread.

    Args:
        port: that this process serves.
    """

    def __init__(self, port: int = 0) -> None:
        self.name = f"{os.getpid()}-{secrets.token_hex(4)}"
        self._place = data_home() / "server"
        self._mine = Process(name=self.name, pid=os.getpid(), port=port, since=time.time(), at=time.time())
        self._held = ExitStack()
        self._lock: IO[bytes] | None = None

    def tell(self, **what: Any) -> Process:
        """Write what this process serves now; what is not given stays as it was.

        Raises:
            OSError: it cannot be written.
        """
        if self._lock is None:
            self._place.mkdir(parents=True, exist_ok=True, mode=0o700)
            self._lock = self._held.enter_context((self._place / f"{self.name}.alive").open("ab"))
            self._held.enter_context(locked(self._lock))
        self._mine = msgspec.structs.replace(self._mine, at=time.time(), **what)
        write_text(self._place / f"{self.name}.json", msgspec.json.encode(self._mine).decode())
        return self._mine

    @property
    def mine(self) -> Process:
        """What this process told last."""
        return self._mine

    def others(self) -> list[Process]:
        """What the other processes serve; what dead ones left is cleared away."""
        found = []
        for path in self._place.glob("*.json"):
            if path.stem == self.name or path.stem == "notice":
                continue
            if not _alive(path.with_suffix(".alive")):
                _clear(path)
                continue
            # Taken away between two looks, or of another version that tells other things.
            with suppress(OSError, msgspec.DecodeError):
                found.append(msgspec.json.decode(path.read_bytes(), type=Process))
        return sorted(found, key=lambda one: one.since)

    def all(self) -> list[Process]:
        """This process and the others, oldest first."""
        return sorted([self._mine, *self.others()], key=lambda one: one.since)

    @contextmanager
    def counting(self) -> Iterator[list[Process]]:
        """What the others serve, while no other process gives out seats."""
        self._place.mkdir(parents=True, exist_ok=True, mode=0o700)
        with alone(self._place / "counting.lock"):
            yield self.others()

    def order(self, process: str, what: Order, of: str = "") -> None:
        """Leave an order for a process, or for this one: it is followed within seconds.

        Args:
            what: ``"let go"`` of the seat ``of``, ``"cancel"`` the work ``of``, or ``"drain"``.
        """
        folder = self._place / f"{Path(process).name}.orders"
        folder.mkdir(parents=True, exist_ok=True)
        name = f"{time.time_ns()}-{secrets.token_hex(4)}"
        write_text(folder / f"{name}.order", json.dumps({"do": what, "of": of}))

    def orders(self) -> list[tuple[str, str]]:
        """What is asked of this process, oldest first, each once: pairs of what and of which."""
        found = []
        for path in sorted((self._place / f"{self.name}.orders").glob("*.order")):
            try:
                order = json.loads(path.read_text(encoding="utf-8"))
                path.unlink()
                found.append((str(order["do"]), str(order["of"])))
            except (OSError, ValueError, KeyError, TypeError) as error:
                log.warning("An order could not be read: %s", error)
        return found

    def close(self) -> None:
        """This process serves nobody any more."""
        if self._lock is not None:
            _clear(self._place / f"{self.name}.json", keep_lock=True)
            self._held.close()
            (self._place / f"{self.name}.alive").unlink(missing_ok=True)
            self._lock = None


def notice() -> str:
    """What the server's owner wants everybody to know; empty where there is nothing."""
    try:
        return str(json.loads((data_home() / "server" / "notice.json").read_text(encoding="utf-8"))["text"])
    except (OSError, ValueError, KeyError, TypeError):
        return ""


def put_notice(text: str) -> None:
    """Tell everybody something, or, with an empty text, nothing any more.

    Raises:
        OSError: it cannot be written.
    """
    path = data_home() / "server" / "notice.json"
    if not text.strip():
        path.unlink(missing_ok=True)
        return
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    write_text(path, json.dumps({"text": text.strip()[:500], "at": time.time()}, ensure_ascii=False))


def note_interrupted(person: str, title: str) -> None:
    """Note that a person's work did not end before the server did, so that they are told when they are back.

    Args:
        person: their digest, as in :class:`Seated`.
    """
    path = data_home() / "server" / "interrupted" / Path(person).name
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    with path.open("a", encoding="utf-8") as file:
        file.write(json.dumps(title) + "\n")


def interrupted(person: str) -> list[str]:
    """Titles of the work that was noted for a person, once."""
    path = data_home() / "server" / "interrupted" / Path(person).name
    taken = path.with_name(f".{path.name}-{secrets.token_hex(4)}")
    try:
        # Of two tabs, one tells.
        os.replace(path, taken)
    except OSError:
        return []
    lines = taken.read_text(encoding="utf-8", errors="replace").splitlines()
    taken.unlink()
    titles = []
    for line in lines:
        try:
            titles.append(str(json.loads(line)))
        except ValueError:
            log.warning("A note of interrupted work was cut off when its server ended")
    return titles


def _alive(lock: Path) -> bool:
    try:
        with lock.open("ab") as file, locked(file, wait=False):
            return False
    except BlockingIOError:
        return True
    except OSError:
        return False


def _clear(path: Path, *, keep_lock: bool = False) -> None:
    path.unlink(missing_ok=True)
    shutil.rmtree(path.with_suffix(".orders"), ignore_errors=True)
    if not keep_lock:
        path.with_suffix(".alive").unlink(missing_ok=True)

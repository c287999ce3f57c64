"""What keeps a server for many: every few seconds it tells the other processes what this one serves and follows their orders.

It also ends the process in an orderly way: nobody new comes in, work ends or is put back, and then the server stops.
"""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Callable
from pathlib import Path

from tessera_core.hosting import Limits, Person, audit, processes
from tessera_core.hosting.processes import Process, Working
from tessera_core.project import room
from tessera_core.project.home import projects_home
from tessera_core.ui import jobs, seats

log = logging.getLogger(__name__)

PULSE_SECONDS = 2.0
# How often it is told that nothing but the memory changed.
TELL_SECONDS = 10.0
# A balancer in front looks every few seconds, and must see that nobody is to come here before this process is gone.
LEAST_DRAIN_SECONDS = 5.0
# After the server was told to stop: whatever still holds on to it is let go of.
STOP_SECONDS = 10.0
_drained = threading.Event()
# What stops the server, given at its start.
_leave: list[Callable[[], None]] = []


def start(leave: Callable[[], None]) -> Callable[[], None]:
    """Begin; returns what ends it.

    Args:
        leave: stops the server; may be called from any thread.
    """
    _leave[:] = [leave]
    stop = threading.Event()

    def beat() -> None:
        while not stop.wait(PULSE_SECONDS):
            try:
                pulse()
            except Exception:
                log.exception("The server's state could not be told")

    thread = threading.Thread(target=beat, name="tessera-keeper", daemon=True)
    thread.start()

    def end() -> None:
        stop.set()
        thread.join(5)
        registry = seats.room().registry
        if registry is not None:
            registry.close()

    return end


def pulse() -> None:
    """Tell what this process serves, and follow what it was ordered."""
    registry = seats.room().registry
    if registry is None:
        return
    told, before = here(), registry.mine
    changed = (told.seats, told.jobs, told.draining) != (before.seats, before.jobs, before.draining)
    if changed or not before.memory_mb or told.at - before.at > TELL_SECONDS:
        # While nobody is given a seat: what was counted a moment ago would take it back.
        with registry.counting():
            registry.tell(
                seats=seats.room().seated(),
                jobs=told.jobs,
                memory_mb=told.memory_mb,
                workers_mb=told.workers_mb,
                draining=told.draining,
            )
    for what, of in registry.orders():
        follow(what, of)


def follow(what: str, of: str) -> None:
    """Do what the server's owner ordered."""
    match what:
        case "let go":
            seats.room().let_go(of)
        case "cancel":
            for job, _ in jobs.of_server().listed():
                if jobs.name_of(job) == of:
                    job.cancel()
        case "drain":
            drain()


def here() -> Process:
    """What this process serves at this moment."""
    rooms = seats.room()
    mine = rooms.registry.mine if rooms.registry is not None else None
    called = {seat.person: seat.called for seat in rooms.seated()}
    own, workers = memory()
    work = tuple(
        Working(
            name=jobs.name_of(job),
            title=job.title,
            state="stopping" if job.cancelling else job.state,
            called=tuple(_called(person, called) for person in dict.fromkeys((*job.people, first))),
            fraction=job.fraction,
            seconds=job.elapsed,
        )
        for job, first in jobs.of_server().listed()
    )
    return Process(
        name="" if mine is None else mine.name,
        pid=os.getpid(),
        port=0 if mine is None else mine.port,
        since=time.time() if mine is None else mine.since,
        at=time.time(),
        memory_mb=own,
        workers_mb=workers,
        draining=rooms.draining,
        seats=rooms.seated(),
        jobs=work,
    )


def _called(key: str, known: dict[str, str]) -> str:
    return known.get(seats.mark(Person(key)), "somebody who has left")


# ---------------------------------------------------------------------- the end


def drain() -> None:
    """End this process in an orderly way, beside everything else; a second call does nothing.

    Nobody new comes in from now on. Work may end for as long as the settings say; what has not is stopped where it can go on
    later, and whoever waited for it is told when they are back. Labels are on the disk from the moment they are acknowledged.
    """
    if not _drained.is_set():
        _drained.set()
        threading.Thread(target=_drain, name="tessera-drain", daemon=True).start()


def draining() -> bool:
    """Whether this process was asked to end."""
    return _drained.is_set()


def _drain() -> None:
    began, most = time.monotonic(), float(Limits.read().drain_seconds)
    try:
        seats.room().draining = True
        audit.note("the server was asked to stop", Person(how="nobody"))
        pulse()
        pool = jobs.of_server()
        for job, first in pool.settle(most):
            for person in dict.fromkeys((*job.people, first)):
                processes.note_interrupted(seats.mark(Person(person)), job.title)
            job.wait(STOP_SECONDS / 2)
        time.sleep(max(min(LEAST_DRAIN_SECONDS, most) - (time.monotonic() - began), 0))
    except Exception:
        log.exception("The server stops, though not in the order that was meant")
    last = threading.Timer(STOP_SECONDS, os._exit, [0])
    last.daemon = True
    last.start()
    for leave in _leave:
        leave()


# ------------------------------------------------------------------ for figures


def memory() -> tuple[float, float]:
    """MB that this process holds for itself, and those that it started; 0 where the system does not tell."""
    pid = os.getpid()
    return _anonymous(pid), round(sum(map(_anonymous, _children(pid))), 1)


def _anonymous(pid: int) -> float:
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except OSError:
        return 0.0
    return round(sum(int(line.split()[1]) for line in lines if line.startswith("RssAnon:")) / 1024, 1)


def _children(pid: int) -> list[int]:
    found: list[int] = []
    for path in Path(f"/proc/{pid}/task").glob("*/children"):
        try:
            mine = [int(one) for one in path.read_text(encoding="utf-8").split()]
        except OSError:
            continue
        found += [*mine, *(other for one in mine for other in _children(one))]
    return found


def figures() -> str:
    """The server in the text format of Prometheus; takes a while where there are many projects."""
    rooms = seats.room()
    others = [] if rooms.registry is None else rooms.registry.others()
    all_of_them = [here(), *others]
    limits = Limits.read()
    people = {seat.person for process in all_of_them for seat in process.seats}
    lines = []

    def gauge(name: str, about: str, values: dict[str, float]) -> None:
        lines.extend([f"# HELP tessera_{name} {about}", f"# TYPE tessera_{name} gauge"])
        lines.extend(f"tessera_{name}{labels} {value:g}" for labels, value in values.items())

    gauge("people", "People being served.", {"": len(people)})
    gauge("people_limit", "People who may be served at once.", {"": limits.people})
    gauge("tabs", "Open tabs being served.", {"": sum(len(process.seats) for process in all_of_them)})
    work = [job.state for process in all_of_them for job in process.jobs]
    gauge(
        "jobs",
        "Pieces of long work.",
        {f'{{state="{state}"}}': work.count(state) for state in ("running", "waiting", "stopping")},
    )
    gauge("projects", "Projects kept.", {"": room.count()})
    gauge("projects_limit", "Projects that may be kept.", {"": limits.all_projects})
    gauge("projects_bytes", "Bytes of all projects.", {"": room.used_bytes(projects_home())})
    gauge("projects_bytes_limit", "Bytes that all projects may have.", {"": limits.disk_gb * 1e9})
    each = {f'{{port="{one.port}",pid="{one.pid}"}}': one for one in all_of_them}
    gauge("memory_bytes", "Memory of each process.", {name: one.memory_mb * 2**20 for name, one in each.items()})
    gauge(
        "workers_memory_bytes",
        "Memory of what it started.",
        {name: one.workers_mb * 2**20 for name, one in each.items()},
    )
    gauge(
        "draining", "Whether the process was asked to stop.", {name: float(one.draining) for name, one in each.items()}
    )
    return "\n".join(lines) + "\n"

"""``tessera bench visitors``: as many people as wanted on one server, who label the demo region while their maps are scored.

The app runs as on a server for strangers; scripted visitors in a process of their own speak the browser's protocol to it
(:mod:`tessera_core.ui.visiting`). All open the demo in the same second, several times over; then each clicks a place every two
seconds and asks for the score beside that. What is on disk afterwards says whether labels were mixed, and every picture that was
sent is held against one computed here from the labels that it answers. With ``--class`` they are the learners of one class, who
join by its code, and the teacher's board is held against what each of them did.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from tessera_core.errors import InputError, TesseraError

VISITORS, QUICK_VISITORS = (5, 10, 20, 30), (6,)
SECONDS, QUICK_SECONDS = 40.0, 12.0
ROUNDS, QUICK_ROUNDS = 5, 1
EVERY, ASK = 2.0, 4.0
DEMO_SIZE, QUICK_DEMO_SIZE = 320, 96
# After the last tab is closed: what a session holds is kept for a minute in case it comes back.
LEFT_SECONDS = 90.0


def run(args: argparse.Namespace) -> dict[str, Any]:
    """Measure; one row for each number of visitors, and a table of them.

    With ``--servers`` several processes serve one home, as behind a balancer that sends each visitor to the same one; halfway
    through each visitor is sent to another.

    Raises:
        InputError: the numbers of visitors are none.
        TesseraError: the app or the visitors cannot be started.
    """
    quick = bool(args.quick)
    try:
        counts = (
            [int(n) for n in args.visitors.split(",")] if args.visitors else (QUICK_VISITORS if quick else VISITORS)
        )
    except ValueError as error:
        raise InputError(f"--visitors takes whole numbers separated by commas, not {args.visitors!r}.") from error
    servers = args.servers or 1
    if servers < 1:
        raise InputError(f"--servers takes a whole number above 0, not {servers}.")
    return measure(
        counts,
        args.seconds or (QUICK_SECONDS if quick else SECONDS),
        servers=servers,
        in_class=bool(args.in_class),
        rounds=QUICK_ROUNDS if quick else ROUNDS,
        size=QUICK_DEMO_SIZE if quick else DEMO_SIZE,
        left=5.0 if quick else LEFT_SECONDS,
    )


def measure(
    counts: Sequence[int],
    seconds: float = SECONDS,
    *,
    rounds: int = ROUNDS,
    size: int = DEMO_SIZE,
    every: float = EVERY,
    ask: float = ASK,
    left: float = LEFT_SECONDS,
    servers: int = 1,
    in_class: bool = False,
) -> dict[str, Any]:
    """Let ``counts`` visitors come, one number after the other, each to a server of its own.

    Args:
        seconds: how long they label.
        rounds: how often as many open the demo at once before.
        size: of the demo region, pixels along each side.
        every, ask: seconds between two clicks, and between two looks at the score, of one visitor (``ask`` 0: as the browser).
        left: seconds after the last tab was closed at which memory is read again.
        servers: how many processes serve one home; their memory is that of all of them.
        in_class: whether they are learners of one class.
    """
    from tessera_core.bench.hot_path import machine

    rows = []
    with tempfile.TemporaryDirectory(prefix="tessera-bench-") as base:
        first = Path(base) / "first"
        first.mkdir()
        _make_demo({"TESSERA_HOME": str(first), "TESSERA_DEMO_SIZE": str(size)})
        for count in counts:
            folder = Path(base) / str(count)
            # Made once, because that takes a minute; every server has its own.
            shutil.copytree(first, folder / "home")
            rows.append(_one(folder, count, seconds, rounds, size, every, ask, left, servers, in_class))
            shutil.rmtree(folder)
            sys.stderr.write(json.dumps(rows[-1]) + "\n")
    return {
        "bench": "visitors",
        "machine": machine(),
        "demo_px": size,
        "servers": servers,
        "class": in_class,
        "seconds": seconds,
        "every_s": every,
        "ask_s": ask,
        "rows": rows,
        "table": _table(rows),
    }


def _one(
    folder: Path,
    count: int,
    seconds: float,
    rounds: int,
    size: int,
    every: float,
    ask: float,
    left: float,
    servers: int,
    in_class: bool,
) -> dict[str, Any]:
    home = folder / "home"
    load = round(os.getloadavg()[0], 1) if hasattr(os, "getloadavg") else None
    environment = {"TESSERA_HOME": str(home), "TESSERA_DEMO_SIZE": str(size), "TESSERA_HOSTED": "1"}
    environment |= {"TESSERA_MAX_PEOPLE": str(count + 10)}
    with ExitStack() as running:
        started = [running.enter_context(_server(folder, environment)) for _ in range(servers)]
        addresses, pids = [address for address, _ in started], [process.pid for _, process in started]
        memory = {"start_mb": _memory(pids)[0]}
        # The first one pays for what is loaded once.
        _visitors(addresses, servers, 0.0, every, ask)
        distinct = []
        code = _python(_OPEN_CLASS, environment) if in_class else ""
        for _ in range(0 if in_class else rounds):
            seen = _visitors(addresses, count, 0.0, every, ask)
            distinct.append(len({one.get("address") for one in seen if one.get("address")}))
        before, _, threads_before = _memory(pids)
        memory["before_mb"] = before
        with _watched(pids) as most:
            seen = _visitors(addresses, count, seconds, every, ask, min(servers - 1, 1), code)
        time.sleep(left)
        own, beside, threads = _memory(pids)
    row = _judge(seen, home, environment)
    if in_class:
        row |= _board(seen, code, environment)
    memory |= {"peak_mb": most["own"], "peak_beside_mb": most["beside"], "left_mb": own, "left_beside_mb": beside}
    memory["each_mb"] = round((most["own"] - memory["before_mb"]) / count, 2)
    return {
        "visitors": count,
        "distinct_projects": distinct,
        **row,
        **memory,
        "threads_before": threads_before,
        "threads_most": most["threads"],
        "threads_left": threads,
        "load_before": load,
    }


_OPEN_CLASS = """
from tessera_core.classroom.joining import open_class
from tessera_core.hosting import Person, acting_for
from tessera_core.project import library
with acting_for(Person("teacher")):
    template = library.start_demo(library.take_demo(), fresh=True)
    print(open_class(template, Person("teacher"), tasks=["Label ten places."]).code)
"""
_READ_BOARD = """
import json, sys, time
from tessera_core.classroom import board, store
found = store.with_code(sys.argv[1])
start = time.perf_counter()
rows = board.rows(found)
print(json.dumps({"ms": 1000 * (time.perf_counter() - start), "labels": {row.nickname: row.labels for row in rows}}))
"""


def _python(code: str, environment: dict[str, str], *words: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", code, *words],
        env=os.environ | environment,
        capture_output=True,
        text=True,
        encoding="utf-8",
        check=False,
    )
    if done.returncode:
        raise TesseraError(f"What visitors find on the server could not be made or read: {done.stderr.strip()[-300:]}")
    return done.stdout.strip()


def _board(seen: list[dict[str, Any]], code: str, environment: dict[str, str]) -> dict[str, Any]:
    """The teacher's board against what each learner did: labels by which a row differs from the clicks that were answered."""
    told = json.loads(_python(_READ_BOARD, environment, code))
    made: dict[str, int] = {}
    for one in seen:
        name = f"visitor {one['visitor']}"
        made[name] = made.get(name, 0) + sum(click["acked"] for click in one.get("clicks", []))
    return {
        "on_the_board": len(told["labels"]),
        "board_ms": round(told["ms"], 1),
        "board_wrong": sum(told["labels"].get(name) != count for name, count in made.items()),
    }


def _make_demo(environment: dict[str, str]) -> None:
    """The demo region where the server looks for it, so that nobody waits for it."""
    _python(
        "from tessera_core.project.library import make_demo; make_demo(lambda *_: None, lambda: False)", environment
    )


@contextmanager
def _server(folder: Path, environment: dict[str, str]) -> Iterator[tuple[str, subprocess.Popen[bytes]]]:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    address = f"http://localhost:{port}"
    command = [sys.executable, "-m", "tessera_core", "app", "--headless", "--port", str(port)]
    path = folder / f"server-{port}.log"
    with open(path, "wb") as log:
        process = subprocess.Popen(command, env=os.environ | environment, stdout=log, stderr=log)
        try:
            for _ in range(300):
                try:
                    with urllib.request.urlopen(f"{address}/_stcore/health", timeout=2) as answer:
                        if answer.read() == b"ok":
                            break
                except (urllib.error.URLError, OSError):
                    time.sleep(0.2)
            else:
                raise TesseraError(f"The app did not start: {path.read_text(encoding='utf-8')[-500:]}")
            yield address, process
        finally:
            process.kill()
            process.wait()


def _visitors(
    addresses: Sequence[str], count: int, seconds: float, every: float, ask: float, moves: int = 0, code: str = ""
) -> list[dict[str, Any]]:
    command = [sys.executable, "-m", "tessera_core.ui.visiting", *addresses, "--visitors", str(count)]
    command += [
        "--seconds",
        str(seconds),
        "--every",
        str(every),
        "--ask",
        str(ask),
        "--moves",
        str(moves),
        "--join",
        code,
    ]
    done = subprocess.run(command, capture_output=True, text=True, encoding="utf-8", check=False)
    if done.returncode:
        raise TesseraError(f"The visitors could not come: {done.stderr.strip()[-500:]}")
    found: list[dict[str, Any]] = json.loads(done.stdout)["visitors"]
    return found


# -------------------------------------------------------------------- memory


def _memory(pids: Sequence[int]) -> tuple[float, float, int]:
    """MB of processes (``RssAnon``: what cannot be given back but by them), of those they started, and their threads."""
    import psutil

    servers = [psutil.Process(pid) for pid in pids]
    beside = [child.pid for server in servers for child in server.children(True)]
    return (
        round(sum(map(_anonymous, pids)), 1),
        round(sum(map(_anonymous, beside)), 1),
        sum(server.num_threads() for server in servers),
    )


def _anonymous(pid: int) -> float:
    import psutil

    try:
        text = Path(f"/proc/{pid}/status").read_text()
        return round(int(next(line.split()[1] for line in text.splitlines() if line.startswith("RssAnon"))) / 1024, 1)
    except (OSError, StopIteration):
        return round(psutil.Process(pid).memory_info().rss / 2**20, 1) if psutil.pid_exists(pid) else 0.0


@contextmanager
def _watched(pids: Sequence[int]) -> Iterator[dict[str, Any]]:
    """The most memory and threads while the block runs."""
    import threading

    import psutil

    most: dict[str, Any] = {"own": 0.0, "beside": 0.0, "threads": 0}
    stop = threading.Event()

    def watch() -> None:
        while not stop.wait(0.5):
            try:
                own, beside, threads = _memory(pids)
            except psutil.NoSuchProcess:
                return
            most.update(
                own=max(most["own"], own), beside=max(most["beside"], beside), threads=max(most["threads"], threads)
            )

    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    yield most
    stop.set()
    thread.join()


# ------------------------------------------------------------------- judging


def _judge(seen: list[dict[str, Any]], home: Path, environment: dict[str, str]) -> dict[str, Any]:
    """What the visitors saw against what is on disk."""
    clicks = [click for one in seen for click in one.get("clicks", [])]
    times = [click["ms"] for click in clicks if click["acked"]]
    scores = [score for one in seen for score in one.get("scores", [])]
    # Where people are sent to another process, what counts is that they see the score of the last.
    at_the_end = {one["visitor"]: one.get("last_score_s") for one in seen}
    last = [seconds for seconds in at_the_end.values() if seconds is not None]
    truth = _checked(seen, home, environment)
    return {
        "problems": [one["problem"] for one in seen if one.get("problem")],
        "clicks": len(clicks),
        "median_ms": round(float(np.median(times)), 1) if times else None,
        "p95_ms": round(float(np.percentile(times, 95)), 1) if times else None,
        "max_ms": max(times, default=None),
        "mixed_labels": truth["mixed_labels"],
        "lost_clicks": truth["lost_clicks"],
        "doubled_clicks": truth["doubled_clicks"],
        "unknown_labels": truth["unknown_labels"],
        "used_names": sum(_used_again(one.get("clicks", [])) for one in seen),
        "wrong_pictures": truth["wrong_pictures"],
        "pictures_checked": truth["pictures_checked"],
        "asked": sum(one.get("asked", 0) for one in seen),
        "answered": sum(one.get("answered", 0) for one in seen),
        "answers_with_score": sum(one.get("scored", 0) for one in seen),
        "scores_of_newest": len(scores),
        "visitors_with_last_score": len(last),
        "last_score_median_s": round(float(np.median(last)), 2) if last else None,
        "last_score_worst_s": max(last, default=None),
    }


def _checked(seen: list[dict[str, Any]], home: Path, environment: dict[str, str]) -> dict[str, int]:
    """What is on disk against what was seen, by a process that may know how the page draws."""
    command = [sys.executable, "-m", "tessera_core.ui.visiting", "--check", str(home)]
    told = json.dumps({"visitors": seen})
    # What a project may open depends on whose server it is.
    env = os.environ | environment
    done = subprocess.run(command, input=told, env=env, capture_output=True, text=True, encoding="utf-8", check=False)
    if done.returncode:
        raise TesseraError(f"What the visitors saw could not be checked: {done.stderr.strip()[-500:]}")
    found: dict[str, int] = json.loads(done.stdout)
    return found


def _used_again(clicks: list[dict[str, Any]]) -> int:
    """Pictures whose name was that of an earlier, different one: the browser would not draw them."""
    known: dict[str, str] = {}
    return sum(known.setdefault(c["v"], c["picture"]) != c["picture"] for c in clicks if c["v"] is not None)


def _table(rows: list[dict[str, Any]]) -> str:
    columns = {
        "visitors": "visitors",
        "distinct projects": "distinct_projects",
        "click median ms": "median_ms",
        "p95 ms": "p95_ms",
        "mixed": "mixed_labels",
        "lost": "lost_clicks",
        "doubled": "doubled_clicks",
        "stale or wrong pictures of checked": "pictures",
        "looks": "asked",
        "answers (with a score)": "answers",
        "last score shown to": "scored",
        "after s (median)": "last_score_median_s",
        "(worst)": "last_score_worst_s",
        "threads": "threads_most",
        "server MB before": "before_mb",
        "most": "peak_mb",
        "left": "left_mb",
        "load": "load_before",
    }
    lines = [" | ".join(["", *columns, ""]).strip(), "|" + "---|" * len(columns)]
    for row in rows:
        shown = row | {
            "distinct_projects": "/".join(map(str, row["distinct_projects"])),
            "pictures": f"{row['used_names']} + {row['wrong_pictures']} of {row['pictures_checked']}",
            "answers": f"{row['answered']} ({row['answers_with_score']})",
            "scored": f"{row['visitors_with_last_score']} of {row['visitors']}",
        }
        lines.append(" | ".join(["", *(str(shown[key]) for key in columns.values()), ""]).strip())
    return "\n".join(lines)

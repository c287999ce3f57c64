"""The rest of the demo region, made in a process of low priority while people work with the year that is there already."""

from __future__ import annotations

import json
import logging
import os
import subprocess
import sys
import threading
import time
from dataclasses import dataclass
from pathlib import Path

log = logging.getLogger(__name__)


@dataclass
class DemoRest:
    """One run of the process.

    Attributes:
        fraction: how much of the region is made, 0 to 1.
        message: what is being made, as a person reads it.
        error: why it ended without the region; empty otherwise.
        ended: whether the process is gone.
    """

    fraction: float = 0.0
    message: str = ""
    error: str = ""
    ended: bool = False


_DELAY = 3.0
_running: dict[Path, DemoRest] = {}
_lock = threading.Lock()


def finish(home: Path, size: int, *, again: bool = False) -> DemoRest:
    """Make what is missing of the demo region, beside everything else; asked a second time, tells how far it is.

    Args:
        home: folder of demo regions, see :func:`~tessera_core.project.demo.ensure_demo`.
        size: pixels along each side.
        again: start once more after it failed.
    """
    key = home / str(size)
    with _lock:
        rest = _running.get(key)
        if rest is None or (again and rest.ended):
            rest = _running[key] = DemoRest()
            threading.Thread(target=_follow, args=(rest, home, size), name="tessera-demo-rest", daemon=True).start()
        return rest


def _follow(rest: DemoRest, home: Path, size: int) -> None:
    import tessera_core

    package = str(Path(tessera_core.__file__).resolve().parents[1])
    path = os.pathsep.join(part for part in (package, os.environ.get("PYTHONPATH", "")) if part)
    try:
        process = subprocess.Popen(
            [sys.executable, "-m", __name__, str(home), str(size)],
            # Ends with the server: its standard input is closed then.
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            encoding="utf-8",
            env=os.environ | {"PYTHONPATH": path, "OMP_NUM_THREADS": "1", "PYTHONIOENCODING": "utf-8"},
            # On Windows; elsewhere it lowers its priority itself.
            creationflags=getattr(subprocess, "BELOW_NORMAL_PRIORITY_CLASS", 0),
        )
    except OSError as error:
        rest.error, rest.ended = f"No process could be started for it ({error.strerror}).", True
        return
    told: list[str] = []
    assert process.stdout is not None
    assert process.stderr is not None
    listener = threading.Thread(target=lambda: told.extend(process.stderr or ()), daemon=True)
    listener.start()
    for line in process.stdout:
        step = json.loads(line)
        if "error" in step:
            rest.error = step["error"]
        else:
            rest.fraction, rest.message = step["fraction"], step["message"]
    listener.join(5)
    if process.wait() != 0 and not rest.error:
        log.error("The rest of the demo region failed:\n%s", "".join(told))
        rest.error = "Something unforeseen happened while it was made."
    rest.ended = True


def _main(home: str, size: str) -> int:
    threading.Thread(target=_end_with_the_server, daemon=True).start()
    if hasattr(os, "nice"):
        os.nice(15)
    # The page that asked for it is drawn meanwhile.
    time.sleep(_DELAY)
    from tessera_core.errors import TesseraError
    from tessera_core.project.demo import ensure_demo

    def tell(**step: object) -> None:
        print(json.dumps(step), flush=True)

    try:
        ensure_demo(
            home,
            int(size),
            progress=lambda done, total, message: tell(fraction=done / max(total, 1), message=message),
        )
    except TesseraError as error:
        tell(error=str(error))
        return 1
    return 0


def _end_with_the_server() -> None:
    sys.stdin.read()
    os._exit(1)


if __name__ == "__main__":
    sys.exit(_main(*sys.argv[1:]))

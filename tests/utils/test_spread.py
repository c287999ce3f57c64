"""Work in shares: every share once, a lost worker's share again, and a refusal told as one sentence."""

from __future__ import annotations

import functools
import os
import signal
import sys
from concurrent.futures import Executor, ThreadPoolExecutor
from pathlib import Path
from types import ModuleType

import pytest

from tessera_core._utils.share import Share
from tessera_core._utils.spread import processes, spread
from tessera_core.errors import Cancelled, ExportError, InputError, MixedDatasetsError

THINGS = list(range(11))


def names(share: Share) -> list[int]:
    return share.take(THINGS)


def dying(marks: Path, times: int, share: Share) -> list[int]:
    """Ends its own process, as the system does where memory is short, until that has happened so often."""
    if 0 in share.take(THINGS) and len(list(marks.iterdir())) < times:
        (marks / str(len(list(marks.iterdir())))).touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return share.take(THINGS)


def dying_each(marks: Path, share: Share) -> list[int]:
    """Ends its own process once for every share."""
    try:
        (marks / str(share.number)).touch(exist_ok=False)
    except FileExistsError:
        return share.take(THINGS)
    os.kill(os.getpid(), signal.SIGKILL)
    raise AssertionError


def refusing(share: Share) -> None:
    raise MixedDatasetsError("one", "another")


def threads(workers: int) -> Executor:
    return ThreadPoolExecutor(workers)


def test_any_executor_does_every_thing_once_and_in_order() -> None:
    seen: list[tuple[int, int]] = []
    parts = spread(names, Share(2, 3), 2, executor=threads, progress=lambda done, total, _: seen.append((done, total)))
    assert sorted(thing for part in parts for thing in part) == Share(2, 3).take(THINGS)
    assert parts == [part.take(THINGS) for part in Share(2, 3).split(8)]
    assert seen == [(n, 8) for n in range(1, 9)]


def test_a_refusal_arrives_as_its_sentence_and_a_stop_as_a_stop() -> None:
    for executor in (threads, processes):
        with pytest.raises(InputError, match="one and another cannot be mixed"):
            spread(refusing, Share(), 2, executor=executor)
    with pytest.raises(Cancelled):
        spread(names, Share(), 2, executor=threads, cancelled=lambda: True)


def test_the_share_of_a_worker_that_was_killed_is_begun_again(tmp_path: Path) -> None:
    parts = spread(functools.partial(dying, tmp_path, 1), Share(), 2)
    assert sorted(thing for part in parts for thing in part) == THINGS
    assert len(list(tmp_path.iterdir())) == 1
    with pytest.raises(ExportError, match="worker was lost"):
        spread(functools.partial(dying, tmp_path, 9), Share(), 2, retries=1)


def test_shares_that_only_waited_beside_lost_ones_are_all_done(tmp_path: Path) -> None:
    parts = spread(functools.partial(dying_each, tmp_path), Share(), 1, retries=1)
    assert sorted(thing for part in parts for thing in part) == THINGS
    assert len(list(tmp_path.iterdir())) == 4


def test_workers_begun_below_a_page_do_not_run_the_page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    page = tmp_path / "page.py"
    page.write_text("import pathlib, sys\npathlib.Path(__file__).with_suffix('.ran').touch()\nsys.exit(3)\n")
    main = ModuleType("__main__")
    main.__file__ = str(page)
    monkeypatch.setitem(sys.modules, "__main__", main)
    assert sorted(thing for part in spread(names, Share(), 2) for thing in part) == THINGS
    assert not page.with_suffix(".ran").exists()

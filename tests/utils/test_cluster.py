"""Work by Dask: every thing once, the bytes of one process, lost workers and schedulers, and what is no scheduler at all."""

from __future__ import annotations

import functools
import os
import signal
import stat
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tessera_core._utils.share import Share
from tessera_core._utils.spread import spread
from tessera_core.cluster import connect
from tessera_core.cluster.profile import Profile
from tessera_core.errors import ExportError, InputError, MixedDatasetsError
from tests.servers import free_port
from tests.waiting import eventually

THINGS = list(range(11))


def names(share: Share) -> list[int]:
    return share.take(THINGS)


def dying(marks: Path, times: int, share: Share) -> list[int]:
    """Ends its own process, as the system does where memory is short, until that has happened so often."""
    if 0 in share.take(THINGS) and len(list(marks.iterdir())) < times:
        (marks / str(len(list(marks.iterdir())))).touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return share.take(THINGS)


def refusing(share: Share) -> None:
    raise MixedDatasetsError("one", "another")


def breaking(share: Share) -> None:
    raise ZeroDivisionError


def waiting(mark: Path, share: Share) -> list[int]:
    mark.touch()
    time.sleep(60)
    return share.take(THINGS)


class Scheduler:
    """A scheduler with one worker, in processes of their own."""

    def __init__(self, folder: Path, workers: int = 1) -> None:
        self.file, self.address = folder / "scheduler.json", f"tcp://127.0.0.1:{free_port()}"
        python = [
            sys.executable,
            "-m",
            "distributed.cli.dask_scheduler",
            "--no-dashboard",
            "--no-show",
            "--host",
            "127.0.0.1",
        ]
        self.log = (folder / "log").open("wb")
        self.processes = [
            self._start(*python, "--port", self.address.rpartition(":")[2], "--scheduler-file", self.file)
        ]
        for _ in range(workers):
            worker = [
                sys.executable,
                "-m",
                "distributed.cli.dask_worker",
                self.address,
                "--nthreads",
                "1",
                "--no-dashboard",
            ]
            self.processes.append(
                self._start(*worker, "--no-nanny", "--host", "127.0.0.1", "--local-directory", folder)
            )

    def _start(self, *words: object) -> subprocess.Popen[bytes]:
        return subprocess.Popen([str(word) for word in words], stdout=self.log, stderr=self.log)

    def stop(self, *numbers: int) -> None:
        for number in numbers or range(len(self.processes)):
            self.processes[number].kill()
            self.processes[number].wait()
        if not numbers:
            self.log.close()


@pytest.fixture
def scheduler(tmp_path: Path) -> Iterator[Scheduler]:
    (tmp_path / "dask").mkdir()
    made = Scheduler(tmp_path / "dask")
    yield made
    made.stop()


@pytest.mark.parametrize(
    ("where", "said"),
    [
        ("nowhere", "'nowhere' is no scheduler; write local"),
        ("gone.json", "gone.json does not exist; it is written by"),
        ("slurm:gone.toml", "profile gone.toml cannot be read"),
        ("tcp://127.0.0.1:9", "No scheduler answers at tcp://127.0.0.1:9"),
        ("127.0.0.1:9", "No scheduler answers at"),
        ("abc://x:1", "No scheduler answers at abc"),
    ],
)
def test_what_is_no_scheduler_is_told_in_one_sentence(where: str, said: str) -> None:
    with pytest.raises(InputError, match=said), connect(where, connect_s=1):
        pass


def test_a_profile_says_how_many_workers_and_what_else_it_knows_goes_to_dask(tmp_path: Path) -> None:
    file = tmp_path / "p.toml"
    file.write_text('queue = "long"\nmaximum = 7\n')
    profile = Profile.read("slurm", file)
    assert (profile.minimum, profile.maximum) == (0, 7)
    assert profile.options == {"queue": "long", "cores": 1, "processes": 1, "memory": "4GB"}
    for text, said in (
        ("maximum = 0", "how many workers"),
        ("minimum = 3\nmaximum = 2", "how many"),
        ("=", "not TOML"),
    ):
        file.write_text(text)
        with pytest.raises(InputError, match=said):
            Profile.read("slurm", file)
    file.write_text("maximum = 1\nunheard_of = 1\n")
    with pytest.raises(InputError, match="unheard_of"), Profile.read("slurm", file).start(2):
        pass


def test_a_scheduler_that_runs_already_is_used_and_when_it_is_lost_one_sentence_says_so(
    scheduler: Scheduler, tmp_path: Path
) -> None:
    eventually(scheduler.file.is_file)
    with connect(str(scheduler.file)) as engine:
        assert engine.where == scheduler.address
        parts = spread(names, Share(2, 3), 1, executor=engine.executor, retries=0)
        assert parts == [part.take(THINGS) for part in Share(2, 3).split(4)]
        with pytest.raises(InputError, match="one and another cannot be mixed"):
            spread(refusing, Share(), 1, executor=engine.executor, retries=0)
        with pytest.raises(ZeroDivisionError):
            spread(breaking, Share(), 1, executor=engine.executor, retries=0)
        mark = tmp_path / "begun"
        threading.Thread(target=lambda: (eventually(mark.exists), scheduler.stop(0)), daemon=True).start()
        with pytest.raises(ExportError, match=r"does not answer any more.*what was finished is kept"):
            spread(functools.partial(waiting, mark), Share(), 1, executor=engine.executor, retries=0)
        with pytest.raises(ExportError, match="does not answer any more"):
            spread(names, Share(), 1, executor=engine.executor, retries=0)


@pytest.mark.soak
def test_the_share_of_a_worker_that_was_killed_is_begun_again(tmp_path: Path) -> None:
    with connect("local", 2, retries=1) as engine:
        task = functools.partial(dying, tmp_path, 1)
        parts = spread(task, Share(), engine.workers, executor=engine.executor, retries=0)
        assert sorted(thing for part in parts for thing in part) == THINGS
        with pytest.raises(ExportError, match=r"worker was lost .*what was finished is kept"):
            spread(functools.partial(dying, tmp_path, 9), Share(), 2, executor=engine.executor, retries=0)


@pytest.mark.soak
def test_jobs_of_a_batch_system_come_and_go(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With an sbatch of our own, which runs the job on this machine."""
    for name, text in {
        "sbatch": f'#!/bin/sh\nsh "$1" >>{tmp_path}/log 2>&1 &\necho $! >>{tmp_path}/jobs\necho "Submitted batch job $!"\n',
        "scancel": f'#!/bin/sh\necho "$@" >>{tmp_path}/cancelled\nkill "$@"\n',
    }.items():
        (tmp_path / name).write_text(text)
        (tmp_path / name).chmod(stat.S_IRWXU)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "p.toml").write_text('maximum = 1\nmemory = "2GB"\ninterface = "lo"\n')
    with connect("slurm:p.toml") as engine:
        assert engine.workers == 1
        parts = spread(names, Share(), engine.workers, executor=engine.executor, retries=0)
        assert sorted(thing for part in parts for thing in part) == THINGS
    assert (tmp_path / "jobs").read_text().count("\n") >= 1

"""Locks on files: alone among processes, free after a kill, shared with readers who may not write, told where there are none."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from tessera_core._utils import locks
from tessera_core._utils.locks import alone, locked, reading

HOLDER = (
    "import sys, time\n"
    "from pathlib import Path\n"
    "from tessera_core._utils.locks import alone\n"
    "with alone(Path(sys.argv[1])):\n"
    "    print('held', flush=True)\n"
    "    time.sleep(60)\n"
)


def test_another_process_keeps_it_until_it_is_killed(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    process = subprocess.Popen([sys.executable, "-c", HOLDER, str(path)], stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        with pytest.raises(BlockingIOError), alone(path, wait=False):
            raise AssertionError("two at once")
        process.kill()
        with alone(path):
            pass
    finally:
        process.kill()
        process.wait()


def test_what_happens_inside_is_not_taken_for_a_held_lock(tmp_path: Path) -> None:
    with pytest.raises(KeyError), alone(tmp_path / "lock"):
        raise KeyError("of the work")
    with alone(tmp_path / "lock", wait=False):
        pass


def test_a_reader_waits_for_the_writer_and_sees_all_of_its_line(tmp_path: Path) -> None:
    path = tmp_path / "log"
    path.write_bytes(b"one\n")
    seen: list[bytes] = []

    def look() -> None:
        with reading(path) as file:
            seen.append(file.read())

    with path.open("r+b") as file, locked(file):
        file.seek(0, os.SEEK_END)
        file.write(b"tw")
        file.flush()
        thread = threading.Thread(target=look)
        thread.start()
        thread.join(0.2)
        assert thread.is_alive()
        file.write(b"o\n")
    thread.join(20)
    assert seen == [b"one\ntwo\n"]


def test_reading_changes_nothing(tmp_path: Path) -> None:
    path = tmp_path / "log"
    path.write_bytes(b"one\n")
    os.utime(path, ns=(1, 1))
    with reading(path) as file:
        assert file.read() == b"one\n"
    assert path.stat().st_mtime_ns == 1
    assert sorted(tmp_path.iterdir()) == [path]
    with pytest.raises(FileNotFoundError), reading(tmp_path / "none"):
        pass


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="needs enforced permissions")
def test_who_may_only_read_reads(tmp_path: Path) -> None:
    path = tmp_path / "log"
    path.write_bytes(b"one\n")
    path.chmod(0o400)
    with reading(path) as file:
        assert file.read() == b"one\n"


@pytest.mark.parametrize("number", [errno.EBADF, errno.ENOLCK])
def test_a_file_system_without_locks_is_told_to_writers_and_does_not_stop_readers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    # What the kernel answers on some network shares; there is none to ask here.
    def refuse(*_: object, **__: object) -> bool:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(locks, "lock_descriptor", refuse)
    path = tmp_path / "log"
    path.write_bytes(b"one\n")
    with reading(path) as file:
        assert file.read() == b"one\n"
    with pytest.raises(OSError, match="network shares" if number == errno.ENOLCK else "descriptor"), alone(path):
        pass


def test_a_passing_lock_lets_one_in_at_a_time_and_leaves_no_file(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    inside: list[int] = []
    most: list[int] = []

    def come(number: int) -> None:
        for _ in range(20):
            with alone(path, passing=True):
                inside.append(number)
                most.append(len(inside))
                inside.remove(number)

    threads = [threading.Thread(target=come, args=(number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert most == [1] * 120
    assert not path.exists()

"""Several processes on one home: what each tells, orders between them, and what a dead one leaves."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tessera_core.hosting import audit, processes
from tessera_core.hosting.people import Person
from tessera_core.hosting.processes import Registry, Seated


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The home that all processes of a test serve."""
    monkeypatch.setenv("TESSERA_HOME", str(tmp_path))
    return tmp_path


def test_each_sees_the_others_and_a_dead_one_is_cleared_away(home: Path) -> None:
    mine = Registry(8501)
    seat = Seated(name="s", person="p", called="visitor 1", role="visitor", how="browser", seen=1.0, since=0.5)
    mine.tell(seats=(seat,))
    code = (
        "import sys; from tessera_core.hosting.processes import Registry; r = Registry(8502);"
        "r.tell(memory_mb=7.0); print(r.name, len(r.others()[0].seats), flush=True); sys.stdin.read()"
    )
    other = subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert other.stdout is not None
    name, seats = other.stdout.readline().split()
    assert (seats, [one.name for one in mine.others()]) == ("1", [name])
    assert [one.port for one in mine.all()] == [8501, 8502]
    mine.order(name, "drain")
    other.kill()
    other.wait()
    assert mine.others() == []
    assert not list((home / "server").glob(f"{name}*"))
    mine.close()
    assert Registry().others() == []
    assert [path.name for path in (home / "server").iterdir()] == []


def test_orders_are_followed_once_and_in_their_order() -> None:
    giver, taker = Registry(), Registry()
    for registry in (giver, taker):
        registry.tell()
    for number in range(5):
        giver.order(taker.name, "cancel", str(number))
    giver.order(taker.name, "drain")
    assert taker.orders() == [*(("cancel", str(number)) for number in range(5)), ("drain", "")]
    assert taker.orders() == giver.orders() == []


def test_an_order_leads_nowhere_else(home: Path) -> None:
    registry = Registry()
    registry.tell()
    registry.order("../../outside", "drain")
    assert not (home.parent / "outside.orders").exists()


def test_a_notice_is_one_for_all_and_can_be_taken_back() -> None:
    assert processes.notice() == ""
    processes.put_notice("  Back at noon  ")
    assert processes.notice() == "Back at noon"
    assert Registry().others() == []
    processes.put_notice("")
    assert processes.notice() == ""


def test_events_say_who_when_and_what_and_no_address_unless_asked(home: Path) -> None:
    audit.note("came in", Person("c0ffee" * 6), "192.0.2.7")
    audit.note("took projects along", Person("k", "teacher", "Tess"), "192.0.2.7", projects=2)
    newest, oldest = audit.events()
    assert (newest["who"], newest["role"], newest["what"], newest["projects"]) == (
        "Tess",
        "teacher",
        "took projects along",
        2,
    )
    assert oldest["who"].startswith("visitor ")
    written = b"".join(path.read_bytes() for path in (home / "audit").iterdir())
    assert b"c0ffee" not in written
    assert b"192.0.2.7" not in written
    (home / "server.toml").write_text("[audit]\naddresses = true\n")
    audit.note("came in", Person("x"), "192.0.2.7")
    assert next(iter(audit.events()))["address"] == "192.0.2.7"
    if os.name == "posix":
        assert all(path.stat().st_mode & 0o077 == 0 for path in (home / "audit").iterdir())


def test_old_days_are_forgotten_and_torn_lines_left_out(home: Path) -> None:
    folder = home / "audit"
    folder.mkdir()
    for day in ("2020-01-01", "2020-03-01"):
        (folder / f"{day}.jsonl").write_text('{"what": "old"}\n')
    (folder / "notes.txt").write_text("mine")
    audit.note("came in", Person("x"))
    assert sorted(path.name for path in folder.iterdir())[-1] == "notes.txt"
    assert [event["what"] for event in audit.events()] == ["came in"]
    (path,) = folder.glob("*.jsonl")
    with path.open("ab") as file:
        file.write(b'{"what": "to')
    assert [event["what"] for event in audit.events()] == ["came in"]

"""What the tests cost, by room and by file: ``python -m pytest -p tests.cost -q -m "not soak"``, in one process.

Processor time is that of the tests and of all that they start (servers, browsers, programs); wall time is what a watch says.
Where a file's wall time is far above its processor time, it waits. ``TESSERA_COST`` names a file for each test's costs, as JSON.
"""

from __future__ import annotations

import json
import os
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import psutil
import pytest

DEAREST = 30


class Cost(NamedTuple):
    """How much of each has gone by: processor seconds and wall seconds."""

    cpu_s: float
    wall_s: float


def so_far() -> Cost:
    """What this process and all that it started, ended or not, have used until now."""
    me = psutil.Process()
    cpu_s = 0.0
    for process in (me, *me.children(recursive=True)):
        try:
            spent = process.cpu_times()
        except psutil.NoSuchProcess:
            continue
        cpu_s += spent.user + spent.system + getattr(spent, "children_user", 0) + getattr(spent, "children_system", 0)
    return Cost(cpu_s, time.monotonic())


class Meter:
    """Costs of each test, with what is made and taken away for it."""

    def __init__(self) -> None:
        self.tests: dict[str, Cost] = {}

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> Iterator[None]:
        """Read both clocks around a test."""
        before = so_far()
        result = yield
        after = so_far()
        # A helper that outlived its parent is no longer counted: a little less, never less than nothing.
        self.tests[item.nodeid] = Cost(max(after.cpu_s - before.cpu_s, 0), after.wall_s - before.wall_s)
        return result

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        """The table of rooms and that of the dearest files."""
        files, rooms = self.by(lambda name: name), self.by(lambda name: name.rpartition("/")[0])
        terminalreporter.section("what the tests cost")
        terminalreporter.line(f"{'':50} {'tests':>6} {'CPU s':>7} {'wall s':>7}")
        for name, (count, cost) in [*rooms.items(), *list(files.items())[:DEAREST]]:
            terminalreporter.line(f"{name:50} {count:6} {cost.cpu_s:7.1f} {cost.wall_s:7.1f}")
        if path := os.environ.get("TESSERA_COST"):
            Path(path).write_text(json.dumps(self.tests, indent=1), encoding="utf-8")

    def by(self, key: Callable[[str], str]) -> dict[str, tuple[int, Cost]]:
        """Number of tests and their costs, summed by what ``key`` makes of a file's name, the dearest first."""
        counts: Counter[str] = Counter()
        cpu_s: Counter[str] = Counter()
        wall_s: Counter[str] = Counter()
        for test, cost in self.tests.items():
            name = key(test.partition("::")[0])
            counts[name] += 1
            cpu_s[name] += cost.cpu_s
            wall_s[name] += cost.wall_s
        return {name: (counts[name], Cost(cpu_s[name], wall_s[name])) for name, _ in wall_s.most_common()}


def pytest_configure(config: pytest.Config) -> None:
    """Measure."""
    config.pluginmanager.register(Meter())

"""Two threads that load modules which import each other: each gets them complete."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

PROGRAM = """
import sys, threading
if sys.argv[1] == "one":
    from tessera_core._utils.loading import one_at_a_time
    one_at_a_time()
    one_at_a_time()
said = []
def load(name):
    try:
        module = __import__(name)
        said.append(module.other.COMPLETE)
    except Exception as error:
        said.append(str(error))
threads = [threading.Thread(target=load, args=(name,)) for name in ("left", "right", "left", "right")]
[thread.start() for thread in threads]
[thread.join(30) for thread in threads]
print(*said, sep=";")
"""
# Each is complete a moment after the other has been asked for, whichever is asked first.
MODULE = """
import time
time.sleep(.3)
import {other} as other
time.sleep(.3)
COMPLETE = "complete"
"""


@pytest.mark.parametrize("way", ["one", "all"])
def test_modules_that_import_each_other_are_complete(way: str, root: Path, tmp_path: Path) -> None:
    for name, other in (("left", "right"), ("right", "left")):
        (tmp_path / f"{name}.py").write_text(MODULE.format(other=other), encoding="utf-8")
    said = subprocess.run(
        [sys.executable, "-c", PROGRAM, way],
        cwd=tmp_path,
        env={"PYTHONPATH": f"{tmp_path}:{root}", "PATH": ""},
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    complete = said.strip().split(";") == ["complete"] * 4
    # Without the one lock Python lets a thread through too early: else this would prove nothing.
    assert complete is (way == "one"), said


def test_a_failed_import_says_what_it_always_said_and_blocks_nobody() -> None:
    code = """
import threading
from tessera_core._utils.loading import one_at_a_time
one_at_a_time()
try:
    import no_such_module
except ModuleNotFoundError as error:
    print(error, error.name)
def other():
    import colorsys
    print(colorsys.rgb_to_hsv(0, 0, 0))
thread = threading.Thread(target=other); thread.start(); thread.join(10)
"""
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert said.split("\n")[:2] == ["No module named 'no_such_module' no_such_module", "(0.0, 0.0, 0)"]


def test_what_is_loaded_is_found_while_another_thread_loads(root: Path, tmp_path: Path) -> None:
    (tmp_path / "slow.py").write_text("import builtins; builtins.go.wait(20)", encoding="utf-8")
    code = """
import builtins, importlib, json, sys, threading, time
from tessera_core._utils.loading import one_at_a_time
one_at_a_time()
builtins.go = threading.Event()
other = threading.Thread(target=lambda: __import__("slow"))
other.start()
while "slow" not in sys.modules:
    time.sleep(.01)
importlib.import_module("json")
print(other.is_alive())
builtins.go.set()
"""
    env = {"PYTHONPATH": f"{tmp_path}:{root}", "PATH": ""}
    said = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True, check=True).stdout
    assert said.strip() == "True"

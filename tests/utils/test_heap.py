"""What was freed goes back to the system, in a process that is told so."""

from __future__ import annotations

import subprocess
import sys

import pytest

# Megabytes that remain of 8 arrays of 8 MB, freed one after the other in as many threads, with smaller ones that stay in between.
REMAINS = """
import sys, threading
from pathlib import Path
from tessera_core._utils.heap import give_back
told = give_back() if sys.argv[1] == "told" else False
kept = []

def own():
    text = Path("/proc/self/status").read_text()
    return int(text.split("RssAnon:")[1].split()[0]) / 1024

def work():
    for size in range(2, 18):
        block = bytearray(size << 20)
        kept.append(bytearray(100_000))
        del block

before = own()
threads = [threading.Thread(target=work) for _ in range(6)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
print(told, own() - before - sum(map(len, kept)) / 2**20)
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")
def test_what_was_freed_is_not_kept() -> None:
    told, remains = subprocess.run(
        [sys.executable, "-c", REMAINS, "told"], capture_output=True, text=True, check=True
    ).stdout.split()
    if told == "False":
        pytest.skip("not the library of GNU")
    assert float(remains) < 8

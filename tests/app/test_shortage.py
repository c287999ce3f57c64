"""A computer with too little memory: told in a sentence, and what needs no learning goes on working."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tessera_core.errors import InputError, want_of_memory
from tessera_core.project.project import Project

# What a package does when the loading of its libraries fails.
BROKEN = """
raise ImportError("libopenblas.so: failed to map segment from shared object: Cannot allocate memory")
"""
VISIT = """
import sys
from streamlit.runtime.pages_manager import PagesManager
from streamlit.testing.v1 import AppTest
from tessera_core.project import library
from tessera_core.ui import state

class Visited:
    def __call__(self, *args, **kwargs):
        return PagesManager(*args, **kwargs)

from streamlit.testing.v1 import app_test
PagesManager.uses_pages_directory = False
app_test.PagesManager = Visited()
app = AppTest.from_file(sys.argv[1], default_timeout=60)
app.query_params["project"] = sys.argv[2]
for page in ("label", "label", "data"):
    app.switch_page(f"pages/{page}.py").run()
    print(page, "|", *(error.value for error in app.error))
"""


@pytest.mark.parametrize(("package", "told"), [("sklearn", True), ("torch", False)])
def test_a_failed_loading_is_told_where_the_package_is_needed_and_other_pages_work(
    root: Path, home: Path, project: Project, tmp_path: Path, package: str, told: bool
) -> None:
    (tmp_path / package).mkdir()
    (tmp_path / package / "__init__.py").write_text(BROKEN)
    environment = os.environ | {"PYTHONPATH": f"{tmp_path}:{root}", "TESSERA_HOME": str(home)}
    command = [sys.executable, "-c", VISIT, str(root / "app.py"), project.folder.name]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120, check=True)
    said = [line.partition(" |")[2].strip() for line in done.stdout.splitlines() if " |" in line]
    assert all(("This computer has run out of memory" in line) == told for line in said[:2]), said
    assert said[2] == ""


@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        OSError(errno.ENOMEM, "Cannot allocate memory"),
        ImportError("libtorch_cpu.so: failed to map segment from shared object: Cannot allocate memory"),
        RuntimeError("[enforce fail at alloc_cpu.cpp:117] . DefaultCPUAllocator: can't allocate memory: you tried ..."),
        ValueError("std::bad_alloc"),
    ],
)
def test_what_libraries_say_for_want_of_memory_is_known(error: Exception) -> None:
    assert "run out of memory" in str(want_of_memory(error))
    wrapped = RuntimeError("while loading")
    wrapped.__cause__ = error
    assert want_of_memory(wrapped) == want_of_memory(error)


def test_pytorch_cannot_be_loaded_twice_after_it_failed() -> None:
    again = ImportError("`torch` can only be initialized once per process, so this module cannot be imported again")
    assert "stop Tessera Studio and start it again" in str(want_of_memory(again))


def test_want_of_memory_is_told_from_other_errors() -> None:
    assert want_of_memory(InputError("not enough")) is None
    assert want_of_memory(ImportError("No module named 'torch'")) is None
    circle = ValueError("a")
    circle.__cause__ = circle
    assert want_of_memory(circle) is None

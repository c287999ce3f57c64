"""What other systems than Linux do to the program, as far as it can be done to it here: encodings, names, calls that they lack."""

from __future__ import annotations

import ast
import io
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tessera_core._utils import atomic
from tessera_core.cli import main
from tessera_core.errors import ExportError, ProjectError
from tessera_core.project import library
from tessera_core.project.folders import new_folder
from tessera_core.project.project import Project
from tests.factories import landscape

# What Python has on Unix alone.
UNIX = {
    "os": {
        "chown", "fchmod", "fchown", "fork", "geteuid", "getgid", "getloadavg", "getpgid", "getuid", "killpg", "mkfifo",
        "nice", "posix_fallocate", "posix_fadvise", "pread", "pwrite", "sched_getaffinity", "setsid", "statvfs", "sysconf",
        "uname", "wait", "O_NOFOLLOW", "O_DIRECTORY", "O_CLOEXEC", "WNOHANG",
    },
    "signal": {"SIGKILL", "SIGHUP", "SIGUSR1", "SIGUSR2", "SIGPIPE", "SIGQUIT", "SIGALRM", "alarm", "setitimer"},
    "socket": {"AF_UNIX", "SO_REUSEPORT"},
}  # fmt: skip
# Measure a Linux machine by what that tells of itself.
LINUX = {"tessera_core/bench/load.py", "tessera_core/bench/scale.py"}
MODULES = {"fcntl", "resource", "pwd", "grp", "termios", "tty", "pty", "syslog"}


@pytest.fixture(scope="module")
def sources(root: Path) -> dict[str, ast.Module]:
    """Every module of the program."""
    paths = sorted([*(root / "tessera_core").rglob("*.py"), *(root / "pages").glob("*.py"), root / "app.py"])
    return {path.relative_to(root).as_posix(): ast.parse(path.read_text(encoding="utf-8")) for path in paths}


def _parents(tree: ast.Module) -> dict[ast.AST, ast.AST]:
    return {child: node for node in ast.walk(tree) for child in ast.iter_child_nodes(node)}


def _guarded(node: ast.AST, name: str, parents: dict[ast.AST, ast.AST]) -> bool:
    """Whether what is around it asks for the system or for the name, or goes on without it."""
    at = node
    while at in parents:
        at = parents[at]
        if isinstance(at, ast.Try) and any(
            "ImportError" in _caught(h) or "AttributeError" in _caught(h) for h in at.handlers
        ):
            return True
        if isinstance(at, ast.If | ast.IfExp | ast.BoolOp | ast.FunctionDef):
            asked = ast.unparse(at.test if isinstance(at, ast.If | ast.IfExp) else at)
            if f"hasattr(os, '{name}')" in asked or "os.name" in asked or "sys.platform" in asked:
                return True
        if isinstance(at, ast.FunctionDef):
            return False
    return False


def _caught(handler: ast.ExceptHandler) -> str:
    return ast.unparse(handler.type) if handler.type is not None else ""


def _unix_only(tree: ast.Module) -> Iterator[str]:
    parents = _parents(tree)
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            if node.attr in UNIX.get(node.value.id, ()) and not _guarded(node, node.attr, parents):
                yield f"line {node.lineno}: {ast.unparse(node)}"
        elif isinstance(node, ast.Import | ast.ImportFrom):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else [node.module or ""]
            for name in MODULES.intersection(names):
                if not _guarded(node, name, parents):
                    yield f"line {node.lineno}: import {name}"


def test_what_unix_alone_has_is_asked_for_first(sources: dict[str, ast.Module]) -> None:
    found = {path: list(_unix_only(tree)) for path, tree in sources.items() if path not in LINUX}
    assert {path: uses for path, uses in found.items() if uses} == {}


def _without_encoding(tree: ast.Module) -> Iterator[str]:
    for node in ast.walk(tree):
        if not isinstance(node, ast.Call):
            continue
        name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
        given = {keyword.arg for keyword in node.keywords}
        # What Linux tells of itself is plain.
        if "encoding" in given or None in given or "/proc/" in ast.unparse(node) or "/sys/" in ast.unparse(node):
            continue
        text = any(keyword.arg in ("text", "universal_newlines") for keyword in node.keywords)
        if (name == "read_text" and not node.args) or (name == "write_text" and len(node.args) == 1) or (
            name in ("run", "Popen", "check_output") and text
        ):  # fmt: skip
            yield f"line {node.lineno}: {ast.unparse(node)[:80]}"
        elif isinstance(node.func, ast.Name) and name == "open":
            mode = (
                node.args[1] if len(node.args) > 1 else next((k.value for k in node.keywords if k.arg == "mode"), None)
            )
            if mode is None or (isinstance(mode, ast.Constant) and "b" not in str(mode.value)):
                yield f"line {node.lineno}: {ast.unparse(node)[:80]}"


def test_no_text_is_read_or_written_in_the_encoding_of_a_system(sources: dict[str, ast.Module]) -> None:
    found = {path: list(_without_encoding(tree)) for path, tree in sources.items()}
    assert {path: uses for path, uses in found.items() if uses} == {}


@pytest.mark.parametrize("encoding", ["cp1252", "cp437", "ascii", "utf-16"])
@pytest.mark.parametrize("arguments", [["--help"], ["classify", "--help"], ["info", "Łąka² 場所"]])
def test_a_console_of_any_encoding_is_written_to(
    encoding: str, arguments: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    out, err = (io.TextIOWrapper(io.BytesIO(), encoding=encoding, errors="strict") for _ in range(2))
    monkeypatch.setattr(sys, "stdout", out)
    monkeypatch.setattr(sys, "stderr", err)
    try:
        code = main(arguments)
    except SystemExit as end:
        code = end.code
    assert code in (0, 2)
    out.flush()
    err.flush()
    said = out.buffer.getvalue() + err.buffer.getvalue()
    assert said
    assert b"Traceback" not in said.replace(b"\0", b"")


@pytest.mark.parametrize("number", [5, 32])
def test_a_file_that_another_program_holds_open_for_a_moment_is_replaced_all_the_same(
    number: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # As Windows refuses while a virus scanner or another tab reads it.
    refused, replace = [], os.replace

    def held(part: Path, target: Path) -> None:
        if len(refused) < 3:
            refused.append(error := PermissionError(13, "Access is denied"))
            error.winerror = number  # type: ignore[attr-defined]
            raise error
        replace(part, target)

    monkeypatch.setattr(atomic.os, "replace", held)
    target = tmp_path / "project.json"
    target.write_text("before", encoding="utf-8")
    with atomic.atomic_path(target) as part:
        part.write_text("after", encoding="utf-8")
    assert target.read_text(encoding="utf-8") == "after"
    assert len(refused) == 3
    assert [path.name for path in tmp_path.iterdir()] == ["project.json"]


def test_a_file_that_may_not_be_replaced_is_told_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def refused(*names: object) -> None:
        asked.append(names)
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(atomic.os, "replace", refused)
    with pytest.raises(ExportError, match="No permission"), atomic.atomic_path(tmp_path / "map.tif") as part:
        part.write_bytes(b"map")
    assert len(asked) == 1
    assert list(tmp_path.iterdir()) == []


# A home that is mounted read-only: whatever would write there is refused as the system refuses it.
READ_ONLY_HOME = """
import errno, os, sys
home = os.environ["TESSERA_HOME"]
WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT

def refuse(event, given):
    if event == "open":
        writes = isinstance(given[2], int) and given[2] & WRITES
    else:
        writes = event in ("os.mkdir", "os.rename", "os.remove", "os.rmdir", "os.symlink", "os.chmod", "os.utime")
    if writes and isinstance(given[0], (str, bytes)) and os.path.abspath(os.fsdecode(given[0])).startswith(home):
        raise OSError(errno.EROFS, "Read-only file system", os.fsdecode(given[0]))

sys.addaudithook(refuse)
from tessera_core.errors import TesseraError
from tessera_core.geocoding.gazetteer import search
from tessera_core.project import library
from tessera_core.project.project import Project

print(search("Nairobi")[0].country)
for what in (library.take_demo, lambda: Project.new("Mine"), lambda: library.recent()):
    try:
        print("done", what())
    except TesseraError as error:
        print("told", error)
"""


def test_a_home_that_is_read_only_is_told_in_a_sentence_and_what_needs_none_works(tmp_path: Path) -> None:
    home = tmp_path / "home"
    home.mkdir()
    environment = os.environ | {"TESSERA_HOME": str(home)}
    environment.pop("TESSERA_DEMO_SIZE", None)
    done = subprocess.run(
        [sys.executable, "-c", READ_ONLY_HOME], capture_output=True, text=True, encoding="utf-8", env=environment
    )
    assert done.returncode == 0, done.stderr
    country, demo, mine, recent = done.stdout.splitlines()
    assert country == "Kenya"
    for said in (demo, mine):
        assert said.startswith("told "), said
        assert re.search(r"Read-only file system|No permission", said), said
    assert recent == "done []"
    assert list(home.rglob("*")) == []


@settings(max_examples=25, deadline=None)
@given(st.text(min_size=1, max_size=80))
def test_names_that_differ_by_case_alone_get_folders_and_names_that_do_not(name: str) -> None:
    # As on Windows and macOS, where one of two such folders would be the other.
    with tempfile.TemporaryDirectory() as home:
        folders = [new_folder(one, Path(home)).name for one in (name, name.swapcase(), name.upper())]
    assert len({folder.casefold() for folder in folders}) == 3
    assert all(len(folder) <= 69 for folder in folders)


def test_two_projects_do_not_look_alike_by_case_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TESSERA_HOME", str(tmp_path))
    Project.new("Fens")
    assert library.free_name("FENS") == "FENS 2"
    assert library.free_name("Fen") == "Fen"


def test_a_path_that_is_too_long_for_the_system_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    deep = tmp_path
    while len(str(deep)) < 4200:
        deep = deep / ("d" * 200)
    monkeypatch.setenv("TESSERA_HOME", str(deep))
    with pytest.raises(ProjectError, match="too long"):
        Project.new("Mine")
    with pytest.raises(ExportError, match="too long"), atomic.atomic_path(deep / "map.tif") as part:
        part.write_bytes(b"map")


def test_what_a_project_writes_below_the_home_leaves_room_for_the_home(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Windows ends paths at 260 letters unless told otherwise; a home there is some 60 long."""
    monkeypatch.setenv("TESSERA_HOME", str(tmp_path))
    longest = []
    replace = os.replace

    def seen(part: str | os.PathLike[str], target: str | os.PathLike[str]) -> None:
        longest.extend([len(os.path.relpath(name, tmp_path)) for name in (part, target)])
        replace(part, target)

    monkeypatch.setattr(os, "replace", seen)
    project = Project.new("A name " * 30)
    raster = landscape(24)
    kept = raster.save(project.folder / "embeddings" / "2023")
    project.attach_embeddings(2023, kept, raster.provenance, raster.grid)
    longest += [len(str(path.relative_to(tmp_path))) for path in tmp_path.rglob("*")]
    assert 60 < max(longest) <= 190

"""What every test has: no way to the outside, and the folder beside a development checkout where there is one."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.sources.dclimate_store import Store as DClimateStore
    from tests.sources.world_store import WebStore

ROOT = Path(__file__).resolve().parents[1]
SHARED = ROOT.parent / "shared"
GUARD = Path(__file__).resolve().parent / "guard"
NOT_SHARED = "the folder ../shared (golden vectors and real data) is not beside this checkout"
# Nobody listens there; what asks a proxy for the outside (GDAL, object stores, browsers) is refused at once.
NOWHERE = "http://127.0.0.1:9"


def _guard_against_the_outside() -> Path:
    """Guard this process and all that it starts; returns the file that attempts are noted in."""
    handle, name = tempfile.mkstemp(prefix="tessera-guard-", suffix=".log")
    os.close(handle)
    os.environ["TESSERA_GUARD_LOG"] = name
    known = os.environ.get("PYTHONPATH")
    if str(GUARD) not in (known or "").split(os.pathsep):
        os.environ["PYTHONPATH"] = os.pathsep.join([str(GUARD), *([known] if known else [])])
    for variable in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
        os.environ[variable] = os.environ[variable.lower()] = NOWHERE
    os.environ["NO_PROXY"] = os.environ["no_proxy"] = "localhost,.localhost,127.0.0.1,::1"
    sys.path.insert(0, str(GUARD))
    try:
        import sitecustomize

        sitecustomize.install()
    finally:
        sys.path.remove(str(GUARD))
    return Path(name)


_ATTEMPTS = _guard_against_the_outside()


def _keep_bytecode() -> None:
    """Have Python keep what it compiles, here and in all that tests start, even where a machine asks it not to.

    Else every server and command of a test compiles all its packages anew: half of the processor time of its start.
    """
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    sys.dont_write_bytecode = False


_keep_bytecode()


def _compile_once() -> None:
    """Lay the kernels beside their source as the set-up does: tests have homes, and so caches, of their own."""
    from tessera_core._utils import native

    if native.find_compiler() is not None:
        # A compiler that does not work is none: NumPy does it then.
        with contextlib.suppress(OSError, subprocess.SubprocessError):
            native.lay_beside()


_compile_once()


# Rooms with files that take long: they begin, so that at the end nobody waits for one worker's last file.
LONG = ("browser", "app", "bench", "pretrain", "cli", "project", "session", "heads", "models", "assess", "ui")


def pytest_configure(config: pytest.Config) -> None:
    """Have pytest-xdist hand out files in our order, not by how many tests are in them."""
    if hasattr(config.option, "loadscopereorder"):
        config.option.loadscopereorder = False


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put the rooms of :data:`LONG` first, in that order."""
    rank = {name: number for number, name in enumerate(LONG)}
    items.sort(key=lambda item: rank.get(item.path.parent.name, len(rank)))


@pytest.fixture(autouse=True)
def no_outside() -> Iterator[Path]:
    """Fail the test during which anything tried to reach beyond this computer; the file that lists attempts."""
    before = _ATTEMPTS.stat().st_size
    yield _ATTEMPTS
    if _ATTEMPTS.stat().st_size > before:
        tried = _ATTEMPTS.read_bytes()[before:].decode("utf-8", "replace")
        pytest.fail(f"something tried to reach beyond this computer during this test:\n{tried}", pytrace=False)


def pytest_unconfigure() -> None:
    """Take the list of attempts away."""
    _ATTEMPTS.unlink(missing_ok=True)


@pytest.fixture(scope="session")
def shared() -> Path:
    """Folder with the golden vectors and real data that lie beside a development checkout."""
    if not (SHARED / "golden").is_dir():
        pytest.skip(NOT_SHARED)
    return SHARED


@pytest.fixture(scope="session")
def root() -> Path:
    """The repository's root."""
    return ROOT


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say once, loudly, what a run without ../shared has not proved."""
    skipped = [r for r in terminalreporter.stats.get("skipped", []) if NOT_SHARED in str(r.longrepr)]
    if not skipped:
        return
    terminalreporter.section("a second proof was not possible", sep="!", yellow=True, bold=True)
    terminalreporter.line(
        f"{len(skipped)} tests were skipped because ../shared (the authors' golden vectors, real tiles and label files) is not "
        "beside this checkout. Every encoder was still proved against tests/data/golden, made by tools/make_golden.py from "
        "docs/spec/model.md."
    )


@pytest.fixture(scope="session")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A published store of embeddings as a folder, written once; read-only."""
    from tests.sources import world_store

    return world_store.write_world(tmp_path_factory.mktemp("world") / "world.zarr")


@pytest.fixture(scope="session")
def small_demo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home whose cache holds the whole demo region of the tests' servers, made once for all workers; read-only."""
    from tessera_core._utils.locks import locked
    from tessera_core.project import library
    from tests.servers import DEMO_SIZE

    run = tmp_path_factory.getbasetemp()
    # Each worker has a folder of its own in that of the run.
    home = (run.parent if os.environ.get("PYTEST_XDIST_WORKER") else run) / "home-of-the-demo"
    home.mkdir(exist_ok=True)
    with open(home / "lock", "ab") as file, locked(file), pytest.MonkeyPatch.context() as patch:
        patch.setenv("TESSERA_HOME", str(home))
        patch.setenv("TESSERA_DEMO_SIZE", str(DEMO_SIZE))
        library.make_demo(lambda done, total, message: None, lambda: False)
    return home


@pytest.fixture
def few_trees(monkeypatch: pytest.MonkeyPatch) -> None:
    """Forests of 20 trees where a test names no number: what becomes of a forest's map needs no more."""
    from tessera_core.heads import HEADS, REGRESSION_HEADS

    for head in (HEADS["forest"], REGRESSION_HEADS["forest-regression"]):
        _, *others = head.__init__.__defaults__
        monkeypatch.setattr(head.__init__, "__defaults__", (20, *others))


@pytest.fixture
def quick_tries(monkeypatch: pytest.MonkeyPatch) -> None:
    """Waits between tries do not hold up the test."""
    from tessera_core.sources.remote import retry

    monkeypatch.setattr(retry, "FIRST_WAIT_S", 0.01)


@pytest.fixture
def web(world: Path, quick_tries: None) -> Iterator[WebStore]:
    """A server of that store on loopback, whose address is ``web.store``."""
    from tests.sources import world_store

    with world_store.serve(world.parent) as server:
        yield server


@pytest.fixture(scope="session")
def dclimate(tmp_path_factory: pytest.TempPathFactory) -> DClimateStore:
    """A store of the shape of the published 1.1/dclimate: repository, Zarr copy and registry; written once, read-only."""
    pytest.importorskip("icechunk")
    from tests.sources import dclimate_store

    return dclimate_store.write(tmp_path_factory.mktemp("dclimate"))

"""The notebooks of ``examples/`` run from top to bottom, are short, and are kept without what they printed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.sources.world_store import WebStore

NOTEBOOKS = sorted((Path(__file__).resolve().parents[1] / "examples").glob("*.ipynb"))


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_is_short_and_kept_without_outputs(path: Path) -> None:
    cells = [cell for cell in json.loads(path.read_text(encoding="utf-8"))["cells"] if cell["cell_type"] == "code"]
    assert cells
    assert all(cell["outputs"] == [] and cell["execution_count"] is None for cell in cells)
    lines = [line for cell in cells for line in "".join(cell["source"]).splitlines() if line.strip()]
    assert len(lines) < 40


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One home for all, so that the demo region is made once."""
    return tmp_path_factory.mktemp("home")


def _run(path: Path, folder: Path, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import nbformat
    from nbclient import NotebookClient

    monkeypatch.setenv("PYTHONPATH", str(root))
    monkeypatch.setenv("MPLBACKEND", "agg")
    notebook = nbformat.read(path, as_version=4)
    NotebookClient(notebook, timeout=1200, kernel_name="python3", resources={"metadata": {"path": folder}}).execute()


@pytest.mark.soak
@pytest.mark.parametrize("name", ["demo", "change", "few_shot"])
def test_a_notebook_of_the_demo_runs(
    name: str, home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, root: Path
) -> None:
    monkeypatch.setenv("TESSERA_HOME", str(home))
    _run(root / "examples" / f"{name}.ipynb", tmp_path, root, monkeypatch)


@pytest.mark.soak
def test_the_notebook_of_a_published_store_runs(
    web: WebStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, root: Path
) -> None:
    monkeypatch.setenv("TESSERA_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("TESSERA_STORE", web.store)
    _run(root / "examples" / "published.ipynb", tmp_path, root, monkeypatch)


@pytest.mark.soak
def test_the_notebook_of_the_belgian_tile_runs(
    shared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, root: Path
) -> None:
    monkeypatch.setenv("TESSERA_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("TESSERA_TILE", str(shared / "data" / "belgium-2018" / "dpixel"))
    _run(root / "examples" / "belgium.ipynb", tmp_path, root, monkeypatch)
    assert (tmp_path / "crops.tif").is_file()


def test_every_notebook_is_run_by_one_of_these() -> None:
    assert {path.stem for path in NOTEBOOKS} == {"demo", "change", "few_shot", "published", "belgium"}

"""The house rules of docs/architecture.md, checked on the import statements themselves."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

# A floor may import from floors with a smaller number, or from its own package. Modules not named here are the ground.
FLOORS = {
    "models": 1,
    "dpixels": 1,
    "labels": 1,
    "heads": 2,
    "analysis": 2,
    "render": 3,
    "sources": 4,
    "generate": 4,
    "assess": 4,
    "export": 4,
    "pretrain": 5,
    "demo": 5,
    "project_refs": 2,
    "project": 5,
    "place_request": 5,
    "library": 6,
    "loading": 6,
    "pack": 6,
    "mending": 6,
    "acquisition": 6,
    "embed": 7,
    "exploring": 6,
    "mapping": 7,
    "numbers_mapping": 6,
    "fusion": 5,
    "comparison": 7,
    "validation": 6,
    "bench": 6,
    "cli": 8,
    "ui": 8,
    "__main__": 9,
}


def _modules(root: Path) -> Iterator[tuple[str, Path]]:
    for path in sorted((root / "tessera_core").rglob("*.py")):
        parts = list(path.relative_to(root).with_suffix("").parts)
        yield ".".join(parts[:-1] if parts[-1] == "__init__" else parts), path


def _imports(path: Path, *, top_level_only: bool = False) -> Iterator[str]:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    nodes = tree.body if top_level_only else list(ast.walk(tree))
    for node in nodes:
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def _part(module: str) -> str:
    pieces = module.split(".")
    return pieces[1] if len(pieces) > 1 and pieces[0] == "tessera_core" else ""


def test_only_the_ui_package_imports_streamlit(root: Path) -> None:
    guilty = [
        name
        for name, path in _modules(root)
        if not name.startswith("tessera_core.ui") and any(m.split(".")[0] == "streamlit" for m in _imports(path))
    ]
    assert guilty == []


def test_imports_only_go_down(root: Path) -> None:
    wrong = []
    for name, path in _modules(root):
        floor = FLOORS.get(_part(name), 0)
        for imported in _imports(path):
            if not imported.startswith("tessera_core.") or _part(imported) == _part(name):
                continue
            if FLOORS.get(_part(imported), 0) >= max(floor, 1):
                wrong.append(f"{name} imports {imported}")
    assert sorted(set(wrong)) == []


def test_modules_have_no_import_cycle(root: Path) -> None:
    names = dict(_modules(root))
    edges = {
        name: {m for m in _imports(path, top_level_only=True) if m in names and m != name}
        for name, path in names.items()
    }
    done: set[str] = set()

    def visit(name: str, trail: tuple[str, ...]) -> None:
        assert name not in trail, " -> ".join([*trail, name])
        if name in done:
            return
        for other in edges[name]:
            # A package's __init__ re-exporting its own modules is no cycle in practice.
            if not name.startswith(other + "."):
                visit(other, (*trail, name))
        done.add(name)

    for name in names:
        visit(name, ())


@pytest.mark.parametrize("module", ["tessera_core.cli", "tessera_core.raster", "tessera_core.errors"])
def test_light_modules_load_nothing_heavy(module: str) -> None:
    heavy = "torch sklearn umap leafmap streamlit rasterio plotly pandas"
    code = f"import sys, {module}; print(*[m for m in {heavy.split()!r} if m in sys.modules])"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.strip() == ""


def test_the_overview_of_commands_matches_the_modules(root: Path) -> None:
    from tessera_core.cli import COMMANDS

    sources = (root / "tessera_core" / "cli").glob("*.py")
    files = {path.stem for path in sources if "\ndef add_arguments(" in path.read_text(encoding="utf-8")}
    assert {name.replace("-", "_") for name in COMMANDS} == files


def test_pixels_become_areas_in_one_place(root: Path) -> None:
    # A side of a pixel is a length; every hectare and square kilometre is counted in tessera_core.areas.
    guilty = [
        f"{name}: {line.strip()}"
        for name, path in _modules(root)
        if name not in ("tessera_core.areas", "tessera_core.grid")
        for line in path.read_text(encoding="utf-8").splitlines()
        if "pixel_area_m2" in line.replace("pixel_area_m2**0.5", "")
    ]
    assert guilty == []

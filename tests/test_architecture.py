"""The house rules of docs/architecture.md, checked on the import statements themselves, those inside functions included.

1. Only ``ui/`` imports Streamlit.
2. Imports go down: ground < workshops < project < session < the doors (ui, cli, bench).
3. No module imports itself in a circle, and no room does; the ground is one room.
4. ``_utils`` is private to the package, and a package of modules says in ``__all__`` what is public.
5. What starts quickly loads nothing heavy.
6. Every command has a module, and every module is a command.
"""

from __future__ import annotations

import ast
import functools
import re
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

from tools.house import home_made_names, modules, statements

# The rooms of each floor, from the ground up. A module may import from its own floor and from those below it.
FLOORS = (
    {
        "errors",
        "types",
        "hosting",
        "gate",
        "raster",
        "grid",
        "cells",
        "region",
        "wide_region",
        "areas",
        "provenance",
        "observations",
        "periods",
        "language",
        "_utils",
    },
    {
        "models",
        "dpixels",
        "labels",
        "heads",
        "analysis",
        "render",
        "sources",
        "geocoding",
        "imagery",
        "inference",
        "assess",
        "cluster",
        "export",
        "interop",
        "pretrain",
    },
    {"project", "lessons", "classroom", "api"},
    {"session"},
    {"ui", "cli", "bench"},
    {"__main__"},
)
FACE = "tessera_core"


_modules = functools.cache(modules)


@functools.cache
def _imports(path: Path) -> frozenset[str]:
    """Dotted names that a file imports; of ``from a import b`` both ``a`` and ``a.b``."""
    found: set[str] = set()
    for node in statements(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        else:
            assert node.level == 0, f"{path} imports relatively"
            module = node.module or ""
            found |= {module, *(f"{module}.{alias.name}" for alias in node.names)}
    return frozenset(found)


def _inner(root: Path) -> dict[str, set[str]]:
    """Module -> modules of ours that it imports, each by its longest name."""
    modules = _modules(root)
    edges: dict[str, set[str]] = {}
    for name, path in modules.items():
        found = {imported for imported in _imports(path) if imported in modules} - {name}
        # `from a import b` of a module b needs a only to find it.
        edges[name] = {one for one in found if not any(other.startswith(one + ".") for other in found)}
    return edges


def _room(module: str) -> str:
    pieces = module.split(".")
    return pieces[1] if len(pieces) > 1 else FACE


def _whole_room(module: str) -> str:
    """The room, with the ground as one."""
    room = _room(module)
    return "ground" if room in FLOORS[0] else room


def _floor(room: str) -> int:
    for number, rooms in enumerate(FLOORS):
        if room in rooms:
            return number
    raise AssertionError(f"tessera_core/{room} stands on no floor; say in tests/test_architecture.py where it belongs")


def _circles(edges: Mapping[str, set[str]]) -> list[list[str]]:
    """Groups of two or more nodes that reach each other (Tarjan 1972)."""
    number: dict[str, int] = {}
    low: dict[str, int] = {}
    stack: list[str] = []
    found: list[list[str]] = []

    def visit(node: str) -> None:
        number[node] = low[node] = len(number)
        stack.append(node)
        for other in edges.get(node, ()):
            if other not in number:
                visit(other)
                low[node] = min(low[node], low[other])
            elif other in stack:
                low[node] = min(low[node], number[other])
        if low[node] == number[node]:
            group = stack[stack.index(node) :]
            del stack[stack.index(node) :]
            if len(group) > 1:
                found.append(sorted(group))

    for node in edges:
        if node not in number:
            visit(node)
    return found


def test_only_the_ui_package_imports_streamlit(root: Path) -> None:
    guilty = [
        name
        for name, path in _modules(root).items()
        if not name.startswith(f"{FACE}.ui") and any(m.split(".")[0] == "streamlit" for m in _imports(path))
    ]
    assert guilty == []


def test_imports_go_down(root: Path) -> None:
    wrong = [
        f"{name} imports {imported}"
        for name, others in _inner(root).items()
        for imported in others
        if FACE not in (_room(name), _room(imported)) and _floor(_room(imported)) > _floor(_room(name))
    ]
    assert wrong == []


def test_no_module_and_no_room_imports_itself_in_a_circle(root: Path) -> None:
    edges = _inner(root)
    assert _circles(edges) == []
    rooms: dict[str, set[str]] = {}
    for name, others in edges.items():
        if _room(name) != FACE:
            mine = _whole_room(name)
            rooms.setdefault(mine, set()).update({_whole_room(o) for o in others} - {FACE, mine})
    assert _circles(rooms) == []


def test_the_two_circles_there_once_were_would_be_found() -> None:
    assert _circles({"npy": {"geotiff"}, "geotiff": {"npy"}, "other": {"npy"}}) == [["geotiff", "npy"]]
    hidden = ast.parse("import a\n\ndef f():\n    from b import c\n\nif TYPE_CHECKING:\n    import d\n")
    assert {ast.unparse(node) for node in statements(hidden)} == {"import a", "from b import c"}


def test_private_helpers_stay_private(root: Path) -> None:
    outside = [path for folder in ("pages", "examples") for path in (root / folder).glob("*.py")] + [root / "app.py"]
    guilty = [str(path.name) for path in outside if any(f"{FACE}._utils" in name for name in _imports(path))]
    assert guilty == []


@pytest.mark.parametrize("module", [FACE, f"{FACE}.cli", f"{FACE}.raster", f"{FACE}.errors"])
def test_light_modules_load_nothing_heavy(module: str) -> None:
    heavy = "torch sklearn umap leafmap streamlit rasterio plotly pandas xarray"
    code = f"import sys, {module}; print(*[m for m in {heavy.split()!r} if m in sys.modules])"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.strip() == ""


def test_the_frame_of_all_pages_waits_for_no_learning() -> None:
    heavy = "torch sklearn scipy umap leafmap rasterio matplotlib xarray zarr geotessera"
    code = f"import sys, {FACE}.ui.shell; print(*[m for m in {heavy.split()!r} if m in sys.modules])"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.strip() == ""


def test_the_core_names_no_page(root: Path) -> None:
    # The command line and notebooks have no pages: an error says by its hint where it can be put right.
    titles = re.findall(
        r'st\.Page\([^)]*title=t\("([^"]+)"', (root / FACE / "ui" / "shell.py").read_text(encoding="utf-8")
    )
    assert len(set(titles)) >= 11
    named = re.compile(rf"\b[Pp]ages? [\"']?({'|'.join(titles)})\b")
    guilty = [
        f"{name}: {line.strip()}"
        for name, path in _modules(root).items()
        if _room(name) not in ("ui", "bench")
        for line in path.read_text(encoding="utf-8").splitlines()
        if named.search(line)
    ]
    assert guilty == []


def test_the_words_are_those_of_the_field(root: Path) -> None:
    assert home_made_names(root) == []


def test_a_home_made_word_would_be_found(tmp_path: Path) -> None:
    (tmp_path / FACE).mkdir()
    (tmp_path / FACE / "doctor.py").write_text(
        "# careful\nwitness_px = f'{doubts}'\nclass DonorMap: 'story'\nfusion = 1\n"
    )
    (tmp_path / FACE / "map.js").write_text("// careful\nconst colourRamp = 'lattice'; /* mend\nit */ let parity;\n")
    (tmp_path / FACE / "analysis").mkdir()
    (tmp_path / FACE / "analysis" / "postprocess.py").write_text("parity = 1\n")
    found = {(str(path.relative_to(tmp_path / FACE)), name) for path, name in home_made_names(tmp_path)}
    assert found == {
        *(("doctor.py", name) for name in ("doctor", "witness_px", "doubts", "DonorMap", "fusion")),
        *(("map.js", name) for name in ("colourRamp", "parity")),
    }


def test_the_overview_of_commands_matches_the_modules(root: Path) -> None:
    from tessera_core.cli import COMMANDS

    sources = (root / FACE / "cli").glob("*.py")
    files = {path.stem for path in sources if "\ndef add_arguments(" in path.read_text(encoding="utf-8")}
    assert {name.replace("-", "_") for name in COMMANDS} == files


def test_pixels_become_areas_in_one_place(root: Path) -> None:
    # A side of a pixel is a length; every hectare and square kilometre is counted in tessera_core.areas.
    guilty = [
        f"{name}: {line.strip()}"
        for name, path in _modules(root).items()
        if name not in (f"{FACE}.areas", f"{FACE}.grid")
        for line in path.read_text(encoding="utf-8").splitlines()
        if "pixel_area_m2" in line.replace("pixel_area_m2**0.5", "")
    ]
    assert guilty == []


def test_a_word_of_signatures_is_defined_once(root: Path) -> None:
    # Window stood for pixels and for slices, Floats for three dtypes, as long as modules made their own.
    from tessera_core import types

    names = set(types.__all__)
    guilty = [
        f"{name}: {target.id}"
        for name, path in _modules(root).items()
        if name != f"{FACE}.types"
        for node in ast.parse(path.read_text(encoding="utf-8")).body
        if isinstance(node, ast.Assign)
        for target in node.targets
        if isinstance(target, ast.Name) and target.id in names
    ]
    assert guilty == []


def test_no_download_draws_the_page_anew(root: Path) -> None:
    # It would be for nothing, and lose what stands on a page that waits for it.
    guilty = [
        f"{path.relative_to(root)}:{node.lineno}"
        for path in _modules(root).values()
        if "download_button" in (text := path.read_text(encoding="utf-8"))
        for node in ast.walk(ast.parse(text))
        if isinstance(node, ast.Call)
        and ast.unparse(node.func).endswith(".download_button")
        and not any(one.arg == "on_click" and ast.unparse(one.value) == "'ignore'" for one in node.keywords)
    ]
    assert guilty == []


def test_tests_take_nothing_from_other_tests(root: Path) -> None:
    # What two tests need is built in tests/factories.py or in a helper beside them.
    guilty = [
        f"{path.relative_to(root)} imports {name}"
        for path in sorted((root / "tests").rglob("*.py"))
        for name in _imports(path)
        if name.startswith("tests.") and any(p == "conftest" or p.startswith("test_") for p in name.split("."))
    ]
    assert guilty == []


def test_fewer_and_fewer_tests_build_their_rasters_by_hand(root: Path) -> None:
    # tests/factories.py has rasters for most needs. May only fall; those left want codes and scales of their own.
    by_hand = {
        str(path.relative_to(root))
        for path in (root / "tests").rglob("*.py")
        if path.name != "factories.py" and re.search(r"\bEmbeddingRaster\(", path.read_text(encoding="utf-8"))
    }
    assert len(by_hand) <= 23, by_hand

"""What the package imports is what pyproject.toml declares, and every bound says why it stands there."""

from __future__ import annotations

import ast
import re
import sys
import tomllib
from importlib.metadata import packages_distributions
from pathlib import Path

# Declared and imported nowhere by name, with the reason.
UNSEEN: dict[str, str] = {}
# Imported and declared nowhere, with the reason.
BESIDE = {"jupyter_server_proxy": "whoever runs a hub has it; without it the command says how it is installed"}


def _plain(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def _imported(root: Path) -> dict[str, str]:
    """First part of a dotted name -> a file that imports it; the benches may use what the extra ``bench`` brings."""
    found: dict[str, str] = {}
    files = [*(root / "tessera_core").rglob("*.py"), *(root / "pages").glob("*.py"), root / "app.py"]
    for path in files:
        if "bench" in path.parts:
            continue
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            names = []
            if isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom) and node.module:
                names = [node.module]
            found |= {name.split(".")[0]: path.relative_to(root).as_posix() for name in names}
    return {name: file for name, file in found.items() if name not in sys.stdlib_module_names | {"tessera_core"}}


def _declared(root: Path) -> set[str]:
    """What the package needs: always, for making embeddings, and for a cluster."""
    project = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    extras = project["optional-dependencies"]
    lines = [*project["dependencies"], *extras["generate"], *extras["cluster"]]
    return {_plain(re.split(r"[<>=!~;\[ ]", line)[0]) for line in lines}


def test_what_is_imported_is_declared_and_the_other_way_round(root: Path) -> None:
    distributions, declared = packages_distributions(), _declared(root)
    used = {module: {_plain(name) for name in distributions.get(module, [])} for module in _imported(root)}
    files = _imported(root)
    missing = [
        f"{files[module]} imports {module}"
        for module, names in used.items()
        if not names & declared and module not in BESIDE
    ]
    assert missing == []
    idle = declared - set().union(*used.values()) - set(UNSEEN)
    assert idle == set()


def test_every_bound_has_its_reason(root: Path) -> None:
    text = (root / "pyproject.toml").read_text(encoding="utf-8")
    block = text[text.index("\ndependencies = [") : text.index("\ntest = [")]
    lines = [line.strip() for line in block.splitlines() if line.strip().startswith('"')]
    assert len(lines) == len(_declared(root))
    without = [line for line in lines if not re.search(r'[<>=]=?[\d.]+.*",\s+# \S.{15,}', line)]
    assert without == []

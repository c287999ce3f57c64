"""The QGIS plugin, as far as it can be judged without QGIS; inside QGIS it is tested by qgis/tests, part of `make test-all`."""

from __future__ import annotations

import ast
import os
import re
import subprocess
import sys
import zipfile
from pathlib import Path
from xml.etree import ElementTree

import pytest

from tessera_core import __version__
from tessera_core.cli import COMMANDS, command_module, command_parser
from tessera_core.cli.head_options import HEAD_NAMES
from tessera_core.session import engine
from tools import plugin

# What QGIS's Python has: its own packages, and the standard library.
QGIS_MODULES = {"qgis", "osgeo", "processing"}


def _sources() -> dict[str, ast.Module]:
    """The plugin's modules, as Python 3.9 reads them."""
    return {
        path.name: ast.parse(path.read_text(encoding="utf-8"), str(path), feature_version=(3, 9))
        for path in plugin.PLUGIN.rglob("*.py")
    }


def test_it_is_python_3_9_and_imports_nothing_of_ours_or_of_others() -> None:
    sources = _sources()
    assert {"__init__.py", "plugin.py", "dock.py", "layers.py", "client.py", "algorithms.py"} <= set(sources)
    for name, tree in sources.items():
        for node in ast.walk(tree):
            # Of the syntax that 3.9 lacks ast lets some through.
            assert not isinstance(node, ast.Match | ast.TryStar), name
            found = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            found += [node.module or ""] if isinstance(node, ast.ImportFrom) and not node.level else []
            for module in found:
                root = module.split(".")[0]
                assert root in QGIS_MODULES or root in sys.stdlib_module_names, f"{name} imports {module}"


def test_it_speaks_the_engine_s_protocol(root: Path) -> None:
    text = {path.name: path.read_text(encoding="utf-8") for path in plugin.PLUGIN.glob("*.py")}
    spoken = re.search(r"^PROTOCOL = (\d+)$", text["client.py"], re.MULTILINE)
    assert spoken is not None
    assert int(spoken[1]) == engine.PROTOCOL
    asked = {
        node.args[0].value
        for tree in _sources().values()
        for node in ast.walk(tree)
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and node.func.attr in ("ask", "_open_long")
        and node.args
        and isinstance(node.args[0], ast.Constant)
    }
    documented = set(
        re.findall(
            r"^\| `(\w+)`", (root / "docs" / "reference" / "engine.md").read_text(encoding="utf-8"), re.MULTILINE
        )
    )
    documented.remove("do")
    assert {"open", "demo", "fetch", "edit", "map", "score", "labels", "version", "save"} <= asked <= documented
    # What is documented is answered, and the other way round.
    source = Path(engine.__file__).read_text(encoding="utf-8")
    answered = set(re.findall(r'case "(\w+)"', source)) | set(
        re.findall(r'^            "(\w+)": ', source, re.MULTILINE)
    )
    assert answered | {"stop"} == documented


def test_its_algorithms_use_the_command_line_that_there_is() -> None:
    tree = _sources()["algorithms.py"]
    text = (plugin.PLUGIN / "algorithms.py").read_text(encoding="utf-8")
    heads = next(
        ast.literal_eval(node.value)
        for node in tree.body
        if isinstance(node, ast.Assign) and getattr(node.targets[0], "id", "") == "HEADS"
    )
    assert set(heads) == set(HEAD_NAMES)
    for command, options in {
        "map": {"--out", "--confidence", "--labels", "--field", "--head"},
        "evaluate": {"--labels", "--field", "--head"},
        "change": {"--out", "--rate"},
        "fetch": {"--points", "--lon", "--lat", "--out", "--years", "--dataset", "--store-url"},
    }.items():
        assert f'"{command}"' in text
        assert command in COMMANDS
        known = {
            word
            for action in command_parser(command, command_module(command))._actions
            for word in action.option_strings
        }
        assert options | {"--json", "--progress"} <= known
        assert all(f'"{option}"' in text for option in options)


def test_its_zip_is_whole_and_always_the_same(tmp_path: Path) -> None:
    first, second = (plugin.make_zip(tmp_path / name) for name in ("one", "two"))
    assert first.read_bytes() == second.read_bytes()
    with zipfile.ZipFile(first) as archive:
        names = archive.namelist()
        metadata = archive.read("tessera_studio/metadata.txt").decode()
        ElementTree.fromstring(archive.read("tessera_studio/icon.svg"))
    wanted = {"__init__.py", "metadata.txt", "icon.svg", "LICENSE", "help/index.html", "plugin.py"}
    assert {f"tessera_studio/{name}" for name in wanted} <= set(names)
    assert all(name.startswith("tessera_studio/") and ".." not in name for name in names)
    told = dict(line.partition("=")[::2] for line in metadata.splitlines() if "=" in line)
    assert told["version"] == __version__
    assert told["qgisMinimumVersion"] == "3.22"
    assert told["icon"] == "icon.svg"
    assert (plugin.PLUGIN / "LICENSE").read_text() == (plugin.ROOT / "LICENSE").read_text()


@pytest.mark.soak
def test_inside_a_real_qgis(root: Path, tmp_path: Path) -> None:
    python = plugin.TEST_ENV / "bin" / "python"
    if not python.exists():
        pytest.skip("no QGIS to test in: apt-get install qgis python3-qgis, then python3 tools/plugin.py test-env")
    runtime = tmp_path / "runtime"
    runtime.mkdir(mode=0o700)
    own = {
        "PYTHONPATH": os.pathsep.join(plugin.QGIS_PATHS),
        "QT_QPA_PLATFORM": "offscreen",
        "XDG_RUNTIME_DIR": str(runtime),
        "TESSERA_PYTHON": sys.executable,
        "TESSERA_PATH": str(root),
    }
    words = ["-m", "pytest", "qgis/tests", "-q", "-c", "qgis/pytest.ini", "--rootdir", "qgis", "-p", "no:cacheprovider"]
    done = subprocess.run(
        [str(python), *words],
        cwd=root,
        env={**os.environ, **own},
        capture_output=True,
        text=True,
        check=False,
        timeout=3000,
    )
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-3000:]
    assert " passed" in done.stdout

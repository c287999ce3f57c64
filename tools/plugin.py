"""The QGIS plugin as a zip, the same bytes from the same files; and an environment to test it in, where this computer has QGIS.

python3 tools/plugin.py            build/tessera_studio-VERSION.zip
python3 tools/plugin.py test-env   .cache/qgis: QGIS's own Python with pytest-qgis beside it; says so where there is no QGIS
"""

from __future__ import annotations

import subprocess
import sys
import zipfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PLUGIN = ROOT / "qgis" / "tessera_studio"
TEST_ENV = ROOT / ".cache" / "qgis"
KINDS = {".py", ".txt", ".svg", ".html", ""}
# Where Debian keeps what QGIS's Python imports.
QGIS_PATHS = ("/usr/share/qgis/python", "/usr/share/qgis/python/plugins")
# Debian's Python, whose version QGIS is built for.
SYSTEM_PYTHON = "/usr/bin/python3"


def version() -> str:
    """What the plugin's metadata says."""
    lines = (PLUGIN / "metadata.txt").read_text(encoding="utf-8").splitlines()
    return next(line.partition("=")[2] for line in lines if line.startswith("version="))


def files() -> list[Path]:
    """What belongs into the zip."""
    found = [path for path in PLUGIN.rglob("*") if path.is_file() and "__pycache__" not in path.parts]
    return sorted(path for path in found if path.suffix in KINDS)


def make_zip(folder: Path) -> Path:
    """Write the zip; neither the time nor who writes it is in it."""
    folder.mkdir(parents=True, exist_ok=True)
    out = folder / f"tessera_studio-{version()}.zip"
    with zipfile.ZipFile(out, "w") as archive:
        for path in files():
            name = path.relative_to(PLUGIN.parent).as_posix()
            info = zipfile.ZipInfo(name, (1980, 1, 1, 0, 0, 0))
            info.compress_type, info.external_attr, info.create_system = zipfile.ZIP_DEFLATED, 0o644 << 16, 3
            archive.writestr(info, path.read_bytes(), compresslevel=9)
    return out


def has_qgis() -> bool:
    """Whether this computer has QGIS as Debian packs it."""
    if not Path(SYSTEM_PYTHON).exists():
        return False
    code = f"import sys; sys.path[:0] = {QGIS_PATHS!r}; import qgis.core"
    return subprocess.run([SYSTEM_PYTHON, "-c", code], capture_output=True, check=False).returncode == 0


def make_test_env() -> str:
    """Make the environment to test in; returns what was done, or why not."""
    if not has_qgis():
        return (
            "There is no QGIS on this computer (Debian: apt-get install qgis python3-qgis); its tests will be skipped."
        )
    if not (TEST_ENV / "bin" / "python").exists():
        uv = ROOT / ".venv" / "bin" / "uv"
        for words in (
            ["venv", "-q", "--system-site-packages", "--python", SYSTEM_PYTHON, str(TEST_ENV)],
            [
                "pip",
                "install",
                "-q",
                "--python",
                str(TEST_ENV / "bin" / "python"),
                "pytest-qgis>=5",
                "pytest-timeout>=2.3",
            ],
        ):
            if subprocess.run([str(uv), *words], check=False).returncode:
                return "pytest-qgis could not be installed; the tests of the QGIS plugin will be skipped."
    return f"The QGIS plugin is tested with {TEST_ENV.relative_to(ROOT)}."


if __name__ == "__main__":
    print(make_test_env() if sys.argv[1:] == ["test-env"] else make_zip(ROOT / "build").relative_to(ROOT))

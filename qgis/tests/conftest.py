"""What the plugin's tests have: QGIS without a window, and Tessera Studio as a program beside it."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
from qgis.PyQt.QtCore import QCoreApplication, QSettings
from qgis.PyQt.QtWidgets import QApplication

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "qgis"))
# One patience for every machine.
PATIENCE_S = 240


def until(ready, what="what was awaited"):
    """Let QGIS work until something is true; returns it."""
    end = time.monotonic() + PATIENCE_S
    while not (found := ready()):
        assert time.monotonic() < end, "{} did not come".format(what)
        QApplication.processEvents()
        QCoreApplication.sendPostedEvents()
        time.sleep(0.01)
    return found


@pytest.fixture(scope="session")
def studio(tmp_path_factory):
    """The program tessera, with a home of its own; written as people's programs are, a file to be run."""
    folder = tmp_path_factory.mktemp("studio")
    python = os.environ["TESSERA_PYTHON"]
    program = folder / "tessera"
    program.write_text(
        '#!/bin/sh\nPYTHONPATH="{}" TESSERA_HOME="{}" exec "{}" -m tessera_core "$@"\n'.format(
            os.environ["TESSERA_PATH"], folder / "home", python
        )
    )
    program.chmod(0o755)
    return program


@pytest.fixture
def settings(studio, tmp_path):
    """Settings of the plugin's own, that know where the program is."""
    QCoreApplication.setOrganizationName("tessera-tests")
    QCoreApplication.setApplicationName("plugin")
    QSettings.setDefaultFormat(QSettings.Format.IniFormat)
    QSettings.setPath(QSettings.Format.IniFormat, QSettings.Scope.UserScope, str(tmp_path / "settings"))
    from tessera_studio import environment

    environment.choose(str(studio))
    yield environment
    environment.choose("")


@pytest.fixture(scope="session")
def demo(studio, tmp_path_factory):
    """A small demo region: embeddings of two years, and which pixel is what."""
    folder = tmp_path_factory.mktemp("data") / "demo"
    subprocess.run([str(studio), "demo", str(folder), "--size", "96", "--years", "2023,2024", "-q"], check=True)
    return folder


@pytest.fixture
def pictures():
    """Where pictures of what is seen are put, to be looked at."""
    folder = Path(os.environ.get("TESSERA_PICTURES", str(ROOT / "build" / "qgis")))
    folder.mkdir(parents=True, exist_ok=True)
    return folder

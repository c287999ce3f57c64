"""Where Tessera Studio is on this computer: found, checked, or installed into an environment of its own.

Nothing of it is imported into QGIS's Python: it is another program with other versions of the same libraries.
"""

from __future__ import annotations

import os
import shutil
import subprocess

from qgis.PyQt.QtCore import QSettings, QStandardPaths

COMMAND = "tessera_studio/command"
SOURCE = "tessera_studio/source"
PACKAGE = "tessera-studio"
PYTHON = "3.12"
# What QGIS sets for its own libraries and other versions of them would stumble over.
FOREIGN = (
    "PYTHONHOME",
    "PYTHONPATH",
    "PYTHONSTARTUP",
    "PYTHONEXECUTABLE",
    "__PYVENV_LAUNCHER__",
    "GDAL_DATA",
    "GDAL_DRIVER_PATH",
    "PROJ_LIB",
    "PROJ_DATA",
    "QT_PLUGIN_PATH",
    "QT_QPA_PLATFORM",
)
HOW_TO_INSTALL = (
    "Tessera Studio runs in an environment of its own, beside QGIS. Press Install, which runs uv; or install it yourself with "
    "<code>uv tool install {package}</code> and say here where its program <code>tessera</code> is."
)
NO_UV = (
    "The program uv, which makes the environment, is not on this computer. Install uv (your system's package manager or uv's own "
    "page has it), start QGIS again and press Install once more."
)


def home():
    """The folder of the environment that :func:`install_commands` makes."""
    data = QStandardPaths.writableLocation(QStandardPaths.StandardLocation.GenericDataLocation)
    return os.path.join(data, "tessera-studio", "qgis-environment")


def _program(folder, name):
    if os.name == "nt":
        return os.path.join(folder, "Scripts", name + ".exe")
    return os.path.join(folder, "bin", name)


def chosen():
    """What a person chose in the settings, or nothing."""
    return str(QSettings().value(COMMAND, "") or "")


def choose(path):
    """Remember where Tessera Studio is; nothing means to look for it."""
    QSettings().setValue(COMMAND, path.strip())


def source():
    """What is installed: a name that a package index knows, a wheel, or a folder with the source."""
    return str(QSettings().value(SOURCE, "") or PACKAGE)


def choose_source(text):
    """Remember what is to be installed."""
    QSettings().setValue(SOURCE, text.strip())


def find():
    """The program and its first arguments, as a list; empty where Tessera Studio is not found."""
    for path in (chosen(), _program(home(), "tessera"), shutil.which("tessera") or ""):
        if path and os.path.isdir(path):
            path = _program(path, "tessera")
        if path and os.path.isfile(path):
            is_python = os.path.basename(path).lower().startswith("python")
            return [path, "-m", "tessera_core"] if is_python else [path]
        if path and path == chosen():
            return []
    return []


def clean_environment():
    """The environment of a program that is not part of QGIS."""
    return {key: value for key, value in os.environ.items() if key.upper() not in FOREIGN}


def hidden():
    """Options for subprocess that keep Windows from opening a black window."""
    return {"creationflags": 0x08000000} if os.name == "nt" else {}


def check(timeout=120):
    """Whether Tessera Studio can be started; returns ``(ok, sentence)``."""
    command = find()
    if not command:
        if chosen():
            return False, "There is no program at {}; choose another, or leave the field empty.".format(chosen())
        return False, "Tessera Studio was not found on this computer."
    try:
        done = subprocess.run(
            command + ["--version"],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            stdin=subprocess.DEVNULL,
            timeout=timeout,
            env=clean_environment(),
            **hidden(),
        )
    except subprocess.TimeoutExpired:
        return False, "{} did not answer within {} seconds.".format(command[0], timeout)
    except OSError as error:
        return False, "{} cannot be started: {}.".format(command[0], error.strerror or error)
    words = done.stdout.decode("utf-8", "replace").split()
    if done.returncode or words[:1] != ["tessera"]:
        last = done.stderr.decode("utf-8", "replace").strip().splitlines()[-1:] or ["it said nothing"]
        if "tessera_core" in last[0]:
            return False, "The Python at {} has no Tessera Studio installed.".format(command[0])
        return False, "{} is not Tessera Studio: {}".format(command[0], last[0])
    return True, "Tessera Studio {} at {}".format(words[-1], command[0])


def install_commands():
    """The command lines that install Tessera Studio; empty where uv is missing."""
    uv = shutil.which("uv")
    if not uv:
        return []
    folder = home()
    python = _program(folder, "python")
    return [
        [uv, "venv", "--allow-existing", "--python", PYTHON, folder],
        [uv, "pip", "install", "--python", python, "--upgrade", source()],
    ]

"""Make ``.venv`` with everything the project needs, from whatever Python runs this file.

Usage: python3 tools/bootstrap.py [--unpinned] [--generate-where-useful] [EXTRA ...]      e.g. ``test lint``

The project needs Python 3.12 or newer, which is often on a machine without being on the PATH. So this looks there first
(this interpreter, PATH, pyenv, uv's own, Homebrew, conda) and only then asks uv to fetch one. It does nothing when
``.venv`` is up to date. The versions installed are the tested ones of requirements-dev.txt; ``--unpinned`` takes
the newest that pyproject.toml allows instead, which is how one learns that a package moved. PyTorch, some gigabytes, is installed
where an extra asks for it (``generate``, ``test``), with ``--generate-where-useful`` also where there is a graphics card for it.
Written for Python 3.8 and newer, with the standard library alone.
"""

import glob
import hashlib
import os
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
VENV = ROOT / ".venv"
BIN = VENV / ("Scripts" if os.name == "nt" else "bin")
STAMP = VENV / "tessera-stamp"
PINS = ROOT / "requirements-dev.txt"
OLDEST = (3, 12)
# Extras that bring PyTorch, and what of it serves nothing without a graphics card.
WITH_TORCH = {"generate", "test"}
NO_CARD = ("triton", "cuda-bindings", "cuda-pathfinder")
# For notebooks, and what leafmap and ipywidgets bring for Jupyter alone: 120 MB that no page and no ``import leafmap`` needs
WITH_NOTEBOOKS = {"notebook", "test"}
JUPYTER = (
    *("beautifulsoup4", "bqplot", "bqscales", "duckdb", "gdown", "jedi", "jupyterlab-widgets", "maplibre", "parso"),
    *("soupsieve", "widgetsnbextension"),
)
EXCLUDES = ROOT / ".cache" / "not-wanted-here.txt"
# Compiled dependencies appear for a new Python some months after it does, so the settled versions come first.
PREFERRED = [(3, 12), (3, 13), (3, 14)]


def say(text):
    """Print a line at once, also into a log."""
    print("[setup] " + text, flush=True)


def candidates():
    """Paths of Python interpreters that may be on this machine."""
    yield sys.executable
    for version in PREFERRED:
        found = shutil.which("python{}.{}".format(*version))
        if found:
            yield found
    for name in ("python3", "python"):
        found = shutil.which(name)
        if found:
            yield found
    home = Path.home()
    pyenv = Path(os.environ.get("PYENV_ROOT") or home / ".pyenv")
    data = Path(os.environ.get("XDG_DATA_HOME") or home / ".local" / "share")
    uv_dir = Path(os.environ.get("UV_PYTHON_INSTALL_DIR") or data / "uv" / "python")
    patterns = [
        str(pyenv / "versions" / "*" / "bin" / "python3"),
        str(uv_dir / "*" / "bin" / "python3"),
        str(uv_dir / "*" / "python.exe"),
        "/opt/homebrew/bin/python3.1[2-9]",
        "/usr/local/bin/python3.1[2-9]",
        "/opt/homebrew/opt/python@3.1[2-9]/bin/python3",
        "/opt/python/cp31[2-9]*/bin/python3",
        "/Library/Frameworks/Python.framework/Versions/3.1[2-9]/bin/python3",
        str(home / "miniconda3" / "bin" / "python3"),
        str(home / "miniforge3" / "bin" / "python3"),
        str(home / "anaconda3" / "bin" / "python3"),
        str(home / "*conda3" / "envs" / "*" / "bin" / "python3"),
    ]
    for pattern in patterns:
        yield from sorted(glob.glob(pattern))


def version_of(path):
    """``(major, minor)`` of a working 64-bit CPython that can make virtual environments, else None."""
    probe = (
        "import sys, ensurepip, venv; "
        "print(*sys.version_info[:2]) if sys.implementation.name == 'cpython' and sys.maxsize > 2**32 else None"
    )
    try:
        out = subprocess.run([path, "-c", probe], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, timeout=60)
        major, minor = out.stdout.split()
        return int(major), int(minor)
    except (OSError, ValueError, subprocess.TimeoutExpired):
        return None


def find_python():
    """The best Python >= 3.12 on this machine, or None."""
    found = {}
    seen = set()
    for path in candidates():
        real = os.path.realpath(path)
        if real in seen:
            continue
        seen.add(real)
        version = version_of(path)
        if version and version >= OLDEST:
            found.setdefault(version, path)
            if version == PREFERRED[0]:
                break
    for version in PREFERRED + sorted(found):
        if version in found:
            return found[version], version
    return None


def run(*command):
    """Run a command, its output shown; raises CalledProcessError."""
    subprocess.run([str(part) for part in command], check=True, cwd=str(ROOT))


class Linked(Exception):
    """``.venv`` is a link to an environment that is not ours to empty."""


def make_venv():
    """Create ``.venv`` with a suitable Python and uv inside; raises Linked, before anything is cleared, where it is a link."""
    if VENV.is_symlink():
        raise Linked(
            f"{VENV} is a link to {os.path.realpath(str(VENV))}, which would be emptied; remove the link (not what it leads to) "
            "and run the same command again for an environment of its own here."
        )
    found = find_python()
    if found:
        path, version = found
        say(f"Python {version[0]}.{version[1]} found: {path}")
        run(path, "-m", "venv", "--clear", VENV)
        run(BIN / "python", "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "uv")
        return
    say("No Python 3.12 or newer on this machine; uv will fetch one.")
    uv = shutil.which("uv")
    if not uv:
        tool = ROOT / ".cache" / "uv-tool"
        run(sys.executable, "-m", "venv", "--clear", tool)
        tool_bin = tool / ("Scripts" if os.name == "nt" else "bin")
        run(tool_bin / "python", "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "uv")
        uv = tool_bin / "uv"
    run(uv, "venv", "--clear", "--seed", "--python", "3.12", VENV)
    run(uv, "pip", "install", "--quiet", "--python", BIN / "python", "uv")


def wanted_digest(pinned):
    """What decides whether ``.venv`` is up to date: pyproject.toml and, unless unpinned, the pins."""
    content = (ROOT / "pyproject.toml").read_bytes() + (PINS.read_bytes() if pinned else b"unpinned")
    return hashlib.sha256(content).hexdigest()


def has_graphics_card():
    """Whether an NVIDIA card answers here."""
    tool = shutil.which("nvidia-smi")
    if tool is None:
        return False
    try:
        found = subprocess.run([tool, "-L"], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, timeout=60)
    except (OSError, subprocess.TimeoutExpired):
        return False
    return found.returncode == 0 and b"GPU" in found.stdout


def ways_of_uv(extras):
    """Options for uv to try in turn: PyTorch as this computer can use it, then as the usual index has it; at last all there is."""
    torch, idle = bool(WITH_TORCH & set(extras)), []
    if not WITH_NOTEBOOKS & set(extras):
        idle += JUPYTER
    # Without a card PyTorch's compiler for it and its bindings serve nothing: half a gigabyte.
    if torch and not has_graphics_card():
        idle += NO_CARD
    excludes = []
    if idle:
        EXCLUDES.parent.mkdir(parents=True, exist_ok=True)
        EXCLUDES.write_text("\n".join(idle) + "\n")
        excludes = ["--excludes", str(EXCLUDES)]
    ways = [["--torch-backend", "auto", *excludes]] if torch else []
    return [*ways, excludes, *([[]] if excludes else [])]


def install(extras, pinned):
    """Install the project with ``extras`` into ``.venv``, with uv or else with pip; raises CalledProcessError."""
    target = str(ROOT) + ("[{}]".format(",".join(extras)) if extras else "")
    # What was installed in another mode must move to the versions of this one.
    versions = ["--constraint", PINS] if pinned else ["--upgrade"]
    ways = ways_of_uv(extras)
    for way in ways:
        try:
            run(BIN / "uv", "pip", "install", "--quiet", "--python", BIN / "python", *versions, *way, "-e", target)
            return
        except (OSError, subprocess.CalledProcessError):
            if way is not ways[-1]:
                say(
                    "It could not be had in the form that suits this computer best; taking the usual one, which is larger ..."
                )
    say("uv could not install them; trying pip, which knows your pip settings ...")
    pip = [BIN / "python", "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    run(*pip, *versions, "-e", target)


def lay_kernels():
    """Compile the kernels that maps are made with, so that no first start waits for it; without a compiler NumPy serves."""
    done = subprocess.run(
        [str(BIN / "python"), "-m", "tessera_core._utils.native"],
        cwd=str(ROOT),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    if done.returncode:
        say("No C compiler works here: maps take about twice as long, but are the same.")


def main(arguments):
    """Bring ``.venv`` up to date with pyproject.toml, the pins and the wanted extras; returns the exit code."""
    pinned = "--unpinned" not in arguments
    extras = [argument for argument in arguments if not argument.startswith("-")]
    if "--generate-where-useful" in arguments and "generate" not in extras and has_graphics_card():
        extras.append("generate")
    digest = wanted_digest(pinned)
    have = STAMP.read_text().split() if STAMP.exists() else []
    # A moved checkout leaves a .venv whose scripts point to the old place.
    usable = have[1:2] == [str(VENV)] and version_of(str(BIN / "python")) is not None
    if usable and have[0] == digest and set(extras) <= set(have[2:]):
        return 0
    wanted = sorted(set(extras) | (set(have[2:]) if usable else set()))
    try:
        if not usable:
            make_venv()
        else:
            STAMP.unlink()
        size = "2.5 to 6 GB, most of it PyTorch" if WITH_TORCH & set(wanted) else "1.4 GB"
        say(f"Installing the packages (the first time takes a few minutes and about {size}) ...")
        if not pinned:
            say("Unpinned: the newest versions that pyproject.toml allows, which nobody may have tested together.")
        install(wanted, pinned)
        lay_kernels()
    except Linked as error:
        say(f"Nothing was changed: {error}")
        return 1
    except (OSError, subprocess.CalledProcessError) as error:
        say(f"Set-up failed: {error}")
        say("Check the network, or install Python 3.12 yourself and run the same command again.")
        return 1
    STAMP.write_text("\n".join([digest, str(VENV), *wanted]) + "\n")
    say("Ready.")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

"""Install Tessera Studio inside an image; the Containerfile runs it, with the standard library alone.

Usage: python3 tools/image_install.py packages --variant slim|generate-cpu|cuda [--cuda cu126] --into FOLDER
       python3 tools/image_install.py studio --into FOLDER

Packages are the pinned ones of requirements.txt, and for the variants that make embeddings PyTorch as requirements-dev.txt pins
it. Where the base image has a PyTorch of its own, that is used and none is installed.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Iterable, Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
VARIANTS = ("slim", "generate-cpu", "cuda")
# PyTorch without what it needs only for compiling models, which wants a C compiler where it runs: the image has none, and PyTorch's
# own operations do the same on a GPU.
IDLE = ("triton", "cuda-bindings", "cuda-pathfinder")
# What only notebooks use: nobody opens one in the image. What comes with it goes, too, unless something else asks for it.
NOTEBOOK = ("ipyleaflet", "ipywidgets", "leafmap")
# Only with what makes embeddings: layouts by umap-learn, which bring a compiler of their own (0.2 GB; Explore's quick layout does
# without), and the client that fetches the weights of encoders.
LARGE = ("huggingface-hub", "umap-learn")
# What libraries of ours ask for and only other uses of theirs load: charts and maps that we do not draw, postponed arrays, and
# downloads in a form that ours are not in.
UNLOADED = ("altair", "contextily", "dask", "geodatasets", "hf-xet", "pydeck", "scikit-image")
# Run by the image's own Python: names of the distributions there that nothing needs which is asked for.
_UNASKED = """
import json, re, sys
from importlib.metadata import distributions
from packaging.requirements import Requirement

def plain(name):
    return re.sub(r"[-_.]+", "-", name).lower()

asked, folder, never = json.loads(sys.argv[1]), sys.argv[2], json.loads(sys.argv[3])
known = {plain(one.name): one for one in distributions(path=[folder])}
kept, todo = set(), [(plain(Requirement(text).name), frozenset(Requirement(text).extras)) for text in asked]
while todo:
    name, extras = todo.pop()
    if (name, extras) in kept or name not in known or name in never:
        continue
    kept.add((name, extras))
    for text in known[name].requires or ():
        need = Requirement(text)
        if need.marker is None or any(need.marker.evaluate({"extra": extra}) for extra in ("", *extras)):
            todo.append((plain(need.name), frozenset(need.extras)))
print(json.dumps(sorted(set(known) - {name for name, _ in kept})))
"""
# Run by the image's own Python, as where the image runs: there is no compiler.
_TAKES_KERNELS = """
import os, sys
os.environ["PATH"] = ""
from tessera_core._utils.int8 import kernels
sys.exit(0 if len(kernels()) > 1 else "The kernels in C that were compiled are not taken.")
"""
# Run by the image's own Python: what was left out, or stripped, is missed here and not by whoever uses the image.
_LOADS = """
import ast, importlib, json, sys
from pathlib import Path
import tessera_core

absent, names = set(json.loads(sys.argv[1])), {"streamlit.web.bootstrap", "streamlit.starlette"}
for path in Path(tessera_core.__file__).parent.rglob("*.py"):
    if "bench" in path.parts or path.name == "hub.py":
        continue
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names.add(node.module)
missing = []
for name in sorted(names):
    try:
        importlib.import_module(name)
    except ImportError as error:
        if (error.name or "").split(".")[0] not in absent:
            missing.append(f"{name}: {error}")
sys.exit("\\n".join(missing) or 0)
"""
# Left in wheels by their makers: never imported by a program that uses them.
TESTS = ("tests", "test")
# What compiled modules were made from, and what debuggers of scripts in a browser read.
SOURCES = (".c", ".cpp", ".h", ".map", ".pxd", ".pxi", ".pyx")
# Of these packages nothing is taken out but what is named: of gigabytes, and made by others with care.
CAREFUL = ("nvidia", "torch", "triton")
# Folders and files of one package that only other uses of it load: headers, charts in notebooks, Arrow in stores over a network.
IDLE_PARTS = (
    "numpy/_core/include",
    "plotly/labextension",
    "plotly/package_data/datasets",
    "plotly/package_data/widgetbundle.js",
    "pyarrow/include",
    "pyarrow/*flight*",
    "pyarrow/*_s3*",
    "torch/include",
)
# Bytes from which of files that are the same only one is kept: the tables of coordinate systems come with two packages.
SAME_BYTES = 100_000


def say(text: str) -> None:
    """Print a line at once, also into a build's log."""
    print(f"[image] {text}", flush=True)


def run(*command: object) -> None:
    """Run a command, its output shown; raises CalledProcessError."""
    subprocess.run([str(part) for part in command], check=True)


def has_torch() -> bool:
    """Whether the base image has a PyTorch."""
    return subprocess.run([sys.executable, "-c", "import torch"], capture_output=True, check=False).returncode == 0


def pins(name: str) -> list[str]:
    """The requirements of a file, one each."""
    lines = (ROOT / name).read_text(encoding="utf-8").splitlines()
    return [line for line in lines if line.strip() and not line.startswith("#")]


def is_torch(requirement: str) -> bool:
    """Whether a pin is of PyTorch or of what comes with it for a GPU."""
    name = re.split(r"[=<>!~ ;\[]", requirement, maxsplit=1)[0].lower()
    return name in ("torch", *IDLE) or name.startswith(("nvidia-", "cuda-"))


def torch_pins(cuda: str) -> list[str]:
    """What PyTorch and all that comes with it is held to: the pins, which for another CUDA than theirs say nothing of its parts."""
    found = pins("requirements-dev.txt")
    return [pin for pin in found if not is_torch(pin) or pin.startswith("torch==")] if cuda else found


def packages(variant: str, into: Path, cuda: str = "") -> None:
    """Make a virtual environment with all packages; raises CalledProcessError.

    Args:
        variant: of the image.
        into: the environment's folder.
        cuda: which CUDA PyTorch is built for, such as ``cu126``; that of the usual index where it is empty.
    """
    own_torch, pinned = has_torch(), pins("requirements.txt")
    light = [pin for pin in pinned if not is_torch(pin)]
    run(sys.executable, "-m", "venv", "--without-pip", *(["--system-site-packages"] if own_torch else []), into)
    with tempfile.TemporaryDirectory() as name:
        tool = Path(name)
        install = uv(tool, into)
        (tool / "light.txt").write_text("\n".join(light) + "\n", encoding="utf-8")
        run(*install, "--no-deps", "-r", tool / "light.txt")
        # For servers whose people sign in.
        run(*install, "--constraint", ROOT / "requirements-dev.txt", *extra("auth"))
        if own_torch:
            say("PyTorch is that of the base image.")
        elif variant != "slim" or len(light) < len(pinned):
            (tool / "idle.txt").write_text("\n".join(IDLE) + "\n", encoding="utf-8")
            (tool / "pins.txt").write_text("\n".join(torch_pins(cuda)) + "\n", encoding="utf-8")
            install += [
                "--constraint",
                tool / "pins.txt",
                "--excludes",
                tool / "idle.txt",
                *(extra("generate") or ["torch"]),
            ]
            install_torch(install, variant, cuda)
        unasked = unneeded(into, variant)
        say(f"Left out, because nothing in this image loads them: {', '.join(unasked) or 'nothing'}.")
        if unasked:
            run(tool / "uv/bin/uv", "pip", "uninstall", "--quiet", "--python", into / "bin/python", *unasked)
    thin(into)


def unneeded(into: Path, variant: str) -> list[str]:
    """Names of installed packages that nothing in the image needs."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    idle = (*NOTEBOOK, *(LARGE if variant == "slim" else ()))
    asked = [text for text in project["dependencies"] if re.split(r"[=<>!~ ;\[]", text, maxsplit=1)[0] not in idle]
    asked += [*extra("auth"), *(extra("generate") or ["torch"]), "packaging"]
    site = next(into.glob("lib/python3*/site-packages"))
    words = [str(into / "bin/python"), "-c", _UNASKED, json.dumps(asked), str(site), json.dumps(UNLOADED)]
    return list(json.loads(subprocess.run(words, check=True, capture_output=True, text=True).stdout))


def uv(tool: Path, into: Path) -> list[object]:
    """The beginning of a command that installs into an environment; uv lies apart, since what builds the image is no part of it."""
    run(sys.executable, "-m", "venv", tool / "uv")
    run(tool / "uv/bin/pip", "install", "--quiet", "--disable-pip-version-check", "uv")
    os.environ.update({"UV_CACHE_DIR": str(tool / "cache"), "UV_LINK_MODE": "copy"})
    return [tool / "uv/bin/uv", "pip", "install", "--quiet", "--python", into / "bin/python"]


def extra(name: str) -> list[str]:
    """The packages of an extra of pyproject.toml."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    return list(project["optional-dependencies"].get(name, []))


def install_torch(install: list[object], variant: str, cuda: str = "") -> None:
    """PyTorch for a processor from its makers' index; where that is out of reach, or for a GPU, with CUDA from the usual one.

    A CUDA that was asked for is had from its makers' index or not at all: another one would not run on that computer.
    """
    if variant == "cuda" and cuda:
        run(*install, "--torch-backend", cuda)
        return
    if variant != "cuda":
        try:
            run(*install, "--torch-backend", "cpu")
            return
        except subprocess.CalledProcessError:
            say(
                "PyTorch's own index is out of reach: taking the build with CUDA, which is 5 GB larger and works as well."
            )
    run(*install)


def thin(into: Path) -> None:
    """Take out what no program uses: tests and sources that lie in wheels, what notebooks show, tables for debuggers, copies."""
    site = next(into.glob("lib/python3*/site-packages"))
    remove([into / "share/jupyter", *(path for part in IDLE_PARTS for path in site.glob(part))])
    ours = [folder for folder in sorted(site.iterdir()) if folder.is_dir() and folder.name not in CAREFUL]
    # torch.testing is imported, sklearn.utils._testing too; folders named tests are not.
    remove([path for folder in ours for path in folder.rglob("*") if path.name in TESTS and path.is_dir()])
    remove([path for folder in ours for path in folder.rglob("*") if path.suffix in SOURCES and path.is_file()])
    strip(site)
    link_copies(ours)


def remove(paths: Iterable[Path]) -> None:
    """Remove files, and folders with all that is in them."""
    for path in list(paths):
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)


def link_copies(folders: Sequence[Path]) -> None:
    """Keep one of large files that are the same; the others become links to it, which hold wherever the whole is moved."""
    kept: dict[tuple[int, str], Path] = {}
    for path in sorted(path for folder in folders for path in folder.rglob("*")):
        if path.is_symlink() or not path.is_file() or path.stat().st_size < SAME_BYTES:
            continue
        with path.open("rb") as file:
            key = path.stat().st_size, hashlib.file_digest(file, "sha256").hexdigest()
        if (first := kept.setdefault(key, path)) != path:
            path.unlink()
            path.symlink_to(os.path.relpath(first, path.parent))


def strip(site: Path) -> None:
    """Take the tables for debuggers and linkers out of compiled libraries, where binutils came with the compiler: 0.15 GB."""
    if shutil.which("strip") is None:
        say("Libraries keep their tables for debuggers: there is no `strip` here.")
        return
    for path in sorted(site.rglob("*.so*")):
        if path.is_symlink() or path.relative_to(site).parts[0] in CAREFUL:
            continue
        # It writes a whole file or none.
        subprocess.run(["strip", "--strip-unneeded", str(path)], capture_output=True, check=False)


def studio(into: Path) -> None:
    """Install this checkout itself, and compile all there is: the image is read-only where it runs."""
    with tempfile.TemporaryDirectory() as name:
        run(*uv(Path(name), into), "--no-deps", ROOT)
    site = next(into.glob("lib/python3*/site-packages"))
    kernels(into)
    loads(into)
    # Files of wheels that are templates for others do not compile; they are never imported either.
    subprocess.run(
        [str(into / "bin/python"), "-m", "compileall", "-q", "-j", "0", str(site)],
        check=False,
        stdout=subprocess.DEVNULL,
    )
    run(into / "bin/tessera", "--version")


def loads(into: Path) -> None:
    """Load every module of ours and all that it names, but for PyTorch; raises CalledProcessError where one is missing."""
    run(
        into / "bin/python",
        "-I",
        "-W",
        "ignore",
        "-c",
        _LOADS,
        json.dumps([*NOTEBOOK, "huggingface_hub", "umap", "torch"]),
    )


def kernels(into: Path) -> None:
    """Lay the C kernels beside their source in the installed package; raises CalledProcessError, also where none are taken."""
    # Isolated: what is asked is the installed package, not the checkout that is built from.
    python = (into / "bin/python", "-I")
    run(*python, "-m", "tessera_core._utils.native")
    run(*python, "-c", _TAKES_KERNELS)


def main() -> int:
    """Do one of the two steps; returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("step", choices=("packages", "studio"))
    parser.add_argument("--variant", choices=VARIANTS, default="slim")
    parser.add_argument("--cuda", default="", help="the CUDA that PyTorch is built for, such as cu126 (variant cuda)")
    parser.add_argument("--into", type=Path, required=True)
    args = parser.parse_args()
    try:
        if args.step == "packages":
            packages(args.variant, args.into, args.cuda)
        else:
            studio(args.into)
    except subprocess.CalledProcessError as error:
        say(f"Failed: {' '.join(map(str, error.cmd))}")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())

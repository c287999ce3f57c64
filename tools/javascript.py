"""Look after the JavaScript of the maps: ``python3 tools/javascript.py lint|format|test``.

Needs Node 20 or newer; where that is missing, or npm cannot fetch the tools named in package.json, it says why and ends well,
because a person who works on the Python half must not need them. ``test`` needs no packages. Standard library alone.
"""

import hashlib
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
TOOLS = ROOT / "node_modules"
STAMP = TOOLS / "tessera-stamp"
OLDEST = 20
NODE_MISSING = f"Node {OLDEST} or newer is not installed"


def say(text):
    """Print a line at once, also into a log."""
    print("[javascript] " + text, flush=True)


def node():
    """Path of a new enough Node, or None."""
    found = shutil.which("node")
    if not found:
        return None
    told = subprocess.run([found, "--version"], stdout=subprocess.PIPE, check=False).stdout.decode()
    version = re.match(r"v(\d+)", told)
    return found if version and int(version[1]) >= OLDEST else None


def without_tools():
    """Bring ``node_modules`` up to date with package-lock.json; why that cannot be, or nothing."""
    digest = hashlib.sha256((ROOT / "package-lock.json").read_bytes()).hexdigest()
    if STAMP.exists() and STAMP.read_text() == digest:
        return ""
    npm = shutil.which("npm")
    if not npm:
        return "npm is not installed"
    say("Fetching TypeScript and Biome ...")
    # Without a network npm would try for minutes.
    command = [npm, "ci", "--silent", "--fetch-retries=1", "--fetch-timeout=60000"]
    if subprocess.run(command, cwd=str(ROOT), check=False).returncode:
        return "npm could not fetch TypeScript and Biome (no network?)"
    STAMP.write_text(digest)
    return ""


def commands(task):
    """What a task runs, one after the other."""
    bin_ = TOOLS / ".bin"
    ending = ".cmd" if os.name == "nt" else ""
    biome, tsc = (str(bin_ / (name + ending)) for name in ("biome", "tsc"))
    if task == "lint":
        return [[biome, "ci", "--error-on-warnings"], [tsc, "--project", "jsconfig.json"]]
    if task == "format":
        return [[biome, "check", "--write"]]
    return [[node(), "--test", "--test-reporter=spec", *map(str, sorted((ROOT / "tests" / "js").glob("*.test.js")))]]


def main(task):
    """Run a task; returns the exit code."""
    why = "" if node() else NODE_MISSING
    if not why and task != "test":
        why = without_tools()
    if why:
        say(f"{task} skipped: {why}.")
        return 0
    return max(subprocess.run(command, cwd=str(ROOT), check=False).returncode for command in commands(task))


if __name__ == "__main__":
    if sys.argv[1:] not in (["lint"], ["format"], ["test"]):
        sys.exit(__doc__)
    sys.exit(main(sys.argv[1]))

"""A server that speaks as Amazon's object store does, for tests: moto's, in an environment of its own.

python3 tools/object_server.py     .cache/moto; the tests that need it skip where it is not

Its own, because moto asks for older versions of packages that this project uses.
"""

from __future__ import annotations

import subprocess
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
ENVIRONMENT = ROOT / ".cache" / "moto"
SERVER = ENVIRONMENT / "bin" / "moto_server"


def make() -> str:
    """Make the environment; returns what was done, or why not."""
    if not SERVER.exists():
        uv = ROOT / ".venv" / "bin" / "uv"
        python = ROOT / ".venv" / "bin" / "python"
        for words in (
            ["venv", "-q", "--python", str(python), str(ENVIRONMENT)],
            ["pip", "install", "-q", "--python", str(ENVIRONMENT / "bin" / "python"), "moto[server,s3]>=5"],
        ):
            if subprocess.run([str(uv), *words], check=False).returncode:
                return "moto could not be installed; the tests against an object store will be skipped."
    return f"Object stores are tested with {SERVER.relative_to(ROOT)}."


if __name__ == "__main__":
    print(make())

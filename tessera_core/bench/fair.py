"""What makes a comparison with other libraries fair: their linear algebra as it runs by itself, and a word on what ran.

Some machines set variables that make OpenBLAS, and with it NumPy and scikit-learn, take the kernels of another processor. They
are read when NumPy is loaded, so that a measurement runs without them in a process of its own.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from typing import Any

from tessera_core.errors import TesseraError

SLOWING = ("OPENBLAS_CORETYPE", "OPENBLAS_L2_SIZE")
_CODE = """
import argparse, importlib, json, sys
module, options, out = sys.argv[1:]
result = importlib.import_module(module).run(argparse.Namespace(**json.loads(options)))
from tessera_core.bench.fair import kernels
with open(out, "w") as file:
    json.dump(result | {"blas": kernels()}, file)
"""


def measured(module: str, options: Mapping[str, Any]) -> dict[str, Any]:
    """What the measurement ``module`` finds, without :data:`SLOWING`; ``blas`` in it says which kernels ran.

    Raises:
        TesseraError: it failed, as it says.
    """
    import tempfile
    from pathlib import Path

    unset = [name for name in SLOWING if name in os.environ]
    sys.stderr.write(f"Measuring without {' and '.join(unset)}, which would slow other libraries down.\n")
    environment = {name: value for name, value in os.environ.items() if name not in SLOWING}
    with tempfile.TemporaryDirectory(prefix="tessera-bench-") as folder:
        out = Path(folder) / "result.json"
        command = [sys.executable, "-c", _CODE, module, json.dumps(dict(options)), str(out)]
        done = subprocess.run(
            command, env=environment, stderr=subprocess.PIPE, text=True, encoding="utf-8", check=False
        )
        sys.stderr.write(done.stderr)
        if done.returncode or not out.exists():
            raise TesseraError(f"The measurement failed: {done.stderr.strip().splitlines()[-1:] or 'it ended early'}")
        found: dict[str, Any] = json.loads(out.read_text(encoding="utf-8"))
    return found


def slowed() -> bool:
    """Whether this process runs with :data:`SLOWING`."""
    return any(name in os.environ for name in SLOWING)


def kernels() -> list[str]:
    """Which linear algebra is loaded here, e.g. ``openblas 0.3.30 SkylakeX``."""
    from threadpoolctl import threadpool_info

    return sorted(
        " ".join(str(one[part]) for part in ("internal_api", "version", "architecture") if one.get(part))
        for one in threadpool_info()
        if one.get("user_api") == "blas"
    )

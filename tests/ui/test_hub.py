"""What a JupyterHub reads of us; tests/browser/test_hub.py runs one, tests/app/test_gate.py tries the key."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path


def test_what_a_hub_reads_is_light(root: Path) -> None:
    """JupyterLab reads the entry point of everything installed when it starts."""
    program = (
        "import json, sys; from tessera_core.ui.hub import server; s = server(); "
        "print(json.dumps([sorted({m.split('.')[0] for m in sys.modules}), s['command'], s['launcher_entry']['icon_path']]))"
    )
    done = subprocess.run([sys.executable, "-c", program], cwd=root, capture_output=True, text=True, check=True)
    loaded, command, icon = json.loads(done.stdout)
    assert not {"streamlit", "numpy", "torch", "jupyter_server_proxy"} & set(loaded)
    assert "{port}" in command
    assert Path(icon).is_file()

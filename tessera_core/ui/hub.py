"""Tessera Studio inside a JupyterHub: started, shown and guarded by jupyter-server-proxy.

The hub lets its users in, and this app's port is open to everyone on the computer all the same. So the proxy gets a key that
it alone sends (:data:`KEY_HEADER`); the app answers nobody without it. It travels in the environment, which other users of a
computer cannot read, and never in a command line.

* :func:`server` is what JupyterLab's launcher starts, for each user in their own notebook server;
* ``python -m tessera_core.ui.hub`` is what a JupyterHub starts *instead* of a notebook server (``c.Spawner.cmd``).

Importing this loads neither Streamlit nor anything of Jupyter's.
"""

from __future__ import annotations

import os
import secrets
import sys
from pathlib import Path
from typing import Any

KEY_VARIABLE = "TESSERA_HUB_KEY"
KEY_HEADER = "X-Tessera-Hub-Key"
START_SECONDS = 120


def command() -> list[str]:
    """What the proxy starts; it puts the port in."""
    return [sys.executable, "-m", "tessera_core", "app", "--address", "127.0.0.1", "--port", "{port}", "--headless"]


def guarded() -> dict[str, Any]:
    """Options of a proxied server that both ways have: how it is started, and the key of this start."""
    key = os.environ.get(KEY_VARIABLE) or secrets.token_urlsafe(32)
    return {
        "command": command(),
        "environment": {KEY_VARIABLE: key},
        "timeout": START_SECONDS,
        # The prefix is taken away before requests reach the app, so that it needs to know no address.
        "absolute_url": False,
        "request_headers_override": {KEY_HEADER: key},
    }


def server() -> dict[str, Any]:
    """Entry point ``jupyter_serverproxy_servers``: the app in the launcher of JupyterLab.

    >>> server()["launcher_entry"]["title"]
    'Tessera Studio'
    """
    icon = Path(__file__).with_name("hub.svg")
    return guarded() | {"launcher_entry": {"title": "Tessera Studio", "icon_path": str(icon), "category": "Other"}}


def main(arguments: list[str] | None = None) -> int:
    """Serve one user of a JupyterHub, which starts this; returns the exit code.

    Raises:
        SystemExit: jupyter-server-proxy is not installed.
    """
    try:
        from jupyter_server_proxy.standalone.app import StandaloneProxyServer
    except ImportError:
        raise SystemExit(
            "A JupyterHub shows Tessera Studio through jupyter-server-proxy, which is not installed here: "
            'pip install "jupyter-server-proxy[standalone]"'
        ) from None
    proxy = StandaloneProxyServer()
    proxy.initialize(sys.argv[1:] if arguments is None else arguments)
    for name, value in guarded().items():
        setattr(proxy, name, value)
    # Pictures and uploads are larger than what websockets carry by default.
    proxy.websocket_max_message_size = 200 << 20
    proxy.start()
    return 0


if __name__ == "__main__":
    sys.exit(main())

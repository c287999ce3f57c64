"""A JupyterHub whose people get Tessera Studio instead of a notebook; docs/howto/hub.md says how it is set up.

pip install jupyterhub "jupyter-server-proxy[standalone]" tessera-studio && npm install -g configurable-http-proxy
jupyterhub -f jupyterhub_config.py
"""

# ruff: noqa: F821  (JupyterHub provides get_config)
import sys

c = get_config()

# The Studio behind a guard that lets in the person whose server it is, and nobody else of the computer.
c.Spawner.cmd = [sys.executable, "-m", "tessera_core.ui.hub"]
c.Spawner.default_url = "/"
c.Spawner.http_timeout = 120
c.Spawner.start_timeout = 120
# What one person may take; honoured by spawners that can limit it (systemd, Docker, Kubernetes).
c.Spawner.mem_limit = "2G"
c.Spawner.cpu_limit = 2.0

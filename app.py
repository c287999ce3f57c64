"""Tessera Studio: the entry script of the app. Run it with ``tessera app`` or ``streamlit run app.py``."""

from tessera_core.ui import shell

shell.run()

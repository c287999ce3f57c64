"""Tessera Studio: the entry script of the app. Run it with ``tessera app`` or ``streamlit run app.py``.

Streamlit reads this file twice: once as a module, whose ``app`` is the server with the gate in front of it, and as the script
of every run.
"""

if __name__ == "__main__":
    from tessera_core.ui import early

    early.ready()
    from tessera_core.ui import shell

    shell.run()
else:
    import logging

    from starlette.middleware import Middleware
    from streamlit.starlette import App

    from tessera_core.ui import gate

    gate.check_settings()
    app = App(__file__, middleware=[Middleware(gate.Gate)], lifespan=gate.lifespan)
    # It would print an address without the token.
    logging.getLogger("uvicorn").setLevel(logging.WARNING)

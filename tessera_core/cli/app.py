"""Open Tessera Studio in the browser.

The app runs on this computer only, at an address of this computer; nothing is sent anywhere. Stop it with Ctrl-C.
Projects, the demo region and logs are kept in TESSERA_HOME (or the usual place of this system).
Where no option says otherwise, Streamlit's own settings hold: STREAMLIT_SERVER_PORT, STREAMLIT_SERVER_ADDRESS and
STREAMLIT_SERVER_HEADLESS.
"""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path
from typing import Any

from tessera_core.errors import InputError, TesseraError

EXAMPLES = ("tessera app", "tessera app --class", "tessera app --project course.tesserapack --port 8600")
STOPPED = "all projects are saved"
SUMMARY = "open the app in the browser"

_PORTS = range(8501, 8551)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's options."""
    parser.add_argument(
        "--project", type=Path, metavar="FILE", help="a *.tessera or *.tesserapack file or a project folder to open"
    )
    parser.add_argument("--port", type=int, help=f"port of the app (default: the first free one from {_PORTS.start})")
    parser.add_argument("--address", help="who may connect: localhost (default) or 0.0.0.0")
    parser.add_argument(
        "--class",
        dest="classroom",
        action="store_true",
        help="serve a class: others in this network join with a code, each sees only their own work, and you are its teacher",
    )
    parser.add_argument("--headless", action="store_true", help="do not open a browser window")


def run(args: argparse.Namespace) -> dict[str, Any]:
    """Serve the app until it is stopped.

    Raises:
        InputError: the port is taken or not a port, the project cannot be opened, or a limit in the environment is no number.
        TesseraError: the app's pages are not installed.
    """
    from tessera_core.hosting import Limits

    Limits.read()
    script = app_script()
    if args.classroom:
        _serve_class(args)
    address = args.address or os.environ.get("STREAMLIT_SERVER_ADDRESS") or "localhost"
    wanted = args.port if args.port is not None else _port_setting()
    port = free_port(address) if wanted is None else check_port(address, wanted)
    headless = args.headless or _headless_setting()
    if args.project is not None:
        from tessera_core.project.library import adopt
        from tessera_core.project.pack import is_pack, open_pack

        path = args.project.expanduser().resolve()
        os.environ["TESSERA_PROJECT"] = str((open_pack(path)[0] if is_pack(path) else adopt(path)).folder)
    serve(script, address, port, headless=headless)
    return {"address": address, "port": port}


def _serve_class(args: argparse.Namespace) -> None:
    """A server for many on this computer, whose teacher is whoever has the token that is made here."""
    import secrets

    from tessera_core.hosting import VARIABLE
    from tessera_core.hosting.settings import OWNER_TOKEN_VARIABLE

    args.address = args.address or "0.0.0.0"
    os.environ[VARIABLE] = "1"
    os.environ.setdefault("TESSERA_MAX_PEOPLE", "60")
    os.environ.setdefault("TESSERA_MAX_ALL_PROJECTS", "5000")
    token = os.environ.setdefault(OWNER_TOKEN_VARIABLE, secrets.token_urlsafe(24))
    port = args.port if args.port is not None else _port_setting()
    args.port = free_port(args.address) if port is None else port
    place = f"http://localhost:{args.port}/classroom?owner={token}"
    print(f"Your page as the teacher, for you alone: {place}", file=sys.stderr)
    if not (args.headless or _headless_setting()):
        _open_when_ready(place, args.port)
    args.headless = True


def _open_when_ready(place: str, port: int) -> None:
    """Open the teacher's page as soon as the server answers."""
    import socket
    import threading
    import time
    import webbrowser

    def wait() -> None:
        for _ in range(300):
            with socket.socket() as probe:
                probe.settimeout(1)
                if probe.connect_ex(("127.0.0.1", port)) == 0:
                    webbrowser.open(place)
                    return
            time.sleep(0.2)

    threading.Thread(target=wait, name="open-page", daemon=True).start()


def report(result: dict[str, Any]) -> str:
    """What is printed after the app was stopped."""
    return "Tessera Studio has stopped; all projects are saved."


def app_script() -> Path:
    """The app's entry script: of the checkout this package lies in, or of the installed package.

    Raises:
        TesseraError: neither holds it.
    """
    import tessera_core

    places = [Path(tessera_core.__file__).resolve().parents[1], Path(sys.prefix) / "share" / "tessera-studio"]
    for place in places:
        if (place / "app.py").is_file() and (place / "pages" / "region.py").is_file():
            return place / "app.py"
    raise TesseraError(
        "The app's pages (app.py and the folder pages) were not found in "
        + " or ".join(str(place) for place in places)
        + ". Run 'tessera app' from a copy of the repository, or install the package again."
    )


def _port_setting() -> int | None:
    """The port that Streamlit's own setting in the environment asks for; None where there is none."""
    text = os.environ.get("STREAMLIT_SERVER_PORT", "").strip()
    if not text:
        return None
    if not text.isascii() or not text.isdigit():
        raise InputError(f"STREAMLIT_SERVER_PORT is {text!r}, which is no port; set a number between 1024 and 65535.")
    return int(text)


def _headless_setting() -> bool:
    """Whether Streamlit's own setting in the environment keeps the browser closed."""
    text = os.environ.get("STREAMLIT_SERVER_HEADLESS", "").strip().lower()
    if text in ("", "0", "false", "no", "off"):
        return False
    if text in ("1", "true", "yes", "on"):
        return True
    raise InputError(f"STREAMLIT_SERVER_HEADLESS is {text!r}; set true or false.")


def free_port(address: str) -> int:
    """The first free port of the usual range.

    Raises:
        InputError: all are taken.
    """
    if (port := _next_free(address, _PORTS)) is not None:
        return port
    raise InputError(f"The ports {_PORTS.start} to {_PORTS.stop - 1} are all in use. Choose one with --port.")


def check_port(address: str, port: int) -> int:
    """``port`` if the app can have it.

    Raises:
        InputError: it is no port, or in use.
    """
    if not 1 <= port <= 65535:
        raise InputError(f"{port} is not a port; choose one between 1024 and 65535.")
    if _is_free(address, port):
        return port
    other = _next_free(address, range(port + 1, min(port + 51, 65536)))
    advice = "Choose another with --port." if other is None else f"The next free one is {other}: add --port {other}."
    raise InputError(f"Port {port} is in use (perhaps by another Tessera Studio). {advice}")


def _next_free(address: str, ports: range) -> int | None:
    return next((port for port in ports if _is_free(address, port)), None)


def _is_free(address: str, port: int) -> bool:
    import socket

    try:
        family, kind, protocol, _, place = socket.getaddrinfo(address, port, type=socket.SOCK_STREAM)[0]
    except socket.gaierror as error:
        raise InputError(f"There is no address {address!r} on this computer. Use localhost or 0.0.0.0.") from error
    with socket.socket(family, kind, protocol) as probe:
        # Without this a port just left by a stopped server looks taken for a minute (not so on Windows).
        if os.name == "posix":
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(place)
        except OSError:
            return False
    return True


def serve(script: Path, address: str, port: int, *, headless: bool) -> None:
    """Run the web server on ``script`` in this process until it is stopped; the look comes from the config beside it."""
    import runpy
    import signal
    from contextlib import redirect_stdout

    from tessera_core._utils.later import postpone

    options = {
        "server.address": address,
        "server.port": port,
        "server.headless": str(headless).lower(),
        "server.showEmailPrompt": "false",
    }
    sys.argv = ["streamlit", "run", str(script), *(f"--{name}={value}" for name, value in options.items())]
    # Streamlit loads it to set its colours, a quarter of the start and 16 MB; the server permits it again.
    postpone("plotly")
    # After it has put everything away the server raises the signal again: being asked to stop is no failure.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    try:
        # Its greeting goes to stderr like all that is no result, and so stdout stays whole for --json.
        # Only ui/ may import Streamlit; its own command line is the supported way to start it in any case.
        with redirect_stdout(sys.stderr):
            runpy.run_module("streamlit", run_name="__main__")
    except SystemExit as end:
        if end.code not in (None, 0):
            raise TesseraError("The app's server could not start; the lines above say why.") from end

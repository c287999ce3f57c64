"""Real servers on free ports, and visitors who speak the browser's side of Streamlit's protocol to them."""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from http.client import HTTPMessage
from pathlib import Path

import pytest
from streamlit.proto.BackMsg_pb2 import BackMsg
from streamlit.proto.Element_pb2 import Element
from streamlit.proto.ForwardMsg_pb2 import ForwardMsg
from websockets.exceptions import ConnectionClosed

from tessera_core.ui.wire import Wire, is_end
from tests.waiting import PATIENCE_S, eventually

# The longest that one run of a page may take where no browser looks.
APP_SECONDS = PATIENCE_S
# Pixels along each side of the demo region in these tests: enough to see and label three classes.
DEMO_SIZE = 96
TOKEN = "a-token-of-the-tests"


def free_port() -> int:
    """A port that nobody listens on, and below those that systems lend to connections: none of them takes it meanwhile."""
    while True:
        port = secrets.randbelow(12_000) + 20_000
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port


def healthy(url: str) -> bool:
    """Whether Streamlit answers there."""
    try:
        with urllib.request.urlopen(f"{url}/_stcore/health", timeout=10) as answer:
            return bool(answer.read() == b"ok")
    except OSError:
        return False


class AppServer:
    """The app as people start it, stoppable and startable again on the same port.

    Args:
        root: the checkout.
        home: its TESSERA_HOME.
        environment: what else its environment holds; None takes a variable away.
        streamlit: options of ``streamlit run app.py``, which is then used instead of ``tessera app``.
        window: whether it opens a browser.
    """

    launcher: tuple[str, ...] = ("-m", "tessera_core")

    def __init__(
        self,
        root: Path,
        home: Path,
        environment: Mapping[str, str | None] | None = None,
        streamlit: Sequence[str] | None = None,
        window: bool = False,
    ) -> None:
        self.root, self.home, self.streamlit, self.window = root, home, streamlit, window
        self.environment = environment or {}
        self.port = free_port()
        self.url = f"http://localhost:{self.port}"
        self.process: subprocess.Popen[bytes] | None = None
        self._told = 0

    def start(self) -> None:
        """Start and wait until it answers."""
        wanted: dict[str, str | None] = {
            **os.environ,
            "TESSERA_HOME": str(self.home),
            "TESSERA_DEMO_SIZE": str(DEMO_SIZE),
            "TESSERA_TOKEN": TOKEN,
            "TESSERA_HOSTED": None,
            "PYTHONUNBUFFERED": "1",
            **self.environment,
        }
        command = [
            sys.executable,
            *self.launcher,
            "app",
            "--port",
            str(self.port),
            *([] if self.window else ["--headless"]),
        ]
        if self.streamlit is not None:
            options = ["--server.port", str(self.port), "--server.headless", "true", *self.streamlit]
            command = [sys.executable, "-m", "streamlit", "run", "app.py", *options]
        self.log = open(self._log, "ab")  # noqa: SIM115  (lives as long as the server)
        self.process = subprocess.Popen(
            command,
            cwd=self.root,
            env={name: value for name, value in wanted.items() if value is not None},
            stdout=self.log,
            stderr=subprocess.STDOUT,
        )
        eventually(self._answers, lambda: f"the app did not start: {self.output()[-2000:]}", every=0.1)

    def _answers(self) -> bool:
        assert self.process is not None
        if self.process.poll() is not None:
            pytest.fail(f"the app ended at once: {self.output()[-2000:]}")
        return healthy(self.url)

    def take_demo(self, made: Path) -> None:
        """Have the demo region already, as it lies in another home: making it takes minutes where others work."""
        shutil.copytree(made / "cache" / "demo", self.home / "cache" / "demo", dirs_exist_ok=True)

    def stop(self) -> None:
        """Stop it as a closed laptop would: without asking."""
        if self.process is not None:
            self.process.send_signal(signal.SIGKILL if os.name == "posix" else signal.SIGTERM)
            self.process.wait(20)
            self.process = None
            self.log.close()

    def restart(self) -> None:
        """Stop and start again."""
        self.stop()
        self.start()

    @property
    def _log(self) -> Path:
        return self.home.parent / f"server-{self.port}.log"

    def output(self) -> str:
        """What the server printed, since :meth:`forget_output` where that was called."""
        return self._log.read_bytes()[self._told :].decode("utf-8", "replace")

    def told(self) -> str:
        """What it printed last, and what its threads are at: for the report of a test that failed."""
        if self.process is not None and hasattr(signal, "SIGUSR2"):
            self.process.send_signal(signal.SIGUSR2)
            time.sleep(1)
        return self.output()[-12_000:]

    def forget_output(self) -> None:
        """From now on :meth:`output` is of what comes after."""
        self._told = self._log.stat().st_size

    def ask(
        self, path: str = "/", headers: Mapping[str, str] | None = None, method: str = "GET", data: bytes | None = None
    ) -> Answer:
        """One request over HTTP, redirects not followed."""
        request = urllib.request.Request(self.url + path, data=data, headers=dict(headers or {}), method=method)
        try:
            with _OPENER.open(request, timeout=PATIENCE_S) as answer:
                return Answer(answer.status, answer.headers, answer.read().decode("utf-8", "replace"))
        except urllib.error.HTTPError as error:
            return Answer(error.code, error.headers, error.read().decode("utf-8", "replace"))

    def key(self) -> str:
        """The cookies of a browser that was given the address with the token, or of a new visitor of a server for many."""
        answer = self.ask(f"/?token={TOKEN}", {"Accept": "text/html"})
        return "; ".join(cookie.split(";")[0] for cookie in answer.headers.get_all("set-cookie", []))


class Answer:
    """What came back over HTTP."""

    def __init__(self, status: int, headers: HTTPMessage, text: str) -> None:
        self.status, self.headers, self.text = status, headers, text


class _Stay(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *_: object) -> None:
        return None


_OPENER = urllib.request.build_opener(_Stay)


class Visitor(Wire):
    """One browser tab, and all that came to it.

    Args:
        server: whose page it opens.
        cookie: what the browser has been given, None to get it first.
        resume: the session to go on with, as after a loss of the network.
        headers: of the websocket's opening.
    """

    def __init__(self, server: AppServer, cookie: str | None = None, resume: str = "", **headers: str) -> None:
        self.cookie = server.key() if cookie is None else cookie
        origin = headers.pop("Origin", server.url)
        super().__init__(f"localhost:{server.port}", self.cookie, origin=origin, resume=resume, headers=headers)
        self.frames: list[ForwardMsg] = []

    def look(self, page: str = "", query: str | None = None, seconds: float = PATIENCE_S) -> str:
        """Open a page (``""`` is the first) and read all its text."""
        return self._run(self.looking(page, query), seconds)

    def click(self, label: str, seconds: float = PATIENCE_S) -> str:
        """Press the button of that label, seen last, and read what the page says then."""
        identity = next(
            (
                element.button.id
                for element in reversed(list(self.elements()))
                if element.WhichOneof("type") == "button" and element.button.label == label
            ),
            None,
        )
        assert identity is not None, f"no button {label!r} among {self.text()[:2000]}"
        return self._run(self.pressing(identity), seconds)

    def elements(self) -> Iterator[Element]:
        """All elements that came since the last question."""
        for frame in self.frames:
            if frame.WhichOneof("type") == "delta" and frame.delta.WhichOneof("type") == "new_element":
                yield frame.delta.new_element

    def text(self) -> str:
        """All that came since the last question, as text."""
        return "\n".join(str(frame) for frame in self.frames)

    def raw(self) -> bytes:
        """The same as it came over the wire."""
        return b"".join(frame.SerializeToString() for frame in self.frames)

    def wait(self, done: Callable[[ForwardMsg], bool], seconds: float = PATIENCE_S) -> bool:
        """Read on until a frame is as wanted; False when the time is up or the server closed the connection."""
        deadline = time.monotonic() + seconds
        while (left := deadline - time.monotonic()) > 0:
            try:
                frame = self.receive(left)
            except ConnectionClosed:
                return False
            if frame is None:
                return False
            self.frames.append(frame)
            if done(frame):
                return True
        return False

    def _run(self, message: BackMsg, seconds: float) -> str:
        self.frames = []
        self.send(message)
        self.wait(is_end, seconds)
        return self.text()


def put_file(server: AppServer, visitor: Visitor, size: int) -> Answer:
    """Upload ``size`` bytes as a browser does, though no page has asked for a file."""
    health = server.ask("/_stcore/health", {"Cookie": visitor.cookie})
    xsrf = next(part for part in health.headers.get_all("set-cookie", []) if "xsrf" in part).split(";")[0]
    boundary = uuid.uuid4().hex
    body = (
        (
            f'--{boundary}\r\nContent-Disposition: form-data; name="file"; filename="x.bin"\r\n'
            "Content-Type: application/octet-stream\r\n\r\n"
        ).encode()
        + bytes(size)
        + f"\r\n--{boundary}--\r\n".encode()
    )
    headers = {
        "Cookie": f"{visitor.cookie}; {xsrf}",
        "X-Xsrftoken": xsrf.split("=", 1)[1],
        "Content-Type": f"multipart/form-data; boundary={boundary}",
    }
    return server.ask(f"/_stcore/upload_file/{visitor.session}/{uuid.uuid4()}", headers, "PUT", body)

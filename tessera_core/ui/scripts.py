"""Streamlit's own scripts and styles, kept compressed in memory once a browser has fetched them.

A page is a hundred such files and 3 MB; Streamlit reads each from the disk anew and sends it as it lies there. Compressed they are
a third of that, which counts on a slow line, and no file is opened. The first browser gets them as they are: compressing takes a
tenth of a second, which is spent afterwards, in a thread.
"""

from __future__ import annotations

import gzip
import mimetypes
import re
import threading
from pathlib import Path

from streamlit import file_util

from tessera_core.ui.asgi import Request, Send

__all__ = ["Kept", "send"]

# Names hold a digest of the content, so that a copy never gets old.
_ROUTE = re.compile(r"/static/(?:js|css)/[A-Za-z0-9_-][A-Za-z0-9._-]*\.(?:js|css)")
_DELAY_SECONDS = 15.0
_MOST_BYTES = 8_000_000
_MOST_NAMES = 2000
_LEVEL = 6
# Below this a header is as large as what is saved.
_LEAST_BYTES = 500


class Kept:
    """What was fetched from a folder, compressed a while later.

    Args:
        folder: whose ``static/js`` and ``static/css`` are served; without one, Streamlit's.
        delay: seconds after a fetch until it is compressed, so that a page being opened does not wait for it.
    """

    def __init__(self, folder: Path | None = None, delay: float = _DELAY_SECONDS) -> None:
        self._folder = (folder or Path(file_util.get_static_dir())).resolve()
        self._delay = delay
        self._kept: dict[str, bytes] = {}
        self._asked: set[str] = set()
        self._lock = threading.Lock()
        self._timer: threading.Timer | None = None

    def find(self, request: Request) -> bytes | None:
        """The compressed file that a request is for; None where Streamlit has to answer."""
        if request.method != "GET" or not _ROUTE.fullmatch(request.route):
            return None
        if "gzip" not in request.header(b"accept-encoding") or request.header(b"range"):
            return None
        found = self._kept.get(request.route)
        if found is None:
            self._note(request.route)
        return found or None

    def compress(self) -> None:
        """Compress all that was asked for; what is no file of the folder, or too much, is not kept."""
        with self._lock:
            asked, self._asked, self._timer = sorted(self._asked), set(), None
        for route in asked:
            path = self._folder / route[1:]
            # Names that somebody made up are not remembered.
            if not path.is_file() or not path.resolve().is_relative_to(self._folder):
                continue
            content = path.read_bytes()
            small = gzip.compress(content, _LEVEL, mtime=0) if len(content) >= _LEAST_BYTES else b""
            room = _MOST_BYTES - sum(map(len, self._kept.values()))
            # Empty where nothing is saved: it is not tried again.
            self._kept[route] = small if len(small) <= room else b""

    def _note(self, route: str) -> None:
        if route in self._kept:
            return
        with self._lock:
            if len(self._asked) < _MOST_NAMES:
                self._asked.add(route)
            if self._timer is None:
                self._timer = threading.Timer(self._delay, self.compress)
                self._timer.daemon = True
                self._timer.start()


async def send(packed: bytes, route: str, send: Send) -> None:
    """Answer with a kept file, with the headers that Streamlit gives it and how it is packed."""
    kind = mimetypes.guess_type(route)[0] or "application/octet-stream"
    headers = [
        (b"content-type", f"{kind}; charset=utf-8".encode()),
        (b"content-encoding", b"gzip"),
        (b"vary", b"Accept-Encoding"),
        (b"cache-control", b"public, immutable, max-age=31536000"),
        (b"content-length", str(len(packed)).encode()),
    ]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": packed})

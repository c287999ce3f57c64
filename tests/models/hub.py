"""A stand-in for the Hugging Face hub on loopback: resolve URLs with etag, commit and range requests, and its failures."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

COMMIT = "c" * 40


@dataclass
class Hub:
    """What the server holds and how it misbehaves.

    Attributes:
        files: content by ``"owner/repo/path"``.
        cut_after: bytes after which the next responses break off, one entry each.
        corrupt: send other bytes of the right length.
        status: answer everything with this status.
        ignore_range: answer range requests with the whole file.
        broken: every GET breaks off after this many bytes.
    """

    files: dict[str, bytes] = field(default_factory=dict)
    cut_after: list[int] = field(default_factory=list)
    corrupt: bool = False
    status: int | None = None
    ignore_range: bool = False
    broken: int | None = None
    requests: list[tuple[str, str, str | None]] = field(default_factory=list)
    url: str = ""

    @property
    def gets(self) -> list[str | None]:
        """The Range header of each GET of a file; the hub's client asks its server other things, too."""
        return [span for method, path, span in self.requests if method == "GET" and "/resolve/" in path]


@contextmanager
def serve(hub: Hub) -> Iterator[Hub]:
    """Run ``hub`` on a free loopback port."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *_: object) -> None:
            """Quiet."""

        def do_HEAD(self) -> None:
            self.answer(body=False)

        def do_GET(self) -> None:
            self.answer(body=True)

        def answer(self, *, body: bool) -> None:
            span = self.headers.get("Range")
            hub.requests.append((self.command, self.path, span))
            repo, _, rest = self.path.lstrip("/").partition("/resolve/main/")
            content = hub.files.get(f"{repo}/{rest}")
            known = any(key.startswith(f"{repo}/") for key in hub.files)
            if hub.status is not None or content is None:
                self.send_response(hub.status or 404)
                if hub.status is None:
                    self.send_header("X-Error-Code", "EntryNotFound" if known else "RepoNotFound")
                self.send_header("X-Repo-Commit", COMMIT)
                self.send_header("Content-Length", "0")
                self.end_headers()
                return
            etag, total, start = hashlib.sha256(content).hexdigest(), len(content), 0
            if hub.corrupt:
                content = bytes(b ^ 255 for b in content)
            if span and not hub.ignore_range:
                start = int(span.removeprefix("bytes=").split("-")[0])
            self.send_response(206 if start else 200)
            self.send_header("ETag", f'"{etag}"')
            self.send_header("X-Repo-Commit", COMMIT)
            self.send_header("Accept-Ranges", "bytes")
            self.send_header("Content-Length", str(total - start))
            if start:
                self.send_header("Content-Range", f"bytes {start}-{total - 1}/{total}")
            self.end_headers()
            if not body:
                return
            cut = hub.broken if hub.broken is not None else hub.cut_after.pop(0) if hub.cut_after else total
            self.wfile.write(content[start : start + cut])
            if start + cut < total:
                self.close_connection = True

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    hub.url = f"http://127.0.0.1:{server.server_port}"
    try:
        yield hub
    finally:
        server.shutdown()
        server.server_close()
        thread.join()

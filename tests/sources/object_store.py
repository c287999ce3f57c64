"""A small server that speaks as Amazon's object store does, and fails as stores and lines do: listing, ranges, ETags, writing."""

from __future__ import annotations

import hashlib
import re
import threading
import time
from collections import Counter
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit
from xml.sax.saxutils import escape

import pytest


@dataclass
class Bucket:
    """What a server holds and how it behaves.

    Attributes:
        url: of the server; the bucket is called ``maps``.
        objects: key to bytes.
        asked: how often each key was read; bytes that were sent of each.
        refuse: status of all answers, such as 403.
        busy: how often still each key is refused for now (503).
        cut: how often still the body of each key ends early.
        ranges: whether parts are given; otherwise always all of it, as some servers of the web do.
        changes: keys that are another object once somebody has read their beginning.
    """

    url: str = ""
    objects: dict[str, bytes] = field(default_factory=dict)
    asked: Counter[str] = field(default_factory=Counter)
    sent: Counter[str] = field(default_factory=Counter)
    refuse: int = 0
    busy: Counter[str] = field(default_factory=Counter)
    cut: Counter[str] = field(default_factory=Counter)
    changes: dict[str, bytes] = field(default_factory=dict)
    slow: float = 0.0
    ranges: bool = True


class ObjectServer:
    """Serves a bucket in a thread; a context manager."""

    def __enter__(self) -> Bucket:
        self.bucket = Bucket()
        handler = type("Handler", (_Handler,), {"bucket": self.bucket})
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self.bucket.url = f"http://127.0.0.1:{self._server.server_address[1]}"
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()
        return self.bucket

    def __exit__(self, *reason: object) -> None:
        self._server.shutdown()
        self._server.server_close()


def etag_of(data: bytes) -> str:
    """As Amazon's: the MD5 of what is there, in quotes."""
    return f'"{hashlib.md5(data, usedforsecurity=False).hexdigest()}"'


class _Handler(BaseHTTPRequestHandler):
    bucket: Bucket
    protocol_version = "HTTP/1.1"
    # An answer goes out in one piece: in two, the second would wait for the first to be confirmed.
    wbufsize = 1 << 16

    def log_message(self, *args: Any) -> None:
        pass

    def do_GET(self) -> None:
        parts = urlsplit(self.path)
        name, _, key = unquote(parts.path).lstrip("/").partition("/")
        time.sleep(self.bucket.slow)
        if self.bucket.refuse:
            self._answer(self.bucket.refuse, b"<Error><Code>AccessDenied</Code></Error>")
        elif name != "maps":
            self._answer(404, b"<Error><Code>NoSuchBucket</Code></Error>")
        elif key:
            self._object(key)
        else:
            self._list(parse_qs(parts.query))

    do_HEAD = do_GET

    def do_PUT(self) -> None:
        data = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        key = unquote(urlsplit(self.path).path).lstrip("/").partition("/")[2]
        if self.bucket.refuse:
            self._answer(self.bucket.refuse, b"<Error><Code>AccessDenied</Code></Error>")
            return
        self.bucket.objects[key] = data
        self._answer(200, b"", {"ETag": etag_of(data)})

    def _list(self, query: dict[str, list[str]]) -> None:
        prefix, deep = query.get("prefix", [""])[0], "delimiter" not in query
        lines = []
        for key, data in sorted(self.bucket.objects.items()):
            if key.startswith(prefix) and (deep or "/" not in key[len(prefix) :]):
                lines.append(
                    f"<Contents><Key>{escape(key)}</Key><LastModified>2026-01-01T00:00:00.000Z</LastModified>"
                    f"<ETag>{escape(etag_of(data))}</ETag><Size>{len(data)}</Size></Contents>"
                )
        text = f"<ListBucketResult><IsTruncated>false</IsTruncated>{''.join(lines)}</ListBucketResult>"
        self._answer(200, text.encode())

    def _object(self, key: str) -> None:
        bucket = self.bucket
        if key not in bucket.objects:
            self._answer(404, b"<Error><Code>NoSuchKey</Code></Error>")
            return
        if bucket.busy[key] > 0:
            bucket.busy[key] -= 1
            self._answer(503, b"<Error><Code>SlowDown</Code></Error>")
            return
        data = bucket.objects[key]
        if (wanted := self.headers.get("If-Match")) and wanted.strip('"') != etag_of(data).strip('"'):
            self._answer(412, b"<Error><Code>PreconditionFailed</Code></Error>")
            return
        start, end, status = 0, len(data), 200
        if bucket.ranges and (match := re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range", ""))):
            start, end, status = int(match[1]), min(int(match[2] or len(data)) + 1, len(data)), 206
        headers = {"ETag": etag_of(data), "Last-Modified": "Thu, 01 Jan 2026 00:00:00 GMT"}
        if status == 206:
            headers["Content-Range"] = f"bytes {start}-{end - 1}/{len(data)}"
        bucket.asked[key] += 1
        body = data[start:end]
        if bucket.cut[key] > 0:
            bucket.cut[key] -= 1
            self._answer(status, body[: len(body) // 2], headers, length=len(body))
            self.close_connection = True
            bucket.sent[key] += len(body) // 2
            return
        bucket.sent[key] += len(body)
        self._answer(status, body, headers)
        if key in bucket.changes:
            bucket.objects[key] = bucket.changes.pop(key)

    def _answer(
        self, status: int, body: bytes, headers: dict[str, str] | None = None, *, length: int | None = None
    ) -> None:
        self.send_response(status)
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body) if length is None else length))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)


def as_customer(monkeypatch: pytest.MonkeyPatch, url: str, home: Path) -> None:
    """The environment of somebody with an account at the store of ``url``, and a cache of their own."""
    for name, value in {
        "AWS_ENDPOINT_URL": url,
        "AWS_ACCESS_KEY_ID": "a",
        "AWS_SECRET_ACCESS_KEY": "b",
        "AWS_REGION": "us-east-1",
        "TESSERA_HOME": str(home),
    }.items():
        monkeypatch.setenv(name, value)

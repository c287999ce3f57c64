"""Names looked up on the internet, against a service on loopback: answers, faults, and what is sent."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlparse

import pytest

from tessera_core.errors import AcquisitionError, InputError
from tessera_core.geocoding.online import search_online

GRANTCHESTER = {
    "lat": "52.1796",
    "lon": "0.0964",
    "name": "Grantchester",
    "display_name": "Grantchester, South Cambridgeshire, England, United Kingdom",
    "address": {"state": "England", "country": "United Kingdom"},
}


class Service:
    """A service that answers with ``body`` and ``status``, and remembers what it was asked."""

    def __init__(self) -> None:
        self.body: bytes = b"[]"
        self.status = 200
        self.asked: list[tuple[str, dict[str, str]]] = []
        self.url = ""


@pytest.fixture
def service(monkeypatch: pytest.MonkeyPatch) -> Iterator[Service]:
    """The service, which the search is told to use."""
    known = Service()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            known.asked.append((self.path, dict(self.headers)))
            self.send_response(known.status)
            self.send_header("Content-Length", str(len(known.body)))
            self.end_headers()
            self.wfile.write(known.body)

        def log_message(self, *_: Any) -> None:
            """Stay silent."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    known.url = f"http://127.0.0.1:{server.server_port}/search"
    monkeypatch.setenv("TESSERA_GEOCODER_URL", known.url)
    yield known
    server.shutdown()
    server.server_close()
    thread.join(5)


def test_a_hamlet_is_found_and_only_the_name_is_sent(service: Service) -> None:
    service.body = json.dumps([GRANTCHESTER]).encode()
    (place,) = search_online(" Grantchester ")
    assert (place.name, place.country) == ("Grantchester", "England, United Kingdom")
    assert (place.lon, place.lat) == (0.0964, 52.1796)
    ((path, headers),) = service.asked
    query = parse_qs(urlparse(path).query)
    assert query["q"] == ["Grantchester"]
    assert set(query) == {"q", "format", "limit", "addressdetails"}
    assert headers["User-Agent"].startswith("tessera-studio")


@pytest.mark.parametrize(
    ("status", "body", "says"),
    [
        (503, b"busy", "error 503"),
        (200, b"<html>", "cannot be read"),
        (200, b'[{"lat": "1"}]', "cannot be read"),
        (200, b'[{"lat": "100", "lon": "0", "display_name": "x"}]', "cannot be read"),
        (200, b'{"error": "x"}', "cannot be read"),
    ],
)
def test_faults_are_one_sentence(service: Service, status: int, body: bytes, says: str) -> None:
    service.status, service.body = status, body
    with pytest.raises(AcquisitionError, match=says):
        search_online("somewhere")


def test_no_answer_at_all(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TESSERA_GEOCODER_URL", "http://127.0.0.1:9/")
    with pytest.raises(AcquisitionError, match="cannot be reached"):
        search_online("somewhere", timeout_s=2)
    with pytest.raises(InputError, match="Type the name"):
        search_online("  ")

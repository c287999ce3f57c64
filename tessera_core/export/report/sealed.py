"""The report's JSON: sealed by a checksum over its canonical form, carried by HTML and PDF as well, and read back from any of them.

Canonical is the JSON with sorted keys, no spaces and shortest decimals, in UTF-8. The seal tells that something was changed, not
by whom: whoever changes a number can seal it anew. Only :mod:`tessera_core.project.verify`, which computes all of it again from
the project, tells that a number is right.
"""

from __future__ import annotations

import hashlib
import json
import re
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from tessera_core.errors import InputError
from tessera_core.export.report.model import FORMAT, Report
from tessera_core.gate import parse_json, read_bytes
from tessera_core.periods import written

# A report of 254 classes is about 0.5 MB; a picture of the map comes on top.
MAX_FILE_BYTES = 64 << 20
_MAX_JSON_BYTES = 8 << 20
_HEAD_BYTES = 200
_FAMILY, _, _VERSION = FORMAT.partition("/")
_IN_HTML = re.compile(rb"<script[^>]*\bid=[\"']?tessera-report[\"']?[^>]*>(.*?)</script>", re.DOTALL)
_STREAM = re.compile(rb"stream\r?\n(.*?)\r?\nendstream", re.DOTALL)
ENDINGS = (".html", ".htm", ".pdf", ".json")


class ReportError(InputError):
    """A file is no report, a damaged one, or one of a later version."""


@dataclass(frozen=True)
class Sealed:
    """A report as it was read from a file.

    Attributes:
        report: what it says.
        values: the same as it stands in the file.
        whole: whether the seal fits what it says.
        kind: ``"json"``, ``"html"`` or ``"pdf"``.
        content: the file.
    """

    report: Report
    values: dict[str, Any]
    whole: bool
    kind: str
    content: bytes


def plain(report: Report) -> dict[str, Any]:
    """The report as values of JSON."""
    value: dict[str, Any] = json.loads(msgspec.json.encode(report, enc_hook=written))
    return value


def checksum(values: dict[str, Any]) -> str:
    """SHA-256 of the canonical form, as ``sha256:...``.

    >>> checksum({"b": 1, "a": [0.5, None]}) == checksum({"a": [0.5, None], "b": 1})
    True
    """
    text = json.dumps(values, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    return f"sha256:{hashlib.sha256(text.encode()).hexdigest()}"


def sealed_json(report: Report) -> str:
    """The file: format, checksum, and the report."""
    values = plain(report)
    return json.dumps(
        {"format": FORMAT, "checksum": checksum(values), "report": values},
        indent=1,
        ensure_ascii=False,
        allow_nan=False,
    )


def read_sealed(path: str | Path) -> Sealed:
    """The report in a file of any form.

    Raises:
        ReportError: it holds none, a damaged one, or one of a later version of this program.
    """
    return sealed_in(read_bytes(path, ReportError, MAX_FILE_BYTES), Path(path).name)


def sealed_in(content: bytes, name: str) -> Sealed:
    """The report in the bytes of a file called ``name``.

    Raises:
        ReportError: as :func:`read_sealed`.
    """
    kind, text = _carried(content)
    if text is None:
        raise ReportError(
            f"{name} holds no report of this program. Choose the report as it was saved: an HTML, PDF or JSON file."
        )
    damaged = ReportError(f"The report in {name} is damaged: part of it is missing. Ask for the file anew.")
    try:
        value = parse_json(text)
        family, _, version = str(value["format"]).partition("/")
        if family != _FAMILY:
            raise ReportError(f"{name} is another file of this program ({family[:40]}), not a report.")
        if version.isdigit() and int(version) > int(_VERSION):
            raise ReportError(f"The report in {name} was made by a later version of Tessera Studio; update this one.")
        values = value["report"]
        report = msgspec.convert(values, Report, strict=False)
        return Sealed(report, values, value["checksum"] == checksum(values), kind, content)
    except ReportError:
        raise
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise damaged from error


def _carried(content: bytes) -> tuple[str, bytes | None]:
    """The form of a file, and the JSON in it."""
    if content.startswith(b"%PDF"):
        return "pdf", _in_pdf(content)
    if found := _IN_HTML.search(content):
        return "html", found[1]
    return "json", content if content.lstrip(b"\xef\xbb\xbf \t\r\n").startswith(b"{") else None


def _in_pdf(content: bytes) -> bytes | None:
    """The attachment: ours is not compressed; another program may have compressed it when it saved the file again."""
    for found in _STREAM.finditer(content):
        data = found[1]
        if _begins(data):
            return data
        try:
            if _begins(zlib.decompressobj().decompress(data, _HEAD_BYTES)):
                return zlib.decompressobj().decompress(data, _MAX_JSON_BYTES)
        except zlib.error:
            # Another filter, or no filter: nothing that we wrote.
            continue
    return None


def _begins(data: bytes) -> bool:
    return data.lstrip().startswith(b"{") and f'"{_FAMILY}/'.encode() in data[:_HEAD_BYTES]

"""The report as HTML: one file, complete in itself; nothing in it is loaded from elsewhere."""

from __future__ import annotations

import base64
from pathlib import Path

from tessera_core._utils.templates import render
from tessera_core.export.report.model import Report
from tessera_core.export.report.sealed import sealed_json
from tessera_core.export.report.words import Line, Table, document
from tessera_core.language import ENGLISH, known


def report_html(report: Report, picture: bytes) -> str:
    """The report as HTML text.

    Args:
        picture: PNG of the map.
    """
    return _page(report, "data:image/png;base64," + base64.b64encode(picture).decode())


def without_picture(report: Report) -> str:
    """The same with nothing where the picture's data stand: what any file of this report shows in words."""
    return _page(report, "")


def _page(report: Report, picture: str) -> str:
    return render(
        Path(__file__).with_name("report.html.jinja"),
        document=document(report),
        language=report.language if known(report.language) else ENGLISH,
        picture=picture,
        # Of what a script's end could look like nothing is left, and the JSON is the same.
        data=sealed_json(report).replace("<", "\\u003c"),
        kind_of=_kind,
    )


def _kind(block: object) -> str:
    """What a block of a section is, for the template."""
    if isinstance(block, str):
        return "paragraph"
    return "table" if isinstance(block, Table) else "list" if isinstance(block, tuple) and _lines(block) else "nothing"


def _lines(block: tuple[object, ...]) -> bool:
    return bool(block) and all(isinstance(line, Line) for line in block)

"""A report as a file: HTML to read and send, PDF to print and file, JSON for programs."""

from __future__ import annotations

from pathlib import Path

from tessera_core._utils.atomic import atomic_path, write_text
from tessera_core.errors import ExportError
from tessera_core.export.map_layout import MapLayout, Page, picture_bytes
from tessera_core.export.report.html import report_html
from tessera_core.export.report.model import Report
from tessera_core.export.report.sealed import ENDINGS, sealed_json


def write_report(path: str | Path, report: Report, layout: MapLayout) -> Path:
    """Write a report in the form that the ending says.

    Args:
        path: of the file, one of :data:`ENDINGS`; ``.html`` is added where it has none.
        report: what it says.
        layout: the map's picture, of :func:`tessera_core.export.pictures.class_layout`.

    Raises:
        ExportError: the ending is another one, or the file cannot be written.
    """
    path = Path(path)
    path = path if path.suffix else path.with_suffix(".html")
    kind = path.suffix.lower()
    if kind not in ENDINGS:
        raise ExportError(f"{path.name} is no report's name; end it with .html, .pdf or .json.")
    if kind == ".json":
        write_text(path, sealed_json(report))
        return path
    picture = picture_bytes(layout, Page.FIGURE)
    if kind == ".pdf":
        from tessera_core.export.report.pdf import any_pdf

        content = any_pdf(report, picture)
        with atomic_path(path) as part:
            part.write_bytes(content)
    else:
        write_text(path, report_html(report, picture))
    return path

"""The report of a map: one object of plain values, shown as HTML, as PDF and as JSON, each of which can be checked later."""

from tessera_core.export.report.html import report_html
from tessera_core.export.report.model import FORMAT, Learner, LessonDone, Report
from tessera_core.export.report.sealed import ENDINGS, ReportError, Sealed, read_sealed, sealed_in, sealed_json
from tessera_core.export.report.write import write_report

__all__ = [
    "ENDINGS",
    "FORMAT",
    "Learner",
    "LessonDone",
    "Report",
    "ReportError",
    "Sealed",
    "read_sealed",
    "report_html",
    "sealed_in",
    "sealed_json",
    "write_report",
]

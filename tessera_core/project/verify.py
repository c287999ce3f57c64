"""Check a report: its seal, whether its words fit its numbers, and every number against the project it was made of.

The project's map, score and estimates are computed anew, by the functions that made the report. Numbers may differ by one part in
a million, as another processor adds in another order; counts, names and sentences may not differ at all.
"""

from __future__ import annotations

import io
import json
import math
import re
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from tessera_core.export.report import Learner, LessonDone, Report, ReportError, Sealed
from tessera_core.export.report.html import without_picture
from tessera_core.export.report.model import STATED
from tessera_core.export.report.sealed import plain
from tessera_core.language import ENGLISH, known, using
from tessera_core.periods import is_period, period
from tessera_core.project.classify import map_project, project_product
from tessera_core.project.project import Project
from tessera_core.project.report import project_report
from tessera_core.provenance import SOFTWARE
from tessera_core.sources.local.open import open_embeddings
from tessera_core.types import Cancel, Progress

TOLERANCE = 1e-6
_PICTURE = re.compile(rb"src='data:image/png;base64,[A-Za-z0-9+/=]*'")
_STREAM = re.compile(rb"stream\r?\n(.*?)\r?\nendstream", re.DOTALL)
_MAX_PAGE_BYTES = 4 << 20


@dataclass(frozen=True)
class Difference:
    """Something that a report says and the project does not: where, what it says, and what is found (None: nothing)."""

    where: str
    stated: Any
    found: Any

    def __str__(self) -> str:
        return f"{self.where}: the report says {_told(self.stated)}, the project says {_told(self.found)}"


@dataclass(frozen=True)
class Verdict:
    """What checking a report found.

    Attributes:
        report: what it says.
        whole: whether its seal fits what it says.
        shown: whether its pages show what its numbers say; None where another version wrote them, or other fonts.
        compared: values that were computed again; 0 where no project was at hand.
        differences: of these, those that are others.
        causes: what of the project is another than when the report was made, in sentences.
    """

    report: Report
    whole: bool
    shown: bool | None
    compared: int = 0
    differences: tuple[Difference, ...] = ()
    causes: tuple[str, ...] = ()

    @property
    def holds(self) -> bool:
        """Whether nothing speaks against the report."""
        return self.whole and self.shown is not False and not self.differences

    def sentences(self) -> list[str]:
        """For people, the result first."""
        lines = []
        if self.compared and not self.differences:
            lines.append(f"All {self.compared} values of this report follow from the project {self.report.project}.")
        if self.differences:
            lines.append(
                f"{len(self.differences)} of {self.compared} values of this report do not follow from the project:"
            )
            lines += [f"{difference}." for difference in self.differences]
        lines += self.causes
        if not self.whole:
            lines.append("The report was changed after it was made: its checksum does not fit what it says.")
        if self.shown is False:
            lines.append("What the pages of this file show is not what its own data say; believe neither.")
        if self.shown is None:
            lines.append(
                f"Its pages were made by {self.report.software}, or with other fonts, and are not compared with its data; make "
                "the report anew to read it."
            )
        if not self.compared:
            if self.whole:
                lines.append("The report is as it was made: its checksum fits.")
            lines.append("Whether its numbers are right was not looked at: that takes the project it was made of.")
        return lines


def check_seal(sealed: Sealed) -> Verdict:
    """What can be told of a report without its project."""
    return Verdict(sealed.report, sealed.whole, _shows(sealed))


def verify(
    sealed: Sealed,
    project: Project,
    *,
    lesson: LessonDone | None = None,
    cancelled: Cancel | None = None,
    progress: Progress | None = None,
) -> Verdict:
    """Compute every value of a report again from a project.

    Args:
        sealed: the report.
        project: that it was made of, or a copy.
        lesson: how far the project's lesson has come (:func:`tessera_core.lessons.record.lesson_of`), for a learner's record.

    Raises:
        ReportError: the report is of another project, or of a year that it does not have.
        ProjectError: the project's embeddings are not at hand.
        HeadError: the project's labels do not suffice for a map any more.
        Cancelled: ``cancelled`` said so.
    """
    said = sealed.report
    if said.project_id not in (project.origin, project.id):
        raise ReportError(
            f"This report is of the project {said.project!r}, not of {project.name!r}. Open that project, or a copy of it."
        )
    year = period(said.year) if isinstance(said.year, str) and is_period(said.year) else said.year
    if isinstance(year, str) or year not in project.embeddings:
        raise ReportError(
            f"This report is of {said.year}, and the project {project.name!r} has no embeddings of that year."
        )
    raster = open_embeddings(project.embeddings_path(year), year=year)
    made = map_project(project, raster, year, cancelled=cancelled, progress=progress)
    learner = None
    if said.learner is not None:
        learner = Learner(name=said.learner.name, lesson=lesson)
    product = project_product(project, raster, made, cancelled=cancelled)
    with using(said.language if known(said.language) else ENGLISH):
        again = plain(project_report(project, product, year, learner=learner))
    compared, found = differences(sealed.values, _known_then(sealed.values, again))
    return Verdict(said, sealed.whole, _shows(sealed), compared, found, tuple(_causes(sealed.values, again)))


# ------------------------------------------------------------------ values


def _known_then(said: dict[str, Any], again: dict[str, Any]) -> dict[str, Any]:
    """Without the parts that reports had not when this one was made."""
    if "two_maps" not in said:
        again = {key: value for key, value in again.items() if key != "two_maps"}
    checked, now = said.get("validation"), again.get("validation")
    if checked and now and "certified" not in checked:
        return again | {"validation": {key: value for key, value in now.items() if key != "certified"}}
    return again


def differences(stated: dict[str, Any], found: dict[str, Any]) -> tuple[int, tuple[Difference, ...]]:
    """How many values of two reports (as :func:`tessera_core.export.report.sealed.plain`) were compared, and which differ."""
    pairs = list(_pairs(stated, found))
    return len(pairs), tuple(
        Difference(_where(path), one, other) for path, one, other in pairs if not _equal(one, other)
    )


def _pairs(one: Any, other: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any, Any]]:
    """Every value of either side with its path; things of a list are found by their id."""
    if ".".join(path) in STATED:
        return
    if isinstance(one, dict) and isinstance(other, dict):
        for key in dict.fromkeys((*one, *other)):
            yield from _pairs(one.get(key), other.get(key), (*path, str(key)))
    elif isinstance(one, list) and isinstance(other, list):
        left, right = _by_name(one), _by_name(other)
        for key in dict.fromkeys((*left, *right)):
            yield from _pairs(left.get(key), right.get(key), (*path, key))
    else:
        yield path, one, other


def _by_name(values: list[Any]) -> dict[str, Any]:
    named = {f"{v.get('name') or v['id']}": v for v in values if isinstance(v, dict) and "id" in v}
    return named if len(named) == len(values) else {str(n + 1): value for n, value in enumerate(values)}


def _equal(one: Any, other: Any) -> bool:
    if isinstance(one, bool) or isinstance(other, bool):
        return one is other
    if isinstance(one, int | float) and isinstance(other, int | float):
        if isinstance(one, int) and isinstance(other, int):
            return one == other
        return math.isclose(one, other, rel_tol=TOLERANCE, abs_tol=TOLERANCE**2)
    return type(one) is type(other) and bool(one == other)


def _where(path: tuple[str, ...]) -> str:
    return ", ".join(part.replace("_", " ") for part in path)


def _told(value: Any) -> str:
    if value is None:
        return "nothing"
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 200 else f"{text[:200]}..."


def _causes(said: dict[str, Any], again: dict[str, Any]) -> Iterator[str]:
    labels, now = said.get("labels") or {}, again["labels"]
    if labels.get("sha256") != now["sha256"]:
        yield f"The project's labels are others than the report's ({now['count']} today, {labels.get('count')} then)."
    checked, checked_now = said.get("validation") or {}, again.get("validation") or {}
    if checked.get("sha256") != checked_now.get("sha256"):
        yield "The project's places and answers of the validation are others than the report's."
    two, two_now = said.get("two_maps") or {}, again.get("two_maps") or {}
    if two.get("sha256") != two_now.get("sha256"):
        yield "The project's comparison of two maps is another than the report's."
    source, source_now = said.get("source") or {}, again["source"]
    if (source.get("dataset"), source.get("checksum")) != (source_now["dataset"], source_now["checksum"]):
        yield "The project's embeddings are others than the report's."


# ------------------------------------------------------------------ words


def _shows(sealed: Sealed) -> bool | None:
    """Whether the words of a file are those that its data make."""
    if sealed.kind == "json":
        return True
    if sealed.report.software != SOFTWARE:
        return None
    if sealed.kind == "html":
        bare = _PICTURE.sub(b"src=''", sealed.content, count=1)
        return bare == without_picture(sealed.report).encode()
    return _pages_fit(sealed)


def _pages_fit(sealed: Sealed) -> bool | None:
    from PIL import Image

    from tessera_core.export.map_layout import Page
    from tessera_core.export.report.pdf import any_pdf, own_letters

    if not own_letters(sealed.report):
        return None
    blank = io.BytesIO()
    width, height = Page.FIGURE.value
    Image.new("RGB", (int(144 * width), int(144 * height))).save(blank, "PNG")
    return _drawn(sealed.content) == _drawn(any_pdf(sealed.report, blank.getvalue()))


def _drawn(pdf: bytes) -> list[bytes]:
    """What is drawn on the pages of a PDF of ours, in order; pictures are only named there."""
    pages = []
    for found in _STREAM.finditer(pdf):
        try:
            text = zlib.decompressobj().decompress(found[1], _MAX_PAGE_BYTES)
        except zlib.error:
            continue
        if b"BT " in text and b" ET" in text:
            pages.append(text)
    return pages

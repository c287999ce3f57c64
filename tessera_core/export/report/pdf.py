"""The report as PDF: A4, with title, language, bookmarks, a text for the picture, and its JSON attached.

Letters come from the font that matplotlib brings, and from what this computer has for scripts that it lacks. A letter that no
font has is drawn as a box, and the first page says so.
"""

from __future__ import annotations

import datetime as dt
import io
from collections.abc import Iterable, Sequence
from pathlib import Path

from fpdf import FPDF, XPos, YPos
from fpdf.enums import MethodReturnValue, TableBordersLayout
from fpdf.fonts import FontFace

from tessera_core.export.report.model import Report
from tessera_core.export.report.sealed import checksum, plain, sealed_json
from tessera_core.export.report.words import Block, Document, Line, Section, Table, document, language_of, record
from tessera_core.language import t, using

ATTACHMENT = "report.json"
_INK, _GREY, _WARN = (28, 37, 38), (91, 101, 103), (163, 54, 0)
_MARGIN, _LINE = 18.0, 5.0
# A table up to this height (mm) is not cut by the end of a page.
_KEPT_WHOLE = 90.0
# What a cell needs beside its text, and a column of texts at least, mm.
_PADDED, _LEAST_TEXT = 5.0, 28.0
_BOX = "\N{WHITE SQUARE}"


def report_pdf(report: Report, picture: bytes, shown: Document | None = None) -> bytes:
    """The report as bytes of a PDF; the same report is the same file.

    Args:
        picture: PNG of the map.
        shown: other words than those of the report, such as a record of a learner's work.
    """
    shown = document(report) if shown is None else shown
    with using(language_of(report)):
        pdf = _Sheet(shown, report)
        pdf.write_document(shown, picture)
        return bytes(pdf.output())


def any_pdf(report: Report, picture: bytes) -> bytes:
    """The PDF that a report is: a record of a learner's work where it has a learner."""
    return report_pdf(report, picture, None if report.learner is None else record(report))


def own_letters(report: Report) -> bool:
    """Whether the font that comes along has all letters of a report, so that it is the same file on every computer."""
    return not (_letters(document(report)) | _letters(record(report))) - _has(_folder() / "DejaVuSans.ttf")


class _Sheet(FPDF):
    """A4 under the pen."""

    def __init__(self, shown: Document, report: Report) -> None:
        super().__init__(format="A4")
        self.seal = checksum(plain(report))
        self.heading = shown.title
        self.set_margin(_MARGIN)
        self.set_auto_page_break(True, 20)
        self.missing = self._load_fonts(_letters(shown))
        self.set_title(shown.title)
        self.set_subject(shown.lead)
        self.set_lang(language_of(report))
        self.set_creator(report.software)
        # Not the hour: the same report is the same file.
        day = dt.date.fromisoformat(report.made_on)
        self.set_creation_date(dt.datetime(day.year, day.month, day.day, tzinfo=dt.UTC))
        self.set_display_mode("fullwidth")
        self.embed_file(
            bytes=sealed_json(report).encode(),
            basename=ATTACHMENT,
            desc="What this report says, for tessera verify",
            creation_date=None,
            modification_date=None,
            mime_type="application/json",
        )
        self.add_page()

    def footer(self) -> None:
        """Title, seal and number of each page."""
        self.set_y(-14)
        self.set_font("body", size=8)
        self.set_text_color(*_GREY)
        page = t("page {number} of {pages}", number=self.page_no(), pages="{nb}")
        self.cell(0, 5, self._fit(f"{self.heading} · {self.seal[:19]} · {page}"), align="C")

    def write_document(self, shown: Document, picture: bytes) -> None:
        """All of it."""
        self._text(shown.title, 19, bold=True, height=8.5)
        self._text(shown.lead, 10.5)
        if self.missing:
            self._text(
                f"This computer has no font for {len(self.missing)} of the letters here; they are drawn as boxes. The HTML "
                "report shows them.",
                9,
                colour=_GREY,
            )
        if shown.warning:
            self._text(shown.warning, 10.5, bold=True, colour=_WARN)
        self.ln(2)
        self.image(io.BytesIO(picture), w=self.epw, alt_text=shown.picture_alt)
        self.ln(1)
        self._text(shown.caption, 8.5, colour=_GREY)
        for section in shown.sections:
            self._section(section)

    def _section(self, section: Section) -> None:
        self.ln(2)
        if self.will_page_break(28):
            self.add_page()
        self.set_font("body", style="B", size=12.5)
        self.start_section(self._fit(section.title))
        self._text(section.title, 12.5, bold=True, height=6.5)
        following = (*section.blocks, None)[1:]
        for block, after in zip(section.blocks, following, strict=True):
            self._keep_whole(block, after)
            if isinstance(block, str):
                self._text(block, 10)
            elif isinstance(block, Table):
                self._table(block)
            else:
                self._list(block)

    def _keep_whole(self, block: Block, after: Block | None) -> None:
        """A new page where a short table would be cut, or a sentence parted from the table that it is about."""
        if isinstance(block, str) and isinstance(after, Table):
            self.set_font("body", size=10)
            text = self.multi_cell(0, _LINE, self._fit(block), align="L", dry_run=True, output=MethodReturnValue.HEIGHT)
            assert isinstance(text, int | float)
            height = text + 1 + _height(after)
        elif isinstance(block, Table):
            height = _height(block)
        else:
            return
        if height <= _KEPT_WHOLE and self.will_page_break(height):
            self.add_page()

    def _text(
        self,
        text: str,
        size: float,
        *,
        bold: bool = False,
        colour: tuple[int, int, int] = _INK,
        height: float = _LINE,
    ) -> None:
        self.set_font("body", style="B" if bold else "", size=size)
        self.set_text_color(*colour)
        self.multi_cell(0, height, self._fit(text), align="L", new_x=XPos.LMARGIN, new_y=YPos.NEXT)
        self.ln(1)

    def _list(self, lines: Sequence[Line]) -> None:
        for line in lines:
            self.set_text_color(*_INK)
            self.set_font("body", size=10)
            self.cell(4, _LINE, "•")
            left = self.l_margin
            self.set_left_margin(left + 4)
            if line.strong:
                self.set_font("body", style="B", size=10)
                self.write(_LINE, self._fit(line.strong) + (" " if line.text else ""))
                self.set_font("body", size=10)
            self.write(_LINE, self._fit(line.text))
            self.set_left_margin(left)
            self.ln(_LINE + 0.6)
        self.ln(1)

    def _table(self, block: Table) -> None:
        keyed = bool(block.colours)
        headed = bool(block.head[0])
        self.set_font("body", size=9)
        widths = self._widths(block)
        aligns = ["LEFT" if n < block.texts else "RIGHT" for n in range(len(block.head))]
        self.set_text_color(*_INK)
        with self.table(
            width=self.epw,
            col_widths=tuple(widths),
            text_align=tuple(["LEFT", *aligns] if keyed else aligns),
            borders_layout=TableBordersLayout.HORIZONTAL_LINES,
            line_height=_LINE,
            padding=(0.4, 1.2),
            first_row_as_headings=headed,
            headings_style=FontFace(emphasis="BOLD"),
        ) as table:
            if headed:
                head = table.row()
                for title in ("", *block.head) if keyed else block.head:
                    head.cell(self._fit(title))
            for number, texts in enumerate(block.rows):
                row = table.row()
                if keyed:
                    row.cell("", style=FontFace(fill_color=_rgb(block.colours[number])))
                for text in texts:
                    row.cell(self._fit(text))
        self.ln(2)

    def _widths(self, block: Table) -> list[float]:
        """Of the columns, mm: numbers alike and texts twice as wide, but a number is not broken as long as texts keep room."""
        texts, count = block.texts, len(block.head)
        wide = [2.0 if n < texts else 1.0 for n in range(count)] if block.head[0] else [1.0, 2.4]
        keys = [0.16 * wide[0]] if block.colours else []
        share = self.epw / sum((*keys, *wide))
        keys, wide = [share * one for one in keys], [share * one for one in wide]
        if not block.head[0] or not texts:
            return [*keys, *wide]
        needed = [
            max((self.get_string_width(self._fit(row[n])) for row in block.rows), default=0.0) + _PADDED
            for n in range(texts, count)
        ]
        numbers = [max(one, other) for one, other in zip(wide[texts:], needed, strict=True)]
        left = (sum(wide) - sum(numbers)) / texts
        return [*keys, *([left] * texts), *numbers] if left >= _LEAST_TEXT else [*keys, *wide]

    # ------------------------------------------------------------------ letters

    def _load_fonts(self, letters: set[str]) -> set[str]:
        """Take the fonts that the letters need; returns those that none has."""
        from matplotlib.font_manager import fontManager

        folder = _folder()
        self.add_font("body", "", folder / "DejaVuSans.ttf")
        self.add_font("body", "B", folder / "DejaVuSans-Bold.ttf")
        missing = letters - _has(folder / "DejaVuSans.ttf")
        taken: list[str] = []
        for font in sorted(fontManager.ttflist, key=lambda font: font.fname):
            path = Path(font.fname)
            plain_face = font.style == "normal" and font.weight in (400, "normal")
            # A font of last resort draws the same box for every letter.
            if not missing or path.suffix.lower() != ".ttf" or not plain_face or "Last" in font.name:
                continue
            if found := missing & _has(path):
                missing -= found
                name = f"more{len(taken)}"
                self.add_font(name, "", path)
                taken.append(name)
        if taken:
            self.set_fallback_fonts(taken, exact_match=False)
        return missing

    def _fit(self, text: str) -> str:
        """The text with a box for every letter that no font has."""
        return "".join(_BOX if letter in self.missing else letter for letter in text)


def _height(table: Table) -> float:
    """Of a table whose cells are one line each, and its titles up to two, mm."""
    return (_LINE + 0.8) * (len(table.rows) + 2)


def _letters(shown: Document) -> set[str]:
    """What has to be drawn."""
    texts = [shown.title, shown.lead, shown.warning, shown.caption]
    for section in shown.sections:
        texts.append(section.title)
        for block in section.blocks:
            texts += [block] if isinstance(block, str) else _texts(block)
    return {letter for text in texts for letter in text if letter.isprintable() and not letter.isspace()}


def _texts(block: Table | tuple[Line, ...]) -> Iterable[str]:
    if isinstance(block, Table):
        return (*block.head, *(text for row in block.rows for text in row))
    return [text for line in block for text in (line.strong, line.text)]


def _folder() -> Path:
    from matplotlib import get_data_path

    return Path(get_data_path()) / "fonts" / "ttf"


def _has(path: Path) -> set[str]:
    from matplotlib.font_manager import get_font

    return {chr(code) for code in get_font(str(path)).get_charmap()}


def _rgb(colour: str) -> tuple[int, int, int]:
    return int(colour[1:3], 16), int(colour[3:5], 16), int(colour[5:7], 16)

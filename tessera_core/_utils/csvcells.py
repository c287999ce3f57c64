"""Cells of the tables we write, so that no spreadsheet takes a text for a formula; and back, letter for letter.

A text that a spreadsheet would run (it begins with ``=``, ``+``, ``-``, ``@``, a tab or a line end, and is no number) gets an
apostrophe in front, which spreadsheets show as text. Reading takes exactly one such apostrophe away again.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

# Spreadsheets of east Asia also take the wide forms; some programs pass over spaces and apostrophes before the sign.
_FORMULA = re.compile(r"'*\s*[=+\-@\t\r\n\uff1d\uff0b\uff0d\uff20]")
_NUMBER = re.compile(r"[+-]?(?:\d+(?:[.,]\d*)?|[.,]\d+)(?:[eE][+-]?\d+)?")


def _runs(text: str) -> bool:
    return bool(_FORMULA.match(text)) and not _NUMBER.fullmatch(text)


def quoted[T](cell: T) -> T | str:
    """A cell as it should be written; what is no text, and text that is harmless, stays as it is."""
    return "'" + cell if isinstance(cell, str) and _runs(cell) else cell


def quoted_row(cells: Iterable[object]) -> list[object]:
    """:func:`quoted` of each cell."""
    return [quoted(cell) for cell in cells]


def unquoted(text: str) -> str:
    """The text that :func:`quoted` was given; other texts stay as they are."""
    return text[1:] if text.startswith("'") and _runs(text[1:]) else text

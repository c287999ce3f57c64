"""Numbers and days as a language writes them."""

from __future__ import annotations

import datetime as dt

from tessera_core.language.marks import marked
from tessera_core.language.speaking import current, later, t

_MONTHS = (
    later("January"),
    later("February"),
    later("March"),
    later("April"),
    later("May"),
    later("June"),
    later("July"),
    later("August"),
    later("September"),
    later("October"),
    later("November"),
    later("December"),
)


def day_text(day: dt.date) -> str:
    """A day in words.

    >>> day_text(dt.date(2026, 11, 3))
    '3 November 2026'
    """
    return t("{day} {month} {year}", day=day.day, month=t(_MONTHS[day.month - 1]), year=day.year)


def numeral(value: float, spec: str = "") -> str:
    """A number by Python's format ``spec``, with the marks of the language that is spoken.

    >>> from tessera_core.language import using
    >>> with using("de"):
    ...     numeral(1234.5, ",.1f")
    '1.234,5'
    """
    return localized(format(value, spec))


def localized(text: str) -> str:
    """The text of a number, written the English way, with the marks of the language that is spoken."""
    return marked(text, current())

"""Numbers and days as a language writes them."""

from __future__ import annotations

import datetime as dt

from tessera_core._utils.percents import percent
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


def percentage(share: float, digits: int = 0) -> str:
    """A share, 0 to 1, in percent and without the sign (:func:`tessera_core._utils.percents.percent`), as the language writes it.

    >>> from tessera_core.language import using
    >>> with using("de"):
    ...     percentage(0.996)
    '99,6'
    """
    return localized(percent(share, digits))


def localized(text: str) -> str:
    """The text of a number, written the English way, with the marks of the language that is spoken."""
    return marked(text, current())

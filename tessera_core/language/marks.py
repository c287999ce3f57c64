"""The marks with which a language writes numbers; separators after the Unicode CLDR. Pure."""

from __future__ import annotations

import re

# Language -> decimal mark, mark between thousands.
MARKS = {"de": (",", "."), "es": (",", "."), "fr": (",", "\u202f"), "pt": (",", ".")}
# A number written the English way that another language writes otherwise, perhaps with a unit: neither versions nor dates.
_NUMBER = re.compile(r"[-+±<>\u2212]?(?:\d{1,3}(?:,\d{3})+(?:\.\d+)?|\d+\.\d+)(?:\s?(?:%|[A-Za-zµ°]{1,4}[²³]?))?")


def marked(text: str, language: str) -> str:
    """The text of a number, written the English way, with the marks of ``language``.

    >>> marked("1,234.5", "de")
    '1.234,5'
    """
    marks = MARKS.get(language)
    if marks is None:
        return text
    decimal, thousands = marks
    return text.translate({ord("."): decimal, ord(","): thousands})


def number_in(text: str, language: str) -> str:
    """The same where the text is a number, and perhaps a unit, and nothing else; other text stays as it is.

    >>> number_in("12.5 ha", "de"), number_in(">99.99", "de"), number_in("1.2.3", "de"), number_in("Fen 1.5", "de")
    ('12,5 ha', '>99,99', '1.2.3', 'Fen 1.5')
    """
    return marked(text, language) if _NUMBER.fullmatch(text) else text

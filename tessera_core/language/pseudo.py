"""A language for tests: English that everybody can read, and tell from English, and a third longer, as German is."""

from __future__ import annotations

import re

_PLAIN = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
_ACCENTED = "áƀćđéƒĝĥíĵķłɱñóƥɋŕšťúṽŵẋýžÁɃĆĐÉƑĜĤÍĴĶŁṀÑÓƤɊŔŠŤÚṼŴẊÝŽ"
_TABLE = str.maketrans(_PLAIN, _ACCENTED)
# Placeholders, icons, colours and links of Markdown, and tags, are no words.
_KEPT = re.compile(r"\{[^{}]*\}|:material/\w+:|:[a-z]+\[|\]\([^)]*\)|<[^<>]+>|&\w+;|`[^`]*`")
_BLANKS = re.compile(r"^(\s*(?:[#>*|-]+\s+|\d+\. |\*\*)?)(.*?)(\**\s*)$", re.DOTALL)


def pseudo(message: str) -> str:
    """``message`` with accents, and longer; what stands in for values, icons and tags stays.

    >>> pseudo("Save {name}")
    '⟦Šáṽé {name}···⟧'
    """
    before, words, after = _BLANKS.fullmatch(message).groups()  # type: ignore[union-attr]
    parts, at = [], 0
    for kept in _KEPT.finditer(words):
        parts += [words[at : kept.start()].translate(_TABLE), kept.group()]
        at = kept.end()
    parts.append(words[at:].translate(_TABLE))
    letters = sum(len(part) for part in parts[::2])
    return f"{before}⟦{''.join(parts)}{'·' * round(letters / 3 + 1)}⟧{after}"

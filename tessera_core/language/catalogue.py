"""The catalogues of a language: compiled gettext files beside this module, made by ``make words``.

``studio`` has the sentences of pages and components; ``core`` has those of the rooms below, which are said in English and
found again by the words around what was put in.
"""

from __future__ import annotations

import gettext
import re
from functools import cache, lru_cache
from importlib.resources import files

# Doubled braces stand for themselves.
_PLACE = re.compile(r"(?<!\{)\{\w+\}(?!\})")
# A sentence has to have so many letters of its own to be told from what people wrote.
_LETTERS = 8
_DEPTH = 3


class Catalogue:
    """Sentences of one language.

    Args:
        language: such as ``"de"``.

    Raises:
        FileNotFoundError: there is none.
    """

    def __init__(self, language: str) -> None:
        folder = files("tessera_core.language").joinpath("catalogues")
        with folder.joinpath(f"{language}.studio.mo").open("rb") as file:
            self._studio = gettext.GNUTranslations(file)
        with folder.joinpath(f"{language}.core.mo").open("rb") as file:
            self._core = gettext.GNUTranslations(file)
        self._patterns = [pattern for message in _messages(self._core) if (pattern := _pattern(message))]
        self._relayed = lru_cache(4096)(self._find)

    def sentence(self, message: str) -> str:
        """The sentence that stands for the English one; the English one where there is none."""
        return self._studio.gettext(message)

    def counted(self, one: str, many: str, n: int) -> str:
        """The sentence for ``n`` things, with its places for values."""
        return self._studio.ngettext(one, many, n)

    def messages(self) -> list[str]:
        """Every English sentence that it has."""
        return sorted(_messages(self._studio) | _messages(self._core))

    def said(self, message: str) -> list[str]:
        """What stands for an English sentence, in all its forms."""
        found = [
            said
            for translations in (self._studio, self._core)
            for key, said in translations._catalog.items()  # type: ignore[attr-defined]
            if key == message or (isinstance(key, tuple) and key[0] == message)
        ]
        return list(map(str, found))

    def relayed(self, text: str) -> str:
        """What a room below the pages said."""
        return self._relayed(text, _DEPTH)

    def knows(self, text: str) -> bool:
        """Whether :meth:`relayed` has it."""
        return self._exact(text) is not None or any(
            literal in text and pattern.fullmatch(text) for literal, pattern, _ in self._patterns
        )

    def _exact(self, text: str) -> str | None:
        for catalogue in (self._core, self._studio):
            if (found := catalogue.gettext(text)) != text or text in _messages(catalogue):
                return found
        return None

    def _find(self, text: str, depth: int) -> str:
        if (exact := self._exact(text)) is not None:
            return exact
        best: tuple[int, re.Match[str], str] | None = None
        for literal, pattern, message in self._patterns:
            if literal in text and (found := pattern.fullmatch(text)):
                own = len(message) - sum(len(place) for place in _PLACE.findall(message))
                if best is None or own > best[0]:
                    best = own, found, message
        if best is None:
            return text
        _, found, message = best
        # What was put in may be a sentence itself; names of one word are people's own.
        values = {
            name: self._relayed(value, depth - 1) if depth and " " in value else value
            for name, value in found.groupdict().items()
        }
        return self._core.gettext(message).format(**values)


@cache
def catalogue(language: str) -> Catalogue:
    """The catalogue of a language, read once."""
    return Catalogue(language)


@cache
def _messages(translations: gettext.GNUTranslations) -> frozenset[str]:
    # gettext keeps what it read in a mapping of its own; a plural stands there under (message, number).
    return frozenset(
        message if isinstance(message, str) else message[0]
        for message in translations._catalog  # type: ignore[attr-defined]
        if message
    )


def _pattern(message: str) -> tuple[str, re.Pattern[str], str] | None:
    """(longest run of its own words, the pattern, the message) of a message with places for values; None for another."""
    places = _PLACE.findall(message)
    if not places:
        return None
    parts = [part.replace("{{", "{").replace("}}", "}") for part in _PLACE.split(message)]
    literal = max(parts, key=len)
    if sum(c.isalpha() for part in parts for c in part) < _LETTERS:
        return None
    seen: set[str] = set()
    text = re.escape(parts[0])
    for place, part in zip(places, parts[1:], strict=True):
        name = place[1:-1]
        text += f"(?P={name})" if name in seen else f"(?P<{name}>.*?)"
        text += re.escape(part)
        seen.add(name)
    return literal, re.compile(text, re.DOTALL), message

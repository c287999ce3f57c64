"""The catalogues of a language: compiled gettext files beside this module, made by ``make words``.

``studio`` has the sentences of pages and components; ``core`` has those of the rooms below, which are said in English and
found again by the words around what was put in. ``numbers.json`` tells which of these are numbers; others, as the name that
somebody gave, stay as they are, though they may look like one.
"""

from __future__ import annotations

import gettext
import json
import re
from functools import cache, lru_cache
from importlib.resources import files

from tessera_core.language.marks import number_in

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
        self._language = language
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
        return self._exact(text) is not None or any(pattern.match(text) is not None for pattern in self._patterns)

    def _exact(self, text: str) -> str | None:
        for catalogue in (self._core, self._studio):
            if (found := catalogue.gettext(text)) != text or text in _messages(catalogue):
                return found
        return None

    def _find(self, text: str, depth: int) -> str:
        if (exact := self._exact(text)) is not None:
            return exact
        matches = ((pattern, found) for pattern in self._patterns if (found := pattern.match(text)) is not None)
        # Of two alike that with fewer places: between two next to each other a value cannot be shared out.
        best = max(matches, key=lambda match: (match[0].own, -len(match[0].names)), default=None)
        if best is None:
            return text
        numbers = _numbers().get(best[0].message, ())
        values = {name: self._value(value, depth, name in numbers) for name, value in best[1].items()}
        return self._core.gettext(best[0].message).format(**values)

    def _value(self, value: str, depth: int, is_number: bool) -> str:
        """What was put in: a number, or what may be a sentence itself; names of one word are people's own."""
        said = number_in(value, self._language) if is_number else value
        return self._relayed(value, depth - 1) if depth and " " in value and said == value else said


@cache
def catalogue(language: str) -> Catalogue:
    """The catalogue of a language, read once."""
    return Catalogue(language)


@cache
def _numbers() -> dict[str, list[str]]:
    """Message -> names of its values that are numbers."""
    found: dict[str, list[str]] = json.loads(
        files("tessera_core.language").joinpath("catalogues", "numbers.json").read_text(encoding="utf-8")
    )
    return found


@cache
def _messages(translations: gettext.GNUTranslations) -> frozenset[str]:
    # gettext keeps what it read in a mapping of its own; a plural stands there under (message, number).
    return frozenset(
        message if isinstance(message, str) else message[0]
        for message in translations._catalog  # type: ignore[attr-defined]
        if message
    )


class _Pattern:
    """A message with places for values, found in time that grows with the text alone, whatever strangers wrote into it."""

    def __init__(self, message: str, names: list[str]) -> None:
        self.message, self.names = message, names
        self.parts = [part.replace("{{", "{").replace("}}", "}") for part in _PLACE.split(message)]
        self.literal = max(self.parts, key=len)
        self.own = sum(map(len, self.parts))

    def match(self, text: str) -> dict[str, str] | None:
        """Values by name where the text is this message, each as short as can be; None otherwise."""
        first, *middle, last = self.parts
        if self.literal not in text or not text.startswith(first) or not text.endswith(last):
            return None
        at, end = len(first), len(text) - len(last)
        found: dict[str, str] = {}
        for name, part in zip(self.names, [*middle, None], strict=True):
            stop = end if part is None else text.find(part, at, end)
            if stop < at:
                return None
            if found.setdefault(name, text[at:stop]) != text[at:stop]:
                return None
            at = stop + len(part or "")
        return found


def _pattern(message: str) -> _Pattern | None:
    names = [place[1:-1] for place in _PLACE.findall(message)]
    if not names:
        return None
    pattern = _Pattern(message, names)
    return pattern if sum(c.isalpha() for part in pattern.parts for c in part) >= _LETTERS else None

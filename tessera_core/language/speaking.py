"""Which language is spoken, and a sentence in it."""

from __future__ import annotations

import datetime as dt
import functools
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar

from tessera_core.language import pseudo
from tessera_core.language.catalogue import Catalogue, catalogue
from tessera_core.periods import Period

ENGLISH = "en"
# By their own names, as people look for them.
LANGUAGES = {ENGLISH: "English", "de": "Deutsch", "es": "Español", "fr": "Français", "pt": "Português"}
# For tests: English with accents and a third longer, and the same from right to left.
PSEUDO, RIGHT_TO_LEFT = "qps", "qpr"
_PSEUDO = (PSEUDO, RIGHT_TO_LEFT)

_speaking: ContextVar[str | None] = ContextVar("tessera_language", default=None)
_asked: Callable[[], str] = lambda: ENGLISH  # noqa: E731


def ask_with(asked: Callable[[], str]) -> None:
    """Say who knows the language where none was set by :func:`using`; the app asks the person's session."""
    global _asked
    _asked = asked


def current() -> str:
    """The language that is spoken: a key of :data:`LANGUAGES`, or one of the two for tests."""
    return _speaking.get() or _asked()


@contextmanager
def using(language: str) -> Iterator[None]:
    """Speak ``language`` within the block, in this thread."""
    token = _speaking.set(language)
    try:
        yield
    finally:
        _speaking.reset(token)


def bound[**P, R](act: Callable[P, R]) -> Callable[P, R]:
    """``act``, to be called later or in another thread, in the language that is spoken now."""
    language = current()

    @functools.wraps(act)
    def inner(*args: P.args, **options: P.kwargs) -> R:
        with using(language):
            return act(*args, **options)

    return inner


def known(language: str) -> bool:
    """Whether a language can be asked for."""
    return language in LANGUAGES or language in _PSEUDO


def best(accepted: str, chosen: str = "") -> str:
    """The language to speak to a browser that sends ``accepted`` as its header Accept-Language; English where it knows none.

    Args:
        chosen: what was chosen before, by a cookie.

    >>> best("gsw, de-CH;q=0.9, en;q=0.5"), best("ja"), best("")
    ('de', 'en', 'en')
    """
    if known(chosen):
        return chosen
    wanted: list[tuple[float, int, str]] = []
    for place, part in enumerate(accepted[:500].split(",")):
        tag, _, weight = part.strip().partition(";q=")
        try:
            wanted.append((-float(weight or 1), place, tag.partition("-")[0].lower()))
        except ValueError:
            continue
    return next((name for weight, _, name in sorted(wanted) if name in LANGUAGES and weight < 0), ENGLISH)


def t(message: str, /, **values: object) -> str:
    """A sentence in the language that is spoken.

    Args:
        message: in English, ``{name}`` where a value goes; what is not in the catalogue stays as it is.
        **values: what goes in, as text or number.

    >>> t("{name} is saved.", name="Fen")
    'Fen is saved.'
    """
    language = current()
    if language in _PSEUDO:
        message = pseudo.pseudo(message)
    elif language != ENGLISH:
        message = _catalogue(language).sentence(message)
    return message.format(**_spoken(values)) if values else message


def tn(one: str, many: str, n: int, /, **values: object) -> str:
    """A sentence about ``n`` things; ``{n}`` stands for the number.

    >>> tn("{n} label", "{n} labels", 1), tn("{n} label", "{n} labels", 12)
    ('1 label', '12 labels')
    """
    language = current()
    if language == ENGLISH or language in _PSEUDO:
        message = one if n == 1 else many
        message = pseudo.pseudo(message) if language in _PSEUDO else message
    else:
        message = _catalogue(language).counted(one, many, n)
    return message.format(**{"n": n, **_spoken(values)})


def _spoken(values: Mapping[str, object]) -> Mapping[str, object]:
    """What goes into a sentence, windows of time in words."""
    if not any(isinstance(value, Period) for value in values.values()):
        return values
    return {name: window(value) if isinstance(value, Period) else value for name, value in values.items()}


def window(days: Period) -> str:
    """A window of time in words.

    >>> from tessera_core.periods import period
    >>> t("{year} to be mapped", year=period("2023-10 to 2024-09"))
    'Oct 2023 – Sep 2024 to be mapped'
    """

    def said(day: dt.date, *, year: bool) -> str:
        month = t(_SHORT_MONTHS[day.month - 1])
        text = month if days.whole_months else f"{day.day} {month}"
        return f"{text} {day.year}" if year else text

    first, last = said(days.start, year=days.start.year != days.end.year), said(days.end, year=True)
    # A dash, as "from … to …" may stand around it; with spaces about it where a side is of several words.
    return f"{first}–{last}" if days.whole_months and days.start.year == days.end.year else f"{first} – {last}"


def later(message: str) -> str:
    """The sentence itself: marks it for the catalogue where it is written before anybody speaks; :func:`t` says it."""
    return message


def relay(said: object) -> str:
    """What a room below the pages said in English (an error, a name, a note), in the language that is spoken.

    A sentence with names or numbers in it is found by the words around them. What no catalogue has stays as it is.

    >>> relay("No such sentence.")
    'No such sentence.'
    """
    text = str(said)
    language = current()
    if language == ENGLISH or not text:
        return text
    if language in _PSEUDO:
        return pseudo.pseudo(text) if _catalogue("de").knows(text) else text
    return _catalogue(language).relayed(text)


def phrases(messages: Iterable[str], counted: Iterable[tuple[str, str]] = ()) -> dict[str, str]:
    """English -> the language that is spoken, for what runs in the browser; empty for English.

    Args:
        messages: sentences.
        counted: pairs of a sentence about one thing and one about many.
    """
    language = current()
    if language == ENGLISH:
        return {}
    found = {message: t(message) for message in messages}
    for one, many in counted:
        if language in _PSEUDO:
            found |= {one: pseudo.pseudo(one), many: pseudo.pseudo(many)}
        else:
            found |= {message: _catalogue(language).counted(one, many, n) for n, message in ((1, one), (2, many))}
    return found


def _catalogue(language: str) -> Catalogue:
    return catalogue(language)


_SHORT_MONTHS = (
    later("Jan"),
    later("Feb"),
    later("Mar"),
    later("Apr"),
    later("May"),
    later("Jun"),
    later("Jul"),
    later("Aug"),
    later("Sep"),
    later("Oct"),
    later("Nov"),
    later("Dec"),
)

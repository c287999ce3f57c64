"""What people read, in their language: gettext catalogues, and numbers as a language writes them.

A page writes its sentences in English, with names for what is put in::

    t("{name} has {labels} labels.", name=name, labels=3)
    tn("{n} label", "{n} labels", count)

The rooms below the pages know no language: they say what they have to say, errors too, in English, and a page hands it on by
:func:`relay`, which finds it in the catalogue of their sentences. How a sentence is added, and a language:
``docs/howto/translate.md``.
"""

from __future__ import annotations

from tessera_core.language.numbers import day_text, localized, numeral, percentage
from tessera_core.language.speaking import (
    ENGLISH,
    LANGUAGES,
    PSEUDO,
    RIGHT_TO_LEFT,
    ask_with,
    best,
    bound,
    current,
    known,
    later,
    phrases,
    relay,
    t,
    tn,
    using,
)

__all__ = [
    "ENGLISH",
    "LANGUAGES",
    "PSEUDO",
    "RIGHT_TO_LEFT",
    "ask_with",
    "best",
    "bound",
    "current",
    "day_text",
    "known",
    "later",
    "localized",
    "numeral",
    "percentage",
    "phrases",
    "relay",
    "t",
    "tn",
    "using",
]

"""The lessons in other languages say the same, and call things what the studio calls them in that language."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tessera_core import lessons
from tessera_core.language import LANGUAGES, t, using
from tessera_core.language.catalogue import catalogue

OTHERS = [language for language in LANGUAGES if language != "en"]
FOLDERS = sorted(path.parent for path in Path(lessons.__file__).parent.rglob("texts.en.toml"))


def _texts(value: Any, path: tuple[str | int, ...] = ()) -> Iterator[tuple[tuple[str | int, ...], str]]:
    if isinstance(value, dict):
        for key, one in value.items():
            yield from _texts(one, (*path, key))
    elif isinstance(value, list):
        for number, one in enumerate(value):
            yield from _texts(one, (*path, number))
    elif isinstance(value, str):
        yield path, value


def _of(folder: Path, language: str) -> dict[tuple[str | int, ...], str]:
    return dict(_texts(tomllib.loads((folder / f"texts.{language}.toml").read_text(encoding="utf-8"))))


def _bold(text: str) -> list[str]:
    return re.findall(r"\*\*(.+?)\*\*", text)


def _called(english: str, language: str, names: dict[str, str]) -> str | None:
    """What a button, page or class is called in a language; None where the studio has no such word."""
    if english in names:
        return names[english]
    known = catalogue(language).messages()
    # What goes on behind a name, a number for example, is not in bold.
    if message := next((one for one in known if one == english or one.startswith(f"{english}:")), None):
        with using(language):
            return t(message).partition(":")[0].strip() if message != english else t(message)
    return None


@pytest.mark.parametrize("language", OTHERS)
@pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: folder.name)
def test_a_lesson_calls_things_what_they_are_called(folder: Path, language: str) -> None:
    english, other = _of(folder, "en"), _of(folder, language)
    assert english.keys() == other.keys()
    names = {english[key]: other[key] for key in english if key[0] == "names"}
    for key, text in english.items():
        assert re.findall(r"\{\w+\}", text) == re.findall(r"\{\w+\}", other[key]), key
        bold = _bold(other[key])
        assert len(_bold(text)) == len(bold), key
        for word in _bold(text):
            called = _called(word, language, names)
            assert called is None or called in bold, f"{key}: {word} is {called} in the studio, here {bold}"

"""What the course and the guides tell people to press and to teach is called so in the studio."""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path

import pytest

from tessera_core.language.catalogue import catalogue
from tessera_core.lessons import library

DOCS = Path(__file__).resolve().parents[2] / "docs"
# Begins a paragraph, or is an example of what people may choose; no name of a control. Keys are one letter.
_NO_NAMES = {"Scores", "Oct 2023 – Sep 2024"}
# About programs of others, and for those who write code.
_OF_OTHERS = {"qgis.md", "host.md", "extend.md"}
COURSE = [*sorted((DOCS / "course").glob("*.md")), DOCS / "howto" / "class.md"]
GUIDES = [
    page
    for page in sorted([*(DOCS / "howto").glob("*.md"), *(DOCS / "start").glob("*.md")])
    if page not in COURSE and page.name not in _OF_OTHERS
]


def names(page: Path) -> list[str]:
    """What stands in bold or italics with a capital letter and is no sentence.

    In a guide what is bold where a line begins is a heading; in the course it is what the teacher does then.
    """
    text = re.sub(r"```.*?```|`[^`\n]*`|<!--.*?-->", "", page.read_text(encoding="utf-8"), flags=re.DOTALL)
    if page in GUIDES:
        text = re.sub(r"^[-|\s]*\*\*[^*\n]+\*\*", "", text, flags=re.MULTILINE)
    bold = re.findall(r"\*\*([^*\n]+)\*\*", text)
    rest = re.sub(r"\*\*[^*\n]+\*\*", "", text)
    # A question in italics is one that a teacher asks.
    italic = [name for name in re.findall(r"(?<![*\w])\*([^*\n]+)\*(?![*\w])", rest) if page.name != "notes.md"]
    said = [name for name in (*bold, *italic) if len(name) > 1 and name[0].isupper() and not name.endswith(".")]
    return [name for name in said if name not in _NO_NAMES]


@cache
def known() -> frozenset[str]:
    """What the studio calls things: its sentences without icons, and of those that say more, what stands before that."""
    words = {re.sub(r":material/\w+:\s*|\*\*", "", word) for word in catalogue("de").messages()}
    shelf = library.shelf()
    titles = {one.words("en").title for one in (*shelf.lessons.values(), *shelf.starts.values())}
    numbered = {
        f"{before}{one.number}{after} {one.words('en').title}"
        for one in shelf.lessons.values()
        for before, after in (("Lesson ", ","), ("", "."))
    }
    return frozenset(words | {re.split("[:,]", word)[0] for word in words} | titles | numbered)


@pytest.mark.parametrize("pages", [COURSE, GUIDES], ids=["course", "guides"])
def test_what_a_page_names_is_there_by_that_name(pages: list[Path]) -> None:
    found = [(page.name, name) for page in pages for name in names(page)]
    assert len(found) > 30
    assert [one for one in found if one[1] not in known()] == []

"""What the course tells a teacher to press and to teach is called so in the studio."""

from __future__ import annotations

import re
from pathlib import Path

from tessera_core.language.catalogue import catalogue
from tessera_core.lessons import library

# Begins a paragraph, and is no name.
_NO_NAMES = {"Scores"}


def names(page: Path) -> list[str]:
    """What stands in bold with a capital letter and is no sentence."""
    text = re.sub(r"```.*?```", "", page.read_text(encoding="utf-8"), flags=re.DOTALL)
    bold = re.findall(r"\*\*([^*]+)\*\*", text)
    return [name for name in bold if name[0].isupper() and not name.endswith(".") and name not in _NO_NAMES]


def test_what_the_course_names_is_there_by_that_name(root: Path) -> None:
    words = catalogue("de").messages()
    lessons = {f"Lesson {one.number}, {one.words('en').title}" for one in library.shelf().lessons.values()}
    pages = [*sorted((root / "docs" / "course").glob("*.md")), root / "docs" / "howto" / "class.md"]
    found = [(page.name, name) for page in pages for name in names(page)]
    assert len(found) > 10
    # Of a button that says more behind a colon, the course says what stands before.
    unknown = [one for one in found if one[1] not in lessons and not any(w.partition(":")[0] == one[1] for w in words)]
    assert unknown == []

"""The documentation names files that are there."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

DOCS = Path(__file__).resolve().parents[2] / "docs"
_FILE = re.compile(r"`((?:[\w.-]+/)+[\w.-]+\.(?:py|js|c|md|toml|css|json))`")
# Pages that tell of what was.
PAST = {"house-before-after.md"}
PAGES = [page for page in sorted(DOCS.rglob("*.md")) if page.name not in PAST]


@pytest.mark.parametrize("page", PAGES, ids=[str(page.relative_to(DOCS)) for page in PAGES])
def test_files_that_a_page_names_exist(page: Path, root: Path) -> None:
    named = set(_FILE.findall(page.read_text(encoding="utf-8")))
    folders = (root, root / "tessera_core", DOCS, root / "tessera_core" / "ui")
    assert not {name for name in named if not any((folder / name).exists() for folder in folders)}

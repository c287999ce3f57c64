"""Targets of lessons: what each names is really in the code of the page."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tessera_core.lessons import library
from tessera_core.lessons.targets import PAGES, TARGETS


@pytest.mark.parametrize("name", sorted(TARGETS))
def test_the_code_has_what_a_target_names(name: str, root: Path) -> None:
    target = TARGETS[name]
    assert target.page in PAGES
    ui = root / "tessera_core" / "ui"
    scripts = "\n".join(path.read_text(encoding="utf-8") for path in ui.rglob("*.js"))
    pages = "\n".join(path.read_text(encoding="utf-8") for path in ui.rglob("*.py"))
    if found := re.fullmatch(r'\[data-tour="([\w.-]+)"\]', target.selector):
        assert f'"data-tour": "{found[1]}"' in scripts
    elif found := re.fullmatch(r'\[data-layer="([\w.-]+)"\]', target.selector):
        assert f'["{found[1]}", t("' in scripts
    elif found := re.fullmatch(r'\[class\*="st-key-([\w-]+)"\](?:\[class\*="(\w+)"\])?', target.selector):
        # Keys are written whole, or as a template whose beginning and end these are.
        literal = found[1].removeprefix(target.page + "_").rstrip("_")
        assert found[1] in pages or f'"{literal}"' in pages
        assert found[2] is None or f'}}{found[2]}"' in pages
    elif found := re.fullmatch(r'\[data-kind="(\w+)"\]', target.selector):
        assert f'kind === "{found[1]}"' in scripts
    else:
        classes = re.findall(r"\.([\w-]+)", target.selector)
        assert classes
        assert all(name in scripts for name in classes)


def test_every_page_is_there_and_called_so(root: Path) -> None:
    shell = (root / "tessera_core" / "ui" / "shell.py").read_text(encoding="utf-8")
    for page, title in PAGES.items():
        assert f'st.Page("pages/{page}.py", title=t("{title}")' in shell


def test_no_shipped_lesson_points_at_what_no_step_can_reach() -> None:
    for lesson in library.shelf().lessons.values():
        pages = {"region"}
        for step in lesson.steps:
            if step.target:
                pages.add(TARGETS[step.target].page)
        assert pages <= set(PAGES)

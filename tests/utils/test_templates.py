"""What is put into a template is escaped, nothing is left out in silence, and templates are part of the package."""

from __future__ import annotations

import fnmatch
import tomllib
from html.parser import HTMLParser
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jinja2 import UndefinedError

from tessera_core._utils.templates import render


class Seen(HTMLParser):
    """What a browser would see: the tags, their attributes and the text."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, list[tuple[str, str | None]]]] = []
        self.text = ""
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, attrs))

    def handle_data(self, data: str) -> None:
        self.text += data


TEMPLATE = "<p title='{{ text }}'>{{ text }}</p>"


@given(st.text(st.characters(exclude_categories=("Cs", "Cc"))))
def test_any_text_stays_text(tmp_path_factory: pytest.TempPathFactory, text: str) -> None:
    path = tmp_path_factory.getbasetemp() / "any.html.jinja"
    path.write_text(TEMPLATE)
    seen = Seen(render(path, text=text))
    assert (seen.tags, seen.text) == ([("p", [("title", text)])], text)


def test_a_value_that_is_not_given_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "one.html.jinja").write_text(TEMPLATE)
    with pytest.raises(UndefinedError, match="text"):
        render(tmp_path / "one.html.jinja")


def test_every_template_is_installed_with_the_package(root: Path) -> None:
    kept = tomllib.loads((root / "pyproject.toml").read_text())["tool"]["setuptools"]["package-data"]["tessera_core"]
    templates = list((root / "tessera_core").rglob("*.jinja"))
    assert templates
    for path in templates:
        assert any(fnmatch.fnmatch(path.name, pattern.rpartition("/")[2]) for pattern in kept)

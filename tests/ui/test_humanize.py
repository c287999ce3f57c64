"""Plain words for numbers."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tessera_core.ui import humanize


@pytest.mark.parametrize(
    ("value", "scale", "text"),
    [
        (0.2058, 0.0678, "0.206"),
        (18.234, 3.1, "18.2"),
        (1234.5, 120, "1,234"),
        (-12.34, 5.5, "−12.3"),
        (-0.001, 3.0, "0.0"),
        (3.0, 0.0, "3"),
        (3.0, float("nan"), "3"),
        (0.00012, 0.00003, "0.000120"),
    ],
)
def test_a_number_is_as_exact_as_its_margin(value: float, scale: float, text: str) -> None:
    assert humanize.number(value, scale) == text


def test_a_plus_is_written_where_it_tells_something() -> None:
    assert [humanize.number(value, 3.0, sign=True) for value in (0.26, -0.26, 0.001, 0.0)] == [
        "+0.3",
        "−0.3",
        "0.0",
        "0.0",
    ]


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(9, "a few seconds"), (62, "60 s"), (90, "2 min"), (3569, "59 min"), (3590, "1 h"), (7260, "2 h 1 min")],
)
def test_a_time_has_no_part_that_is_nothing(seconds: float, text: str) -> None:
    assert humanize.duration(seconds) == text


def test_positions_name_their_hemisphere() -> None:
    assert humanize.position(52.016093, 3.8945) == "52.01609° N, 3.89450° E"
    assert humanize.position(-33.45, -70.666667) == "33.45000° S, 70.66667° W"


@given(st.text(max_size=40))
@example("![](http://a.example/b.png)")
@example("\\\\[x](http://a.example) $a$ `b` <img src=x>")
@example("https&#58;//a.example a&commat;b.example https\\://a.example")
@example("https://a.example/x HTTP://a.example www.a.example Www.a.example a@b.example \u00e9@b.example")
def test_a_sentence_with_anybodys_names_is_no_link_picture_or_formula(name: str) -> None:
    sentence = f"There is no class {name!r}."
    shown = humanize.plain(sentence)
    assert re.sub(r"\\(.)", r"\1", shown).replace("\u2060", "") == sentence.replace("\u2060", "")
    assert not set(re.sub(r"\\.", "", shown)) & set("[]<$`&")
    # Seen in Streamlit: addresses are links whether or not their signs are escaped.
    for text in (shown, humanize.escape(name)):
        assert not re.search(r"https?:|www\.|[\w.+-]@", re.sub(r"\\(.)", r"\1", text), re.IGNORECASE)


def test_pages_show_no_error_as_it_came(root: Path) -> None:
    """What an error or another sentence says quotes files of anybody; Streamlit would draw pictures and links in it."""
    shown = {"error", "warning", "info", "caption", "markdown", "success", "toast", "write"}
    found = []
    for path in sorted((root / "tessera_core" / "ui").rglob("*.py")):
        for call in (node for node in ast.walk(ast.parse(path.read_text("utf-8"))) if isinstance(node, ast.Call)):
            if not (isinstance(call.func, ast.Attribute) and call.func.attr in shown):
                continue
            if call.args and isinstance(call.args[0], ast.Call) and _is_plain(call.args[0]):
                continue
            text = ast.unparse(call.args[0]) if call.args else ""
            # A constant of ours, in capitals, may be Markdown.
            if re.search(r"(?<!escape\()(?<!plain\()\brelay\((?![A-Z_]+\)|Cancelled\(\))|\bstr\(error\)", text):
                found.append(f"{path.name}:{call.lineno}: {text[:80]}")
    assert found == []


def _is_plain(call: ast.Call) -> bool:
    return ast.unparse(call.func) in ("humanize.escape", "humanize.plain")

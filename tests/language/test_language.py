"""Sentences in the language of whoever reads them."""

from __future__ import annotations

import ast
import re
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tessera_core.errors import TesseraError
from tessera_core.language import (
    LANGUAGES,
    PSEUDO,
    best,
    current,
    known,
    localized,
    numeral,
    phrases,
    relay,
    t,
    tn,
    using,
)
from tessera_core.language.catalogue import _pattern, catalogue
from tessera_core.language.marks import number_in
from tessera_core.language.pseudo import pseudo
from tests.ui.loader import carried

OTHERS = [language for language in LANGUAGES if language != "en"]


def test_english_is_what_is_written() -> None:
    assert current() == "en"
    assert t("{name} is saved.", name="Fen") == "Fen is saved."
    assert [tn("{n} label", "{n} labels", n) for n in (0, 1, 2)] == ["0 labels", "1 label", "2 labels"]
    assert relay(TesseraError("There are no labels yet.")) == "There are no labels yet."
    assert phrases(("Undo (Z)",)) == {}


@pytest.mark.parametrize(("accepted", "chosen", "language"), [
    ("de-CH,de;q=0.9,en;q=0.5", "", "de"),
    ("en;q=0.5, fr;q=0.8", "", "fr"),
    ("de;q=0, es", "", "es"),
    ("de", "fr", "fr"),
    ("de", "<script>", "de"),
    ("x;q=many, pt-BR", "", "pt"),
    ("", "", "en"),
])  # fmt: skip
def test_the_language_of_a_browser(accepted: str, chosen: str, language: str) -> None:
    assert best(accepted, chosen) == language


@given(st.text(max_size=700), st.text(max_size=20))
def test_whatever_a_browser_sends_there_is_a_language(accepted: str, chosen: str) -> None:
    assert known(best(accepted, chosen))


def test_the_language_of_a_block_ends_with_it() -> None:
    with using("de"):
        assert current() == "de"
        assert numeral(1234.5, ",.1f") == localized("1,234.5") == "1.234,5"
        with using("fr"):
            assert numeral(1234.5, ",.1f") == "1\u202f234,5"
    assert numeral(1234.5, ",.1f") == "1,234.5"


@pytest.mark.parametrize("language", OTHERS)
def test_a_sentence_of_a_room_below_is_found_by_the_words_around_its_values(language: str) -> None:
    with using(language):
        said = relay("There is no project in …/maps/{odd} name: it holds no project.json.")
        assert "…/maps/{odd} name" in said
        assert not said.startswith("There is no project")
        # What people wrote stays theirs.
        assert relay("corn and wheat") == "corn and wheat"


def test_a_number_in_a_sentence_of_a_room_below_is_written_as_the_language_does() -> None:
    english = (
        "The mean of the region is 1,234.5, 0.25 to 12.5 ha "
        "(95 % sure if your plots were drawn by chance; the map alone says {})."
    ).format
    with using("de"):
        said = relay(english("31.4"))
        assert ("1.234,5" in said, "0,25" in said, "12,5 ha" in said, "31,4" in said) == (True,) * 4
        # Neither versions nor dates, nor the name that somebody gave.
        for name in ("1.2.3", "2024-05", "Fen 1.5", "a.b"):
            assert name in relay(english(name))
    assert relay(english("31.4")) == english("31.4")


def test_a_name_that_looks_like_a_number_stays_as_it_was_given() -> None:
    heap = (
        "Labels of 2.1 lie on a heap: the next one is 1.5 px away (median); spread by chance over ground like it, it would be "
        "12.5 px."
    )
    with using("de"):
        said = relay(heap)
        assert said != heap
        assert ("2.1 " in said, "1,5 px" in said, "12,5 px" in said) == (True,) * 3
        assert "1.5" in relay("The class tree is of the format 1.5; this version reads 2.5.")
        assert "1.5 m" in relay("1.5 m.tif is larger than 2.5 MB, the most that is read of such a file here.")


@given(st.floats(0, 1e9, width=32), st.integers(0, 4))
def test_every_number_is_found_again_in_its_language(value: float, places: int) -> None:
    text = f"{value:,.{places}f}"
    assert number_in(text, "en") == text
    assert number_in(text, "fr").replace("\u202f", "").replace(",", ".") == text.replace(",", "")


# Numbers that are none of a sentence: of keys, files, drawings and addresses.
PLAIN = {
    "humanize.py": "degrees that can be copied; what localized() gets",
    "keeper.py": "for programs",
    "help/pictures.py": "drawings",
    "compare/control.py": "a CSV file",
    "compare/change.py": "a key",
    "compare/stack.py": "rounding",
    "generate/acquire.py": "a name that is typed again",
    "generate/page.py": "a width",
    "regress/plots.py": "a field to type in",
}


def test_pages_write_no_number_the_english_way(root: Path) -> None:
    ui, found = root / "tessera_core" / "ui", {}
    for path in [*ui.rglob("*.py"), *(root / "pages").glob("*.py"), root / "app.py"]:
        name = path.relative_to(ui).as_posix() if path.is_relative_to(ui) else path.name
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            form = ""
            if isinstance(node, ast.FormattedValue) and isinstance(node.format_spec, ast.JoinedStr):
                parts = node.format_spec.values
                form = "".join(str(one.value) if isinstance(one, ast.Constant) else "0" for one in parts)
            elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                form = "".join(re.findall(r"\{:([^{}]*)\}", node.value))
            if re.search(r",|\.(?!0f)[0-9]+[fge%]|g$", form):
                found.setdefault(name, []).append(f"{node.lineno}: {form}")
    unexpected = {name: where for name, where in found.items() if name not in PLAIN}
    assert not unexpected, f"use numeral(...): {unexpected}"
    assert set(PLAIN) == set(found), sorted(set(PLAIN) ^ set(found))


def test_what_rooms_below_say_is_put_into_sentences_of_pages_by_relay(root: Path) -> None:
    said = {"sentence", "why", "reason"}
    bare = [
        f"{path.name}:{value.lineno}"
        for path in (root / "tessera_core" / "ui").rglob("*.py")
        for call in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(call, ast.Call) and isinstance(call.func, ast.Name) and call.func.id in ("t", "tn")
        for value in (one.value for one in call.keywords)
        if isinstance(value, ast.Attribute) and value.attr in said
    ]
    assert bare == []


@given(st.text(max_size=200))
def test_no_text_breaks_the_relay(text: str) -> None:
    with using("de"):
        assert isinstance(relay(text), str)


def test_what_strangers_wrote_into_a_sentence_costs_no_time() -> None:
    # A pattern that tried every way of sharing the commas out would not end.
    said = (
        "The region does not lie on Earth: its coordinates are no longitudes and latitudes in degrees (" + ", " * 20_000
    )
    with using("de"):
        assert relay(said) == said


def test_english_that_everybody_can_tell_from_english() -> None:
    assert pseudo("**Save** {name} now :material/check:").count("{name}") == 1
    assert re.search(r":material/check:", pseudo("Save :material/check: it"))
    with using(PSEUDO):
        assert t("Save {name}", name="Fen").startswith("⟦")
        assert "Fen" in t("Save {name}", name="Fen")
        assert relay("A name that somebody gave") == "A name that somebody gave"


@pytest.mark.parametrize("language", OTHERS)
def test_every_translation_takes_the_values_of_its_sentence(language: str) -> None:
    found = catalogue(language)
    for message in found.messages():
        names = {name: "x" for name in re.findall(r"\{(\w+)\}", message)}
        for said in found.said(message):
            assert said.strip()
            said.format(**names)


@pytest.mark.timeout(120)
def test_the_catalogues_are_what_the_code_says_and_have_no_holes(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from tools import words

    monkeypatch.setattr(sys, "argv", ["words.py", "--check"])
    # Here and not as a program: what it reads out of the code the tests below ask for as well.
    code = words.main()
    told = capsys.readouterr()
    assert code == 0, told.out + told.err


_MODULE = """
def _count(n: int, what: str) -> str:
    return f"{n} {what}" if n == 1 else f"{n} {what}s"

def _sure(low: float, high: float) -> str:
    return f"{low:.0f} to {high:.0f} % sure"

def _interval(found) -> str:
    value, low, high = in_percent(found.value), in_percent(found.low), in_percent(found.high)
    return f"{value} % ({low} to {high} %)"

def _plain(x: float) -> str:
    return f"{x:.1f}" if x else "0"

def said(found, by_pixel: bool):
    unit = "pixel" if by_pixel else "label"
    beside = f"Beside {found.name}, it"
    where = f"{found.at}"
    yield f"{found.name} has {_count(len(found), unit)} of {where}."
    yield f"{beside} is right ({_sure(found.low, found.high)})."
    yield f"The share is {_plain(found.one)} of {_plain(found.two)}."
    yield f"In all it is {_interval(found)}."
"""


def test_a_sentence_is_whole_whatever_it_is_made_of_and_whatever_it_begins_with() -> None:
    from tools.words import sentences

    assert sorted(sentences(ast.parse(_MODULE))) == sorted([
        *(f"{{name}} has {{found}} {unit} of {{where}}." for unit in ("pixel", "pixels", "label", "labels")),
        "Beside {name}, it is right ({low} to {high} % sure).",
        "The share is {plain} of {plain2}.",
        "In all it is {value} % ({low} to {high} %).",
    ])  # fmt: skip


def test_a_value_is_a_number_by_the_code_that_puts_it_in() -> None:
    from tools.words import _marked, _named_numbers

    found = {text.replace("\ue000", ""): _named_numbers(text) for text in _marked(ast.parse(_MODULE))}
    assert found["Beside {name}, it is right ({low} to {high} % sure)."] == {"low", "high"}
    assert found["The share is {plain} of {plain2}."] == {"plain", "plain2"}
    assert found["{name} has {found} pixels of {where}."] == {"found"}
    assert found["In all it is {value} % ({low} to {high} %)."] == {"value", "low", "high"}


def test_every_share_in_percent_is_known_as_a_number() -> None:
    from tools.words import core, numbers

    # The last of an interval, and the first.
    shares = [r"\{(\w+)\} %", r"sure: \{(\w+)\} to"]
    known = numbers()
    found = [(m, name) for m in core() if isinstance(m, str) for one in shares for name in re.findall(one, m)]
    assert len(found) > 60
    assert [f"{name} in {message!r}" for message, name in found if name not in known.get(message, ())] == []


def test_every_sentence_of_a_room_below_is_known_again_with_values_in_it() -> None:
    from tools.words import core

    found = [pattern for message in core() if isinstance(message, str) and (pattern := _pattern(message)) is not None]
    # Two values with nothing between them, one of which comes again, are not told apart.
    assert len(found) > 1000
    for pattern in found:
        values = {name: f"Q{number}" for number, name in enumerate(dict.fromkeys(pattern.names))}
        assert pattern.match(pattern.message.format(**values)) is not None, pattern.message


def test_the_browser_gets_the_words_of_its_modules() -> None:
    from tessera_core.ui.components import shared

    said, counted = shared.sentences("label_map/assets/main.js")
    assert "Undo (Z)" in said
    assert ("{n} label", "{n} labels") in counted
    with using("de"):
        words = phrases(said, counted)
        script = shared.loader("__hub", "label_map/assets/main.js", (), "de")
    assert set(said) <= set(words)
    assert words["{n} labels"] != words["Undo (Z)"]
    assert carried(script)["language"] == {"locale": "de", "words": words}

"""What JSON and tables of anybody can say: whole letters, and a sentence where they cannot be read."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from affine import Affine
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tessera_core.assess.designs import draw, from_csv, to_csv
from tessera_core.errors import LabelError, ProjectError, TesseraError
from tessera_core.export.report.sealed import sealed_in
from tessera_core.gate import parse_json
from tessera_core.grid import Grid
from tessera_core.labels.files import read_features
from tessera_core.labels.log import LabelLog
from tessera_core.labels.model import clean_name
from tessera_core.labels.schema import parse_tree
from tessera_core.labels.tables import parse_csv
from tessera_core.labels.weak import read_legend
from tessera_core.project import second, validate
from tessera_core.project.project import Project
from tessera_core.project.project_files import checked
from tessera_core.project.validate import Validation

GRID = Grid("EPSG:32631", Affine(10, 0, 4e5, 0, -10, 5.7e6), (40, 40))
NAMES = {1: "Wood", 2: "Water"}
TEXTS = st.text(st.characters(), max_size=8)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | TEXTS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3),
    max_leaves=8,
)


@settings(max_examples=60, deadline=None)
@given(VALUES, st.booleans(), st.booleans())
@example({"na\ud83dme": ["Wood \ud83d", "\U0001f332"]}, True, True)
def test_whatever_json_says_can_be_written_and_shown(value: Any, escaped: bool, as_bytes: bool) -> None:
    text = json.dumps(value, ensure_ascii=escaped)
    found = parse_json(text.encode("utf-8", "surrogatepass") if as_bytes else text)
    again = json.dumps(found, ensure_ascii=False)
    again.encode()
    if not _has_half(text):
        assert found == json.loads(text)


def _has_half(text: str) -> bool:
    try:
        json.dumps(json.loads(text), ensure_ascii=False).encode()
    except UnicodeEncodeError:
        return True
    return False


@settings(max_examples=60, deadline=None)
@given(st.text(st.characters()))
def test_a_name_can_be_written_whatever_a_browser_or_a_file_sends(text: str) -> None:
    name = clean_name(text)
    name.encode()
    assert clean_name(name) == name
    assert clean_name("Wood \ud83d") == "Wood \ufffd"


_DEEP = b"[" * 100_000


def _handed(tmp_path: Path, data: bytes) -> object:
    (tmp_path / "places.json").write_bytes(data)
    return second.read_handed(tmp_path / "places.json")


def _log(tmp_path: Path, data: bytes) -> object:
    """One line that is left out, and noted."""
    (tmp_path / "labels.jsonl").write_bytes(b'{"format": "tessera-labels/1"}\n' + data.replace(b"\n", b" ") + b"\n")
    log = LabelLog(tmp_path / "labels.jsonl")
    assert log.labels == []
    raise LabelError(log.notes[-1])


def _validation(tmp_path: Path, data: bytes) -> object:
    project = Project.create(tmp_path / "project", "Fen")
    path = validate.path_of(project, 2023)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    return validate.load(project, 2023)


def _features(tmp_path: Path, data: bytes) -> object:
    (tmp_path / "a.geojson").write_bytes(data)
    return read_features(tmp_path / "a.geojson")


READERS: dict[str, Callable[[Path, bytes], object]] = {
    "places handed out": _handed,
    "log": _log,
    "validation": _validation,
    "project": lambda _, data: checked(data, "there"),
    "labels": _features,
    "classes": lambda _, data: parse_tree(data.decode()),
    "report": lambda _, data: sealed_in(b'{"format": "tessera-report/1", "report": ' + data, "r.json"),
}


@pytest.mark.parametrize("kind", READERS)
def test_json_nested_without_end_is_one_sentence(kind: str, tmp_path: Path) -> None:
    for number, data in enumerate((_DEEP, b'{"a":' * 100_000)):
        (place := tmp_path / str(number)).mkdir()
        with pytest.raises(TesseraError) as told:
            READERS[kind](place, data)
        assert 10 < len(str(told.value)) < 400
        assert "Traceback" not in str(told.value)


def test_numbers_that_fit_into_no_array_are_a_sentence(tmp_path: Path) -> None:
    handed = validate.to_json(Validation(2023, GRID, draw(np.ones((40, 40), np.uint8), 5, "random", seed=1)))
    for name in ("rows", "strata", "reference"):
        (tmp_path / "places.json").write_text(json.dumps(handed | {name: [1 << 70] * 5}))
        with pytest.raises(ProjectError, match=r"places\.json"):
            second.read_handed(tmp_path / "places.json")


@pytest.fixture
def short_cells() -> Iterator[int]:
    """The most characters that a cell may have here; 64 million elsewhere."""
    before = csv.field_size_limit(50_000)
    yield 50_000
    csv.field_size_limit(before)


def _sample() -> str:
    classes = np.where(np.arange(1600).reshape(40, 40) % 3, 1, 2).astype(np.uint8)
    return to_csv(draw(classes, 12, at_least=3, seed=1), GRID, NAMES)


def test_a_sample_of_any_program_is_read_or_refused_in_a_sentence(short_cells: int) -> None:
    text = _sample()
    whole = from_csv(text, NAMES)
    for line_end in ("\r\n", "\r"):
        again = from_csv(text.replace("\r\n", "\n").replace("\n", line_end), NAMES)
        np.testing.assert_array_equal(again.rows, whole.rows)
    first, *rest = text.splitlines()
    huge = [",".join([str(1 << 70)] * line.count(",")) + "," for line in rest[1:]]
    spoilt = [
        [first, rest[0], *huge],
        [first.replace("design=", "design=un"), *rest],
        [first.replace("strata=1:", "strata=1:-"), *rest],
        [first, rest[0], '"' + "a" * (short_cells + 1)],
    ]
    for lines in spoilt:
        with pytest.raises(LabelError):
            from_csv("\n".join(lines), NAMES)


def test_cells_longer_than_any_are_a_sentence(tmp_path: Path, short_cells: int) -> None:
    long = 'a,b\n"' + "x" * (short_cells + 1)
    with pytest.raises(LabelError, match=r"a\.csv cannot be read as a table"):
        parse_csv(long.encode(), "a.csv")
    (tmp_path / "l.csv").write_text(long)
    with pytest.raises(LabelError, match=r"l\.csv is no legend"):
        read_legend(tmp_path / "l.csv")
    (tmp_path / "l.csv").write_bytes(b"from,to\r1,Wood\r2,Water\r")
    assert read_legend(tmp_path / "l.csv") == {"1": "Wood", "2": "Water"}

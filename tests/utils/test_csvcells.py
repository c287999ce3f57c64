"""Tables we write run nothing in a spreadsheet, and what was written is read back letter for letter."""

from __future__ import annotations

import csv
import io
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tessera_core._utils.csvcells import quoted, unquoted
from tessera_core.assess.designs import Sample, from_csv, to_csv
from tessera_core.export.labels import write_labels
from tessera_core.labels.files import read_labels
from tessera_core.labels.model import Label, LabelClass, clean_name
from tessera_core.project.validate import estimates_csv
from tessera_core.provenance import Provenance
from tessera_core.sources.remote.points import read_points, write_points
from tests.factories import make_grid

GRID = make_grid((40, 50))
FORMULAS = [
    "=cmd|'/c calc'!A1",
    "+1+1",
    "-2+3",
    "@SUM(A1)",
    "=1",
    "\t=1",
    "\r=1",
    "-x",
    " =1",
    "＝1",
    "'=1",
    "''=1",
    "+",
    "--5",
]
STARTS = ("=", "+", "-", "@", "\t", "\r", "\n", "＝", "＋", "－", "＠")
TEXTS = st.one_of(
    st.sampled_from([*FORMULAS, "-5", "+1,5", "-1e-3", "'-5", "it's", "'", "", "wood"]),
    st.text(st.sampled_from("=+-@\t\r\n'＝ 1a,\"") | st.characters(exclude_categories=("Cs",)), max_size=12),
)


def _number(text: str) -> bool:
    try:
        float(text.replace(",", "."))
    except ValueError:
        return False
    return True


def _harmless(cell: str) -> bool:
    return not cell.lstrip(" ").startswith(STARTS) or _number(cell)


@pytest.mark.parametrize("text", FORMULAS)
def test_what_a_spreadsheet_would_run_is_text(text: str) -> None:
    assert quoted(text) == "'" + text
    assert unquoted("'" + text) == text


@pytest.mark.parametrize("cell", ["-5", "+1.5", "-1,5", "-.5", "-16.9e-3", "wood", "it's", "", "a=b", 5, -2.5, None])
def test_numbers_and_words_stay_as_they_are(cell: object) -> None:
    assert quoted(cell) is cell


@given(TEXTS)
def test_any_text_is_harmless_when_written_and_the_same_when_read(text: str) -> None:
    assert _harmless(quoted(text))
    assert unquoted(quoted(text)) == text


@settings(max_examples=25, deadline=None)
@given(TEXTS.map(clean_name).filter(bool), TEXTS.map(clean_name))
def test_labels_come_back_from_a_table_with_formulas(
    tmp_path_factory: pytest.TempPathFactory, name: str, code: str
) -> None:
    ours = LabelClass(1, name, "#ff0000", code)
    label = Label("q", 1, "point", ((500_105.0, 5_599_905.0),))
    path = write_labels(tmp_path_factory.mktemp("t") / "a", "csv", [label], [ours], GRID, Provenance()).path
    cells = [cell for row in csv.reader(io.StringIO(path.read_text(encoding="utf-8"))) for cell in row]
    assert all(map(_harmless, cells))
    if name.strip("_") == name:
        back = read_labels(path, GRID).classes
        assert [(c.name, c.code) for c in back] == [(ours.name, ours.code)]


@settings(max_examples=25, deadline=None)
@given(TEXTS.map(clean_name).filter(bool), TEXTS)
def test_a_sample_comes_back_with_formulas_in_names_and_notes(name: str, note: str) -> None:
    note = " ".join(note.split())
    one = np.ones(1, np.int64)
    sample = Sample(one, one, one, one, one, (note,), {1: 10}, "random")
    text = to_csv(sample, GRID, {1: name})
    cells = [cell for row in csv.reader(io.StringIO(text.partition("\n")[2])) for cell in row]
    assert all(map(_harmless, cells))
    back = from_csv(text, {1: name})
    assert (back.notes, back.mapped.tolist(), back.reference.tolist()) == ((note,), [1], [1])


def test_areas_and_points_with_formulas_are_texts(tmp_path: Path) -> None:
    sample = Sample(
        *(np.arange(1, 5) for _ in range(2)),
        *(np.array([1, 1, 2, 2]) for _ in range(3)),
        ("",) * 4,
        {1: 10, 2: 5},
        "stratified",
    )
    table = estimates_csv(sample.assess(15.0), {1: "=1+1", 2: "@x"})
    assert [row[0] for row in csv.reader(io.StringIO(table))] == ["class", "'=1+1", "'@x", "all"]

    (tmp_path / "in.csv").write_text('lon,lat,=name\n-0.5,-16.9,"=HYPERLINK(""http://x"")"\n', encoding="utf-8")
    points = read_points(tmp_path / "in.csv")
    vectors = np.ones((1, 2), np.float32)
    write_points(tmp_path / "out.csv", points, [(2023, vectors, np.zeros(1, np.uint8))])
    header, row = csv.reader(io.StringIO((tmp_path / "out.csv").read_text(encoding="utf-8")))
    assert header[:3] == ["lon", "lat", "'=name"]
    assert row[:4] == ["-0.5", "-16.9", '\'=HYPERLINK("http://x")', "2023"]
    # Numbers of embeddings are numbers.
    assert row[-2:] == ["1.0", "1.0"]
    again = read_points(tmp_path / "out.csv")
    assert (again.columns[2], again.rows[0][2]) == (points.columns[2], points.rows[0][2])


def test_whatever_writes_a_table_quotes_its_cells(root: Path) -> None:
    writers = [
        path
        for path in sorted((root / "tessera_core").rglob("*.py"))
        if any(word in path.read_text(encoding="utf-8") for word in ("csv.writer(", "csv.DictWriter(", ".to_csv("))
    ]
    assert len(writers) >= 5
    # Somebody's own table, written for as long as it is read.
    writers.remove(root / "tessera_core" / "api" / "labels.py")
    assert [path.name for path in writers if "csvcells import quoted" not in path.read_text(encoding="utf-8")] == []

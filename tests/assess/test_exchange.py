"""A sample goes to other programs and its answers come back; what cannot be taken is counted."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest

from tessera_core.assess.designs import draw, write_csv
from tessera_core.assess.exchange import ENDINGS, read_answers, sample_text
from tessera_core.errors import LabelError
from tessera_core.grid import Grid
from tessera_core.labels.files import read_labels
from tests.factories import make_grid

NAMES = {1: "Maïs", 2: "Grass", 3: "Wood"}
GRID = make_grid((40, 50))


def a_sample(n: int = 20):
    return draw(np.random.default_rng(1).integers(1, 4, GRID.shape).astype(np.uint8), n, seed=0)


@pytest.mark.parametrize("ending", ENDINGS)
def test_places_come_back_where_they_were(ending: str, tmp_path: Path) -> None:
    """Every form is read by our own reader of files; the numbers are those of the places, and the map is in none."""
    from tessera_core.labels.files import read_features

    sample = a_sample()
    path = tmp_path / f"places{ending}"
    path.write_text(sample_text(sample, GRID, ending, "A & <b>"), encoding="utf-8")
    features = read_features(path).features
    assert [int(one.properties["PLOTID"]) for one in features] == list(range(1, 21))
    rows, cols = GRID.lonlat_to_pixel(
        np.array([f.geometry.x for f in features]), np.array([f.geometry.y for f in features])
    )
    assert (np.floor(rows) == sample.rows).all()
    assert (np.floor(cols) == sample.cols).all()
    assert not any(name in path.read_text("utf-8") for name in NAMES.values())


def test_answers_of_collect_earth_online_are_taken_and_the_rest_is_counted(tmp_path: Path) -> None:
    """A file of its samples: people, pictures, several samples of one plot, plots of another project, answers left open."""
    sample = a_sample()
    head = ["plotid", "sampleid", "lon", "lat", "email", "imagery_title", "LAND COVER?"]
    lines = [
        ["1", "1", "3.0", "50.5", "ann@example.org", "Aerial 2023", "maïs"],
        ["2", "1", "3.0", "50.5", "ann@example.org", "", " Wood "],
        ["2", "2", "3.0", "50.5", "ann@example.org", "", "wood"],
        ["3", "1", "3.0", "50.5", "bob", "", "Wood"],
        ["3", "2", "3.0", "50.5", "bob", "", "Grass"],
        ["4", "1", "3.0", "50.5", "bob", "", "Cannot tell"],
        ["5", "1", "3.0", "50.5", "bob", "", ""],
        ["6", "1", "3.0", "50.5", "bob", "", "Lava"],
        ["21", "1", "3.0", "50.5", "bob", "", "Wood"],
        ["x", "1", "3.0", "50.5", "bob", "", "Wood"],
    ]
    path = tmp_path / "ceo.csv"
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([head, *lines])
    read = read_answers(path, sample, NAMES)
    assert read.column == "LAND COVER?"
    assert read.classes == {0: 1, 1: 3, 3: 0}
    assert read.behind[0] == {"interpreter": "ann", "evidence": "Aerial 2023"}
    assert read.left_out == {
        "several classes are given for one place": 1,
        "no class is given": 1,
        "their class is none of this project": 1,
        "their PLOTID is no place of this sample": 2,
    }
    # Every line is taken, or left out under a reason; two lines agree on the second place, two quarrel about the third.
    assert len(lines) == len(read.classes) + 1 + sum(read.left_out.values()) + 1
    assert read.sentences()[0].startswith("3 answers were taken")


def test_a_file_answered_in_a_map_program_comes_back(tmp_path: Path) -> None:
    from tessera_core.project.validate import Validation

    sample = a_sample()
    value = json.loads(sample_text(sample, GRID, ".geojson"))
    for position, feature in enumerate(value["features"]):
        feature["properties"]["class"] = str(position % 3 + 1)
    path = tmp_path / "places.geojson"
    path.write_text(json.dumps(value), encoding="utf-8")
    known = Validation(2023, GRID, sample).with_answers(read_answers(path, sample, NAMES, "class"))
    assert known.sample.reference.tolist() == [n % 3 + 1 for n in range(20)]
    assert len(known.responses) == 20


@pytest.mark.parametrize("ending", ENDINGS)
def test_places_answered_elsewhere_and_taken_as_labels_were_drawn_by_chance(ending: str, tmp_path: Path) -> None:
    sample = a_sample()
    text = sample_text(sample, GRID, ending)
    if ending == ".csv":
        head, *lines = text.splitlines()
        answered = [f"{head.replace('origin', 'pl_origin')},LAND COVER?", *(f"{one},Wood" for one in lines)]
        text = "\n".join(answered)
    elif ending == ".geojson":
        text = text.replace("null", '"Wood"')
    path = tmp_path / f"places{ending}"
    path.write_text(text, encoding="utf-8")
    assert {one.origin for one in read_labels(path, GRID).labels} == {"sampled"}


def test_the_answers_of_a_sample_are_its_labels_not_what_the_map_says(tmp_path: Path) -> None:
    """The table of a sample has both; the map would learn its own mistakes."""
    sample = a_sample()
    for position in range(0, 20, 2):
        sample = sample.answer(position, int(sample.mapped[position]) % 3 + 1)
    path = tmp_path / "sample.csv"
    write_csv(path, sample, GRID, NAMES)
    got = read_labels(path, GRID)
    names = {c.id: c.name for c in got.classes}
    assert [names[one.class_id] for one in got.labels] == [NAMES[int(k)] for k in sample.reference if k]
    assert {one.origin for one in got.labels} == {"sampled"}
    assert got.report.left_out == {"without a class": 10}
    # Answers to a check are what was seen as well.
    answers = read_answers(path, sample, NAMES)
    assert answers.column == "reference"
    assert answers.classes == {k: int(sample.reference[k]) for k in range(0, 20, 2)}


def test_a_sample_says_the_same_through_both_doors(tmp_path: Path) -> None:
    """Classes by id are the project's, and who could not tell teaches nothing."""
    sample = a_sample()
    path = tmp_path / "sample.csv"
    write_csv(path, sample, GRID, NAMES)
    first, head, *rows = path.read_text("utf-8").splitlines()
    table = [dict(zip(head.split(","), next(csv.reader([row])), strict=True)) for row in rows]
    said = ["1", "wood", "3", "Cannot tell", "unsure", "Grass"] + [""] * 14
    for row, one in zip(table, said, strict=True):
        row["reference"] = one
    with path.open("w", encoding="utf-8", newline="") as file:
        file.write(first + "\n")
        out = csv.DictWriter(file, head.split(","))
        out.writeheader()
        out.writerows(table)
    assert read_answers(path, sample, NAMES).classes == {0: 1, 1: 3, 2: 3, 3: 0, 4: 0, 5: 2}
    got = read_labels(path, GRID, known=NAMES)
    names = {c.id: c.name for c in got.classes}
    assert [names[one.class_id] for one in got.labels] == ["Maïs", "Wood", "Wood", "Grass"]
    assert got.report.left_out == {"without a class": 14, "nobody could tell what is there": 2}
    assert got.report.read == got.report.used + sum(got.report.left_out.values())


def test_what_holds_no_answers_is_one_sentence(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    for text, sentence in (
        ("lon,lat,class\n3,50,Wood\n", "needs the column PLOTID"),
        ("lon,lat,plotid,x\n3,50,1,Lava\n", "no column"),
    ):
        path.write_text(text, encoding="utf-8")
        with pytest.raises(LabelError, match=sentence):
            read_answers(path, a_sample(), NAMES)
    with pytest.raises(LabelError, match="not known"):
        sample_text(a_sample(), Grid.local(GRID.shape), ".csv")

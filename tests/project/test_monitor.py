"""Monitoring: what is new is listed with its truth, small changes of mind are not, and verdicts become labels."""

from __future__ import annotations

import json
import math

import numpy as np
import pyogrio
import pytest

from tessera_core.assess.reference import Reference
from tessera_core.cli import main
from tessera_core.errors import LabelError, MixedDatasetsError
from tessera_core.heads import HeadChoice, SavedHead, save_head
from tessera_core.labels.files import read_labels
from tessera_core.labels.model import LabelClass
from tessera_core.project.classify import train
from tessera_core.project.monitor import find_new, judge_new, read_review
from tessera_core.provenance import Provenance
from tests.factories import make_grid, make_raster

SHAPE = (60, 80)
GRID = make_grid(SHAPE)
NAMES = {1: "Wood", 2: "Field", 3: "Town"}


@pytest.fixture(scope="module")
def world():
    """Two years of three kinds of ground; a wood is felled and a field built on; a head that learnt the first year."""
    rng = np.random.default_rng(0)
    fields = rng.integers(1, 3, (6, 8)).repeat(10, 0).repeat(10, 1)
    later = fields.copy()
    later[10:20, 10:20], fields[10:20, 10:20] = 2, 1
    later[40:50, 60:70], fields[40:50, 60:70] = 3, 2
    fields[0:10, 0:10] = later[0:10, 0:10] = 3
    # Sheds.
    later[33, 2::20] = 3
    kinds, own = rng.normal(size=(4, 24)), 0.3 * rng.normal(size=(6, 8, 24)).repeat(10, 0).repeat(10, 1)
    origin = Provenance("studio", "nano", dim=24)
    rasters = []
    for year, truth in ((2023, fields), (2024, later), (2025, fields)):
        x = kinds[truth] + own + 0.3 * rng.normal(size=(*SHAPE, 24))
        rasters.append(make_raster(x, GRID, Provenance(origin.model, origin.version, dim=24, year=year)))
    rows, cols = (part.ravel() for part in np.mgrid[5:60:10, 5:80:10])
    labels = Reference(
        rows, cols, fields[rows, cols].astype(np.uint8), np.arange(len(rows)),
        [LabelClass(k, name, "#808080") for k, name in NAMES.items()], points=True,
    )  # fmt: skip
    head = train(labels, rasters[0], HeadChoice(), calibrated=False).head
    return SavedHead(head, NAMES, rasters[0].provenance), rasters, (fields, later)


def test_what_is_new_is_listed_largest_first_with_its_classes(world):
    saved, (before, now, _), truth = world
    found = find_new(saved, before, now)
    big = [one for one in found.places if one.pixels > 50]
    assert {(NAMES[one.was], NAMES[one.now]) for one in big} == {("Wood", "Field"), ("Field", "Town")}
    assert [one.pixels for one in found.places] == sorted((one.pixels for one in found.places), reverse=True)
    for one in big:
        assert found.numbers[one.row, one.col] == one.number
        assert truth[0][one.row, one.col] != truth[1][one.row, one.col]
    judged = judge_new(found, *truth)
    assert judged.precision > 0.9
    assert judged.recall > 0.9
    assert judged.changed == 204
    records = found.table().records()
    assert records[0]["hectares"] == pytest.approx(found.places[0].pixels / 100)
    assert all(record["verdict"] is None for record in records)
    assert sum(shape.area for shape in found.table().outlines) / 100 == (found.numbers > 0).sum()
    assert "places are new in 2024 against 2023" in found.sentences()[0]


def test_small_patches_are_counted_and_not_listed(world):
    saved, (before, now, _), _ = world
    all_of_it, large = (find_new(saved, before, now, smallest=n) for n in (1, 20))
    assert large.left_out == (all_of_it.numbers > 0).sum() - (large.numbers > 0).sum() > 0
    assert min(one.pixels for one in large.places) >= 20


def test_nothing_is_new_in_the_same_year_and_other_datasets_are_refused(world):
    saved, (before, _, again), truth = world
    found = find_new(saved, before, again)
    assert found.places == ()
    judged = judge_new(found, truth[0], truth[0])
    assert math.isnan(judged.precision)
    other = make_raster(np.random.default_rng(0).normal(size=(*SHAPE, 24)), GRID, Provenance("studio", "x", dim=24))
    with pytest.raises(MixedDatasetsError):
        find_new(saved, other, other)


def test_verdicts_become_labels_that_can_be_read(world, tmp_path, capsys):
    saved, (before, now, _), _ = world
    before.save(tmp_path / "a")
    now.save(tmp_path / "b")
    save_head(tmp_path / "h.safetensors", saved.head, saved.class_names, saved.provenance)
    words = [
        "monitor",
        "find",
        tmp_path / "h.safetensors",
        tmp_path / "a",
        tmp_path / "b",
        "--out",
        tmp_path / "n.geojson",
    ]
    assert main([str(word) for word in (*words, "--json")]) == 0
    assert json.loads(capsys.readouterr().out)["places"] >= 2
    labels = ["monitor", "labels", str(tmp_path / "n.geojson"), "--out", str(tmp_path / "l.gpkg")]
    assert main(labels) == 2
    assert "has no verdict yet" in capsys.readouterr().err
    listed = json.loads((tmp_path / "n.geojson").read_text())
    for feature, verdict in zip(listed["features"], ("Keep", "reject"), strict=False):
        feature["properties"]["verdict"] = verdict
    listed["features"].append(json.loads(json.dumps(listed["features"][0])))
    listed["features"][-1]["properties"] |= {"verdict": "maybe", "id": 999}
    (tmp_path / "n.geojson").write_text(json.dumps(listed))
    read = read_review(tmp_path / "n.geojson")
    assert (read.kept, read.rejected, read.unclear) == (1, 1, {"maybe": 1})
    assert main(labels) == 0
    assert pyogrio.read_info(tmp_path / "l.gpkg")["features"] == 2
    found = read_labels(tmp_path / "l.gpkg", GRID, "class")
    first, second = (f["properties"] for f in listed["features"][:2])
    assert [c.name for c in found.classes] == list(dict.fromkeys([first["now"], second["was"]]))


def test_a_place_that_stands_twice_in_the_file_counts_once_with_its_verdict(tmp_path):
    def line(number, verdict):
        ring = [[3, 50], [3.1, 50], [3.1, 50.1 + number], [3, 50]]
        properties = {"id": number, "was": "Maize", "now": "Wheat", "verdict": verdict}
        return {"type": "Feature", "properties": properties, "geometry": {"type": "Polygon", "coordinates": [ring]}}

    first = [line(1, None), line(2, "keep"), line(3, "keep"), line(4, None)]
    second = [line(1, "Keep"), line(2, ""), line(3, "reject"), line(4, None)]
    (tmp_path / "n.geojson").write_text(json.dumps({"type": "FeatureCollection", "features": first + second}))
    read = read_review(tmp_path / "n.geojson")
    assert (read.kept, read.rejected, read.open, read.repeated) == (2, 0, 2, 4)
    assert read.unclear == {"keep / reject": 1}
    assert len(read.labels.rows) == 2
    assert any("in another layer of the file: 4." in sentence for sentence in read.sentences())
    # Two words of one meaning agree; a verdict counts beside a word that is none, which is told.
    pairs = [("keep", "yes"), ("maybe", "keep"), ("no", "?"), ("later", "perhaps"), ("y", "n")]
    both = [line(number, pair[layer]) for layer in (0, 1) for number, pair in enumerate(pairs)]
    (tmp_path / "n.geojson").write_text(json.dumps({"type": "FeatureCollection", "features": [*both, line(4, "y")]}))
    read = read_review(tmp_path / "n.geojson")
    assert (read.kept, read.rejected, read.open, read.repeated) == (2, 1, 2, 6)
    assert read.unclear == {"maybe": 1, "?": 1, "later / perhaps": 1, "y / n": 1}


def test_another_table_is_no_list(tmp_path):
    (tmp_path / "x.csv").write_text("lat,lon,class\n50,3,a\n")
    with pytest.raises(LabelError, match="no column 'was'"):
        read_review(tmp_path / "x.csv")

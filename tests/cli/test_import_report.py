"""What the command line says of the files that it read, on screen and in --json, for map, evaluate and numbers."""

from __future__ import annotations

import json

import numpy as np
import pytest
from affine import Affine

from tessera_core.cli import main
from tessera_core.grid import Grid
from tessera_core.provenance import Provenance
from tests.factories import make_raster

GRID = Grid("EPSG:32631", Affine(10, 0, 560_000, 0, -10, 5_765_000), (32, 32))
NAMES = ["Water", "Wood", "Maize", "Grass"]


@pytest.fixture(scope="module")
def embeddings(tmp_path_factory):
    """Four quarters of a region, a class each."""
    rng = np.random.default_rng(0)
    truth = np.kron(np.arange(4).reshape(2, 2), np.ones((16, 16), int))
    x = rng.normal(size=(4, 16))[truth] + 0.1 * rng.normal(size=(32, 32, 16))
    raster = make_raster(x, GRID, Provenance("studio", "nano", dim=16, year=2024))
    folder = tmp_path_factory.mktemp("region") / "E"
    raster.save(folder)
    return folder


def places(count=24):
    """``(lon, lat, class)`` of points, each in its class's quarter."""
    rng = np.random.default_rng(1)
    found = []
    for n in range(count):
        row, col = 16 * (n % 4 // 2) + rng.integers(1, 15) + 0.5, 16 * (n % 2) + rng.integers(1, 15) + 0.5
        lon, lat = GRID.pixel_to_lonlat(row, col)
        found.append((float(lon), float(lat), NAMES[n % 4]))
    return found


def run(capsys, *words):
    code = main([str(word) for word in words])
    out = capsys.readouterr()
    return code, out.out, out.err


def both(capsys, *words):
    """The text and the JSON of a command that succeeds."""
    code, text, err = run(capsys, *words)
    assert code == 0, err
    code, out, err = run(capsys, *words, "--json")
    assert code == 0, err
    return text, json.loads(out)["import"]


@pytest.mark.parametrize("command", ["map", "evaluate"])
def test_what_was_understood_and_left_out_is_said(embeddings, tmp_path, capsys, command):
    rows = [f"{b},{a},{k}" if n % 4 == 0 else f"{a},{b},{k}" for n, (a, b, k) in enumerate(places())]
    (tmp_path / "l.csv").write_text("lon,lat,class\n" + "\n".join(rows))
    out = ["--out", tmp_path / "m.tif"] if command == "map" else ["--split", "random"]
    text, report = both(capsys, command, embeddings, "--labels", tmp_path / "l.csv", *out)
    assert "24 features read, 18 labels made; 6 skipped: outside the region." in text
    assert "The classes were taken from the field 'class'." in text
    assert "6 of the places outside would lie in the region with latitude and longitude exchanged" in text
    assert (report["read"], report["used"], report["labels"], report["outside"]) == (24, 18, 18, 6)
    assert (report["field"], report["crs"], report["crs_from"]) == ("class", "EPSG:4326", "the columns lat and lon")
    assert report["left_out"] == [
        {"reason": "outside the region", "count": 6, "examples": ["line 2", "line 6", "line 10"]}
    ]
    # Its former name, for scripts.
    assert report["mended"] == report["repaired"]


@pytest.mark.parametrize("command", ["map", "evaluate"])
def test_labels_that_contradict_each_other_are_counted_by_class(embeddings, tmp_path, capsys, command):
    rows = [f"{a},{b},{k}" for a, b, k in places(40)]
    again = [f"{a},{b},Maize" for a, b, k in places(40)[:16]]
    (tmp_path / "l.csv").write_text("lon,lat,class\n" + "\n".join([*rows, *again]))
    out = ["--out", tmp_path / "m.tif"] if command == "map" else ["--split", "random"]
    text, report = both(capsys, command, embeddings, "--labels", tmp_path / "l.csv", *out)
    assert report["conflicts"]["contradicting"] == 12
    assert report["conflicts"]["covered"] == {"Water": 4, "Wood": 4, "Maize": 4, "Grass": 4}
    assert "16 labels of the file are covered by later ones on the same pixels" in text
    assert "12 labels contradict a later one" in text


def test_a_class_that_covers_all_others_is_named(embeddings, tmp_path, capsys):
    west, south, east, north = GRID.bounds
    rows = [f"SRID=32631;POINT({west + 55} {north - 55}),Water", f'"SRID=32631;{box(west, south, east, north)}",all']
    (tmp_path / "l.csv").write_text("wkt,class\n" + "\n".join(rows))
    code, _, err = run(capsys, "map", embeddings, "--labels", tmp_path / "l.csv", "--out", tmp_path / "m.tif")
    assert code == 2
    assert "Only the class 'all' of l.csv has pixels in the end" in err
    assert "(Water 1)" in err


def box(west, south, east, north):
    return f"POLYGON(({west} {south},{east} {south},{east} {north},{west} {north},{west} {south}))"


def test_a_file_of_which_nothing_can_be_read_says_so_and_not_that_it_lies_elsewhere(embeddings, tmp_path, capsys):
    (tmp_path / "l.csv").write_text("lon,lat,class\n" + "\n".join(f"here,there,{k}" for *_, k in places()))
    code, _, err = run(capsys, "map", embeddings, "--labels", tmp_path / "l.csv", "--out", tmp_path / "m.tif")
    assert code == 2
    assert (
        "Not one label of l.csv can be used: 24 features read, 0 labels made; 24 skipped: coordinates that are no numbers"
        in err
    )


def test_columns_fields_layers_and_systems_can_be_named(embeddings, tmp_path, capsys):
    rows = [f"{a},{b},{k},{n}" for n, (a, b, k) in enumerate(places())]
    (tmp_path / "l.csv").write_text("p,q,what,label\n" + "\n".join(rows))
    words = ["map", embeddings, "--labels", tmp_path / "l.csv", "--out", tmp_path / "m.tif"]
    code, _, err = run(capsys, *words)
    assert (code, "columns are: p, q, what, label" in err) == (2, True)
    _, report = both(capsys, *words, "--lon", "p", "--lat", "q", "--field", "what")
    assert (report["labels"], report["field_why"]) == (24, "as told")
    code, _, err = run(capsys, *words, "--lon", "p", "--lat", "qq")
    assert (code, "Did you mean 'q'?" in err) == (2, True)
    code, _, err = run(capsys, *words, "--lon", "p", "--lat", "q", "--field", "wat")
    assert (code, "Did you mean 'what'?" in err) == (2, True)
    code, _, err = run(capsys, *words, "--lon", "p", "--lat", "q", "--layer", "x")
    assert (code, "has no layers" in err) == (2, True)
    code, _, err = run(capsys, *words, "--lon", "p", "--lat", "q", "--crs", "EPSG:1")
    assert (code, "not known" in err) == (2, True)


def test_numbers_are_accounted_for_too(embeddings, tmp_path, capsys):
    rows = [f"{a};{b};{'n/a' if n == 3 else n / 4}".replace(".", ",") for n, (a, b, _) in enumerate(places(40))]
    (tmp_path / "p.csv").write_text("lon;lat;height_m\n" + "\n".join(rows))
    words = ["--labels", tmp_path / "p.csv", "--head", "ridge-regression"]
    text, report = both(capsys, "map", embeddings, *words, "--out", tmp_path / "m.tif")
    assert (report["read"], report["used"], report["field"]) == (40, 39, "height_m")
    assert "1 skipped: no number in 'height_m'" in text

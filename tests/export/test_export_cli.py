import json
import re
import shutil
import subprocess
import sys
import warnings
import zipfile
from dataclasses import replace

import numpy as np
import pyogrio
import pytest
import rasterio
from rasterio.errors import NotGeoreferencedWarning

from tessera_core._utils.percents import percent
from tessera_core.cli import main
from tessera_core.cli.export import LABEL_KINDS
from tessera_core.export.labels import CLASS_FORMATS, FORMATS
from tessera_core.grid import Grid
from tessera_core.labels.files import read_labels
from tessera_core.project.project import Project
from tessera_core.provenance import Provenance
from tessera_core.raster import EmbeddingRaster
from tests.factories import make_grid, make_raster

GRID = make_grid((90, 120))


def make_project(folder, grid=GRID, labels=6, years=(2023,)):
    rng = np.random.default_rng(0)
    truth = np.add.outer(np.arange(90) // 30, np.arange(120) // 40) % 3
    values = rng.normal(size=(3, 16))[truth] + rng.normal(size=(90, 120, 16)) * 0.2
    project = Project.create(folder / "project", "My <fen> & more")
    for year in years:
        provenance = Provenance("tessera", "2.0", "2B-L", year=year)
        make_raster(values, grid, provenance, empty=np.s_[:2]).save(folder / f"emb{year}")
        project.attach_embeddings(year, folder / f"emb{year}", provenance, grid)
    for name in ("Wood", "Water <b>", "Fäld"):
        project.log.add_class(name)
    for k in range(3):
        places = np.argwhere(truth == k)
        for number in range(labels):
            row, col = places[rng.integers(len(places))]
            x, y = grid.pixel_to_xy(row + 0.5, col + 0.5)
            project.log.add("brush" if number % 2 else "point", k + 1, [(float(x), float(y))], 2 * grid.transform.a)
    return project, truth


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("TESSERA_HOME", str(tmp_path / "home"))


def export(capsys, project, kind, out, *more):
    code = main(["export", str(project), "--to", kind, "--out", str(out), *more, "--json"])
    captured = capsys.readouterr()
    return code, (json.loads(captured.out) if code == 0 else captured.err)


def test_the_archive_for_qgis_opens_styled(tmp_path, capsys):
    project, truth = make_project(tmp_path)
    code, result = export(capsys, project.folder, "qgis", tmp_path / "out" / "fen")
    assert code == 0
    assert result["files"] == [str(tmp_path / "out" / "fen.zip")]
    with zipfile.ZipFile(tmp_path / "out" / "fen.zip") as archive:
        archive.extractall(tmp_path / "z")
    names = {path.name for path in (tmp_path / "z").iterdir()}
    assert names >= {"map.tif", "map.tif.aux.xml", "map.qml", "confidence.tif", "labels.gpkg", "README.txt"}
    with rasterio.open(tmp_path / "z" / "map.tif") as file:
        classes = file.read(1)
        assert file.tags(1)["class_2"] == "Water <b>"
    assert not classes[:2].any()
    assert np.mean(classes[2:] == truth[2:] + 1) > 0.98
    assert pyogrio.read_info(tmp_path / "z" / "labels.gpkg", layer="label_points")["features"] == 9
    assert "Water &lt;b&gt;" in (tmp_path / "z" / "map.qml").read_text(encoding="utf-8")
    assert "Water <b>" in (tmp_path / "z" / "README.txt").read_text(encoding="utf-8")
    counts = {name: area["pixels"] for name, area in result["classes"].items()}
    assert counts == {c.name: int(np.count_nonzero(classes == c.id)) for c in project.log.classes}
    assert result["classes"]["Wood"]["hectares"] == pytest.approx(counts["Wood"] * 0.01)
    assert not [path for path in (tmp_path / "out").iterdir() if path.name.startswith(".")]


def test_the_report_is_complete_in_itself_and_escapes_names(tmp_path, capsys):
    project, _ = make_project(tmp_path)
    code, result = export(capsys, project.folder, "report", tmp_path / "r.html")
    text = (tmp_path / "r.html").read_text(encoding="utf-8")
    assert code == 0
    assert "My &lt;fen&gt; &amp; more 2023" in text
    assert "Water &lt;b&gt;" in text
    assert "<b>" not in text
    assert not re.search(r"(?:src|href)=['\"](?!data:)", text)
    assert not re.search(r"https?://", text)
    assert f"{result['classes']['Wood']['hectares']:,.1f}" in text
    score = result["score"]
    low, high = score["interval"]
    said = f"About {percent(score['accuracy'])} % right at places the map has not seen"
    assert f"{said} (95 % sure: {percent(low)} % to {percent(high)} %" in text
    for word in ("macro-F1", "the head", "Head", "-d embeddings"):
        assert word not in text
    assert "is simulated" not in text


def test_the_score_is_of_the_head_with_its_options(tmp_path, capsys):
    project, _ = make_project(tmp_path, labels=8)
    plain = export(capsys, project.folder, "report", tmp_path / "plain.html")[1]["score"]
    raster = EmbeddingRaster.open(tmp_path / "emb2023")
    noisy = np.random.default_rng(1).integers(-127, 128, raster.codes.shape).astype(np.int8)
    both = np.where(np.random.default_rng(2).random(raster.shape)[..., None] < 0.5, noisy, raster.codes)
    replace(raster, codes=both).save(tmp_path / "noisy")
    project.attach_embeddings(2023, tmp_path / "noisy", raster.provenance, raster.grid)
    alone = export(capsys, project.folder, "report", tmp_path / "alone.html")[1]["score"]
    project.update(neighbourhood=5)
    around = export(capsys, project.folder, "report", tmp_path / "around.html")[1]["score"]
    # Half of the pixels are noise: who looks at the square around each is hardly disturbed.
    assert plain["accuracy"] >= around["accuracy"] > alone["accuracy"] + 0.05


def test_a_report_without_a_score_says_so(tmp_path, capsys):
    project, _ = make_project(tmp_path, labels=1)
    code, result = export(capsys, project.folder, "report", tmp_path / "r.html")
    assert code == 0
    assert result["score"] is None
    assert "not checked" in (tmp_path / "r.html").read_text(encoding="utf-8")
    assert "Fewer than five labels" in (tmp_path / "r.html").read_text(encoding="utf-8")


@pytest.mark.soak
def test_the_script_makes_the_same_map_again(tmp_path, capsys):
    project, _ = make_project(tmp_path)
    code, result = export(capsys, project.folder, "script", tmp_path / "s" / "again")
    assert code == 0
    assert [name.rsplit(".")[-1] for name in result["files"]] == ["py", "tessera"]
    command = [sys.executable, str(tmp_path / "s" / "again.py"), str(tmp_path / "m.tif")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "equals the exported map" in done.stdout
    assert subprocess.run(command[:2], capture_output=True, check=False).returncode == 1


def test_a_bundle_opens_again(tmp_path, capsys):
    project, _ = make_project(tmp_path)
    code, result = export(capsys, project.folder, "bundle", tmp_path / "b")
    assert (code, result["files"]) == (0, [str(tmp_path / "b.tessera")])
    code, again = export(capsys, tmp_path / "b.tessera", "report", tmp_path / "r")
    assert code == 0
    assert again["classes"]["Wood"]["labels"] == 6


def test_labels_go_out_in_the_format_of_the_ending_and_what_is_lost_is_told(tmp_path, capsys):
    project, _ = make_project(tmp_path, years=(2023, 2024))
    code, result = export(capsys, project.folder, "labels", tmp_path / "l.kml")
    assert (code, result["format"], result["labels"]) == (0, "kml", 18)
    assert result["lost"] == ["9 brush strokes become the area covered."]
    got = read_labels(tmp_path / "l.kml", GRID)
    assert [c.name for c in got.classes] == ["Wood", "Water <b>", "Fäld"]
    assert len(got.labels) == 18
    code, result = export(capsys, project.folder, "labels", tmp_path / "l", "--kind", "tee-manual", "--year", "2023")
    assert (code, result["files"]) == (0, [str(tmp_path / "l.json")])
    assert json.loads((tmp_path / "l.json").read_text(encoding="utf-8"))["year"] == "2023"
    assert main(["export", str(project.folder), "--to", "labels", "--out", str(tmp_path / "l.csv")]) == 0
    assert "9 areas become one point each" in capsys.readouterr().out
    code, result = export(capsys, project.folder, "labels", tmp_path / "l.txt")
    assert (code, result["format"]) == (0, "classes-text")
    assert [line.split(" #")[0] for line in (tmp_path / "l.txt").read_text(encoding="utf-8").splitlines()] == [
        "Wood",
        "Water <b>",
        "Fäld",
    ]


def test_labels_that_cannot_be_written_are_one_sentence(tmp_path, capsys):
    project, _ = make_project(tmp_path, grid=Grid.local((90, 120)))
    cases = [
        (("labels", tmp_path / "x.kml"), "no place on Earth"),
        (("labels", tmp_path / "x.json"), "several kinds; choose one"),
        (("labels", tmp_path / "x"), "does not say in which format"),
        (("report", tmp_path / "x", "--kind", "tee"), "--to labels"),
        (("labels", tmp_path / "x.gpkg", "--year", "1999"), "no embeddings of 1999"),
    ]
    for arguments, match in cases:
        code, message = export(capsys, project.folder, *arguments)
        assert code == 2
        assert match in message
        assert message.count("\n") == 1
    assert not list(tmp_path.glob("x*"))
    assert export(capsys, project.folder, "labels", tmp_path / "x.gpkg")[0] == 0


def test_labels_can_be_taken_from_a_project_whose_embeddings_are_elsewhere(tmp_path, capsys):
    project, _ = make_project(tmp_path)
    assert export(capsys, project.folder, "bundle", tmp_path / "b")[0] == 0
    shutil.rmtree(tmp_path / "emb2023")
    code, result = export(capsys, tmp_path / "b.tessera", "labels", tmp_path / "l.csv")
    assert (code, result["labels"]) == (0, 18)


def test_the_kinds_of_the_command_are_the_formats_there_are():
    assert set(LABEL_KINDS) == set(FORMATS) | set(CLASS_FORMATS)


def test_a_raster_without_place_is_exported_in_pixels(tmp_path, capsys):
    project, _ = make_project(tmp_path, grid=Grid.local((90, 120)))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", NotGeoreferencedWarning)
        code, result = export(capsys, project.folder, "qgis", tmp_path / "q")
    assert code == 0
    assert result["classes"]["Wood"]["hectares"] is None
    with zipfile.ZipFile(tmp_path / "q.zip") as archive:
        assert "no georeference" in archive.read("README.txt").decode()
    code, _ = export(capsys, project.folder, "report", tmp_path / "r")
    assert code == 0
    assert "Hectares" not in (tmp_path / "r.html").read_text(encoding="utf-8")


def test_bad_input_is_one_sentence_and_code_2(tmp_path, capsys):
    project, _ = make_project(tmp_path, years=(2023, 2024))
    cases = [
        ((tmp_path / "nowhere", "report", tmp_path / "r"), "does not exist"),
        ((project.folder, "report", tmp_path / "r"), "choose one with --year"),
        ((project.folder, "report", tmp_path / "r", "--year", "1999"), "no embeddings of 1999"),
        ((Project.create(tmp_path / "empty").folder, "report", tmp_path / "r"), "no embeddings yet"),
    ]
    project.log.clear()
    cases.append(((project.folder, "qgis", tmp_path / "r", "--year", "2023"), "no labels"))
    for arguments, match in cases:
        code, message = export(capsys, *arguments)
        assert code == 2, message
        assert match in message
        assert message.count("\n") == 1
    assert not list(tmp_path.glob("r*"))
    code, message = export(capsys, project.folder, "report", tmp_path)
    assert code == 2
    assert "is a folder" in message


def test_the_web_map_is_one_file_and_asks_the_internet_only_when_told(tmp_path, capsys):
    project, _ = make_project(tmp_path)
    code, result = export(capsys, project.folder, "web", tmp_path / "fen")
    assert code == 0
    assert result["files"] == [str(tmp_path / "fen.html")]
    assert set(result["classes"]) == {"Wood", "Water <b>", "Fäld"}
    text = (tmp_path / "fen.html").read_text(encoding="utf-8")
    assert "Water <b>" not in text
    assert "tile.openstreetmap.org" not in text
    code, _ = export(capsys, project.folder, "web", tmp_path / "online.html", "--online")
    assert code == 0
    assert "tile.openstreetmap.org" in (tmp_path / "online.html").read_text(encoding="utf-8")
    code, error = export(capsys, project.folder, "report", tmp_path / "r.html", "--online")
    assert code == 2
    assert "--to web" in error


def test_a_picture_is_for_a_slide_or_a_page_and_other_endings_are_refused(tmp_path, capsys):
    project, _ = make_project(tmp_path)
    for name, start in (("fen.png", b"\x89PNG"), ("fen.pdf", b"%PDF")):
        code, result = export(capsys, project.folder, "picture", tmp_path / name)
        assert code == 0
        assert result["files"] == [str(tmp_path / name)]
        assert (tmp_path / name).read_bytes().startswith(start)
    code, error = export(capsys, project.folder, "picture", tmp_path / "fen.jpg")
    assert code == 2
    assert ".png" in error
    assert not (tmp_path / "fen.jpg").exists()

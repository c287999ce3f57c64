"""Projects without the app, and exports without a project."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from tessera_core.cli import main
from tessera_core.periods import period
from tessera_core.project.project import Project
from tests.factories import make_grid, two_halves

GRID = make_grid((24, 24))


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("TESSERA_HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)
    for year in (2023, 2024):
        two_halves(GRID, year).save(tmp_path / "e" / str(year))
    rows = ["name,lon,lat"]
    for name, left in (("Wood", 2), ("Fen", 14)):
        for row in range(2, 23, 4):
            for col in (left, left + 5):
                lon, lat = GRID.pixel_to_lonlat(row + 0.5, col + 0.5)
                rows.append(f"{name},{float(lon)},{float(lat)}")
    (tmp_path / "labels.csv").write_text("\n".join([*rows, "Far,0,0"]))
    return tmp_path


def said(capsys: pytest.CaptureFixture[str], *words: object) -> tuple[int, dict[str, object]]:
    code = main([*map(str, words), "--json"])
    return code, json.loads(capsys.readouterr().out)


def test_a_project_is_made_filled_found_and_exported_without_the_app(
    place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code, made = said(capsys, "project", "new", "Bog", "e/2023", "e/2024")
    assert code == 0
    folder = Path(made["projects"][0]["folder"])  # type: ignore[index]
    assert Project.open(folder).years == [2023, 2024]
    # Another window of a year lies beside them, and goes with them everywhere.
    season = period("2023-10/2024-09")
    two_halves(GRID, season).save(place / "season")
    code, more = said(capsys, "project", "add", "Bog", "season")
    assert (code, more["projects"][0]["years"]) == (0, [2023, "2023-10 to 2024-09", 2024])  # type: ignore[index]
    code, twice = said(capsys, "project", "add", "Bog", "season")
    assert (code, "of 2023-10 to 2024-09 already" in twice["error"]["message"]) == (2, True)  # type: ignore[index]
    code, added = said(capsys, "project", "add-labels", "Bog", "labels.csv")
    assert (code, added["added"], added["import"]["read"]) == (0, 24, 25)  # type: ignore[index]
    assert said(capsys, "project", "rename", folder, "Marsh")[0] == 0
    _, known = said(capsys, "project", "list")
    assert [one["name"] for one in known["projects"]] == ["Marsh"]  # type: ignore[attr-defined]
    _, looked = said(capsys, "project", "info", "Marsh")
    assert looked["items"][0]["classes"] == {"Wood": 12, "Fen": 12}  # type: ignore[index]
    assert said(capsys, "export", "Marsh", "--to", "pack", "--out", "course")[0] == 0
    code, exported = said(capsys, "export", "course.tesserapack", "--to", "labels", "--out", "l.csv")
    assert (code, exported["labels"]) == (0, 24)
    code, unpacked = said(capsys, "project", "open", "course.tesserapack")
    assert code == 0
    copied = Project.open(unpacked["projects"][0]["folder"])  # type: ignore[index]
    assert copied.years == [2023, season, 2024]
    assert copied.embeddings_path(season).name == "2023-10 to 2024-09"
    code, mapped = said(
        capsys, "export", copied.folder, "--to", "report", "--out", "season.html", "--year", "2023-10/2024-09"
    )
    assert (code, mapped["year"]) == (0, "2023-10 to 2024-09")
    assert "Oct 2023 – Sep 2024" in (place / "season.html").read_text()
    # What it takes to open it is told where several have the name.
    code, refused = said(capsys, "project", "add-labels", "Marsh", "labels.csv")
    assert (code, "Several projects" in refused["error"]["message"]) == (2, True)  # type: ignore[index]


def test_embeddings_and_a_label_file_are_exported_without_a_project(
    place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ("export", "e/2023", "--labels", "labels.csv")
    code, result = said(capsys, *words, "--to", "qgis", "--out", "map.zip")
    assert (code, set(result["classes"])) == (0, {"Wood", "Fen"})  # type: ignore[call-overload]
    assert said(capsys, *words, "--to", "labels", "--kind", "tee", "--out", "tee")[0] == 0
    assert said(capsys, *words, "--to", "labels", "--out", "labels.csv")[0] == 2
    assert not (place / "home" / "projects").exists()


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (("new", "Bog", "e/2023", "--out", "mywork"), "notes.txt"),
        (("new", "Bog", "e/2023", "--out", "e/2023/p"), "lies in"),
        (("new", " ", "e/2023"), "needs a name"),
        (("new", "Bog", "nothing"), "does not exist"),
        (("new", "Bog", "mywork"), "mywork"),
        (("open", "labels.csv"), "labels.csv"),
        (("info", "Bog"), "no project 'Bog'"),
        (("add-labels", "Bog", "nothing.csv"), "does not exist"),
        (("add-labels", "mywork", "labels.csv"), "mywork"),
        (("delete", "Bog"), "invalid choice"),
    ],
)
def test_what_cannot_be_is_one_sentence_and_changes_nothing(
    place: Path, capsys: pytest.CaptureFixture[str], words: tuple[str, ...], sentence: str
) -> None:
    (place / "mywork").mkdir()
    (place / "mywork" / "notes.txt").write_text("mine")
    code, result = said(capsys, "project", *words)
    assert code == 2
    assert sentence in result["error"]["message"]  # type: ignore[index]
    assert [path.name for path in (place / "mywork").iterdir()] == ["notes.txt"]


def test_no_two_projects_get_one_name_by_which_commands_could_not_tell_them_apart(
    place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("Bog", "Fen"):
        assert said(capsys, "project", "new", name, "e/2023")[0] == 0
    for words in (("new", "Bog", "e/2024"), ("new", "Bog", "e/2024", "--out", "bog"), ("rename", "Fen", "Bog")):
        code, result = said(capsys, "project", *words)
        assert (code, "already" in result["error"]["message"]) == (2, True), words  # type: ignore[index]
        assert "'Bog 2'" in result["error"]["message"]  # type: ignore[index]
    assert not (place / "bog").exists()
    assert said(capsys, "project", "rename", "Fen", "Fen")[0] == 0
    assert said(capsys, "project", "add", "Bog", "e/2024")[0] == 0


def test_every_project_is_listed_and_found_however_many_there_are(
    place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert said(capsys, "project", "new", "First", "e/2023")[0] == 0
    _, known = said(capsys, "project", "list")
    first = Path(known["projects"][0]["folder"])  # type: ignore[index]
    text = (first / "project.json").read_text()
    for number in range(101):
        other = first.with_name(f"other{number}")
        other.mkdir()
        (other / "project.json").write_text(text.replace('"First"', f'"Other {number}"'))
    os.utime(first / "project.json", (1, 1))
    _, known = said(capsys, "project", "list")
    assert len(known["projects"]) == 102  # type: ignore[arg-type]
    assert said(capsys, "project", "info", "First")[0] == 0


def test_labels_that_miss_the_region_are_not_taken_for_done(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert said(capsys, "project", "new", "Bog", "e/2023", "--out", "bog")[0] == 0
    (place / "far.csv").write_text("name,lon,lat\nWood,20,10\n")
    code, result = said(capsys, "project", "add-labels", "bog", "far.csv")
    assert (code, "Not one label" in result["error"]["message"]) == (2, True)  # type: ignore[index]
    _, known = said(capsys, "project", "list")
    assert [Path(one["folder"]).name for one in known["projects"]] == ["bog"]  # type: ignore[attr-defined]


def test_a_project_from_elsewhere_is_linked_with_its_embeddings(
    place: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    code, made = said(capsys, "project", "new", "Bog", "e/2023", "e/2024")
    file = Project.open(made["projects"][0]["folder"]).export_file(place / "bog.tessera")
    monkeypatch.setenv("TESSERA_HOME", str(place / "another computer"))
    code, opened = said(capsys, "project", "open", file)
    assert (code, len(opened["projects"][0]["wanted"])) == (0, 2)
    assert main(["project", "link", "Bog", "labels.csv"]) == 2
    assert main(["project", "link", "Bog", "e", "--year", "1999"]) == 2
    capsys.readouterr()
    code, linked = said(capsys, "project", "link", "Bog", "e")
    assert (code, linked["projects"][0]["years"], linked["projects"][0]["wanted"]) == (0, [2023, 2024], [])
    assert main(["project", "link", "Bog", "e"]) == 2
    assert "are linked" in capsys.readouterr().err
    assert main(["project", "link", "Bog", "e/2023", "--year", "2023"]) == 0

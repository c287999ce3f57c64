"""Starting projects from paths and uploads, and the list of recent ones."""

from __future__ import annotations

import io
import time
import zipfile
from pathlib import Path

import numpy as np
import pytest
from streamlit.testing.v1 import AppTest

from tessera_core.cli import main
from tessera_core.errors import InputError, ProjectError, TesseraError
from tessera_core.project import deletion, library
from tessera_core.project.home import projects_home
from tessera_core.project.project import Project
from tests.factories import landscape


def test_folder_with_a_subfolder_per_year_becomes_a_project_of_both_years(home: Path, region_folder: Path) -> None:
    found = library.identify(f'"{region_folder}"')
    assert [year for year, _, _ in found.rasters] == [2023, 2024]
    project = library.start(found, "Fields")
    assert project.years == [2023, 2024]
    assert project.embeddings_path(2024) == (region_folder / "2024").resolve()


def test_single_raster_and_its_own_year(home: Path, tmp_path: Path) -> None:
    landscape(16, year=2020).save(tmp_path / "one")
    project = library.start(library.identify(str(tmp_path / "one")), "")
    assert (project.name, project.years) == ("one", [2020])


@pytest.mark.parametrize(
    ("text", "says"),
    [("relative/path", "whole path"), ("/nowhere/at/all", "nothing at"), ("{tmp}", "can be read as embeddings")],
)
def test_paths_without_embeddings_say_so(home: Path, tmp_path: Path, text: str, says: str) -> None:
    with pytest.raises(InputError, match=says):
        library.identify(text.format(tmp=tmp_path))


@pytest.fixture
def damaged_year(tmp_path: Path) -> Path:
    """A folder of three years, of which the middle one is cut off."""
    for year in (2020, 2021, 2022):
        landscape(16, year=year).save(tmp_path / "years" / str(year))
    codes = tmp_path / "years" / "2021" / "codes.npy"
    codes.write_bytes(codes.read_bytes()[:200])
    return tmp_path / "years"


def test_a_damaged_year_of_several_is_named_and_the_others_open(home: Path, damaged_year: Path) -> None:
    found = library.identify(str(damaged_year))
    assert [year for year, _, _ in found.rasters] == [2020, 2022]
    assert [failure.what for failure in found.failed] == ["2021"]
    assert "codes.npy" in found.failed[0].why
    assert library.start(found, "Years").years == [2020, 2022]
    for year in ("2020", "2022"):
        (damaged_year / year / "raster.json").write_text("{", encoding="utf-8")
    with pytest.raises(InputError, match="None of the years in years"):
        library.identify(str(damaged_year))


def test_a_damaged_year_is_told_on_the_page_and_by_the_command(app: AppTest, damaged_year: Path) -> None:
    app.run()
    app.text_input(key="region_folder").input(str(damaged_year)).run()
    assert any("2021 is left out" in warning.value for warning in app.warning)
    app.button(key="region_open").click().run()
    assert not app.exception
    assert any("2021 is left out" in warning.value for warning in app.warning)
    assert main(["project", "new", "Again", str(damaged_year)]) == 3


def test_years_of_two_datasets_leave_no_project_behind(home: Path, tmp_path: Path) -> None:
    landscape(16, year=2020).save(tmp_path / "mixed" / "2020")
    landscape(16, year=2021, dim=64).save(tmp_path / "mixed" / "2021")
    found = library.identify(str(tmp_path / "mixed"))
    with pytest.raises(TesseraError, match="cannot be mixed"):
        library.start(found, "Mixed")
    assert library.recent() == []
    assert list(projects_home().iterdir()) == []


def _npy(array: np.ndarray) -> io.BytesIO:
    stream = io.BytesIO()
    np.save(stream, array)
    stream.seek(0)
    return stream


def test_uploaded_pair_is_kept_in_the_project(home: Path) -> None:
    raster = landscape(16)
    scales = np.array(raster.scales)
    project = library.start_upload([("tile.npy", _npy(np.array(raster.codes))), ("tile_scales.npy", _npy(scales))])
    assert project.name == "tile"
    (reference,) = project.embeddings.values()
    assert reference.path.is_relative_to(project.folder.resolve())
    from tessera_core.sources.local.open import open_embeddings

    opened = open_embeddings(reference.path)
    assert np.array_equal(opened.codes, raster.codes)
    assert np.array_equal(opened.scales, raster.scales, equal_nan=True)


def test_unreadable_upload_leaves_nothing(home: Path) -> None:
    files = [("tile.npy", io.BytesIO(b"this is a letter")), ("tile_scales.npy", io.BytesIO(b"and another"))]
    with pytest.raises(InputError, match=r"tile"):
        library.start_upload(files)
    assert library.recent() == []
    assert [path for path in projects_home().rglob("*") if path.is_file()] == []


def test_uploaded_project_file_opens_with_its_labels(home: Path, project: Project, tmp_path: Path) -> None:
    wood = project.log.add_class("Wood")
    project.log.add("point", wood.id, [(600_100.0, 5_799_900.0)])
    file = project.export_file(tmp_path / "mine.tessera")
    again = library.start_upload([("mine.tessera", io.BytesIO(file.read_bytes()))])
    assert again.folder != project.folder
    assert [(label.kind, label.class_id) for label in again.log.labels] == [("point", wood.id)]
    assert again.years == project.years
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("notes.txt", "hello")
    buffer.seek(0)
    with pytest.raises(ProjectError, match="notes"):
        library.start_upload([("notes.tessera", buffer)])


def test_rename_and_delete(home: Path, project: Project, region_folder: Path) -> None:
    (entry,) = library.recent()
    library.rename(entry, "Other name")
    (entry,) = library.recent()
    assert entry.name == "Other name"
    with pytest.raises(ProjectError, match="needs a name"):
        library.rename(entry, "  ")
    deletion.delete(entry)
    assert library.recent() == []
    assert not project.folder.exists()
    assert (region_folder / "2023" / "codes.npy").exists()


def test_deleting_a_project_among_other_files_touches_only_its_own(home: Path, tmp_path: Path) -> None:
    folder = tmp_path / "work"
    folder.mkdir()
    (folder / "thesis.txt").write_text("years of work")
    library.adopt(Project.create(folder, "Work").folder)
    (entry,) = library.recent()
    deletion.delete(entry)
    assert [path.name for path in folder.iterdir()] == ["thesis.txt"]
    assert library.recent() == []


def test_a_deleted_project_comes_back_for_an_hour(home: Path, project: Project) -> None:
    project.log.add_class("Wood")
    (entry,) = library.recent()
    deleted = deletion.delete(entry)
    assert library.recent() == []
    again = deletion.restore(deleted)
    assert again.folder == project.folder
    assert [c.name for c in again.log.classes] == ["Wood"]
    assert library.recent() == [entry]
    with pytest.raises(ProjectError, match="for good"):
        deletion.restore(deleted)
    deleted = deletion.delete(entry)
    assert deletion.sweep(time.time() + deletion.KEPT_SECONDS - 60) == 0
    assert deletion.sweep(time.time() + deletion.KEPT_SECONDS + 60) == 1
    assert not deleted.kept.exists()
    with pytest.raises(ProjectError, match="for good"):
        deletion.restore(deleted)


def test_a_deleted_project_among_other_files_comes_back_beside_them(home: Path, tmp_path: Path) -> None:
    folder = tmp_path / "work"
    folder.mkdir()
    (folder / "thesis.txt").write_text("years of work")
    made = Project.create(folder, "Work")
    made.log.add_class("Wood")
    library.adopt(folder)
    (entry,) = library.recent()
    again = deletion.restore(deletion.delete(entry))
    assert again.folder.resolve() == folder.resolve()
    assert [c.name for c in again.log.classes] == ["Wood"]
    assert (folder / "thesis.txt").read_text() == "years of work"
    assert [one.name for one in library.recent()] == ["Work"]
    deleted = deletion.delete(entry)
    Project.create(folder, "Another")
    with pytest.raises(ProjectError, match="Another project lies where Work was"):
        deletion.restore(deleted)
    assert Project.open(folder).name == "Another"


def test_a_copy_has_its_own_labels_and_the_same_embeddings(home: Path, project: Project) -> None:
    wood = project.log.add_class("Wood")
    grid = project.grid
    assert grid is not None
    x, y = grid.pixel_to_xy(3, 4)
    project.log.add("point", wood.id, [(float(x), float(y))])
    (project.folder / "validation-2024.json").write_text("{}")
    copy = deletion.duplicate(project, library.free_name(f"{project.name}, copy"))
    assert (copy.folder / "validation-2024.json").read_text() == "{}"
    assert copy.name == "My fields, copy"
    assert copy.key != project.key
    assert {year: ref.path for year, ref in copy.embeddings.items()} == {
        year: ref.path for year, ref in project.embeddings.items()
    }
    assert len(copy.log.labels) == 1
    copy.log.add("point", wood.id, [(float(x) + 10, float(y))])
    assert (len(project.log.labels), len(copy.log.labels)) == (1, 2)

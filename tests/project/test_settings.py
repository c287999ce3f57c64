"""Settings of a stranger's project: whatever they are, everything that reads them goes on."""

from __future__ import annotations

import json
import shutil
import zipfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tessera_core.analysis.postprocess import PostProcessing
from tessera_core.errors import ProjectError, TesseraError
from tessera_core.project import classify, load, regress, tile_repair
from tessera_core.project.project import Project
from tessera_core.project.project_files import FORMAT
from tessera_core.project.settings import VERSION, ProjectSettings, migrated, unsound
from tessera_core.provenance import Provenance
from tessera_core.ui.generate.page import show_outcome

NAMES = [
    *("head", "context", "class_weight", "certainty", "tidy", "schema", "numbers_measure", "numbers_head"),
    *("numbers_context", "year", "label_year", "fetch_missing", "missing", "parity", "mended"),
    *("neighbourhood", "confidence_threshold", "regression_context", "regression_neighbourhood"),
    *("post_processing", "regression_measure", "agreement", "repaired_tiles", "extra"),
]
VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.just(10**30)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=4),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["1", "a", "2023", "method", "verdict", "sentence", "original"]), inner, max_size=3
        )
    ),
    max_leaves=6,
)


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("TESSERA_HOME", str(tmp_path / "home"))
    return tmp_path


def imported(folder: Path, chosen: dict[str, Any]) -> Project:
    path = folder / "x.tessera"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("project.json", json.dumps({"format": FORMAT, "name": "x", "settings": chosen}))
        archive.writestr("labels.jsonl", "")
    return Project.import_file(path)


def read_all(project: Project) -> None:
    """All that the pages read of settings; a sentence for people is an answer, anything else is a fault."""
    for read in (
        lambda: classify.head_choice(project).make(),
        lambda: classify.post_processing_of(project),
        lambda: project.class_tree,
        lambda: show_outcome(project.settings),
        lambda: regress.RegressionChoice.from_settings(project.settings).make(),
        lambda: regress.chosen_measure(project),
        lambda: load.missing_years(project),
        lambda: load.missing_sentences(project),
        lambda: tile_repair.restore(project, 2023),
    ):
        try:
            read()
        except TesseraError:
            continue


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.dictionaries(st.sampled_from(NAMES), VALUES, max_size=4))
def test_whatever_the_settings_are_all_that_reads_them_goes_on(home: Path, chosen: dict[str, Any]) -> None:
    project = imported(home, chosen)
    read_all(project)
    said = " ".join(project.notes)
    assert all(name in said for name in unsound(migrated({"settings": chosen})["settings"]))


def test_settings_of_their_kind_stay_and_others_count_as_never_chosen_and_are_told(home: Path) -> None:
    good = {
        "head": "ridge",
        "context": 3,
        "class_weight": {"1": 2.0},
        "certainty": 0.8,
        "fetch_missing": {"2023": ["a piece"]},
        "parity": [{"year": 2023, "sentence": "the same"}],
        "of a later version": {"any": "thing"},
    }
    bad = {
        "context": "abc",
        "class_weight": {"a": 1},
        "certainty": [],
        "fetch_missing": "x",
        "parity": [{"verdict": []}],
    }
    names = {"parity": "agreement", "context": "neighbourhood", "certainty": "confidence_threshold"}
    today = {names.get(name, name): value for name, value in good.items()}
    assert ProjectSettings.from_json(today).to_json() == today
    project = imported(home, good | bad)
    assert project.settings.to_json() == {name: value for name, value in good.items() if name not in bad}
    assert sum("damaged" in note for note in project.notes) == len(bad)


def test_a_project_of_before_the_names_of_today_opens_with_all_that_was_chosen(home: Path) -> None:
    # The file was written by the program as it was then.
    folder = home / "old"
    shutil.copytree(Path(__file__).parents[1] / "data" / "project-settings-1", folder)
    before = (folder / "project.json").read_bytes()
    project = Project.open(folder)
    chosen = project.settings
    assert not project.notes
    assert (classify.head_choice(project).name, classify.head_choice(project).neighbourhood) == ("logistic", 3)
    assert (chosen.head, chosen.confidence_threshold, chosen.class_weight) == ("logistic", 0.7, {"1": 2.0, "2": 0.5})
    assert (chosen.year, chosen.label_year) == (2023, 2024)
    assert classify.post_processing_of(project) == PostProcessing("majority")
    assert project.class_tree is not None
    assert [node.name for node in project.class_tree.nodes] == ["Crops", "Maize", "Rice", "Wood"]
    assert regress.RegressionChoice.from_settings(chosen) == regress.RegressionChoice("forest-regression", 5)
    assert chosen.regression_measure == 2
    assert [found.verdict for found in chosen.agreement] == ["green"]
    assert chosen.repaired_tiles == {"2023": {"masked": ["grid_0.35_52.15"], "original": "data/2023"}}
    assert load.missing_years(project) == (2023,)
    assert chosen.missing == ("tile: B04 of A is missing",)
    assert chosen.extra == {"opacity": 0.4}
    # Looking changes nothing; what is saved next has the names of today, and loses nothing.
    assert (folder / "project.json").read_bytes() == before
    project.update(head="ridge")
    saved = json.loads((folder / "project.json").read_text())
    assert saved["settings_version"] == VERSION
    assert (
        set(saved["settings"])
        & {"tidy", "parity", "mended", "numbers_head", "context", "certainty", "regression_context"}
        == set()
    )
    again = Project.open(folder).settings
    assert again.to_json() == chosen.to_json() | {"head": "ridge"}


@given(st.dictionaries(st.text(max_size=4) | st.sampled_from(NAMES), VALUES, max_size=6), st.integers(-1, 5))
def test_migrating_loses_no_setting_and_twice_is_once(values: dict[str, Any], version: int) -> None:
    once = migrated({"format": FORMAT, "settings": values, "settings_version": version})
    assert migrated(once) == once
    assert once["settings_version"] == max(version, VERSION)
    if version > VERSION:
        assert once["settings"] == values
    # Every name is there, or the one it was given; of two names of one setting that of today counts.
    new = {"tidy": "post_processing", "parity": "agreement", "mended": "repaired_tiles"}
    new |= {f"numbers_{name}": f"regression_{name}" for name in ("head", "measure")}
    new |= {"context": "neighbourhood", "certainty": "confidence_threshold"}
    new |= dict.fromkeys(("numbers_context", "regression_context"), "regression_neighbourhood")
    for name, value in values.items():
        if version > VERSION or name not in new:
            assert once["settings"][name] == value
        else:
            newer = "regression_context" if name == "numbers_context" else new[name]
            assert once["settings"][new[name]] == values.get(new[name], values.get(newer, value))


@pytest.mark.parametrize(
    ("name", "value"), [("head", 5), ("neighbourhood", 1.5), ("year", "2023"), ("confidence_threshold", float("nan"))]
)
def test_a_value_of_the_wrong_kind_is_refused_when_it_is_chosen(home: Path, name: str, value: Any) -> None:
    project = Project.create(home / "p", "P")
    with pytest.raises(ProjectError, match=name):
        project.update(opacity=1, **{name: value})
    assert project.settings == ProjectSettings()
    project.update(**{name: None})
    assert Project.open(project.folder).settings == ProjectSettings()


@pytest.mark.parametrize("name", ["warnings", "notes", "missing_tiles", "left_out", "parts"])
@pytest.mark.parametrize("value", [5, {"a": 1}, [[1]], [{"a": 1}], [{"weight": "x"}], [None], [{"dim": 0}]])
def test_facts_of_a_strangers_raster_under_our_names_are_kept_apart(name: str, value: Any) -> None:
    made = Provenance.from_json({"model": "stack", "dim": 4, "details": {name: value, "else": 1}})
    if name in made.details:
        assert (name, value) == ("parts", [{"a": 1}])
    else:
        assert made.details == {f"other {name}": value, "else": 1}
    assert Provenance.from_json({"details": {"warnings": "one", "notes": ["two"]}}).details == {
        "warnings": ["one"],
        "notes": ["two"],
    }


def test_a_project_of_the_version_before_opens_whole_and_looking_changes_nothing(home: Path) -> None:
    # Project and log were written by the program of the commit 78edc8a.
    folder = home / "before"
    shutil.copytree(Path(__file__).parents[1] / "data" / "project-settings-3", folder)
    files = {name: (folder / name).read_bytes() for name in ("project.json", "labels.jsonl")}
    project = Project.open(folder)
    assert not project.notes
    written = json.loads(files["project.json"])["settings"]
    assert {name: value for name, value in project.settings.to_json().items() if name in written} == written
    assert [(label.kind, label.class_id) for label in project.log.labels] == [("point", 1), ("polygon", 2)]
    assert project.log.can_redo
    assert {name: (folder / name).read_bytes() for name in files} == files


def test_going_back_to_an_older_program_loses_nothing_that_a_newer_one_saved(home: Path) -> None:
    folder = home / "after"
    shutil.copytree(Path(__file__).parents[1] / "data" / "project-settings-3", folder)
    data = json.loads((folder / "project.json").read_text())
    newer = {"settings_version": VERSION + 1, "of later": {"kept": [1, 2]}}
    data["settings"] |= {"a later choice": [1, {"deep": True}], "context": "a name that may mean another thing by then"}
    (folder / "project.json").write_text(json.dumps(data | newer))
    project = Project.open(folder)
    project.update(head="ridge", year=2024)
    project.log.add("point", 1, [(600_120.0, 5_799_900.0)])
    saved = json.loads((folder / "project.json").read_text())
    assert saved["settings"] == data["settings"] | {"head": "ridge", "year": 2024}
    assert {name: saved[name] for name in newer} == newer

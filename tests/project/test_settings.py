"""Settings of a stranger's project: whatever they are, everything that reads them goes on."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tessera_core.errors import TesseraError
from tessera_core.heads.choice import HeadChoice
from tessera_core.labels.schema import tree_of
from tessera_core.project import classify, load, regress, tile_repair
from tessera_core.project.project import FORMAT, Project
from tessera_core.project.settings import sound, unsound
from tessera_core.provenance import Provenance

NAMES = [
    *("head", "context", "class_weight", "certainty", "tidy", "schema", "numbers_measure", "numbers_head"),
    *("numbers_context", "year", "label_year", "fetch_missing", "missing", "parity", "mended"),
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
        lambda: HeadChoice.from_settings(project.settings).make(),
        lambda: classify.post_processing_of(project),
        lambda: tree_of(project.settings),
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
    assert all(name in said for name in unsound(chosen))


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
    assert sound(good) == good
    project = imported(home, good | bad)
    assert project.settings == {name: value for name, value in good.items() if name not in bad}
    assert sum("damaged" in note for note in project.notes) == len(bad)


@pytest.mark.parametrize("name", ["warnings", "notes", "missing_tiles", "left_out", "parts"])
@pytest.mark.parametrize("value", [5, {"a": 1}, [[1]], [{"a": 1}], [{"weight": "x"}], [None], [{"dim": 0}]])
def test_facts_of_a_strangers_raster_under_our_names_are_kept_apart(name: str, value: Any) -> None:
    made = Provenance.from_json({"model": "fusion", "dim": 4, "details": {name: value, "else": 1}})
    if name in made.details:
        assert (name, value) == ("parts", [{"a": 1}])
    else:
        assert made.details == {f"other {name}": value, "else": 1}
    assert Provenance.from_json({"details": {"warnings": "one", "notes": ["two"]}}).details == {
        "warnings": ["one"],
        "notes": ["two"],
    }

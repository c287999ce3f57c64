"""The engine that QGIS and other programs drive: what it answers, that it answers everything once, and that labels are safe."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
from hypothesis import given, settings
from hypothesis import strategies as st

from tessera_core.labels.log import LabelLog
from tessera_core.project.classify import fit_labels, map_project, score_labels
from tessera_core.project.project import Project
from tessera_core.session.engine import LONG, Engine
from tests.factories import landscape, make_project
from tests.waiting import eventually

RASTER = landscape(48, classes=2, dim=16)


class Client:
    """Another program: sends requests, and keeps what comes back by the request's number."""

    def __init__(self, engine: Engine, lines: list[str]) -> None:
        self.engine, self.lines, self.number = engine, lines, 0

    def send(self, do: str, **more: Any) -> int:
        self.number += 1
        self.engine.take(json.dumps({"id": self.number, "do": do, **more}))
        return self.number

    def answers(self, number: int | None) -> list[dict[str, Any]]:
        told = [json.loads(line) for line in list(self.lines)]
        return [one for one in told if one["id"] == number and "progress" not in one]

    def wait(self, number: int) -> dict[str, Any]:
        eventually(lambda: self.answers(number))
        (answer,) = self.answers(number)
        return answer

    def ask(self, do: str, **more: Any) -> dict[str, Any]:
        answer = self.wait(self.send(do, **more))
        assert "result" in answer, answer
        return answer["result"]

    def refused(self, do: str, **more: Any) -> str:
        return self.wait(self.send(do, **more))["error"]["message"]


@pytest.fixture
def client(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Client]:
    monkeypatch.setenv("TESSERA_HOME", str(tmp_path / "home"))
    lines: list[str] = []
    (tmp_path / "work").mkdir()
    engine = Engine(lines.append, tmp_path / "work")
    yield Client(engine, lines)
    engine.close()


@pytest.fixture
def project(tmp_path: Path) -> Project:
    return make_project(tmp_path, RASTER, classes=("North", "South"))


def at(row: float, col: float) -> list[float]:
    x, y = RASTER.grid.pixel_to_xy(row, col)
    return [float(x), float(y)]


def point(id_: str, class_id: int, row: float, col: float, **more: Any) -> dict[str, Any]:
    return {"id": id_, "class": class_id, "kind": "point", "rings": [[at(row, col)]], **more}


def square(id_: str, class_id: int, row: int, col: int, size: int = 6) -> dict[str, Any]:
    corners = [at(row, col), at(row, col + size), at(row + size, col + size), at(row + size, col)]
    return {"id": id_, "class": class_id, "kind": "polygon", "rings": [corners]}


TWO_KINDS = [square("a", 1, 2, 2), square("b", 1, 2, 30), square("c", 2, 38, 2), square("d", 2, 38, 30)]


def test_labels_become_a_map_a_score_and_files(client: Client, project: Project, tmp_path: Path) -> None:
    told = client.ask("open", path=str(project.folder))
    here: dict[str, Any] = {"project": told["project"], "year": told["year"]}
    assert (told["name"], told["years"], told["shape"]) == ("Fields", [2023], [48, 48])
    assert 'AUTHORITY["EPSG","32631"]' in told["crs"]
    assert told["extent"] == list(RASTER.grid.bounds)
    assert [c["name"] for c in told["classes"]] == ["North", "South"]

    first = client.ask("map", **here)
    assert first["path"] is None
    assert first["hint"].startswith("Choose a class")

    edited = client.ask("edit", put=TWO_KINDS, **here)
    assert (edited["refused"], edited["renamed"], edited["counts"]) == ([], {}, {"1": 2, "2": 2})
    mapped = client.ask("map", confidence=True, **here)
    assert (mapped["hint"], mapped["version"], mapped["unit"]) == ("", edited["version"], "ha")
    again = Project.open(project.folder)
    with rasterio.open(mapped["path"]) as file, rasterio.open(mapped["confidence_path"]) as confidence:
        shown = file.read(1)
        assert file.transform == RASTER.grid.transform
        assert file.crs.to_string() == RASTER.grid.crs
        assert file.colormap(1)[1][:3] == tuple(bytes.fromhex(again.log.classes[0].color[1:]))
        sure = confidence.read(1)
    head = fit_labels(again.log.labels, RASTER)
    classes, plain = head.predict_window(RASTER.codes, RASTER.scales, (0, 0, 48, 48))
    assert np.array_equal(shown, classes)
    assert np.array_equal(sure, plain)
    areas = {c["id"]: c["area"] for c in mapped["classes"]}
    assert areas == {i: pytest.approx((classes == i).sum() * 0.01) for i in (1, 2)}
    assert client.ask("map", **here)["path"] == mapped["path"]

    scored = client.ask("score", **here)
    expected = score_labels(again.log.labels, again.log.classes, RASTER)
    assert scored["accuracy"] == expected.accuracy
    assert scored["interval"] == list(expected.interval or ())
    assert scored["sentences"] == list(expected.sentences)
    mended = client.ask("map", confidence=True, **here)
    with rasterio.open(mended["confidence_path"]) as file:
        assert np.array_equal(file.read(1), map_project(again, RASTER, 2023).map.confidence)

    out = tmp_path / "out.tif"
    assert client.ask("save", path=str(out), **here)["files"] == [str(out), str(tmp_path / "out_confidence.tif")]
    with rasterio.open(out) as file:
        assert np.array_equal(file.read(1), shown)
    client.ask("save", path=str(tmp_path / "out.tessera"), **here)
    carried = client.ask("open", path=str(tmp_path / "out.tessera"))
    assert {label["id"] for label in carried["labels"]} == {"a", "b", "c", "d"}

    (picture,) = told["pictures"]
    with rasterio.open(client.ask("picture", kind=picture["kind"], **here)["path"]) as file:
        assert file.count == 4
        assert np.array_equal(file.read(4) == 255, RASTER.valid())

    client.ask("edit_class", **here, **{"class": 2}, color="#123456")
    recoloured = client.ask("map", **here)
    assert not Path(mended["path"]).exists()
    with rasterio.open(recoloured["path"]) as file:
        assert file.colormap(1)[2][:3] == (0x12, 0x34, 0x56)
    assert client.ask("remove_class", **here, **{"class": 2})["labels"] == client.ask("labels", **here)["labels"]
    assert client.ask("map", **here)["hint"].startswith("Now add a second class")


def test_what_another_program_changed_is_seen_and_kept(client: Client, project: Project) -> None:
    told = client.ask("open", path=str(project.folder))
    here = {"project": told["project"]}
    assert told["version"] == client.ask("version", **here)["version"]
    # The app has the same project open.
    app = Project.open(project.folder)
    app.log.add("brush", 1, [at(5, 5), at(5, 20)], radius=20)
    app.log.add("rectangle", 2, [at(30, 30), at(36, 40)])
    app.log.add("erase", None, [at(40, 40)], radius=30)
    assert client.ask("version", **here)["version"] != told["version"]
    stroke, box = client.ask("labels", **here)["labels"]
    assert (stroke["kind"], box["kind"]) == ("polygon", "polygon")
    xs = [x for x, _ in stroke["rings"][0]]
    assert max(xs) - min(xs) == pytest.approx(15 * 10 + 40, abs=0.5)

    # Sent back unchanged, as by a program that knows polygons only, a stroke stays a stroke with its exact place.
    before = {label.id: label for label in app.log.labels}
    result = client.ask("edit", put=[stroke, box | {"class": 1}], **here)
    assert result["renamed"] == {}
    app.refresh()
    after = {label.id: label for label in app.log.labels}
    assert after[stroke["id"]] == before[stroke["id"]]
    assert (after[box["id"]].kind, after[box["id"]].class_id, after[box["id"]].xy) == (
        "rectangle",
        1,
        before[box["id"]].xy,
    )
    assert sum(label.kind == "erase" for label in after.values()) == 1

    # Reshaped, it is an area of its own.
    moved = stroke | {"rings": [[[x + 50, y] for x, y in stroke["rings"][0]]]}
    renamed = client.ask("edit", put=[moved], **here)["renamed"]
    app.refresh()
    assert app.log.find_label(stroke["id"]) is None
    fresh = app.log.find_label(renamed[stroke["id"]])
    assert fresh is not None
    assert fresh.kind == "polygon"

    # Deleted and brought back by an undo in the other program.
    client.ask("edit", put=[point("p", 1, 3, 3)], **here)
    client.ask("edit", remove=["p", "never there"], **here)
    (back,) = client.ask("edit", put=[point("p", 1, 3, 3)], **here)["renamed"].values()
    app.refresh()
    assert app.log.find_label(back) is not None


def test_what_cannot_be_done_is_said_and_the_rest_is_done(client: Client, project: Project, tmp_path: Path) -> None:
    assert "open one first" in client.refused("map", project="nothing")
    assert "nowhere" in client.refused("open", path=str(tmp_path / "nowhere"))
    here = {"project": client.ask("open", path=str(project.folder))["project"]}
    bad = [
        point("far", 9, 1, 1),
        {"id": "line", "class": 1, "kind": "line", "rings": [[[0, 0], [1, 1]]]},
        {"id": "thin", "class": 1, "kind": "polygon", "rings": [[[0, 0], [1, 1]]]},
        {"id": "none", "class": None, "kind": "point", "rings": [[[0, 0]]]},
        {"class": 1},
        "nonsense",
        {"id": "nan", "class": 1, "kind": "point", "rings": [[[float("nan"), 0]]]},
        {"id": "empty", "class": 1, "kind": "point", "rings": [[]]},
    ]
    result = client.ask("edit", put=[*bad, point("good", 1, 1, 1)], **here)
    assert [one["id"] for one in result["refused"]] == ["far", "line", "thin", "none", "None", "None", "nan", "empty"]
    assert all(one["message"].endswith(".") for one in result["refused"])
    assert [label["id"] for label in client.ask("labels", **here)["labels"]] == ["good"]
    assert "no embeddings of 1999" in client.refused("map", year=1999, **here)
    assert "older" in client.refused("teleport", **here)
    assert "whole number" in client.refused("map", year="2023", **here)
    assert "There is already a class" in client.refused("add_class", name="North", **here)
    assert "x.geojson" in client.refused("add_file", path=str(tmp_path / "x.geojson"), **here)
    assert ".tessera" in client.refused("save", path=str(tmp_path / "x.docx"), **here)
    assert "four numbers" in client.refused("fetch", bbox=[1, 2], years=[2023])
    client.ask("close", **here)
    assert "open one first" in client.refused("map", **here)


@settings(max_examples=60, deadline=None)
@given(
    line=st.one_of(
        st.text(max_size=40),
        st.recursive(
            st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=8)),
            lambda inner: st.one_of(
                st.lists(inner, max_size=4),
                st.dictionaries(
                    st.sampled_from(["id", "do", "project", "year", "put", "remove", "path", "request", "bbox"]), inner
                ),
            ),
            max_leaves=12,
        ).map(json.dumps),
    )
)
def test_every_line_gets_one_answer_whatever_it_says(line: str, tmp_path_factory: pytest.TempPathFactory) -> None:
    lines: list[str] = []
    engine = Engine(lines.append, tmp_path_factory.getbasetemp())
    try:
        engine.take(line)
        engine.take('{"id": 987654321, "do": "hello"}')
        eventually(lambda: any('"id":987654321' in told for told in lines))
    finally:
        engine.close()
    answers = [json.loads(told) for told in lines]
    others = [one for one in answers if one["id"] != 987654321]
    assert len(others) == (1 if line.strip() else 0)
    assert all(("result" in one) != ("error" in one) for one in answers)


def test_long_work_tells_how_far_it_is_and_stops(
    client: Client, project: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    here = {"project": client.ask("open", path=str(project.folder))["project"], "year": 2023}
    client.ask("edit", put=TWO_KINDS, **here)
    began, go_on = threading.Event(), threading.Event()

    def slowly(*args: Any, cancelled: Any, **more: Any) -> Any:
        began.set()
        go_on.wait(60)
        return score_labels(*args, cancelled=cancelled, **more)

    monkeypatch.setattr("tessera_core.session.engine_project.score_labels", slowly)
    first = client.send("score", **here)
    assert began.wait(60)
    # Quick requests do not wait for it.
    assert client.ask("map", **here)["path"]
    newer = client.send("score", **here)
    go_on.set()
    assert client.wait(first)["error"]["kind"] == "Cancelled"
    assert client.wait(newer)["result"]["accuracy"] is not None
    assert client.wait(client.send("cancel", request=first))["result"] == {"stopping": False}

    packed = client.send("save", path=str(tmp_path / "all.tesserapack"), **here)
    client.wait(packed)
    progress = [json.loads(line) for line in client.lines if f'"id":{packed},"progress"' in line]
    assert progress
    assert all(one["progress"]["done"] <= one["progress"]["total"] for one in progress)
    assert {"score", "save", "fetch", "open"} <= set(LONG)


def test_a_slow_head_is_finished_when_asked(client: Client, project: Project, few_trees: None) -> None:
    here = {"project": client.ask("open", path=str(project.folder))["project"], "year": 2023}
    client.ask("edit", put=TWO_KINDS, **here)
    assert client.ask("set_head", head="forest", **here)["head"] == "forest"
    assert client.ask("map", **here)["preview"]
    client.ask("finish", **here)
    final = client.ask("map", **here)
    assert not final["preview"]
    with rasterio.open(final["path"]) as file:
        assert np.array_equal(file.read(1), map_project(Project.open(project.folder), RASTER, 2023).map.classes)
    assert client.refused("set_head", head="magic", **here)


def test_a_layer_of_a_file_comes_in_as_labels(client: Client, project: Project, tmp_path: Path) -> None:
    here = {"project": client.ask("open", path=str(project.folder))["project"]}
    features = [
        {"type": "Feature", "properties": {"kind": kind}, "geometry": {"type": "Point", "coordinates": at(row, 5)}}
        for kind, row in (("north", 4.5), ("pond", 40.5))
    ]
    crs = {"type": "name", "properties": {"name": "urn:ogc:def:crs:EPSG::32631"}}
    file = tmp_path / "places.geojson"
    file.write_text(json.dumps({"type": "FeatureCollection", "crs": crs, "features": features}))
    told = client.ask("add_file", path=str(file), field="kind", **here)
    assert told["added"] == 2
    assert [c["name"] for c in told["classes"]] == ["North", "South", "pond"]


def test_as_a_program_it_says_nothing_but_answers_on_stdout(tmp_path: Path, project: Project) -> None:
    requests = [
        {"id": 1, "do": "hello"},
        {"id": 2, "do": "open", "path": str(project.folder)},
        {"id": 3, "do": "stop"},
    ]
    done = subprocess.run(
        [sys.executable, "-m", "tessera_core", "engine", "--work", str(tmp_path / "new" / "work"), "--json"],
        input="\n".join(map(json.dumps, requests)) + "\n",
        capture_output=True,
        text=True,
        timeout=120,
        env={**os.environ, "TESSERA_HOME": str(tmp_path / "home")},
        check=False,
    )
    assert done.returncode == 0, done.stderr
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    assert lines[0]["protocol"] == 1
    assert {line["id"] for line in lines if "id" in line} == {1, 2, 3}
    assert lines[-1] == {"requests": 3}
    assert not list((tmp_path / "new" / "work").iterdir())
    assert LabelLog(project.folder / "labels.jsonl").classes == project.log.classes

"""Label, the panel of heads: labels of two projects teach one, it is kept, maps the region, learns on; others are refused."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from streamlit.testing.v1 import AppTest

from tessera_core.heads import load_head, save_head
from tessera_core.project import library, saved_heads
from tessera_core.project.project import Project
from tessera_core.session import payload
from tests.waiting import run_until, shown


def label(project: Project, shift: int = 0) -> None:
    """Three labels of each of three classes, which lie in bands."""
    grid = project.grid
    assert grid is not None
    for name, row in (("Wood", 8), ("Field", 30), ("Water", 52)):
        kind = project.log.add_class(name).id
        for col in (8, 26, 44):
            x, y = grid.pixel_to_xy(row + shift, col + shift)
            project.log.add("point", kind, [(float(x), float(y))])


def press(app: AppTest, text: str) -> AppTest:
    return next(button for button in app.button if button.label == text).click().run()


def layer(app: AppTest, name: str) -> bytes:
    """The picture of a layer that was sent to the map; nothing where there is none."""
    for element in app.get("bidi_component"):
        if element.proto.bytes:
            header, picture = payload.unpack(element.proto.bytes)
            if header.get("name") == name:
                return picture
    return b""


def open_panel(app: AppTest, project: Project) -> None:
    app.query_params["project"] = project.folder.name
    app.session_state[f"label_heads_{project.key}"] = True
    app.run()
    app.switch_page("pages/label.py").run()
    assert not app.exception


def test_a_file_that_is_no_head_is_refused_before_there_are_labels(app: AppTest, project: Project) -> None:
    open_panel(app, project)
    assert "then they teach a head" in shown(app)
    upload = app.file_uploader(key=f"label_heads_{project.key}_file")
    upload.upload("bad.safetensors", b"\x80\x04cposix\nsystem\n", "application/octet-stream").run()
    assert not app.exception
    assert ["is not a saved head" in one.value for one in app.error] == [True]
    # Which year's embeddings teach is said where the labels are noted as of another.
    assert "here they teach as labels of" not in shown(app)
    label(project)
    project.update(label_year=2023)
    app.run()
    assert "noted as of 2023; here they teach as labels of 2024, the year in sight" in shown(app)


@pytest.mark.soak
def test_a_head_of_two_projects_is_kept_maps_and_learns_on(
    app: AppTest, project: Project, region_folder: Path, tmp_path: Path
) -> None:
    label(project)
    kent = library.start(library.identify(str(region_folder)), "Kent")
    label(kent, 3)
    open_panel(app, project)
    app.multiselect(key=f"label_heads_others_{project.key}").set_value([str(kent.folder)]).run()
    # They are places of one map now, a click apart, and each says so.
    assert [button.label for button in app.button if str(button.key).startswith("strip_")] == [
        "Kent · 9",
        "My fields · 9",
    ]
    app.session_state[f"label_heads_{kent.key}"] = True
    press(app, "Kent · 9")
    assert app.session_state["tessera_project"] != project.folder.name
    assert app.multiselect(key=f"label_heads_others_{kent.key}").value == [str(project.folder.resolve())]
    press(app, "My fields · 9")
    press(app, "Teach a head of these labels")
    run_until(app, lambda: "Trained without Kent 2024, right at " in shown(app))
    assert "Trained without My fields 2024, right at " in shown(app)
    app.text_input(key=f"label_heads_name_{project.key}_taught").set_value("../crops").run()
    press(app, "Keep it")
    assert "cannot be the name of a head" in shown(app)
    app.text_input(key=f"label_heads_name_{project.key}_taught").set_value("crops").run()
    press(app, "Keep it")
    (kept,) = saved_heads.kept_heads()
    assert (kept.name, sorted(kept.classes), kept.teachable) == ("crops", ["Field", "Water", "Wood"], True)
    assert list(kept.card["places"]) == ["My fields 2024", "Kent 2024"]

    app.selectbox(key=f"label_heads_{project.key}_which").set_value("crops").run()
    assert "taught in My fields 2024, Kent 2024" in shown(app)
    press(app, "Map this region with it")
    run_until(app, lambda: layer(app, "given"))
    assert layer(app, "given").startswith(b"\x89PNG")
    # These labels taught it, so they do not judge it.
    assert "which taught it nothing" not in shown(app)
    press(app, "Teach it with the labels here")
    run_until(app, lambda: "My fields 2024 had taught it already; its labels are those of now." in shown(app))

    saved = load_head(saved_heads.kept_head("crops"))
    other = save_head(
        tmp_path / "other.safetensors", saved.head, saved.class_names, replace(saved.provenance, version="other")
    )
    app.selectbox(key=f"label_heads_{project.key}_which").set_value("A file of a head").run()
    for name, content, said in (
        ("other.safetensors", other.read_bytes(), "other"),
        ("bad.safetensors", b"\x80\x04cposix\nsystem\n", "is not a saved head"),
    ):
        upload = app.file_uploader(key=f"label_heads_{project.key}_file")
        upload.upload(name, content, "application/octet-stream").run()
        assert not app.exception
        (error,) = [one.value for one in app.error]
        assert said in error
        assert not any(button.label == "Map this region with it" for button in app.button)
    app.selectbox(key=f"label_heads_{project.key}_which").set_value("crops").run()
    press(app, "Forget this head")
    assert not app.exception
    assert saved_heads.kept_heads() == []

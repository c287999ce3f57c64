"""A class without a server, in the browser: a pack goes out, a learner hands in, twenty files come back at once."""

from __future__ import annotations

import zipfile
from pathlib import Path

import pytest

from tessera_core.classroom.byfiles import hand_in
from tessera_core.project.pack import open_pack
from tests.browser.studio import Studio
from tests.classroom.classes import NAMES, label_quarters
from tests.factories import landscape
from tests.servers import AppServer

pytestmark = [pytest.mark.browser, pytest.mark.timeout(300)]
LEARNERS = 20


def test_a_class_by_files(studio: Studio, server: AppServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from tessera_core.project.project import Project

    page = studio.page
    monkeypatch.setenv("TESSERA_HOME", str(server.home))
    raster = landscape(48, dim=16)
    teacher = Project.create(server.home / "projects" / "fen", "Fen")
    teacher.attach_embeddings(2023, raster.save(tmp_path / "fen"), raster.provenance, raster.grid)
    for name in NAMES:
        teacher.log.add_class(name)

    # The teacher hands the pack out.
    studio.open("/data")
    page.get_by_role("textbox", name="Tasks, one a line").fill("Label five places of each class.")
    page.get_by_role("textbox", name="Name of the class").fill("Fen class")
    page.get_by_role("textbox", name="Name of the class").press("Enter")
    studio.button("Make the pack of the class").click()
    studio.button("Save a copy").wait_for()
    pack = studio.download("Save a copy", tmp_path)
    assert pack.name == "Fen class.tesserapack"

    # A learner opens it, reads what is asked, and hands in under a nickname.
    page.locator(".st-key-data_pack_upload input[type=file]").set_input_files(str(pack))
    studio.button("Open it").click()
    studio.sees("Label five places of each class.")
    page.get_by_role("link", name="Hand in").click()
    nickname = page.get_by_role("textbox", name="Your nickname")
    nickname.fill("Zoë")
    nickname.press("Enter")
    page.get_by_role("button", name="Save the file to hand in", disabled=False).wait_for()
    zoe = studio.download("Save the file to hand in", tmp_path)
    assert zoe.name == "Zoë.tessera"
    with zipfile.ZipFile(zoe) as file:
        assert {"project.json", "labels.jsonl"} <= set(file.namelist())

    # The others worked on machines of their own; one brought something else.
    files = [zoe]
    for n in range(LEARNERS - 1):
        (project,) = open_pack(pack, into=tmp_path / "away")
        label_quarters(project, 2 + n % 4, seed=n)
        files.append(hand_in(project, tmp_path / f"{n}.tessera", f"Learner {n + 1}"))
    (tmp_path / "holiday.tessera").write_text("no project at all")
    studio.choose("Project that the class started from", "Fen")
    drop = page.locator(".st-key-class_back_files input[type=file]")
    drop.set_input_files([str(path) for path in [*files, tmp_path / "holiday.tessera"]])
    studio.sees("20 learners have handed in.")
    studio.sees("holiday.tessera")
    studio.sees("How right is it?")
    studio.sees("Nobody can tell yet.")
    studio.sees("of the votes of 19 learners")
    page.locator(".leaflet-pane canvas, .leaflet-image-layer").first.wait_for()
    page.get_by_text("To mind (").click()
    studio.sees("Zoë has no vote.")
    maps = studio.download("Maps and board (.zip)", tmp_path)
    with zipfile.ZipFile(maps) as file:
        assert {"class-map.tif", "class-map_agreement.tif", "pooled-map.tif", "board.csv"} <= set(file.namelist())
        board = file.read("board.csv").decode()
    assert board.count("\n") == LEARNERS + 1
    assert "Zoë,0," in board

"""The page Data in the browser: what was loaded is listed, chosen and deleted; packs are made, saved, uploaded and opened."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import urlencode

import pytest
from streamlit.proto.BackMsg_pb2 import BackMsg

from tests.browser.studio import Studio, clicked
from tests.factories import landscape
from tests.servers import AppServer
from tests.sources import world_store

pytestmark = [pytest.mark.browser, pytest.mark.timeout(300)]


def test_loaded_embeddings_are_listed_and_deleted_without_harm_to_the_project(
    studio: Studio, tmp_path_factory: pytest.TempPathFactory
) -> None:
    page = studio.page
    world = world_store.write_world(tmp_path_factory.mktemp("world") / "world.zarr")
    query = {"place": "11.9,-0.1,12.1,0.05", "years": "2023,2024", "name": "Two years"}
    studio.open("/?" + urlencode(query | {"store": str(world)}))
    studio.button("See what is available").click()
    studio.button("Load 2023 and 2024").click()
    page.get_by_role("heading", name="Your region").wait_for()
    studio.go("Data")
    page.get_by_role("heading", name="Loaded embeddings").wait_for()
    table = page.get_by_test_id("stDataFrame")
    table.wait_for()
    studio.still(table)
    # The first column of the table is for choosing lines; tables are drawn, so there is nothing to click but a place.
    table.click(position={"x": 18, "y": 52})
    chosen = page.get_by_role("button", name="Delete the chosen (")
    chosen.wait_for()
    chosen.click()
    page.get_by_test_id("stMetric").filter(has_text="Regions and years").get_by_text("1", exact=True).wait_for()
    studio.button("Empty all").click()
    studio.button("Empty it").click()
    studio.sees("Nothing was loaded yet.")
    studio.go("Region")
    studio.sees("2023 and 2024")
    studio.button("Start labelling").wait_for()


def _message(frame: str | bytes) -> BackMsg:
    """What the browser says to the server; a frame of text holds none."""
    return BackMsg.FromString(frame) if isinstance(frame, bytes) else BackMsg()


def test_a_pack_goes_out_and_comes_in(studio: Studio, server: AppServer, tmp_path: Path) -> None:
    page = studio.page
    landscape(48).save(tmp_path / "fields")
    asked: list[BackMsg] = []
    page.on("websocket", lambda line: line.on("framesent", lambda frame: asked.append(_message(frame))))
    studio.open()
    page.get_by_role("textbox", name="Folder or file").fill(str(tmp_path / "fields"))
    studio.button("Look inside").click()
    studio.button("Open it").click()
    studio.button("Start labelling").wait_for()
    asked.clear()
    studio.go("Data")
    box, option = page.get_by_test_id("stMultiSelect").locator("input"), page.get_by_role("option", name="fields")

    def listed() -> bool:
        # A list closes when what it lies on is scrolled.
        if option.count() == 0 and box.get_attribute("aria-expanded") != "true":
            box.click()
        return bool(option.count())

    def chosen() -> bool:
        studio.until(listed, "the list has no project")
        return clicked(option)

    studio.until(listed, "the list has no project")
    # What the page mounts asks for no run: the link was all. Parts that look again by themselves do.
    runs = [one for one in asked if one.HasField("rerun_script") and not one.rerun_script.is_auto_rerun]
    assert len(runs) == 1, runs
    studio.until(chosen, "no project is chosen")
    page.keyboard.press("Escape")
    studio.button("Make the pack").click()
    studio.button("Save a copy").wait_for()
    saved = studio.download("Save a copy", tmp_path)
    assert saved.name == "fields.tesserapack"
    # On another computer the folder is not there.
    (tmp_path / "fields").rename(tmp_path / "gone")
    page.locator(".st-key-data_pack_upload input[type=file]").set_input_files(str(saved))
    studio.sees("2023, 0 labels")
    studio.button("Open it").click()
    studio.button("Start labelling").wait_for()
    studio.sees("48 x 48 pixels")
    assert list((server.home / "packs" / ".uploads").iterdir()) == []

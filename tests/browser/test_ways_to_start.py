"""The ways to start besides the demo and a folder: uploads, right and wrong, and the list of projects."""

from __future__ import annotations

import io
import zipfile
from pathlib import Path

import numpy as np
import pytest

from tests.browser.studio import Studio
from tests.factories import landscape
from tests.servers import AppServer

pytestmark = [pytest.mark.browser, pytest.mark.timeout(300)]


def _upload(studio: Studio, *files: tuple[str, bytes]) -> None:
    studio.page.locator("input[type=file]").set_input_files(
        [{"name": name, "mimeType": "application/octet-stream", "buffer": content} for name, content in files]
    )
    button = studio.page.get_by_role("button", name="Open the files")
    studio.page.wait_for_function("b => !b.disabled", arg=button.element_handle())
    button.click()


def _npy(array: np.ndarray) -> bytes:
    stream = io.BytesIO()
    np.save(stream, array)
    return stream.getvalue()


def test_uploads_wrong_and_right_then_rename_and_delete(studio: Studio, server: AppServer, tmp_path: Path) -> None:
    raster = landscape(48)
    page = studio.page
    studio.open()

    _upload(studio, ("tile.npy", b"Dear diary,"), ("tile_scales.npy", b"today it rained."))
    alert = page.get_by_role("alert")
    alert.wait_for()
    assert "tile.npy" in alert.inner_text()
    assert "Traceback" not in page.locator("body").inner_text()

    page.reload()
    studio.sees("Upload files")
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as file:
        file.writestr("north/tile.npy", _npy(np.array(raster.codes)))
        file.writestr("north/tile_scales.npy", _npy(np.array(raster.scales)))
    _upload(studio, ("north.zip", archive.getvalue()))
    studio.button("Start labelling").wait_for()
    studio.sees("48 x 48 pixels, place on Earth unknown")
    # A word explains itself to the pointer and to the keyboard; of Streamlit's menu is left what means something here.
    term = page.locator(".studio-term").first
    told = term.get_by_role("tooltip", include_hidden=True)
    assert not told.is_visible()
    term.hover()
    told.wait_for()
    page.mouse.move(0, 0)
    told.wait_for(state="hidden")
    term.focus()
    told.wait_for()
    page.get_by_test_id("stMainMenuButton").click()
    page.get_by_test_id("stThemeSwitcher").wait_for()
    assert not page.get_by_text("Record screen").is_visible()
    assert not page.get_by_text("Made with Streamlit").is_visible()
    page.keyboard.press("Escape")
    studio.page.get_by_role("link", name="Help").click()
    page.get_by_role("heading", name="Help").wait_for()
    page.go_back()

    studio.button("Close project").click()
    studio.sees("Recent projects")
    page.get_by_role("button", name="Rename").first.click()
    page.get_by_label("New name").fill("The far north")
    page.get_by_role("dialog").get_by_role("button", name="Rename").click()
    studio.sees("The far north")
    page.get_by_role("button", name="Delete").first.click()
    studio.sees("The far north was deleted.")
    studio.button("Undo").click()
    studio.button("Start labelling").wait_for()
    studio.button("Close project").click()
    studio.sees("Recent projects")
    page.get_by_role("button", name="Delete").first.click()
    studio.sees("The far north was deleted.")
    assert list((server.home / "projects").glob("*/project.json")) == []


def test_deep_link_on_a_fresh_server_has_navigation_and_header(
    studio: Studio, server: AppServer, tmp_path: Path
) -> None:
    landscape(48).save(tmp_path / "fields")
    studio.open()
    studio.page.get_by_label("Folder or file").fill(str(tmp_path / "fields"))
    studio.button("Look inside").click()
    studio.button("Open it").click()
    studio.button("Start labelling").wait_for()
    query = studio.page.url.split("?")[1]
    server.restart()
    studio.open(f"/export?{query}")
    studio.page.get_by_role("heading", name="Export").wait_for()
    studio.sees("Saved")
    assert studio.page.get_by_test_id("stTopNavLink").count() == 9
    assert studio.page.url.endswith(f"/export?{query}")

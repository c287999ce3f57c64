"""What strangers are told about the places of a server."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tessera_core import hosting
from tessera_core._utils.paths import data_home


@pytest.mark.parametrize(("value", "expected"), [("1", True), ("yes", True), ("0", False), ("", False)])
def test_the_variable_decides(value: str, expected: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TESSERA_HOSTED", value)
    assert hosting.hosted() is expected


def test_a_path_is_shown_in_full_to_its_owner_only(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("TESSERA_HOSTED", raising=False)
    assert hosting.shown_path(tmp_path / "fields.tif") == str(tmp_path / "fields.tif")
    monkeypatch.setenv("TESSERA_HOSTED", "1")
    assert hosting.shown_path(tmp_path / "fields.tif") == "fields.tif"
    assert hosting.shown_path("/") == "a folder of this server"


@given(
    before=st.text(max_size=20),
    parts=st.lists(st.text("abcXYZ0_-.", min_size=1, max_size=8), max_size=4),
    after=st.sampled_from(["", " is no project", "'.", ", and so on"]),
)
def test_no_sentence_names_where_the_server_keeps_things(before: str, parts: list[str], after: str) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TESSERA_HOME", "/srv/class room/tessera")
        patch.setenv("TESSERA_HOSTED", "1")
        path = data_home().joinpath(*parts)
        shown = hosting.shown_text(f"{before} {path}{after}")
    assert "/srv/class room" not in shown
    assert shown.endswith(after)

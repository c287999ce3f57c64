"""The log of a server for strangers tells its makers where an error arose, and nothing of the people who met it."""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tessera_core.labels.log import LabelLog
from tessera_core.session import protocol
from tessera_core.ui import logs

NAME = "Ada Lovelace's wood at 52.2053, 0.1218"


@pytest.fixture
def log(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> Iterator[Path]:
    monkeypatch.setenv("TESSERA_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("TESSERA_HOSTED", request.param)
    logger = logging.getLogger("tessera_core")
    before = list(logger.handlers)
    logs.set_up.cache_clear()
    logs.set_up()
    yield logs.log_file()
    for handler in [handler for handler in logger.handlers if handler not in before]:
        logger.removeHandler(handler)
        handler.close()
    logs.set_up.cache_clear()


def _go_wrong(logger: logging.Logger) -> None:
    try:
        try:
            float(NAME)
        except ValueError as error:
            raise RuntimeError(f"{NAME}\nmore of {NAME}") from error
    except RuntimeError:
        logger.exception("Unforeseen error")


@pytest.mark.parametrize("log", ["1"], indirect=True)
def test_what_an_error_says_of_people_is_not_written_down_on_a_server(log: Path, tmp_path: Path) -> None:
    logger = logging.getLogger("tessera_core.ui.shell")
    _go_wrong(logger)
    logger.warning("Could not load %s", tmp_path / "home" / "projects" / "x")
    text = log.read_text(encoding="utf-8")
    assert "ValueError" in text
    assert "RuntimeError" in text
    assert "in _go_wrong" in text
    assert "test_logs.py" in text
    assert "float(NAME)" in text
    assert "Ada" not in text
    assert str(tmp_path) not in text


@pytest.mark.parametrize("log", [""], indirect=True)
def test_ones_own_computer_writes_all_of_it_for_its_owner(log: Path) -> None:
    _go_wrong(logging.getLogger("tessera_core.ui.shell"))
    assert NAME in log.read_text(encoding="utf-8")


@pytest.mark.parametrize("log", ["", "1"], indirect=True)
def test_a_click_that_fails_leaves_no_trace_of_where_it_was(log: Path) -> None:
    operation = {"id": 1, "do": "add", "tool": "point", "class": 1, "pts": [[52.2053, 0.1218]], "note": NAME}
    # No display: the operation fails when it looks where it was.
    message = {"epoch": "abcd1", "n": 1, "ops": [operation]}
    protocol.apply_message(LabelLog(), None, message, protocol.ProtocolState())  # type: ignore[arg-type]
    text = log.read_text(encoding="utf-8")
    assert "'add'" in text
    assert "52.2053" not in text
    assert "Ada" not in text


@settings(deadline=None)
@given(st.text(st.characters(exclude_categories=["Cs"]), max_size=80))
def test_no_message_of_any_form_gets_through(said: str) -> None:
    mark = "Ada-0x7f"
    try:
        raise ValueError(said + mark)
    except ValueError:
        text = logging.Formatter().formatException(sys.exc_info())
    kept = logs.discreet(text)
    assert mark not in kept
    assert "ValueError" in kept

"""The page Server: what its owner sees, and deleting what nobody opens with the way back."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest
from streamlit.testing.v1 import AppTest

from tessera_core.errors import Cancelled
from tessera_core.hosting import Person, acting_for, audit, processes
from tessera_core.project import room
from tessera_core.project.project import Project
from tessera_core.types import Cancel, Progress
from tessera_core.ui import people
from tests.waiting import PATIENCE_S, eventually

DAY = 86_400


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("TESSERA_HOME", str(tmp_path))
    monkeypatch.setenv("TESSERA_HOSTED", "1")
    return tmp_path


def _alone() -> None:
    from tessera_core.ui.owner import page

    page.page()


def _page(root: Path) -> AppTest:
    app = AppTest.from_file(str(root / "app.py"), default_timeout=PATIENCE_S).run()
    return app.switch_page("pages/server.py").run()


def _text(app: AppTest) -> str:
    return "\n".join(str(one.value) for one in (*app.title, *app.markdown, *app.caption, *app.warning, *app.header))


def _button(app: AppTest, label: str) -> str:
    return next(str(one.key) for one in app.button if label in str(one.label))


@pytest.mark.parametrize("role", ["visitor", "learner", "teacher"])
def test_nobody_but_the_owner_sees_it(role: str, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(people, "came", lambda: Person("somebody", role))  # type: ignore[arg-type]
    with acting_for("vic"):
        Project.new("Fen")
    app = _page(root)
    assert not app.exception
    assert "There is no page here" in _text(app)
    assert not app.button
    assert "fen" not in _text(app).lower()


def test_what_nobody_opens_is_deleted_and_brought_back(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(people, "came", lambda: Person("o", "owner", how="token"))
    with acting_for(Person("tess", "teacher", "Tess")):
        old = [Project.new(name).folder for name in ("Fen", "Moor")]
        Project.new("Heath")
    for folder in old:
        for path in (folder, *folder.rglob("*")):
            os.utime(path, (time.time() - 60 * DAY,) * 2)
    processes.put_notice("Back at noon")
    # Without the shell: in these tests it sends every run to the page anew, and clicks do not come along.
    app = AppTest.from_function(_alone, default_timeout=PATIENCE_S).run()
    assert not app.exception
    assert "Who is here" in _text(app)
    (table, *_) = app.dataframe
    assert list(table.value["Of"]) == ["Tess"] * 3
    assert [one.value for one in app.text_input] == ["Back at noon"]
    app.button(_button(app, "Delete the 2 unused")).click().run()
    assert "2 projects were deleted" in _text(app)
    assert len(room.kept()) == 1
    app.button("server_undo").click().run()
    assert len(room.kept()) == 3
    with acting_for("tess"):
        assert set(old) <= set(room.owned("tess"))
    # What somebody may be at stays, whatever is chosen.
    app.number_input("server_days").set_value(1).run()
    assert {event["what"] for event in audit.events()} >= {
        "deleted projects",
        "brought projects back",
        "has one project more",
    }


def test_an_order_is_given_by_the_owner_and_followed_here(monkeypatch: pytest.MonkeyPatch) -> None:
    """A piece of work that somebody waits for is cancelled from the page."""
    from tessera_core.project.jobs import JobPool
    from tessera_core.ui import jobs, keeper

    def until_cancelled(progress: Progress, cancelled: Cancel) -> None:
        eventually(cancelled)
        raise Cancelled

    pool = JobPool(1)
    monkeypatch.setattr(jobs, "_pool", lambda: pool)
    job = pool.start("slow", "Loading the fen", until_cancelled, "vic")
    try:
        (told,) = keeper.here().jobs
        assert (told.title, told.called) == ("Loading the fen", ("somebody who has left",))
        keeper.follow("cancel", told.name)
        assert job.wait(60)
        assert job.state == "cancelled"
        assert keeper.here().jobs == ()
    finally:
        pool.close()

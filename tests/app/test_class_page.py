"""The teacher's page of a class without a browser: the board in another language, and scores only where the teacher wants them."""

from __future__ import annotations

from pathlib import Path

import pytest
from streamlit.testing.v1 import AppTest

from tessera_core.classroom import board, joining, store
from tessera_core.classroom.model import Classroom
from tessera_core.hosting import Person, acting_for
from tessera_core.project.pack import make_pack, open_pack
from tessera_core.ui import people
from tests.classroom.classes import label_quarters, template
from tests.waiting import PATIENCE_S

TEACHER = Person("t" * 32, "owner", how="token")


def _alone() -> None:
    from tessera_core.ui import people, speech
    from tessera_core.ui.classroom import teacher

    speech.settle()
    teacher.draw(people.person())


@pytest.fixture
def opened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Classroom:
    """Ada has labelled three places of each class, Bo joined just now."""
    monkeypatch.setenv("TESSERA_HOME", str(tmp_path / "home"))
    pack = make_pack([template(tmp_path / "fen")], tmp_path / "fen-pack")
    monkeypatch.setenv("TESSERA_HOSTED", "1")
    monkeypatch.setattr(people, "came", lambda: TEACHER)
    with acting_for(TEACHER):
        found = joining.open_class(open_pack(pack)[0], TEACHER, name="Fen")
    joining.join(found.code, "Bo", Person("b" * 32))
    found, ada, _ = joining.join(found.code, "Ada", Person("a" * 32))
    label_quarters(board.project_of(ada), 3, seed=0)
    return found


def _page(language: str) -> AppTest:
    app = AppTest.from_function(_alone, default_timeout=PATIENCE_S)
    app.query_params["lang"] = language
    app.run()
    assert not app.exception
    assert [one.value for one in app.error] == []
    return app


def test_scores_stand_side_by_side_only_where_the_teacher_wants_that(opened: Classroom) -> None:
    app = _page("en")
    assert list(app.dataframe[0].value["Learner"]) == ["Bo", "Ada"]
    assert "Rank" not in app.dataframe[0].value
    app.toggle(key=f"class_scores_{opened.id}").set_value(True).run()
    assert store.read(opened.id).scores
    table = app.dataframe[0].value.set_index("Learner")
    assert list(table.index) == ["Ada", "Bo"]
    assert table["Rank"]["Ada"] == 1
    assert table["At places held out"]["Ada"].startswith("100 % (")
    assert table["Made of"]["Ada"].startswith("12 labels at ")
    assert table["Made of"]["Ada"].endswith(" 4 of 4 classes")
    assert (table["At places held out"]["Bo"], table["Made of"]["Bo"]) == ("", "")
    # The wall shows them as well, and how many have none.
    app.button(key="class_project").click().run()
    assert not app.exception
    assert "1 has no score yet." in [one.value for one in app.caption]
    app.toggle(key=f"class_scores_wall_{opened.id}").set_value(False).run()
    assert "1 has no score yet." not in [one.value for one in app.caption]
    assert not store.read(opened.id).scores


def test_the_board_is_there_in_another_language(opened: Classroom) -> None:
    # Nobody is in a lesson or has looked at places: these columns are left out by their English names.
    table = _page("de").dataframe[0].value
    assert list(table.columns) == ["Learner", "Now", "Labels", "Classes", "Last change"]


def _door() -> None:
    from tessera_core.ui import people, speech
    from tessera_core.ui.classroom import learner

    speech.settle()
    learner.door(people.person())


def test_who_is_in_a_class_joins_another_by_its_code(opened: Classroom, monkeypatch: pytest.MonkeyPatch) -> None:
    with acting_for(TEACHER):
        second = joining.open_class(joining.start_project(opened), TEACHER, name="Afternoon")
    monkeypatch.setattr(people, "came", lambda: Person("b" * 32))
    app = AppTest.from_function(_door, default_timeout=PATIENCE_S).run()
    assert "You are **Bo** in **Fen**." in [one.value for one in app.markdown]
    app.text_input(key="class_code").set_value(second.code.lower())
    app.text_input(key="class_nickname").set_value("Bo")
    app.button[-1].click().run()
    # Bo is in both now; the page that follows is not in this app.
    assert [one.nickname for one in store.read(second.id).members] == ["Bo"]
    assert store.read(opened.id).member("Bo") is not None
    # Both are offered then, and neither takes them in a second time.
    app = AppTest.from_function(_door, default_timeout=PATIENCE_S).run()
    told = [one.value for one in app.markdown]
    assert {"You are **Bo** in **Fen**.", "You are **Bo** in **Afternoon**."} <= set(told)
    assert {f"class_on_{one.id}" for one in (opened, second)} <= {one.key for one in app.button}
    app.text_input(key="class_code").set_value(second.code)
    app.text_input(key="class_nickname").set_value("Bo the second")
    app.button[-1].click().run()
    assert app.error[0].value.startswith("You are in this class already, as Bo")
    assert len(store.read(second.id).members) == 1

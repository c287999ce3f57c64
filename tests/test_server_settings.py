"""What the owner of a server settles: roles, limits for each role, who may come in; and what each role may do."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path
from typing import Any, get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tessera_core.errors import InputError, TesseraError
from tessera_core.hosting import (
    Limits,
    Person,
    acting,
    acting_for,
    acting_person,
    may,
    offers_embeddings,
    role_of,
    settings,
)
from tessera_core.hosting.people import MAY, ROLES, Action, matches
from tessera_core.hosting.settings import EMBEDDINGS_VARIABLE, variable_of
from tessera_core.project import generate


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A server's home, and an environment that says nothing."""
    monkeypatch.setenv("TESSERA_HOME", str(tmp_path))
    for name in ("TESSERA_SERVER_SETTINGS", "TESSERA_ACCESS_CODE", "TESSERA_OWNERS", EMBEDDINGS_VARIABLE):
        monkeypatch.delenv(name, raising=False)
    return tmp_path


def _say(home: Path, text: str) -> None:
    (home / "server.toml").write_text(text, encoding="utf-8")


def test_without_a_word_anyone_comes_in_as_a_visitor() -> None:
    assert settings().enter.by == "anyone"
    assert role_of("ada@example.org") == "visitor"
    assert Limits.read() == Limits()


def test_a_role_has_its_own_limits_and_the_environment_goes_before_the_file(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _say(home, "[limits]\npeople = 12\nprojects = 3\n[limits.teacher]\nprojects = 50\nregion_km2 = 5000\n")
    assert (Limits.read().people, Limits.read("visitor").projects, Limits.read("teacher").projects) == (12, 3, 50)
    assert (Limits.read("teacher").people, Limits.read("learner").region_km2) == (12, Limits().region_km2)
    monkeypatch.setenv("TESSERA_MAX_PROJECTS", "7")
    assert (Limits.read("visitor").projects, Limits.read("teacher").projects) == (7, 50)


@pytest.mark.parametrize("limit", [field.name for field in fields(Limits)])
def test_every_limit_is_set_by_its_variable_and_by_the_file(
    limit: str, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _say(home, f"[limits]\n{limit} = 17\n")
    assert getattr(Limits.read(), limit) == 17
    monkeypatch.setenv(variable_of(limit), "19")
    assert getattr(Limits.read(), limit) == 19


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("[limits]\npeople = 'many'\n", "limits.people is 'many'"),
        ("[limits]\npeople = 0\n", "limits.people is 0"),
        ("[limits]\npeople = true\n", "limits.people is True"),
        ("[limits]\npeolpe = 3\n", "limits.peolpe is no limit"),
        ("[limits.teacher]\npeople = 3\n", "limits.teacher.people counts for the server as a whole"),
        ("[limits.teacher]\nprojects = -1\n", "limits.teacher.projects is -1"),
        ("[limits]\nteacher = 3\n", "limits.teacher is no limit"),
        ("[roles]\nothers = 'king'\n", "`roles.others`"),
        ("[roles]\nowner = 'ada@example.org'\n", "`roles.owner`"),
        ("[enter]\nby = 'magic'\n", "`enter.by`"),
        ("[enter]\nby = 'code'\ncode = '1234'\n", "4 characters, which can be guessed"),
        ("[enter]\nproxies = ['the proxy']\n", "enter.proxies has 'the proxy'"),
        ("[entre]\nby = 'code'\n", "`entre`"),
        ("[audit]\nkeep_days = 0\n", "`audit.keep_days`"),
        ("[offer]\nembeddings = 'no'\n", "`offer.embeddings`"),
        ("[offer]\nembedings = false\n", "`embedings`"),
        ("people = \n", "not right"),
    ],
)
def test_what_makes_no_sense_is_one_sentence_that_names_it(text: str, says: str, home: Path) -> None:
    _say(home, text)
    with pytest.raises(InputError) as caught:
        Limits.read()
    sentence = str(caught.value)
    assert says in sentence
    assert "\n" not in sentence
    assert str(home) not in sentence


def test_making_embeddings_is_offered_unless_the_owner_says_no(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert offers_embeddings()
    _say(home, "[offer]\nembeddings = false\n")
    assert not offers_embeddings()
    monkeypatch.setenv(EMBEDDINGS_VARIABLE, "1")
    assert offers_embeddings()
    (home / "server.toml").unlink()
    monkeypatch.setenv(EMBEDDINGS_VARIABLE, "0")
    assert not offers_embeddings()
    monkeypatch.setenv(EMBEDDINGS_VARIABLE, "off")
    with pytest.raises(InputError, match="TESSERA_OFFER_EMBEDDINGS is 'off'"):
        offers_embeddings()


def test_where_it_is_not_offered_the_app_makes_nothing(home: Path) -> None:
    _say(home, "[offer]\nembeddings = false\n")
    tiles = generate.TileSet("valley", (), ())
    with pytest.raises(TesseraError, match="does not offer making embeddings"):
        generate.plan(tiles, "studio-nano", None, "cpu", lambda *_: None, lambda: False)
    plan: Any = None
    with pytest.raises(TesseraError, match="does not offer making embeddings"):
        generate.run(tiles, plan, None, "cpu", lambda *_: None, lambda: False)


def test_a_file_that_was_named_and_is_not_there_is_said(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("TESSERA_SERVER_SETTINGS", str(tmp_path / "none.toml"))
    with pytest.raises(InputError, match="no such file"):
        settings()


def test_a_changed_file_is_read_again(home: Path) -> None:
    _say(home, "[limits]\npeople = 5\n")
    assert Limits.read().people == 5
    _say(home, "[limits]\npeople = 50\n")
    assert Limits.read().people == 50


def test_roles_by_address_and_by_domain(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _say(home, "[roles]\nowner = ['Ada@Example.org']\nteacher = ['@example.org']\nlearner = ['@pupils.example.org']\n")
    found = [
        role_of(name) for name in ("ada@example.org", "BO@example.org", "cy@pupils.example.org", "x@elsewhere.org")
    ]
    assert found == ["owner", "teacher", "learner", "visitor"]
    _say(home, "[roles]\nothers = 'nobody'\n")
    assert role_of("ada@example.org") is None
    monkeypatch.setenv("TESSERA_OWNERS", "ada@example.org, root")
    assert (role_of("ada@example.org"), role_of("root")) == ("owner", "owner")


@given(local=st.text("abc.@", min_size=1, max_size=6), domain=st.text("abc.-", min_size=1, max_size=8))
def test_a_domain_is_matched_whole(local: str, domain: str) -> None:
    assert matches(f"{local}@{domain}", (f"@{domain}",))
    assert not matches(f"{local}@x{domain}", (f"@{domain}",))
    assert not matches(f"{local}@{domain}x", (f"@{domain}",))
    assert not matches("", ("", f"@{domain}"))


def test_the_table_of_what_each_may_do() -> None:
    assert set(MAY) == set(get_args(Action))
    allowed = {role: {action for action in MAY if may(Person("x", role), action)} for role in ROLES}
    assert allowed["visitor"] == allowed["learner"] == {"make maps"}
    assert allowed["teacher"] == {"make maps", "make classes"}
    assert allowed["owner"] == set(MAY)


def test_who_a_thread_works_for() -> None:
    assert acting() == ""
    assert not may(acting_person(), "see the server")
    teacher = Person("t", "teacher", "Tess")
    with acting_for(teacher):
        assert acting_person() is teacher
        with acting_for("anon"):
            assert (acting(), acting_person().role) == ("anon", "visitor")
        assert acting() == "t"
    assert acting() == ""


def test_nobodys_key_is_shown() -> None:
    assert Person("c0ffee" * 6).called.startswith("visitor ")
    assert "c0ffee" not in Person("c0ffee" * 6).called
    assert Person("k", "teacher", "Tess").called == "Tess"

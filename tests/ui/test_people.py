"""Who somebody is, of what a provider says of them."""

from __future__ import annotations

from pathlib import Path

import pytest

from tessera_core.hosting import Person
from tessera_core.ui.people import headers_of, named, of_claims

ADA = {"iss": "https://id.example", "sub": "17", "email": "ada@school.example", "email_verified": True}


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("TESSERA_HOME", str(tmp_path))
    (tmp_path / "server.toml").write_text("[roles]\nteacher = ['@school.example']\n")
    return tmp_path


def test_who_signs_in_is_the_same_in_every_browser_and_has_the_role_of_their_address() -> None:
    ada = of_claims(ADA)
    assert ada is not None
    assert (ada.role, ada.name, ada.how) == ("teacher", "ada@school.example", "sign-in")
    assert ada == of_claims(dict(ADA))


def test_an_address_that_passes_to_somebody_else_does_not_take_the_projects_along() -> None:
    keys = [of_claims(ADA | other) for other in ({}, {"sub": "18"}, {"iss": "https://other.example"})]
    assert len({person.key for person in keys if person is not None}) == 3


def test_an_address_that_was_not_verified_gives_no_role(home: Path) -> None:
    eve = of_claims(ADA | {"email_verified": False, "sub": "66"})
    assert eve is not None
    assert eve.role == "visitor"
    # Some providers say nothing of it, and let people write what they like there; the owner says whether that may count.
    quiet = {name: value for name, value in ADA.items() if name != "email_verified"}
    unproven = of_claims(quiet)
    assert unproven is not None
    assert unproven.role == "visitor"
    settings = (home / "server.toml").read_text()
    (home / "server.toml").write_text("[enter]\nby = 'sign-in'\nunproven_addresses = true\n" + settings)
    trusted = of_claims(quiet)
    assert trusted is not None
    assert trusted.role == "teacher"
    lying = of_claims(ADA | {"email_verified": False})
    assert lying is not None
    assert lying.role == "visitor"


def test_the_settings_keep_out_whom_they_do_not_know(home: Path) -> None:
    (home / "server.toml").write_text("[roles]\nteacher = ['@school.example']\nothers = 'nobody'\n")
    assert of_claims(ADA) is not None
    assert of_claims(ADA | {"email": "eve@elsewhere.example"}) is None
    assert of_claims(ADA | {"email_verified": False}) is None
    assert of_claims({"sub": "1"}) is None


def test_keys_of_one_kind_are_never_those_of_another() -> None:
    """A visitor cannot have the cookie that makes them somebody who signed in or whom a proxy named."""
    text = "ada@school.example"
    assert len({named(text), named(f"proxy\n{text}"), named(f"sign-in\n{text}"), named("token")}) == 4


def test_what_the_gate_tells_fits_into_headers() -> None:
    told = headers_of(Person("k", "teacher", "Zoë \r\nX-Tessera-Role: owner", "proxy"))
    assert all(b"\n" not in value and b"\r" not in value for _, value in told)
    assert (b"x-tessera-role", b"teacher") in told

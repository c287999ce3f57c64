"""The pins that the set-up and hosted servers install: whole, alike, and of no particular index."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

FILES = ("requirements.txt", "requirements-dev.txt")


def pins(root: Path, name: str) -> dict[str, set[str]]:
    """Versions by package; several where they differ by platform."""
    found: dict[str, set[str]] = {}
    for line in (root / name).read_text(encoding="utf-8").splitlines():
        if line.strip() and not line.startswith("#"):
            requirement = Requirement(line)
            (pin,) = requirement.specifier
            assert pin.operator == "=="
            found.setdefault(canonicalize_name(requirement.name), set()).add(pin.version)
    return found


def declared(root: Path) -> tuple[list[Requirement], list[Requirement]]:
    """What pyproject.toml asks for: always, and in extras."""
    project = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    extras = [Requirement(text) for group in project["optional-dependencies"].values() for text in group]
    # An extra may ask for another one of the project itself.
    return [Requirement(text) for text in project["dependencies"]], [r for r in extras if r.name != project["name"]]


def test_everything_asked_for_is_pinned_within_its_bounds(root: Path) -> None:
    always, extras = declared(root)
    for name, wanted in ((FILES[0], always), (FILES[1], [*always, *extras])):
        known = pins(root, name)
        for requirement in wanted:
            versions = known.get(canonicalize_name(requirement.name))
            assert versions, f"{requirement} is not in {name}: run `make requirements`"
            assert all(requirement.specifier.contains(version, prereleases=True) for version in versions), requirement


def test_servers_and_set_up_run_the_same_versions(root: Path) -> None:
    hosted, developed = pins(root, FILES[0]), pins(root, FILES[1])
    assert {name: developed.get(name) for name in hosted} == hosted, "run `make requirements`"


@pytest.mark.parametrize("name", FILES)
def test_no_address_of_an_index(root: Path, name: str) -> None:
    assert not re.search(r"https?:|^\s*-", (root / name).read_text(encoding="utf-8"), re.MULTILINE)


def test_the_citation_is_of_this_version(root: Path) -> None:
    import tessera_core

    said = re.search(r"^version: (.+)$", (root / "CITATION.cff").read_text(encoding="utf-8"), re.MULTILINE)
    assert said
    assert said[1] == tessera_core.__version__

"""What the parts of the page Validate share: the names of classes, and at which place a visitor is."""

from __future__ import annotations

from collections.abc import Callable

from tessera_core.project import validate
from tessera_core.project.project import Project
from tessera_core.project.validate import Validation


def names_of(project: Project) -> dict[int, str]:
    """Names of the project's classes by id."""
    return {c.id: c.name for c in project.log.classes}


def place_key(project: Project, year: int | None, *, two_maps: bool = False) -> str:
    """Where the session keeps at which place of a year's sample it is, or of its comparison of two maps."""
    return f"validate_{'two_maps' if two_maps else 'place'}_{project.key}_{year}"


def key_of(project: Project, current: Validation) -> str:
    """The same of a sample."""
    return place_key(project, current.year, two_maps=current.two_maps)


def change(project: Project, current: Validation, edit: Callable[[Validation], Validation]) -> Validation:
    """Change what is saved of a sample, which another tab may have answered since it was drawn; returns what it became."""
    changed = validate.change(project, current.year, edit, two_maps=current.two_maps)
    if changed is None:
        changed = edit(current)
        validate.save(project, changed)
    return changed

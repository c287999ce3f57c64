"""What the parts of the page Validate share: the names of classes, and at which place a visitor is."""

from __future__ import annotations

from tessera_core.project.project import Project


def names_of(project: Project) -> dict[int, str]:
    """Names of the project's classes by id."""
    return {c.id: c.name for c in project.log.classes}


def place_key(project: Project, year: int | None) -> str:
    """Where the session keeps at which place of a year's sample it is."""
    return f"validate_place_{project.key}_{year}"

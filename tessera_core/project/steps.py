"""What is worth doing after the first map, and what of it a project has seen; kept in its settings."""

from __future__ import annotations

from collections.abc import Iterable

from tessera_core.labels.model import Label, near_any
from tessera_core.project.project import Project
from tessera_core.types import BBox

# In the order in which they are worth doing.
CORRECT, SUGGESTED, CONFIDENCE, CHECK, TAKE = "correct", "suggested", "confidence", "check", "take"
STEPS = (CORRECT, SUGGESTED, CONFIDENCE, CHECK, TAKE)
HIDDEN = "hidden"


def done(project: Project) -> tuple[str, ...]:
    """The steps that were taken, in their order."""
    known = project.settings.steps_done
    return tuple(step for step in STEPS if step in known)


def open_steps(project: Project) -> tuple[str, ...]:
    """The steps that nobody has taken yet."""
    known = project.settings.steps_done
    return tuple(step for step in STEPS if step not in known)


def take(project: Project, *steps: str) -> None:
    """Note that steps were taken; writes only where one is new.

    Raises:
        ProjectError: the project cannot be saved.
    """
    known = project.settings.steps_done
    new = tuple(step for step in dict.fromkeys(steps) if step not in known)
    if new:
        project.update(steps_done=[*known, *new])


def hide(project: Project, hidden: bool = True) -> None:
    """Put the list away, or bring it back; what was taken stays."""
    known = [step for step in project.settings.steps_done if step != HIDDEN]
    project.update(steps_done=[*known, HIDDEN] if hidden else known)


def note_labels(project: Project, added: Iterable[Label], suggested: Iterable[BBox]) -> None:
    """Take the steps that labels stand for which were added while there was a map.

    Args:
        added: labels that are new.
        suggested: boxes in the project's CRS around places that were suggested.

    Raises:
        ProjectError: the project cannot be saved.
    """
    boxes = list(suggested)
    for label in added:
        take(project, CORRECT, *([SUGGESTED] if near_any(label.rings[0][0], boxes) else []))

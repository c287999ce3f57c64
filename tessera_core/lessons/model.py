"""What a lesson is: its steps, and apart from them every word that people read."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tessera_core.language import current
from tessera_core.lessons.checks import About, Check
from tessera_core.lessons.solutions import Act


@dataclass(frozen=True)
class StepTexts:
    """The words of a step.

    Attributes:
        title: a few words.
        text: paragraphs; ``**so**`` is bold, ``{water}`` a name of the lesson.
        hint: what helps whoever is stuck.
        done: what is said once the task is met.
        question: asked with ``choices``; empty where nothing is.
        replies: what is said to each choice.
    """

    title: str
    text: tuple[str, ...]
    hint: str = ""
    done: str = ""
    question: str = ""
    choices: tuple[str, ...] = ()
    replies: tuple[str, ...] = ()


@dataclass(frozen=True)
class PictureTexts:
    """The words of a picture that moves.

    Attributes:
        alt: what it shows, for those who cannot see it.
        captions: one line a frame.
        words: that stand in it.
    """

    alt: str
    captions: tuple[str, ...]
    words: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Texts:
    """All words of a lesson in one language.

    Attributes:
        language: such as ``"en"``.
        title, summary: of the lesson.
        goals: what one can do afterwards.
        key_points: what one should remember.
        names: names of classes, by the lesson's own keys.
        steps: by the id of the step.
        pictures: by the name of the picture.
    """

    language: str
    title: str
    summary: str
    goals: tuple[str, ...]
    key_points: tuple[str, ...]
    names: Mapping[str, str] = field(default_factory=dict)
    steps: Mapping[str, StepTexts] = field(default_factory=dict)
    pictures: Mapping[str, PictureTexts] = field(default_factory=dict)


@dataclass(frozen=True)
class Question:
    """A question with choices; ``right`` is the position of the right one, None where it asks for an opinion."""

    right: int | None = None


@dataclass(frozen=True)
class Step:
    """One step of a lesson.

    Attributes:
        id: stable within the lesson; texts and progress hang on it.
        target: name of the control that it points at; empty for none.
        check: what it waits for; None: it is read.
        question: asked in it; None: none.
        picture: name of the picture that it shows; empty for none.
        truth: step whose answer is held against the truth of the demo region; empty for none.
        solution: what the studio does where the learner asks for it; empty where it cannot.
    """

    id: str
    target: str = ""
    check: Check | None = None
    question: Question | None = None
    picture: str = ""
    truth: str = ""
    solution: tuple[Act, ...] = ()


@dataclass(frozen=True)
class Lesson:
    """A lesson, as it was read from its folder.

    Attributes:
        id: names it, in projects too.
        number: its place among the lessons of the studio; 0 for those of others.
        minutes: about how long it takes.
        years, series: how many years of embeddings and of satellite data its region must have.
        names: keys of the classes that it speaks of.
        legend: name -> names of the classes of the demo's truth that it stands for.
        steps: in order.
        texts: by language; English is always there.
        folder: where it lies.
        by: who wrote it, as the lesson says; empty where it does not.
        start: whether it is a question that people come with, which is followed in any region, rather than a lesson.
        colours: name -> colour of the class that a start makes before its first step.
    """

    id: str
    number: int
    minutes: int
    years: int
    series: int
    names: tuple[str, ...]
    legend: Mapping[str, tuple[str, ...]]
    steps: tuple[Step, ...]
    texts: Mapping[str, Texts]
    folder: Path
    by: str = ""
    start: bool = False
    colours: Mapping[str, str] = field(default_factory=dict)

    def words(self, language: str = "") -> Texts:
        """Its words in a language (by default the one that is spoken), in English where it has none."""
        return self.texts.get(language or current()) or self.texts["en"]

    def step(self, step_id: str) -> Step | None:
        """The step of an id, or None."""
        return next((step for step in self.steps if step.id == step_id), None)

    def about(self, step: Step) -> About:
        """What the check of a step may name."""
        choices = {one.id: one.question.right for one in self.steps if one.question is not None}
        return About(step.id, frozenset(self.names), choices)

    @property
    def uses_steps(self) -> bool:
        """Whether it speaks of the studio's own list of next steps."""
        checked = (part.name for step in self.steps if step.check is not None for part in step.check.walk())
        return any(step.target == "label.steps" for step in self.steps) or "step_taken" in checked

    def spellings(self) -> dict[str, frozenset[str]]:
        """How each name may be spelt: as in any of its languages, casefolded."""
        return {
            name: frozenset(texts.names[name].casefold() for texts in self.texts.values() if name in texts.names)
            for name in self.names
        }

    def picture(self, name: str) -> dict[str, Any]:
        """A picture that moves, as its file has it; see :mod:`tessera_core.lessons.pictures`."""
        from tessera_core.lessons.pictures import read_picture

        return read_picture(self.folder / "pictures" / f"{name}.json")

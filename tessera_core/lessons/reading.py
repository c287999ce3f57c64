"""Reading the folder of a lesson, which may come from anybody: every mistake is one sentence that says where.

    lesson.toml                id, by, minutes, steps with target, check, question, picture, solution: no word that people read
    texts.en.toml              every word, by the id of the step; texts.<language>.toml the same in another language
    pictures/<name>.json       pictures that move

Nothing else of a folder is read. Texts are plain: no markup but ``**bold**``, no links, no addresses.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from tessera_core.errors import InputError
from tessera_core.gate import read_bytes
from tessera_core.lessons import checks, solutions
from tessera_core.lessons.checks import About
from tessera_core.lessons.model import Lesson, PictureTexts, Question, Step, StepTexts, Texts
from tessera_core.lessons.pictures import read_picture, words_of
from tessera_core.lessons.targets import target

MAX_BYTES = 200_000
MAX_STEPS = 60
MAX_FILES = 200
_ID = re.compile(r"[a-z0-9][a-z0-9-]{0,39}")
LANGUAGE = re.compile(r"texts\.([a-z]{2,3}(?:-[A-Za-z]{2,8})?)\.toml")
_STRANGE = re.compile(r"[<>\x00-\x08\x0b-\x1f\x7f]|\]\(|https?:|www\.|javascript:", re.IGNORECASE)
_COLOUR = re.compile(r"#[0-9a-f]{6}")
_PLACEHOLDER = re.compile(r"\{([^{}]*)\}")


def read_lesson(folder: Path) -> Lesson:
    """The lesson of a folder.

    Raises:
        InputError: it is not complete or not sound; one sentence says where and what.
    """
    try:
        return _read(folder)
    except InputError as error:
        raise InputError(f"The lesson in {folder.name} cannot be used: {str(error).rstrip('.')}.") from error


def _read(folder: Path) -> Lesson:
    logic = _toml(folder / "lesson.toml")
    known = {"id", "by", "kind", "number", "minutes", "years", "series", "names", "colours", "legend", "steps"}
    _only(logic, known, "lesson.toml")
    kind = logic.get("kind", "lesson")
    if kind not in ("lesson", "start"):
        raise InputError("lesson.toml: kind is lesson or start")
    lesson_id = _id(logic.get("id"), "lesson.toml")
    names = tuple(_id(name, "names") for name in _list(logic.get("names", []), "names", str))
    legend = _legend(logic.get("legend", {}), names)
    steps = _steps(_list(logic.get("steps"), "steps", dict), frozenset(names), bool(legend))
    pictures = {
        step.picture: read_picture(folder / "pictures" / f"{step.picture}.json") for step in steps if step.picture
    }
    texts = {
        language: _texts(folder / f"texts.{language}.toml", language, names, steps, pictures)
        for language in _languages(folder)
    }
    if "en" not in texts:
        raise InputError("there is no texts.en.toml")
    return Lesson(
        lesson_id,
        _whole(logic.get("number", 0), "number", 0),
        _whole(logic.get("minutes"), "minutes", 1),
        _whole(logic.get("years", 1), "years", 1),
        _whole(logic.get("series", 0), "series", 0),
        names,
        legend,
        steps,
        texts,
        folder,
        _line(logic["by"], "by", 80) if "by" in logic else "",
        kind == "start",
        _colours(logic.get("colours", {}), names),
    )


# ------------------------------------------------------------------ logic


def _steps(items: Sequence[dict[str, Any]], names: frozenset[str], has_truth: bool) -> tuple[Step, ...]:
    if not 1 <= len(items) <= MAX_STEPS:
        raise InputError(f"it has no steps, or more than {MAX_STEPS}")
    ids = [_id(item.get("id"), f"step {number}") for number, item in enumerate(items, 1)]
    if twice := next((one for one in ids if ids.count(one) > 1), None):
        raise InputError(f"two steps are called {twice!r}")
    choices = {
        step_id: _question(item["question"], step_id).right
        for step_id, item in zip(ids, items, strict=True)
        if "question" in item
    }
    found = []
    for step_id, item in zip(ids, items, strict=True):
        where = f"step {step_id!r}"
        _only(item, {"id", "target", "check", "question", "picture", "truth", "solution"}, where)
        about = About(step_id, names, choices)
        at = str(item.get("target", ""))
        truth = str(item.get("truth", ""))
        if truth and (not has_truth or truth not in choices):
            raise InputError(f"{where}: truth wants a legend, and a step with a question; {truth!r} is none")
        try:
            if at:
                target(at)
            check = checks.read(item["check"], about) if "check" in item else None
            if check is None and step_id in choices:
                check = checks.read({"answered": "any"}, about)
            solution = tuple(solutions.read(act, about) for act in _list(item.get("solution", []), "solution", dict))
        except InputError as error:
            raise InputError(f"{where}: {error}") from error
        question = _question(item["question"], step_id) if step_id in choices else None
        picture = _id(item["picture"], f"{where}: picture") if "picture" in item else ""
        found.append(Step(step_id, at, check, question, picture, truth, solution))
    return tuple(found)


def _question(value: Any, step_id: str) -> Question:
    if not isinstance(value, dict) or not set(value) <= {"right"} or not isinstance(value.get("right", 0), int):
        raise InputError(f"step {step_id!r}: question is {{}} or {{ right = position of the right choice, from 0 }}")
    return Question(value.get("right"))


def _colours(value: Any, names: Sequence[str]) -> dict[str, str]:
    colours = _table(value, "colours")
    if colours and set(colours) != set(names):
        raise InputError("colours has to say one for each of the names")
    if strange := [
        colour for colour in colours.values() if not isinstance(colour, str) or not _COLOUR.fullmatch(colour)
    ]:
        raise InputError(f"colours: {str(strange[0])[:40]!r} is not written like #0b7a75")
    return colours


def _legend(value: Any, names: Sequence[str]) -> dict[str, tuple[str, ...]]:
    from tessera_core.dpixels.simulate.classes import CLASS_TABLE

    if not value:
        return {}
    if not isinstance(value, dict) or set(value) != set(names):
        raise InputError("legend has to say for each of the names which classes of the demo region it stands for")
    kinds = {name: tuple(_list(value[name], f"legend {name}", str)) for name in names}
    given = [kind for each in kinds.values() for kind in each]
    known = {name for _, name, _ in CLASS_TABLE}
    if strange := [kind for kind in given if kind not in known]:
        raise InputError(f"legend: the demo region has no {strange[0]!r}; it has: {', '.join(sorted(known))}")
    if len(set(given)) != len(given):
        raise InputError("legend: a class of the demo region stands under two names")
    return kinds


# ------------------------------------------------------------------ texts


def _languages(folder: Path) -> list[str]:
    found = []
    for number, path in enumerate(sorted(folder.iterdir())):
        if number >= MAX_FILES:
            raise InputError(f"the folder holds more than {MAX_FILES} files")
        if named := LANGUAGE.fullmatch(path.name):
            found.append(named[1])
    return found


def _texts(
    path: Path, language: str, names: Sequence[str], steps: Sequence[Step], pictures: Mapping[str, dict[str, Any]]
) -> Texts:
    value = _toml(path)
    _only(value, {"title", "summary", "goals", "key_points", "names", "steps", "pictures"}, path.name)
    where = path.name
    called = _table(value.get("names", {}), f"{where}: names")
    if set(called) != set(names):
        raise InputError(f"{where}: names must be those of lesson.toml: {', '.join(names)}")
    plain = {name: _line(called[name], f"{where}: names.{name}", most=40) for name in names}

    def said(text: Any, at: str, most: int = 1200) -> str:
        return _filled(_line(text, f"{where}: {at}", most), plain, f"{where}: {at}")

    told = _table(value.get("steps", {}), f"{where}: steps")
    known = {step.id for step in steps}
    if missing := [step.id for step in steps if step.id not in told]:
        raise InputError(f"{where} has no text for the step {missing[0]!r}")
    if more := sorted(set(told) - known):
        raise InputError(f"{where} has a text for {more[0]!r}, which is no step")
    return Texts(
        language,
        said(value.get("title"), "title", 80),
        said(value.get("summary"), "summary", 300),
        _lines(value.get("goals"), "goals", said),
        _lines(value.get("key_points"), "key_points", said),
        plain,
        {step.id: _step_texts(_table(told[step.id], f"steps.{step.id}"), step, said) for step in steps},
        {
            name: _picture_texts(_table(value.get("pictures", {}), "pictures").get(name), name, picture, said)
            for name, picture in pictures.items()
        },
    )


_Said = Callable[..., str]


def _step_texts(value: dict[str, Any], step: Step, said: _Said) -> StepTexts:
    at = f"steps.{step.id}"
    _only(value, {"title", "text", "hint", "done", "question", "choices", "replies"}, at)
    text = said(value.get("text"), f"{at}.text", 2000)
    question = said(value["question"], f"{at}.question", 300) if "question" in value else ""
    choices = _lines(value["choices"], f"{at}.choices", said) if "choices" in value else ()
    replies = _lines(value["replies"], f"{at}.replies", said) if "replies" in value else ()
    if (step.question is not None) != bool(question):
        raise InputError(f"{at}: a question stands in lesson.toml or in the texts, but not in both")
    if question and not 2 <= len(choices) <= 6:
        raise InputError(f"{at}: a question wants two to six choices")
    if replies and len(replies) != len(choices):
        raise InputError(f"{at}: there are as many replies as choices, or none")
    if step.question is not None and step.question.right is not None and not 0 <= step.question.right < len(choices):
        raise InputError(f"{at}: the right choice is number {step.question.right}, which is not there")
    return StepTexts(
        said(value.get("title"), f"{at}.title", 80),
        tuple(part.strip() for part in re.split(r"\n\s*\n", text) if part.strip()),
        said(value["hint"], f"{at}.hint") if "hint" in value else "",
        said(value["done"], f"{at}.done") if "done" in value else "",
        question,
        choices,
        replies,
    )


def _picture_texts(value: Any, name: str, picture: dict[str, Any], said: _Said) -> PictureTexts:
    at = f"pictures.{name}"
    if not isinstance(value, dict):
        raise InputError(f"{at}: the picture has no words")
    _only(value, {"alt", "captions", "words"}, at)
    captions = _lines(value.get("captions"), f"{at}.captions", said)
    if len(captions) != len(picture["frames"]):
        raise InputError(f"{at}: there are {len(captions)} captions and {len(picture['frames'])} frames")
    words = {key: said(text, f"{at}.words.{key}", 60) for key, text in _table(value.get("words", {}), at).items()}
    if missing := [word for word in words_of(picture) if word not in words]:
        raise InputError(f"{at}: the word {missing[0]!r} is missing")
    return PictureTexts(said(value.get("alt"), f"{at}.alt", 1000), captions, words)


def _lines(value: Any, at: str, said: _Said) -> tuple[str, ...]:
    items = _list(value, at, str)
    if not 1 <= len(items) <= 30:
        raise InputError(f"{at}: one to thirty lines")
    return tuple(said(item, f"{at}, line {number}", 400) for number, item in enumerate(items, 1))


def _filled(text: str, names: Mapping[str, str], at: str) -> str:
    """With the names of classes put in."""

    def name(found: re.Match[str]) -> str:
        if found[1] not in names:
            raise InputError(f"{at}: there is no name {found[1]!r}")
        return names[found[1]]

    return _PLACEHOLDER.sub(name, text)


# ------------------------------------------------------------------ kinds


def _toml(path: Path) -> dict[str, Any]:
    data = read_bytes(path, InputError, MAX_BYTES)
    try:
        return tomllib.loads(data.decode("utf-8"))
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path.name} is not readable TOML: {str(error).splitlines()[0][:200]}") from error


def _only(value: Mapping[str, Any], names: set[str], where: str) -> None:
    if strange := sorted(set(value) - names):
        raise InputError(f"{where}: {strange[0][:60]!r} is not known here; known are: {', '.join(sorted(names))}")


def _table(value: Any, where: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise InputError(f"{where} wants a table")
    return value


def _list(value: Any, where: str, kind: type) -> list[Any]:
    if not isinstance(value, list) or not all(isinstance(item, kind) for item in value):
        raise InputError(f"{where} wants a list of {'texts' if kind is str else 'tables'}")
    return value


def _id(value: Any, where: str) -> str:
    if not isinstance(value, str) or not _ID.fullmatch(value):
        raise InputError(f"{where}: an id is made of small letters, digits and hyphens, at most 40")
    return value


def _whole(value: Any, name: str, least: int) -> int:
    if type(value) is not int or not least <= value <= 1000:
        raise InputError(f"{name} wants a whole number from {least}")
    return value


def _line(value: Any, where: str, most: int) -> str:
    if not isinstance(value, str) or not value.strip():
        raise InputError(f"{where} is missing")
    if len(value) > most:
        raise InputError(f"{where} is longer than {most} characters")
    if _STRANGE.search(value):
        raise InputError(f"{where} holds markup, an address or a control character; texts are plain")
    return value.strip()

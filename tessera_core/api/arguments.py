"""What the functions of the front door may be given: another kind of thing is refused in a sentence that says how to make it."""

from __future__ import annotations

import functools
import inspect
import operator
import os
from collections.abc import Callable, Iterable, Mapping
from numbers import Real

from tessera_core.errors import InputError

# Each kind of the type hints in words; kinds that are not here are checked where they are used.
KINDS = {
    "EmbeddingRaster": "embeddings, as tessera.open(path) gives them",
    "Reference": "labels, as tessera.read_labels(file, like=raster) gives them",
    "RegressionSamples": "measured values, as tessera.read_values(file, like=raster) gives them",
    "SavedHead": "a saved head, as tessera.load_head(path) gives it",
    "JointHead": "a head of several places, as tessera.teach_head(places) gives it",
    "MappedClasses": "a map of classes, as tessera.map_classes(raster, labels) gives it",
    "MappedValues": "a map of values, as tessera.map_values(raster, values) gives it",
    "MappedChange": "a map of change, as tessera.change(first, second) gives it",
    "Grid": "a grid, such as raster.grid",
    "os.PathLike[str]": "the path of a file or folder",
    "str": "a text",
    "int": "a whole number",
    "float": "a number",
    "bool": "True or False",
    "Mapping[str, str]": "a dictionary of texts",
    "Iterable[int]": "several years, such as [2023, 2024]",
    "Sequence[int]": "several years, such as [2023, 2024]",
    "Sequence[str]": "several texts in a list",
    "Iterable[str | os.PathLike[str]]": "several paths in a list",
    "Sequence[str | os.PathLike[str]]": "several paths in a list",
    "Sequence[tuple[str, str]]": "pairs of texts in a list",
    "Progress": "a function progress(done, total, message)",
    "Cancel": "a function cancelled()",
    "None": "None",
}


def checked[**P, R](function: Callable[P, R]) -> Callable[P, R]:
    """The function, whose arguments are of the kinds of its type hints or refused with :class:`InputError`.

    Whole numbers of NumPy become those of Python. What the type hints do not say in these words (regions, heads, tables) the
    function checks itself.
    """
    signature = inspect.signature(function)
    wanted = {
        name: _alternatives(str(one.annotation))
        for name, one in signature.parameters.items()
        if one.kind is not inspect.Parameter.VAR_KEYWORD
    }

    @functools.wraps(function)
    def call(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            bound = signature.bind(*args, **kwargs)
        except TypeError:  # one is missing or unknown: Python says which
            return function(*args, **kwargs)
        for name, value in bound.arguments.items():
            kinds = wanted.get(name, ())
            if not kinds or not set(kinds) <= set(KINDS):
                continue
            if "int" in kinds and not isinstance(value, bool):
                bound.arguments[name] = value = _whole(value)
            if not any(_is(value, kind) for kind in kinds):
                raise InputError(
                    f"{name} of {function.__name__}() has to be {_words(name, kinds)}; this is {_shown(value)}."
                )
            if name == "seed" and value < 0:
                raise InputError(f"seed of {function.__name__}() has to be 0 or more; this is {value}.")
        return function(*bound.args, **bound.kwargs)

    return call


def _alternatives(annotation: str) -> tuple[str, ...]:
    """The kinds between the outer bars of a type hint."""
    parts, depth = [""], 0
    for letter in annotation:
        depth += (letter == "[") - (letter == "]")
        if letter == "|" and not depth:
            parts.append("")
        else:
            parts[-1] += letter
    return tuple(part.strip() for part in parts)


def _whole(value: object) -> object:
    try:
        return operator.index(value)  # type: ignore[arg-type]
    except TypeError:
        return value


def _is(value: object, kind: str) -> bool:
    """Whether a value is of a kind; classes go by name, so that none is loaded to be asked for."""
    if kind == "None":
        return value is None
    if kind == "str":
        return isinstance(value, str)
    if kind == "os.PathLike[str]":
        return isinstance(value, os.PathLike)
    if kind == "bool":
        return isinstance(value, bool) or type(value).__name__ == "bool"
    if kind == "int":
        return isinstance(value, int) and not isinstance(value, bool)
    if kind == "float":
        return isinstance(value, Real) and not isinstance(value, bool)
    if kind in ("Progress", "Cancel"):
        return callable(value)
    if kind.startswith("Mapping"):
        return isinstance(value, Mapping)
    if kind.startswith(("Sequence", "Iterable")):
        return _is_several(value, kind)
    return any(one.__name__ == kind for one in type(value).__mro__)


def _is_several(value: object, kind: str) -> bool:
    """A list, say, of what the brackets name; an iterator is not used up by the question."""
    if not isinstance(value, Iterable) or isinstance(value, str | bytes | os.PathLike | Mapping):
        return False
    inner = _alternatives(kind[kind.index("[") + 1 : -1])
    if not isinstance(value, list | tuple | set | frozenset | range) or inner[0].startswith("tuple"):
        return True
    return all(any(_is(_whole(one) if one_kind == "int" else one, one_kind) for one_kind in inner) for one in value)


def _words(name: str, kinds: tuple[str, ...]) -> str:
    """What is wanted, in words: 'a year, such as 2024, or None'."""
    said = ["a year, such as 2024" if kind == "int" and name in ("year", "years") else KINDS[kind] for kind in kinds]
    if "os.PathLike[str]" in kinds and "str" in kinds:
        said.remove(KINDS["str"])
    return said[0] if len(said) == 1 else f"{', '.join(said[:-1])}, or {said[-1]}"


def _shown(value: object) -> str:
    """What was given, in a few words."""
    if value is None or isinstance(value, bool):
        return str(value)
    if isinstance(value, str | os.PathLike):
        text = str(value)
        return f"the text {text!r}" if len(text) <= 60 else f"the text {text[:57] + '...'!r}"
    if isinstance(value, Real):
        return f"the number {value}"
    return f"of the kind {type(value).__name__}"

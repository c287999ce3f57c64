"""The settings of a project and of what kind each is: a project's file may hold anything under their names."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any


def sound(settings: Mapping[str, Any]) -> dict[str, Any]:
    """The settings whose value is of their kind; one that is not counts as never chosen. Unknown names are kept."""
    return {name: value for name, value in settings.items() if name not in _KINDS or _KINDS[name](value)}


def unsound(settings: Mapping[str, Any]) -> list[str]:
    """Names of the settings that :func:`sound` leaves out."""
    return sorted(set(settings) - set(sound(settings)))


def _text(value: object) -> bool:
    return isinstance(value, str)


def _whole(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and abs(value) < 1 << 31


def _number(value: object) -> bool:
    # A whole number of very many digits is no float.
    return _whole(value) or (isinstance(value, float) and math.isfinite(value))


def _year(value: object) -> bool:
    return value is None or _whole(value)


def _object(value: object) -> bool:
    return isinstance(value, Mapping)


def _id(value: object) -> bool:
    return isinstance(value, str) and value.isascii() and value.isdigit() and len(value) <= 9


def _weights(value: object) -> bool:
    return _text(value) or (isinstance(value, Mapping) and all(_id(i) and _number(w) for i, w in value.items()))


def _sentences(value: object) -> bool:
    return isinstance(value, list | tuple) and all(map(_text, value))


def _sentences_by_year(value: object) -> bool:
    return isinstance(value, Mapping) and all(_id(str(year)) and _sentences(said) for year, said in value.items())


def _comparisons(value: object) -> bool:
    figures = ("cosine_median", "cosine_p1", "equal_codes", "pixels")
    return isinstance(value, list | tuple) and all(
        isinstance(item, Mapping)
        and _text(item.get("sentence"))
        and _year(item.get("year"))
        and (
            "verdict" not in item
            or (item["verdict"] in ("green", "amber", "red") and all(_number(item.get(name)) for name in figures))
        )
        for item in value
    )


_KINDS: dict[str, Callable[[Any], bool]] = {
    "head": _text,
    "context": _whole,
    "class_weight": _weights,
    "certainty": _number,
    "year": _year,
    "label_year": _year,
    "numbers_head": _text,
    "numbers_context": _whole,
    "numbers_measure": _whole,
    "fetch_missing": _sentences_by_year,
    "missing": _sentences,
    "parity": _comparisons,
    "mended": _object,
}

"""Whether labels are classes or numbers: what each looks like when it is taken for the other."""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence

import numpy as np
from numpy.typing import NDArray

from tessera_core.labels.cells import parse_number

# Schemes of classes have at most so many codes that a few labels each are enough; measured numbers seldom repeat.
FEW_CODES = 12
MANY_VALUES = 20
# A code of a few stands at so many labels on average, and one of many at more.
REPEATED = 3
MANY_CODES, OFTEN = 60, 50
# The last word of a field's name.
_CODE_WORDS = frozenset(
    {
        "class",
        "classid",
        "classcode",
        "label",
        "code",
        "category",
        "type",
        "landcover",
        "lulc",
        "lc",
        "crop",
        "croptype",
    }
    | {"cropcode", "habitat"}
)


def values_taken_as_classes(names: Collection[str], n_labels: int) -> str:
    """What is wrong with class names that are measured numbers, as the beginning of a sentence; empty where nothing is.

    Args:
        names: of the classes.
        n_labels: labels they stand at.
    """
    values = [parse_number(name) for name in names]
    if not values or any(value is None for value in values):
        return ""
    numbers = np.array(values, np.float64)
    whole = bool((numbers == np.rint(numbers)).all())
    seldom_repeated = 2 * len(numbers) > n_labels
    if (seldom_repeated and len(numbers) > FEW_CODES) or (not whole and len(numbers) > MANY_VALUES):
        kind = "whole numbers" if whole else "numbers"
        return (
            f"{len(numbers)} different {kind} from {numbers.min():.4g} to {numbers.max():.4g} at {n_labels} labels, which look "
            "measured and not like classes"
        )
    return ""


def codes_taken_as_values(values: NDArray[np.floating], field: str = "") -> str:
    """What is wrong with measured numbers that are class codes, as the beginning of a sentence; empty where nothing is.

    Args:
        values: (N,) one of each label.
        field: the attribute they come from.
    """
    found = np.unique(values)
    if not len(found) or (found != np.rint(found)).any() or len(found) > MANY_CODES:
        return ""
    words = [word for word in re.split(r"[^a-z]+", field.casefold()) if word not in ("", "id", "nr", "no")]
    by_name = bool(words) and (words[-1] in _CODE_WORDS or "".join(words) in _CODE_WORDS)
    times = REPEATED if len(found) <= FEW_CODES else OFTEN
    if by_name or len(values) >= times * len(found):
        return f"only {len(found)} different whole numbers ({_some(found)}) at {len(values)} labels, which look like class codes"
    return ""


def _some(values: Sequence[float] | NDArray[np.floating]) -> str:
    shown = ", ".join(f"{value:g}" for value in values[:6])
    return shown + (", ..." if len(values) > 6 else "")

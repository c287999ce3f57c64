"""Whose classes are which: the classes of learners matched to those of the class map.

A learner who started from the template of the class keeps the ids of its classes, whatever names they are given later. All other
classes are matched by their names. What cannot be matched casts no vote, and is told.
"""

from __future__ import annotations

import unicodedata
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from tessera_core.classroom.work import Work
from tessera_core.errors import InputError
from tessera_core.labels.colors import color_for
from tessera_core.labels.model import MAX_CLASS_ID, LabelClass

# A class that is on no list needs so many learners to be one of the class map.
ENOUGH = 2


@dataclass(frozen=True)
class Legend:
    """The classes of a class map, and which class of each learner is which.

    Attributes:
        classes: of the class map.
        tables: learner -> uint8 (256,), from the learner's class id to that of the class map; 0 where it is none.
        renamed: learner -> own name -> name in the class map, where a class of the template was renamed.
        unmatched: learner -> names of classes that are none of the class map.
    """

    classes: tuple[LabelClass, ...]
    tables: Mapping[str, NDArray[np.uint8]] = field(repr=False)
    renamed: Mapping[str, Mapping[str, str]]
    unmatched: Mapping[str, tuple[str, ...]]

    @property
    def names(self) -> dict[int, str]:
        """Class id of the class map -> name."""
        return {one.id: one.name for one in self.classes}


def plain(name: str) -> str:
    """A name as it is compared: small letters, single spaces, one spelling of each character.

    >>> plain("  Winter\\u00a0WHEAT ") == plain("winter wheat")
    True
    """
    return " ".join(unicodedata.normalize("NFKC", name).casefold().split())


def match_classes(works: Sequence[Work], template: Sequence[LabelClass] = (), origin: str = "") -> Legend:
    """The legend of a class map.

    Args:
        works: of all learners; their order does not matter.
        template: the classes that the teacher gave out; they keep their ids.
        origin: id of the template's project: works that are copies of it keep its class ids.

    Returns:
        Template classes first. A further class joins them where two learners have labels of it, and where there is no
        template one will do; a class without labels is none.

    Raises:
        InputError: there are more classes than a map can have, or two works have one learner's name.
    """
    works = sorted(works, key=lambda work: work.learner)
    if len({work.learner for work in works}) < len(works):
        raise InputError("Two learners have the same nickname; give one of them another.")
    known = {one.id: one for one in template}
    by_name = {plain(one.name): one.id for one in reversed(template)}
    renamed: dict[str, dict[str, str]] = {}
    found: dict[str, dict[int, int]] = {}
    open_: dict[str, dict[int, str]] = {}
    spelt: dict[str, list[LabelClass]] = {}
    for work in works:
        mine = found[work.learner] = {}
        used = {label.class_id for label in work.labels}
        for one in (one for one in work.classes if one.id in used):
            # A name that the template has counts before the id, or two classes whose names were swapped would be mixed up.
            target = by_name.get(plain(one.name))
            if target is None and one.id in known and origin and work.origin == origin:
                target = one.id
                renamed.setdefault(work.learner, {})[one.name] = known[one.id].name
            if target is not None:
                mine[one.id] = target
            else:
                open_.setdefault(work.learner, {})[one.id] = plain(one.name)
                spelt.setdefault(plain(one.name), []).append(one)
    classes = list(template)
    enough = ENOUGH if template else 1
    for name, those in sorted(spelt.items()):
        if len(those) < enough:
            continue
        new = max((one.id for one in classes), default=0) + 1
        if new > MAX_CLASS_ID:
            raise InputError(
                f"The learners have more than {MAX_CLASS_ID} classes in all; agree on a list of classes and hand it out."
            )
        shown = _most([one.name for one in those])
        color = _most([one.color for one in those if one.name == shown])
        if color in {one.color for one in classes}:
            color = color_for(shown, classes, new)
        classes.append(LabelClass(new, shown, color))
        by_name[name] = new
    tables, unmatched = {}, {}
    for work in works:
        table = np.zeros(256, np.uint8)
        mine = found[work.learner]
        left = open_.get(work.learner, {})
        mine |= {own: by_name[name] for own, name in left.items() if name in by_name}
        for own, target in mine.items():
            table[own] = target
        tables[work.learner] = table
        if names := tuple(work.names[own] for own, name in left.items() if name not in by_name):
            unmatched[work.learner] = names
    return Legend(tuple(classes), tables, renamed, unmatched)


def _most(values: Sequence[str]) -> str:
    """The most frequent of some values; of several the first in order."""
    counts = Counter(values)
    return min(counts, key=lambda value: (-counts[value], value))

"""Second opinions in a project's validation: who answers which places, what settles where they differ, files handed round.

Nobody sees what another said of a place that is meant for two. Answers of several people come together over one project that all
open, or by files: a sample handed out is the project's validation file without answers, and what comes back is known to be of
the same places by their fingerprint.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, replace
from pathlib import Path

import msgspec
import numpy as np

from tessera_core._utils.atomic import write_json
from tessera_core._utils.percents import percent
from tessera_core.assess.designs import MIN_PER_STRATUM
from tessera_core.assess.interpreters import Agreement, Interpreted, Opinions, agreement, interpret
from tessera_core.errors import InputError, LabelError
from tessera_core.gate import read_json
from tessera_core.project.response import Opinion
from tessera_core.project.validate import Validation, from_json, to_json

SHARE = 0.25


def for_two(current: Validation, share: float = SHARE, seed: int = 0) -> Validation:
    """With a share of the places of each stratum, drawn by chance, meant for two people; at least two of each.

    Args:
        current: with any answers.
        share: 0 to 1; 0 for none.
        seed: of the draw.

    Raises:
        LabelError: the share is none.
    """
    if not 0 <= share <= 1:
        raise LabelError("The share of places that two people answer lies between 0 and 100 %.")
    rng, chosen = np.random.default_rng(seed), set()
    for stratum in np.unique(current.sample.strata) if share else ():
        places = np.flatnonzero(current.sample.strata == stratum)
        n = min(max(round(share * len(places)), MIN_PER_STRATUM), len(places))
        chosen |= set(rng.choice(places, n, replace=False).tolist())
    return replace(current, doubled=frozenset(chosen))


def own(current: Validation, position: int, person: str) -> Opinion | None:
    """What a person said of a place; an answer without a name counts as anybody's."""
    return next((one for one in current.said(position) if one.response.interpreter in (person, "") or not person), None)


def shown_to(current: Validation, position: int, person: str) -> Opinion | None:
    """The answer to a place that a person may see before they have answered: of a place for two only their own.

    Whoever gave no name sees what was said without one.
    """
    told = current.said(position)
    if position not in current.doubled:
        return told[0] if told else None
    return next((one for one in told if one.response.interpreter == person), None)


def needs_name(current: Validation, position: int, person: str) -> bool:
    """Whether an answer without a name would replace that of somebody with one, at a place for two."""
    named = any(one.response.interpreter for one in current.said(position))
    return position in current.doubled and not person and named


def is_done(current: Validation, position: int, person: str) -> bool:
    """Whether a person has nothing to say of a place: they or another answered, or of a place for two, they or two others."""
    told = current.said(position)
    if own(current, position, person) is not None or position in current.final:
        return True
    return len(told) >= (2 if position in current.doubled else 1)


def next_for(current: Validation, person: str, after: int = -1) -> int | None:
    """The first place after ``after``, and then from the start, that a person is to answer; None when all are done."""
    n = len(current.sample)
    return next((k for step in range(n) if not is_done(current, k := (after + 1 + step) % n, person)), None)


def waiting_for(current: Validation, person: str) -> int:
    """Places that a person is to answer still."""
    return sum(not is_done(current, k, person) for k in range(len(current.sample)))


def differing(current: Validation) -> list[int]:
    """Places of which two people say different things, "cannot tell" included, and which nothing has settled."""
    return [
        k
        for k, told in sorted(current.opinions.items())
        if k not in current.final and len({one.class_id for one in told}) > 1
    ]


def people(current: Validation) -> tuple[str, ...]:
    """Who answered, by name; empty for answers without one."""
    told = [one for k in range(len(current.sample)) for one in current.said(k)]
    return tuple(sorted({one.response.interpreter for one in told}))


def opinions_of(current: Validation) -> Opinions:
    """All answers as arrays, for :mod:`tessera_core.assess.interpreters`."""
    names = people(current)
    answers = np.zeros((len(current.sample), len(names)), np.int64)
    settled = np.zeros(len(current.sample), np.int64)
    for k in range(len(current.sample)):
        for one in current.said(k):
            answers[k, names.index(one.response.interpreter)] = one.class_id
    for k, final in current.final.items():
        settled[k] = final.class_id
    return Opinions(answers, settled, names)


def agreed(current: Validation) -> Agreement | None:
    """How far people agree; None where no place has answers of two."""
    found = agreement(opinions_of(current))
    return found if found.places else None


def interpreted(current: Validation) -> Interpreted | None:
    """Areas and accuracies with the interpreters' errors in them; None where no place has two answers, or a stratum none."""
    try:
        return interpret(current.sample.strata, current.sample.mapped, opinions_of(current), current.sample.sizes)
    except LabelError:
        return None


def sentences(current: Validation) -> list[str]:
    """For people, how far they agree and what follows with their errors; empty where no place has two answers."""
    pairs = agreed(current)
    if pairs is None:
        return []
    quantity, allocation = percent(pairs.quantity), percent(pairs.allocation)
    lines = [
        f"Two people or more answered {pairs.places} places; at {pairs.agreed} they said the same. Of the pairs "
        f"{quantity} % differ in how often a class is said, {allocation} % in where."
    ]
    if open_ := differing(current):
        lines.append(f"Not settled: {', '.join(str(k + 1) for k in open_)}. Until then the first answer counts.")
    found = interpreted(current)
    if found is not None:
        overall, low, high = percent(found.overall.value), percent(found.overall.low), percent(found.overall.high)
        lines.append(
            f"With people's errors in it, the map is right at {overall} % of the region (95 % sure: {low} to {high} %)."
        )
    return lines


# ------------------------------------------------------------------ files that are handed round


def fingerprint(current: Validation) -> str:
    """What two files of the same places have in common: SHA-256 of places, strata and what is judged there."""
    sample = current.sample
    arrays = [array.tolist() for array in (sample.rows, sample.cols, sample.strata)]
    sizes = sorted(sample.sizes.items())
    values = [current.year, current.grid.to_json(), sample.design, sizes, current.unit, current.rule, *arrays]
    if current.maps is not None:
        values.append([current.maps.first.title, current.maps.second.title, current.maps.differing])
    return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()


def hand_out(current: Validation, path: str | Path) -> None:
    """Write the places for somebody else to answer, without anybody's answers and without what the map, or two, say."""
    bare = current.blank()
    hidden = np.zeros_like(bare.sample.mapped)
    bare = replace(bare, sample=replace(bare.sample, mapped=hidden))
    if bare.maps is not None:
        bare = replace(bare, maps=msgspec.structs.replace(bare.maps, said=(1,) * len(hidden)))
    write_json(Path(path), to_json(bare))


@dataclass(frozen=True)
class Merged:
    """What came of taking in answers.

    Attributes:
        validation: with them.
        taken: answers that are new, or later than those that were here.
        older: that somebody has given a later answer in place of.
        differing: places of which people now say different things, nothing having settled it.
    """

    validation: Validation
    taken: int
    older: int
    differing: int

    def sentences(self) -> list[str]:
        """For people, what was taken first."""
        lines = [f"Answers taken in: {self.taken}."]
        if self.older:
            lines.append(f"Left out, because the same person has answered later, or the same: {self.older}.")
        if self.differing:
            lines.append(f"Places where people say different things: {self.differing}. Settle them.")
        return lines


def read_handed(path: str | Path) -> Validation:
    """A validation from a file that was handed out and answered.

    Raises:
        LabelError: the file is none.
    """
    path = Path(path)
    try:
        value = read_json(path)
    except InputError as error:
        raise LabelError(
            f"{path.name} holds no places that were handed out; take the file that was saved here."
        ) from error
    return from_json(value, path)


def merged(mine: Validation, theirs: Validation) -> Merged:
    """Take in the answers of others to the same places; where people differ, all they said is kept.

    Raises:
        LabelError: the places are others.
    """
    if fingerprint(mine) != fingerprint(theirs):
        raise LabelError(
            "These answers are of other places than this sample's; hand out this sample, and take in what comes back of it."
        )
    known, taken, older = mine, 0, 0
    for k in range(len(theirs.sample)):
        for one in theirs.said(k):
            name = one.response.interpreter
            before = next((o for o in known.said(k) if o.response.interpreter == name), None)
            if before is not None and (before.response.at >= one.response.at):
                older += 1
                continue
            known, taken = known.answer(k, one.class_id, response=one.response), taken + 1
    for k, final in theirs.final.items():
        here = known.final.get(k)
        if here is None or here.response.at < final.response.at:
            known = known.settle(k, final)
    known = replace(known, doubled=known.doubled | theirs.doubled)
    return Merged(known, taken, older, len(differing(known)))

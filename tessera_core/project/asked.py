"""What is settled of a sample before it is answered, so that the answers cannot choose it."""

from __future__ import annotations

from typing import Annotated

import msgspec

from tessera_core._utils.percents import percent as whole_percent

Share = Annotated[float, msgspec.Meta(gt=0, lt=0.5)]
Count = Annotated[int, msgspec.Meta(ge=0)]
Text = Annotated[str, msgspec.Meta(max_length=200)]


class Promise(msgspec.Struct, frozen=True, kw_only=True):
    """What a certified part is to promise.

    Attributes:
        most_wrong: share of it that may be wrong.
        risk: how often, over many samples, it may be wrong in more than that.
        after: places that had been looked at when this was chosen; 0 where it was chosen before, as it has to be.
    """

    most_wrong: Share = 0.1
    risk: Share = 0.05
    after: Count = 0


class ComparedMap(msgspec.Struct, frozen=True, kw_only=True):
    """One of two maps.

    Attributes:
        title: by which people know it.
        source: ``"year"`` of the project, ``"head"`` or ``"file"``.
        silent: pixels where it says nothing, and the other does.
        left_out: its classes without a counterpart among the project's -> pixels.
        lacks: the project's classes that it names nowhere, and the other does.
        taught: places that taught this map alone, where two maps have labels of their own; unset where none did.
    """

    title: Text
    source: Annotated[str, msgspec.Meta(pattern=r"\A(year|head|file)\Z")]
    silent: Count = 0
    left_out: dict[Text, Count] = {}
    lacks: tuple[Text, ...] = ()
    taught: Count | msgspec.UnsetType = msgspec.UNSET


class TwoMaps(msgspec.Struct, frozen=True, kw_only=True):
    """Two maps, of which places where they differ are to tell the better one.

    Attributes:
        first, second: the maps; the sample has as ``mapped`` what the first says.
        said: class of the second at each place.
        same: classes that count as one -> the one that stands for them, where a map does not tell them apart.
        compared, differing: pixels in which both name a class, and of these, not the same.
        risk: how often one may be called better though none is.
        planned: whether the number of places was settled beforehand: no verdict before all are answered, and a sharper one then.
        taught: places that lay on labels of the project when they were drawn; unset where none did.
    """

    first: ComparedMap
    second: ComparedMap
    said: tuple[Annotated[int, msgspec.Meta(ge=1, le=254)], ...]
    same: dict[int, int]
    compared: Annotated[int, msgspec.Meta(ge=1)]
    differing: Annotated[int, msgspec.Meta(ge=1)]
    risk: Share = 0.05
    planned: bool = False
    taught: Count | msgspec.UnsetType = msgspec.UNSET

    @property
    def share(self) -> float:
        """Share of what both map in which they differ, 0 to 1."""
        return self.differing / self.compared


def percent(share: float) -> str:
    """A share in percent for a sentence, without the sign: whole percents, and two digits below ten.

    Example:
        >>> percent(0.25), percent(0.025), percent(0.997)
        ('25', '2.5', '99.7')
    """
    return whole_percent(share) if share >= 0.1 else f"{100 * share:.2g}"

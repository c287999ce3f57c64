"""What became of a file of labels or places, for people and for programs: one report whatever the format.

Every feature that was read is either used or counted under one reason for leaving it out; what was understood of the file
(class field, coordinate system, encoding, layer, no data) says where it came from.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from dataclasses import field as made
from typing import Any

from tessera_core.errors import LabelError
from tessera_core.types import BBox

OUTSIDE = "outside the region"
_EXAMPLES = 3
_NAMES = 12


@dataclass
class Conflicts:
    """Labels that other labels of the same file take pixels from; later ones cover earlier ones.

    Attributes:
        covered: class name -> labels that kept not one pixel.
        contradicting: labels of which at least one pixel belongs to a later label of another class.
        without_pixels: classes of the file that have no pixel at all in the end.
        unplaced: labels that cover no pixel of the region even by themselves.
    """

    covered: Counter[str] = made(default_factory=Counter)
    contradicting: int = 0
    without_pixels: list[str] = made(default_factory=list)
    unplaced: int = 0

    def sentences(self) -> list[str]:
        """What is to be told; nothing where no label takes from another."""
        told = []
        if total := self.covered.total():
            names = ", ".join(f"{name} {count}" for name, count in self.covered.most_common(_NAMES))
            covered = "label of the file is" if total == 1 else "labels of the file are"
            told.append(f"{total} {covered} covered by later ones on the same pixels ({names}).")
        if self.contradicting:
            subject = "label contradicts" if self.contradicting == 1 else "labels contradict"
            told.append(
                f"{self.contradicting} {subject} a later one, which is of another class on the same pixel; the later one counts."
            )
        if self.unplaced:
            told.append(f"{self.unplaced} labels touch the region but cover no pixel of it.")
        if self.without_pixels:
            several = len(self.without_pixels) > 1
            names = ", ".join(repr(name) for name in self.without_pixels[:_NAMES])
            told.append(
                f"The {'classes' if several else 'class'} {names} {'have' if several else 'has'} no pixel in the end and "
                f"{'are' if several else 'is'} not learnt."
            )
        return told


@dataclass
class ImportReport:
    """What happened to a file, for people.

    Attributes:
        read: features in the file (rows, placemarks, pixels of a raster).
        labels: labels made of them; more than ``used`` where features have several parts.
        used: features that became labels; ``read == used + left_out.total()``.
        field: attribute that is the class or the number, or empty; ``field_why`` says how it was found.
        crs: coordinate system of the file's coordinates, or empty; ``crs_from`` says who says so.
        encoding: of the file's text, or empty; ``encoding_why`` says how it was found.
        layers: layers that were read, ``layers_left`` those that were not; empty for formats without layers.
        nodata: what the file declares as no data, or empty.
        notes: how the file was understood, in sentences.
        repair_counts: what was repaired -> how often.
        left_out: why features were left out -> how many.
        examples: why -> the first few features it happened to.
        conflicts: labels that cover each other.
        elsewhere: (west, south, east, north) in degrees of most of what lies outside the region; None where all is inside, or
            its place is not known.
    """

    read: int = 0
    labels: int = 0
    used: int = 0
    field: str = ""
    field_why: str = ""
    crs: str = ""
    crs_from: str = ""
    encoding: str = ""
    encoding_why: str = ""
    layers: list[str] = made(default_factory=list)
    layers_left: list[str] = made(default_factory=list)
    nodata: str = ""
    notes: list[str] = made(default_factory=list)
    repair_counts: Counter[str] = made(default_factory=Counter)
    left_out: Counter[str] = made(default_factory=Counter)
    examples: dict[str, list[str]] = made(default_factory=dict)
    conflicts: Conflicts = made(default_factory=Conflicts)
    elsewhere: BBox | None = None

    def leave_out(self, why: str, where: str = "", count: int = 1) -> None:
        """Count features that are left out, and remember where the first few are."""
        self.left_out[why] += count
        known = self.examples.setdefault(why, [])
        if where and len(known) < _EXAMPLES:
            known.append(where)

    def with_others(self, others: Sequence[ImportReport]) -> ImportReport:
        """The same file read for several regions: what lies in one of them is not outside.

        Args:
            others: of the other regions.
        """
        left = Counter({why: count for why, count in self.left_out.items() if why != OUTSIDE})
        inside = self.read - left.total()
        # What lies in two of them is used twice, and was read once.
        used = min(self.used + sum(other.used for other in others), inside)
        outside = +Counter({OUTSIDE: inside - used})
        return replace(
            self,
            labels=self.labels + sum(other.labels for other in others),
            used=used,
            left_out=left + outside,
            examples={why: few for why, few in self.examples.items() if why != OUTSIDE or outside},
            elsewhere=self.elsewhere if outside else None,
        )

    @property
    def outside(self) -> int:
        """Features left out because they lie outside the region."""
        return self.left_out[OUTSIDE]

    @property
    def repaired(self) -> list[str]:
        """What was repaired, with counts."""
        return [f"{count} {what}" for what, count in self.repair_counts.most_common()]

    @property
    def skipped(self) -> list[str]:
        """What was left out and why, with counts."""
        return [f"{count} skipped: {why}" for why, count in self.left_out.most_common() if count]

    def nothing_left(self, name: str) -> LabelError:
        """The error to raise where not one label of the file ``name`` can be used; it says what became of them."""
        if self.outside == self.read or not self.left_out.total():
            said = (
                f" Its coordinates are in {self.crs}, by {self.crs_from}."
                if self.crs and self.crs_from != "guessed"
                else ""
            )
            where = ""
            if self.elsewhere is not None:
                west, south, east, north = self.elsewhere
                where = f" They lie about longitude {(west + east) / 2:.4f}, latitude {(south + north) / 2:.4f}."
            return LabelError(
                f"Not one label of {name} lies on the embeddings; check the region and the CRS.{where}{said}"
            )
        return LabelError(f"Not one label of {name} can be used: {self.summary()}")

    def summary(self) -> str:
        """One sentence."""
        text = f"{self.read} features read, {self.labels} labels made"
        return f"{text}; {'; '.join(self.skipped)}." if self.skipped else f"{text}."

    def to_json(self) -> dict[str, Any]:
        """JSON object: facts, sentences on them, and ``text``, the lines to show."""
        return {
            "read": self.read,
            "used": self.used,
            "labels": self.labels,
            "outside": self.outside,
            "elsewhere": None if self.elsewhere is None else list(self.elsewhere),
            "field": self.field or None,
            "field_why": self.field_why or None,
            "crs": self.crs or None,
            "crs_from": self.crs_from or None,
            "encoding": self.encoding or None,
            "encoding_why": self.encoding_why or None,
            "layers": self.layers,
            "layers_left": self.layers_left,
            "nodata": self.nodata or None,
            "notes": self.notes,
            "repaired": self.repaired,
            # What scripts of version 0.2 read.
            "mended": self.repaired,
            "skipped": self.skipped,
            "left_out": [
                {"reason": why, "count": count, "examples": self.examples.get(why, [])}
                for why, count in self.left_out.most_common()
                if count
            ],
            "conflicts": {
                "covered": dict(self.conflicts.covered.most_common()),
                "contradicting": self.conflicts.contradicting,
                "without_pixels": self.conflicts.without_pixels,
                "unplaced": self.conflicts.unplaced,
            },
            "text": [self.summary(), *self.sentences()],
        }

    def sentences(self) -> list[str]:
        """Everything beside the summary that people should know, a sentence each."""
        told = [*self.conflicts.sentences()]
        if self.labels > self.used > 0:
            told.append(f"{self.used} features have {self.labels} parts, each a label.")
        told += [f"{line}." for line in self.repaired]
        told += [line if line.endswith(".") else f"{line}." for line in self.notes]
        for why, where in self.examples.items():
            if where and self.left_out[why]:
                told.append(f"Left out ({why}), first: {', '.join(where)}.")
        if self.crs == "EPSG:4326" and self.crs_from == "guessed":
            told.append(
                "The file does not say its coordinate system; its numbers were taken as longitude and latitude."
            )
        elif self.crs and self.crs_from != "guessed":
            told.append(f"Coordinates are in {self.crs}, by {self.crs_from}.")
        if self.encoding_why:
            told.append(f"The text is {self.encoding}: {self.encoding_why}.")
        return told


def told(result: Mapping[str, Any]) -> list[str]:
    """The lines on the file of labels in a command's result; none where it read no such file."""
    return [str(line) for line in (result.get("import") or {}).get("text", [])]

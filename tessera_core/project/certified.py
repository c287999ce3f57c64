"""The certified part of a project's map: where it is most confident, wrong at most as often as was asked, by the places people saw.

It needs a sample that was answered to its end, of the map that stands: then the parts that are tested, from the most confident
downwards, and their order were fixed before the answers (:mod:`tessera_core.assess.certified`). A place that nobody could tell
counts as wrong here, so that what is promised holds whatever is there.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tessera_core.areas import class_pixels, hectares_per_pixel
from tessera_core.assess.certified import CERTIFIED, NOT_CERTIFIED, Certified, band, certify
from tessera_core.errors import LabelError
from tessera_core.export.geotiff import write_class_map
from tessera_core.labels.model import LabelClass
from tessera_core.language import later
from tessera_core.project.asked import Promise, percent
from tessera_core.project.validate import Pixels, Validation, taught_places
from tessera_core.provenance import Provenance
from tessera_core.types import Bools, Bytes

# How many times as many places are tried where nothing can be certified.
TIMES = (1.5, 2.0, 3.0, 4.0, 6.0, 8.0)
# What the values of the band are, with colours that people without colour vision tell apart by lightness.
BAND = (
    LabelClass(CERTIFIED, later("certified"), "#0f766e"),
    LabelClass(NOT_CERTIFIED, later("not certified"), "#cfc8bf"),
)


@dataclass(frozen=True)
class CertifiedPart:
    """What can be promised of a map.

    Attributes:
        asked: what was to be promised.
        found: the part; None where nothing can be said yet, or of this map.
        open: places that nobody has looked at.
        moved: whether the map is another one than that from which the places were drawn.
        pixels: of the part.
        hectares: of it; None where the map has no place on Earth.
        taught: places that also taught the map; None where that is not known, as of a head that was saved earlier.
        of: places of the sample.
        more: further places after which something would likely be certified, were the answers as they are; None where 8 times as
            many would not do, or something is certified.
    """

    asked: Promise
    found: Certified | None = None
    open: int = 0
    moved: bool = False
    pixels: int = 0
    hectares: float | None = None
    more: int | None = None
    taught: int | None = 0
    of: int = 0

    @property
    def any(self) -> bool:
        """Whether some of the map is certified."""
        return self.found is not None and self.found.share > 0

    def sentences(self) -> list[str]:
        """For people, the promise first."""
        return [*self._promised(), *self.taught_sentences()]

    def taught_sentences(self) -> list[str]:
        """What places that also taught the map do to the promise; nothing where none is made."""
        if self.taught == 0 or not self.any:
            return []
        if self.taught is None:
            return [
                "Which places taught the map is not known: its head was saved earlier. As it may be right there more often than "
                "elsewhere, the promise may not hold."
            ]
        return [
            f"{self.taught} of {self.of} places also taught the map; as it may be right there more often than elsewhere, the "
            "promise may not hold."
        ]

    def _promised(self) -> list[str]:
        wrong, risk = percent(self.asked.most_wrong), percent(self.asked.risk)
        if self.open:
            return [
                f"Which part of the map is certified to be wrong at most {wrong} % (risk {risk} %) is told when all places are "
                f"looked at; to go: {self.open}."
            ]
        if self.found is None:
            return [
                "Nothing of the map is certified: it is another one than that from which the places were drawn. Draw new places "
                "from the map as it is now."
            ]
        if not self.any:
            lines = [
                f"Nothing of the map can be certified to be wrong at most {wrong} % (risk {risk} %): even where it is most "
                "confident, too many places were wrong or too few were looked at."
            ]
            lines.append(
                "Eight times as many places would likely not change that; allow a larger share, or make a better map."
                if self.more is None
                else f"A sample with about {self.more} more places would likely do, were the map right as often there."
            )
        else:
            share, found = percent(self.found.share), self.found
            lines = [
                f"Certified to be wrong at most {wrong} % (risk {risk} %): {share} % of the map, where it is most confident. Of "
                f"{found.places} places there {found.wrong} {'was' if found.wrong == 1 else 'were'} wrong. The rest is not "
                "certified."
                if self.hectares is None
                else f"Certified to be wrong at most {wrong} % (risk {risk} %): the whole map. Of {found.places} places "
                f"{found.wrong} {'was' if found.wrong == 1 else 'were'} wrong."
                if found.share == 1
                else f"Certified to be wrong at most {wrong} % (risk {risk} %): {share} % of the map ({self.hectares:,.1f} ha), "
                f"where it is most confident. Of {found.places} places there {found.wrong} "
                f"{'was' if found.wrong == 1 else 'were'} wrong. The rest is not certified."
            ]
        if self.asked.after:
            lines.append(
                f"This was asked for after {self.asked.after} places had been looked at. Who tries several shares and keeps the "
                "one that pleases runs a larger risk."
            )
        return lines


def certified_part(
    current: Validation, classes: NDArray[np.uint8], confidence: NDArray[np.uint8], labelled: Pixels | None
) -> CertifiedPart:
    """The certified part of a map.

    Args:
        current: on this map (:meth:`~tessera_core.project.validate.Validation.on_map`).
        classes: uint8 (H, W), 0 = no data.
        confidence: uint8 (H, W) percent, 255 = no data.
        labelled: pixels that taught the map; None where that is not known.

    Raises:
        LabelError: the map has another shape than that of the sample, or is empty.
    """
    sample, asked = current.sample, current.promise
    if classes.shape != current.grid.shape or confidence.shape != classes.shape:
        raise LabelError("The map has another shape than the one from which the sample was drawn; draw a new sample.")
    if open_ := len(sample) - current.seen:
        return CertifiedPart(asked, open=open_)
    covered = _covered(classes, confidence)
    if not _is_drawn_from(current, classes):
        return CertifiedPart(asked, moved=True)
    everywhere = confidence[covered]
    strata = None
    if sample.design == "stratified":
        strata = sample.strata, classes[covered]
    sure, wrong = confidence[sample.rows, sample.cols], sample.reference != sample.mapped
    found = certify(sure, wrong, everywhere, asked.most_wrong, asked.risk, strata)
    taught = taught_places(labelled, current)
    if not found.share:
        return CertifiedPart(asked, found, more=_more(current, classes, confidence), taught=taught, of=len(sample))
    pixels = int((everywhere >= found.threshold).sum())
    hectares = pixels * hectares_per_pixel(current.grid) if current.grid.georeferenced else None
    return CertifiedPart(asked, found, pixels=pixels, hectares=hectares, taught=taught, of=len(sample))


def _covered(classes: NDArray[np.uint8], confidence: NDArray[np.uint8]) -> Bools:
    covered: Bools = (classes > 0) & (confidence <= 100)
    return covered


def _is_drawn_from(current: Validation, classes: NDArray[np.uint8]) -> bool:
    """Whether the places were drawn from this map: its strata are then known at every pixel."""
    sample = current.sample
    if sample.design != "stratified":
        return sum(sample.sizes.values()) == int((classes > 0).sum())
    return class_pixels(classes) == sample.sizes and bool((classes[sample.rows, sample.cols] == sample.strata).all())


def _more(current: Validation, classes: NDArray[np.uint8], confidence: NDArray[np.uint8]) -> int | None:
    """Further places after which, were the answers as they are, something would be certified."""
    sample, covered, asked = current.sample, _covered(classes, confidence), current.promise
    everywhere, n = confidence[covered], len(sample)
    for times in TIMES:
        # Every place as often, in the order of the places: those asked first once more where it is no whole number.
        again = np.resize(np.arange(n), int(np.ceil(times * n)))
        wrong = (sample.reference != sample.mapped)[again]
        strata = (sample.strata[again], classes[covered]) if sample.design == "stratified" else None
        sure = confidence[sample.rows, sample.cols][again]
        if certify(sure, wrong, everywhere, asked.most_wrong, asked.risk, strata).share:
            return len(again) - n
    return None


def certified_band(part: CertifiedPart, classes: NDArray[np.uint8], confidence: NDArray[np.uint8]) -> Bytes:
    """The part as a band, uint8 (H, W): 1 certified, 2 not certified, 0 where the map says nothing.

    Raises:
        LabelError: it is not known yet which part is certified; the message says why.
    """
    if part.found is None:
        raise LabelError(part.sentences()[0])
    return band(confidence, _covered(classes, confidence), part.found)


def write_certified(
    path: str | Path,
    part: CertifiedPart,
    classes: NDArray[np.uint8],
    confidence: NDArray[np.uint8],
    current: Validation,
    provenance: Provenance,
) -> Path:
    """The part as a GeoTIFF that opens named and coloured, with what is promised of it in its tags.

    Args:
        path: of the file; ``.tif`` is added where it has no such ending.
        part, classes, confidence: as for :func:`certified_band`.
        current: whose grid it is.
        provenance: of the embeddings.

    Raises:
        LabelError: it is not known yet which part is certified.
        ExportError: the file cannot be written.
    """
    values, asked = certified_band(part, classes, confidence), part.asked
    tags = {"tessera_most_wrong": f"{asked.most_wrong:.6g}", "tessera_risk": f"{asked.risk:.6g}"}
    tags["tessera_certified"] = " ".join((part.sentences()[0], *part.taught_sentences()))
    return write_class_map(path, values, None, current.grid, BAND, provenance, tags=tags)


def asked_for(current: Validation, most_wrong: float, risk: float) -> Validation:
    """With another promise to be made; it is noted how many places had been looked at by then.

    Raises:
        LabelError: a share that is none.
    """
    if not 0 < most_wrong < 0.5 or not 0 < risk < 0.5:
        raise LabelError("The share that may be wrong and the risk lie between 0 and 50 %.")
    if (most_wrong, risk) == (current.promise.most_wrong, current.promise.risk):
        return current
    return replace(current, promise=Promise(most_wrong=most_wrong, risk=risk, after=current.seen))

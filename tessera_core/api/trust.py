"""Two maps compared, one checked by a sample, and its certified part, at the front door."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from tessera_core.api.arguments import checked

if TYPE_CHECKING:
    from tessera_core.assess.area import Assessment
    from tessera_core.project.certified import CertifiedPart
    from tessera_core.project.maps import MappedClasses
    from tessera_core.project.two_maps import MapComparison
    from tessera_core.project.validate import Validation


@checked
def compare_maps(
    first: MappedClasses,
    second: MappedClasses | str | os.PathLike[str],
    legend: Sequence[tuple[str, str]] | None = None,
) -> MapComparison:
    """Where two maps differ, how many places it takes to tell which is better, these places, and the verdict.

    Args:
        first: of :func:`map_classes`; its classes are those of the comparison.
        second: another, or a GeoTIFF of classes on any grid, laid over by nearest neighbour.
        legend: (name or code of a class of the file, name of a class of ``first``), again for several; None goes by names. What has
            no counterpart is left out and counted.

    Returns:
        ``share`` that differs, ``sentences()``, ``plan()``, ``places()`` as a sample to answer, and of that its ``verdict()``,
        which ``told()`` says in words, with what is known of places that taught the maps.

    Raises:
        LabelError: the maps have different shapes, the file cannot be read, or the legend names what is not there.

    Example:
        >>> other = tessera.map_classes(tessera.open(region.embeddings[2023]), labels, "ridge", calibrated=False)
        >>> compared = tessera.compare_maps(made, other)
        >>> 0 < compared.share < 0.5, compared.plan().settled
        (True, 83)
        >>> places = compared.places(10)
        >>> for k, (row, col) in enumerate(zip(places.sample.rows, places.sample.cols)):
        ...     places = places.answer(k, int(made.classes[row, col]))
        >>> compared.verdict(places).better
        1
    """
    from tessera_core.project import two_maps
    from tessera_core.project.maps import MappedClasses

    def of(one: MappedClasses, title: str) -> two_maps.NamedMap:
        return two_maps.NamedMap(title, "year", one.classes, one.names, {})

    if isinstance(second, MappedClasses):
        other, other_labels = of(second, "second"), second.labels
    else:
        other, other_labels = two_maps.file_map(Path(second), first.grid), None
    pair = two_maps.paired(of(first, "first"), other, first.names, legend)
    return two_maps.MapComparison(pair, first.grid, (first.labels, other_labels))


@checked
def validate(map: MappedClasses, sample: str | os.PathLike[str]) -> Assessment:
    """Accuracy and areas of a map by a sample drawn by chance, the same numbers as in the app.

    Args:
        map: of :func:`map_classes`; the answers judge it, whatever map the places were drawn from.
        sample: CSV of a validation sample with its answers; places without one are left out, and counted in the notes.

    Returns:
        ``overall`` accuracy and ``classes``, each with ``area`` (hectares; pixels where the map has no place on Earth), ``users``
        and ``producers`` accuracy as ``value``, ``low``, ``high`` and ``se``; ``notes``, and ``sentences(map.names)``.

    Raises:
        LabelError: the sample cannot be read, belongs to another map, or a stratum has no answer yet.

    Example:
        >>> from tessera_core.assess.designs import draw, write_csv
        >>> sample = draw(made.classes, 60, "random")
        >>> for k in range(60):
        ...     sample = sample.answer(k, int(sample.mapped[k]))
        >>> write_csv("checked.csv", sample, made.grid, made.names)
        >>> found = tessera.validate(made, "checked.csv")
        >>> f"{found.n} places: {found.overall.value:.2f} ({found.overall.low:.2f} to {found.overall.high:.2f})"
        '60 places: 1.00 (0.94 to 1.00)'
    """
    from tessera_core.project.validate import taught_notes, taught_places

    current = _read(map, sample)
    found = current.assess()
    return replace(found, notes=(*found.notes, *taught_notes(taught_places(map.labels, current), len(current.sample))))


def _read(map: MappedClasses, sample: str | os.PathLike[str]) -> Validation:
    """The answers of a file, on a map."""
    from tessera_core.errors import LabelError
    from tessera_core.labels.text import read_text
    from tessera_core.project.validate import read_sample

    text = read_text(Path(sample), None, LabelError).text
    return read_sample(text, map.grid, map.names).on_map(map.classes)


@checked
def certify(
    map: MappedClasses,
    sample: str | os.PathLike[str],
    *,
    most_wrong: float = 0.1,
    risk: float = 0.05,
    out: str | os.PathLike[str] | None = None,
) -> CertifiedPart:
    """The most confident part of a map that is wrong at most a share, with a risk, by a sample that was answered to its end.

    Args:
        map: of :func:`map_classes`.
        sample: CSV of a validation sample drawn from this very map, with its answers.
        most_wrong: share of the part that may be wrong; chosen before the answers are seen.
        risk: how often, over many samples, more of it is.
        out: write the part here, too, as a GeoTIFF: 1 certified, 2 not certified, 0 no data.

    Returns:
        ``found.share`` of the map, ``pixels``, ``hectares``, ``sentences()``; ``any`` is False where nothing can be certified.

    Raises:
        LabelError: the sample cannot be read, or belongs to another map.

    Example:
        >>> from tessera_core.assess.designs import draw, write_csv
        >>> sample = draw(made.classes, 90, "random")
        >>> for k in range(90):
        ...     sample = sample.answer(k, int(sample.mapped[k]))
        >>> write_csv("sample.csv", sample, made.grid, made.names)
        >>> tessera.certify(made, "sample.csv").found.share
        1.0
    """
    from tessera_core.project.asked import Promise
    from tessera_core.project.certified import asked_for, certified_part, write_certified

    current = _read(map, sample)
    asked_for(current, most_wrong, risk)
    current = replace(current, promise=Promise(most_wrong=most_wrong, risk=risk))
    part = certified_part(current, map.classes, map.confidence, map.labels)
    if out is not None:
        write_certified(Path(out), part, map.classes, map.confidence, current, map.provenance)
    return part

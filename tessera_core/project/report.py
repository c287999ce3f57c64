"""A project's map as a report: every number of it, each computed by the function that the pages call."""

from __future__ import annotations

import datetime as dt
import hashlib
import json
import math
from collections import Counter
from collections.abc import Iterable

import msgspec
import numpy as np

from tessera_core.areas import hectares_per_pixel, square_kilometres
from tessera_core.assess.area import AreaEstimate, ClassEstimate
from tessera_core.assess.by_depth import accuracy_by_depth
from tessera_core.assess.nonresponse import WorstCase, worst_case
from tessera_core.assess.two_maps import difference
from tessera_core.errors import LabelError, ProjectError
from tessera_core.export.product import Product
from tessera_core.export.report import model
from tessera_core.grid import Grid
from tessera_core.labels.sampling import label_pixels
from tessera_core.language import current
from tessera_core.project import second, stopping, two_maps, validate
from tessera_core.project.certified import CertifiedPart, certified_part
from tessera_core.project.project import Project
from tessera_core.project.validate import Validation
from tessera_core.provenance import SOFTWARE


def project_report(
    project: Project,
    product: Product,
    year: int | None,
    *,
    today: dt.date | None = None,
    photo: bool = False,
    learner: model.Learner | None = None,
) -> model.Report:
    """The report of a project's map.

    Args:
        project: whose map it is.
        product: of :func:`tessera_core.project.classify.project_product`, with its score.
        year: of the project that was mapped.
        today: the day that it bears.
        photo: whether its picture shows the classes over a photograph.
        learner: for a record of a learner's work.
    """
    damaged, checked = "", None
    try:
        saved = validate.load(project, year)
    except ProjectError as error:
        damaged = str(error)
    else:
        checked = None if saved is None else _validation(project, product, saved)
    compared: model.ComparedMaps | msgspec.UnsetType = msgspec.UNSET
    try:
        pair = validate.load(project, year, two_maps=True)
    except ProjectError as error:
        damaged = damaged or str(error)
    else:
        compared = msgspec.UNSET if pair is None else _two_maps(project, product, pair)
    provenance = product.provenance
    return model.Report(
        format=model.FORMAT,
        project=project.name,
        project_id=project.origin,
        year=year,
        made_on=(today or dt.date.today()).isoformat(),
        software=SOFTWARE,
        simulated=product.simulated,
        ground=_ground(product),
        source=model.Source(
            dataset=provenance.dataset,
            title=provenance.title,
            origin=provenance.origin,
            year=provenance.year,
            source=provenance.source,
            checksum=provenance.checksum,
            software=provenance.software,
            head=product.head,
            temperature=product.temperature,
            warnings=tuple(str(text) for text in provenance.details.get("warnings", [])),
            seen=_seen(product),
        ),
        labels=_labels(project, product),
        classes=tuple(
            model.MappedClass(
                id=area.klass.id,
                name=area.klass.name,
                colour=area.klass.color,
                pixels=area.pixels,
                share=area.share,
                hectares=area.hectares,
                labels=area.labels,
            )
            for area in product.areas()
        ),
        confidence=_confidence(product),
        score=_score(product),
        validation=checked,
        damaged=damaged,
        two_maps=compared,
        learner=learner,
        language=current(),
        photo=photo,
    )


def _seen(product: Product) -> tuple[str, ...] | msgspec.UnsetType:
    """How often the region was seen, and what was left out for that."""
    told = product.depth.sentences if product.depth is not None else ()
    told = (*told, product.left_out) if product.left_out else told
    return told or msgspec.UNSET


def _ground(product: Product) -> model.Ground:
    grid = product.grid
    placed = grid.georeferenced
    return model.Ground(
        height=grid.height,
        width=grid.width,
        crs=_crs(grid),
        bounds=grid.bounds_lonlat if placed else None,
        pixel_ha=hectares_per_pixel(grid) if placed else None,
        km2=square_kilometres(grid) if placed else None,
        empty=int(np.count_nonzero(product.classes == 0)),
        map_sha256=hashlib.sha256(np.ascontiguousarray(product.classes).tobytes()).hexdigest(),
    )


def _crs(grid: Grid) -> str:
    crs = grid.crs or ""
    if len(crs) < 20:
        return crs
    from pyproj import CRS

    return str(CRS.from_user_input(crs).name)


def _labels(project: Project, product: Product) -> model.Labels:
    labels = project.log.labels
    kinds = sorted({label.kind for label in labels})
    text = json.dumps([label.to_json() for label in labels], sort_keys=True, separators=(",", ":"))
    return model.Labels(
        count=len(labels),
        by_kind={kind: sum(label.kind == kind for label in labels) for kind in kinds},
        sha256=hashlib.sha256(text.encode()).hexdigest(),
        mind=tuple(product.card),
    )


def _confidence(product: Product) -> model.Confidence | None:
    valid = product.confidence[product.confidence <= 100]
    if not valid.size:
        return None
    return model.Confidence(median=int(np.median(valid)), below_half=float(np.mean(valid < 50)))


def _score(product: Product) -> model.Score | None:
    score = product.score
    if not score:
        return None
    low, high = score["interval"] or (None, None)
    return model.Score(
        accuracy=score["accuracy"],
        low=low,
        high=high,
        labels=score["n_labels"],
        places=score["n_places"],
        sentences=tuple(score["sentences"]),
        gap=score["gap"],
    )


# ------------------------------------------------------------------ what was checked


def _validation(project: Project, product: Product, saved: Validation) -> model.Validation | None:
    """What a saved sample says of a map; None where the map has another shape."""
    try:
        current = saved.on_map(product.classes)
    except LabelError:
        return None
    try:
        found = current.assess()
    except LabelError:
        # A stratum has no answered place yet, so nothing can be estimated.
        found = None
    sample, names = current.sample, {c.id: c.name for c in project.log.classes}
    undecided = np.zeros(len(sample), bool)
    undecided[sorted(current.undecided)] = True
    decided = sample.reference > 0
    placed = current.grid.georeferenced
    strata = tuple(
        model.Stratum(
            id=k,
            name=names.get(k, str(k)) if sample.design == "stratified" else "",
            pixels=size,
            places=int((sample.strata == k).sum()),
            answered=int((decided & (sample.strata == k)).sum()),
            cannot_tell=int((undecided & (sample.strata == k)).sum()),
        )
        for k, size in sample.sizes.items()
    )
    said = model.Validation(
        design=sample.design,
        places=len(sample),
        answered=sample.answered,
        strata=strata,
        deviations=model.Deviations(
            open=len(sample) - current.seen,
            cannot_tell=len(current.undecided),
            earlier_samples=validate.earlier(project, saved.year),
            moved=int((saved.sample.mapped != sample.mapped).sum()),
            labelled=int(validate.taught(project, current).sum()),
            taught=tuple(validate.taught_sentences(project, current)),
        ),
        unit=validate.unit_of(current),
        total=current.area_ha if placed else float(sum(sample.sizes.values())),
        sha256=validate.fingerprint(current),
        place=current.unit,
        rule=current.rule,
        answers=_answers(current),
        interpreters=_interpreters(current, names),
    )
    if found is None:
        return said
    parts = accuracy_by_depth(sample, product.times_seen, product.classes > 0)
    worst = worst_case(sample, current.undecided) if current.undecided else None
    labelled = label_pixels(project.log.labels, current.grid)
    return msgspec.structs.replace(
        said,
        overall=estimate(found.overall),
        worst=None if worst is None else worst.overall,
        classes=tuple(checked_class(one, found.total_area, names, worst) for one in found.classes),
        ids=found.ids,
        counts=tuple(tuple(row) for row in found.counts.tolist()),
        notes=(*(part.sentence for part in parts), *found.notes, *stopping.sure_sentences(current)),
        certified=_certified(certified_part(current, product.classes, product.confidence, labelled)),
    )


def _certified(part: CertifiedPart) -> model.Certified:
    found, asked = part.found, part.asked
    said = model.Certified(
        most_wrong=asked.most_wrong, risk=asked.risk, after=asked.after, sentences=tuple(part.sentences())
    )
    if found is None or not found.share:
        return said
    return msgspec.structs.replace(
        said,
        confidence=float(found.threshold),
        share=found.share,
        pixels=part.pixels,
        hectares=part.hectares,
        places=found.places,
        wrong=found.wrong,
    )


def _two_maps(project: Project, product: Product, current: Validation) -> model.ComparedMaps:
    """What a saved comparison says; how much the maps differ in is counted again where they are at hand."""
    maps, sample = current.maps, current.sample
    assert maps is not None
    kept, found = two_maps.kept_maps(project, current), two_maps.verdict(current)
    differing, compared = maps.differing, maps.compared
    if kept is not None:
        again = difference(kept[0], kept[1])
        differing, compared = int(again.where.sum()), again.compared
    here = product.classes.shape == current.grid.shape
    said = model.ComparedMaps(
        first=maps.first.title,
        second=maps.second.title,
        compared=compared,
        differing=differing,
        left_out={one.title: one.left_out for one in (maps.first, maps.second) if one.left_out},
        places=len(sample),
        answered=sample.answered,
        cannot_tell=len(current.undecided),
        open=len(sample) - current.seen,
        planned=maps.planned,
        risk=maps.risk,
        earlier_samples=validate.earlier(project, current.year, two_maps=True),
        moved=two_maps.differing_now(current, product.classes) if here and maps.first.source == "year" else 0,
        sentences=(
            *two_maps.sentences(current),
            *validate.taught_sentences(project, current),
            *two_maps.left_out_sentences(current),
        ),
        answers=_answers(current),
        sha256=validate.fingerprint(current),
    )
    if found is None:
        return said
    return msgspec.structs.replace(
        said,
        first_right=found.first,
        second_right=found.second,
        neither=found.neither,
        p=found.p,
        better=found.better,
        low=found.low,
        high=found.high,
    )


def _answers(current: Validation) -> model.Answers:
    responses = current.responses
    decided = [responses.get(k) for k in np.flatnonzero(current.sample.reference > 0).tolist()]
    # Of every person, also where what was settled counts instead.
    given = [one.response for k in range(len(current.sample)) for one in current.said(k)]
    days = sorted(one.at[:10] for one in given if one.at)
    dates = sorted(one.evidence_date for one in given if one.evidence_date)
    return model.Answers(
        confidence=_counted("not said" if one is None or not one.confidence else one.confidence for one in decided),
        reasons=_counted(responses[k].reason for k in sorted(current.undecided) if k in responses),
        evidence=_counted(one.evidence for one in given),
        evidence_dates=(dates[0], dates[-1]) if dates else None,
        interpreters=_counted(one.interpreter for one in given),
        days=(days[0], days[-1]) if days else None,
    )


def _interpreters(current: Validation, names: dict[int, str]) -> model.Interpreters | None:
    pairs = second.agreed(current)
    if pairs is None:
        return None
    total = current.area_ha if current.grid.georeferenced else float(sum(current.sample.sizes.values()))
    found = second.interpreted(current)
    said = model.Interpreters(
        meant=len(current.doubled),
        doubled=pairs.places,
        agreed=pairs.agreed,
        settled=len(current.final),
        open=len(second.differing(current)),
        ids=pairs.ids,
        counts=tuple(tuple(row) for row in pairs.counts.tolist()),
        quantity=pairs.quantity,
        allocation=pairs.allocation,
        wrong={} if found is None else {name or "no name": share for name, share in found.wrong.items()},
    )
    if found is None:
        return said
    return msgspec.structs.replace(
        said,
        overall=estimate(found.overall),
        classes=tuple(
            model.SecondClass(
                id=k,
                name=names.get(k, str(k)),
                area=estimate(found.areas[k].times(total)),
                users=estimate(found.users[k]),
                producers=estimate(found.producers[k]),
            )
            for k in found.areas
        ),
        added=found.added,
    )


def _counted(texts: Iterable[str]) -> dict[str, int]:
    return dict(sorted(Counter(text for text in texts if text).items()))


def checked_class(
    one: ClassEstimate, total: float, names: dict[int, str], worst: WorstCase | None
) -> model.CheckedClass:
    """What a sample says of a class as values of JSON.

    Args:
        one: of the class.
        total: area of the region, in the unit of the report.
        names: class id -> name.
        worst: ends whatever undecided places are, where there are any.
    """
    ends = None if worst is None else worst.classes.get(one.id)
    return model.CheckedClass(
        id=one.id,
        name=names.get(one.id, str(one.id)),
        mapped=one.mapped * total,
        area=estimate(one.area),
        users=estimate(one.users),
        producers=estimate(one.producers),
        places=one.sampled,
        worst=None if ends is None else (ends[0] * total, ends[1] * total),
    )


def estimate(one: AreaEstimate) -> model.Estimate:
    """A number of a sample as a value of JSON, None for what cannot be had."""
    value, low, high, se = (float(v) if math.isfinite(v) else None for v in (one.value, one.low, one.high, one.se))
    return model.Estimate(value=value, low=low, high=high, se=se)

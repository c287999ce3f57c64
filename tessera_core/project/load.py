"""A request for a place becomes a project: fetched in the background, taken out of the cache, years added to what is there.

Knows requests, the fetcher and projects; refuses to know how they are shown.
"""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from tessera_core._utils.atomic import make_place
from tessera_core.errors import InputError, ProjectError
from tessera_core.periods import period
from tessera_core.project.folders import new_folder
from tessera_core.project.project import Project
from tessera_core.project.references import EmbeddingRef
from tessera_core.project.registration import register_years
from tessera_core.project.request import EmbeddingRequest, from_query, title_of
from tessera_core.project.room import require_size, size_of
from tessera_core.sources.remote import cache
from tessera_core.sources.remote.fetch import Fetched, FetchOptions, cached, fetch_years
from tessera_core.sources.remote.hemispheres import is_repository, unpinned
from tessera_core.sources.remote.retry import ATTEMPTS, with_retries
from tessera_core.sources.remote.snapshots import Newer, newer_data
from tessera_core.sources.remote.zarr_store import open_store
from tessera_core.types import Cancel, Progress


def in_cache(request: EmbeddingRequest) -> tuple[int, ...]:
    """Years of a request that lie complete on this computer; needs no network."""
    location = request.source.location
    return tuple(year for year in request.years if cached(request.region, location, year, request.dim) is not None)


def load(
    request: EmbeddingRequest,
    progress: Progress,
    cancelled: Cancel,
    *,
    project: Project | None = None,
    attempts: int = ATTEMPTS,
) -> Project:
    """Fetch a request and make a project of it, or add its years to one.

    Args:
        request: what to fetch; years in the cache need no network.
        progress: of the fetch.
        cancelled: asked often; what was fetched stays in the cache, so that the next time goes on from there.
        project: to add the years to; None for a new one.
        attempts: tries for each piece.

    Returns:
        The project. What could not be had is in its setting ``fetch_missing``: sentences by year.

    Raises:
        MixedDatasetsError: the project has embeddings of another dataset; nothing was fetched then.
        InputError: the request is not possible.
        AcquisitionError: nothing could be had at all.
        ExportError: the disk is full or not writable.
        Cancelled: ``cancelled`` returned true.
    """
    if not request.years:
        raise InputError("Choose at least one year.")
    location = request.source.location
    if not location:
        raise InputError(f"The dataset {request.dataset} has no store that can be read region by region; take another.")
    if project is not None:
        request = pinned_request(project, request)
        location = request.source.location
        # What an earlier version read half a pixel off must not stand beside years that are right.
        register_years(project)
        _refuse_another_dataset(project, request, attempts, cancelled)
    got = fetch_years(
        request.region,
        location,
        request.years,
        FetchOptions(dim=request.dim, attempts=attempts),
        progress=progress,
        cancelled=cancelled,
    )
    return _start(request, got) if project is None else _join(project, request, got)


def pinned_request(project: Project, request: EmbeddingRequest) -> EmbeddingRequest:
    """The request, read from the snapshot that the project's other years came from, where it would be the newest otherwise."""
    if request.snapshot or not is_repository(request.source.location):
        return request
    base = unpinned(request.source.location)[0]
    for ref in project.embeddings.values():
        details = ref.provenance.details
        if details.get("store") == base and isinstance(details.get("snapshot"), str):
            return replace(request, snapshot=details["snapshot"])
    return request


def pinned_snapshot(project: Project) -> str:
    """The state of the publisher's repository that a project was read from; empty where it was read from none."""
    refs = [ref for year, ref in sorted(dated(project).items())]
    return next((told for ref in refs if (told := str(ref.provenance.details.get("snapshot", "")))), "")


def ask_for_newer(project: Project, *, cancelled: Cancel | None = None) -> Newer | None:
    """What the publisher has that is newer than what a project holds; None where nobody can tell.

    Raises:
        AcquisitionError: the repository does not answer.
        Cancelled: ``cancelled`` returned true.
    """
    request, snapshot = request_of(project), pinned_snapshot(project)
    if request is None or not snapshot or not is_repository(request.source.location):
        return None
    base = unpinned(request.source.location)[0]
    return newer_data(base, snapshot, request.region, sorted(dated(project)), cancelled=cancelled)


def newer(project: Project, *, cancelled: Cancel | None = None) -> str:
    """:func:`ask_for_newer` as a sentence; empty where nothing is, or nobody can tell.

    Raises:
        AcquisitionError: the repository does not answer.
        Cancelled: ``cancelled`` returned true.
    """
    found = ask_for_newer(project, cancelled=cancelled)
    return "" if found is None else found.sentence


def dated(project: Project) -> dict[int, EmbeddingRef]:
    """The project's embeddings that have a year."""
    return {year: ref for year, ref in project.embeddings.items() if year is not None}


def again(project: Project, progress: Progress, cancelled: Cancel) -> Project:
    """Fetch once more what was missing in a project that :func:`load` made.

    Raises:
        ProjectError: it was not made by :func:`load`.
        TesseraError: as for :func:`load`.
    """
    request = request_of(project)
    years = missing_years(project)
    if request is None or not years:
        raise ProjectError(f"Nothing is missing in {project.name!r} that could be fetched again.")
    return load(replace(request, years=years), progress, cancelled, project=project)


def request_of(project: Project) -> EmbeddingRequest | None:
    """The request that a project was made of, or None where it was made in another way."""
    query = project.region.get("request")
    if not isinstance(query, dict):
        return None
    try:
        return from_query({str(key): str(value) for key, value in query.items()})
    except InputError:
        return None


def missing_years(project: Project) -> tuple[int, ...]:
    """Years of which pieces failed, and may be there at another try."""
    noted = project.settings.fetch_missing
    return tuple(sorted(period(year) for year, sentences in noted.items() if sentences))


def missing_sentences(project: Project) -> list[str]:
    """What could not be fetched, for people."""
    noted = project.settings.fetch_missing
    return [str(sentence) for year in sorted(noted) for sentence in noted[year]]


def _refuse_another_dataset(project: Project, request: EmbeddingRequest, attempts: int, cancelled: Cancel) -> None:
    known = next(iter(project.embeddings.values()), None)
    if known is None:
        return
    have = [cached(request.region, request.source.location, year, request.dim) for year in request.years]
    if ready := next((item for item in have if item is not None), None):
        offered = ready.open().provenance
    else:
        source = with_retries(lambda: open_store(request.source.location), request.source.location, attempts, cancelled)
        offered = source.provenance(request.years[0], request.dim or source.dim)
    known.provenance.require_same_dataset(offered, f"the project {project.name!r}")


def _start(request: EmbeddingRequest, got: Sequence[Fetched]) -> Project:
    name = title_of(request.region)
    folder = new_folder(name)
    project = Project.create(folder, name)
    try:
        project.update(region={"name": name, "request": request.query()})
        _attach(project, got)
    except BaseException:
        # Nobody has seen this project yet; an empty one would only confuse.
        shutil.rmtree(folder, ignore_errors=True)
        raise
    return project


def _join(project: Project, request: EmbeddingRequest, got: Sequence[Fetched]) -> Project:
    _attach(project, got)
    before = request_of(project)
    if before is not None and before.region == request.region:
        both = replace(request, years=tuple(sorted({*before.years, *request.years})))
        project.update(region={**project.region, "request": both.query()})
    return project


def _attach(project: Project, got: Sequence[Fetched]) -> None:
    missing: dict[str, Any] = dict(project.settings.fetch_missing)
    for fetched in got:
        year = fetched.entry.year
        raster = fetched.open()
        # Refused before anything of the project's is replaced.
        others = [ref for ref in project.embeddings.values() if ref.year != year]
        if others:
            others[0].provenance.require_same_dataset(raster.provenance, f"the project {project.name!r}")
        require_size(size_of(project.folder) + fetched.entry.bytes, f"{project.name!r} with {year}")
        path = _take(fetched.entry, project.folder / "data", str(year))
        project.attach_embeddings(year, path, raster.provenance, raster.grid)
        missing[str(year)] = list(fetched.missing)
    # What is fetched anew has the holes that its publisher left.
    anew = {str(fetched.entry.year) for fetched in got}
    filled = {year: noted for year, noted in project.settings.filled.items() if year not in anew}
    project.update(
        fetch_missing={year: sentences for year, sentences in missing.items() if sentences}, filled=filled or None
    )


def _take(entry: cache.CachedRaster, home: Path, name: str) -> Path:
    """The entry's raster in the project's own folder, beside an older one that may be open."""
    target, number = home / name, 1
    while target.exists():
        number += 1
        target = home / f"{name}-{number}"
    make_place(target.parent)
    return cache.take(entry, target)

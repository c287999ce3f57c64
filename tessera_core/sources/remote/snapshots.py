"""Whether an Icechunk repository has newer data than the snapshot that was read, and whether they touch a region.

A snapshot never changes, so what was fetched can be fetched again exactly as long as its id is known; it stands in the provenance.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlparse

from tessera_core.region import Region
from tessera_core.sources.remote.hemispheres import Merged, unpinned
from tessera_core.sources.remote.resilient import fault
from tessera_core.sources.remote.retry import with_retries
from tessera_core.sources.remote.tile_list import spans
from tessera_core.sources.remote.zarr_store import open_store
from tessera_core.types import Cancel

_DATA = ("embeddings", "scales")


@dataclass(frozen=True)
class Newer:
    """What was published after a snapshot.

    Attributes:
        pinned, newest: ids of the snapshots.
        years: in which embeddings or scales of the region were written since.
        appeared: years that the region's zones have declared complete since.
    """

    pinned: str
    newest: str
    years: tuple[int, ...]
    appeared: tuple[int, ...]

    @property
    def sentence(self) -> str:
        """For people; empty where the snapshot is the newest."""
        if self.pinned == self.newest:
            return ""
        new, changed = spans(self.appeared), spans(sorted(set(self.years) - set(self.appeared)))
        if new and changed:
            return (
                f"The publisher has newer data (snapshot {self.newest}; yours is {self.pinned}); new here: {new}; embeddings of "
                f"your region changed in {changed}."
            )
        if new:
            return f"The publisher has newer data (snapshot {self.newest}; yours is {self.pinned}); new here: {new}."
        if changed:
            return (
                f"The publisher has newer data (snapshot {self.newest}; yours is {self.pinned}); embeddings of your region "
                f"changed in {changed}."
            )
        return f"The publisher has newer data (snapshot {self.newest}; yours is {self.pinned}); nothing of your region changed."


def newer_data(
    location: str,
    snapshot: str,
    region: Region,
    years: Iterable[int],
    *,
    attempts: int = 3,
    cancelled: Cancel | None = None,
) -> Newer:
    """Compare a snapshot with the newest of its repository; only lists of stored objects are read, no pixels.

    Args:
        location: of the repository, with or without a snapshot.
        snapshot: that was read.
        region: of interest.
        years: of interest.

    Raises:
        InputError: there is no such snapshot.
        AcquisitionError: the repository does not answer.
        Cancelled: ``cancelled`` returned true.
    """
    base = unpinned(location)[0]

    def compare() -> Newer:
        new, old = open_store(base), open_store(base, snapshot=snapshot)
        if new.snapshot == old.snapshot:
            return Newer(snapshot, snapshot, (), ())
        try:
            changed = _repository(base).diff(from_snapshot_id=old.snapshot, to_snapshot_id=new.snapshot).updated_chunks
        except Exception as error:
            raise fault(error) from error
        grid = new.working_grid(region)
        zone = new.zone(grid.pixel_grid.zone)
        if zone is None:
            return Newer(old.snapshot, new.snapshot, (), ())
        rows = slice(max(grid.row0, 0), min(grid.row0 + grid.grid.height, zone.rows))
        cols = slice(max(grid.col0, 0), min(grid.col0 + grid.grid.width, zone.cols))
        before = old.zone(zone.number)
        wanted = [year for year in sorted(set(years)) if year in zone.years]
        touched = [
            year
            for year in wanted
            if any(
                _changed(zone.arrays[name], changed, zone.years.index(year), (rows, cols))
                for name in _DATA
                if isinstance(zone.arrays[name], Merged)
            )
        ]
        appeared = [
            year
            for year in wanted
            if zone.published_in(year, rows) and not (before and before.published_in(year, rows))
        ]
        return Newer(old.snapshot, new.snapshot, tuple(touched), tuple(appeared))

    return with_retries(compare, base, attempts, cancelled)


def _changed(array: Merged, changed: dict[str, Any], time: int, window: tuple[slice, slice]) -> bool:
    """Whether any stored object of an array under a window was written since."""
    keys = {
        f"{path.strip('/')}/c/{'/'.join(str(int(n)) for n in spot)}"
        for path, spots in changed.items()
        for spot in spots
    }
    return any(key in keys for key, _ in array.units(time, window))


def _repository(location: str) -> Any:
    """A repository, opened as geotessera opens it; it gives no access to its history itself."""
    import icechunk
    from geotessera.icechunk import ANONYMOUS_BUCKETS

    parsed = urlparse(location)
    if parsed.scheme == "s3":
        region = ANONYMOUS_BUCKETS.get(parsed.netloc)
        options: dict[str, Any] = {"region": region, "anonymous": True} if region else {"from_env": True}
        storage = icechunk.s3_storage(bucket=parsed.netloc, prefix=parsed.path.strip("/"), **options)
    else:
        storage = icechunk.local_filesystem_storage(location)
    return icechunk.Repository.open(storage)

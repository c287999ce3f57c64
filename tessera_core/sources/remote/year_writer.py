"""The one writer of a year of a region: takes what tasks have read, keeps it through a kill, and publishes it in the cache."""

from __future__ import annotations

import hashlib
import os
import shutil
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from tessera_core._utils.atomic import write_json
from tessera_core._utils.resumable import ArraySpec, ResumableArrays, piece_of, plan_digest
from tessera_core.areas import pixel_counts
from tessera_core.errors import RasterError
from tessera_core.observations import CHANNELS, depth_of
from tessera_core.provenance import Provenance
from tessera_core.raster import FORMAT, NoData, valid_scales
from tessera_core.region import Region
from tessera_core.sources.remote import cache
from tessera_core.sources.remote.gaps import Gaps
from tessera_core.sources.remote.window_task import Source, WindowResult
from tessera_core.sources.remote.working_grid import WorkingGrid
from tessera_core.types import Window

HASHED_BYTES = 64 << 20


@dataclass(frozen=True)
class YearRequest:
    """One year of a region from an open source.

    Attributes:
        region: where.
        source: from where.
        working_grid: the region's working grid there.
        year, dim: what.
    """

    region: Region
    source: Source
    working_grid: WorkingGrid
    year: int
    dim: int


class YearWriter:
    """The raster of a request on its way into the cache; use as a context manager, from one thread.

    Args:
        request: what is fetched.
        target: folder of the raster.
        cached: it belongs to the cache, which makes room for it; else it stays where it is.

    Attributes:
        gaps: what could not be had.
        todo: windows that are still to be read when it is opened.
        done_pixels, total_pixels: how far it is.
    """

    def __init__(self, request: YearRequest, target: Path, *, cached: bool = True) -> None:
        self.request, self.target, self._cached = request, target, cached
        self.gaps = Gaps(request.working_grid, request.year)
        self.todo: list[Window] = []
        self.done_pixels = self.total_pixels = 0
        self._folder = target.parent / f".{target.name}.fetching"
        self._windows = request.working_grid.blocks(*request.source.block_shape(request.working_grid, request.dim))
        self._observed = bool(getattr(request.source, "observed", False))
        self._arrays = self._planned()

    def _planned(self) -> ResumableArrays:
        """The arrays, not yet open; they keep what an earlier run finished, or a published raster that has gaps."""
        request = self.request
        height, width = request.working_grid.grid.shape
        plan = plan_of(request)
        spec = {
            "codes": ArraySpec((height, width, request.dim), np.int8),
            "scales": ArraySpec((height, width), np.float32, np.nan),
            "nodata": ArraySpec((height, width), np.uint8, NoData.OUTSIDE),
        }
        if self._observed:
            spec["observations"] = ArraySpec((height, width, CHANNELS), np.uint16)
        self._adopt_partial(plan_digest(plan))
        return ResumableArrays(
            self._folder,
            plan,
            spec,
            what=f"{request.year} of this region",
            advice=", choose a smaller region or fewer dimensions, or "
            + ("set TESSERA_HOME to a larger disk" if self._cached else "a folder on a larger disk"),
            make_room=cache.make_room if self._cached else None,
        )

    def _adopt_partial(self, plan: str) -> None:
        """Go on with a published raster that has gaps."""
        entry = cache.read_entry(self.target)
        if entry is None or self._folder.is_dir() or entry.facts.get("plan") != plan:
            return
        part = self._folder.with_suffix(".copy")
        shutil.rmtree(part, ignore_errors=True)
        shutil.copytree(self.target, part)
        os.replace(part, self._folder)

    def __enter__(self) -> Self:
        self._arrays.__enter__()
        self.todo = self._arrays.remaining(self._windows)
        self.total_pixels = sum(pixels_of(w) for w in self._windows)
        self.done_pixels = self.total_pixels - sum(pixels_of(w) for w in self.todo)
        return self

    def __exit__(self, *reason: object) -> None:
        self._arrays.__exit__(*reason)

    @property
    def empty(self) -> bool:
        """Whether no window has come whole, now or in an earlier run."""
        return not self._arrays.done

    def accept(self, result: WindowResult) -> None:
        """Write what came of a window; only what is whole is noted as done, the rest is tried again by the next fetch."""
        window, block = result.window, result.block
        self.done_pixels += pixels_of(window)
        if block is None:
            self.gaps.fail(window, result.why, result.reason)
            return
        blocks: dict[str, NDArray[Any]] = {"codes": block.codes, "scales": block.scales, "nodata": block.reasons}
        if self._observed and block.observations is not None:
            blocks["observations"] = block.observations
        if block.problems:
            self._arrays.store(window, blocks)
            self.gaps.partly(window, block.problems)
        else:
            self._arrays.commit(window, blocks)
            self.gaps.in_a_row = 0

    def complete(self) -> None:
        """Say in the folder what could not be had, and what the raster is."""
        request, arrays = self.request, self._arrays.arrays
        self.gaps.mark(arrays)
        missing, absent = self.gaps.sentences(), self.gaps.absent(arrays["nodata"])
        counts = pixel_counts(np.asarray(arrays["nodata"]), len(NoData))
        depth = depth_of(arrays["observations"], valid_scales(arrays["scales"])) if self._observed else None
        provenance = self._provenance(missing, absent)
        if depth is not None and depth.pixels:
            provenance = provenance.with_details(depth=depth.to_json())
        self._arrays.flush()
        header = {"format": FORMAT, "grid": request.working_grid.grid.to_json(), "provenance": provenance.to_json()}
        write_json(self._folder / "raster.json", header)
        facts = {
            "format": cache.FORMAT,
            "dataset": request.source.name,
            "location": request.source.location,
            "identity": request.source.identity,
            "year": request.year,
            "dim": request.dim,
            "name": request.region.name,
            "bbox": list(request.region.bbox),
            "shape": list(request.working_grid.grid.shape),
            "missing": missing,
            "absent": list(absent),
            "depth": None if depth is None else depth.to_json(),
            "pixels": {reason.name.lower(): int(counts[reason]) for reason in NoData if counts[reason]},
            "plan": self._arrays.plan,
            "pieces": self._arrays.digest(),
        }
        write_json(self._folder / "fetch.json", facts)

    def _provenance(self, missing: list[str], absent: tuple[str, ...]) -> Provenance:
        request = self.request
        stamp = request.source.provenance(request.year, request.dim).with_details(
            region=list(request.region.bbox), pieces_sha256=self._arrays.digest()
        )
        if missing:
            stamp = stamp.with_details(warnings=missing[:20])
        if absent:
            stamp = stamp.with_details(missing_tiles=list(absent))
        codes = self._arrays.arrays["codes"]
        if codes.size <= HASHED_BYTES:
            stamp = replace(stamp, checksum=hashlib.sha256(np.ascontiguousarray(codes).data).hexdigest())
        return stamp

    def publish(self) -> cache.CachedRaster:
        """Give the completed raster its place in the cache; when it is no longer open."""
        if self.target.exists():
            shutil.rmtree(self.target)
        os.replace(self._folder, self.target)
        entry = cache.read_entry(self.target)
        if entry is None:
            raise RasterError(f"The fetched raster in {self.target} is damaged; fetch it again.")
        return entry


def plan_of(request: YearRequest) -> dict[str, Any]:
    """What names the computation of a request: runs of equal plans go on with each other's work."""
    working_grid, source = request.working_grid, request.source
    windows = working_grid.blocks(*source.block_shape(working_grid, request.dim))
    return {
        "identity": source.identity,
        "grid": working_grid.grid.to_json(),
        "dim": request.dim,
        "year": request.year,
        "windows": [piece_of(w) for w in windows],
        **(
            {}
            if working_grid.inside is None
            else {"inside": hashlib.sha256(np.packbits(working_grid.inside).data).hexdigest()}
        ),
    }


def pixels_of(window: Window) -> int:
    """Pixels of a window."""
    top, bottom, left, right = piece_of(window)
    return (bottom - top) * (right - left)

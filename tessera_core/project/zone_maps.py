"""What zones are measured on: maps in memory, of files, read a window at a time, or of a project."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from tessera_core.analysis.zonal import IDS
from tessera_core.assess.small_area import MapErrors
from tessera_core.errors import InputError, LabelError, RasterError
from tessera_core.gate import open_raster, raster_errors
from tessera_core.grid import Grid
from tessera_core.project.validate import load as load_validation
from tessera_core.types import PixelBox

if TYPE_CHECKING:
    from tessera_core.project.classify import ProjectMap
    from tessera_core.project.project import Project
    from tessera_core.raster import EmbeddingRaster


@dataclass(frozen=True)
class MapLayer:
    """A raster that is read a window at a time.

    Attributes:
        grid: of it.
        read: window -> values (h, w); a class map gives uint8 with 0 for no data, a map of a number float with NaN.
        names: class id -> name, of a class map.
        title: what its numbers are, of a map of a number.
    """

    grid: Grid
    read: Callable[[PixelBox], NDArray[Any]]
    names: Mapping[int, str] = field(default_factory=dict)
    title: str = ""

    @classmethod
    def of_array(
        cls, values: NDArray[Any], grid: Grid, names: Mapping[int, str] | None = None, title: str = ""
    ) -> MapLayer:
        """Of an array (H, W) in memory."""
        return cls(grid, lambda box: values[box[0] : box[2], box[1] : box[3]], names or {}, title)


@dataclass(frozen=True)
class ZoneMaps:
    """What is measured in zones.

    Attributes:
        classes: a class map; None where only numbers are wanted.
        confidence: of it, uint8 percent with 255 for no data, on its grid.
        earlier: class map of another time, on the same grid.
        values: maps of numbers, each on a grid of its own.
        errors: what a sample says of the class map.
    """

    classes: MapLayer | None = None
    confidence: MapLayer | None = None
    earlier: MapLayer | None = None
    values: tuple[MapLayer, ...] = ()
    errors: MapErrors | None = None

    @property
    def grid(self) -> Grid:
        """Of the class map, or of the first map of a number.

        Raises:
            InputError: there is no map at all.
        """
        first = self.classes or next(iter(self.values), None)
        if first is None:
            raise InputError("There is no map to measure zones on.")
        return first.grid


@contextmanager
def open_layer(path: str | Path, *, numbers: bool | None = None) -> Iterator[tuple[MapLayer, bool]]:
    """A map of a GeoTIFF, read a window at a time.

    Args:
        path: of the file; its first band is read.
        numbers: whether it is a map of a number; by default where its values are no whole numbers.

    Yields:
        The map, and whether it is one of numbers.

    Raises:
        RasterError: it is not readable, or a class map has codes beyond 255.
    """
    path = Path(path)
    with open_raster(path) as file:
        grid = Grid(str(file.crs) if file.crs else None, file.transform, (file.height, file.width))
        is_number = np.dtype(file.dtypes[0]).kind == "f" if numbers is None else numbers
        nodata = file.nodata

        def window(box: PixelBox) -> NDArray[Any]:
            return _window(file, path, box)

        def floats(box: PixelBox) -> NDArray[np.float32]:
            raw = window(box)
            values = raw.astype(np.float32)
            if nodata is not None:
                values[raw == nodata] = np.nan
            return values

        def ids(box: PixelBox) -> NDArray[np.uint8]:
            raw = window(box)
            codes = np.where(raw == nodata, 0, raw) if nodata is not None else raw
            if codes.min(initial=0) < 0 or codes.max(initial=0) > IDS - 1:
                raise RasterError(f"{path.name} has class codes beyond 0 to {IDS - 1}; is it a map of classes?")
            return codes.astype(np.uint8)

        if is_number:
            yield MapLayer(grid, floats, title=(file.descriptions[0] or path.stem)), True
            return
        tags = file.tags() | file.tags(1)
        names = {k: tags[f"class_{k}"] for k in range(1, IDS) if f"class_{k}" in tags}
        yield MapLayer(grid, ids, names), False


@contextmanager
def open_zone_maps(
    path: str | Path,
    *,
    confidence: str | Path | None = None,
    earlier: str | Path | None = None,
    values: Sequence[str | Path] = (),
    sample: str | Path | None = None,
) -> Iterator[ZoneMaps]:
    """Maps of files, open for as long as zones are measured.

    Args:
        path: a class map, or a map of a number.
        confidence: of the class map; ``NAME_confidence.tif`` beside it is found.
        earlier: class map of another time.
        values: maps of numbers.
        sample: CSV of a validation sample of this very map, with its answers.

    Raises:
        RasterError, InputError: a file cannot be read, or does not fit.
        LabelError: the sample is none of this map.
    """
    path = Path(path)
    with ExitStack() as stack:
        first, is_number = stack.enter_context(open_layer(path))
        more = tuple(stack.enter_context(open_layer(one, numbers=True))[0] for one in values)
        if is_number:
            if confidence or earlier or sample:
                raise InputError(
                    f"{path.name} is a map of a number; confidence, an earlier map and a sample belong to a map of classes."
                )
            yield ZoneMaps(values=(first, *more))
            return
        beside = path.with_name(f"{path.stem}_confidence.tif")
        confidence = confidence or (beside if beside.is_file() else None)
        sure = None if confidence is None else stack.enter_context(_raw_layer(Path(confidence)))
        before = None if earlier is None else stack.enter_context(open_layer(earlier, numbers=False))[0]
        if before is not None:
            first = replace(first, names={**before.names, **first.names})
        errors = None if sample is None else _errors(Path(sample), first)
        yield ZoneMaps(first, sure, before, more, errors)


def _window(file: Any, path: Path, box: PixelBox) -> NDArray[Any]:
    """A part of the first band; RasterError where the file is damaged there, which shows only now."""
    top, left, bottom, right = box
    try:
        values: NDArray[Any] = file.read(1, window=((top, bottom), (left, right)))
    except raster_errors() as error:
        raise RasterError(
            f"{path.name} is damaged and cannot be read to its end; copy or download it again."
        ) from error
    return values


@contextmanager
def _raw_layer(path: Path) -> Iterator[MapLayer]:
    """A map of confidence, uint8 percent as it stands."""
    with open_raster(path) as file:
        if file.dtypes[0] != "uint8":
            raise InputError(f"{path.name} is no map of confidence, which holds whole percents.")
        grid = Grid(str(file.crs) if file.crs else None, file.transform, (file.height, file.width))
        yield MapLayer(grid, lambda box: _window(file, path, box))


def _errors(path: Path, layer: MapLayer) -> MapErrors:
    from tessera_core.assess.designs import read_table
    from tessera_core.gate import read_bytes

    sample = read_table(read_bytes(path, LabelError).decode("utf-8-sig", "replace"), layer.names, layer.grid).sample
    errors = MapErrors.of_sample(sample)
    if errors is None:
        raise LabelError(
            f"{path.name} has no answered place, or was drawn by zones other than the map's classes; nothing follows from it here."
        )
    return errors


@dataclass(frozen=True)
class ProjectZones:
    """A project's map of a year as it is measured in zones.

    Attributes:
        maps: with the confidence, and what the validation of this year says.
        year: of the map.
        notes: what to mind.
    """

    maps: ZoneMaps
    year: int | None
    notes: tuple[str, ...] = ()


def project_zone_maps(
    project: Project, raster: EmbeddingRaster, made: ProjectMap, *, earlier: MapLayer | None = None
) -> ProjectZones:
    """What zones of a project are measured on.

    Args:
        project: whose map it is.
        raster: the embeddings of that year.
        made: of :func:`tessera_core.project.classify.map_project`.
        earlier: class map of another time on the same grid.

    Raises:
        ProjectError: the saved validation is damaged.
        LabelError: it is of a map of another shape.
    """
    names = {c.id: c.name for c in project.log.classes}
    checked = load_validation(project, made.year)
    errors, notes = None, []
    if checked is not None and checked.sample.answered:
        errors = MapErrors.of_sample(checked.on_map(made.map.classes).sample)
        if errors is None:
            notes.append(
                "The validation was drawn by another map's classes, so shares are not corrected; draw a new sample for this map."
            )
    classes = MapLayer.of_array(made.map.classes, raster.grid, names)
    sure = MapLayer.of_array(made.map.confidence, raster.grid)
    return ProjectZones(ZoneMaps(classes, sure, earlier, errors=errors), made.year, tuple(notes))

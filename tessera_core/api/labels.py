"""Labels and measured values of the front door, on the pixels of a raster."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from tessera_core.api.arguments import checked
from tessera_core.errors import InputError
from tessera_core.grid import Grid
from tessera_core.raster import EmbeddingRaster

if TYPE_CHECKING:
    from tessera_core.assess.reference import Reference
    from tessera_core.assess.regression import RegressionSamples
    from tessera_core.project.weak_labels import WeakLabels


class Table(Protocol):
    """A DataFrame of pandas, or a GeoDataFrame of GeoPandas."""

    @property
    def to_csv(self) -> Any:
        """Writes it as CSV."""

    @property
    def to_json(self) -> Any:
        """Writes it as JSON, a GeoDataFrame as GeoJSON."""


@contextmanager
def _as_file(file: str | os.PathLike[str] | Table) -> Iterator[Path]:
    """A file as it is, or a table written to one for as long as it is read, so that both are understood alike."""
    if isinstance(file, str | os.PathLike):
        yield Path(file)
        return
    if not hasattr(file, "to_csv"):
        raise InputError(
            f"Labels come from a file, a DataFrame or a GeoDataFrame; this is {type(file).__name__}. Give one of these."
        )
    with tempfile.TemporaryDirectory() as folder:
        table = _with_index(file)
        if hasattr(type(file), "__geo_interface__"):
            _require_distinct(table)
        # A GeoDataFrame that has no geometries is a table like another.
        if hasattr(file, "__geo_interface__"):
            path = Path(folder) / "GeoDataFrame.geojson"
            path.write_text(_writable(table).to_json(default=str), encoding="utf-8")
        else:
            path = Path(folder) / "DataFrame.csv"
            table.to_csv(path, index=False)
        yield path


def _with_index(table: Any) -> Any:
    """A table whose index has names with these as columns, unless a column is called so: an unnamed one only counts lines."""
    columns = list(getattr(table, "columns", [getattr(table, "name", None)]))
    names = getattr(getattr(table, "index", None), "names", ())
    levels = [n for n, name in enumerate(names) if name is not None and name not in columns]
    return table.reset_index(level=levels) if levels else table


def _require_distinct(table: Any) -> None:
    """Refuse a GeoDataFrame that GeoJSON cannot hold, as two columns have one name."""
    columns = list(getattr(table, "columns", ()))
    twice = next((name for name in columns if columns.count(name) > 1), None)
    if twice is not None:
        raise InputError(f"The GeoDataFrame has several columns called {twice!r}; rename or drop all but one of them.")


def _writable(table: Any) -> Any:
    """A GeoDataFrame as GeoJSON can hold it: in degrees where its coordinates have no number that the file could name."""
    crs = getattr(table, "crs", None)
    return table if crs is None or crs.to_authority() is not None else table.to_crs(4326)


@checked
def read_labels(
    file: str | os.PathLike[str] | Table,
    like: EmbeddingRaster | Grid,
    *,
    field: str | None = None,
    crs: str | None = None,
    classes: Sequence[str] | None = None,
    layer: str | None = None,
) -> Reference:
    """Labels of a file on the pixels of a raster.

    Args:
        file: GeoJSON, GeoPackage, CSV, KML, zipped Shapefile, or a raster of classes (0 = unlabelled); or a GeoDataFrame, or a
            DataFrame with columns of latitude and longitude.
        like: the embeddings, or their grid.
        field: attribute that is the class; None to find it.
        crs: of the file, where it does not say it.
        classes: only these, by name or code.
        layer: of a file that has several.

    Returns:
        ``rows``, ``cols``, class ids ``y`` and ``groups`` (N,), the ``classes``, and in ``report`` what became of each feature.

    Raises:
        LabelError: the file cannot be read, or no label lies on the raster.
        InputError: what was given is neither a file nor a table.

    Example:
        >>> labels = tessera.read_labels(region.truth[2024], like=raster)
        >>> labels.y.dtype.name, labels.classes[0].name
        ('uint8', 'Water')
    """
    from tessera_core.assess.reference import read_reference
    from tessera_core.labels.features import Hints

    with _as_file(file) as path:
        reference = read_reference(path, _grid(like), field, crs, Hints(layer=layer))
    return reference if classes is None else reference.only(list(classes))


@checked
def read_values(
    file: str | os.PathLike[str] | Table,
    like: EmbeddingRaster | Grid,
    *,
    field: str | None = None,
    crs: str | None = None,
    layer: str | None = None,
) -> RegressionSamples:
    """Measured values of a file (heights, biomass, ...) on the pixels of a raster, for :func:`map_values`.

    Args:
        file: as for :func:`read_labels`, or a raster of real numbers.
        like: the embeddings, or their grid.
        field: attribute that is the value; None to find it.
        crs, layer: as for :func:`read_labels`.

    Raises:
        LabelError: the file cannot be read, or holds no numbers.
        InputError: as for :func:`read_labels`.
    """
    from tessera_core.assess.regression import read_regression_samples
    from tessera_core.labels.features import Hints

    with _as_file(file) as path:
        return read_regression_samples(path, _grid(like), field, crs, Hints(layer=layer))


@checked
def weak_labels(
    map: str | os.PathLike[str],
    raster: EmbeddingRaster,
    legend: Mapping[str, str] | None = None,
    *,
    own: Reference | None = None,
    per_class: int = 50,
    border: int = 2,
    field: str | None = None,
    crs: str | None = None,
    seed: int = 0,
) -> WeakLabels:
    """Labels from a map or register that exists: weak ones, which carry that map's mistakes, drawn away from its borders.

    Args:
        map: class raster, polygons with a class, or an extract of OpenStreetMap.
        raster: the embeddings.
        legend: name or code of a class of the map -> own class; what it does not name is left out and counted. None takes all.
        own: labels of one's own (:func:`read_labels`), to say how often the map agrees with them.
        per_class: most points of a class.
        border: pixels to each side of a point that have to be of its class.
        field, crs: of polygons, as for :func:`read_labels`.
        seed: of the draw.

    Returns:
        ``reference``, to be given to :func:`map_classes`; ``counts``, ``agreement``, ``repeated`` and ``sentences()``.

    Raises:
        LabelError: the map cannot be read, or fewer than two classes have a place away from borders.

    Example:
        >>> weak = tessera.weak_labels(region.truth[2023], raster, own=labels, border=0)
        >>> 0.5 < weak.agreement.share <= 1
        True
        >>> tessera.map_classes(raster, weak.reference, calibrated=False).classes.shape
        (96, 96)
    """
    from tessera_core.project.weak_labels import weak_labels_of

    return weak_labels_of(
        Path(map), raster, legend, field=field, crs=crs, own=own, per_class=per_class, border=border, seed=seed
    )


def _grid(like: EmbeddingRaster | Grid) -> Grid:
    return like if isinstance(like, Grid) else like.grid

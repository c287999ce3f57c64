"""Everything for QGIS in one zip: a project to open, map and confidence styled, the labels, and a page that says what is what."""

from __future__ import annotations

import tempfile
import zipfile
from collections.abc import Callable
from pathlib import Path

from tessera_core._utils.atomic import atomic_path
from tessera_core.export.geotiff import named_classes, write_class_map, write_confidence
from tessera_core.export.product import Product
from tessera_core.export.qgisproject import ProjectLayer, write_qgz
from tessera_core.export.style import classes_renderer, confidence_renderer, labels_renderer
from tessera_core.export.vector import AREAS, POINTS, write_labels_gpkg


def write_qgis(path: str | Path, product: Product) -> Path:
    """Write ``project.qgz``, ``map.tif``, ``confidence.tif``, their styles, ``labels.gpkg`` and ``README.txt`` as one zip.

    Returns:
        The file written (``.zip`` is added where it is missing).

    Raises:
        ExportError: it cannot be written.
    """
    return write_zip(path, lambda folder: _fill(folder, product))


def _fill(folder: Path, product: Product) -> None:
    classes, grid = product.label_classes, product.grid
    write_class_map(folder / "map.tif", product.classes, None, grid, classes, product.provenance)
    write_confidence(
        folder / "confidence.tif", product.confidence, grid, product.provenance, temperature=product.temperature
    )
    write_labels_gpkg(folder / "labels.gpkg", product.labels, classes, grid, product.provenance)
    points, areas = (labels_renderer(classes, point=point) for point in (True, False))
    sure = confidence_renderer()
    layers = [
        ProjectLayer("labels.gpkg", "Points", points, "Labels", POINTS, "Point"),
        ProjectLayer("labels.gpkg", "Areas", areas, "Labels", AREAS),
        ProjectLayer("confidence.tif", "Confidence (percent)", sure, "Map", shown=False),
        ProjectLayer("map.tif", "Classes", classes_renderer(named_classes(product.classes, classes)), "Map"),
    ]
    write_qgz(folder / "project.qgz", f"{product.name}{f' {product.year}' if product.year else ''}", layers, grid)
    (folder / "README.txt").write_text(_readme(product), encoding="utf-8")


def write_zip(path: str | Path, fill: Callable[[Path], None]) -> Path:
    """Write what ``fill(folder)`` puts into an empty folder as one zip.

    Returns:
        The file written (``.zip`` is added where it is missing).

    Raises:
        ExportError: it cannot be written.
    """
    path = Path(path)
    path = path if path.suffix.lower() == ".zip" else path.with_name(path.name + ".zip")
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=path.parent, prefix=".qgis-") as name:
        folder = Path(name)
        fill(folder)
        with atomic_path(path) as part, zipfile.ZipFile(part, "w", zipfile.ZIP_DEFLATED) as archive:
            for file in sorted(folder.iterdir()):
                # GeoTIFFs are compressed already.
                kind = zipfile.ZIP_STORED if file.suffix == ".tif" else zipfile.ZIP_DEFLATED
                archive.write(file, file.name, kind)
    return path


def _readme(product: Product) -> str:
    where = product.grid.crs or "no georeference: the rasters are pixels only, the labels have x = column, y = -row"
    lines = [
        f"{product.name}{f', {product.year}' if product.year else ''}",
        "",
        "Unpack this archive into a folder and open project.qgz with QGIS 3.22 or newer. Each file also opens by itself, with",
        "its colours and names.",
        "",
        "project.qgz     all of it, in layers; confidence is switched off at first",
        "map.tif         one class for each pixel, 0 = no data",
        "confidence.tif  how sure the map is of each pixel, 0 to 100 percent, 255 = no data",
        "labels.gpkg     the labels the map was learnt from (points and areas; what was erased is cut away)",
        "",
        f"Coordinates: {where}",
        f"Embeddings: {product.provenance.dataset}",
        f"Learnt by: {product.head} head from {sum(area.labels for area in product.areas())} labels",
        f"Confidence: {product.confidence_note}",
        f"Made with: {product.provenance.software}",
        "",
        "Classes (number, name, pixels):",
        *(f"{area.klass.id:>4}  {area.klass.name}  {area.pixels}" for area in product.areas()),
    ]
    return "\n".join(lines) + "\n"

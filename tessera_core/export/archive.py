"""Everything for QGIS in one zip: map and confidence that open styled, the labels, and a page that says what is what."""

from __future__ import annotations

import tempfile
import zipfile
from collections.abc import Callable
from pathlib import Path

from tessera_core.atomic import atomic_path
from tessera_core.export.geotiff import write_class_map, write_confidence
from tessera_core.export.product import Product
from tessera_core.export.style import class_map_qml, confidence_qml
from tessera_core.export.vector import write_labels_gpkg


def write_qgis(path: str | Path, product: Product) -> Path:
    """Write ``map.tif``, ``confidence.tif``, their styles, ``labels.gpkg`` and ``README.txt`` as one zip.

    Returns:
        The file written (``.zip`` is added where it is missing).

    Raises:
        ExportError: it cannot be written.
    """
    return write_zip(path, lambda folder: _fill(folder, product))


def _fill(folder: Path, product: Product) -> None:
    write_class_map(folder / "map.tif", product.classes, None, product.grid, product.label_classes, product.provenance)
    (folder / "map.qml").write_text(class_map_qml(product.label_classes), encoding="utf-8")
    write_confidence(
        folder / "confidence.tif", product.confidence, product.grid, product.provenance, temperature=product.temperature
    )
    (folder / "confidence.qml").write_text(confidence_qml(), encoding="utf-8")
    write_labels_gpkg(folder / "labels.gpkg", product.labels, product.label_classes, product.grid, product.provenance)
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
        "Unpack this archive into a folder and drag the files into QGIS; colours and names come with them.",
        "",
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

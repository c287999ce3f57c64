"""The first year of the demo region, made beforehand and shipped, so that whoever opens the demo sees it at once.

Files in ``demo_start/``, written by ``tools/make_demo_start.py``::

    start.json          recipe of the region, year, place, provenance, and the SHA-256 of each file
    codes.xz            int8 codes, band by band, each pixel as its difference (modulo 256) from the one to its left
    scales.xz           float32 scales
    truth.png           class ids, uint8
    *.png               the pictures of the year, see :mod:`tessera_core.render.canvas`

They hold for one recipe (simulator, weights, size, seed); with any other the region is made from the beginning.
"""

from __future__ import annotations

import hashlib
import io
import json
import lzma
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from tessera_core.grid import Grid
from tessera_core.provenance import Provenance
from tessera_core.raster import EmbeddingRaster
from tessera_core.render.canvas import png_bytes

if TYPE_CHECKING:
    from numpy.typing import NDArray

FOLDER = Path(__file__).parent / "demo_start"
FORMAT = "tessera-demo-start/1"
_NO_PICTURES = ("codes.xz", "scales.xz", "truth.png")


def write_start(
    out: Path,
    recipe: dict[str, Any],
    raster: EmbeddingRaster,
    truth: NDArray[np.uint8],
    pictures: Mapping[str, NDArray[np.uint8]],
) -> Path:
    """Write the files of a start.

    Args:
        out: folder; made where it is not there.
        recipe: of the demo region, see :mod:`tessera_core.project.demo`.
        raster: embeddings of the first year.
        truth: uint8 (H, W) class ids.
        pictures: uint8 (H, W, 3) by name, of :data:`tessera_core.render.canvas.PICTURES`.
    """
    bands = np.ascontiguousarray(np.moveaxis(np.asarray(raster.codes), 2, 0)).view(np.uint8)
    steps = np.diff(bands, axis=2, prepend=np.uint8(0))
    files = {
        "codes.xz": lzma.compress(steps.tobytes(), preset=9 | lzma.PRESET_EXTREME),
        "scales.xz": lzma.compress(np.asarray(raster.scales, np.float32).tobytes(), preset=9 | lzma.PRESET_EXTREME),
        "truth.png": png_bytes(truth),
        **{f"{name}.png": png_bytes(picture) for name, picture in pictures.items()},
    }
    out.mkdir(parents=True, exist_ok=True)
    for name, data in files.items():
        (out / name).write_bytes(data)
    header = {
        "format": FORMAT,
        "recipe": recipe,
        "year": raster.provenance.year,
        "dim": raster.dim,
        "grid": raster.grid.to_json(),
        "provenance": raster.provenance.to_json(),
        "sha256": {name: hashlib.sha256(data).hexdigest() for name, data in files.items()},
    }
    (out / "start.json").write_text(json.dumps(header, indent=1) + "\n", encoding="utf-8")
    return out


def start_year(recipe: dict[str, Any]) -> int | None:
    """The year that is shipped for a recipe; None where none is."""
    header = _header(recipe)
    return None if header is None else int(header["year"])


def unpack_start(recipe: dict[str, Any], embeddings: Path) -> tuple[NDArray[np.uint8], Grid] | None:
    """Write the shipped year's embeddings, with its picture, into the folder ``embeddings``; returns truth and place.

    None, and nothing written, where no start of this recipe is shipped or one of its files is not what was shipped.

    Raises:
        ExportError: the folder cannot be written.
    """
    header = _header(recipe)
    if header is None:
        return None
    files = {name: (FOLDER / name).read_bytes() for name in header["sha256"]}
    if any(hashlib.sha256(data).hexdigest() != header["sha256"][name] for name, data in files.items()):
        return None
    grid, dim = Grid.from_json(header["grid"]), int(header["dim"])
    steps = np.frombuffer(lzma.decompress(files["codes.xz"]), np.uint8).reshape(dim, *grid.shape)
    bands = np.add.accumulate(steps, axis=2, dtype=np.uint8).view(np.int8)
    scales = np.frombuffer(lzma.decompress(files["scales.xz"]), np.float32).reshape(grid.shape)
    codes = np.ascontiguousarray(np.moveaxis(bands, 0, 2))
    raster = EmbeddingRaster(codes, scales, grid, Provenance.from_json(header["provenance"]))
    pictures = {name.removesuffix(".png"): data for name, data in files.items() if name not in _NO_PICTURES}
    raster.save(embeddings, pictures=pictures)
    return _pixels(files["truth.png"]), grid


def _header(recipe: dict[str, Any]) -> dict[str, Any] | None:
    try:
        header = json.loads((FOLDER / "start.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        # A package without the files makes the region itself.
        return None
    fits = isinstance(header, dict) and header.get("format") == FORMAT and header.get("recipe") == recipe
    return header if fits else None


def _pixels(data: bytes) -> NDArray[np.uint8]:
    from PIL import Image

    with Image.open(io.BytesIO(data)) as image:
        return np.asarray(image)

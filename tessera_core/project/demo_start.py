"""The embeddings of the demo region, made beforehand and shipped, so that whoever opens the demo sees it at once.

Files in ``demo_start/``, written by ``tools/make_demo_start.py``::

    start.json          recipe of the region, year, place, provenance, and the SHA-256 of each file
    codes.xz            int8 codes, band by band, each pixel as its difference (modulo 256) from the one to its left
    scales.xz           float32 scales
    truth.png           class ids, uint8
    *.png               the pictures of the year, see :mod:`tessera_core.render.canvas`
    2023/               start.json, codes.xz and scales.xz of the other year

What else there is of a year (truth, pictures, what satellites saw) is simulated anew, which needs neither long nor PyTorch. They
hold for one recipe (simulator, weights, size, seed); with any other the region is made from the beginning.
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
    images = {"truth.png": png_bytes(truth)}
    images |= {f"{name}.png": png_bytes(picture) for name, picture in pictures.items()}
    return _write(out, recipe, raster, images)


def write_year(out: Path, recipe: dict[str, Any], raster: EmbeddingRaster) -> Path:
    """Write the files of another year into its folder under ``out``, the folder of the start."""
    return _write(out / str(raster.provenance.year), recipe, raster, {})


def _write(out: Path, recipe: dict[str, Any], raster: EmbeddingRaster, images: Mapping[str, bytes]) -> Path:
    bands = np.ascontiguousarray(np.moveaxis(np.asarray(raster.codes), 2, 0)).view(np.uint8)
    steps = np.diff(bands, axis=2, prepend=np.uint8(0))
    files = {
        "codes.xz": lzma.compress(steps.tobytes(), preset=9 | lzma.PRESET_EXTREME),
        "scales.xz": lzma.compress(np.asarray(raster.scales, np.float32).tobytes(), preset=9 | lzma.PRESET_EXTREME),
        **images,
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
    header = _header(recipe, FOLDER)
    return None if header is None else int(header["year"])


def shipped_years(recipe: dict[str, Any]) -> tuple[int, ...]:
    """All years whose embeddings are shipped for a recipe, in order."""
    headers = (_header(recipe, folder) for folder in (FOLDER, *FOLDER.glob("[0-9]*")))
    return tuple(sorted(int(header["year"]) for header in headers if header is not None))


def unpack_year(recipe: dict[str, Any], year: int, embeddings: Path) -> bool:
    """Write the shipped embeddings of a year into the folder ``embeddings``; whether there are any, and they are sound.

    Raises:
        ExportError: the folder cannot be written.
    """
    return _unpack(recipe, FOLDER if year == start_year(recipe) else FOLDER / str(year), embeddings) is not None


def unpack_start(recipe: dict[str, Any], embeddings: Path) -> tuple[NDArray[np.uint8], Grid] | None:
    """Write the shipped year's embeddings, with its picture, into the folder ``embeddings``; returns truth and place.

    None, and nothing written, where no start of this recipe is shipped or one of its files is not what was shipped.

    Raises:
        ExportError: the folder cannot be written.
    """
    unpacked = _unpack(recipe, FOLDER, embeddings)
    return None if unpacked is None else (_pixels(unpacked[0]["truth.png"]), unpacked[1])


def _unpack(recipe: dict[str, Any], folder: Path, embeddings: Path) -> tuple[dict[str, bytes], Grid] | None:
    header = _header(recipe, folder)
    if header is None:
        return None
    files = {name: (folder / name).read_bytes() for name in header["sha256"]}
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
    return files, grid


def _header(recipe: dict[str, Any], folder: Path) -> dict[str, Any] | None:
    try:
        header = json.loads((folder / "start.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        # A package without the files makes the region itself.
        return None
    fits = isinstance(header, dict) and header.get("format") == FORMAT and header.get("recipe") == recipe
    return header if fits else None


def _pixels(data: bytes) -> NDArray[np.uint8]:
    from PIL import Image

    with Image.open(io.BytesIO(data)) as image:
        return np.asarray(image)

"""Make the files of tessera_core/project/demo_start: the embeddings of the demo region that are shipped (a minute or two).

Run it again whenever the simulator, the shipped weights or the size of the demo change; a test says so.
"""

from __future__ import annotations

import sys
from pathlib import Path

import rasterio

from tessera_core.dpixels.tile import DPixelTile
from tessera_core.project.demo import DEMO_SIZE, DEMO_WEIGHTS, DEMO_YEARS, _recipe, ensure_demo
from tessera_core.project.demo_start import FOLDER, write_start, write_year
from tessera_core.raster import EmbeddingRaster
from tessera_core.render.canvas import made_pictures, painted


def main() -> int:
    """Make the region where it is not cached, and write its last year whole and of the other the embeddings."""
    region = ensure_demo(progress=lambda done, total, message: None)
    print()
    year = max(DEMO_YEARS)
    with rasterio.open(region.truth[year]) as file:
        truth = file.read(1)
    tile = DPixelTile.open(region.dpixels[year])
    pictures = {name: painted(name, tile) for name in made_pictures(tile)}
    raster = EmbeddingRaster.open(region.embeddings[year])
    recipe = _recipe(DEMO_SIZE, region.seed, DEMO_WEIGHTS)
    folder = write_start(Path(FOLDER), recipe, raster, truth, pictures)
    for other in set(DEMO_YEARS) - {year}:
        write_year(folder, recipe, EmbeddingRaster.open(region.embeddings[other]))
    for path in sorted(folder.rglob("*.*")):
        print(f"{path.stat().st_size:>9} {path.name}")
    return 0


if __name__ == "__main__":
    sys.exit(main())

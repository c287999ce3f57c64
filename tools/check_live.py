"""Read a small real region from each published dataset and compare every value with geotessera; says so where there is no internet.

Run by ``make check-live``. Ends with 0 when all that could be reached agrees or nothing could be reached, 1 on any difference.
"""

from __future__ import annotations

import sys
import tempfile

import numpy as np

from tessera_core.errors import TesseraError
from tessera_core.raster import dequantise
from tessera_core.region import Region, parse_bbox
from tessera_core.sources.remote.datasets import datasets
from tessera_core.sources.remote.zarr_store import open_store

BOX = "0.100,52.190,0.115,52.200"


def main() -> int:
    """Check every dataset; returns the exit code."""
    import os

    from geotessera.store import GeoTesseraZarr

    from tessera_core.sources.remote.fetch import fetch

    region = parse_bbox(BOX)
    reached, wrong = 0, 0
    with tempfile.TemporaryDirectory() as home:
        os.environ["TESSERA_HOME"] = home
        for dataset in datasets():
            try:
                store = open_store(dataset.location, timeout_s=30)
                year = store.years[-1]
                raster = fetch(region, store, year).open()
            except TesseraError as error:
                print(f"{dataset.name}: not reached ({error})")
                continue
            reached += 1
            theirs, _, _ = GeoTesseraZarr(dataset.location).read_region(region.bbox, year)
            same = np.array_equal(dequantise(raster.codes, raster.scales), theirs, equal_nan=True)
            share = raster.valid().mean()
            print(
                f"{dataset.name} {year}: {raster.shape}, {100 * share:.0f} % with data, {'equal' if same else 'DIFFERENT'}"
            )
            wrong += not same
        # Without the others there is no network, and its index is large.
        if reached:
            _alphaearth(region)
    if not reached:
        print(
            "NOT CHECKED: there is no internet here, or none of the published stores can be reached from this machine."
        )
    return 1 if wrong else 0


def _alphaearth(region: Region) -> None:
    """Read the same place from AlphaEarth's archive; geotessera has it not, so its unit lengths are the check."""
    from tessera_core.sources.remote.cog_archive import open_archive
    from tessera_core.sources.remote.fetch import fetch

    try:
        source = open_archive(region)
        got = fetch(region, source, source.years[-1])
    except TesseraError as error:
        print(f"alphaearth: not reached ({error})")
        return
    raster = got.open()
    lengths = np.linalg.norm(dequantise(raster.codes, raster.scales)[raster.valid()], axis=-1)
    print(
        f"alphaearth {source.years[-1]}: {raster.shape}, {100 * raster.valid().mean():.0f} % with data, lengths of vectors "
        f"{lengths.min():.3f} to {lengths.max():.3f}{''.join(f'; {sentence}' for sentence in got.missing)}"
    )


if __name__ == "__main__":
    sys.exit(main())

"""Parity of two rasters: figures against plain numpy, shifted and foreign grids, verdicts, what cannot be compared."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from affine import Affine

from tessera_core.assess import agreement
from tessera_core.assess.agreement import compare
from tessera_core.errors import Cancelled, InputError, MixedDatasetsError
from tessera_core.grid import Grid, transformer
from tessera_core.provenance import Provenance
from tessera_core.raster import EmbeddingRaster, dequantise
from tests.factories import random_raster

GRID = Grid("EPSG:32631", Affine(10, 0, 600_000, 0, -10, 5_800_000), (30, 40))


def raster(grid: Grid = GRID, seed: int = 0, variant: str = "2B-N", dim: int = 16) -> EmbeddingRaster:
    return random_raster(grid.shape, dim, seed, grid, Provenance("tessera", "2.0", variant, dim, 2023))


def window(whole: EmbeddingRaster, row: int, col: int, height: int, width: int) -> EmbeddingRaster:
    part = (slice(row, row + height), slice(col, col + width))
    return replace(
        whole, codes=whole.codes[part], scales=whole.scales[part], grid=whole.grid.window(row, col, height, width)
    )


def test_a_raster_equals_itself_and_its_windows() -> None:
    whole = raster()
    scales = whole.scales.copy()
    scales[3:6, 4:9] = np.nan
    whole = replace(whole, scales=scales)
    found = compare(whole, whole)
    assert found == agreement.Agreement(30 * 40 - 15, 1.0, 1.0, 1.0, 0.0, True)
    assert found.verdict == "green"
    assert "number for number" in found.sentence()
    part = compare(window(whole, 5, 7, 20, 11), whole)
    assert (part.pixels, part.equal_codes, part.aligned) == (20 * 11 - 2, 1.0, True)
    assert compare(whole, window(whole, 5, 7, 20, 11)).pixels == part.pixels


def test_figures_are_those_of_dequantised_vectors(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(agreement, "BLOCK_BYTES", 3 * 40 * 16 * 4 * 7)  # seven rows a block
    made = raster()
    random = np.random.default_rng(1)
    codes = np.clip(made.codes + random.integers(-40, 41, made.codes.shape), -127, 127).astype(np.int8)
    published = replace(made, codes=codes, scales=made.scales * np.float32(1.5))
    found = compare(made, published)
    a, b = dequantise(made.codes, made.scales), dequantise(published.codes, published.scales)
    cosine = (a * b).sum(-1) / np.linalg.norm(a, axis=-1) / np.linalg.norm(b, axis=-1)
    assert found.cosine_median == pytest.approx(np.median(cosine), abs=1e-6)
    assert found.cosine_p1 == pytest.approx(np.percentile(cosine, 1), abs=1e-6)
    assert found.equal_codes == pytest.approx((made.codes == codes).mean())
    assert found.scale_difference == pytest.approx(1 / 3, rel=1e-5)


def test_nearest_pixel_on_another_zone_and_on_half_pixels() -> None:
    made = raster(Grid("EPSG:32631", Affine(10, 0, 300_000, 0, -10, 5_700_000), (12, 14)))
    lifted = Affine(10, 0, 300_004, 0, -10, 5_700_004)
    found = compare(made, replace(made, grid=Grid("EPSG:32631", lifted, made.shape)))
    assert not found.aligned
    assert found.equal_codes == 1.0
    # A raster in the neighbouring zone, filled with the nearest pixel of the first, compares as equal.
    x, y = transformer("EPSG:32631", "EPSG:32630").transform(300_070, 5_699_940)
    there = Grid("EPSG:32630", Affine(1, 0, round(x) - 150, 0, -1, round(y) + 150), (300, 300))
    row, col = np.mgrid[:300, :300] + 0.5
    back = transformer("EPSG:32630", "EPSG:32631").transform(*there.pixel_to_xy(row, col))
    r, c = made.grid.xy_to_pixel(*back)
    inside = made.grid.inside(r, c)
    r, c = np.where(inside, r, 0).astype(int), np.where(inside, c, 0).astype(int)
    scales = np.where(inside, made.scales[r, c], np.nan).astype(np.float32)
    found = compare(made, replace(made, codes=made.codes[r, c], scales=scales, grid=there))
    assert found.pixels == 12 * 14
    assert found.equal_codes == 1.0


def test_verdicts() -> None:
    made = raster()
    random = np.random.default_rng(2)

    def shaken(by: int) -> EmbeddingRaster:
        step = random.integers(-by, by + 1, made.codes.shape)
        return replace(made, codes=np.clip(made.codes + step, -127, 127).astype(np.int8))

    slightly = compare(made, shaken(1))
    assert slightly.verdict == "green"
    assert "number for number" not in slightly.sentence()
    assert compare(made, shaken(25)).verdict == "amber"
    assert "those of mine" in slightly.sentence("those of mine")
    assert "not the same;" in compare(made, shaken(25)).sentence()
    far = compare(made, raster(seed=5))
    assert far.verdict == "red"
    assert "do not mix them" in far.sentence()
    # One pixel in twenty from elsewhere does not move the median, and must not be green.
    codes = made.codes.copy()
    codes[::20] = raster(seed=5).codes[::20]
    assert compare(made, replace(made, codes=codes)).verdict == "amber"
    # The same directions with other lengths are not the same embeddings.
    assert compare(made, replace(made, scales=made.scales * np.float32(2))).verdict == "amber"
    assert compare(made, made).to_json()["verdict"] == "green"


def test_zero_vectors() -> None:
    made = raster()
    codes = made.codes.copy()
    codes[:] = 0
    zeros = replace(made, codes=codes)
    assert compare(zeros, zeros).cosine_median == 1.0
    assert compare(made, zeros).cosine_median == 0.0


def test_what_cannot_be_compared_is_a_sentence() -> None:
    made = raster()
    with pytest.raises(MixedDatasetsError):
        compare(made, raster(variant="2B-L"))
    with pytest.raises(MixedDatasetsError):
        compare(made, raster(dim=8))
    away = Grid("EPSG:32631", Affine(10, 0, 900_000, 0, -10, 5_800_000), (30, 40))
    with pytest.raises(InputError, match="no pixel with data in common"):
        compare(made, raster(away))
    with pytest.raises(InputError, match="no place on Earth"):
        compare(made, replace(made, grid=Grid.local(made.shape)))
    local = replace(made, grid=Grid.local(made.shape))
    assert compare(local, local).equal_codes == 1.0
    with pytest.raises(Cancelled):
        compare(made, made, cancelled=lambda: True)


def test_another_arithmetic_of_the_same_weights_is_compared_and_named() -> None:
    rng = np.random.default_rng(0)
    made = raster(variant="aws")
    made = replace(made, provenance=replace(made.provenance, version="1.1"))
    turned = np.clip(made.codes + rng.integers(-25, 26, made.codes.shape), -127, 127).astype(np.int8)
    published = replace(
        made, codes=turned, provenance=replace(made.provenance, variant="dclimate", source="1.1/dclimate")
    )
    found = compare(made, published)
    assert (found.verdict, found.arithmetics) == ("amber", ("trained", "dclimate"))
    assert "the model v1.1-dclimate" in found.sentence()
    again = compare(replace(published, codes=made.codes), published)
    assert again.arithmetics == ("dclimate", "dclimate")
    assert "Make them with" not in again.sentence()
    # Weights of somebody's own are not the published ones, however they are computed.
    with pytest.raises(MixedDatasetsError):
        compare(replace(made, provenance=replace(made.provenance, variant="custom-1234-dclimate")), published)
    with pytest.raises(MixedDatasetsError):
        made.provenance.require_same_dataset(published.provenance)

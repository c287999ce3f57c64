"""AlphaEarth: the real vectors invert to codes exactly, and COGs in the public form open, whichever way their rows run."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest
import rasterio
from affine import Affine
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from tessera_core.raster import dequantise
from tessera_core.sources import alphaearth
from tessera_core.sources.local.open import open_embeddings


def points(shared: Path, place: str) -> np.ndarray:
    path = shared / "data" / "alphaearth-points" / f"alphaearth_s1_dw_samples_{place}_2024.csv"
    with path.open() as file:
        return np.array([[float(row[band]) for band in alphaearth.BANDS] for row in csv.DictReader(file)])


@pytest.mark.parametrize("place", ["amazon_forest", "iowa_ag"])
def test_the_real_vectors_are_codes_of_this_form_and_of_unit_length(shared: Path, place: str) -> None:
    vectors = points(shared, place)
    codes = alphaearth.encode(vectors)
    np.testing.assert_allclose(alphaearth.decode(codes), vectors, atol=1e-7)
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=0.01)


@given(arrays(np.int8, (3, 64), elements=st.integers(-127, 127)))
def test_codes_survive_the_way_to_values_and_back(codes: np.ndarray) -> None:
    np.testing.assert_array_equal(alphaearth.encode(alphaearth.decode(codes)), codes)


def test_no_data_in_one_band_is_no_data() -> None:
    codes = np.ones((2, 64), np.int8)
    codes[1, 5] = -128
    values = alphaearth.decode(codes)
    assert np.isfinite(values[0]).all()
    assert np.isnan(values[1]).all()


@pytest.mark.parametrize("upward", [False, True])
def test_a_cog_opens_with_cosines_kept(
    shared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, upward: bool
) -> None:
    monkeypatch.setenv("TESSERA_HOME", str(tmp_path / "home"))
    vectors = points(shared, "iowa_ag")[:600].reshape(20, 30, 64)
    codes = alphaearth.encode(vectors)
    codes[3, 4] = -128
    path = tmp_path / "annual" / "2024" / "15N" / "x.tiff"
    path.parent.mkdir(parents=True)
    transform = Affine(10, 0, 400_000, 0, -10, 4_600_200)
    written = codes
    if upward:
        transform, written = Affine(10, 0, 400_000, 0, 10, 4_600_000), codes[::-1]
    profile = {"driver": "GTiff", "dtype": "int8", "count": 64, "height": 20, "width": 30, "nodata": -128}
    with rasterio.open(path, "w", crs="EPSG:32615", transform=transform, **profile) as file:
        file.write(written.transpose(2, 0, 1))
    raster = open_embeddings(tmp_path / "annual" / "2024")
    assert raster.provenance.dataset == "alphaearth 1 (64-d)"
    assert raster.provenance.year == 2024
    assert tuple(raster.grid.transform)[:6] == (10, 0, 400_000, 0, -10, 4_600_200)
    assert not raster.valid()[3, 4]
    assert raster.valid().sum() == 599
    got = dequantise(raster.codes, raster.scales)[raster.valid()]
    right = vectors[raster.valid()]
    cosine = (got * right).sum(1) / np.linalg.norm(got, axis=1) / np.linalg.norm(right, axis=1)
    assert cosine.min() > 0.9999
    np.testing.assert_allclose(np.linalg.norm(got, axis=1), 1, atol=0.01)

import io
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from tessera_core.analysis.pca import fit_pca
from tessera_core.errors import MixedDatasetsError, RasterError
from tessera_core.grid import Grid
from tessera_core.provenance import Provenance
from tessera_core.raster import EmbeddingRaster
from tessera_core.render.display import DisplayGrid
from tessera_core.render.picture import encode_picture, ndvi_picture, pca_picture, true_colour


def raster(height: int = 40, width: int = 30, dim: int = 16, seed: int = 0) -> EmbeddingRaster:
    rng = np.random.default_rng(seed)
    basis = rng.normal(size=(4, dim)) * np.array([8, 4, 2, 0.1])[:, None]
    codes = np.clip(rng.normal(size=(height, width, 4)) @ basis + 5, -127, 127).astype(np.int8)
    scales = rng.uniform(0.5, 2, (height, width)).astype(np.float32)
    scales[0, 0], scales[1, 1] = np.nan, 0
    return EmbeddingRaster(codes, scales, Grid.local((height, width)), Provenance(dim=dim))


def test_pca_agrees_with_scikit_learn() -> None:
    from sklearn.decomposition import PCA

    source = raster()
    ours = fit_pca(source, 3)
    values = source.sample(*np.nonzero(source.valid()))
    theirs = PCA(3).fit(values)
    np.testing.assert_allclose(np.abs(ours.components @ theirs.components_.T), np.eye(3), atol=1e-3)
    np.testing.assert_allclose(ours.explained, theirs.explained_variance_ratio_, rtol=1e-4)


def test_blocks_equal_transform_and_keep_no_data() -> None:
    source = raster()
    pca = fit_pca(source, 3)
    scores = np.concatenate([block for _, block in pca.blocks(source)])
    expected = np.concatenate([pca.transform(values) for _, values in source.blocks()])
    np.testing.assert_allclose(scores, expected, atol=1e-3)
    assert np.isnan(scores[0, 0]).all()
    assert np.isnan(scores[1, 1]).all()


def test_picture_uses_the_whole_range_and_repeats() -> None:
    source = raster()
    picture = pca_picture(source, seed=1)
    assert picture.shape == (40, 30, 3)
    assert picture.dtype == np.uint8
    assert (picture[0, 0] == 0).all()
    inside = picture[source.valid()]
    assert 0.005 < (inside == 0).mean() < 0.05
    assert 0.005 < (inside == 255).mean() < 0.05
    np.testing.assert_array_equal(picture, pca_picture(source, seed=1))


def test_picture_of_few_dimensions_and_of_nothing() -> None:
    assert pca_picture(raster(dim=2)).shape == (40, 30, 3)
    empty = EmbeddingRaster(
        np.zeros((2, 2, 4), np.int8), np.full((2, 2), np.nan, np.float32), Grid.local((2, 2)), Provenance(dim=4)
    )
    with pytest.raises(RasterError, match="without data"):
        pca_picture(empty)


def test_true_colour_is_the_median_of_valid_dates() -> None:
    rng = np.random.default_rng(3)
    dates, height, width = 7, 5, 4
    bands = rng.integers(100, 3000, (dates, height, width, 10)).astype(np.uint16)
    masks = rng.integers(0, 2, (dates, height, width)).astype(np.uint8)
    masks[:3, 1:] = 1
    masks[:, 0, 0] = 0
    bands[masks == 0] = 60000
    picture = true_colour(SimpleNamespace(bands=bands, masks=masks))  # type: ignore[arg-type]
    median = np.zeros((height, width, 3))
    for r, c in np.ndindex(height, width):
        seen = np.sort(bands[masks[:, r, c] != 0, r, c][:, [0, 2, 1]], axis=0)
        if len(seen):
            median[r, c] = seen[(len(seen) - 1) // 2]
    white = np.percentile(median[median.max(-1) > 0], 99)
    expected = (255 * np.clip(median / white, 0, 1) ** (1 / 1.6)).round()
    np.testing.assert_allclose(picture, expected, atol=1)
    assert (picture[0, 0] == 0).all()


def test_true_colour_of_clouds_only_is_black() -> None:
    tile = SimpleNamespace(bands=np.full((2, 3, 3, 10), 9000, np.uint16), masks=np.zeros((2, 3, 3), np.uint8))
    assert not true_colour(tile).any()  # type: ignore[arg-type]


def test_encoded_picture_is_transparent_without_data() -> None:
    source = raster()
    data = encode_picture(pca_picture(source), source.valid(), DisplayGrid(source.grid))
    image = np.asarray(Image.open(io.BytesIO(data)))
    np.testing.assert_array_equal(image[..., 3] > 0, source.valid())


def test_years_fitted_together_share_their_colours() -> None:
    first, second = raster(seed=0), raster(seed=3)
    shared = fit_pca([first, second], 3)
    assert shared.components.shape == (3, 16)
    same = np.array_equal(pca_picture(first, pca=shared), pca_picture(first))
    assert not same
    # The same embedding has the same colour in both pictures.
    twin = replace(second, codes=second.codes.copy(), scales=second.scales.copy())
    np.testing.assert_array_equal(pca_picture(second, pca=shared), pca_picture(twin, pca=shared))
    with pytest.raises(MixedDatasetsError):
        fit_pca([first, replace(first, provenance=Provenance(model="other", dim=16))])


def test_chosen_components_and_equalised_shades() -> None:
    source = raster()
    pca = fit_pca(source, 5)
    plain = pca_picture(source, pca=pca, components=(2, 1, 0))
    np.testing.assert_array_equal(plain[..., ::-1], pca_picture(source, pca=pca))
    equal = pca_picture(source, pca=pca, equalise=True)[source.valid()]
    shares = np.histogram(equal[:, 0], bins=8, range=(0, 256))[0] / len(equal)
    assert np.abs(shares - 1 / 8).max() < 0.02
    # A component that is not there repeats the last.
    np.testing.assert_array_equal(
        pca_picture(source, pca=pca, components=(4, 9, 9))[..., 2],
        pca_picture(source, pca=pca, components=(4, 4, 4))[..., 0],
    )


def test_vegetation_index_of_clear_days() -> None:
    bands = np.full((3, 2, 2, 10), 1000, np.uint16)
    bands[:, 0, 0, 3] = 9000  # NDVI 0.8 where the rest has 0
    bands[2, 1, 1] = 9999
    masks = np.ones((3, 2, 2), np.uint8)
    masks[:, 0, 1] = 0
    masks[2, 1, 1] = 0
    picture = ndvi_picture(SimpleNamespace(bands=bands, masks=masks))  # type: ignore[arg-type]
    assert picture[0, 0, 1] > picture[0, 0, 0]  # green
    assert picture[1, 0, 0] > picture[1, 0, 1]  # brown
    np.testing.assert_array_equal(picture[1, 0], picture[1, 1])
    assert (picture[0, 1] == 0).all()

"""Encoders of others: they get what they ask for, what they give is checked, stored and named."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tessera_core.errors import InputError
from tessera_core.inference.external import (
    BATCH,
    ExternalEncoder,
    PixelYears,
    checked,
    embed_pixels,
    external_raster,
    load_external,
    pixel_years,
)
from tests.factories import make_grid, season_tile

GRID = make_grid((12, 16))
SHAPE = GRID.shape

CODE = """
import numpy as np

class Toy:
    name, dim, wants = "toy", 3, "monthly"

    def embed(self, pixels):
        ndvi = (pixels.s2[..., 3] - pixels.s2[..., 0]) / (pixels.s2[..., 3] + pixels.s2[..., 0])
        return np.stack([ndvi.mean(1), ndvi[:, 4], ndvi[:, 7]], axis=1)

ready = Toy()
broken = 7

def fails():
    raise RuntimeError("no weights here")
"""


@pytest.fixture
def code(tmp_path: Path) -> Path:
    path = tmp_path / "mine.py"
    path.write_text(CODE)
    return path


class Dated:
    """Counts what it is given."""

    name, dim, wants, fingerprint = "dated", 2, "dated", "v7"

    def embed(self, pixels: PixelYears) -> np.ndarray:
        return np.stack([np.isfinite(pixels.s2[..., 0]).sum(1), np.isfinite(pixels.s1[..., 0]).sum(1)], axis=1)


@pytest.mark.parametrize("name", ["Toy", "ready"])
def test_an_encoder_comes_from_a_file_of_ones_own(code: Path, name: str) -> None:
    loaded = load_external(f"{code}:{name}")
    assert isinstance(loaded.encoder, ExternalEncoder)
    assert loaded.name == "toy"
    before = loaded.fingerprint
    code.write_text(CODE + "\n# other weights\n")
    assert load_external(f"{code}:{name}").fingerprint != before


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("nothing", "AttributeError"),
        ("fails", "no weights here"),
        ("broken", "needs name, dim, wants and embed"),
        ("not a name", "write FILE.py:NAME"),
    ],
)
def test_what_is_no_encoder_is_told(code: Path, name: str, sentence: str) -> None:
    with pytest.raises(InputError, match=sentence):
        load_external(f"{code}:{name}")


def test_it_gets_months_or_dates_as_it_asks() -> None:
    tile = season_tile(GRID)
    rows, cols = np.array([0, 3]), np.array([1, 12])
    monthly, dated = (pixel_years(tile, rows, cols, wants) for wants in ("monthly", "dated"))
    assert monthly.s2.shape == (2, 12, 10)
    assert np.isfinite(monthly.s2).all()
    assert np.isfinite(monthly.s1).all()
    # Stored 6000 are -10 dB.
    assert abs(monthly.s1.mean() + 10) < 1
    assert dated.s2.shape == (2, len(tile.doys), 10)
    seen = np.isfinite(dated.s2[..., 0])
    np.testing.assert_array_equal(seen, tile.masks[:, rows, cols].T.astype(bool))
    assert dated.ascending.all()
    lon, lat = GRID.pixel_to_lonlat(rows + 0.5, cols + 0.5)
    np.testing.assert_allclose(dated.lonlat, np.stack([lon, lat], axis=1))
    bare = pixel_years(season_tile(GRID, orbit=False), rows, cols, "monthly")
    assert np.isnan(bare.s1).all()


def test_all_pixels_come_back_in_their_places_whatever_the_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    tile, loaded = season_tile(GRID), checked(Dated(), "here")
    rows, cols = (one.ravel() for one in np.indices(SHAPE))
    assert len(rows) < BATCH
    whole = embed_pixels(loaded, tile, rows, cols)
    monkeypatch.setattr("tessera_core.inference.external.BATCH", 7)
    np.testing.assert_array_equal(embed_pixels(loaded, tile, rows, cols), whole)
    np.testing.assert_array_equal(whole[:, 0], tile.masks.reshape(len(tile.doys), -1).sum(0))
    assert (whole[:, 1] == len(tile.doys_asc)).all()


def test_what_it_gives_is_stored_as_int8_under_its_name(tmp_path: Path, code: Path) -> None:
    tile, loaded = season_tile(GRID), load_external(f"{code}:Toy")
    tile.masks[:, 2, 3] = 0
    blind = season_tile(GRID, orbit=False)
    blind.masks[:, 2, 3] = 0
    raster = external_raster(loaded, blind, tmp_path / "out")
    assert raster.provenance.dataset == f"external toy/{loaded.fingerprint} (3-d)"
    assert raster.codes.dtype == np.int8
    assert not raster.valid()[2, 3]
    assert raster.valid().sum() == SHAPE[0] * SHAPE[1] - 1
    rows, cols = np.array([5, 5]), np.array([2, 14])
    exact, stored = embed_pixels(loaded, blind, rows, cols), raster.sample(rows, cols)
    np.testing.assert_allclose(stored, exact, atol=np.abs(exact).max() / 127)
    # Early on the left, late on the right.
    assert stored[0, 1] > stored[1, 1]
    assert stored[0, 2] < stored[1, 2]


def test_a_wrong_shape_and_a_failure_are_told() -> None:
    tile, rows = season_tile(GRID), np.array([0, 1])

    class Wrong(Dated):
        def embed(self, pixels: PixelYears) -> np.ndarray:
            return np.zeros((len(pixels), 5))

    class Fails(Dated):
        def embed(self, pixels: PixelYears) -> np.ndarray:
            raise RuntimeError("out of luck")

    with pytest.raises(InputError, match=r"shape \(2, 5\) for 2 pixels; it says that it gives 2"):
        embed_pixels(checked(Wrong(), "here"), tile, rows, rows)
    with pytest.raises(InputError, match="out of luck"):
        embed_pixels(checked(Fails(), "here"), tile, rows, rows)

"""What is odd about a tile is told, and nothing is said of healthy ones: real, simulated, desert, snow and water."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from tessera_core.cli import main
from tessera_core.dpixels.remarks import remarks
from tessera_core.dpixels.tile import DPixelTile, find_tiles, write_tile
from tessera_core.grid import Grid

# Reflectance x 10000 in the order of S2_BANDS: B04, B02, B03, B08, B8A, B05, B06, B07, B11, B12.
GROUNDS = {
    "field and wood": [700, 500, 750, 2900, 3000, 1200, 2300, 2700, 1900, 1200],
    "water": [150, 400, 350, 80, 70, 120, 90, 85, 40, 30],
    "sand": [3600, 1500, 2400, 4200, 4300, 3800, 3950, 4100, 5500, 5000],
    "grey desert": [2300, 1300, 1800, 2800, 2900, 2500, 2600, 2700, 3600, 3200],
    "snow": [8500, 8800, 8700, 7800, 7500, 8300, 8200, 7900, 1200, 900],
    "salt": [4200, 3600, 4000, 4300, 4200, 4200, 4250, 4250, 1500, 1200],
}
SHAPE, DATES = (24, 30), 40


def _tile(ground: str = "field and wood", noise: float = 0.25, seed: int = 0, year: int | None = 2023) -> DPixelTile:
    rng = np.random.default_rng(seed)
    one = np.array(GROUNDS[ground], float) * np.exp(rng.normal(0, noise, (DATES, *SHAPE, 1)))
    bands = (one * np.exp(rng.normal(0, 0.05, (DATES, *SHAPE, 10)))).astype(np.uint16)
    masks = (rng.random((DATES, *SHAPE)) < 0.6).astype(np.uint8)
    db = rng.normal([-11, -18], 1.5, (20, *SHAPE, 2))
    sar = ((2 * db + 50) * 200).astype(np.int16)
    days = np.linspace(5, 360, DATES).astype(np.int16)
    none = np.zeros((0, *SHAPE, 2), np.int16), np.zeros(0, np.int16)
    grid = Grid.local(SHAPE)
    return DPixelTile(bands, masks, days, sar, np.arange(1, 21) * 18, *none, None, grid, "t", year)


def _with_offset(tile: DPixelTile, dates: NDArray[np.bool_] | None = None) -> DPixelTile:
    bands = np.asarray(tile.bands, np.int64)
    moved = np.where(bands > 0, bands + 1000, 0)
    if dates is not None:
        moved = np.where(dates[:, None, None, None], moved, bands)
    return replace(tile, bands=moved)


@pytest.mark.parametrize("noise", [0.08, 0.3])
@pytest.mark.parametrize("ground", GROUNDS)
def test_healthy_ground_is_not_remarked_on_and_the_offset_is(ground: str, noise: float) -> None:
    tile = _tile(ground, noise)
    assert remarks(tile) == ()
    (said,) = remarks(_with_offset(tile))
    assert "offset of 1000" in said


@settings(max_examples=12, deadline=None)
@given(st.lists(st.sampled_from(sorted(GROUNDS)), min_size=1, max_size=4), st.integers(0, 1000), st.floats(0.4, 1.0))
def test_any_landscape_is_told_from_itself_with_the_offset_left_in(grounds: list[str], seed: int, share: float) -> None:
    parts = [_tile(ground, 0.2, seed + n) for n, ground in enumerate(grounds)]
    bands = np.concatenate([part.bands for part in parts], axis=2)
    sizes = {name: np.concatenate([getattr(part, name) for part in parts], axis=2) for name in ("masks", "sar_asc")}
    wide = (SHAPE[0], bands.shape[2])
    none = np.zeros((0, *wide, 2), np.int16)
    tile = replace(parts[0], bands=bands, grid=Grid.local(wide), sar_desc=none, **sizes)
    assert remarks(tile) == ()
    dates = np.random.default_rng(seed).permutation(DATES) < round(share * DATES)
    assert any("offset of 1000" in said for said in remarks(_with_offset(tile, dates)))


def test_real_tiles_and_the_offset(shared: Path) -> None:
    places = ("belgium-2018", "treesatai-stand", "cambridge-dpixel")
    for folder in [tile for place in places for tile in find_tiles(shared / "data" / place)]:
        tile = DPixelTile.open(folder)
        assert remarks(tile) == ()
        (said,) = remarks(_with_offset(tile))
        assert "The darkest Sentinel-2 values are about 1" in said
        assert any("as cloud" in one for one in remarks(replace(tile, masks=np.zeros_like(np.asarray(tile.masks)))))


def _radar(tile: DPixelTile, values: NDArray[np.generic]) -> DPixelTile:
    return replace(tile, sar_asc=values)


def _scaled(tile: DPixelTile, factor: float) -> DPixelTile:
    return replace(tile, bands=np.minimum(np.asarray(tile.bands) * factor, 65535).astype(np.uint16))


FAULTS = {
    "no usable date": (lambda t: replace(t, masks=np.zeros_like(t.masks)), "Not one of the 40 Sentinel-2 dates"),
    "no date": (lambda t: replace(t, bands=t.bands[:0], masks=t.masks[:0], doys=t.doys[:0]), "no Sentinel-2 date"),
    "few dates": (
        lambda t: replace(t, masks=np.where(np.arange(DATES)[:, None, None] < 3, t.masks, 0)),
        "Only 3 of 40 Sentinel-2 dates are usable",
    ),
    "outside the region of interest": (
        lambda t: replace(
            t,
            masks=np.where(np.arange(SHAPE[1]) < 5, t.masks, 0),
            roi=np.broadcast_to(np.arange(SHAPE[1]) >= 5, SHAPE),
        ),
        "Not one of the 40",
    ),
    "no pass": (lambda t: replace(t, sar_asc=t.sar_asc[:0], doys_asc=t.doys_asc[:0]), "There is no Sentinel-1 pass"),
    "empty passes": (lambda t: _radar(t, np.zeros_like(t.sar_asc)), "The 20 Sentinel-1 passes hold no value"),
    "reflectance x 100000": (lambda t: _scaled(t, 10), "above a reflectance of 2"),
    "reflectance x 100": (lambda t: _scaled(t, 0.01), "reflectance times 10000"),
    "decibels as they are": (
        lambda t: _radar(t, ((t.sar_asc / 200 - 50) / 2).astype(np.int16)),
        "the files should hold (20 log10",
    ),
    "decibels without their sign": (
        lambda t: _radar(t, ((2 * -((t.sar_asc / 200 - 50) / 2) + 50) * 200).astype(np.int16)),
        "above 10 dB",
    ),
    "VV and VH exchanged": (lambda t: _radar(t, t.sar_asc[..., ::-1]), "VH is stronger than its VV"),
    "a day that the year has not": (lambda t: replace(t, doys=np.append(t.doys[:-1], 366)), "1 date is of day 366"),
}


@pytest.mark.parametrize(("spoil", "says"), FAULTS.values(), ids=FAULTS)
def test_each_fault_is_told_alone(spoil, says) -> None:  # type: ignore[no-untyped-def]
    tile = _tile()
    assert remarks(tile) == ()
    (said,) = remarks(spoil(tile))
    assert says in said
    assert said.endswith(".")


def test_a_leap_year_has_366_days() -> None:
    tile = replace(_tile(year=2024), doys=np.append(_tile().doys[:-1], 366))
    assert remarks(tile) == ()
    assert remarks(replace(tile, year=None)) == ()


def test_info_and_generate_tell_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    import json

    tile = _with_offset(_tile())
    write_tile(
        tmp_path / "odd",
        bands=np.asarray(tile.bands)[:, :4, :4],
        masks=np.ones((DATES, 4, 4), np.uint8),
        doys=tile.doys,
        grid=Grid.local((4, 4)),
        sar_asc=np.asarray(tile.sar_asc)[:, :4, :4],
        doys_asc=tile.doys_asc,
        meta={"year": 2023},
    )
    assert main(["info", str(tmp_path / "odd")]) == 0
    assert "Warning: The darkest Sentinel-2 values" in capsys.readouterr().out
    assert main(["info", str(tmp_path / "odd"), "--json"]) == 0
    (item,) = json.loads(capsys.readouterr().out)["items"]
    assert len(item["notes"]) == 1
    command = ["generate", str(tmp_path / "odd"), "--weights", "studio-nano", "--out", str(tmp_path / "out")]
    assert main([*command, "--json"]) == 0
    (made,) = json.loads(capsys.readouterr().out)["tiles"]
    assert [note for note in made["notes"] if "offset of 1000" in note]
    # Whoever opens the embeddings later reads it, too.
    assert main(["info", str(tmp_path / "out")]) == 0
    assert "offset of 1000" in capsys.readouterr().out

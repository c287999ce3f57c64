"""The publisher's list of tiles: the rows geotessera gives, shares of a region, and sentences that say what is known."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from geotessera.icechunk import TileRegistry
from hypothesis import given
from hypothesis import strategies as st

from tessera_core.errors import AcquisitionError
from tessera_core.region import Region, parse_bbox
from tessera_core.sources.remote.coverage import coverage
from tessera_core.sources.remote.tile_list import RegionDepth, TileList, TileRow, YearDepth, beside, region_depth, spans
from tessera_core.sources.remote.zarr_store import open_store
from tests.sources import dclimate_store as made
from tests.sources.dclimate_store import place

ALL = place(slice(0, 224), slice(0, 128))


def test_the_rows_are_geotesseras(
    home: Path, dclimate: made.Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from obstore.store import LocalStore

    registry = TileRegistry("s3://tessera-embeddings/parts", tmp_path)
    monkeypatch.setattr(registry, "_store", lambda: LocalStore(str(dclimate.registry)))
    for year in made.YEARS:
        theirs = registry.tiles(ALL.bbox, year)
        ours = TileList(str(dclimate.registry)).rows(ALL, [year])
        assert [(row.zone, row.tile) for row in ours] == list(zip(theirs["zone"], theirs["tile"], strict=True))
        assert [row.embedded for row in ours] == theirs["embedded"].tolist()
        assert [row.assembled_at for row in ours] == theirs["assembled_at"].tolist()
        shares = theirs["refused_thin_px"] / theirs["eligible_px"]
        np.testing.assert_array_equal([row.too_few if row.too_few is not None else np.nan for row in ours], shares)


def test_shares_of_a_region_are_those_of_its_pixels(home: Path, dclimate: made.Store) -> None:
    store = open_store(dclimate.icechunk)
    rows = TileList(str(dclimate.registry)).rows(ALL, made.YEARS)
    found = region_depth(ALL, rows, store.complete_years([31]), made.YEARS)
    first, middle, last = found.years
    # A region that a zone of it has not published has not got the year.
    assert (first.published, middle.published, last.published) == (False, True, True)
    data = made.zone_data(2025)
    seen = data.counts["s2_obs_count"]
    assert last.too_few == pytest.approx(((seen > 0) & (seen < 15)).mean(), abs=0.01)
    assert last.land == pytest.approx(1 - 64 * 64 / (224 * 128), abs=0.01)
    assert "2023 is not published here." in found.sentences
    north = place(slice(0, 64), slice(0, 64))
    told = region_depth(north, TileList(str(dclimate.registry)).rows(north), store.complete_years([31]), made.YEARS)
    assert told.years[0].measured == 0
    assert told.years[0].too_few is None
    assert "How much of 2023 was seen too rarely was not measured." in told.sentences
    assert any("of your region was seen too rarely in 2024" in sentence for sentence in told.sentences)
    sea = place(slice(2, 60), slice(70, 120))
    told = region_depth(sea, TileList(str(dclimate.registry)).rows(sea), store.complete_years([31]), [2024])
    assert told.sentences == ("In 2024 the publisher has no tile of land here.",)


def test_coverage_brings_it(home: Path, dclimate: made.Store) -> None:
    cover = coverage(place(slice(0, 64), slice(0, 64)), open_store(dclimate.icechunk))
    assert cover.depth is not None
    assert cover.depth.years[1].too_few == pytest.approx(cover.years[1].too_few, abs=0.002)
    assert cover.years[1].too_few == 16 / 4096
    assert cover.years[1].never_seen == 16 / 4096
    # What was refused is not asked for.
    assert cover.years[1].missing == ()
    south = coverage(place(slice(140, 200), slice(0, 64)), open_store(dclimate.icechunk), years=[2023, 2024])
    assert [year.published for year in south.years] == [False, True]
    assert south.depth is not None
    assert south.depth.years[0].published is False


def test_parts_are_kept_and_serve_without_the_publisher(home: Path, dclimate: made.Store, tmp_path: Path) -> None:
    parts = tmp_path / "parts"
    shutil.copytree(dclimate.registry, parts)
    tiles = TileList(str(parts))
    before = tiles.rows(ALL, [2024])
    for path in parts.rglob("*.parquet"):
        path.write_bytes(b"")
    assert tiles.rows(ALL, [2024]) == before
    with pytest.raises(AcquisitionError, match="came damaged"):
        tiles.rows(ALL, [2025])
    with pytest.raises(AcquisitionError, match="no list of tiles"):
        TileList(str(tmp_path / "none")).rows(ALL)


def test_a_tile_across_the_180th_meridian_counts_on_both_sides(home: Path, dclimate: made.Store) -> None:
    tiles = TileList(str(dclimate.registry))
    east = parse_bbox("-179.95,50.05,-179.92,50.1")
    (row,) = tiles.rows(east, [2025])
    assert row.box[0] > row.box[2]
    assert region_depth(east, [row], {}, [2025]).years[0].land == pytest.approx(1)


def test_a_repository_has_its_list_beside_it(dclimate: made.Store) -> None:
    assert beside(str(dclimate.icechunk)) == str(dclimate.registry)
    assert beside(str(dclimate.zarr)) == ""
    assert beside("/nowhere/x.icechunk") == ""


def year(number: int, **known: Any) -> YearDepth:
    values = {"published": True, "land": 1.0, "measured": 1.0, "too_few": 0.0, "never_seen": 0.0, "radar": 1.0}
    return YearDepth(number, **{**values, "optical_median": 40.0, **known})


def test_the_sentences_are_those_that_people_need() -> None:
    depth = RegionDepth(
        (year(2017, too_few=0.03, optical_median=21.0), year(2018, measured=0.0), *map(year, range(2019, 2026)))
    )
    assert depth.sentences == (
        "How much of 2018 was seen too rarely was not measured.",
        "3.0 % of your region was seen too rarely in 2017: there is no data there.",
        "2019 to 2025 are complete.",
        "Seen clearly 21 to 40 times a year (median).",
    )


@given(st.sets(st.integers(2000, 2030), min_size=1))
def test_spans_name_each_year_once(years: set[int]) -> None:
    named: list[int] = []
    for part in spans(sorted(years)).replace(" and ", ", ").split(", "):
        first, _, last = part.partition(" to ")
        named += range(int(first), int(last or first) + 1)
    assert named == sorted(years)


@given(
    st.lists(
        st.tuples(st.integers(0, 9), st.floats(0, 1), st.floats(1, 60)),
        min_size=1,
        max_size=10,
        unique_by=lambda one: one[0],
    )
)
def test_shares_stay_within_the_region(tiles: list[tuple[int, float, float]]) -> None:
    region = Region.of_shape(parse_bbox("3.0,10.0,4.0,11.0").geometry, "r")
    rows = [
        TileRow("31N", f"chunk_0_{n}", 2024, (3 + n / 10, 10, 3.1 + n / 10, 11), True, share, 0.0, 1.0, median, "")
        for n, share, median in tiles
    ]
    (found,) = region_depth(region, rows, {"31N": None}, [2024]).years
    assert 0 <= (found.too_few or 0) <= found.measured <= 1
    assert found.land == pytest.approx(len(tiles) / 10, abs=1e-6)
    assert found.optical_median is not None
    assert (
        min(row.optical_median or 0 for row in rows)
        <= found.optical_median
        <= max(row.optical_median or 0 for row in rows)
    )


def test_only_the_dataset_with_a_list_of_tiles_cannot_tell_water_from_land() -> None:
    from tessera_core.sources.remote.datasets import datasets

    assert [dataset.name for dataset in datasets() if not dataset.tells_water] == ["1.1/dclimate"]

"""A store of the shape of 1.1/dclimate, in each of its forms: values, places, reasons and counts."""

from __future__ import annotations

import json
import pickle
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray
import zarr
from geotessera.icechunk import IcechunkStore
from geotessera.store import GeoTesseraZarr
from hypothesis import given
from hypothesis import strategies as st
from pyproj import Transformer

from tessera_core.cli import main
from tessera_core.cli.fetch import report
from tessera_core.errors import InputError, RasterError
from tessera_core.inference.layouts import write_zarr
from tessera_core.observations import NAMES, Depth, Observations, median_of, packed_months, unpacked_months
from tessera_core.raster import EmbeddingRaster, NoData, dequantise
from tessera_core.sources.remote.fetch import fetch_years
from tessera_core.sources.remote.hemispheres import outer_corner, pinned, unpinned
from tessera_core.sources.remote.zarr_store import Store, open_store
from tessera_core.sources.remote.zarr_zone import Block
from tests.sources import dclimate_store as made
from tests.sources.dclimate_store import place
from tests.sources.world_store import Fault, WebStore, serve

ROWS = 2 * made.SIDE - made.ABOVE
ALL = (slice(0, ROWS), slice(0, made.SIDE))
SOUTH = slice(made.SIDE, ROWS)


@pytest.fixture(scope="module")
def served(dclimate: made.Store) -> Iterator[WebStore]:
    with serve(dclimate.zarr.parent) as server:
        server.name = dclimate.zarr.name
        yield server


@pytest.fixture(params=["icechunk", "before the repair", "copy", "copy over the network"])
def store(request: pytest.FixtureRequest, dclimate: made.Store, served: WebStore) -> Store:
    """The same store in each of its forms."""
    return open_store(
        {
            "icechunk": str(dclimate.icechunk),
            "before the repair": pinned(str(dclimate.icechunk), dclimate.unrepaired),
            "copy": str(dclimate.zarr),
            "copy over the network": served.store,
        }[request.param]
    )


def told(store: Store, reasons: np.ndarray) -> np.ndarray:
    """What a form of the store can tell: the copy's objects are larger than tiles, so sea beside land may be land never seen."""
    return (
        reasons if store.icechunk is not None else np.where(reasons == NoData.NOT_LAND, NoData.NO_OBSERVATIONS, reasons)
    )


def read(store: Store, rows: slice, cols: slice, year: int) -> Block:
    zone = store.zone(31)
    assert zone is not None
    return zone.read(year, rows, cols, 128)


def wanted_reasons(year: int) -> np.ndarray:
    """uint8 (224, 128), from the way the store is made."""
    data = made.zone_data(year)
    seen = data.counts["s2_obs_count"]
    reasons = np.where(np.isfinite(data.scales), NoData.VALID, NoData.NO_OBSERVATIONS).astype(np.uint8)
    reasons[np.isnan(data.scales) & (seen > 0)] = NoData.TOO_FEW
    reasons[made.SEA[1:]] = NoData.NOT_LAND
    if year == 2023:
        reasons[SOUTH] = NoData.YEAR_NOT_PUBLISHED
    return reasons


@pytest.mark.parametrize("year", made.YEARS)
def test_values_counts_and_reasons_are_those_that_were_written(store: Store, year: int) -> None:
    block, data = read(store, *ALL, year), made.zone_data(year)
    reasons = wanted_reasons(year)
    np.testing.assert_array_equal(told(store, block.reasons), told(store, reasons))
    valid = reasons == NoData.VALID
    np.testing.assert_array_equal(block.codes[valid], data.codes[valid])
    np.testing.assert_array_equal(block.scales[valid], data.scales[valid])
    assert np.isnan(block.scales[~valid]).all()
    assert not block.codes[~valid].any()
    assert block.observations is not None
    published = reasons != NoData.YEAR_NOT_PUBLISHED
    for channel, name in enumerate(NAMES):
        wanted = data.counts[name] if name in data.counts else packed_months(data.months[name])
        np.testing.assert_array_equal(block.observations[..., channel], np.where(published, wanted, 0))


def test_values_counts_and_coordinates_equal_geotesseras(dclimate: made.Store) -> None:
    theirs = IcechunkStore(dclimate.icechunk).open_zone(31)
    store = open_store(dclimate.icechunk)
    zone = store.zone(31)
    assert zone is not None
    grid = zone.pixel_grid
    np.testing.assert_array_equal(theirs["y"], grid.north - (np.arange(ROWS) + 0.5) * 10)
    np.testing.assert_array_equal(theirs["x"], grid.west + (np.arange(made.SIDE) + 0.5) * 10)
    window = (slice(20, 200), slice(3, 120))
    for t, year in enumerate(made.YEARS):
        block = read(store, *window, year)
        one = theirs.isel(time=t, y=window[0], x=window[1]).load()
        np.testing.assert_array_equal(block.scales, one["scales"])
        codes = one["embeddings"].transpose("y", "x", "band").to_numpy()
        np.testing.assert_array_equal(
            dequantise(block.codes, block.scales), dequantise(codes, one["scales"].to_numpy())
        )
        assert block.observations is not None
        np.testing.assert_array_equal(Observations(block.observations).optical, one["s2_obs_count"])
        np.testing.assert_array_equal(
            Observations(block.observations).optical_months, one["s2_month_covered"].to_numpy().sum(-1)
        )


@pytest.mark.parametrize(
    ("rows", "cols"), [(slice(5, 60), slice(2, 50)), (slice(100, 160), slice(0, 128)), (slice(140, 224), slice(30, 90))]
)
def test_a_region_equals_geotesseras(dclimate: made.Store, rows: slice, cols: slice) -> None:
    region = place(rows, cols)
    for location in (dclimate.icechunk, dclimate.zarr):
        store = open_store(location)
        grid = store.working_grid(region)
        assert grid.grid.shape == (rows.stop - rows.start, cols.stop - cols.start)
        block = store.read(grid, (slice(0, grid.grid.height), slice(0, grid.grid.width)), 2024, 128)
        values, transform, _ = GeoTesseraZarr(location).read_region(region.bbox, 2024)
        np.testing.assert_array_equal(dequantise(block.codes, block.scales), values)
        shift = 10_000_000 if grid.grid.crs == "EPSG:32731" else 0
        assert (grid.grid.transform.c, grid.grid.transform.f) == (transform.c, transform.f + shift)


def test_the_snapshot_before_the_repair_lands_on_the_right_pixel(dclimate: made.Store) -> None:
    old = open_store(pinned(str(dclimate.icechunk), dclimate.unrepaired))
    new = open_store(dclimate.icechunk)
    zone = old.zone(31)
    assert zone is not None
    assert zone.repaired == ("31N", "31S")
    assert new.zone(31).repaired == ()  # type: ignore[union-attr]
    to_lonlat = Transformer.from_crs("EPSG:32631", "EPSG:4326", always_xy=True)
    rows, cols = np.array([30, 127, 128, 200]), np.array([7, 60, 61, 127])
    # A little to the north-west of each centre, where half a pixel decides.
    lon, lat = to_lonlat.transform(made.WEST + cols * 10 + 3, made.NORTH["31N"] - rows * 10 - 3)
    data = made.zone_data(2024)
    wanted = dequantise(data.codes[rows, cols], data.scales[rows, cols])
    for store in (old, new):
        values, _ = store.sample(np.asarray(lon), np.asarray(lat), 2024, 128)
        np.testing.assert_array_equal(values, wanted)
    # The published client puts that snapshot half a pixel south-east.
    theirs = IcechunkStore(dclimate.icechunk, snapshot_id=dclimate.unrepaired).open_zone(31)
    assert float(theirs["x"][0]) == made.WEST + 10
    assert "repaired" in old.provenance(2024, 128).details["registration"]
    assert "registration" not in new.provenance(2024, 128).details


def test_points_have_values_reasons_and_counts(store: Store) -> None:
    to_lonlat = Transformer.from_crs("EPSG:32631", "EPSG:4326", always_xy=True)
    rows, cols = np.array([2, 10, 18, 40, 30, 150, 100, 400]), np.array([2, 10, 18, 40, 90, 40, 90, 3])
    lon, lat = to_lonlat.transform(made.WEST + cols * 10 + 5, made.NORTH["31N"] - rows * 10 - 5)
    for year in made.YEARS:
        reasons = wanted_reasons(year)
        values, found = store.sample(np.asarray(lon), np.asarray(lat), year, 128)
        np.testing.assert_array_equal(told(store, found[:-1]), told(store, reasons[rows[:-1], cols[:-1]]))
        assert found[-1] == NoData.OUTSIDE
        np.testing.assert_array_equal(np.isfinite(values).all(1), found == NoData.VALID)
        seen = store.observations_at(np.asarray(lon), np.asarray(lat), year)
        assert seen is not None
        block = read(store, *ALL, year)
        assert block.observations is not None
        np.testing.assert_array_equal(seen[:-1], block.observations[rows[:-1], cols[:-1]])


def test_points_and_counts_equal_geotesseras_from_repository_and_copy(dclimate: made.Store) -> None:
    to_lonlat = Transformer.from_crs("EPSG:32631", "EPSG:4326", always_xy=True)
    rows, cols = np.array([2, 10, 18, 40, 150, 100]), np.array([2, 10, 18, 40, 40, 90])
    lon, lat = to_lonlat.transform(made.WEST + cols * 10 + 5, made.NORTH["31N"] - rows * 10 - 5)
    lon, lat = np.asarray(lon), np.asarray(lat)
    for location in (dclimate.icechunk, dclimate.zarr):
        reader, store = GeoTesseraZarr(location), open_store(location)
        values, found = store.sample(lon, lat, 2024, 128)
        theirs = reader.sample_points(list(zip(lon, lat, strict=True)), 2024, progress=False)
        np.testing.assert_array_equal(values, theirs)
        states = [reader.probe(float(x), float(y), 2024)[1] for x, y in zip(lon, lat, strict=True)]
        assert [state == "valid" for state in states] == (found == NoData.VALID).tolist()
        seen = store.observations_at(lon, lat, 2024)
        assert seen is not None
        zone = reader.open_zone(zone=31).isel(time=made.YEARS.index(2024))
        for name in made.COUNTS:
            counts = zone[name].transpose("y", "x").values[rows, cols]
            np.testing.assert_array_equal(seen[:, NAMES.index(name)], counts, err_msg=name)


def test_what_half_a_pixel_cannot_explain_is_refused() -> None:
    box = [100.0, 0.0, 200.0, 300.0]
    assert outer_corner({"spatial:transform": [10, 0, 100, 0, -10, 300], "spatial:bbox": box}) == (100, 300, 10, False)
    assert outer_corner({"spatial:transform": [10, 0, 105, 0, -10, 295], "spatial:bbox": box}) == (100, 300, 10, True)
    with pytest.raises(ValueError, match="not known where its pixels lie"):
        outer_corner({"spatial:transform": [10, 0, 105, 0, -10, 300], "spatial:bbox": box})


def test_a_location_names_a_snapshot(dclimate: made.Store) -> None:
    assert unpinned("/a/b.icechunk/") == ("/a/b.icechunk", "")
    store = open_store(dclimate.icechunk)
    old = open_store(pinned(str(dclimate.icechunk), dclimate.unrepaired))
    assert (store.snapshot, old.snapshot) == (dclimate.repaired, dclimate.unrepaired)
    assert store.identity != old.identity
    assert store.provenance(2024, 128).details["snapshot"] == dclimate.repaired
    assert open_store(dclimate.zarr).snapshot == dclimate.unrepaired
    again = pickle.loads(pickle.dumps(store))
    assert again.identity == store.identity
    with pytest.raises(InputError, match="snapshot"):
        open_store(pinned(str(dclimate.icechunk), "AAAAAAAAAAAAAAAAAAAA"))


def test_a_region_is_fetched_with_its_counts(home: Path, dclimate: made.Store) -> None:
    region = place(slice(4, 200), slice(0, 128))
    (fetched,) = fetch_years(region, str(dclimate.icechunk), [2024])
    raster = fetched.open()
    assert raster.observations is not None
    np.testing.assert_array_equal(raster.reasons, wanted_reasons(2024)[4:200])
    data = made.zone_data(2024)
    np.testing.assert_array_equal(raster.observations[..., 0], data.counts["s2_obs_count"][4:200])
    depth = raster.depth()
    assert depth is not None
    assert raster.provenance.details["depth"] == depth.to_json()
    assert fetched.entry.facts["pixels"]["too_few"] == (raster.reasons == NoData.TOO_FEW).sum()
    # A smaller region takes pixels, and their counts, from the cache.
    (inner,) = fetch_years(place(slice(10, 60), slice(8, 40)), str(dclimate.icechunk), [2024])
    assert inner.open().observations is not None
    np.testing.assert_array_equal(inner.open().observations, raster.observations[6:56, 8:40])
    copy = EmbeddingRaster.open(raster.save(home / "copy"))
    np.testing.assert_array_equal(copy.observations, raster.observations)


def test_rarely_seen_pixels_can_be_left_out(home: Path, dclimate: made.Store) -> None:
    raster = fetch_years(place(slice(0, 60), slice(0, 60)), str(dclimate.icechunk), [2024])[0].open()
    assert raster.observations is not None
    kept = raster.seen_at_least(25)
    thin = raster.valid() & (raster.observations[..., 0] < 25)
    assert thin.any()
    np.testing.assert_array_equal(kept.valid(), raster.valid() & ~thin)
    assert set(kept.nodata_reasons()[thin]) == {NoData.TOO_FEW}
    assert kept.provenance.details["seen_at_least"] == 25
    before, after = raster.depth(), kept.depth()
    assert before is not None
    assert after is not None
    assert before.below_elbow == pytest.approx(thin.sum() / raster.valid().sum())
    assert (after.below_elbow, after.optical_least) == (0.0, 25)
    with pytest.raises(RasterError, match="Nobody counted"):
        replace(raster, observations=None).seen_at_least(25)


def test_a_year_that_is_not_complete_is_refused_with_its_reason(home: Path, dclimate: made.Store) -> None:
    with pytest.raises(InputError, match=r"has not published 2023 for the zone 31S; it has 2024, 2025"):
        fetch_years(place(slice(140, 200), slice(0, 60)), str(dclimate.icechunk), [2023])
    # Across the equator the northern half is there, and of the southern the reason.
    both = fetch_years(place(slice(100, 160), slice(0, 60)), str(dclimate.icechunk), [2023])[0].open()
    assert both.reasons is not None
    assert set(both.reasons[28:].ravel()) == {NoData.YEAR_NOT_PUBLISHED}
    assert both.valid()[:28].any()


def test_counts_that_are_refused_are_not_taken_for_none(served: WebStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(served, "faults", [Fault("s2_obs_count/c/", "404")])
    block = read(open_store(served.store), *ALL, 2024)
    assert any("counts" in problem for problem in block.problems)
    monkeypatch.setattr(served, "faults", [])


def test_blocks_follow_the_stored_pieces_of_the_southern_half(dclimate: made.Store) -> None:
    store = open_store(dclimate.icechunk)
    grid = store.working_grid(place(slice(130, 220), slice(0, 128)))
    cuts = {grid.row0 + rows.start for rows, _ in grid.blocks(32, 32)} - {grid.row0}
    # Local rows of 31S are those of the zone less 96.
    assert {(row - made.SIDE + made.ABOVE) % 32 for row in cuts} == {0}


def command(capsys: pytest.CaptureFixture[str], *args: str) -> Any:
    assert main([*args, "--json"]) == 0
    return json.loads(capsys.readouterr().out)


def box_of(rows: slice, cols: slice) -> str:
    return "--bbox=" + ",".join(repr(value) for value in place(rows, cols).bbox)


def test_the_command_tells_depth_reasons_and_snapshot(
    home: Path, dclimate: made.Store, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    where = [box_of(slice(0, 60), slice(0, 100)), "--years=2024", f"--store-url={dclimate.icechunk}"]
    found = command(capsys, "fetch", *where, f"--out={tmp_path / 'all'}", f"--snapshot={dclimate.unrepaired}")
    (raster,) = found["rasters"]
    assert raster["snapshot"] == dclimate.unrepaired
    assert (raster["pixels"]["too_few"], raster["pixels"]["no_observations"]) == (16, 16)
    assert raster["pixels"]["not_land"] == 60 * 36
    said = report(found)
    assert "36 % of the pixels lie where the publisher has no tile of land" in said
    assert "0.3 % of the pixels were seen clearly too few times" in said
    assert "Without radar: " in said
    (item,) = command(capsys, "info", str(tmp_path / "all" / "2024"))["items"]
    depth = Depth.from_json(item["depth"])
    assert set(depth.sentences) <= set(item["text"])
    assert all(sentence in said for sentence in depth.sentences)
    kept = command(capsys, "fetch", *where, f"--out={tmp_path / 'kept'}", "--seen-at-least=25")
    assert "were left out: seen fewer than 25 times" in report(kept)
    whole, part = (EmbeddingRaster.open(tmp_path / name / "2024") for name in ("all", "kept"))
    assert whole.observations is not None
    np.testing.assert_array_equal(part.valid(), whole.valid() & (whole.observations[..., 0] >= 25))
    # The cache still has all of them.
    assert (
        fetch_years(place(slice(0, 60), slice(0, 100)), str(dclimate.icechunk), [2024])[0].open().valid().sum()
        == whole.valid().sum()
    )


@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
def test_points_come_with_their_counts(
    home: Path, dclimate: made.Store, tmp_path: Path, suffix: str, capsys: pytest.CaptureFixture[str]
) -> None:
    import pandas as pd

    to_lonlat = Transformer.from_crs("EPSG:32631", "EPSG:4326", always_xy=True)
    rows, cols = np.array([10, 18, 40]), np.array([10, 18, 40])
    lon, lat = to_lonlat.transform(made.WEST + cols * 10 + 5, made.NORTH["31N"] - rows * 10 - 5)
    pd.DataFrame({"lon": lon, "lat": lat}).to_csv(tmp_path / "p.csv", index=False)
    out = tmp_path / f"out{suffix}"
    command(
        capsys,
        "fetch",
        f"--points={tmp_path / 'p.csv'}",
        "--years=2024",
        f"--store-url={dclimate.icechunk}",
        f"--out={out}",
    )
    table = pd.read_csv(out) if suffix == ".csv" else pd.read_parquet(out)
    data = made.zone_data(2024)
    for name in made.COUNTS:
        assert table[name].tolist() == data.counts[name][rows, cols].tolist()
    assert table["s2_months"].tolist() == data.months["s2_month_covered"][rows, cols].sum(1).tolist()
    assert table["nodata"].fillna("").tolist() == ["too few", "", ""]
    assert table["emb_0"].notna().tolist() == [False, True, True]


def test_info_tells_what_a_store_says_of_itself(dclimate: made.Store, capsys: pytest.CaptureFixture[str]) -> None:
    (old,) = command(capsys, "info", pinned(str(dclimate.icechunk), dclimate.unrepaired))["items"]
    said = " ".join(old["text"])
    assert (old["snapshot"], old["observations"]) == (dclimate.unrepaired, True)
    assert "fewer than 15 times" in said
    assert "centre of the first pixel" in said
    assert "Zone 31S: 2023 not published." in said
    assert "Water is no class" in said


@given(st.lists(st.integers(0, 300), min_size=1, max_size=30))
def test_a_median_of_counts_is_the_median(values: list[int]) -> None:
    assert median_of(np.bincount(values)) == np.median(values)


def test_our_own_store_is_a_good_citizen(home: Path, dclimate: made.Store, tmp_path: Path) -> None:
    region = place(slice(0, 60), slice(0, 60))
    raster = fetch_years(region, str(dclimate.icechunk), [2024])[0].open()
    path = write_zarr(tmp_path / "own.zarr", [raster])
    values, transform, _ = GeoTesseraZarr(path).read_region(region.bbox, 2024)
    np.testing.assert_array_equal(values, dequantise(raster.codes, raster.scales))
    assert (transform.c, transform.f) == (raster.grid.transform.c, raster.grid.transform.f)
    with xarray.open_zarr(path, group="utm31", consolidated=False) as opened:
        # The store's own grid reaches out to whole shards, as that of published ones.
        centres = [raster.grid.pixel_to_xy(row + 0.5, col + 0.5) for row, col in np.ndindex(raster.shape)]
        xs, ys = (np.unique(values) for values in np.transpose(centres))
        here = opened["embeddings"].isel(time=0).sel(x=xs, y=ys[::-1]).transpose("y", "x", "band").values
        np.testing.assert_array_equal(here[raster.valid()], raster.codes[raster.valid()])
    store = open_store(path)
    assert store.observed
    grid = store.working_grid(region)
    block = store.read(grid, (slice(0, 60), slice(0, 60)), 2024, 128)
    assert raster.observations is not None
    np.testing.assert_array_equal(block.observations, raster.observations)
    root = zarr.open_group(path, mode="r")
    registered = root.attrs["zarr_conventions"] + root["utm31"].attrs["zarr_conventions"]
    assert {entry["uuid"] for entry in registered} == {
        "f17cb550-5864-4468-aeb7-f3180cfb622f",
        "689b58e2-cf7b-45e0-9fff-9cfc0883d6b4",
        "61c12cc5-0e28-4056-999a-480cf3fb7e4c",
    }
    # No address of a tag that does not exist.
    assert not any("refs/tags/v1/" in str(entry) or "/blob/v1/" in str(entry) for entry in registered)
    assert outer_corner(root["utm31"].attrs)[3] is False
    box = root["utm31"].attrs["spatial:bbox"]
    assert [box[0], box[3]] == [root["utm31"].attrs["spatial:transform"][n] for n in (2, 5)]


@given(st.integers(0, 4095))
def test_months_are_packed_and_come_out_again(bits: int) -> None:
    packed = np.array([bits], np.uint16)
    np.testing.assert_array_equal(packed_months(unpacked_months(packed)), packed)

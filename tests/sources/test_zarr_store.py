"""Published stores: the same values as geotessera, zones and hemispheres, reasons for what has no data, faults that are noticed."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zarr
from geotessera.store import GeoTesseraZarr
from pyproj import Transformer
from shapely.geometry import Polygon

from tessera_core.errors import InputError, RasterError
from tessera_core.raster import NoData, dequantise, valid_scales
from tessera_core.region import Region, parse_bbox
from tessera_core.sources.remote import datasets, zarr_zone
from tessera_core.sources.remote.resilient import PieceError
from tessera_core.sources.remote.working_grid import PixelGrid, WorkingGrid, tile_centres, tiles_in, working_grid
from tessera_core.sources.remote.zarr_store import Store, open_store
from tessera_core.sources.remote.zarr_zone import Block
from tests.sources import world_store
from tests.sources.world_store import Fault, WebStore

NORTH, SOUTH, BOTH = "11.82,0.01,11.98,0.09", "11.82,-0.14,11.98,-0.02", "11.82,-0.12,11.98,0.08"
SEAM = "11.93,-0.08,12.06,0.04"


def read(store: Store, text: str | Region, year: int, dim: int = 128, last: bool = True) -> tuple[WorkingGrid, Block]:
    region = parse_bbox(text) if isinstance(text, str) else text
    place = store.working_grid(region)
    height, width = place.grid.shape
    return place, store.read(place, (slice(0, height), slice(0, width)), year, dim, last=last)


@pytest.mark.parametrize("box", [NORTH, SOUTH, BOTH])
@pytest.mark.parametrize("dim", [16, 64, 128])
def test_values_and_place_equal_geotesseras(web: WebStore, world: Path, box: str, dim: int) -> None:
    place, block = read(open_store(web.store), box, 2022, dim)
    values, transform, crs = GeoTesseraZarr(world).read_region(parse_bbox(box).bbox, 2022, depth=dim)
    np.testing.assert_array_equal(dequantise(block.codes, block.scales), values)
    shift = 10_000_000 if place.grid.crs != crs else 0
    assert tuple(place.grid.transform)[:6] == (*tuple(transform)[:5], transform.f + shift)
    assert place.grid.crs == ("EPSG:32732" if parse_bbox(box).geometry.centroid.y < 0 else "EPSG:32632")


def test_a_path_reads_like_a_url_and_chunks_like_shards(web: WebStore, world: Path, tmp_path: Path) -> None:
    _, remote = read(open_store(web.store), SEAM, 2024)
    _, local = read(open_store(world), SEAM, 2024)
    plain = world_store.write_world(tmp_path / "plain.zarr", sharded=False, depths=())
    _, chunked = read(open_store(plain), SEAM, 2024)
    for other in (local, chunked):
        np.testing.assert_array_equal(other.codes, remote.codes)
        np.testing.assert_array_equal(other.scales, remote.scales)
        np.testing.assert_array_equal(other.reasons, remote.reasons)


def test_years_dimensions_and_dataset_are_read(web: WebStore) -> None:
    store = open_store(web.store)
    assert (store.years, store.zones, store.dim) == ((2022, 2023, 2024), (32, 33), 128)
    stamp = store.provenance(2023, 16)
    assert (stamp.dataset, stamp.year, stamp.details["store"]) == ("tessera 2.0/test (16-d)", 2023, web.store)


def test_reasons_tell_water_missing_tiles_and_outside(world: Path) -> None:
    store = open_store(world)
    place, block = read(store, "11.75,-0.12,11.98,0.12", 2022)
    lon, lat = place.lonlat((slice(0, place.grid.height), slice(0, place.grid.width)))
    tile_lon, tile_lat = tile_centres(lon, lat)
    lake = np.hypot(lon - world_store.LAKE[0], lat - world_store.LAKE[1]) < world_store.LAKE[2]
    missing = (tile_lon == 1185) & (tile_lat == 5)
    assert lake.any()
    assert missing.any()
    assert set(block.reasons[lake]) == {NoData.WATER}
    assert set(block.reasons[missing]) == {NoData.MISSING_TILE}
    assert set(block.reasons[(tile_lon == 1185) & (tile_lat == -5) & ~lake]) == {NoData.VALID}
    far = lon < 11.75 + 0.005
    assert set(block.reasons[far]) <= {NoData.OUTSIDE, NoData.MISSING_TILE}
    np.testing.assert_array_equal(valid_scales(block.scales), block.reasons == NoData.VALID)


def test_across_a_seam_each_pixel_is_the_nearest_of_its_own_zone(world: Path) -> None:
    place, block = read(open_store(world), SEAM, 2023)
    height, width = place.grid.shape
    lon, lat = place.lonlat((slice(0, height), slice(0, width)))
    data = {zarr_zone: world_store.zone_data(zarr_zone, 2023) for zarr_zone in (32, 33)}
    assert (lon < 12).any()
    assert (lon > 12).any()
    for row in range(0, height, 3):
        for col in range(0, width, 3):
            zarr_zone = 32 if lon[row, col] < 12 else 33
            west, north, _, _ = world_store.zone_grid(zarr_zone)
            to_xy = Transformer.from_crs("EPSG:4326", f"EPSG:{32600 + zarr_zone}", always_xy=True)
            x, y = to_xy.transform(lon[row, col], lat[row, col])
            at = int((north - y) // world_store.PIXEL), int((x - west) // world_store.PIXEL)
            codes, scales = data[zarr_zone][0][at], data[zarr_zone][1][at]
            if np.isfinite(scales):
                np.testing.assert_array_equal(block.codes[row, col], codes)
                assert block.scales[row, col] == scales
    # Nothing falls between the zones.
    lake = np.hypot(lon - world_store.LAKE[0], lat - world_store.LAKE[1]) < world_store.LAKE[2] + 0.002
    assert (block.reasons[~lake] == NoData.VALID).all()


def test_a_polygon_is_cut_out_and_a_box_is_not(world: Path) -> None:
    store = open_store(world)
    triangle = Region(Polygon([(11.91, 0.01), (11.99, 0.01), (11.91, 0.09)]))
    place, block = read(store, triangle, 2024)
    np.testing.assert_array_equal(block.reasons == NoData.OUTSIDE, ~triangle.mask(place.grid))
    assert place.blocks(4, 4) != store.working_grid(parse_bbox("11.91,0.01,11.99,0.09")).blocks(4, 4)


@pytest.mark.parametrize(
    ("box", "words"),
    [
        ("-179.9,10,179.9,11", "180th meridian"),
        ("10,83,11,86", "84 N"),
        ("10,-85,11,-79", "80 S"),
        ("0,10,20,11", "20.0 degrees wide"),
    ],
)
def test_poles_and_the_antimeridian_give_a_sentence(world: Path, box: str, words: str) -> None:
    with pytest.raises(InputError, match=words):
        open_store(world).working_grid(parse_bbox(box))


@pytest.mark.parametrize(
    ("kind", "reason"),
    [
        ("404", NoData.MISSING_TILE),
        ("503", NoData.MISSING_TILE),
        ("truncate", NoData.MISSING_TILE),
        ("garbage", NoData.BAD_TILE),
    ],
)
@pytest.mark.parametrize("what", ["embeddings/c/", "scales/c/"])
def test_a_fault_is_told_and_never_becomes_a_value(web: WebStore, kind: str, reason: NoData, what: str) -> None:
    store = open_store(web.store)
    _, right = read(store, NORTH, 2024)
    store.forget()
    web.faults = [Fault(what, kind)]
    with pytest.raises(PieceError) as caught:
        read(store, NORTH, 2024, last=False)
    assert caught.value.reason == reason
    assert "Traceback" not in str(caught.value)
    web.faults = []
    _, again = read(store, NORTH, 2024)
    np.testing.assert_array_equal(again.codes, right.codes)
    np.testing.assert_array_equal(again.scales, right.scales)


def test_on_the_last_try_what_is_absent_is_left_out_and_named(web: WebStore) -> None:
    store = open_store(web.store)
    _, right = read(store, NORTH, 2024)
    store.forget()
    web.faults = [Fault("utm32/embeddings/c/2/0/0/0", "404")]
    _, block = read(store, NORTH, 2024, last=True)
    assert block.problems
    kept = valid_scales(block.scales)
    assert 0 < kept.sum() < valid_scales(right.scales).sum()
    np.testing.assert_array_equal(block.codes[kept], right.codes[kept])
    np.testing.assert_array_equal(block.scales[kept], right.scales[kept])
    lost = valid_scales(right.scales) & ~kept
    assert set(block.reasons[lost]) == {NoData.MISSING_TILE}


@pytest.mark.parametrize("what", ["scales/c/2/0/0", "embeddings/c/2/0/0/0"])
@pytest.mark.parametrize("last", [False, True])
def test_what_one_reader_is_refused_is_not_forgotten_because_another_gets_it(
    web: WebStore, monkeypatch: pytest.MonkeyPatch, what: str, last: bool
) -> None:
    store = open_store(web.store)
    _, right = read(store, NORTH, 2024)
    store.forget()
    raw = zarr_zone.Zone._raw
    others = iter([True])

    def overtaken(self: zarr_zone.Zone, *args: Any) -> Any:
        """Between this reader's answer and its doubt, another fails, forgets, and then reads the same without a fault."""
        mine = raw(self, *args)
        if next(others, False):
            store.forget()
            web.faults = []
            with ThreadPoolExecutor(1) as other:
                other.submit(raw, self, *args).result()
        return mine

    monkeypatch.setattr(zarr_zone.Zone, "_raw", overtaken)
    # What has zeros for embeddings is read twice; here it must be found out by the absence alone.
    monkeypatch.setattr(zarr_zone.Zone, "_suspect", lambda *_: False)
    web.faults = [Fault(what, "404")]
    if not last:
        with pytest.raises(PieceError, match="absent where there are"):
            read(store, NORTH, 2024, last=False)
        return
    _, block = read(store, NORTH, 2024, last=True)
    assert any("absent where there are" in sentence for sentence in block.problems)
    kept = valid_scales(block.scales)
    np.testing.assert_array_equal(block.codes[kept], right.codes[kept])
    assert set(block.reasons[valid_scales(right.scales) & ~kept]) == {NoData.MISSING_TILE}


def test_data_that_came_are_not_doubted_because_another_reader_was_refused(
    web: WebStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = open_store(web.store)
    _, right = read(store, NORTH, 2024)
    raw = zarr_zone.Zone._raw
    others = iter([True])

    def beside(self: zarr_zone.Zone, *args: Any) -> Any:
        mine = raw(self, *args)
        if next(others, False):
            store.forget()
            web.faults = [Fault("/c/2/", "404")]
            raw(self, *args)
            web.faults = []
        return mine

    monkeypatch.setattr(zarr_zone.Zone, "_raw", beside)
    _, block = read(store, NORTH, 2024, last=False)
    assert block.problems == ()
    np.testing.assert_array_equal(block.codes, right.codes)
    np.testing.assert_array_equal(block.scales, right.scales)


@pytest.mark.parametrize("what", ["utm32/scales/c/", "utm32/embeddings/c/"])
def test_points_whose_scales_or_embeddings_are_absent_are_tried_again(web: WebStore, what: str) -> None:
    lon, lat = np.array([11.9, 11.93]), np.array([0.03, 0.05])
    right, _ = open_store(web.store).sample(lon, lat, 2024, world_store.DIM)
    web.faults = [Fault(what, "404")]
    store = open_store(web.store)
    with pytest.raises(PieceError, match="absent where there are"):
        store.sample(lon, lat, 2024, world_store.DIM)
    web.faults = []
    np.testing.assert_array_equal(store.sample(lon, lat, 2024, world_store.DIM)[0], right)


def test_a_shard_that_vanishes_while_it_is_read_is_a_fault(web: WebStore) -> None:
    store = open_store(web.store)
    place = store.working_grid(parse_bbox(NORTH))
    part = (slice(0, 8), slice(20, 40))
    store.read(place, part, 2024, 128)  # now the indexes are known
    web.faults = [Fault("utm32/embeddings/c/2/0/0/0", "404")]
    with pytest.raises(PieceError, match="404"):
        store.read(place, part, 2024, 128, last=False)


def test_a_stalled_server_is_not_waited_for_for_ever(web: WebStore) -> None:
    store = open_store(web.store, timeout_s=0.5)
    web.faults = [Fault("scales/c/", "stall", 1)]
    with pytest.raises(PieceError, match="in time"):
        read(store, NORTH, 2024, last=False)


def test_points_equal_geotesseras(web: WebStore, world: Path) -> None:
    rng = np.random.default_rng(1)
    lon, lat = rng.uniform(11.86, 12.14, 60), rng.uniform(-0.14, 0.09, 60)
    lon[0], lat[0], _ = world_store.LAKE
    values, reasons = open_store(web.store).sample(lon, lat, 2023, 128)
    theirs = GeoTesseraZarr(world).sample_points(list(zip(lon, lat, strict=True)), 2023, search_px=0, cross_zone=False)
    np.testing.assert_allclose(values, theirs, rtol=1e-6)
    assert {NoData.VALID, NoData.WATER} <= set(reasons)


def test_what_is_no_store_is_told_in_a_sentence(web: WebStore, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"no zarr\.json"):
        open_store(f"{web.url}/nothing.zarr")
    with pytest.raises(InputError, match="no store at"):
        open_store(tmp_path / "nothing.zarr")
    with pytest.raises(PieceError, match="cannot be reached"):
        open_store("http://127.0.0.1:9/x.zarr", timeout_s=2)
    zarr.open_group(tmp_path / "other.zarr", mode="w", zarr_format=3)
    with pytest.raises(RasterError, match="published layout"):
        open_store(tmp_path / "other.zarr")


def test_the_known_datasets_are_geotesseras() -> None:
    known = datasets.datasets()
    assert known[0].name == "1.1/dclimate"
    assert known[0].default
    assert {"1.0/vultr", "1.1/cambridge", "2.0/2B-L~beta1"} <= {dataset.name for dataset in known}
    assert datasets.dataset_named("1.1") == known[0]
    assert datasets.dataset_named("v1.0").name == "1.0/vultr"
    with pytest.raises(InputError, match="known are"):
        datasets.dataset_named("9.9")


def test_tiles_of_a_region_are_named_by_their_centres() -> None:
    assert tiles_in(parse_bbox("11.8,-0.1,12.0,0.1")) == [(11.85, 0.05), (11.95, 0.05), (11.85, -0.05), (11.95, -0.05)]


def test_a_frame_on_a_lattice_covers_the_pixel_centres_in_the_box() -> None:
    place = working_grid(parse_bbox("3.1,52.0,3.2,52.1"), PixelGrid(31, 100.0, 6_000_000.0, 10.0))
    lon, lat = place.lonlat((slice(0, place.grid.height), slice(0, place.grid.width)))
    assert lon.min() < 3.1 < 3.2 < lon.max()
    assert lat.min() < 52.0 < 52.1 < lat.max()
    assert place.near_seam((slice(0, 10), slice(0, 10))) is False


def write_icechunk(path: Path) -> Path:
    """Zone 32 of the world as an Icechunk repository."""
    icechunk = pytest.importorskip("icechunk")
    west, north, rows, cols = world_store.zone_grid(32)
    codes, scales = world_store.zone_data(32, 2023)
    repository = icechunk.Repository.create(icechunk.local_filesystem_storage(str(path)))
    session = repository.writable_session("main")
    root = zarr.open_group(session.store, mode="w", zarr_format=3)
    root.attrs.update({"geoemb:dimensions": 128, "geoemb:model": "https://geotessera.org/model/2.0/test"})
    equator = int(north / world_store.PIXEL)
    for half, part, top in (
        ("N", slice(0, equator), north),
        ("S", slice(equator, rows), north - equator * world_store.PIXEL + 10_000_000.0),
    ):
        group = root.create_group(f"32{half}")
        height = part.stop - part.start
        group.attrs.update(
            {
                "spatial:transform": [world_store.PIXEL, 0.0, west, 0.0, -world_store.PIXEL, top],
                "spatial:shape": [height, cols],
            }
        )
        dims = ["time", "northing", "easting"]
        e = group.create_array(
            "embeddings",
            shape=(1, height, cols, 128),
            chunks=(1, 16, 16, 128),
            dtype="int8",
            dimension_names=[*dims, "band"],
        )
        s = group.create_array(
            "scales", shape=(1, height, cols), chunks=(1, 16, 16), dtype="float32", dimension_names=dims
        )
        e[0], s[0] = codes[part], scales[part]
        group.create_array("time", shape=(1,), dtype="int32", dimension_names=["time"])[:] = 2023
    session.commit("world")
    return path


def test_icechunk_reads_like_the_same_zarr(world: Path, tmp_path: Path) -> None:
    write_icechunk(tmp_path / "w.icechunk")
    place, block = read(open_store(tmp_path / "w.icechunk"), BOTH, 2023)
    other_place, other = read(open_store(world), BOTH, 2023)
    assert place.grid == other_place.grid
    np.testing.assert_array_equal(block.scales, other.scales)
    np.testing.assert_array_equal(block.codes, other.codes)


@pytest.mark.parametrize("how", ["gone", "cut"])
def test_damaged_icechunk_chunks_are_told_and_never_become_values(tmp_path: Path, how: str) -> None:
    # Bytes changed inside a chunk of the right length cannot be told: neither Icechunk nor Zarr keeps checksums of chunks.
    path = write_icechunk(tmp_path / "w.icechunk")
    sizes = {file: file.stat().st_size for file in (path / "chunks").iterdir()}
    for file in sorted(sizes, key=lambda file: -sizes[file])[: len(sizes) // 3]:
        data = file.read_bytes()
        file.unlink()
        if how == "cut":
            file.write_bytes(data[: len(data) // 2])
    with pytest.raises(PieceError) as caught:
        read(open_store(path), BOTH, 2023, last=False)
    assert len(str(caught.value)) < 200
    assert "\n" not in str(caught.value)

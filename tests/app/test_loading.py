"""A request becomes a project; years join it; another dataset is refused; bad tiles are masked and brought back."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from affine import Affine

from tessera_core.errors import AcquisitionError, Cancelled, MixedDatasetsError, ProjectError
from tessera_core.grid import Grid
from tessera_core.project import library, load, tile_repair
from tessera_core.project.project import Project
from tessera_core.project.request import EmbeddingRequest, rounded
from tessera_core.provenance import Provenance
from tessera_core.raster import EmbeddingRaster, NoData
from tessera_core.region import parse_bbox
from tessera_core.sources.local.convert import quantise_block
from tessera_core.sources.local.open import open_embeddings
from tessera_core.sources.quality.tiles import LonLat, cell_name, cells, check_quality
from tessera_core.sources.remote import cache
from tests.sources import world_store
from tests.sources.world_store import Fault, WebStore


@pytest.fixture(autouse=True)
def _own_home(home: Path) -> None:
    """No test of these touches the home of whoever runs them."""


def _request(web: WebStore, *years: int, box: str = "11.86,-0.09,11.94,0.09") -> EmbeddingRequest:
    return EmbeddingRequest(rounded(replace(parse_bbox(box), name="Equator")), years, "", web.store)


def _quiet(done: int, total: int, message: str) -> None:
    """Progress of no interest."""


def _never() -> bool:
    return False


def _load(request: EmbeddingRequest, project: Project | None = None, attempts: int = 2) -> Project:
    return load.load(request, _quiet, _never, project=project, attempts=attempts)


def test_a_request_becomes_a_project_that_needs_no_network_and_no_cache(web: WebStore) -> None:
    request = _request(web, 2023, 2024)
    assert load.in_cache(request) == ()
    project = _load(request)
    assert (project.name, project.years) == ("Equator", [2023, 2024])
    assert load.in_cache(request) == (2023, 2024)
    assert load.request_of(project) == request
    cache.empty()
    raster = open_embeddings(project.embeddings_path(2023))
    row, col = 40, 20
    lon, lat = raster.grid.pixel_to_lonlat([row + 0.5], [col + 0.5])
    expected = world_store.vectors(lon, lat, 2023)
    codes, scales = world_store.quantised(expected)
    assert np.array_equal(raster.codes[row, col], codes[0])
    assert raster.scales[row, col] == scales[0]


def test_the_second_time_nothing_is_asked_from_the_network(web: WebStore) -> None:
    request = _request(web, 2024)
    _load(request)
    web.hits.clear()
    again = _load(request)
    assert not web.hits
    assert again.name == "Equator"
    assert len(library.recent()) == 2


def test_years_join_a_project(web: WebStore) -> None:
    project = _load(_request(web, 2024))
    assert _load(_request(web, 2022), project) is project
    assert project.years == [2022, 2024]
    request = load.request_of(project)
    assert request is not None
    assert request.years == (2022, 2024)
    missing = open_embeddings(project.embeddings_path(2022)).provenance.details["missing_tiles"]
    assert missing == ["grid_11.85_0.05"]


def test_another_dataset_is_refused_before_anything_is_fetched(web: WebStore) -> None:
    project = _load(replace(_request(web, 2024), dim=64))
    with pytest.raises(MixedDatasetsError, match=r"64-d.*128-d.*project for each"):
        _load(_request(web, 2023), project)
    assert project.years == [2024]
    assert load.in_cache(_request(web, 2023)) == ()
    other = _load(_request(web, 2023))
    assert other.folder != project.folder


def test_what_failed_is_named_and_fetched_when_asked_again(web: WebStore) -> None:
    web.faults.append(Fault("utm32/embeddings/c/2/0/1/0", "503"))
    request = _request(web, 2024, box="11.82,-0.14,12.18,0.08")
    project = _load(request)
    assert load.missing_years(project) == (2024,)
    assert all("2024" in sentence for sentence in load.missing_sentences(project))
    before = open_embeddings(project.embeddings_path(2024)).valid().mean()
    web.faults.clear()
    load.again(project, _quiet, _never)
    assert load.missing_sentences(project) == []
    assert open_embeddings(project.embeddings_path(2024)).valid().mean() > before
    with pytest.raises(ProjectError, match="Nothing is missing"):
        load.again(project, _quiet, _never)


def test_nothing_at_all_leaves_no_project(web: WebStore) -> None:
    web.faults.append(Fault("", "503"))
    with pytest.raises(AcquisitionError, match="connection"):
        _load(_request(web, 2024))
    assert library.recent() == []


def test_cancelling_leaves_no_project_and_the_next_time_goes_on(web: WebStore) -> None:
    with pytest.raises(Cancelled):
        load.load(_request(web, 2024), _quiet, lambda: True)
    assert library.recent() == []
    assert _load(_request(web, 2024)).years == [2024]


# ------------------------------------------------------------------ mending


def _tiles(tmp_path: Path, shift: float = 0.0) -> Path:
    """Two tiles of smooth noise that meet at 3.0 E; the eastern one has ``shift`` added to every embedding."""
    random = np.random.default_rng(0)
    size = (260, 400)
    grid = Grid("EPSG:32631", Affine(20, 0, 496_000, 0, -20, 5_760_000), size)
    rows, cols = np.mgrid[: size[0], : size[1]]
    waves = np.stack([np.sin(rows / (7 + k) + k) * np.cos(cols / (9 + k)) for k in range(16)], -1)
    values = (waves + 0.2 * random.normal(size=(*size, 16))).astype(np.float32)
    lonlat = LonLat(grid)
    lon, _ = lonlat.block(slice(0, size[0]))
    values[lon >= 3.0] += shift
    codes, scales = quantise_block(values)
    stamp = Provenance("tessera", "1.1", "test", 16, 2024, "a test")
    return EmbeddingRaster(codes, scales, grid, stamp, np.zeros(size, np.uint8)).save(tmp_path / "two tiles")


def test_a_masked_tile_is_blank_and_comes_back(home: Path, tmp_path: Path) -> None:
    folder = _tiles(tmp_path)
    project = library.start(library.identify(str(folder)), "Tiles")
    raster = open_embeddings(folder)
    lon, lat = LonLat(raster.grid).block(slice(0, raster.shape[0]))
    name = cell_name((int(cells(lon)[100, 10]), int(cells(lat)[100, 10])))
    tile_repair.mask(project, 2024, [name])
    masked = open_embeddings(project.embeddings_path(2024))
    mine = (cells(lon) == cells(lon)[100, 10]) & (cells(lat) == cells(lat)[100, 10])
    assert np.array_equal(masked.valid(), raster.valid() & ~mine)
    assert (masked.nodata_reasons()[mine] == NoData.BAD_TILE).all()
    assert tile_repair.masked(project, 2024) == (name,)
    tile_repair.restore(project, 2024)
    assert tile_repair.masked(project, 2024) == ()
    assert project.embeddings_path(2024) == folder.resolve()
    assert [path for path in (project.folder / "data").iterdir() if path.is_dir()] == []
    assert np.array_equal(open_embeddings(folder).scales, raster.scales)


def test_levelling_shows_before_and_after_and_is_only_used_when_kept(home: Path, tmp_path: Path) -> None:
    project = library.start(library.identify(str(_tiles(tmp_path, shift=0.8))), "Tiles")
    made = tile_repair.try_seam_correction(project, 2024, _quiet, _never)
    before, after = made.steps
    assert made.before.seams
    assert before > 3 * after
    assert made.pictures[0].shape == made.pictures[1].shape == (260, 400, 3)
    assert not tile_repair.seams_corrected(project, 2024)
    tile_repair.drop_seam_correction(made)
    assert not made.folder.exists()
    made = tile_repair.try_seam_correction(project, 2024, _quiet, _never)
    tile_repair.keep_seam_correction(project, 2024, made)
    assert tile_repair.seams_corrected(project, 2024)
    assert len(check_quality(open_embeddings(project.embeddings_path(2024))).seams) < len(made.before.seams)
    tile_repair.restore(project, 2024)
    assert not tile_repair.seams_corrected(project, 2024)


def test_old_demo_regions_are_removed_unless_a_project_uses_them(home: Path, region_folder: Path) -> None:
    import json

    for name in ("96-0-aaaa", "96-0-bbbb"):
        folder = home / "cache" / "demo" / name
        shutil.copytree(region_folder, folder / "embeddings")
        (folder / "demo.json").write_text(json.dumps({"size": 96, "seed": 0}))
    library.start(library.identify(str(home / "cache" / "demo" / "96-0-aaaa")), "My demo")
    used, free = library.old_demos()
    assert (used.projects, free.projects) == (("My demo",), ())
    assert free.bytes > 100_000
    assert library.remove_old_demos() == free.bytes
    assert [old.folder.name for old in library.old_demos()] == ["96-0-aaaa"]

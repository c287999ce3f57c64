"""Snapshots: newer data are told for the region they touch; what was cached half a pixel off is put right."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import zarr
from affine import Affine

from tessera_core.grid import Grid
from tessera_core.project import load, pack, registration
from tessera_core.project import newer_data as newer_data_of
from tessera_core.project.request import EmbeddingRequest, from_query
from tessera_core.raster import EmbeddingRaster
from tessera_core.sources.remote import cache, fetch
from tessera_core.sources.remote.fetch import cached, fetch_years
from tessera_core.sources.remote.snapshots import newer_data
from tests.sources import dclimate_store as made
from tests.sources.dclimate_store import place

REGION = place(slice(4, 60), slice(4, 60))


@pytest.fixture
def refilled(dclimate: made.Store, tmp_path: Path) -> tuple[Path, str]:
    """A copy of the repository in which one tile of 2024 was written anew and 31S has got 2023; its newest snapshot."""
    import icechunk

    path = tmp_path / "refilled.icechunk"
    shutil.copytree(dclimate.icechunk, path)
    repository = icechunk.Repository.open(icechunk.local_filesystem_storage(str(path)))
    session = repository.writable_session("main")
    root = zarr.open_group(session.store, mode="r+", zarr_format=3)
    root["31N/scales"][1, 0:64, 0:64] = 0.5
    root["31S"].attrs["years_complete"] = [2023, 2024, 2025]
    return path, session.commit("a tile again")


def test_newer_data_are_told_where_they_touch_the_region(dclimate: made.Store, refilled: tuple[Path, str]) -> None:
    path, newest = refilled
    location = str(path)
    touched = newer_data(location, dclimate.repaired, REGION, [2023, 2024])
    assert (touched.newest, touched.years, touched.appeared) == (newest, (2024,), ())
    assert "embeddings of your region changed in 2024." in touched.sentence
    elsewhere = newer_data(location, dclimate.repaired, place(slice(70, 120), slice(70, 120)), [2024])
    assert elsewhere.sentence.endswith("nothing of your region changed.")
    south = newer_data(location, dclimate.repaired, place(slice(150, 200), slice(4, 60)), made.YEARS)
    assert south.appeared == (2023,)
    assert newer_data(location, newest, REGION, [2024]).sentence == ""
    # The repair changed no pixel.
    assert newer_data(str(dclimate.icechunk), dclimate.unrepaired, REGION, made.YEARS).years == ()


def test_a_project_stays_with_its_snapshot(home: Path, dclimate: made.Store, refilled: tuple[Path, str]) -> None:
    path, newest = refilled
    query = EmbeddingRequest(REGION, (2024,), "", str(path), snapshot=dclimate.repaired).query()
    request = from_query(query)
    assert request is not None
    assert request.snapshot == dclimate.repaired
    quiet, never = (lambda *_: None), (lambda: False)
    project = load.load(request, quiet, never)
    assert project.embeddings[2024].provenance.details["snapshot"] == dclimate.repaired
    # Another year of it comes from the same snapshot, though a newer one is there.
    more = EmbeddingRequest(REGION, (2025,), "", str(path))
    project = load.load(more, quiet, never, project=project)
    assert project.embeddings[2025].provenance.details["snapshot"] == dclimate.repaired
    assert newest in load.newer(project)
    assert "changed in 2024" in load.newer(project)


def test_what_was_cached_half_a_pixel_off_is_put_right_without_fetching(
    home: Path, dclimate: made.Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    location = str(dclimate.icechunk)
    (right,) = fetch_years(REGION, location, [2024])
    raster = right.open()
    # As an earlier version cached it from the repository before its repair.
    header = json.loads((right.path / "raster.json").read_text())
    t = raster.grid.transform
    wrong = Grid(raster.grid.crs, Affine(t.a, t.b, t.c + 5, t.d, t.e, t.f - 5), raster.grid.shape)
    (right.path / "raster.json").write_text(json.dumps(header | {"grid": wrong.to_json()}))
    facts = json.loads((right.path / "fetch.json").read_text())
    (right.path / "fetch.json").write_text(json.dumps(facts | {"identity": f"{location} old"}))
    assert cached(REGION, location, 2024) is None
    codes = np.array(raster.codes)
    read: list[int] = []
    from tessera_core.sources.remote.zarr_zone import Zone

    whole = Zone.read

    def counted(self: Zone, year: int, rows: slice, cols: slice, dim: int, *, last: bool = True) -> object:
        read.append((rows.stop - rows.start) * (cols.stop - cols.start))
        return whole(self, year, rows, cols, dim, last=last)

    monkeypatch.setattr(Zone, "read", counted)
    (again,) = fetch_years(REGION, location, [2024])
    assert again.open().grid == raster.grid
    np.testing.assert_array_equal(again.open().codes, codes)
    # Only what was compared came from the repository.
    assert sum(read) <= 34 * 34
    assert any("half a pixel" in str(entry.facts) or entry.key.endswith("-again") for entry in cache.entries())


def test_what_lies_half_a_pixel_off_but_differs_is_fetched_anew(home: Path, dclimate: made.Store) -> None:
    location = str(dclimate.icechunk)
    (right,) = fetch_years(REGION, location, [2024])
    grid, codes = right.open().grid, np.array(right.open().codes)
    header = json.loads((right.path / "raster.json").read_text())
    t = grid.transform
    wrong = Grid(grid.crs, Affine(t.a, t.b, t.c + 5, t.d, t.e, t.f - 5), grid.shape)
    (right.path / "raster.json").write_text(json.dumps(header | {"grid": wrong.to_json()}))
    facts = json.loads((right.path / "fetch.json").read_text())
    (right.path / "fetch.json").write_text(json.dumps(facts | {"identity": f"{location} old"}))
    np.save(right.path / "codes.npy", np.where(codes > 0, codes - 1, codes).astype(np.int8))
    (again,) = fetch_years(REGION, location, [2024])
    np.testing.assert_array_equal(again.open().codes, codes)
    assert again.open().grid == grid


def test_newer_data_are_looked_at_and_taken(home: Path, dclimate: made.Store, refilled: tuple[Path, str]) -> None:
    path, newest = refilled
    quiet, never = (lambda *_: None), (lambda: False)
    request = EmbeddingRequest(REGION, (2024, 2025), "", str(path), snapshot=dclimate.repaired)
    project = load.load(request, quiet, never)
    found = newer_data_of.look(project, quiet, never)
    (year,) = found.differences
    old = EmbeddingRaster.open(project.embeddings_path(2024))
    differs = old.valid() & (np.asarray(old.scales) != 0.5)
    assert year.changed == differs.sum()
    # The tile's scales were written anew; its codes, and so the directions, are as before.
    assert year.cosine_median == pytest.approx(1)
    assert "In 2024 " in year.sentence
    assert newest in found.sentence
    project = newer_data_of.take(project, found, quiet, never)
    assert project.embeddings[2024].provenance.details["snapshot"] == newest
    assert project.embeddings[2025].provenance.details["snapshot"] == dclimate.repaired
    taken = EmbeddingRaster.open(project.embeddings_path(2024))
    np.testing.assert_array_equal(taken.valid(), old.valid() | (year.picture == newer_data_of.APPEARED))
    assert newer_data_of.difference(taken, taken).sentence.endswith("not one pixel of your region differs.")


def test_projects_and_packs_half_a_pixel_off_are_put_right_without_fetching(
    home: Path, dclimate: made.Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    quiet, never = (lambda *_: None), (lambda: False)
    project = load.load(EmbeddingRequest(REGION, (2024, 2025), "", str(dclimate.icechunk)), quiet, never)
    right = {year: project.embeddings[year].grid for year in project.years}
    # As an earlier version made it: half a pixel to the south-east, and of no named snapshot.
    for year, ref in project.embeddings.items():
        raster = EmbeddingRaster.open(ref.path)
        t = raster.grid.transform
        grid = Grid(raster.grid.crs, Affine(t.a, t.b, t.c + 5, t.d, t.e, t.f - 5), raster.grid.shape)
        details = {key: value for key, value in raster.provenance.details.items() if key != "snapshot"}
        header = json.loads((ref.path / "raster.json").read_text())
        stamp = replace(raster.provenance, details=details)
        (ref.path / "raster.json").write_text(
            json.dumps(header | {"grid": grid.to_json(), "provenance": stamp.to_json()})
        )
        project.attach_embeddings(year, ref.path, stamp, grid)
    assert registration.shifted_years(project) == [2024, 2025]
    assert project.grid != right[2024]
    packed = pack.make_pack([project], tmp_path / "old.tesserapack")
    monkeypatch.setattr(fetch, "open_store", None)
    (opened,) = pack.open_pack(packed)
    assert registration.register_years(project) == [2024, 2025]
    for made_right in (project, opened):
        assert registration.shifted_years(made_right) == []
        assert made_right.grid == right[2024]
        for year in made_right.years:
            raster = EmbeddingRaster.open(made_right.embeddings_path(year))
            assert raster.grid == made_right.embeddings[year].grid == right[year]
            assert any("half a pixel (5 m)" in note for note in raster.provenance.details["notes"])

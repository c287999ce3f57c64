from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tessera_core.analysis import embedding_space
from tessera_core.analysis.clusters import kmeans
from tessera_core.errors import Cancelled, RasterError
from tessera_core.labels.model import Label
from tests.factories import landscape

YEARS = {2023: landscape(year=2023, seed=1, dim=24), 2024: landscape(year=2024, seed=2, dim=24)}


def test_pixels_come_evenly_from_all_years_and_by_seed() -> None:
    sample = embedding_space.draw_pixels(YEARS, 1000, seed=3)
    assert len(sample) == 1000
    assert np.bincount(sample.year).tolist() == [500, 500]
    for position, raster in enumerate(YEARS.values()):
        mine = sample.year == position
        np.testing.assert_array_equal(sample.values[mine], raster.sample(sample.rows[mine], sample.cols[mine]))
    assert np.isfinite(sample.values).all()
    np.testing.assert_array_equal(sample.rows, embedding_space.draw_pixels(YEARS, 1000, seed=3).rows)


def test_labelled_pixels_keep_their_class_in_every_year() -> None:
    grid = YEARS[2023].grid
    x, y = grid.pixel_to_xy([20.5, 40.5, 0.5], [10.5, 50.5, 0.5])
    # The third lies where there is no data.
    points = list(zip(x.tolist(), y.tolist(), strict=True))
    labels = [Label(f"l{i}", i + 1, "point", (point,)) for i, point in enumerate(points)]
    sample, classes = embedding_space.labelled_pixels(YEARS, labels)
    assert sample.rows.tolist() == [20, 40, 20, 40]
    assert classes.tolist() == [1, 2, 1, 2]
    assert len(embedding_space.labelled_pixels(YEARS, [])[0]) == 0
    assert len(sample.joined(sample)) == 8


def test_umap_is_kept_and_found_again(tmp_path: Path) -> None:
    path = embedding_space.umap_path(tmp_path, ["a", "b"], 300, 2)
    assert embedding_space.load_umap(path, YEARS) is None
    sample, umap, learnt, _ = embedding_space.make_umap(YEARS, embedding_space.UmapPlan(300, 2), path)
    kept = embedding_space.load_umap(path, YEARS)
    assert kept is not None
    np.testing.assert_array_equal(kept[0].rows, sample.rows)
    np.testing.assert_array_equal(kept[1].points, umap.points)
    np.testing.assert_allclose(kept[2](sample.values), learnt(sample.values))
    # Other embeddings, numbers or axes are another file; a damaged one is as none.
    assert (
        len(
            {
                path,
                *(embedding_space.umap_path(tmp_path, c, n, a) for c, n, a in ((["a"], 300, 2), (["a", "b"], 300, 3))),
            }
        )
        == 3
    )
    path.write_bytes(path.read_bytes()[:200])
    assert embedding_space.load_umap(path, YEARS) is None


def test_layouts_of_before_do_not_pile_up(tmp_path: Path) -> None:
    for number in range(30):
        old = embedding_space.umap_path(tmp_path, [str(number)], 300, 2)
        old.parent.mkdir(exist_ok=True)
        old.write_bytes(b"old")
        os.utime(old, (number, number))
    path = embedding_space.umap_path(tmp_path, ["now"], 300, 2)
    embedding_space.make_umap(YEARS, embedding_space.UmapPlan(300, 2), path)
    left = set(path.parent.iterdir())
    assert len(left) == embedding_space.MAX_KEPT
    assert path in left
    assert embedding_space.umap_path(tmp_path, ["29"], 300, 2) in left
    assert embedding_space.umap_path(tmp_path, ["0"], 300, 2) not in left


def test_a_cancelled_umap_leaves_nothing(tmp_path: Path) -> None:
    path = embedding_space.umap_path(tmp_path, ["a"], 300, 2)
    with pytest.raises(Cancelled):
        embedding_space.make_umap(YEARS, embedding_space.UmapPlan(300, 2), path, cancelled=lambda: True)
    assert list(tmp_path.rglob("*.npz")) == []


def test_groups_carry_over_to_another_year() -> None:
    found = kmeans(YEARS[2023], 4)
    np.testing.assert_array_equal(embedding_space.clusters_of(YEARS[2023], found.centres), found.labels)
    carried = embedding_space.clusters_of(YEARS[2024], found.centres)
    with pytest.raises(Cancelled):
        embedding_space.clusters_of(YEARS[2024], found.centres, lambda: True)
    # The two years are the same landscape with other noise.
    assert (carried == found.labels).mean() > 0.97
    assert (carried[:2, :2] == 0).all()


def test_a_region_without_data_is_named() -> None:
    empty = replace(YEARS[2023], scales=np.full(YEARS[2023].shape, np.nan, np.float32))
    with pytest.raises(RasterError, match="nothing to show"):
        embedding_space.draw_pixels({2023: empty}, 100)


def test_the_same_places_are_drawn_in_every_year() -> None:
    sample = embedding_space.draw_places(YEARS, 400)
    first, second = (sample.picked(np.flatnonzero(sample.year == position)) for position in (0, 1))
    assert len(first) == len(second) == 200
    np.testing.assert_array_equal(first.rows, second.rows)
    np.testing.assert_array_equal(first.cols, second.cols)
    np.testing.assert_array_equal(second.values, YEARS[2024].sample(second.rows, second.cols))
    with pytest.raises(RasterError, match="two or more"):
        embedding_space.draw_places({2023: YEARS[2023]}, 100)


def test_a_kept_picture_that_points_outside_the_region_is_as_none(tmp_path: Path) -> None:
    path = embedding_space.umap_path(tmp_path, ["a"], 300, 2)
    embedding_space.make_umap(YEARS, embedding_space.UmapPlan(300, 2), path)
    with np.load(path) as kept:
        arrays = {name: kept[name] for name in kept.files}
    for broken in (
        {"rows": arrays["rows"] + 10_000},
        {"cols": arrays["cols"] - 10_000},
        {"points": arrays["points"][:5]},
    ):
        np.savez(path, **(arrays | broken))
        assert embedding_space.load_umap(path, YEARS) is None


def test_pixels_among_others_are_known_by_year_and_place() -> None:
    sample = embedding_space.draw_pixels(YEARS, 200)
    chosen = np.array([3, 150, 199])
    assert np.flatnonzero(sample.among(sample.picked(chosen))).tolist() == chosen.tolist()
    assert not sample.among(sample.picked(np.array([], int))).any()


def test_labels_are_named_by_what_they_say_and_not_by_their_notes() -> None:
    one = Label("a", 1, "point", ((1.0, 2.0),))
    assert embedding_space.labels_digest([one]) == embedding_space.labels_digest([replace(one, id="b", note="seen")])
    assert embedding_space.labels_digest([one]) != embedding_space.labels_digest([replace(one, class_id=2)])


@pytest.mark.soak
def test_every_way_makes_a_picture_that_is_found_again(tmp_path: Path) -> None:
    grid = YEARS[2023].grid
    x, y = grid.pixel_to_xy(np.arange(20, 60, 2) + 0.5, np.full(20, 30) + 0.5)
    places = list(zip(x.tolist(), y.tolist(), strict=True))
    labels = [Label(f"l{i}", 1 + i % 2, "point", (place,)) for i, place in enumerate(places)]
    for way in embedding_space.Way:
        path = embedding_space.umap_path(tmp_path, ["a", "b"], 400, 2, way)
        made = embedding_space.make_umap(YEARS, embedding_space.UmapPlan(400, 2, way, labels), path)
        found = embedding_space.load_umap(path, YEARS)
        assert found is not None
        assert found.made_from == embedding_space.labels_digest(labels)
        for name in ("year", "rows", "cols", "values"):
            np.testing.assert_array_equal(getattr(found.sample, name), getattr(made.sample, name))
        known, _ = embedding_space.labelled_pixels(YEARS, labels)
        wanted = 400 + (len(known) if way in ("full", "guided") else 0)
        assert len(found.umap.points) == wanted, way

import itertools

import numpy as np
import pytest
from affine import Affine
from hypothesis import given, settings
from hypothesis import strategies as st
from shapely import Point, Polygon

from tessera_core.grid import Grid
from tessera_core.labels import sampling
from tessera_core.labels.model import Label
from tessera_core.labels.sampling import geometry_pixels, label_pixels, rasterise
from tests.factories import make_grid

GRID = make_grid((40, 50))


def at(row, col, grid=GRID):
    x, y = grid.pixel_to_xy(row, col)
    return float(x), float(y)


def label(kind, places, radius=0.0, class_id=1, id="a", grid=GRID, holes=()):
    rings = tuple(tuple(at(*place, grid) for place in ring) for ring in holes)
    return Label(id, class_id, kind, tuple(at(*place, grid) for place in places), radius, holes=rings)


def pixels(lab, grid=GRID):
    return {divmod(int(flat), grid.width) for flat in geometry_pixels(lab, grid)}


@pytest.mark.parametrize(
    ("place", "expected"),
    [((0.5, 0.5), {(0, 0)}), ((0, 0), {(0, 0)}), ((39.99, 49.99), {(39, 49)}), ((40, 3), set()), ((-0.01, 3), set())],
)
def test_a_point_is_its_pixel(place, expected):
    assert pixels(label("point", [place])) == expected


@given(st.floats(-3, 43), st.floats(-3, 53), st.floats(-3, 43), st.floats(-3, 53), st.floats(0, 150))
@settings(max_examples=80, deadline=None)
def test_a_stroke_is_the_pixels_whose_centre_is_within_its_radius_and_those_under_it(r0, c0, r1, c1, radius):
    got = pixels(label("brush", [(r0, c0), (r1, c1)], radius))
    for row in range(GRID.height):
        for col in range(GRID.width):
            centre = np.array([row + 0.5, col + 0.5]) * 10
            a, b = np.array([r0, c0]) * 10, np.array([r1, c1]) * 10
            length2 = (b - a) @ (b - a)
            t = np.clip((centre - a) @ (b - a) / length2, 0, 1) if length2 else 0.0
            distance = np.linalg.norm(centre - a - t * (b - a))
            if distance < radius - 1e-6:
                assert (row, col) in got
            elif distance > max(radius, 50**0.5) + 1e-6:
                assert (row, col) not in got
    for row, col in ((r0, c0), (r1, c1)):
        if 0 <= row < GRID.height and 0 <= col < GRID.width:
            assert (int(row), int(col)) in got


def test_a_thin_stroke_has_no_gaps():
    got = sorted(pixels(label("brush", [(2.5, 2.5), (20.5, 40.5)], 0)))
    for (r0, c0), (r1, c1) in itertools.pairwise(got):
        assert abs(r1 - r0) <= 1
        assert r1 != r0 or c1 - c0 == 1


@given(st.lists(st.tuples(st.floats(-5, 45), st.floats(-5, 55)), min_size=3, max_size=3, unique=True))
@settings(max_examples=60, deadline=None)
def test_a_polygon_is_the_pixel_centres_inside(corners):
    shape = Polygon([(row, col) for row, col in corners])
    if shape.area < 1e-3:
        return
    got = pixels(label("polygon", corners))
    expected = {
        (r, c) for r in range(GRID.height) for c in range(GRID.width) if shape.contains(Point(r + 0.5, c + 0.5))
    }
    near = {
        (r, c) for r in range(GRID.height) for c in range(GRID.width) if shape.distance(Point(r + 0.5, c + 0.5)) < 1e-6
    }
    assert expected - got <= near
    if expected:
        assert got <= near
    else:
        assert len(got) <= 1 or got <= near


def test_a_polygon_smaller_than_a_pixel_is_one_pixel():
    assert pixels(label("polygon", [(3.1, 4.1), (3.1, 4.2), (3.2, 4.2)])) == {(3, 4)}


def test_holes_are_holes():
    outer, hole = [(0, 0), (0, 10), (10, 10), (10, 0)], [(2, 2), (2, 8), (8, 8), (8, 2)]
    got = pixels(label("polygon", outer, holes=[hole]))
    assert len(got) == 100 - 36
    assert (5, 5) not in got


def test_a_rectangle_of_two_corners_is_the_same_as_its_ring():
    two = label("rectangle", [(2, 3), (6, 9)])
    ring = label("rectangle", [(2, 3), (2, 9), (6, 9), (6, 3)])
    assert pixels(two) == pixels(ring) == {(r, c) for r in range(2, 6) for c in range(3, 9)}


def test_later_labels_win_and_erase_unlabels():
    labels = [
        label("rectangle", [(0, 0), (10, 10)], class_id=1, id="a"),
        label("point", [(5.5, 5.5)], class_id=2, id="b"),
        label("erase", [(0.5, 0.5)], 1, id="c"),
        label("point", [(0.5, 0.5)], class_id=3, id="d"),
    ]
    classes, groups = rasterise(labels, GRID)
    assert classes[5, 5] == 2
    assert groups[5, 5] == 2
    assert (classes[0, 0], groups[0, 0]) == (3, 4)
    assert np.count_nonzero(classes == 1) == 98
    classes, _ = rasterise(labels[:3], GRID)
    assert classes[0, 0] == 0


def reference(labels, grid):
    classes, groups = np.zeros(grid.shape, np.uint8), np.zeros(grid.shape, np.int32)
    for number, lab in enumerate(labels, 1):
        flat = geometry_pixels(lab, grid)
        classes.flat[flat] = lab.class_id
        groups.flat[flat] = 0 if lab.kind == "erase" else number
    return classes, groups


@given(st.data())
@settings(max_examples=40, deadline=None)
def test_the_incremental_result_equals_painting_from_scratch(data):
    """Whatever is added, taken back, erased or re-classed, in whatever order it is asked for."""
    labels = []
    for step in range(data.draw(st.integers(1, 14))):
        if labels and data.draw(st.booleans()) and step % 3 == 0:
            labels.pop(data.draw(st.integers(0, len(labels) - 1)))
        else:
            kind = data.draw(st.sampled_from(["point", "brush", "erase", "rectangle"]))
            row, col = data.draw(st.integers(0, 39)), data.draw(st.integers(0, 49))
            places = [(row, col), (row + 5, col + 7)] if kind == "rectangle" else [(row + 0.5, col + 0.5)]
            labels.append(label(kind, places, 40, class_id=1 + step % 3, id=f"{step}"))
        classes, groups = rasterise(labels, GRID)
        want_classes, want_groups = reference(labels, GRID)
        np.testing.assert_array_equal(classes, want_classes)
        np.testing.assert_array_equal(groups, want_groups)


def test_one_more_label_computes_only_its_own_pixels(monkeypatch):
    labels = [label("brush", [(n % 40, n % 50)], 30, id=f"n{n}") for n in range(60)]
    label_pixels(labels, GRID)
    asked = []
    monkeypatch.setattr(
        sampling, "geometry_pixels", lambda lab, grid: asked.append(lab.id) or geometry_pixels(lab, grid)
    )
    label_pixels([*labels, label("point", [(1, 1)], id="new")], GRID)
    label_pixels(labels[:-1], GRID)
    assert asked == ["new"]


def test_a_label_moved_under_the_same_id_is_computed_again():
    label_pixels([label("point", [(1.5, 1.5)], id="m")], GRID)
    moved = label_pixels([label("point", [(2.5, 2.5)], id="m")], GRID)
    assert (moved.rows[0], moved.cols[0]) == (2, 2)


@pytest.mark.parametrize(
    "grid",
    [
        Grid.local((30, 30)),
        Grid("EPSG:4326", Affine(0.001, 0, 10, 0, -0.001, 50), (30, 30)),
        Grid("EPSG:32631", Affine(8.66, 5, 500_000, 5, -8.66, 5_000_000), (30, 30)),
        Grid("EPSG:32631", Affine(10, 0, 500_000, 0, 10, 5_600_000), (30, 30)),
    ],
)
def test_any_grid_will_do(grid):
    labels = [
        label("point", [(3.5, 4.5)], grid=grid, id="p"),
        label("polygon", [(10, 10), (10, 14), (14, 14), (14, 10)], grid=grid, class_id=2, id="q"),
    ]
    classes, _ = rasterise(labels, grid)
    assert classes[3, 4] == 1
    assert {(r, c) for r, c in np.argwhere(classes == 2)} == {(r, c) for r in range(10, 14) for c in range(10, 14)}


def test_nothing_on_the_grid_is_nothing():
    empty = label_pixels([], GRID)
    assert [len(part) for part in empty] == [0, 0, 0, 0]
    assert empty.class_ids.dtype == np.uint8
    far = label("brush", [(1e6, 1e6), (1e7, 1e9)], 5, id="far")
    assert len(label_pixels([far], GRID).rows) == 0
    everything = label("brush", [(-1e6, -1e6)], 1e9, id="all")
    assert len(label_pixels([everything], GRID).rows) == 2000

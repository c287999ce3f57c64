"""A scene too large to be mapped at every click: what is in sight is mapped first, and the rest comes to the same."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import pytest
from affine import Affine
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from PIL import Image

from tessera_core.grid import Grid
from tessera_core.heads import HeadChoice, Scene
from tessera_core.render.display import DisplayGrid
from tessera_core.session import live_map, payload
from tessera_core.session.assessor import Assessor
from tessera_core.session.live_map import LiveMap
from tessera_core.session.protocol import ProtocolState, Sight, apply_message
from tessera_core.ui import scene as open_scenes
from tessera_core.ui.scene import OpenScene
from tests.factories import landscape
from tests.session.questions import labelled, question

HEAD = HeadChoice("ridge")
RASTER = landscape(80)
DISPLAY = DisplayGrid(RASTER.grid)


@pytest.fixture
def live(monkeypatch: pytest.MonkeyPatch) -> LiveMap:
    monkeypatch.setattr(live_map, "LARGE_PIXELS", 1000)
    return LiveMap("scene", "place", RASTER, lambda: Scene(RASTER), DISPLAY, "Demo", "2024")


def indices(png: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(png)))


def sight(*share: float, size: tuple[int, int] = (400, 400)) -> Sight:
    """The part of the display between shares of its width and height: west, south, east, north."""
    west, south, east, north = DISPLAY.bounds
    x, y = ([a + s * (b - a) for s in pair] for a, b, pair in ((west, east, share[::2]), (south, north, share[1::2])))
    return Sight((x[0], y[0], x[1], y[1]), size)


def test_a_click_maps_what_is_in_sight_as_the_whole_map_has_it_and_the_rest_follows(
    live: LiveMap, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = labelled(RASTER)
    whole = Scene(RASTER).predict(live._reader.teach(log, HEAD).fitted)  # type: ignore[arg-type]

    def told(seen: Sight | None, confidence: bool = True) -> tuple[dict[str, Any], np.ndarray]:
        state = ProtocolState(view=seen, confidence=confidence)
        header, png = payload.unpack(live.message("k", log, HEAD, state, 1))
        return header, indices(png)

    near = sight(0.2, 0.3, 0.6, 0.7)
    header, seen = told(near)
    assert header["large"]
    assert {c["area"] for c in header["classes"]} == {None}
    assert live.rest(log, HEAD, True) is None
    view = DISPLAY.view(near.bounds, near.size)
    assert header["map"]["bounds"] == pytest.approx(view.bounds)
    first, _ = payload.overlay(view.take(whole.classes), view.take(whole.confidence, 255), log.classes, None)
    np.testing.assert_array_equal(seen, indices(first))
    # Who has not said what they see gets all of it.
    everything, _ = told(None)
    assert everything["map"]["bounds"] == pytest.approx(DISPLAY.bounds)
    live.accept_rest(log.version, HEAD, 1.0, whole)
    later, again = told(near)
    assert later["stamp"] != header["stamp"]
    np.testing.assert_array_equal(again, seen)
    monkeypatch.setattr(live_map, "LARGE_PIXELS", RASTER.grid.height * RASTER.grid.width)
    small = LiveMap("scene", "place", RASTER, lambda: Scene(RASTER), DISPLAY, "Demo", "2024")
    plain, png = payload.unpack(small.message("k", log, HEAD, ProtocolState(confidence=True), 1))
    assert [c["area"] for c in later["classes"]] == [c["area"] for c in plain["classes"]]
    # It was drawn beside, so that no click waits for it.
    with monkeypatch.context() as patch:
        patch.setattr(payload, "overlay", None)
        rest = live.rest(log, HEAD, True)
    assert rest is not None
    assert rest[1] == png
    assert rest[0]["classes"] == [c.id for c in log.classes]


def test_a_map_of_the_rest_of_other_labels_or_another_confidence_is_not_shown(live: LiveMap) -> None:
    log = labelled(RASTER)
    made = Scene(RASTER).predict(live._reader.teach(log, HEAD).fitted)  # type: ignore[arg-type]
    version = log.version
    live.accept_rest(version, HEAD, 2.0, made)
    assert live.rest(log, HEAD, False) is None
    live.accept_rest(version, HEAD, 1.0, made)
    assert live.rest(log, HEAD, False) is not None
    log.undo()
    assert live.rest(log, HEAD, False) is None
    live.message("k", log, HEAD, ProtocolState(), 1)
    live.accept_rest(version, HEAD, 1.0, made)
    assert live.rest(log, HEAD, False) is None
    # Whoever asks for the map as a raster gets all of it, and the page has it then.
    reading = live.reading(log, HEAD)
    assert reading.map is not None
    assert reading.map.classes.shape == RASTER.shape
    assert live.rest(log, HEAD, False) is not None
    live.set_temperature(HEAD, 3.0)
    assert live.rest(log, HEAD, False) is None


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(temperatures=st.lists(st.floats(0.5, 3) | st.sampled_from([1.0, 1.0002, 1.0004]), min_size=1, max_size=4))
def test_a_rest_of_the_confidence_that_is_shown_is_taken_though_the_page_has_not_asked_for_that_map_yet(
    live: LiveMap, temperatures: list[float]
) -> None:
    log = labelled(RASTER)
    made = Scene(RASTER).predict(live._reader.teach(log, HEAD).fitted)  # type: ignore[arg-type]
    live.message("k", log, HEAD, ProtocolState(), 1)
    for before, temperature in zip([live.temperature(HEAD), *temperatures], temperatures, strict=False):
        stamp = live.stamp(log, HEAD)
        live.set_temperature(HEAD, temperature)
        assert (live.stamp(log, HEAD) == stamp) == (before == temperature)
        live.accept_rest(log.version, HEAD, temperature, made)
        assert live.rest(log, HEAD, False) is not None
        assert live.reading(log, HEAD).map is made


def test_a_rest_that_is_overtaken_while_it_is_drawn_is_not_shown(
    live: LiveMap, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = labelled(RASTER)
    made = Scene(RASTER).predict(live._reader.teach(log, HEAD).fitted)  # type: ignore[arg-type]
    version, overlay = log.version, payload.overlay

    def slowly(*args: Any) -> Any:
        log.undo()
        return overlay(*args)

    with monkeypatch.context() as patch:
        patch.setattr(payload, "overlay", slowly)
        live.accept_rest(version, HEAD, 1.0, made)
    assert log.version != version
    assert live._reader.reading is None


def test_the_rest_is_mapped_once_and_with_the_confidence_that_was_just_checked(live: LiveMap) -> None:
    log = labelled(RASTER)
    told: dict[HeadChoice, float] = {}
    made: list[tuple[Any, ...]] = []
    assessor = Assessor(
        RASTER, None, lambda head, now: told.update({head: now}), quiet=0, on_rest=lambda *found: made.append(found)
    )
    assessor.ask(question(log, large=True, temperature=7.5))
    found = assessor.wait()
    assert [temperature for _, _, temperature, _ in made] == [told[HEAD]] != [7.5]
    # The page asks again with what it was told, and has its answer.
    assert assessor.ask(question(log, large=True, temperature=told[HEAD])) is found
    assert len(made) == 1


def test_a_slow_head_shows_a_quick_map_of_what_is_in_sight_until_its_own_is_there(live: LiveMap) -> None:
    log, slow = labelled(RASTER), HeadChoice("forest")
    header, png = payload.unpack(live.message("k", log, slow, ProtocolState(view=sight(0, 0, 0.5, 0.5)), 1))
    assert header["preview"]
    assert png
    made = Scene(RASTER).predict(live._reader.teach(log, slow).fitted)  # type: ignore[arg-type]
    live.accept(log.version, slow, made)
    header, _ = payload.unpack(live.message("k", log, slow, ProtocolState(view=sight(0, 0, 0.5, 0.5)), 2))
    assert not header["preview"]
    assert header["classes"][0]["area"] is not None


def test_the_rest_is_worked_out_beside_the_map_as_the_map_shows_it(live: LiveMap) -> None:
    log, made = labelled(RASTER), []
    assessor = Assessor(RASTER, quiet=0, on_rest=lambda *found: made.append(found))
    assessor.ask(question(log, large=True, temperature=1.5))
    found = assessor.wait()
    assert "rest" in found.fresh
    assert found.map_progress == 1
    (version, head, temperature, mapped) = made[0]
    assert (version, head, temperature) == (log.version, HEAD, 1.5)
    live.set_temperature(HEAD, 1.5)
    whole = live.reading(log, HEAD).map
    assert whole is not None
    np.testing.assert_array_equal(mapped.classes, whole.classes)
    np.testing.assert_array_equal(mapped.confidence, whole.confidence)
    # The same again is not made again, another confidence is.
    assessor.ask(question(log, large=True, temperature=1.5, error=0.2))
    assessor.wait()
    assert len(made) == 1
    assessor.ask(question(log, large=True, temperature=2.0, error=0.2))
    assessor.wait()
    assert len(made) == 2


GRIDS = [RASTER.grid, Grid("EPSG:32631", Affine(10, 0, 3e5, 0, -10, 8e6), (300, 77)), Grid.local((90, 120))]


@settings(max_examples=40, deadline=None)
# A thinned view far from the equator, whose nodes lay 340 pixels of the scene apart.
@example(grid=GRIDS[1], corner=(0.0, 0.0), extent=(0.5, 1.125), size=(31, 5))
@given(
    grid=st.sampled_from(GRIDS),
    corner=st.tuples(st.floats(-0.2, 1), st.floats(-0.2, 1)),
    extent=st.tuples(st.floats(0.01, 1.2), st.floats(0.01, 1.2)),
    size=st.tuples(st.integers(1, 500), st.integers(1, 500)),
)
def test_a_view_shows_the_pixels_that_lie_there_and_no_more_than_a_screen_has(
    grid: Grid, corner: tuple[float, float], extent: tuple[float, float], size: tuple[int, int]
) -> None:
    display = DisplayGrid(grid)
    west, south, east, north = display.bounds
    left, low = west + corner[0] * (east - west), south + corner[1] * (north - south)
    asked = (left, low, left + extent[0] * (east - west), low + extent[1] * (north - south))
    view = display.view(asked, size, max_pixels=5000)
    assert view.shape == view.index.shape
    assert view.index.size <= 5000 + 2 * sum(view.shape) + 4
    assert view.shape[0] <= size[0] + 2
    assert view.shape[1] <= size[1] + 2
    xs = view.bounds[0] + (np.arange(view.shape[1]) + 0.5) * (view.bounds[2] - view.bounds[0]) / view.shape[1]
    ys = view.bounds[3] - (np.arange(view.shape[0]) + 0.5) * (view.bounds[3] - view.bounds[1]) / view.shape[0]
    rows, cols = display.to_pixel(*np.meshgrid(xs, ys))
    inside = view.index < view.outside
    at_row, at_col = np.divmod(view.index, grid.width)
    assert (np.abs(rows - at_row - 0.5)[inside] < 0.55).all()
    assert (np.abs(cols - at_col - 0.5)[inside] < 0.55).all()
    well = (rows > 0.05) & (rows < grid.height - 0.05) & (cols > 0.05) & (cols < grid.width - 0.05)
    assert inside[well].all()


def test_what_a_page_says_it_sees_is_taken_only_where_it_can_be() -> None:
    log = labelled(RASTER)

    def seen(view: object) -> Sight | None:
        return apply_message(log, DISPLAY, {"epoch": "abcdef", "n": 1, "want": {"view": view}}, ProtocolState()).view

    assert seen([0, 1, 2.5, 3, 800, 600]) == Sight((0, 1, 2.5, 3), (600, 800))
    wrong = [None, "all", [0, 1, 2, 3], [0, 1, 0, 3, 8, 6], [0, 1, 2, float("nan"), 8, 6], [0, 1, 2, 3, 0, 6]]
    wrong += [[0, 1, 2, 3, 10**6, 6], [0, 1, True, 3, 8, 6], [0, 1, 2, 10**10, 8, 6]]
    assert [seen(view) for view in wrong] == [None] * len(wrong)


def test_pictures_are_sent_finer_only_where_the_one_of_all_is_coarse(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live_map, "LARGE_PIXELS", 1000)
    coarse = DisplayGrid(RASTER.grid, max_pixels=400)
    live = LiveMap("scene", "place", RASTER, lambda: Scene(RASTER), coarse, "Demo", "2024")
    near = sight(0.2, 0.2, 0.5, 0.5)
    view = live.finer(near)
    assert view is not None
    assert view.step == pytest.approx(coarse.pixel_size)
    assert live.finer(None) is None
    assert live.finer(sight(0, 0, 1, 1, size=(15, 15))) is None
    scene = OpenScene("key", RASTER)
    png = scene.view_png("pca", view)
    shown = np.asarray(Image.open(io.BytesIO(png)))
    np.testing.assert_array_equal(shown[..., :3], view.take(scene.picture))
    np.testing.assert_array_equal(shown[..., 3] > 0, view.take(RASTER.valid(), False))
    assert scene.view_png("pca", view) is png
    assert scene.view_png("truecolour", view) == b""
    # Bounded by what they weigh: the one looked at last stays, however big.
    monkeypatch.setattr(open_scenes, "VIEW_BYTES", len(png) - 1)
    assert scene.view_png("pca", view) is png
    assert list(scene._views) == [("pca", view.bounds, view.shape)]

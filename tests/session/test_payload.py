import io
import json

import numpy as np
import pytest
from affine import Affine
from PIL import Image

from tessera_core.grid import Grid
from tessera_core.heads import HeadChoice
from tessera_core.labels.log import LabelLog
from tessera_core.labels.model import Label, LabelClass
from tessera_core.provenance import Provenance
from tessera_core.raster import EmbeddingRaster
from tessera_core.render.display import DisplayGrid
from tessera_core.session import payload
from tessera_core.session.live_map import LiveMap
from tessera_core.session.protocol import ProtocolState

GRID = Grid("EPSG:32631", Affine(10, 0, 700_000, 0, -10, 5_800_000), (40, 50))
CLASSES = [LabelClass(3, "A", "#ff0000"), LabelClass(200, "B", "#00ff00")]


def colours(png: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(png)).convert("RGBA"))


def indices(png: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(png)))


def test_pack_and_unpack() -> None:
    header, body = payload.unpack(payload.pack({"name": "Überwald"}, b"\x00png"))
    assert (header, body) == ({"name": "Überwald"}, b"\x00png")


def test_overlay_has_the_classes_colours() -> None:
    classes = np.array([[0, 3], [200, 7]], np.uint8)
    png, levels = payload.overlay(classes, None, CLASSES, DisplayGrid(Grid.local((2, 2))))
    assert levels == 1
    np.testing.assert_array_equal(colours(png), [[[0, 0, 0, 0], [255, 0, 0, 255]], [[0, 255, 0, 255], [0, 0, 0, 0]]])


@pytest.mark.parametrize("count", [2, 12, 13, 60, 127, 254])
def test_confidence_travels_in_the_palette_index(count: int) -> None:
    many = [LabelClass(i, f"c{i}", "#101010") for i in range(1, count + 1)]
    levels = payload.confidence_levels(count)
    assert count * levels <= 255
    classes = np.full((1, 101), count, np.uint8)
    confidence = np.arange(101, dtype=np.uint8)[None]
    png, told = payload.overlay(classes, confidence, many, DisplayGrid(Grid.local((1, 101))))
    assert told == levels
    position, level = np.divmod(indices(png)[0].astype(int) - 1, levels)
    assert (position == count - 1).all()
    middle = (level + 0.5) * 100 / levels
    assert np.abs(middle - np.arange(101)).max() <= 50 / levels + 1


def test_labels_travel_in_display_coordinates_and_are_converted_once() -> None:
    display = DisplayGrid(GRID)
    text = payload.LabelText(display)
    x, y = GRID.pixel_to_xy([1, 5, 9], [2, 7, 2])
    ring = tuple(zip(x.tolist(), y.tolist(), strict=True))
    labels = [
        Label("a", 3, "point", ring[:1]),
        Label("b", 200, "brush", ring, 25.0),
        Label("c", 3, "rectangle", ring[:2]),
        Label("d", 0, "erase", ring, 10.0),
        Label("e", 3, "polygon", ring, holes=(ring,)),
    ]
    told = json.loads(text(labels))
    assert [entry[:4] for entry in told] == [
        ["a", 3, "p", 0],
        ["b", 200, "b", 2.5],
        ["c", 3, "r", 0],
        ["d", 0, "e", 1],
        ["e", 3, "a", 0],
    ]
    assert [len(entry[4]) for entry in told] == [2, 6, 8, 6, 6]
    assert len(told[4]) == 6
    rows, cols = display.to_pixel(told[1][4][0::2], told[1][4][1::2])
    np.testing.assert_allclose(rows, [1, 5, 9], atol=0.02)
    np.testing.assert_allclose(cols, [2, 7, 2], atol=0.02)
    display_calls = []
    text.display = type("Once", (), {"from_grid": lambda *_: display_calls.append(1)})()  # type: ignore[assignment]
    assert json.loads(text(labels)) == told
    assert display_calls == []


def live_map() -> tuple[LiveMap, LabelLog, np.ndarray]:
    from tessera_core.heads import Scene

    rng = np.random.default_rng(0)
    truth = np.repeat(np.arange(40)[:, None] >= 20, 50, 1)
    codes = (np.where(truth, 40, -40)[..., None] + rng.integers(-9, 9, (40, 50, 8))).astype(np.int8)
    scales = np.ones((40, 50), np.float32)
    scales[:3, :3] = np.nan
    raster = EmbeddingRaster(codes, scales, GRID, Provenance(dim=8, year=2024))
    live = LiveMap("scene", "place", raster, lambda: Scene(raster), DisplayGrid(GRID), "Demo", "2024")
    return live, LabelLog(), truth


def click(log: LabelLog, class_id: int, row: int, col: int) -> None:
    x, y = GRID.pixel_to_xy(row + 0.5, col + 0.5)
    log.add("point", class_id, [(float(x), float(y))])


def test_the_map_appears_with_the_second_class_and_follows_undo() -> None:
    live, log, truth = live_map()

    def header() -> dict:
        found, png = payload.unpack(live.message("k", log, HeadChoice("ridge"), ProtocolState(), 1))
        assert (found["map"] is None) == (png == b"")
        return found

    assert "first class" in header()["hint"]
    a, b = log.add_class("North"), log.add_class("South")
    assert "North" in header()["hint"]
    click(log, a.id, 5, 10)
    found = header()
    assert found["map"] is None
    assert "South" in found["hint"]
    click(log, b.id, 30, 10)
    found = header()
    assert found["hint"] == ""
    mapped = live.reading(log, HeadChoice("ridge")).map
    assert mapped is not None
    valid = live.raster.valid()
    assert ((mapped.classes == np.where(truth, b.id, a.id)) == valid).all()
    hectares = {c["id"]: c["area"] for c in found["classes"]}
    assert hectares == {a.id: pytest.approx((1000 - 9) * 0.01), b.id: pytest.approx(10)}
    log.undo()
    assert header()["map"] is None


def test_nothing_is_computed_twice() -> None:
    live, log, _ = live_map()
    for name in "ab":
        log.add_class(name)
    click(log, 1, 5, 10)
    click(log, 2, 30, 10)
    first = live.reading(log, HeadChoice("ridge"))
    assert live.reading(log, HeadChoice("ridge")) is first
    live.message("k", log, HeadChoice("ridge"), ProtocolState(), 1)
    assert (
        live.message("k", log, HeadChoice("ridge"), ProtocolState(), 2)[-50:]
        == live.message("k", log, HeadChoice("ridge"), ProtocolState(), 3)[-50:]
    )
    assert live.reading(log, HeadChoice("ridge")) is first
    means = live.reading(log, HeadChoice("prototype"))
    assert means is not first
    assert means.method == ""
    assert live.reading(log, HeadChoice("auto")).method.startswith("Logistic regression, because no class has two")


def test_confidence_is_sent_only_when_asked_for() -> None:
    live, log, _ = live_map()
    for name in "ab":
        log.add_class(name)
    click(log, 1, 5, 10)
    click(log, 2, 30, 10)
    header, png = payload.unpack(live.message("k", log, HeadChoice("ridge"), ProtocolState(), 1))
    asked, more = payload.unpack(live.message("k", log, HeadChoice("ridge"), ProtocolState(confidence=True), 2))
    assert header["map"]["levels"] == 1
    assert asked["map"]["levels"] == payload.MAX_LEVELS
    assert header["map"]["v"] != asked["map"]["v"]
    assert set(np.unique(indices(png))) == {0, 1, 2}
    assert len(np.unique(indices(more))) >= 3


def test_the_particulars_of_a_chosen_label_are_sent_and_no_others() -> None:
    live, log, _ = live_map()
    for name in "ab":
        log.add_class(name)
    click(log, 1, 5, 10)
    x, y = GRID.pixel_to_xy([20, 20, 30, 30], [10, 16, 16, 10])
    corners = list(zip(x.tolist(), y.tolist(), strict=True))
    field = log.add("polygon", 2, corners, note="seen from the road")
    log.add("erase", None, [corners[0]], radius=15)
    eraser = log.labels[-1].id

    def told(label_id: str) -> dict | None:
        state = ProtocolState(selected=label_id)
        return payload.unpack(live.message("k", log, HeadChoice("ridge"), state, 1))[0]["selected"]

    found = told(field.id)
    assert found is not None
    assert (found["id"], found["note"], found["pixels"], found["area"]) == (field.id, "seen from the road", 60, 0.6)
    # What the eraser took away counts no more.
    assert 50 < found["counted"] < 60
    assert found["made"] == log.made_at(field.id)
    assert [told(other) for other in ("", "unknown", eraser)] == [None, None, None]
    log.undo()
    assert told(field.id)["counted"] == 60
    log.remove_label(field.id)
    assert told(field.id) is None


def test_labels_where_nothing_is_known_give_a_reason_instead_of_a_map() -> None:
    live, log, _ = live_map()
    for name in "ab":
        log.add_class(name)
    click(log, 1, 1, 1)
    click(log, 2, 30, 10)
    reading = live.reading(log, HeadChoice("ridge"))
    assert reading.map is None
    assert reading.hint.endswith(".")

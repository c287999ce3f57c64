"""Pictures to take away: what stands on them lies on the page, says what the map says, and is the same for the same map."""

from __future__ import annotations

import datetime as dt
import io
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from affine import Affine
from hypothesis import given, settings
from hypothesis import strategies as st
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.text import Text
from PIL import Image

from tessera_core.errors import ExportError
from tessera_core.export import map_layout
from tessera_core.export.map_layout import Key, MapLayout, Page, Panel, picture_bytes, scale_bar, write_picture
from tessera_core.export.pictures import change_layout, class_layout, value_layout, years_layout
from tessera_core.export.product import SIMULATED, UNCHECKED
from tessera_core.export.values import RegressionProduct
from tessera_core.grid import Grid
from tessera_core.provenance import Provenance
from tessera_core.render.palette import rgb
from tests.export.web_maps import UTM, make_product

LONG = "Calcareous grassland with scattered scrub, grazed by sheep, on the northern slopes"


def texts(layout: MapLayout, page: Page = Page.SLIDE) -> list[Text]:
    return list(map_layout._draw(layout, page).axes[0].texts)


def said(layout: MapLayout, page: Page = Page.SLIDE) -> str:
    return " ".join(text.get_text() for text in texts(layout, page)).replace("\u00a0", " ")


@pytest.mark.parametrize("page", [Page.SLIDE, Page.SHEET])
@pytest.mark.parametrize("shape", [(40, 60), (10, 200), (200, 10)], ids=["map", "wide", "tall"])
def test_all_that_is_said_lies_on_the_page_and_nothing_covers_another(page: Page, shape: tuple[int, int]) -> None:
    names = tuple(f"{LONG} {n}" if n % 3 == 0 else f"Class {n}" for n in range(28))
    grid = Grid("EPSG:32631", UTM.transform, shape)
    product = make_product(
        grid, names, name="A project whose name is longer than any line can hold, as some names are " * 2
    )
    figure = map_layout._draw(class_layout(product), page)
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    renderer = canvas.get_renderer()
    width, height = figure.bbox.width, figure.bbox.height
    boxes = [(text.get_text(), text.get_window_extent(renderer)) for text in figure.axes[0].texts]
    for text, box in boxes:
        assert box.x0 >= 0, text
        assert box.y0 >= 0, text
        assert box.x1 <= width, text
        assert box.y1 <= height, text
    # Lines of one paragraph may touch by their ascenders.
    inner = [
        (text, box.x0 + 1, box.y0 + 0.2 * box.height, box.x1 - 1, box.y1 - 0.2 * box.height) for text, box in boxes
    ]
    for n, (text, x0, y0, x1, y1) in enumerate(inner):
        for other, u0, v0, u1, v1 in inner[n + 1 :]:
            assert not (x0 < u1 and u0 < x1 and y0 < v1 and v0 < y1), (text, other)


def test_a_map_of_classes_says_what_it_is_where_from_and_how_far_to_trust_it() -> None:
    product = replace(
        make_product(),
        score={"sentences": ["About 82 % right.", "A random split says 97 %."], "gap": "A random split says 97 %."},
    )
    drawn = said(class_layout(product))
    for part in (
        "Fen",
        "Map of classes · 2023",
        "Wood",
        "Water",
        "N",
        "100 m",
        "TESSERA 2.0/2B-L",
        "About 82 % right.",
    ):
        assert part in drawn
    assert UNCHECKED in drawn
    assert "random split" not in drawn
    assert "There is no such place" not in drawn
    demo = replace(product, provenance=Provenance("studio", "nano", "b8088f56", year=2023, source="demo"))
    drawn = said(class_layout(demo))
    assert SIMULATED in drawn
    # No fingerprint of weights on a picture for people.
    assert "b8088f56" not in drawn
    nowhere = replace(product, grid=Grid.local(product.grid.shape))
    assert "The place on Earth of this map is not known." in said(class_layout(nowhere))


def test_classes_that_do_not_fit_are_counted() -> None:
    keys = tuple(Key("#123456", f"Class {n}", "1.0 %") for n in range(200))
    layout = MapLayout("T", "", (Panel(np.zeros((40, 60, 3), np.uint8)),), UTM, keys)
    for page in (Page.SLIDE, Page.SHEET):
        shown = [text.get_text() for text in texts(layout, page) if text.get_text().startswith("Class ")]
        assert f"and {200 - len(shown)} more classes" in said(layout, page)


def test_the_files_are_a_slide_and_a_page_and_the_same_for_the_same_map(tmp_path: Path) -> None:
    layout = class_layout(make_product())
    png = write_picture(tmp_path / "map.png", layout)
    with Image.open(png) as image:
        assert image.size[0] / image.size[1] == pytest.approx(16 / 9, abs=0.01)
        assert image.size[0] >= 1900
    pdf = write_picture(tmp_path / "map.pdf", layout).read_bytes()
    assert pdf.startswith(b"%PDF")
    assert pdf.count(b"/Type /Page\n") + pdf.count(b"/Type /Page ") == 1
    assert picture_bytes(layout) == png.read_bytes()
    assert picture_bytes(layout, Page.SHEET, "pdf") == pdf
    with pytest.raises(ExportError, match=r"end it with \.png"):
        write_picture(tmp_path / "map.jpg", layout)
    assert not (tmp_path / "map.jpg").exists()


def test_the_map_on_the_picture_is_the_map_and_the_legend_has_its_colours() -> None:
    """Without a photograph colours are those of the classes; over one they are mixed, in the map and the legend alike."""
    product = make_product()
    plain = class_layout(product)
    for area, key in zip(product.areas(), plain.keys, strict=True):
        assert key.colour == area.klass.color
        assert (plain.panels[0].picture[product.classes == area.klass.id] == rgb(area.klass.color)).all()
    photo = np.full((*product.grid.shape, 3), 90, np.uint8)
    over = class_layout(product, photo)
    for area, key in zip(product.areas(), over.keys, strict=True):
        assert key.colour != area.klass.color
        shown = over.panels[0].picture[product.classes == area.klass.id]
        assert np.abs(shown.astype(int) - rgb(key.colour)).max() <= 1
    assert (over.panels[0].picture[product.classes == 0] == 255).all()
    image = np.asarray(Image.open(io.BytesIO(picture_bytes(plain))).convert("RGB")).reshape(-1, 3)
    for key in plain.keys:
        assert (image == rgb(key.colour)).all(axis=1).sum() > 10_000


@given(st.floats(1, 5e6))
def test_a_scale_bar_is_round_and_between_a_tenth_and_a_quarter_of_the_map(across: float) -> None:
    metres, text = scale_bar(across)
    assert 0.09 * across <= metres <= 0.2500001 * across
    digits = metres / 10 ** math.floor(math.log10(metres) + 1e-9)
    assert round(digits, 6) in (1, 2, 5, 10)
    number, unit = text.split()
    assert float(number) * {"m": 1, "km": 1000}[unit] == pytest.approx(metres)


@settings(max_examples=25)
@given(st.floats(-179, 179))
def test_north_is_where_the_grid_has_it(turn: float) -> None:
    """A grid turned by an angle has north turned by it, up to the convergence of its meridian."""
    middle = Affine.translation(500_000, 5_600_000)
    grid = Grid("EPSG:32631", middle @ Affine.rotation(turn) @ Affine.scale(10, -10), (100, 100))
    angle = map_layout.north_angle(grid)
    assert angle is not None
    # Rows run down: a grid that is turned to the left has north to the right of its own up.
    assert (angle - turn + 180) % 360 - 180 == pytest.approx(0, abs=0.1)


def test_a_number_has_the_range_of_the_plots_and_a_map_of_nothing_is_grey() -> None:
    values = np.full(UTM.shape, 11.63, np.float32)
    values[0, 0], values[1] = np.nan, 11.66
    made = RegressionProduct(
        "Fen", "Height", "m", values, values, UTM, Provenance("tessera", "2.0", year=2023), "ridge",
        numbers=np.linspace(2, 30, 60), facts=("Off by 3 m.",), r2=0.6,
    )  # fmt: skip
    layout = value_layout(made)
    assert layout.bar is not None
    assert (layout.bar.scale.low, layout.bar.scale.high) == pytest.approx((2.56, 29.44))
    # Six centimetres of difference are one colour, or two that are next to each other.
    assert np.ptp(layout.panels[0].picture[1:].reshape(-1, 3).astype(int), axis=0).max() <= 3
    assert not layout.warning
    grey = value_layout(replace(made, r2=-0.15))
    colours = grey.panels[0].picture.astype(int)
    assert np.ptp(colours, axis=2).max() == 0
    assert "mean nothing" in said(grey)
    assert "Height (m)" in said(grey)
    assert (colours[0, 0] == 255).all()


def test_change_and_two_years_are_shown_beside_each_other() -> None:
    photos = [np.full((*UTM.shape, 3), shade, np.uint8) for shade in (60, 120)]
    changed = np.zeros(UTM.shape, bool)
    changed[5:9, 5:20] = True
    source = Provenance("tessera", "2.0", year=2024)
    layout = change_layout("Fen", (2023, 2024), changed, photos, UTM, source, ("0.6 ha changed.",))
    before, after = (panel.picture for panel in layout.panels)
    assert (before == 60).all()
    assert (after[~changed] == 120).all()
    assert (after[changed][:, 0].astype(int) - after[changed][:, 1] > 70).all()
    assert "0.6 ha changed." in said(layout)
    product = make_product()
    turned = np.where(product.classes == 1, 2, product.classes).astype(np.uint8)
    maps = {2023: product.classes, 2024: turned}
    layout = years_layout("Fen", maps, product.label_classes, UTM, source)
    assert [panel.title for panel in layout.panels] == ["2023", "2024"]
    assert [key.name for key in layout.keys] == ["Wood", "Water"]
    assert (layout.panels[1].picture[product.classes == 1] == rgb("#e69f00")).all()


def test_the_source_says_the_day() -> None:
    line = map_layout.source_line(Provenance("tessera", "1.1", "dclimate", source="1.1/dclimate"), dt.date(2026, 3, 7))
    assert line.startswith("Embeddings: TESSERA 1.1, published by TESSERA.")
    assert line.endswith("on 7 March 2026.")

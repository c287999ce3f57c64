"""The web map: everything is in the file, names are never HTML, and what the page shows is what the map holds."""

from __future__ import annotations

import base64
import json
import re
import zlib
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tessera_core.errors import ExportError
from tessera_core.export.webmap import web_map_html, write_web_map
from tessera_core.grid import Grid
from tessera_core.language import PSEUDO, using
from tessera_core.render.display import DisplayGrid
from tessera_core.session.base_maps import BASE_MAPS
from tests.export.web_maps import HOSTILE, UTM, make_background, make_product


class _Seen(HTMLParser):
    """Tags and what addresses the page would load."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str]] = []
        self.text = ""
        self.scripts: list[str] = []
        self._in = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += [(name, value or "") for name, value in attrs]
        self._in = tag
        if tag == "script":
            self.scripts.append("")

    def handle_endtag(self, tag: str) -> None:
        self._in = ""

    def handle_data(self, data: str) -> None:
        if self._in == "script":
            self.scripts[-1] += data
        elif self._in != "style":
            self.text += data


def carried(text: str) -> dict[str, Any]:
    return json.loads(_Seen(text).scripts[0])  # type: ignore[no-any-return]


def pixels(data: dict[str, Any]) -> np.ndarray:
    raw = zlib.decompress(base64.b64decode(data["pixels"]))
    return np.frombuffer(raw, np.uint8).reshape(2, *data["shape"])


@pytest.mark.parametrize("grid", [UTM, Grid.local((40, 60))], ids=["utm", "no place"])
def test_the_file_holds_the_map_as_it_is(grid: Grid) -> None:
    product = make_product(grid)
    data = carried(web_map_html(product, make_background(grid)))
    display = DisplayGrid(grid, product.classes.size)
    assert data["shape"] == list(display.shape)
    np.testing.assert_array_equal(pixels(data)[0], display.warp(product.classes))
    np.testing.assert_array_equal(pixels(data)[1], display.warp(product.confidence, 255))
    assert [one["name"] for one in data["classes"]] == ["Wood", "Water"]
    assert len(data["colormap"]) == 101
    assert data["picture"]["url"].startswith("data:image/webp;base64,")
    assert data["frame"] == ("mercator" if grid.georeferenced else "pixel")


def test_nothing_is_loaded_from_anywhere_unless_it_was_asked_for() -> None:
    text = web_map_html(make_product(), make_background())
    seen = _Seen(text)
    assert not [name for name, _ in seen.attributes if name in ("src", "href", "srcset", "action", "background")]
    policy = next(value for name, value in seen.attributes if value.startswith("default-src"))
    assert "img-src data:;" in policy
    assert "http" not in policy
    assert "@import" not in text
    assert "url(" not in re.sub(r"<script.*?</script>", "", text, flags=re.S)
    asked = web_map_html(make_product(), base_maps=BASE_MAPS)
    assert [one["name"] for one in carried(asked)["baseMaps"]] == [one["name"] for one in BASE_MAPS]
    policy = next(value for _, value in _Seen(asked).attributes if value.startswith("default-src"))
    assert "https://tile.openstreetmap.org" in policy
    # Without a place there is nothing that a background map could lie under.
    assert carried(web_map_html(make_product(Grid.local((40, 60))), base_maps=BASE_MAPS))["baseMaps"] == []


@settings(max_examples=12, deadline=None)
@given(st.text(min_size=1, max_size=60), st.text(min_size=1, max_size=40))
def test_names_are_data_and_never_html(name: str, klass: str) -> None:
    small = replace(UTM, shape=(4, 6))
    tame = _Seen(web_map_html(make_product(small)))
    for text in (name, HOSTILE):
        product = make_product(small, (klass + HOSTILE, "Water"), text)
        wild = _Seen(web_map_html(product))
        assert wild.tags == tame.tags
        assert wild.scripts[1:] == tame.scripts[1:]
        assert json.loads(wild.scripts[0])["classes"][0]["name"] == product.label_classes[0].name


def test_areas_source_licence_and_date_are_told() -> None:
    product = make_product()
    text = _Seen(web_map_html(product)).text
    for area in product.areas():
        assert f"{area.hectares:,.1f} ha" in text
    for fact in ("tessera 2.0/2B-L (128-d)", "2023", "CC0", "tessera-studio", "Leaflet", "counts of mapped pixels"):
        assert fact in text
    assert "simulated" not in text
    made_up = replace(product, provenance=replace(product.provenance, source="demo"))
    text = _Seen(web_map_html(made_up)).text
    assert "no such place on Earth" in text
    assert "CC0" not in text


def test_a_map_that_would_be_too_large_has_fewer_pixels_and_says_so(tmp_path: Path) -> None:
    grid = replace(UTM, shape=(300, 300))
    product, background = make_product(grid), make_background(grid)
    # The page itself, Leaflet included, takes 160 kB.
    whole = len(web_map_html(product, background).encode())
    bound = 160_000 + (whole - 160_000) // 2
    path = write_web_map(tmp_path / "map", product, background, max_bytes=bound)
    assert path.name == "map.html"
    text = path.read_text(encoding="utf-8")
    assert len(text.encode()) <= bound
    assert "one pixel in " in _Seen(text).text
    assert "th pixel" not in _Seen(web_map_html(product, background)).text
    # Areas are those of the whole map.
    assert f"{product.areas()[0].hectares:,.1f} ha" in text
    with pytest.raises(ExportError, match="Allow more"):
        web_map_html(product, background, max_bytes=1000)


def test_the_page_speaks_the_language_of_whoever_has_it_written() -> None:
    small = replace(UTM, shape=(4, 6))
    english, other = web_map_html(make_product(small)), ""
    with using(PSEUDO):
        other = web_map_html(make_product(small))
    assert carried(english)["words"] == {}
    assert all("⟦" in said for said in carried(other)["words"].values())
    said = re.compile(r"<h2>(.*?)</h2>")
    assert len(said.findall(english)) == 4
    assert all("⟦" in head for head in said.findall(other))
    # What the script says by these words is among them.
    script = _Seen(other).scripts[-1]
    asked = re.findall(r'said\(\s*"((?:[^"\\]|\\.)*)"', script)
    assert len(asked) >= 8
    assert set(asked) == set(carried(other)["words"])

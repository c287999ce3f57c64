"""Every raster that leaves opens in QGIS with its colours and names, by itself and in a project."""

from __future__ import annotations

import sqlite3
import zipfile
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from xml.etree import ElementTree
from xml.etree.ElementTree import Element

import numpy as np
import pyogrio
import pytest
import rasterio
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from tessera_core.export.archive import write_qgis
from tessera_core.export.change import P_STOPS
from tessera_core.export.geotiff import (
    Band,
    ValueStyle,
    sidecars,
    write_class_map,
    write_confidence,
    write_values,
)
from tessera_core.export.product import Product
from tessera_core.export.style import MARK, classes_renderer, raster_qml
from tessera_core.export.values import RegressionProduct, write_regression_qgis
from tessera_core.grid import Grid
from tessera_core.labels.model import Label, LabelClass
from tessera_core.provenance import Provenance
from tests.factories import make_grid

GRID = make_grid((30, 40))
CLASSES = [LabelClass(1, "Wood & <fen>", "#1b7837"), LabelClass(2, "Wässer", "#2166ac", "w1")]
V2 = Provenance("tessera", "2.0", "2B-L", year=2023)


def _classes() -> NDArray[np.uint8]:
    classes = np.ones(GRID.shape, np.uint8)
    classes[:, 20:] = 2
    classes[:3, :3] = 0
    classes[29, 39] = 7
    return classes


def _values() -> NDArray[np.float32]:
    values = np.tile(np.linspace(-3, 12, 40, dtype=np.float32), (30, 1))
    values[0, 0] = np.nan
    return values


def _confidence() -> NDArray[np.uint8]:
    return np.where(_classes() == 0, 255, 80).astype(np.uint8)


WRITERS: dict[str, Callable[[Path], Path]] = {
    "class map": lambda path: write_class_map(path, _classes(), None, GRID, CLASSES, V2),
    "confidence": lambda path: write_confidence(path, _confidence(), GRID, V2),
    "numbers": lambda path: write_values(path, _values(), GRID, V2, Band("biomass", "t/ha")),
    "p-values": lambda path: write_values(path, _values(), GRID, V2, Band("p"), ValueStyle(stops=P_STOPS)),
}


def _renderer(path: Path) -> Element:
    root = ElementTree.parse(path).getroot()
    assert root.tag == "qgis"
    found = root.find("pipe/rasterrenderer")
    assert found is not None
    return found


def _luminance(colour: str) -> float:
    red, green, blue = (int(colour[n : n + 2], 16) / 255 for n in (1, 3, 5))
    return 0.2126 * red**2.2 + 0.7152 * green**2.2 + 0.0722 * blue**2.2


@pytest.mark.parametrize("write", WRITERS.values(), ids=WRITERS)
def test_every_raster_has_its_style_beside_it(tmp_path: Path, write: Callable[[Path], Path]) -> None:
    written = write(tmp_path / "a.tif")
    style = written.with_suffix(".qml")
    assert style in sidecars(written)
    _renderer(style)
    # A style of ours is written anew, one that a person made is not lost.
    style.write_text(style.read_text(encoding="utf-8").replace("</qgis>", "<x/></qgis>"), encoding="utf-8")
    write(tmp_path / "a.tif")
    assert "<x" not in style.read_text(encoding="utf-8")
    style.write_text("<qgis>mine</qgis>", encoding="utf-8")
    write(tmp_path / "a.tif")
    assert style.read_text(encoding="utf-8") == "<qgis>mine</qgis>"


def test_a_class_map_has_an_entry_for_each_class_also_without_name(tmp_path: Path) -> None:
    path = WRITERS["class map"](tmp_path / "a.tif")
    renderer = _renderer(path.with_suffix(".qml"))
    assert renderer.get("type") == "paletted"
    entries = [(e.get("value"), e.get("label"), e.get("color")) for e in renderer.findall("colorPalette/paletteEntry")]
    assert entries == [("1", "Wood & <fen>", "#1b7837"), ("2", "Wässer", "#2166ac"), ("7", "class 7", "#808080")]
    with rasterio.open(path) as file:
        colours = file.colormap(1)
    assert ["#{:02x}{:02x}{:02x}".format(*colours[int(value or 0)][:3]) for value, _, _ in entries] == [
        e[2] for e in entries
    ]


def test_ramps_rise_evenly_in_number_and_lightness(tmp_path: Path) -> None:
    ends = {"confidence": (0, 100, " %"), "numbers": (-3, 12, " t/ha"), "p-values": (0, 1, "")}
    for name, (low, high, suffix) in ends.items():
        renderer = _renderer(WRITERS[name](tmp_path / f"{name}.tif").with_suffix(".qml"))
        assert renderer.get("type") == "singlebandpseudocolor"
        shader = renderer.find("rastershader/colorrampshader")
        assert shader is not None
        items = shader.findall("item")
        numbers = [float(item.get("value", "")) for item in items]
        assert (numbers[0], numbers[-1]) == pytest.approx((low, high), abs=0.4)
        assert float(shader.get("minimumValue", "")) == numbers[0]
        assert float(renderer.get("classificationMax", "")) == numbers[-1]
        assert numbers == sorted(set(numbers))
        light = np.diff([_luminance(item.get("color", "")) for item in items])
        # Dark to light; for both, telling colours apart needs no hue.
        assert (light > 0).all()
        legend = shader.find("rampLegendSettings")
        assert legend is not None
        assert legend.get("suffix") == suffix
        colormap = shader.find("colorramp/Option")
        assert colormap is not None
        stops = next(option.get("value", "") for option in colormap if option.get("name") == "stops")
        assert len(stops.split(":")) == len(items) - 2


@settings(max_examples=30, deadline=None)
@given(st.text(max_size=20), st.text(max_size=20))
def test_any_name_gives_xml_that_can_be_read(first: str, second: str) -> None:
    classes = [LabelClass(n, text + "x", "#000000") for n, text in enumerate((first, second), 1)]
    root = ElementTree.fromstring(raster_qml(classes_renderer(classes)).encode("utf-8"))
    labels = [entry.get("label", "") for entry in root.iter("paletteEntry")]
    allowed = ["".join(c for c in k.name if c not in "\ufffe\uffff" and not "\ud800" <= c <= "\udfff") for k in classes]
    assert labels == allowed


# ------------------------------------------------------------------ projects


def _label(id_: str, class_id: int, *xy: tuple[float, float]) -> Label:
    places = tuple((500_000 + x, 5_600_000 - y) for x, y in xy)
    return Label(id_, class_id, "point" if len(xy) == 1 else "polygon", places)


LABELS = [_label("a", 1, (50, 50)), _label("b", 2, (100, 10), (200, 10), (200, 100))]


def _class_zip(folder: Path) -> Path:
    product = Product("My & map", _classes(), _confidence(), GRID, CLASSES, LABELS, V2, "ridge")
    return write_qgis(folder / "out", product)


def _value_zip(folder: Path) -> Path:
    numbers = np.array([1.0, 2.0])
    product = RegressionProduct(
        "Plots", "biomass", "t/ha", _values(), _values() + 5, GRID, V2, "ridge", LABELS, numbers
    )
    return write_regression_qgis(folder / "out", product)


@pytest.mark.parametrize(
    ("make", "shown", "hidden"),
    [
        (_class_zip, ["Points", "Areas", "Classes"], ["Confidence (percent)"]),
        (_value_zip, ["Plots", "Areas", "biomass (t/ha)"], ["Margin of biomass (t/ha), nine of ten"]),
    ],
)
def test_the_zip_holds_a_project_whose_layers_are_all_there(
    tmp_path: Path, make: Callable[[Path], Path], shown: list[str], hidden: list[str]
) -> None:
    zipfile.ZipFile(make(tmp_path)).extractall(tmp_path / "x")
    with zipfile.ZipFile(tmp_path / "x" / "project.qgz") as archive:
        assert archive.namelist() == ["project.qgs"]
        root = ElementTree.fromstring(archive.read("project.qgs"))
    assert root.findtext("projectCrs/spatialrefsys/authid") == "EPSG:32631"
    assert root.findtext("properties/Paths/Absolute") == "false"
    layers = {layer.findtext("id"): layer for layer in root.iter("maplayer")}
    listed = root.findall(".//layer-tree-layer")
    assert [layer.get("name") for layer in listed if layer.get("checked") == "Qt::Checked"] == shown
    assert [layer.get("name") for layer in listed if layer.get("checked") == "Qt::Unchecked"] == hidden
    assert {layer.get("id") for layer in listed} == set(layers)
    extent = root.find("mapcanvas/extent")
    assert extent is not None
    west, south, east, north = (float(extent.findtext(tag) or "nan") for tag in ("xmin", "ymin", "xmax", "ymax"))
    assert west < 500_000 < 500_400 < east
    assert south < 5_599_700 < 5_600_000 < north
    for name, layer in layers.items():
        # QGIS gives a layer whose name has ten characters or fewer another one, and then its tree does not find it.
        assert name is not None
        assert len(name) > 10
        source, _, table = (layer.findtext("datasource") or "").partition("|layername=")
        assert source.startswith("./")
        file = tmp_path / "x" / source
        assert file.is_file()
        if table:
            assert layer.get("type") == "vector"
            info = pyogrio.read_info(file, layer=table)
            assert info["features"] == 1
            assert info["geometry_type"].endswith(layer.get("geometry"))
            assert layer.find("renderer-v2") is not None
        else:
            renderer = layer.find("pipe/rasterrenderer")
            assert renderer is not None
            own = _renderer(file.with_suffix(".qml"))
            assert ElementTree.canonicalize(
                ElementTree.tostring(renderer), strip_text=True
            ) == ElementTree.canonicalize(ElementTree.tostring(own), strip_text=True)
    tables = {layer.get("source", "").partition("|")[0] for layer in listed if layer.get("providerKey") == "ogr"}
    for source in tables:
        with closing(sqlite3.connect(tmp_path / "x" / source)) as database:
            assert database.execute("pragma application_id").fetchone() == (0x47504B47,)
            # Version 1.2.0, which the programs of the last years read.
            assert database.execute("pragma user_version").fetchone() == (10200,)


def test_a_project_without_a_place_on_earth_says_no_system(tmp_path: Path) -> None:
    local = Grid.local(GRID.shape)
    labels = [Label("a", 1, "point", ((3.5, -2.5),))]
    product = Product("Local", _classes(), _confidence(), local, CLASSES, labels, V2, "ridge")
    zipfile.ZipFile(write_qgis(tmp_path / "out", product)).extractall(tmp_path / "x")
    with zipfile.ZipFile(tmp_path / "x" / "project.qgz") as archive:
        root = ElementTree.fromstring(archive.read("project.qgs"))
    assert root.find(".//spatialrefsys") is None
    assert MARK in (tmp_path / "x" / "map.qml").read_text(encoding="utf-8")

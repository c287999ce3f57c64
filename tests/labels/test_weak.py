"""Weak labels: from the middles of an existing map's patches, by a legend, with its agreement and a warning."""

from __future__ import annotations

import json

import numpy as np
import pytest
from scipy import ndimage

from tessera_core.assess.reference import Reference
from tessera_core.cli import main
from tessera_core.errors import LabelError
from tessera_core.export.geotiff import write_class_map
from tessera_core.labels.files import read_labels
from tessera_core.labels.model import LabelClass
from tessera_core.labels.weak import away_from_borders, parse_legend, read_existing_map, read_legend, weak_labels
from tessera_core.project.weak_labels import agreement_of
from tessera_core.provenance import Provenance
from tests.factories import make_grid, make_raster

GRID = make_grid((40, 60))
KINDS = np.random.default_rng(0).integers(1, 4, (4, 6)).repeat(10, 0).repeat(10, 1).astype(np.uint8)
CLASSES = [
    LabelClass(1, "Oak", "#006400", "311"),
    LabelClass(2, "Pine", "#228b22", "312"),
    LabelClass(3, "Wheat", "#ffbb22", "211"),
]
LEGEND = {"Oak": "Wood", "312": "Wood", "wheat": "Field"}


@pytest.fixture
def landcover(tmp_path):
    path = tmp_path / "landcover.tif"
    write_class_map(path, KINDS, None, GRID, CLASSES, Provenance(dim=16))
    return path


def test_labels_lie_in_the_middle_of_what_the_map_says(landcover):
    existing = read_existing_map(landcover, GRID, LEGEND)
    assert existing.names == {1: "Wood", 2: "Field"}
    np.testing.assert_array_equal(existing.classes, np.where(KINDS == 3, 2, 1))
    made = weak_labels(existing, GRID, "landcover.tif", per_class=30, border=2, seed=3)
    assert [c.name for c in made.classes] == ["Wood", "Field"]
    inner = away_from_borders(existing.classes, 2)
    # A pixel is inner where no other class is within two pixels, the map's edge counting as none.
    for k in (1, 2):
        far = ndimage.binary_erosion(existing.classes == k, np.ones((5, 5)), border_value=1)
        np.testing.assert_array_equal(inner & (existing.classes == k), far)
    names = {c.id: c.name for c in made.classes}
    for label in made.labels:
        ((x, y),) = label.xy
        row, col = (int(v) for v in GRID.xy_to_pixel(x, y))
        assert inner[row, col]
        assert existing.names[existing.classes[row, col]] == names[label.class_id]
        assert label.note.startswith("weak label of landcover.tif: ")
    assert made.report.read == made.report.used + made.report.left_out.total() == 2400
    assert "another map's" in made.report.notes[-1]
    again = weak_labels(existing, GRID, "landcover.tif", per_class=30, border=2, seed=3)
    assert [one.xy for one in again.labels] == [one.xy for one in made.labels]


def test_what_the_legend_leaves_out_is_counted_and_what_it_invents_is_refused(landcover):
    existing = read_existing_map(landcover, GRID, {"311": "Wood", "211": "Field"})
    left = next(n for why, n in existing.report.left_out.items() if "Pine" in why)
    assert left == (KINDS == 2).sum() == ((existing.classes == 0) & (KINDS == 2)).sum()
    with pytest.raises(LabelError, match=r"no class 'Beech' .* it has Oak \(311\), Pine \(312\), Wheat \(211\)"):
        read_existing_map(landcover, GRID, {"Beech": "Wood"})
    with pytest.raises(LabelError, match="Fewer than two classes"):
        weak_labels(read_existing_map(landcover, GRID, {"311": "Wood"}), GRID, "x")


def test_legends_of_files_and_of_options(tmp_path):
    (tmp_path / "l.csv").write_text("from;to\n311;Wood\n312;\nWheat, winter;Field\n")
    assert read_legend(tmp_path / "l.csv") == {"311": "Wood", "Wheat, winter": "Field"}
    assert parse_legend(["10=Wood", "a=b=C"]) == {"10": "Wood", "a=b": "C"}
    with pytest.raises(LabelError, match="no line of a legend"):
        parse_legend(["Wood"])
    (tmp_path / "x.csv").write_text("one\ntwo\n")
    with pytest.raises(LabelError, match="is no legend"):
        read_legend(tmp_path / "x.csv")


def test_agreement_counts_each_own_label_once(landcover):
    existing = read_existing_map(landcover, GRID, LEGEND)
    wood, field = (np.argwhere(existing.classes == k) for k in (1, 2))
    places = np.array([wood[0], wood[1], wood[2], field[0], field[1], wood[3]])
    # The first two pixels are one label; one wheat lies in wood; heath is no class of the map.
    own = Reference(
        places[:, 0], places[:, 1], np.array([1, 1, 2, 2, 2, 3], np.uint8), np.array([0, 0, 1, 2, 3, 4]),
        [LabelClass(1, "wood", "#000000"), LabelClass(2, "Field", "#111111"), LabelClass(3, "Heath", "#222222")],
    )  # fmt: skip
    found = agreement_of(existing, own)
    assert (found.labels, found.elsewhere, found.share) == (4, 1, 0.75)
    assert found.by_class == {"wood": (1.0, 1), "Field": (2 / 3, 3)}
    assert "agrees with 75 % of 4 labels" in found.sentences("The map")[0]


def test_the_command_writes_labels_and_says_how_far_to_trust_them(landcover, tmp_path, capsys):
    rng = np.random.default_rng(1)
    x = rng.normal(size=(4, 16))[KINDS] + 0.3 * rng.normal(size=(*GRID.shape, 16))
    make_raster(x, GRID, Provenance("studio", "nano", dim=16)).save(tmp_path / "e")
    lines = ["lon,lat,class"]
    for row, col in [(5, 5), (15, 25), (25, 45), (35, 55), (5, 35), (15, 5)]:
        lon, lat = (float(v) for v in GRID.pixel_to_lonlat(row + 0.5, col + 0.5))
        lines.append(f"{lon:.7f},{lat:.7f},{'Field' if KINDS[row, col] == 3 else 'Wood'}")
    (tmp_path / "own.csv").write_text("\n".join(lines))
    words = ["weak-labels", str(landcover), str(tmp_path / "e"), "--class", "311=Wood", "--class", "Pine=Wood", "--class",
             "211=Field", "--check", str(tmp_path / "own.csv"), "--out", str(tmp_path / "w.gpkg"), "--json"]  # fmt: skip
    assert main(words) == 0
    result = json.loads(capsys.readouterr().out)
    assert result["labels"] == {"Wood": 50, "Field": 50}
    assert result["agreement"]["share"] == 1
    assert result["repeated"]["accuracy"] > 0.8
    found = read_labels(tmp_path / "w.gpkg", GRID)
    assert [c.name for c in found.classes] == ["Wood", "Field"]
    assert len(found.labels) == 100


OSM = """<?xml version="1.0" encoding="UTF-8"?>
<osm version="0.6">
{nodes}
 <way id="90"><nd ref="1"/><nd ref="2"/><nd ref="3"/><nd ref="4"/><nd ref="1"/><tag k="landuse" v="forest"/></way>
 <way id="91"><nd ref="2"/><nd ref="5"/><nd ref="6"/><nd ref="3"/><nd ref="2"/><tag k="natural" v="heath"/></way>
 <way id="92"><nd ref="1"/><nd ref="2"/><nd ref="3"/><nd ref="1"/><tag k="boundary" v="forest"/><tag k="area" v="yes"/></way>
 <way id="93"><nd ref="1"/><nd ref="3"/><tag k="highway" v="track"/></way>
</osm>"""


def test_areas_of_openstreetmap_are_classes_by_their_tags(tmp_path):
    corners = [(0, 0), (0, 20), (30, 20), (30, 0), (0, 50), (30, 50)]
    nodes = []
    for n, (row, col) in enumerate(corners, 1):
        lon, lat = (float(v) for v in GRID.pixel_to_lonlat(row, col))
        nodes.append(f' <node id="{n}" lat="{lat:.8f}" lon="{lon:.8f}"/>')
    path = tmp_path / "kent.osm"
    path.write_text(OSM.format(nodes="\n".join(nodes)))
    existing = read_existing_map(path, GRID)
    assert existing.names == {1: "landuse=forest", 2: "natural=heath"}
    assert (existing.classes[:30, :19] == 1).all()
    assert (existing.classes[:30, 21:49] == 2).all()
    assert (existing.classes[31:] == 0).all()
    legend = parse_legend(["landuse=forest=Wood", "natural=heath=Heath"])
    made = weak_labels(read_existing_map(path, GRID, legend), GRID, path.name)
    assert [c.name for c in made.classes] == ["Wood", "Heath"]
    (tmp_path / "x.osm").write_text("<html></html>")
    with pytest.raises(LabelError, match="is not a readable"):
        read_existing_map(tmp_path / "x.osm", GRID)
    (tmp_path / "x.osm.pbf").write_bytes(b"\0\0\0\x0d no header")
    with pytest.raises(LabelError, match="is not a readable"):
        read_existing_map(tmp_path / "x.osm.pbf", GRID)

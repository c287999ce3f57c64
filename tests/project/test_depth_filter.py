"""Pixels seen too rarely are left out of the map, through every door alike, and what that costs is told."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import rasterio

from tessera_core.analysis.applicability import AreaOfApplicability, learn, map_dissimilarity
from tessera_core.cli import main
from tessera_core.export.vector import write_labels_geojson
from tessera_core.labels.model import Label, LabelClass
from tessera_core.project.classify import map_project, project_product
from tessera_core.project.depth_filter import cost
from tessera_core.project.project import Project
from tessera_core.project.report import project_report
from tessera_core.raster import EmbeddingRaster
from tests.factories import landscape

CLASSES = [LabelClass(1, "Wood", "#228833"), LabelClass(2, "Field", "#ccbb44")]


@pytest.fixture(scope="module")
def raster() -> EmbeddingRaster:
    """64 x 64 pixels; the lowest eight rows were seen 18 times, the rest 40 times."""
    seen = np.zeros((64, 64, 6), np.uint16)
    seen[..., 0] = 40
    seen[56:, :, 0] = 18
    return replace(landscape(classes=2), observations=seen)


@pytest.fixture
def project(tmp_path: Path, raster: EmbeddingRaster) -> Project:
    project = Project.create(tmp_path / "fen", "Fen")
    project.attach_embeddings(2023, raster.save(tmp_path / "embeddings"), raster.provenance, raster.grid)
    labels = []
    for number, (row, col) in enumerate(
        [(10, 10), (20, 8), (40, 12), (10, 50), (20, 40), (40, 52), (60, 20), (60, 50)]
    ):
        x, y = raster.grid.pixel_to_xy(row + 0.5, col + 0.5)
        labels.append(Label(f"l{number}", 1 if col < 32 else 2, "point", ((float(x), float(y)),)))
    project.log.import_labels(CLASSES, labels)
    return project


def test_every_door_leaves_the_same_pixels_out_and_says_what_it_costs(
    project: Project, raster: EmbeddingRaster, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    whole = map_project(project, raster, 2023)
    assert whole.left_out is None
    project.update(least_seen=25)
    made = map_project(project, raster, 2023)
    assert made.left_out is not None
    assert (made.left_out.pixels, made.left_out.share) == (8 * 64, 8 * 64 / (64 * 64 - 4))
    assert (
        made.left_out.sentence == "Left out of the map: 13 % of the region (5.1 ha), seen clearly fewer than 25 times."
    )
    assert (made.map.classes[56:] == 0).all()
    assert (made.map.confidence[56:] == 255).all()
    assert np.array_equal(made.map.classes[:56], whole.map.classes[:56])
    product = project_product(project, raster, made)
    assert product.provenance.details["seen_at_least"] == 25
    assert made.left_out.sentence in project_report(project, product, 2023).source.seen
    # The command, of the project's own setting and of an option; and of the labels in a file.
    counts = {name: int((made.map.classes == k).sum()) for k, name in ((1, "Wood"), (2, "Field"))}
    export = ["export", str(project.folder), "--to", "report", "--json", "--out"]
    for option in ([], ["--seen-at-least", "25"]):
        capsys.readouterr()
        assert main([*export, str(tmp_path / f"report{len(option)}.html"), *option]) == 0
        told = json.loads(capsys.readouterr().out)
        assert told["seldom_seen"] == made.left_out.sentence
        assert {name: one["pixels"] for name, one in told["classes"].items()} == counts
        assert "seen clearly fewer than 25 times" in (tmp_path / f"report{len(option)}.html").read_text()
        project.update(least_seen=None)
    log = project.log
    write_labels_geojson(tmp_path / "labels.geojson", log.labels, log.classes, raster.grid, raster.provenance)
    embeddings, labels, out = (str(tmp_path / name) for name in ("embeddings", "labels.geojson", "third.tif"))
    capsys.readouterr()
    assert main(["map", embeddings, "--labels", labels, "--out", out, "--seen-at-least", "25", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["seen_at_least"]["sentence"] == made.left_out.sentence
    assert told["no_data"] == 8 * 64 + 4
    with rasterio.open(out) as file:
        assert np.array_equal(file.read(1), made.map.classes)


def test_where_nobody_counted_the_command_says_so_and_a_project_keeps_its_map(
    project: Project, raster: EmbeddingRaster, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bare = replace(raster, observations=None)
    assert cost(bare).share is None
    project.update(least_seen=25)
    made = map_project(project, bare, 2023)
    assert made.left_out is not None
    assert "Nobody counted" in made.left_out.sentence
    assert (made.map.classes[56:] > 0).all()
    bare.save(tmp_path / "bare")
    log = project.log
    write_labels_geojson(tmp_path / "labels.geojson", log.labels, log.classes, raster.grid, raster.provenance)
    where = [str(tmp_path / "bare"), "--labels", str(tmp_path / "labels.geojson"), "--out", str(tmp_path / "no.tif")]
    assert main(["map", *where, "--seen-at-least", "25"]) != 0
    assert "Nobody counted" in capsys.readouterr().err
    assert main(["map", *where, "--seen-at-least", "0"]) == 2


def test_ground_seen_much_more_rarely_than_every_label_is_unlike_them(raster: EmbeddingRaster) -> None:
    rows = np.array([10, 20, 40, 10, 20, 40])
    cols = np.array([10, 8, 12, 50, 40, 52])
    y, groups = np.array([1, 1, 1, 2, 2, 2]), np.arange(6)
    x = raster.sample(rows, cols)
    known = learn(x, y, groups, raster.times_seen(rows, cols))
    assert known.seldom == 25
    layer = map_dissimilarity(known, raster)
    assert layer.outside()[56:].all()
    assert layer.sentence.startswith("Seen clearly fewer than 25 times, much more rarely than any of your labels")
    assert np.array_equal(map_dissimilarity(learn(x, y, groups), raster).percent[:56], layer.percent[:56])
    share = known.share_outside(raster)
    assert share is not None
    assert share > 0.1
    # A head carries it along; one of an earlier version does without.
    arrays = known.arrays
    assert AreaOfApplicability.of_arrays(arrays).seldom == 25
    assert AreaOfApplicability.of_arrays({k: v for k, v in arrays.items() if k != "seldom"}).seldom == 0
    # Labels on rarely seen ground say that such ground is known.
    with_rare = np.append(rows, 60), np.append(cols, 20)
    wider = learn(raster.sample(*with_rare), np.append(y, 1), np.arange(7), raster.times_seen(*with_rare))
    assert wider.seldom == 12
    assert not map_dissimilarity(wider, raster).seldom_share

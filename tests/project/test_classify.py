"""One answer: the same labels make the same map, score and areas whichever door they come through."""

from __future__ import annotations

import json
import re
import zipfile
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
from hypothesis import given, settings
from hypothesis import strategies as st

import tessera_core
from tessera_core.areas import mapped_areas
from tessera_core.assess.designs import draw
from tessera_core.assess.reference import Reference, read_reference
from tessera_core.cli import main
from tessera_core.export.product import Product
from tessera_core.export.report import report_html
from tessera_core.export.vector import write_labels_geojson, write_labels_gpkg
from tessera_core.grid import Grid
from tessera_core.heads import Scene, predict_raster
from tessera_core.heads.training import MAX_TRAIN, training_draw
from tessera_core.labels.model import Label, LabelClass
from tessera_core.labels.sampling import label_pixels
from tessera_core.project import validate
from tessera_core.project.classify import (
    fit_labels,
    head_choice,
    map_project,
    project_product,
    score_labels,
    score_samples,
    train,
)
from tessera_core.project.project import Project
from tessera_core.project.report import project_report
from tessera_core.provenance import Provenance
from tessera_core.raster import EmbeddingRaster
from tessera_core.render.display import DisplayGrid
from tests.factories import make_grid, make_raster

SIZE = 216
GRID = make_grid((SIZE, SIZE))
CLASSES = ("Wood", "Water", "Hay")


def landscape() -> tuple[EmbeddingRaster, np.ndarray]:
    """Three classes in patches of 27 pixels that overlap in what the satellites see, and a corner without data."""
    rng = np.random.default_rng(3)
    patch = rng.integers(0, 3, (8, 8)).repeat(27, 0).repeat(27, 1)
    own = rng.normal(size=(8, 8, 8)).repeat(27, 0).repeat(27, 1)
    values = rng.normal(size=(3, 8))[patch] + 0.5 * own + 0.8 * rng.normal(size=(SIZE, SIZE, 8))
    return make_raster(values, GRID, Provenance("tessera", "2.0", "2B-L", 8, 2023), empty=np.s_[:5, :9]), patch


def ring(row: float, col: float, height: float, width: float) -> list[tuple[float, float]]:
    corners = ((row, col), (row, col + width), (row + height, col + width), (row + height, col))
    return [tuple(float(v) for v in GRID.pixel_to_xy(r, c)) for r, c in corners]


@dataclass
class Doors:
    """A project, its labels as files, and what the page shows of it."""

    folder: Path
    project: Project
    raster: EmbeddingRaster
    page: Any
    score: Any


@pytest.fixture(scope="module", params=["few", "above the cap"])
def doors(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Doors:
    """60 points, a brush stroke and 3 polygons; once with polygons of more labelled pixels than a head is taught."""
    from tessera_core.session.assessor import Assessor, Question
    from tessera_core.session.live_map import LiveMap

    folder = tmp_path_factory.mktemp("doors")
    raster, truth = landscape()
    raster.save(folder / "E")
    project = Project.create(folder / "project", "Fen")
    project.attach_embeddings(2023, folder / "E", raster.provenance, raster.grid)
    for name in CLASSES:
        project.log.add_class(name)
    rng = np.random.default_rng(1)
    for number in range(60):
        rows, cols = np.nonzero(truth == number % 3)
        pick = rng.integers(len(rows))
        x, y = GRID.pixel_to_xy(rows[pick] + 0.4, cols[pick] + 0.6)
        project.log.add("point", number % 3 + 1, [(float(x), float(y))])
    project.log.add(
        "brush",
        2,
        [tuple(map(float, GRID.pixel_to_xy(100.3, 20.2))), tuple(map(float, GRID.pixel_to_xy(120.1, 31.7)))],
        33.0,
    )
    size = 24.4 if request.param == "few" else 88.4
    for number, (row, col) in enumerate(((10.3, 15.2), (10.3, 120.7), (120.6, 100.3))):
        project.log.add("polygon", number + 1, ring(row, col, size, 1.05 * size))
    project.update(head="logistic")
    log = project.log
    labelled = len(label_pixels(log.labels, GRID).rows)
    assert (labelled > MAX_TRAIN) == (request.param != "few")
    write_labels_geojson(folder / "labels.geojson", log.labels, log.classes, GRID, raster.provenance)
    write_labels_gpkg(folder / "labels.gpkg", log.labels, log.classes, GRID, raster.provenance)
    live = LiveMap("key", "place", raster, lambda: Scene(raster), DisplayGrid(GRID), "Fen", "2023")
    assessor = Assessor(raster, on_temperature=live.set_temperature, quiet=0)
    assessor.ask(Question(log.version, head_choice(project), tuple(log.labels), tuple(log.classes)))
    score = assessor.wait().score
    return Doors(folder, project, raster, live.reading(log, head_choice(project)), score)


def tessera(capsys: pytest.CaptureFixture[str], *words: object) -> dict[str, Any]:
    assert main([str(word) for word in (*words, "--json")]) == 0, capsys.readouterr().err
    return json.loads(capsys.readouterr().out)


def same_map(doors: Doors, classes: Path, confidence: Path) -> None:
    with rasterio.open(classes) as file:
        np.testing.assert_array_equal(file.read(1), doors.page.map.classes)
    with rasterio.open(confidence) as file:
        np.testing.assert_array_equal(file.read(1), doors.page.map.confidence)


def same_score(doors: Doors, score: dict[str, Any]) -> None:
    assert score["accuracy"] == doors.score.accuracy
    assert tuple(score["interval"]) == doors.score.interval
    assert (score["n_labels"], score["n_places"]) == (doors.score.n_labels, doors.score.n_places)


def html_of(project: Project, product: Product) -> str:
    return report_html(project_report(project, product, 2023), b"")


def hectares(doors: Doors) -> dict[str, float]:
    return {c.name: doors.page.areas[c.id].hectares for c in doors.project.log.classes}


def test_python_shows_the_map_and_the_score_of_the_page(doors: Doors) -> None:
    made = map_project(doors.project, doors.raster, 2023)
    np.testing.assert_array_equal(made.map.classes, doors.page.map.classes)
    np.testing.assert_array_equal(made.map.confidence, doors.page.map.confidence)
    assert made.head.applied_temperature_ == doors.page.temperature != 1
    log = doors.project.log
    same_score(doors, score_labels(log.labels, log.classes, doors.raster, head_choice(doors.project)).to_json())


def test_the_front_door_shows_the_map_and_the_score_of_the_page(doors: Doors, tmp_path: Path) -> None:
    raster = tessera_core.open(doors.folder / "E")
    labels = tessera_core.read_labels(doors.folder / "labels.gpkg", like=raster)
    made = tessera_core.map_classes(raster, labels, "logistic")
    files = tessera_core.write_map(tmp_path / "m.tif", made, confidence=tmp_path / "c.tif")
    same_map(doors, *files)
    assert made.head.applied_temperature_ == doors.page.temperature
    assert {c.name: made.areas()[c.id].hectares for c in made.legend} == hectares(doors)
    assert made.score is not None
    same_score(doors, made.score.to_json())
    same_score(doors, tessera_core.evaluate(raster, labels, "logistic").to_json())


@pytest.mark.parametrize("file", ["labels.geojson", "labels.gpkg"])
def test_tessera_map_makes_the_map_of_the_page(doors: Doors, file: str, tmp_path: Path, capsys: Any) -> None:
    told = tessera(
        capsys, "map", doors.folder / "E", "--labels", doors.folder / file, "--head", "logistic", "--out",
        tmp_path / "m.tif", "--confidence", tmp_path / "c.tif",
    )  # fmt: skip
    same_map(doors, tmp_path / "m.tif", tmp_path / "c.tif")
    same_score(doors, told["score"])
    assert told["temperature"] == pytest.approx(doors.page.temperature, abs=1e-6)
    assert told["n_train"] <= MAX_TRAIN
    assert {c["name"]: c["hectares"] for c in told["classes"]} == hectares(doors)


def test_tessera_evaluate_says_what_the_page_says(doors: Doors, capsys: Any) -> None:
    words = ("evaluate", doors.folder / "E", "--labels", doors.folder / "labels.gpkg", "--head", "logistic")
    told = tessera(capsys, *words)
    same_score(doors, told["score"])
    assert (told["accuracy"], tuple(told["interval"])) == (doors.score.accuracy, doors.score.interval)
    assert told["score"]["sentences"] == list(doors.score.sentences)
    # Points lie among the labels, and points have no fields.
    assert told["split"] == "blocked"


def test_exports_and_the_report_say_what_the_page_says(doors: Doors, tmp_path: Path, capsys: Any) -> None:
    told = tessera(capsys, "export", doors.project.folder, "--to", "qgis", "--out", tmp_path / "q.zip")
    with zipfile.ZipFile(tmp_path / "q.zip") as archive:
        archive.extractall(tmp_path / "q")
    same_map(doors, tmp_path / "q" / "map.tif", tmp_path / "q" / "confidence.tif")
    same_score(doors, told["score"])
    assert {name: one["hectares"] for name, one in told["classes"].items()} == hectares(doors)
    product = project_product(doors.project, doors.raster, map_project(doors.project, doors.raster, 2023))
    text = html_of(doors.project, product)
    for sentence in doors.score.sentences:
        assert sentence in text
    for name, area in hectares(doors).items():
        assert f"<td>{name}</td><td>{area:,.1f}</td>" in text


def test_the_report_knows_what_was_checked_and_says_what_is_simulated(tmp_path: Path) -> None:
    """The table of the page Validate stands beside the counts; a made-up landscape is called one; words need no glossary."""
    raster, truth = landscape()
    demo = replace(raster, provenance=replace(raster.provenance, source="demo"))
    project = Project.create(tmp_path / "p", "Fen")
    for name in CLASSES:
        project.log.add_class(name)
    for k in range(3):
        for row, col in np.argwhere(truth == k)[:: (truth == k).sum() // 9]:
            x, y = GRID.pixel_to_xy(row + 0.5, col + 0.5)
            project.log.add("point", k + 1, [(float(x), float(y))])
    made = map_project(project, demo, 2023)
    unchecked = html_of(project, project_product(project, demo, made))
    assert "Nobody has looked at places drawn by chance" in unchecked
    assert "They come without an error bar" in unchecked
    assert "simulated" in unchecked
    assert "is simulated" not in html_of(project, project_product(project, raster, made))
    checked = validate.Validation(2023, GRID, draw(made.map.classes, 60, at_least=10, seed=0))
    for position in range(len(checked.sample)):
        row, col = checked.sample.rows[position], checked.sample.cols[position]
        checked = checked.answer(position, int(truth[row, col]) + 1)
    validate.save(project, checked)
    found = checked.assess()
    text = html_of(project, project_product(project, demo, made))
    assert found.sentences(dict(enumerate(CLASSES, 1)))[0] in text
    for one in found.classes:
        low, high = one.area.interval
        assert f"<td>{one.area.value:,.1f}</td><td>{low:,.1f} to {high:,.1f}</td>" in text
    assert "Nobody has looked" not in text
    assert "without an error bar" not in text
    for page in (unchecked, text):
        main, colleagues = page.split("<script")[0].split("<details>")
        for word in ("macro-F1", "head", "prototype", "emperature", "hecksum", "Fingerprint", "random split", "128-d"):
            assert word not in re.sub(
                r"<style>.*?</style>|</?head>|</?header>|src='[^']*'", "", main, flags=re.DOTALL
            ), word
        # What colleagues ask for is there all the same.
        assert demo.provenance.dataset in colleagues
    # A damaged sample is told, and the report is made all the same.
    (project.folder / "validation-2023.json").write_text("{")
    assert "is damaged" in html_of(project, project_product(project, demo, made))


# ------------------------------------------------------------------ invariants


def test_a_class_raster_teaches_what_its_labels_teach(tmp_path: Path) -> None:
    """Patches of a raster are groups as polygons are; the file's numbering of them changes nothing."""
    raster, _ = landscape()
    codes = np.zeros((SIZE, SIZE), np.uint8)
    labels = []
    for number, (row, col) in enumerate(((3, 20), (40, 60), (90, 100), (150, 30), (60, 150), (170, 170))):
        codes[row : row + 12, col : col + 14] = number % 3 + 1
        labels.append(Label(f"l{number}", number % 3 + 1, "polygon", tuple(ring(row, col, 12, 14))))
    with rasterio.open(
        tmp_path / "l.tif", "w", driver="GTiff", dtype="uint8", count=1, height=SIZE, width=SIZE, crs=GRID.crs,
        transform=GRID.transform,
    ) as file:  # fmt: skip
        file.write(codes, 1)
    from_raster = train(read_reference(tmp_path / "l.tif", GRID), raster, "ridge", calibrated=False)
    classes = [LabelClass(i, str(i), f"#00000{i}") for i in (1, 2, 3)]
    from_labels = train(Reference.of_labels(labels, classes, GRID), raster, "ridge", calibrated=False)
    first, second = (predict_raster(one.head, raster) for one in (from_raster, from_labels))
    np.testing.assert_array_equal(first.classes, second.classes)
    np.testing.assert_array_equal(first.confidence, second.confidence)


@pytest.mark.parametrize("by_pixel", [False, True])
def test_only_the_embeddings_that_a_score_looks_at_are_read(by_pixel: bool) -> None:
    """A reference raster of any size is scored in little memory, and scored the same."""
    raster, truth = landscape()
    rows, cols = (a.ravel() for a in np.indices(GRID.shape))
    patch = (rows // 9 * 24 + cols // 9).astype(np.int64)
    classes = [LabelClass(i, str(i), f"#00000{i}") for i in (1, 2, 3)]
    reference = Reference(rows, cols, (truth.ravel() + 1).astype(np.uint8), patch, classes, by_pixel=by_pixel)
    few, all_ = reference.few_samples(raster, 3), reference.samples(raster)
    assert len(few.y) <= 8000 < len(all_.y) == len(rows) - 45
    assert few.ignored == all_.ignored == 45
    scores = [score_samples(some, "ridge", seed=3, naive=False).to_json() for some in (few, all_)]
    assert scores[0] == scores[1]


@settings(max_examples=8, deadline=None)
@given(st.permutations(range(24)), st.sampled_from(["ridge", "logistic", "prototype", "knn"]))
def test_the_order_of_labels_that_do_not_overlap_changes_nothing(order: list[int], head: str) -> None:
    raster, truth = landscape()
    small = EmbeddingRaster(
        raster.codes[:80, :80],
        np.asarray(raster.scales)[:80, :80],
        Grid(GRID.crs, GRID.transform, (80, 80)),
        raster.provenance,
    )
    labels = [
        Label(f"l{i}", int(truth[r, c]) + 1, "polygon", tuple(ring(r, c, 3, 4)))
        for i, (r, c) in enumerate((4 + 12 * (n // 6), 3 + 13 * (n % 6)) for n in range(24))
    ]
    classes = [LabelClass(i, str(i), f"#00000{i}") for i in (1, 2, 3)]
    maps = [fit_labels(some, small, head) for some in (labels, [labels[i] for i in order])]
    first, second = (predict_raster(one, small) for one in maps)
    np.testing.assert_array_equal(first.classes, second.classes)
    np.testing.assert_array_equal(first.confidence, second.confidence)
    scores = [score_labels(some, classes, small, head) for some in (labels, [labels[i] for i in order])]
    assert scores[0].to_json() == scores[1].to_json()


@settings(max_examples=40, deadline=None)
@given(
    st.lists(st.integers(0, 400), min_size=2, max_size=5),
    st.integers(10, 300),
    st.integers(0, 5),
    st.integers(1, 30),
)
def test_a_draw_is_balanced_and_hardly_disturbed_by_one_label_more(
    sizes: list[int], limit: int, seed: int, more: int
) -> None:
    y = np.repeat(np.arange(1, len(sizes) + 1), sizes)
    if len(y) == 0:
        return
    rows, cols = np.divmod(np.random.default_rng(0).permutation(4000)[: len(y)], 64)
    keep = training_draw(y, rows, cols, seed, limit)
    counts = np.bincount(y[keep], minlength=len(sizes) + 1)[1:]
    assert len(keep) == len(y) if len(y) <= limit else len(keep) <= max(limit, len(sizes))
    for size, count in zip(sizes, counts.tolist(), strict=True):
        assert (count > 0) == (size > 0)
        # A class gives all it has, or as much as the largest.
        assert count == size or count >= counts.max() - 1
    # Whatever stood in another order stands there with the same pixels.
    turned = np.random.default_rng(seed).permutation(len(y))
    again = training_draw(y[turned], rows[turned], cols[turned], seed, limit)
    pairs = [{(int(r), int(c)) for r, c in zip(rows[k], cols[k], strict=True)} for k in (keep, turned[again])]
    assert pairs[0] == pairs[1]
    # Labels added elsewhere push some out and bring none in.
    added = np.full(more, 1)
    y2, r2, c2 = np.r_[y, added], np.r_[rows, np.full(more, 99)], np.r_[cols, np.arange(more)]
    kept = training_draw(y2, r2, c2, seed, limit)
    old = {(int(r), int(c)) for r, c in zip(r2[kept], c2[kept], strict=True) if r != 99}
    assert old <= pairs[0]


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 2**32 - 1), st.booleans())
def test_areas_add_up_to_the_map(seed: int, placed: bool) -> None:
    classes = np.random.default_rng(seed).integers(0, 5, (7, 9)).astype(np.uint8)
    grid = Grid(GRID.crs, GRID.transform, (7, 9)) if placed else Grid.local((7, 9))
    areas = mapped_areas(classes, grid)
    assert sum(area.pixels for area in areas.values()) == classes.size
    assert sum(area.share for area in areas.values()) == pytest.approx(1 if classes.any() else 0)
    for i, area in areas.items():
        assert area.pixels == int((classes == i).sum())
        assert area.hectares == (pytest.approx(area.pixels / 100) if placed else None)

"""The front door: quick to open, the same room behind it as behind the others, and every example in its docstrings runs."""

from __future__ import annotations

import doctest
import importlib
import inspect
import json
import os
import pkgutil
import subprocess
import sys
import warnings
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
import shapely
from affine import Affine
from sklearn.base import clone

import tessera_core as tessera
from tessera_core import api, raster
from tessera_core.api.arguments import KINDS, _alternatives, _is
from tessera_core.assess.designs import draw, write_csv
from tessera_core.assess.reference import Reference
from tessera_core.errors import HeadError, InputError, MixedDatasetsError
from tessera_core.export.geotiff import write_class_map
from tessera_core.grid import Grid
from tessera_core.heads import load_head
from tessera_core.labels.raster_points import raster_points
from tessera_core.project.demo import DEMO_CLASSES, DemoRegion
from tessera_core.project.tile_maps import map_tiles
from tessera_core.provenance import Provenance
from tessera_core.raster import EmbeddingRaster
from tessera_core.region import Region
from tests.factories import make_raster
from tests.sources import world_store
from tests.sources.world_store import WebStore

SIZE = 96
GRID = Grid("EPSG:32631", Affine(10, 0, 500_000, 0, -10, 5_600_000), (SIZE, SIZE))
SLOW = ("demo", "generate", "join")
CALLS = {name for name, value in vars(api).items() if inspect.isfunction(value)}


@pytest.fixture(scope="module")
def region(tmp_path_factory: pytest.TempPathFactory) -> DemoRegion:
    """A region as the demo's, without its simulated satellites: three classes in fields, two years, a patch that changed."""
    root = tmp_path_factory.mktemp("region")
    made = DemoRegion.at(root, SIZE, 0, (2023, 2024))
    rng = np.random.default_rng(0)
    fields = rng.integers(0, 3, (12, 12)).repeat(8, 0).repeat(8, 1)
    kinds, own = rng.normal(size=(3, 128)), rng.normal(size=(12, 12, 128)).repeat(8, 0).repeat(8, 1)
    for year in made.embeddings:
        fields = fields if year == 2023 else np.where(np.indices(GRID.shape).max(0) < 16, 2, fields)
        values = kinds[fields] + 0.4 * own + 0.3 * rng.normal(size=(SIZE, SIZE, 128))
        provenance = Provenance("studio", "nano", dim=128, year=year, source="test")
        make_raster(values, GRID, provenance).save(made.embeddings[year])
        made.truth[year].parent.mkdir(exist_ok=True)
        truth = (fields + 1).astype(np.uint8)
        # A few pixels in the midst of each field: more would teach the same and take longer.
        truth[(np.indices(GRID.shape) % 8 // 3 != 1).any(0)] = 0
        write_class_map(made.truth[year], truth, None, GRID, DEMO_CLASSES[:3], provenance)
    return made


@pytest.fixture(scope="module")
def names(region: DemoRegion) -> dict[str, Any]:
    """What the examples in docstrings take for granted."""
    one = tessera.open(region.embeddings[2024])
    labels = tessera.read_labels(region.truth[2024], like=one)
    made = tessera.map_classes(one, labels, "ridge", calibrated=False)
    fields = region.truth[2024].with_name("fields.geojson")
    places = [[one.grid.pixel_to_lonlat(r, c) for r, c in ((0, k), (8, k), (8, k + 8), (0, k))] for k in (8, 500)]
    rings = [[[float(lon), float(lat)] for lon, lat in place] for place in places]
    features = [
        {"type": "Feature", "geometry": {"type": "Polygon", "coordinates": [r]}, "properties": {}} for r in rings
    ]
    fields.write_text(json.dumps({"type": "FeatureCollection", "features": features}), encoding="utf-8")
    tiles = fields.with_name("tiles")
    map_tiles(region.embeddings[2024], made.save_head(fields.with_name("head.safetensors")), tiles)
    known = {"tessera": tessera, "region": region, "raster": one, "labels": labels, "made": made}
    return {**known, "fields": fields, "tiles": tiles}


# -------------------------------------------------------------------- the face


def test_importing_the_package_takes_no_time() -> None:
    code = (
        "import sys, tessera_core; print(*(m for m in sys.modules if m.partition('.')[0] in ('tessera_core', 'numpy')))"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.split() == ["tessera_core"]


def test_every_name_is_there_and_none_is_a_room(root: Path) -> None:
    assert set(tessera.__all__) <= set(dir(tessera))
    rooms = {path.stem for path in (root / "tessera_core").iterdir() if path.suffix in ("", ".py")}
    assert rooms & set(tessera.__all__) == set()
    assert set(tessera.__all__) - {*tessera._ELSEWHERE, "__version__"} == CALLS
    for name in tessera.__all__:
        assert getattr(tessera, name).__doc__, name
    with pytest.raises(AttributeError, match="no attribute 'opne'"):
        tessera.opne  # noqa: B018


def _examples() -> Iterator[Any]:
    modules = [importlib.import_module(f"{api.__name__}.{room.name}") for room in pkgutil.iter_modules(api.__path__)]
    for test in [one for module in (*modules, raster) for one in doctest.DocTestFinder().find(module)]:
        if test.examples:
            slow = test.name.rpartition(".")[2] in SLOW
            yield pytest.param(test, id=test.name, marks=[pytest.mark.soak] if slow else [])


def test_every_call_of_the_front_door_has_an_example() -> None:
    without = {name for name in CALLS if ">>>" not in getattr(api, name).__doc__}
    # These need a server, a saved head or values; the tests below call them.
    assert without == {"coverage", "fetch", "load_head", "map_values", "read_values"}


@pytest.mark.parametrize("example", [*_examples()])
def test_the_examples_in_docstrings_run(
    example: doctest.DocTest, names: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import matplotlib as mpl

    mpl.use("Agg")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TESSERA_HOME", str(tmp_path))
    given = dict(names)
    if example.name.rpartition(".")[2] in SLOW:
        given["region"] = tessera.demo(size=96, years=[2023, 2024])
        given["raster"] = tessera.open(given["region"].embeddings[2024])
    example.globs = {**given}
    runner = doctest.DocTestRunner(verbose=False)
    assert runner.run(example).failed == 0


# ------------------------------------------------------------------ embeddings


def test_a_published_store_is_looked_into_fetched_once_and_opened(
    web: WebStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TESSERA_HOME", str(tmp_path / "home"))
    box = (11.82, -0.02, 11.94, 0.08)
    (cover,) = tessera.coverage(box, location=web.store, years=[2022, 2023], dim=16)
    assert [(year.year, year.missing) for year in cover.years] == [(2022, ("grid_11.85_0.05",)), (2023, ())]
    assert cover.problem == ""

    one = tessera.fetch(box, 2023, location=web.store, dim=16)
    assert (one.dim, one.provenance.year, one.provenance.version) == (16, 2023, "2.0")
    rows, cols = (a.ravel() for a in np.nonzero(one.valid()))
    assert len(rows) > 1000
    lon, lat = one.grid.pixel_to_lonlat(rows + 0.5, cols + 0.5)
    off = np.abs(one.sample(rows, cols) - world_store.vectors(lon, lat, 2023)[:, :16])
    assert (off <= one.scales[rows, cols, None] * 0.51).all()

    sent = web.sent
    for again in (
        tessera.fetch(Region.of_shape(shapely.box(*box)), 2023, location=web.store, dim=16),
        tessera.open(web.store, region=box, year=2023, dim=16),
    ):
        np.testing.assert_array_equal(again.codes, one.codes)
        np.testing.assert_array_equal(again.scales, one.scales)
    # Only what the store says of itself was asked again.
    assert web.sent - sent < one.codes.nbytes / 10
    with pytest.warns(UserWarning, match=r"has not, of 2022: grid_11\.85_0\.05"):
        years = tessera.fetch(",".join(map(str, box)), [2022, 2023], location=web.store, dim=16)
    np.testing.assert_array_equal(years[2023].codes, one.codes)
    assert years[2022].valid().sum() < years[2023].valid().sum()


# ------------------------------------------------------------------------ maps


def test_a_head_that_is_given_makes_the_map_of_its_name_and_learns_nothing(names: dict[str, Any]) -> None:
    one, labels = names["raster"], names["labels"]
    head = tessera.make_head("ridge")
    maps = [tessera.map_classes(one, labels, choice) for choice in ("ridge", head, tessera.HeadChoice("ridge"))]
    for made in maps[1:]:
        np.testing.assert_array_equal(made.classes, maps[0].classes)
        np.testing.assert_array_equal(made.confidence, maps[0].confidence)
        assert made.head.applied_temperature_ == maps[0].head.applied_temperature_
    assert not hasattr(head, "classes_")
    assert maps[0].score is not None
    assert maps[0].score.accuracy == tessera.evaluate(one, labels, head).accuracy
    assert clone(head).get_params() == head.get_params()


def test_a_saved_head_maps_another_year(names: dict[str, Any], region: DemoRegion, tmp_path: Path) -> None:
    made = tessera.map_classes(names["raster"], names["labels"])
    saved = tessera.load_head(made.save_head(tmp_path / "h.safetensors"))
    again = tessera.map_classes(names["raster"], head=saved)
    np.testing.assert_array_equal(again.classes, made.classes)
    assert again.names == made.names
    elsewhere = tessera.map_classes(tessera.open(region.embeddings[2023]), head=saved)
    assert elsewhere.trained_on.year == 2024
    outside = elsewhere.outside_applicability()
    assert outside is not None
    assert 0 <= outside.share <= 1
    # What taught a head that was saved is not known with its map: every check by places says so.
    sample = draw(again.classes, 90, "random")
    for place, mapped in enumerate(sample.mapped):
        sample = sample.answer(place, int(mapped))
    write_csv(tmp_path / "sample.csv", sample, again.grid, again.names)
    unknown = "Which places taught the map is not known: its head was saved earlier. "
    assert [note for note in tessera.validate(again, tmp_path / "sample.csv").notes if note.startswith(unknown)]
    (said,) = [one for one in tessera.certify(again, tmp_path / "sample.csv").sentences() if one.startswith(unknown)]
    assert said.endswith("the promise may not hold.")
    assert not [one for one in tessera.certify(made, tmp_path / "sample.csv").sentences() if "not known" in one]
    compared = tessera.compare_maps(made, elsewhere)
    told = compared.told(compared.places(10))
    assert [
        one for one in told if one.startswith("Which places taught second is not known: its head was saved earlier.")
    ]
    assert [one for one in told if "of 10 places also taught first" in one]
    foreign = replace(names["raster"], provenance=replace(names["raster"].provenance, version="other"))
    with pytest.raises(MixedDatasetsError):
        tessera.map_classes(foreign, head=saved)
    with pytest.raises(HeadError, match="map_classes"):
        tessera.map_values(names["raster"], head=saved)
    assert load_head(tmp_path / "h.safetensors").class_names == made.names


def test_values_are_mapped_scored_saved_and_written(names: dict[str, Any], region: DemoRegion, tmp_path: Path) -> None:
    one = names["raster"]
    rng = np.random.default_rng(2)
    rows, cols = rng.integers(0, SIZE, (2, 80))
    x, y = GRID.pixel_to_xy(rows + 0.5, cols + 0.5)
    height = one.sample(rows, cols)[:, 0] * 3 + 20
    lines = [f"{a:.1f},{b:.1f},{h:.3f}" for a, b, h in zip(x, y, height, strict=True)]
    (tmp_path / "plots.csv").write_text("x,y,height_m\n" + "\n".join(lines))
    values = tessera.read_values(tmp_path / "plots.csv", like=one, field="height_m", crs="EPSG:32631")
    made = tessera.map_values(one, values)
    assert made.name == "height_m"
    assert np.abs(made.values[rows, cols] - height).mean() < 2
    files = tessera.write_map(tmp_path / "h.tif", made, margin=tmp_path / "m.tif")
    with rasterio.open(files[0]) as file:
        np.testing.assert_array_equal(file.read(1), made.values)
    given = tessera.map_values(one, values, tessera.make_head("ridge-regression"))
    np.testing.assert_array_equal(given.values, made.values)
    saved = tessera.load_head(made.save_head(tmp_path / "h.safetensors"))
    np.testing.assert_array_equal(tessera.map_values(one, head=saved).values, made.values)
    # A head taken on from another year keeps saying what it was trained on.
    elsewhere = tessera.map_values(tessera.open(region.embeddings[2023]), head=saved)
    assert (elsewhere.provenance.year, elsewhere.trained_on.year) == (2023, 2024)
    assert tessera.load_head(elsewhere.save_head(tmp_path / "again.safetensors")).provenance.year == 2024
    score = tessera.evaluate(one, values)
    assert score.result["r2"] > 0.5
    with pytest.raises(HeadError, match="map_values"):
        tessera.map_classes(one, head=saved)


def test_change_is_found_where_the_fields_changed(names: dict[str, Any], region: DemoRegion, tmp_path: Path) -> None:
    found = tessera.change(tessera.open(region.embeddings[2023]), names["raster"])
    changed = found.changed(0.05)
    with rasterio.open(region.truth[2023]) as first, rasterio.open(region.truth[2024]) as second:
        truth = first.read(1) != second.read(1)
    assert changed[truth].mean() > 0.9
    assert changed[16:, 16:].mean() < 0.05
    assert found.hectares() == pytest.approx(changed.sum() / 100)
    files = tessera.write_map(tmp_path / "c.tif", found, rate=0.05)
    with rasterio.open(files[0]) as file:
        np.testing.assert_array_equal(file.read(1) == 2, changed)
    assert "changed" in repr(found)


def test_only_some_classes_are_read_where_that_is_asked(names: dict[str, Any], region: DemoRegion) -> None:
    some = tessera.read_labels(region.truth[2024], like=names["raster"].grid, classes=["Water", "Conifer wood"])
    assert sorted(some.names.values()) == ["Conifer wood", "Water"]
    assert isinstance(some, Reference)


# ----------------------------------------------------------------------- heads


def test_tables_of_pandas_and_geopandas_are_read_as_their_files_are(tmp_path: Path) -> None:
    geopandas, pandas = pytest.importorskip("geopandas"), pytest.importorskip("pandas")
    rows, cols = [10, 12, 60, 70], [10, 40, 20, 70]
    places = [GRID.pixel_to_lonlat(row, col) for row, col in zip(rows, cols, strict=True)]
    lon, lat = ([float(place[axis]) for place in places] for axis in (0, 1))
    table = pandas.DataFrame({"lon": lon, "lat": lat, "cover": list("abab"), "height": [1.5, 2, 3, 4]})
    table["day"] = pandas.Timestamp("2024-06-01")
    table.to_csv(tmp_path / "p.csv", index=False)
    shapes = geopandas.GeoDataFrame(table, geometry=geopandas.points_from_xy(lon, lat), crs=4326)
    filed = tessera.read_labels(tmp_path / "p.csv", GRID, field="cover")
    bare = geopandas.GeoDataFrame(table)
    unnumbered = shapes.to_crs("+proj=laea +lat_0=50 +lon_0=3 +units=m")
    for given in (table, shapes, shapes.to_crs(GRID.crs), table.set_index(["lat", "lon"]), unnumbered, bare):
        labels = tessera.read_labels(given, GRID, field="cover")
        assert (labels.rows.tolist(), labels.cols.tolist()) == (rows, cols)
        assert labels.y.tolist() == filed.y.tolist()
        assert tessera.read_values(given, GRID, field="height").values.tolist() == [1.5, 2, 3, 4]
    with pytest.raises(InputError, match="several columns called 'cover'"):
        tessera.read_labels(pandas.concat([shapes, shapes[["cover"]]], axis=1), GRID)
    wrong: Any = None
    with pytest.raises(InputError, match="from a file, a DataFrame or a GeoDataFrame; this is NoneType"):
        tessera.read_labels(wrong, GRID)


def test_a_kept_head_goes_on_learning_from_a_project_and_says_how_it_travels(
    names: dict[str, Any], region: DemoRegion, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TESSERA_HOME", str(tmp_path / "home"))
    first = tessera.teach_head({"Kent": (names["raster"], names["labels"])})
    assert first.elsewhere == ()
    tessera.keep_head(first, "crops")
    project = tessera.Project.create(tmp_path / "essex", "Essex")
    earlier = tessera.open(region.embeddings[2023])
    project.attach_embeddings(2023, region.embeddings[2023], earlier.provenance, earlier.grid)
    labels = raster_points(region.truth[2023], GRID, 20)
    project.log.import_labels(labels.classes, labels.labels)
    both = tessera.teach_head([project], tessera.load_head("crops"))
    assert both.taught.places == ("Kent", "Essex")
    assert [one.place for one in both.elsewhere] == ["Kent", "Essex"]
    assert both.before[0].accuracy is not None
    assert both.sentences()[0].startswith("Before, without Essex, right at ")
    # Labels of now replace those of then, so that no place stands in for itself when it is held out.
    again = tessera.teach_head([project], both.saved)
    assert (again.taught.places, again.renewed, again.before) == (("Kent", "Essex"), ("Essex",), ())
    assert len(again.taught.y) == len(both.taught.y)
    assert again.elsewhere == both.elsewhere
    maps = [tessera.map_classes(names["raster"], head=one.saved) for one in (both, again)]
    np.testing.assert_array_equal(maps[0].classes, maps[1].classes)
    with pytest.raises(InputError, match="no kept head"):
        tessera.load_head("nobody")
    with pytest.raises(InputError, match=r"head of keep_head\(\) has to be the path"):
        tessera.keep_head(3, "three")  # type: ignore[arg-type]


# ---------------------------------------------------------------------- errors


def test_what_does_not_go_together_is_said(names: dict[str, Any], region: DemoRegion, tmp_path: Path) -> None:
    one, labels, made = names["raster"], names["labels"], names["made"]
    saved = tessera.load_head(made.save_head(tmp_path / "h.safetensors"))
    read = tessera.read_values(region.truth[2024], like=one)
    wrong = (
        (lambda: tessera.map_classes(one), "labels"),
        (lambda: tessera.map_classes(one, labels, saved), "either labels or a saved head"),
        (lambda: tessera.map_classes(one, labels, 7), "this is int"),
        (lambda: tessera.teach_head([5]), "a dictionary"),
        (lambda: tessera.teach_head({"Kent": (one, "labels.csv")}), "read_labels"),
        (lambda: tessera.features("dem.tif", one), "several paths in a list"),
        (lambda: tessera.fetch((-30, 140, -29, 141), 2024), "140,-30,141,-29"),
        (lambda: tessera.write_map(tmp_path / "m.xyz", made), "should end in .tif"),
        (lambda: tessera.map_classes(one, labels, "forrest"), "There is no head 'forrest'"),
        (lambda: tessera.map_values(one, labels, "ridge"), r"labels of map_values\(\) has to be measured values"),
        (lambda: tessera.map_values(one, read, "ridge"), "There is no head 'ridge'"),
        (
            lambda: tessera.write_map(tmp_path / "m.tif", made, margin=tmp_path / "x.tif"),
            "a map of classes has confidence",
        ),
        (lambda: tessera.write_map(tmp_path / "m.tif", made, rate=0.1), "none"),
        (lambda: tessera.open("https://127.0.0.1:9/store"), "say which part"),
        (lambda: tessera.open(tmp_path, region=(0, 0, 1, 1)), "opened whole"),
        (lambda: tessera.fetch((1, 2, 3), 2024), "box"),
        (lambda: tessera.fetch("no such file", 2024), "no such file"),
        (lambda: tessera.fetch(5, 2024), "west, south, east, north"),
        (lambda: tessera.fetch((0, 1, 1, 2), 2024, dataset="1.1", location="x"), "either dataset or location"),
        (lambda: tessera.fetch((0, 1, 0.1, 1.1), 2024, dataset="9.9"), "There is no dataset"),
    )
    for call, said in wrong:
        with pytest.raises(InputError, match=said):
            call()  # type: ignore[no-untyped-call]
    assert not (tmp_path / "m.tif").exists()


@pytest.mark.parametrize("name", sorted(CALLS))
def test_arguments_of_another_kind_are_refused_in_a_sentence(name: str, names: dict[str, Any], tmp_path: Path) -> None:
    """Each argument in turn is of each other kind, the rest as it should be; nothing is computed before all are looked at."""
    call = getattr(api, name)
    parameters = inspect.signature(call).parameters
    kinds = {key: set(_alternatives(str(one.annotation))) for key, one in parameters.items()}
    given: tuple[Any, ...] = (
        None,
        5,
        "abc",
        tmp_path / "p.csv",
        names["raster"],
        names["labels"],
        names["made"],
        object(),
    )
    needed = {key: _proper(kinds[key], names) for key, one in parameters.items() if one.default is one.empty}
    for key in kinds:
        for value in given:
            if not kinds[key] <= set(KINDS) or any(_is(value, kind) for kind in kinds[key]):
                continue
            with pytest.raises(InputError, match=f"^{key} of {name}.. has to be .+; this is .+\\.$"):
                call(**{**needed, key: value})
    if "seed" in kinds:
        with pytest.raises(InputError, match=r"seed .* 0 or more"):
            call(**{**needed, "seed": -1})


def test_every_kind_of_the_type_hints_is_checked_here_or_where_it_is_used() -> None:
    hints = {
        kind
        for name in CALLS
        for one in inspect.signature(getattr(api, name)).parameters.values()
        if one.kind is not inspect.Parameter.VAR_KEYWORD
        for kind in _alternatives(str(one.annotation))
    }
    assert hints - set(KINDS) == {"Any", "AnyHead", "AnyRegression", "Places", "Table", "Where"}
    assert {name for name in CALLS if not hasattr(getattr(api, name), "__wrapped__")} == {"kept_heads"}


def _proper(kinds: set[str], names: dict[str, Any]) -> Any:
    for kind, value in (
        ("EmbeddingRaster", names["raster"]),
        ("Reference", names["labels"]),
        ("MappedClasses", names["made"]),
    ):
        if kind in kinds:
            return value
    if "SavedHead" in kinds:
        return tessera.load_head(names["tiles"].with_name("head.safetensors"))
    return 2024 if "int" in kinds else "abc" if "str" in kinds else []


def test_what_a_folder_of_tiles_lost_is_a_warning(region: DemoRegion, tmp_path: Path) -> None:
    folder = tmp_path / "tiles"
    whole = tessera.open(region.embeddings[2024])
    for name, part in (("a", slice(0, 48)), ("b", slice(48, 96))):
        grid = GRID.window(part.start, 0, 48, SIZE)
        EmbeddingRaster(whole.codes[part], whole.scales[part], grid, whole.provenance).save(folder / name)
    os.truncate(folder / "b" / "codes.npy", 500)
    with pytest.warns(UserWarning, match="b is left out"):
        assert tessera.open(folder).shape == (48, SIZE)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert tessera.open(region.embeddings[2024], dim=16).dim == 16

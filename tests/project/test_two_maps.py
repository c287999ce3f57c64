"""Which of two maps of a project is better: legends, what is left out, places, files, the verdict; alike for both maps."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
import rasterio
from affine import Affine
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tessera_core.assess.two_maps import judge
from tessera_core.cli import main
from tessera_core.errors import InputError, LabelError, ProjectError
from tessera_core.export.geotiff import write_class_map
from tessera_core.export.report.sealed import checksum, plain, sealed_json
from tessera_core.export.report.words import document
from tessera_core.grid import Grid
from tessera_core.heads import save_head
from tessera_core.labels.sampling import label_pixels
from tessera_core.project import second, two_maps, validate
from tessera_core.project.classify import head_choice, map_project, project_product, project_reference, train
from tessera_core.project.pack import make_pack, open_pack
from tessera_core.project.project import Project
from tessera_core.project.report import project_report
from tessera_core.project.response import respond
from tessera_core.project.saved_heads import keep_head
from tessera_core.project.two_maps import NamedMap
from tessera_core.project.validate import Validation
from tessera_core.sources.local.open import open_embeddings
from tests.factories import landscape

GRID = Grid("EPSG:32631", Affine(10, 0, 4e5, 0, -10, 5.7e6), (40, 50))
OWN = {1: "Wood", 2: "Grass", 3: "Water", 5: "Heath"}


def _maps(seed: int = 0) -> tuple[np.ndarray, NamedMap, NamedMap]:
    """The truth; a map right at 90 %, and one at 70 %, which calls things otherwise."""
    rng = np.random.default_rng(seed)
    truth = rng.choice([1, 2, 3], size=GRID.shape).astype(np.uint8)
    good = np.where(rng.random(GRID.shape) < 0.9, truth, truth % 3 + 1).astype(np.uint8)
    poor = np.where(rng.random(GRID.shape) < 0.7, truth, truth % 3 + 1).astype(np.uint8)
    poor[:3] = 0
    poor[3] = 9
    first = two_maps.NamedMap("ours", "year", good, OWN, {})
    names = {1: "WOOD", 2: "Meadow", 3: "Water", 9: "Roads"}
    return truth, first, NamedMap("official.tif", "file", poor, names, {1: "10", 2: "20", 3: "30", 9: "90"})


LEGEND = [("10", "wood"), ("Meadow", "Grass"), ("water", "Water")]


def _answered(pair: two_maps.Pair, truth: np.ndarray, n: int = 120, **options: bool) -> Validation:
    current = two_maps.drawn(pair, GRID, 2023, n, seed=4, **options)
    sample = current.sample
    return replace(current, sample=replace(sample, reference=truth[sample.rows, sample.cols].astype(np.int64)))


def test_the_better_map_is_named_with_what_is_left_out() -> None:
    truth, first, other = _maps()
    pair = two_maps.paired(first, other, OWN, LEGEND)
    assert pair.second.left_out == {"Roads": 50}
    assert pair.second.silent == 150
    assert pair.found.compared == 40 * 50 - 200
    said = " ".join(pair.sentences())
    assert "Roads (50)" in said
    assert "(pixels): 150" in said
    current = _answered(pair, truth)
    found = two_maps.verdict(current)
    assert found is not None
    assert found.better == 1
    assert found.first + found.second + found.neither == 120
    told = two_maps.sentences(current)
    assert told[0].startswith("Better: ours. It is right more often than official.tif")
    # The one truth: how much of what is compared each is right at.
    both = pair.maps.min(0) > 0
    gap = (pair.maps[0] == truth)[both].mean() - (pair.maps[1] == truth)[both].mean()
    assert found.low < gap < found.high
    assert two_maps.differing_now(current, first.classes) == 0
    assert two_maps.differing_now(current, np.zeros_like(first.classes)) == 120


@given(st.integers(0, 30), st.integers(1, 40), st.booleans(), st.integers(0, 9))
@settings(deadline=None, max_examples=6)
def test_exchanging_the_maps_mirrors_every_result(seed: int, answers: int, planned: bool, unclear: int) -> None:
    truth, first, other = _maps(seed)
    verdicts = []
    for one, two in ((first, other), (other, first)):
        pair = two_maps.paired(one, two, OWN, LEGEND)
        current = _answered(pair, truth, 40, planned=planned)
        for place in range(answers, 40):
            current = current.answer(place, None)
        for place in range(min(unclear, answers)):
            current = current.answer(3 * place % answers, 0)
        verdicts.append((pair, two_maps.verdict(current)))
    (left, a), (right, b) = verdicts
    assert np.array_equal(left.maps, right.maps[::-1])
    assert (left.first, left.second, left.same) == (right.second, right.first, right.same)
    assert a is not None
    assert b is not None
    assert (a.first, a.second, a.neither, a.unclear, a.p) == (
        b.second,
        b.first,
        b.neither,
        b.unclear,
        pytest.approx(b.p),
    )
    assert a.better == {0: 0, 1: 2, 2: 1}[b.better]
    assert (a.low, a.high) == pytest.approx((-b.high, -b.low), abs=1e-9)
    assert (a.more, a.whatever_is_unclear) == (b.more, b.whatever_is_unclear)


def test_a_class_that_stands_for_several_makes_them_count_as_one() -> None:
    truth, first, _ = _maps()
    coarse = NamedMap("coarse", "file", np.where(truth == 3, 2, 1).astype(np.uint8), {1: "Land", 2: "Water"}, {})
    pair = two_maps.paired(first, coarse, OWN, [("Land", "Wood"), ("Land", "Grass"), ("Water", "Water")])
    assert pair.same == {1: 1, 2: 1}
    assert set(np.unique(pair.maps)) == {1, 3}
    current = _answered(pair, truth)
    found = two_maps.verdict(current)
    assert found is not None
    # The coarse map is right wherever they differ, whether wood or grass is there.
    assert (found.second, found.first, found.neither) == (120, 0, 0)


def test_a_legend_that_names_what_is_not_there_is_one_sentence() -> None:
    _, first, other = _maps()
    for legend, words in (([("Moor", "Wood")], "neither map has here"), ([("10", "Sand")], "you have Wood, Grass")):
        with pytest.raises(LabelError, match=words):
            two_maps.paired(first, other, OWN, legend)
    assert two_maps.suggested(other, OWN) == [("WOOD", "Wood"), ("Water", "Water")]
    # Without a legend by names; what has none is left out and counted.
    assert set(two_maps.paired(first, other, OWN).second.left_out) == {"Meadow", "Roads"}
    same = two_maps.paired(first, first, OWN)
    with pytest.raises(LabelError, match="differ nowhere"):
        two_maps.drawn(same, GRID, 2023, 10)


def test_a_settled_number_says_nothing_before_its_end() -> None:
    truth, first, other = _maps()
    pair = two_maps.paired(first, other, OWN, LEGEND)
    whole = _answered(pair, truth, planned=True)
    early = whole.answer(119, None)
    assert two_maps.verdict(early).better == 0  # type: ignore[union-attr]
    assert "to go: 1" in two_maps.sentences(early)[0]
    assert not any("percentage points" in line for line in two_maps.sentences(early))
    assert two_maps.verdict(whole).better == 1  # type: ignore[union-attr]
    # Places behind an open one do not count while one may look at any time.
    anytime = _answered(pair, truth).answer(10, None)
    found = two_maps.verdict(anytime)
    assert found is not None
    assert found.first + found.second + found.neither == 10
    assert two_maps.verdict(_answered(pair, truth).answer(0, None)) is None


def test_places_and_maps_are_kept_handed_round_and_read_again(tmp_path: Path) -> None:
    truth, first, other = _maps()
    pair = two_maps.paired(first, other, OWN, LEGEND)
    project = Project.create(tmp_path / "project", "Fields")
    current = _answered(pair, truth, 30)
    assert two_maps.start(project, current, pair) is None
    again = validate.load(project, 2023, two_maps=True)
    assert again is not None
    assert again.maps == current.maps
    assert two_maps.verdict(again) == two_maps.verdict(current)
    kept = two_maps.kept_maps(project, again)
    assert kept is not None
    assert np.array_equal(kept, pair.maps)
    assert validate.load(project, 2023) is None
    # Handed out without what either map says, and taken in again.
    second.hand_out(again, tmp_path / "places.json")
    text = (tmp_path / "places.json").read_text()
    value = json.loads(text)
    assert set(value["mapped"]) == {0}
    assert set(value["maps"]["said"]) == {1}
    theirs = second.read_handed(tmp_path / "places.json").answer(2, 1, response=respond(interpreter="Bo"))
    assert second.merged(again, theirs).taken == 1
    # A bundle carries it to another computer, without the two pictures.
    copy = Project.import_file(project.export_file(tmp_path / "p.tessera"), tmp_path / "copy")
    there = validate.load(copy, 2023, two_maps=True)
    assert there is not None
    assert two_maps.sentences(there) == two_maps.sentences(current)
    assert two_maps.kept_maps(copy, there) is None
    # A pack carries these as well.
    (packed,) = open_pack(make_pack([project], tmp_path / "pack"), into=tmp_path / "packed")
    unpacked = validate.load(packed, 2023, two_maps=True)
    assert unpacked is not None
    assert two_maps.sentences(unpacked) == two_maps.sentences(current)
    with_it = two_maps.kept_maps(packed, unpacked)
    assert with_it is not None
    assert np.array_equal(with_it, pair.maps)
    # An older comparison is set aside.
    older = two_maps.start(project, current, pair)
    assert older is not None
    assert older.name == "validation-2023-two-maps-earlier-1.json"
    assert validate.earlier(project, 2023, two_maps=True) == 1
    assert validate.earlier(project, 2023) == 0
    path = validate.path_of(project, 2023, two_maps=True)
    whole = json.loads(path.read_text())
    for change in ({"said": [1]}, {"compared": 0}, {"risk": 3}, {"said": whole["mapped"]}, {"first": 3}):
        path.write_text(json.dumps(whole | {"maps": whole["maps"] | change}))
        with pytest.raises(ProjectError, match="damaged"):
            validate.load(project, 2023, two_maps=True)


def test_a_raster_on_another_grid_is_laid_over_by_the_nearest(tmp_path: Path) -> None:
    values = np.repeat(np.array([[1, 2], [2, 1]], np.uint8), 60, 0).repeat(60, 1)
    path = tmp_path / "official.tif"
    # Twice as fine, in another system, and half beside the region.
    profile = {"driver": "GTiff", "height": 120, "width": 120, "count": 1, "dtype": "uint8", "nodata": 0}
    west, north = GRID.pixel_to_xy(0, 25)
    with rasterio.open(
        path, "w", crs=GRID.crs, transform=Affine(5, 0, float(west), 0, -5, float(north)), **profile
    ) as file:
        file.write(values, 1)
    found = two_maps.file_map(path, GRID)
    assert (found.classes[:, :25] == 0).all()
    assert found.classes[:30, 25:].tolist() == values[1:60:2, 1:50:2].tolist()
    assert found.source == "file"


def test_places_that_taught_a_map_when_they_were_drawn_are_told_and_later_labels_are_not(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    project = Project.create(tmp_path / "project", "Fields")
    _, first, other = _maps()
    pair = two_maps.paired(first, other, OWN, LEGEND)
    current = two_maps.drawn(pair, GRID, 2023, 40, seed=4)
    wood = project.log.add_class("Wood").id

    def label(place: int) -> None:
        x, y = GRID.pixel_to_xy(current.sample.rows[place] + 0.5, current.sample.cols[place] + 0.5)
        project.log.add("point", wood, [(float(x), float(y))])

    two_maps.start(project, current, pair)
    before = validate.load(project, 2023, two_maps=True)
    label(0)
    assert before is not None
    assert validate.taught_sentences(project, before) == []
    assert validate.fingerprint(before) == validate.fingerprint(current)
    two_maps.start(project, current, pair)
    label(1)
    known = validate.load(project, 2023, two_maps=True)
    assert known is not None
    (told,) = validate.taught_sentences(project, known)
    assert told == "1 of 40 places also taught ours; accuracy there may look better than it is elsewhere."
    assert main(["validate", "show", str(project.folder), "--year", "2023", "--two-maps"]) == 0
    assert told in capsys.readouterr().out
    # Two maps of labels of their own, at the front door: each is told with the places that taught it.
    pixels = [label_pixels(project.log.labels[:n], GRID) for n in (1, 2)]
    mine = replace(pair, second=msgspec.structs.replace(pair.second, source="year"))
    compared = two_maps.MapComparison(mine, GRID, (pixels[0], pixels[1]))
    assert [line for line in compared.told(compared.places(40, seed=4)) if "taught" in line] == [
        f"{n} of 40 places also taught {name}; accuracy there may look better than it is elsewhere."
        for n, name in ((1, mine.first.title), (2, mine.second.title))
    ]
    # Maps of others were not taught by these labels.
    foreign = two_maps.paired(replace(first, source="file"), other, OWN, LEGEND)
    two_maps.start(project, two_maps.drawn(foreign, GRID, 2023, 40, seed=4), foreign)
    again = validate.load(project, 2023, two_maps=True)
    assert again is not None
    assert validate.taught_sentences(project, again) == []


def test_how_many_places_is_said_before_the_first() -> None:
    small, large = two_maps.plan(0.2, 0.2), two_maps.plan(0.2, 0.5)
    assert small.settled is not None
    assert large.settled is not None
    assert small.any_time is not None
    assert small.any_time > small.settled > large.settled
    assert small.points == pytest.approx(0.04)
    assert two_maps.plan(0.2, 0.01).settled is None
    with pytest.raises(LabelError, match="100 %"):
        two_maps.plan(0.2, 0.95, 0.1)


def test_what_is_no_map_is_one_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TESSERA_HOME", str(tmp_path / "home"))
    project = Project.create(tmp_path / "project", "Fields")
    with pytest.raises(InputError, match="no embeddings of 1999"):
        two_maps.map_of(project, None, "1999")
    with pytest.raises(InputError, match="no kept head"):
        two_maps.map_of(project, None, "my head")


def test_the_command_line_plans_draws_shows_and_certifies(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("TESSERA_HOME", str(tmp_path / "home"))
    raster = landscape(48)
    raster.save(tmp_path / "fields")
    project = Project.create(tmp_path / "project", "Fields")
    project.attach_embeddings(2023, tmp_path / "fields", raster.provenance, raster.grid)
    for number, (row, col) in enumerate(((8, 8), (8, 40), (40, 8))):
        x, y = raster.grid.pixel_to_xy(row, col)
        project.log.add("point", project.log.add_class(f"Kind {number}").id, [(float(x), float(y))])
    own = map_project(project, raster, 2023).map.classes
    other = np.where(np.random.default_rng(0).random(own.shape) < 0.3, own % 3 + 1, own).astype(np.uint8)
    write_class_map(tmp_path / "official.tif", other, None, raster.grid, project.log.classes, raster.provenance)

    def told(*words: object) -> dict[str, Any]:
        assert main(["validate", *map(str, words), "--json"]) == 0
        return json.loads(capsys.readouterr().out)

    folder, file = project.folder, tmp_path / "official.tif"
    planned = told("compare", folder, file, "--plan")
    share = float((own != other)[own > 0].mean())
    assert planned["share"] == pytest.approx(share)
    assert (planned["needed"], planned["needed_at_any_time"]) == (83, 129)
    assert validate.load(project, 2023, two_maps=True) is None
    drawn = told("compare", folder, file, "--places", 40)
    assert drawn["places"] == 40
    current = validate.load(project, 2023, two_maps=True)
    assert current is not None
    for place in range(40):
        current = current.answer(place, int(current.sample.mapped[place]))
    validate.save(project, current)
    shown = told("show", folder, "--two-maps")
    assert shown["verdict"]["better"] == 1
    assert two_maps.sentences(current) == shown["sentences"][1 : 1 + len(two_maps.sentences(current))]
    # Exchanged, the same places and the other map's name.
    told("compare", folder, file, 2023, "--places", 40)
    swapped = validate.load(project, 2023, two_maps=True)
    assert swapped is not None
    assert np.array_equal(swapped.sample.rows, current.sample.rows)

    # Neither needs to be the project's: a kept head's map, which is its own, against a second map of somebody else.
    reference = project_reference(project, raster)
    trained = train(reference, raster, head_choice(project))
    kept = save_head(tmp_path / "mine.safetensors", trained.head, reference.names, raster.provenance)
    keep_head(kept, "My head")
    worse = np.where(np.random.default_rng(1).random(own.shape) < 0.4, own % 3 + 1, own).astype(np.uint8)
    write_class_map(tmp_path / "second.tif", worse, None, raster.grid, project.log.classes, raster.provenance)
    headed = told("compare", folder, file, "My head", "--places", 20)
    assert headed["share"] == pytest.approx(share)
    titles = validate.load(project, 2023, two_maps=True).maps  # type: ignore[union-attr]
    assert (titles.first.title, titles.second.title) == ("official.tif", "My head")  # type: ignore[union-attr]
    told("compare", folder, file, tmp_path / "second.tif", "--places", 20)
    foreign = validate.load(project, 2023, two_maps=True)
    assert foreign is not None
    for place in range(20):
        foreign = foreign.answer(place, int(own[foreign.sample.rows[place], foreign.sample.cols[place]]))
    found, places = two_maps.verdict(foreign), foreign.sample
    assert found is not None
    right = [
        int((values[places.rows, places.cols] == own[places.rows, places.cols]).sum()) for values in (other, worse)
    ]
    assert [found.first, found.second] == right
    told("compare", folder, file, 2023, "--places", 40)

    told("draw", folder, "--design", "random", "--margin", 10)
    checked = validate.load(project, 2023)
    assert checked is not None
    for place in range(len(checked.sample)):
        checked = checked.answer(place, int(checked.sample.mapped[place]))
    validate.save(project, checked)
    part = told("certify", folder, "--most-wrong", 20, "--out", tmp_path / "part.tif")
    assert part["share"] == pytest.approx(1)
    with rasterio.open(tmp_path / "part.tif") as band:
        assert set(np.unique(band.read(1))) <= {0, 1}
    # It is in the report, and the report follows from the project.
    opened = open_embeddings(project.embeddings_path(2023), year=2023)
    made = map_project(project, opened, 2023)
    report = project_report(project, project_product(project, opened, made), 2023)
    assert report.validation is not None
    assert report.validation.certified.share == part["share"]
    assert report.validation.certified.sentences[0] == part["sentences"][0]
    # As is the verdict, each number as shown; and a changed one is found.
    taught = validate.taught_sentences(project, swapped)
    assert report.two_maps.sentences == (*two_maps.sentences(swapped), *taught, *two_maps.left_out_sentences(swapped))
    values = plain(report)
    assert values["two_maps"]["differing"] == round(share * values["two_maps"]["compared"])
    path = tmp_path / "report.json"
    path.write_text(sealed_json(report))
    assert main(["verify", str(path), str(folder)]) == 0
    forged = values | {"two_maps": values["two_maps"] | {"better": 2}}
    sealed = {"format": values["format"], "checksum": checksum(forged), "report": forged}
    path.write_text(json.dumps(sealed))
    capsys.readouterr()
    assert main(["verify", str(path), str(folder)]) == 1
    assert "two maps, better: the report says 2" in capsys.readouterr().out
    assert any(swapped.maps.first.title in str(block) for block in document(report).sections)  # type: ignore[union-attr]


def test_the_gap_between_two_maps_reads_the_same_from_either_side() -> None:
    gap = two_maps.sentences(_answered(two_maps.paired(*_maps()[1:], OWN, LEGEND), _maps()[0]))[-1]
    assert re.search(
        r"ours is right more often than official.tif, by \d+\.\d to \d+\.\d percentage points \(95 % sure\)", gap
    )
    _, first, other = _maps()
    turned = two_maps.sentences(_answered(two_maps.paired(other, first, OWN, LEGEND), _maps()[0]))[-1]
    assert turned.partition("Over all of it")[2] == gap.partition("Over all of it")[2]
    alike = replace(first, title="theirs", source="file", classes=first.classes[::-1])
    even = two_maps.sentences(_answered(two_maps.paired(first, alike, OWN), _maps()[0], 60))[-1]
    assert ("is right more often than" in even) == bool(
        two_maps.verdict(_answered(two_maps.paired(first, alike, OWN), _maps()[0], 60)).better  # type: ignore[union-attr]
    )


@given(st.integers(0, 80), st.integers(0, 80), st.integers(0, 40), st.booleans(), st.sampled_from([0.01, 0.05, 0.2]))
@settings(deadline=None, max_examples=60)
@example(6, 0, 0, False, 0.05)
@example(5, 0, 0, True, 0.05)
@example(0, 5, 0, True, 0.01)
def test_the_gap_never_says_more_than_the_verdict(
    first: int, second: int, neither: int, planned: bool, risk: float
) -> None:
    n = first + second + neither
    if not n:
        return
    reference = np.random.default_rng(n).permutation(np.repeat([1, 2, 3], [first, second, neither]))
    found = judge(reference, np.ones(n, int), np.full(n, 2), 0.2, risk=risk, planned=n if planned else None)
    gap = two_maps._gap("ours", "theirs", found)
    sure = re.search(r"(ours|theirs) is right more often than (?:ours|theirs), by (\S+) to (\S+) percentage", gap)
    assert bool(sure) == bool(found.better)
    if sure:
        assert sure[1] == ("ours", "theirs")[found.better - 1]
        assert 0 <= float(sure[2]) <= float(sure[3])
    else:
        limits = re.search(r"up to (\S+) percentage points, or less often by up to (\S+) \(95", gap)
        assert limits
        assert all(not limit.startswith("-") for limit in limits.groups())

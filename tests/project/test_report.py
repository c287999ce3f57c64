"""The report: its numbers are the project's, every form carries them, and a changed one is found."""

from __future__ import annotations

import copy
import io
import json
import re
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tessera_core.assess.designs import draw
from tessera_core.assess.label_card import card_of_labels
from tessera_core.cli import main
from tessera_core.export.pictures import class_layout
from tessera_core.export.product import Product
from tessera_core.export.report import Report, ReportError, sealed_in, sealed_json, write_report
from tessera_core.export.report.model import STATED, Confidence
from tessera_core.export.report.pdf import report_pdf
from tessera_core.export.report.sealed import checksum, plain
from tessera_core.export.report.words import (
    NOT_VALIDATED,
    Section,
    Table,
    _caveats,
    _deviations,
    accuracy_sentence,
    document,
)
from tessera_core.lessons import library
from tessera_core.lessons.progress import begin, to_json
from tessera_core.observations import Depth
from tessera_core.project import second, validate
from tessera_core.project.classify import map_project, project_product
from tessera_core.project.project import Project
from tessera_core.project.report import project_report
from tessera_core.project.response import Opinion, respond
from tessera_core.project.verify import differences
from tessera_core.provenance import Provenance
from tessera_core.sources.local.open import open_embeddings
from tests.factories import make_grid, make_raster

SIZE = 54
NAMES = ("Wald ä", "Año", "Θάλασσα <b>")
FORMS = ("html", "pdf", "json")


class Made:
    """A project with a checked map, and its report in every form."""

    def __init__(self, folder: Path) -> None:
        rng = np.random.default_rng(3)
        truth = rng.integers(0, 3, (6, 6)).repeat(9, 0).repeat(9, 1)
        values = rng.normal(size=(3, 8))[truth] + 0.7 * rng.normal(size=(SIZE, SIZE, 8))
        raster = make_raster(
            values, make_grid((SIZE, SIZE)), Provenance("tessera", "2.0", "2B-L", 8, 2023), empty=np.s_[:3, :7]
        )
        raster.save(folder / "E")
        self.raster = raster = open_embeddings(folder / "E", year=2023)
        self.project = Project.create(folder / "project", "Fen & Moor")
        self.project.attach_embeddings(2023, folder / "E", raster.provenance, raster.grid)
        for k, name in enumerate(NAMES):
            self.project.log.add_class(name)
            for row, col in np.argwhere(truth == k)[:: (truth == k).sum() // 8]:
                x, y = raster.grid.pixel_to_xy(row + 0.5, col + 0.5)
                self.project.log.add("point", k + 1, [(float(x), float(y))])
        self.unchecked = self.report()
        made = map_project(self.project, raster, 2023)
        sample = validate.Validation(2023, raster.grid, draw(made.map.classes, 50, at_least=8, seed=0))
        for place in range(46):
            row, col = sample.sample.rows[place], sample.sample.cols[place]
            behind = respond("sure", evidence="Aerial picture", evidence_date="2023-06", interpreter="Zoë")
            sample = sample.answer(place, 0 if place % 20 == 19 else int(truth[row, col]) + 1, response=behind)
        sample = second.for_two(sample, 0.4, seed=1)
        for number, place in enumerate(sorted(sample.doubled)):
            seen = int(sample.sample.reference[place])
            said = seen % 3 + 1 if seen and number % 5 == 0 else seen
            sample = sample.answer(place, said, response=respond("probably", interpreter="Bo"))
        place = second.differing(sample)[0]
        settled = Opinion(class_id=int(sample.sample.reference[place]), response=respond("sure", interpreter="Cy"))
        sample = sample.settle(place, settled)
        validate.save(self.project, sample)
        self.sample = sample.on_map(made.map.classes)
        self.said = self.report()
        self.files = {form: folder / f"report.{form}" for form in FORMS}
        for path in self.files.values():
            write_report(path, self.said, class_layout(self.product))

    def report(self) -> Report:
        made = map_project(self.project, self.raster, 2023)
        self.product: Product = project_product(self.project, self.raster, made)
        return project_report(self.project, self.product, 2023)


def test_what_there_is_to_mind_of_the_labels_is_said_once_for_all_doors(made: Made) -> None:
    log = made.project.log
    card = card_of_labels(log.labels, log.classes, made.raster)
    assert "no data" in [line.what for line in card.minded]
    assert made.said.labels.mind == tuple((line.sentence, line.advice) for line in card.minded)
    html = made.files["html"].read_text("utf-8")
    assert all(line.advice in html for line in card.minded)
    assert not any(line.sentence in html for line in card.lines if line.level == "ok")


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Made:
    return Made(tmp_path_factory.mktemp("report"))


def verify(capsys: pytest.CaptureFixture[str], *words: object) -> tuple[int, dict[str, Any]]:
    code = main(["verify", *map(str, words), "--json", "-q"])
    return code, json.loads(capsys.readouterr().out)


def leaves(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Paths of all values that are no containers."""
    if isinstance(value, dict | list):
        for key in value if isinstance(value, dict) else range(len(value)):
            yield from leaves(value[key], (*path, key))
    else:
        yield path


def with_value(values: dict[str, Any], path: tuple[Any, ...], change: Callable[[Any], Any]) -> dict[str, Any]:
    changed = copy.deepcopy(values)
    inner: Any = changed
    for key in path[:-1]:
        inner = inner[key]
    inner[path[-1]] = change(inner[path[-1]])
    return changed


def other(value: Any) -> Any:
    """Another value of the kind, as little different as matters."""
    if isinstance(value, bool):
        return not value
    if isinstance(value, int):
        return value + 1
    if isinstance(value, float):
        return value + 1e-4 if value < 1 else value * 1.0001
    return 0.5 if value is None else f"{value}x"


# ------------------------------------------------------------------ the same numbers


def test_every_number_of_the_sample_is_the_assessments(made: Made) -> None:
    found, said = made.sample.assess(), made.said.validation
    assert said is not None
    assert said.overall is not None
    for mine, theirs in [(said.overall, found.overall)] + [
        pair
        for a, b in zip(said.classes, found.classes, strict=True)
        for pair in ((a.area, b.area), (a.users, b.users), (a.producers, b.producers))
    ]:
        assert (mine.value, mine.low, mine.high, mine.se) == (theirs.value, theirs.low, theirs.high, theirs.se)
    assert [list(row) for row in said.counts] == found.counts.tolist()
    assert [one.mapped for one in said.classes] == [one.mapped * found.total_area for one in found.classes]
    assert sum(one.places for one in said.strata) == said.places == 50
    assert (said.deviations.open, said.deviations.cannot_tell, said.deviations.moved) == (4, 2, 0)
    # No place of this sample lies on a label; where one does it is told as on the page.
    assert (said.deviations.labelled, said.deviations.taught) == (0, ())
    taught = "2 of 50 places also taught the map; its accuracy there may look better than it is."
    assert list(_deviations(msgspec.structs.replace(said.deviations, taught=(taught,))))[-1] == taught
    assert said.answered == 44
    assert sum(one.answered for one in said.strata) == 44


def test_every_form_shows_what_the_data_say(made: Made) -> None:
    """Each figure of the tables is in the HTML, and in the words of the PDF."""
    import pypdf

    html = re.sub(r"<script.*?</script>", "", made.files["html"].read_text("utf-8"), flags=re.DOTALL)
    pdf = pypdf.PdfReader(made.files["pdf"])
    pages = " ".join(" ".join(page.extract_text() for page in pdf.pages).split())
    said = made.said.validation
    assert said is not None
    for one in said.classes:
        assert one.area.low is not None
        interval = f"{one.area.low:,.1f} to {one.area.high:,.1f}"
        assert interval in html
        assert interval in pages
    for area in made.said.classes:
        assert f"<td>{area.hectares:,.1f}</td>" in html
        assert f"{area.hectares:,.1f} {100 * area.share:.1f} %" in pages
    for name in (
        *NAMES,
        "Zoë (46)",
        "Aerial picture (46), dated 2023-06",
        "could not be told, the classes cover",
    ):
        assert name in pages
    assert "Θάλασσα &lt;b&gt;" in html
    assert "<b>" not in html
    assert pdf.metadata is not None
    assert pdf.metadata.title == "Fen & Moor 2023"
    assert pdf.root_object["/Lang"] == "en"
    assert json.loads(pdf.attachments["report.json"][0]) == json.loads(made.files["json"].read_text("utf-8"))
    # The same report is the same file.
    again = made.files["pdf"].with_name("again.pdf")
    write_report(again, made.said, class_layout(made.product))
    assert again.read_bytes() == made.files["pdf"].read_bytes()


def test_what_two_people_said_is_in_the_report_with_and_without_their_errors(made: Made) -> None:
    two = made.said.validation.interpreters if made.said.validation is not None else None
    found = second.interpreted(made.sample)
    assert two is not None
    assert two.overall is not None
    assert found is not None
    assert (two.overall.low, two.overall.high) == (found.overall.low, found.overall.high)
    assert two.agreed < two.doubled
    assert two.settled == 1
    assert set(two.wrong) == {"Zoë", "Bo"}
    page = made.files["html"].read_text(encoding="utf-8")
    assert "neither seeing what the other said" in page
    assert f"{100 * two.overall.low:.0f} to {100 * two.overall.high:.0f} %" in page
    # Whoever is named in the paragraph stands among the references.
    for name in ("Dawid", "Louis", "Zou"):
        assert page.count(name) > 1


def test_short_tables_stay_whole_with_the_sentence_before_them(made: Made) -> None:
    """Wherever on a page one falls; no number of it is broken over two lines."""
    import pypdf
    from PIL import Image

    sections = []
    for k in range(9):
        rows = tuple(
            (f"Kind {k}-{row}", "10.2", "4.9 to 16.9", f"{k} % (29 to 100)", "9 % (49 to 100)") for row in range(4)
        )
        head = ("Class", "Truly, ha", "95 % sure", "Right of mapped", "Found")
        filler = "\n".join(["Before it."] * (4 * k))
        sections.append(Section(f"Part {k}", (filler, f"Table {k} says:", Table(head, rows))))
    picture = io.BytesIO()
    Image.new("RGB", (40, 8)).save(picture, "PNG")
    shown = replace(document(made.said), sections=tuple(sections))
    pages = [
        page.extract_text()
        for page in pypdf.PdfReader(io.BytesIO(report_pdf(made.said, picture.getvalue(), shown))).pages
    ]
    assert len(pages) > 2
    for k in range(9):
        (page,) = (page for page in pages if f"Table {k} says:" in page)
        assert all(f"Kind {k}-{row}" in page for row in range(4))
        assert page.count(f"{k} % (29 to 100)") == 4


def test_a_map_that_nobody_checked_begins_with_that(made: Made) -> None:
    first = document(made.unchecked).sections[0].blocks[0]
    assert isinstance(first, tuple)
    assert first[0].strong == NOT_VALIDATED
    assert made.unchecked.validation is None
    assert "not validated with a probability sample" in sealed_words(made.unchecked)
    assert NOT_VALIDATED not in sealed_words(made.said)


@pytest.mark.parametrize(("median", "told"), [(100, "more than 99 % sure"), (87, "at least 87 % sure")])
def test_no_map_is_said_to_be_wholly_sure(median: int, told: str) -> None:
    sure = Confidence(median=median, below_half=0.0)
    labels, ground, source = SimpleNamespace(mind=()), SimpleNamespace(empty=0), SimpleNamespace(warnings=())
    report = SimpleNamespace(classes=(), labels=labels, confidence=sure, ground=ground, source=source)
    (line,) = _caveats(cast(Report, report))
    assert told in line.text
    assert "100 % sure of half" not in line.text


def test_how_often_the_region_was_seen_is_told_where_it_comes_from(made: Made) -> None:
    assert "seen" not in plain(made.said)["source"]
    depth = Depth(SIZE * SIZE, 31.0, 16, 0.2, 0.0, 11.0)
    product = replace(made.product, depth=depth)
    said = project_report(made.project, product, 2023)
    (place,) = (part for part in document(said).sections if part.title == "Where it comes from")
    assert place.blocks[1:] == (" ".join(depth.sentences),)
    assert "31 times (median)" in str(place.blocks[1])
    assert "20 % were seen fewer than 25 times" in str(place.blocks[1])
    # A file of it says the same, and one that was changed is found.
    again = sealed_in(sealed_json(said).encode(), "r.json")
    assert (again.report, again.whole) == (said, True)
    assert differences(plain(made.said), plain(said))[1] != ()


def test_a_record_of_work_is_the_same_report_with_a_name(
    made: Made, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The learner's map, score and checked places; it can be checked like any report, and says what it is not."""
    import pypdf

    lesson = next(iter(library.shelf().lessons.values()))
    made.project.update(lesson=to_json(begin(lesson)))
    words = [
        "export",
        made.project.folder,
        "--to",
        "report",
        "--learner",
        "  Zoë\tŁ ",
        "--out",
        tmp_path / "r.pdf",
        "-q",
    ]
    assert main([*map(str, words), "--json"]) == 0
    capsys.readouterr()
    pages = " ".join(" ".join(page.extract_text() for page in pypdf.PdfReader(tmp_path / "r.pdf").pages).split())
    assert "Record of work: Zoë Ł" in pages
    assert "nobody watched the work" in pages
    assert f"“{lesson.words().title}” was begun" in pages
    assert "44 of 50 places drawn by chance" in pages
    checked = made.said.checked
    assert checked is not None
    assert accuracy_sentence(checked) in pages
    code, told = verify(capsys, tmp_path / "r.pdf", made.project.folder)
    assert (code, told["differences"], told["pages_fit"]) == (0, [], True)
    # Steps done are the project's to tell.
    made.project.update(lesson=to_json(msgspec.structs.replace(begin(lesson), done=(lesson.steps[0].id,))))
    code, told = verify(capsys, tmp_path / "r.pdf", made.project.folder)
    assert [one["where"] for one in told["differences"]] == ["learner, lesson, done"]
    assert main([*map(str, words[:-2]), str(tmp_path / "r.html"), "--json"]) == 2
    assert "ends with .pdf" in capsys.readouterr().out


def sealed_words(report: Report) -> str:
    return repr(document(report))


# ------------------------------------------------------------------ what was changed is found


@pytest.mark.parametrize("form", FORMS)
def test_a_report_follows_from_its_project(made: Made, form: str, capsys: pytest.CaptureFixture[str]) -> None:
    code, told = verify(capsys, made.files[form], made.project.folder)
    assert (code, told["differences"], told["sealed"], told["pages_fit"]) == (0, [], True, True)
    assert told["compared"] > 100
    code, told = verify(capsys, made.files[form])
    assert code == 0
    assert "was not looked at" in told["sentences"][-1]


def test_every_changed_value_is_found_and_nothing_else(made: Made) -> None:
    values = plain(made.said)
    assert differences(values, plain(made.said))[1] == ()
    paths = [path for path in leaves(values) if ".".join(map(str, path)) not in STATED]
    assert len(paths) > 150
    for path in paths:
        changed = with_value(values, path, other)
        assert checksum(changed) != checksum(values)
        if path[-1] in ("id", "name"):
            # A class of another name is another class: all of it is missing.
            assert differences(changed, values)[1]
            continue
        (found,) = differences(changed, values)[1]
        assert str(path[-1]).replace("_", " ") in found.where or isinstance(path[-1], int)
    # What has no place in the project, and what was taken away.
    assert len(differences({**values, "award": "gold"}, values)[1]) == 1
    assert differences({k: v for k, v in values.items() if k != "score"}, values)[1]


def test_a_number_that_was_changed_and_sealed_anew_is_named(
    made: Made, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    values = plain(made.said)
    changed = with_value(values, ("validation", "overall", "value"), lambda value: 0.99)
    file = {"format": values["format"], "checksum": checksum(values), "report": changed}
    (tmp_path / "r.json").write_text(json.dumps(file), encoding="utf-8")
    code, told = verify(capsys, tmp_path / "r.json", made.project.folder)
    assert (code, told["sealed"]) == (1, False)
    (found,) = told["differences"]
    assert (found["where"], found["report"]) == ("validation, overall, value", 0.99)
    assert found["project"] == made.sample.assess().overall.value
    file["checksum"] = checksum(changed)
    (tmp_path / "r.json").write_text(json.dumps(file), encoding="utf-8")
    code, told = verify(capsys, tmp_path / "r.json", made.project.folder)
    assert (code, told["sealed"]) == (1, True)
    assert told["differences"] == [found]


def test_words_that_do_not_fit_the_data_are_found(
    made: Made, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    import pypdf
    from pypdf.generic import DecodedStreamObject, NameObject

    page = made.files["html"].read_text("utf-8")
    assert "right at" in page
    (tmp_path / "r.html").write_text(page.replace("right at", "very right at", 1), encoding="utf-8")
    code, told = verify(capsys, tmp_path / "r.html")
    assert (code, told["sealed"], told["pages_fit"]) == (1, True, False)
    writer = pypdf.PdfWriter(clone_from=io.BytesIO(made.files["pdf"].read_bytes()))
    content = DecodedStreamObject()
    content.set_data(b"BT /F1 20 Tf 50 700 Td (99 % right) Tj ET")
    writer.pages[0][NameObject("/Contents")] = writer._add_object(content.flate_encode())
    for obj in writer.attachments:
        assert obj == "report.json"
    writer.write(tmp_path / "r.pdf")
    code, told = verify(capsys, tmp_path / "r.pdf")
    assert (code, told["sealed"], told["pages_fit"]) == (1, True, False)


def test_a_project_that_went_on_is_said_to_have(made: Made, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A report stays that of its day; what moved since is named before the numbers are doubted."""
    later = Made(tmp_path)
    grid = later.raster.grid
    x, y = grid.pixel_to_xy(20.5, 20.5)
    later.project.log.add("point", 1, [(float(x), float(y))])
    code, told = verify(capsys, later.files["json"], later.project.folder)
    assert code == 1
    assert any("labels are others" in line for line in told["sentences"])
    assert not any("places and answers" in line for line in told["sentences"])


# ------------------------------------------------------------------ what is no report


def test_what_is_no_report_is_one_sentence(made: Made, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    elsewhere = Project.create(tmp_path / "other", "Elsewhere")
    text = made.files["json"].read_text("utf-8")
    cases = {
        "text.json": (b"hello", "holds no report"),
        "page.html": (b"<html></html>", "holds no report"),
        "paper.pdf": (b"%PDF-1.7 nothing", "holds no report"),
        "cut.json": (text[:-200].encode(), "damaged"),
        "later.json": (text.replace("tessera-report/1", "tessera-report/2").encode(), "later version"),
        "other.json": (text.replace("tessera-report/1", "tessera-project/1").encode(), "not a report"),
        "nan.json": (text.replace('"simulated": false', '"simulated": NaN').encode(), "damaged"),
    }
    for name, (content, sentence) in cases.items():
        (tmp_path / name).write_bytes(content)
        code, told = verify(capsys, tmp_path / name)
        assert code == 2, name
        assert sentence in told["error"]["message"], name
    code, told = verify(capsys, made.files["json"], elsewhere.folder)
    assert code == 2
    assert "not of 'Elsewhere'" in told["error"]["message"]


@given(st.data())
@settings(deadline=None, max_examples=40)
def test_a_file_cut_or_scribbled_on_anywhere_never_surprises(made: Made, data: st.DataObject) -> None:
    content = made.files[data.draw(st.sampled_from(FORMS))].read_bytes()
    start = data.draw(st.integers(0, len(content)))
    middle = data.draw(st.binary(max_size=8))
    damaged = content[:start] + middle + content[start + data.draw(st.integers(0, 9)) :]
    try:
        found = sealed_in(damaged, "r")
    except ReportError:
        return
    assert not found.whole or plain(found.report) == plain(made.said)


def test_a_report_reads_as_it_was_written(made: Made) -> None:
    found = sealed_in(sealed_json(made.said).encode(), "r")
    assert found.report == made.said
    assert found.whole

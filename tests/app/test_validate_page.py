"""The page Validate without a browser: design, answers, results, files."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path

import msgspec
import numpy as np
import pytest
from streamlit.testing.v1 import AppTest

import tessera_core as tessera
from tessera_core.assess.designs import write_csv
from tessera_core.assess.nonresponse import worst_case
from tessera_core.cli import main
from tessera_core.export.report.words import accuracy_sentence, share_text
from tessera_core.imagery.layers import BaseLayer
from tessera_core.project import imagery, second, stopping, two_maps, validate
from tessera_core.project.classify import map_project, project_product, project_reference
from tessera_core.project.project import Project
from tessera_core.project.report import estimate, project_report
from tessera_core.project.response import respond
from tessera_core.sources.local.open import open_embeddings
from tessera_core.ui import humanize, state
from tessera_core.ui.validate.context import place_key


@pytest.fixture
def labelled(project: Project) -> Project:
    """With three classes of one label each."""
    grid = project.grid
    assert grid is not None
    for number, (row, col) in enumerate(((10, 10), (10, 50), (50, 10))):
        x, y = grid.pixel_to_xy(row, col)
        project.log.add("point", project.log.add_class(f"Kind {number}").id, [(float(x), float(y))])
    return project


def open_page(app: AppTest, project: Project) -> AppTest:
    app.query_params["project"] = project.folder.name
    app.run()
    app.switch_page("pages/validate.py").run()
    assert not app.exception
    return app


def button(app: AppTest, label: str):
    (found,) = [button for button in app.button if button.label == label]
    return found


def test_without_project_or_map_the_page_says_where_to_go(app: AppTest, project: Project) -> None:
    app.run()
    app.switch_page("pages/validate.py").run()
    assert "Open a region first" in app.info[0].value
    open_page(app, project)
    assert "no labels yet" in app.info[0].value


def test_places_are_drawn_answered_and_told(app: AppTest, labelled: Project) -> None:
    url = "https://pictures.example/{z}/{x}/{y}.png"
    imagery.add_layer(labelled, BaseLayer(name="Aerial picture", kind="xyz", url=url, date="2021"))
    open_page(app, labelled)
    number = next(int(head.value.split()[0]) for head in app.header if head.value.endswith("places"))
    button(app, "Choose the places by chance").click().run()
    assert not app.exception
    assert not app.error
    sample = validate.load(labelled, state.current_year(labelled))
    assert sample is not None
    assert len(sample.sample) == number
    assert "Nothing yet" in app.info[0].value

    key = place_key(labelled, sample.year)
    app.text_input(f"{key}_interpreter").set_value("Zoë")
    app.selectbox(f"{key}_evidence").set_value("Aerial picture")
    app.run()
    app.selectbox(f"{key}_reason").set_value("It lies on a border").run()
    button(app, "Kind 1").click().run()
    button(app, "Cannot tell").click().run()
    assert not app.exception
    again = validate.load(labelled, sample.year)
    assert again is not None
    assert (again.seen, again.sample.answered, again.sample.reference[0]) == (2, 1, 2)
    assert any("Place 3" in text.value for text in app.markdown)
    # What was said once stands behind every answer.
    told = [(one.confidence, one.reason, one.evidence, one.interpreter) for one in again.responses.values()]
    assert told == [("sure", "", "Aerial picture", "Zoë"), ("", "It lies on a border", "Aerial picture", "Zoë")]
    # A picture under the map brings its date.
    assert {one.evidence_date for one in again.responses.values()} == {"2021"}

    button(app, "Back").click().run()
    button(app, "Take the answer back").click().run()
    again = validate.load(labelled, sample.year)
    assert again is not None
    assert again.seen == 1


def test_results_follow_the_answers_and_a_new_map(app: AppTest, labelled: Project) -> None:
    open_page(app, labelled)
    button(app, "Choose the places by chance").click().run()
    year = state.current_year(labelled)
    current = validate.load(labelled, year)
    assert current is not None
    for place in range(len(current.sample)):
        current = current.answer(place, int(current.sample.mapped[place]))
    validate.save(labelled, current)
    app.run()
    assert not app.exception
    sentence = next(text.value for text in app.markdown if "right at" in text.value)
    assert "right at 100 %" in sentence
    areas = app.dataframe[0].value
    assert list(areas["Class"]) == ["Kind 0", "Kind 1", "Kind 2"]
    # No mistake seen is not no doubt left.
    assert all(re.fullmatch(r"100 % \(\d\d to 100\)", text) for text in areas["Right of mapped"])

    # Half of the region is given another class: the same answers now say that the map is wrong there.
    # The draw is by the clock: now and then it meets a label.
    met = bool(validate.taught(labelled, current).any())
    assert any("also taught the map" in warning.value for warning in app.warning) == met
    labelled.log.remove_class(2)
    grid, sample = current.grid, current.sample
    x, y = grid.pixel_to_xy(sample.rows[0] + 0.5, sample.cols[0] + 0.5)
    labelled.log.add("point", 1, [(float(x), float(y))])
    app.run()
    assert not app.exception
    number = int(validate.taught(labelled, current).sum())
    assert number >= 1
    assert any(f"{number} of" in warning.value and "also taught the map" in warning.value for warning in app.warning)
    sentence = next(text.value for text in app.markdown if "right at" in text.value)
    assert "right at 100 %" not in sentence


def test_a_damaged_sample_is_one_sentence(app: AppTest, labelled: Project) -> None:
    year = state.current_year(labelled)
    (labelled.folder / f"validation-{year}.json").write_text("{")
    open_page(app, labelled)
    assert any("damaged" in error.value for error in app.error)


def test_a_place_for_two_does_not_show_what_the_other_said_and_keeps_both(app: AppTest, labelled: Project) -> None:
    open_page(app, labelled)
    button(app, "Choose the places by chance").click().run()
    year = state.current_year(labelled)
    validate.change(labelled, year, lambda now: second.for_two(now, 1.0))
    validate.change(labelled, year, lambda now: now.answer(0, 1, response=respond(interpreter="Ann")))
    app.text_input(f"{place_key(labelled, year)}_interpreter").set_value("Bo").run()
    app.session_state[place_key(labelled, year)] = 0
    app.run()
    assert any(text.value == "**Place 1**" for text in app.markdown)
    button(app, "Kind 1").click().run()
    assert not app.exception
    known = validate.load(labelled, year)
    assert known is not None
    assert [one.response.interpreter for one in known.said(0)] == ["Ann", "Bo"]
    assert any("Place 2" in text.value for text in app.markdown)


def test_after_an_answer_the_page_says_whether_to_stop(app: AppTest, labelled: Project) -> None:
    open_page(app, labelled)
    year = state.current_year(labelled)
    app.select_slider(f"validate_{labelled.key}_{year}_margin").set_value(7).run()
    button(app, "Choose the places by chance").click().run()
    current = validate.load(labelled, year)
    assert current is not None
    assert current.margin == 0.07
    for until, words in ((20, "±7 points"), (len(current.sample) - 1, "You may stop now")):
        for place in range(until):
            current = current.answer(place, int(current.sample.mapped[place]))
        validate.save(labelled, current)
        app.run()
        assert not app.exception
        (said,) = [text.value for text in app.markdown if "however often you look" in text.value]
        # The same words as on the command line.
        (sentence,) = stopping.sure_sentences(current)
        assert words in sentence
        assert humanize.escape(sentence) in said


def test_a_share_is_meant_for_two_and_what_they_differ_in_is_settled(app: AppTest, labelled: Project) -> None:
    open_page(app, labelled)
    button(app, "Choose the places by chance").click().run()
    year = state.current_year(labelled)
    key = place_key(labelled, year)
    app.select_slider(f"{key}_share").set_value(50).run()
    app.button(f"{key}_for_two").click().run()
    assert not app.exception
    known = validate.load(labelled, year)
    assert known is not None
    assert known.doubled == second.for_two(known, 0.5).doubled
    assert app.button(f"{key}_for_two").disabled
    place, *_ = sorted(known.doubled)
    for name, said in (("Ann", 1), ("Bo", 3)):
        known = known.answer(place, said, response=respond(interpreter=name))
    validate.save(labelled, known)
    app.text_input(f"{key}_interpreter").set_value("Cy").run()
    assert any(humanize.escape("Ann: Kind 0 · Bo: Kind 2") in text.value for text in app.markdown)
    assert any(humanize.escape(f"Not settled: {place + 1}.") in text.value for text in app.markdown)
    app.button(f"{key}_look_{place}").click().run()
    assert any(text.value.startswith(f"**Place {place + 1}**") for text in app.markdown)
    app.selectbox(f"{key}_final_{place}").set_value(3).run()
    assert not app.exception
    known = validate.load(labelled, year)
    assert known is not None
    assert (known.final[place].class_id, known.final[place].response.interpreter) == (3, "Cy")
    assert int(known.sample.reference[place]) == 3
    assert [one.class_id for one in known.said(place)] == [1, 3]
    assert not any("Not settled" in text.value for text in app.markdown)


def test_the_certified_part_and_every_estimate_are_the_same_on_page_in_report_and_on_the_command_line(
    app: AppTest, labelled: Project, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    open_page(app, labelled)
    button(app, "Choose the places by chance").click().run()
    year = state.current_year(labelled)
    key = place_key(labelled, year)
    app.select_slider(f"{key}_promise_most_wrong").set_value(20).run()
    current = validate.load(labelled, year)
    assert current is not None
    assert (current.promise.most_wrong, current.promise.after) == (0.2, 0)
    assert any("is told when all places are looked at" in text.value for text in app.markdown)
    for place in range(len(current.sample)):
        mapped = int(current.sample.mapped[place])
        current = current.answer(place, mapped % 3 + 1 if place % 25 == 7 else mapped)
    validate.save(labelled, current)
    app.run()
    assert not app.exception
    (said,) = [text.value for text in app.markdown if "Certified to be wrong at most 20 %" in text.value]
    (one,) = [item.proto.label for item in app.get("download_button") if item.proto.label == "Certified part (.tif)"]
    assert one
    raster = open_embeddings(labelled.embeddings_path(year), year=year)
    made = map_project(labelled, raster, year)
    report = project_report(labelled, project_product(labelled, raster, made), year)
    assert report.validation is not None
    assert humanize.escape(report.validation.certified.sentences[0]) in said
    assert main(["validate", "show", str(labelled.folder), "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["overall"] == msgspec.to_builtins(report.validation.overall)
    assert told["classes"] == list(msgspec.to_builtins(report.validation.classes))
    sentence = accuracy_sentence(report.validation)
    assert sentence in told["sentences"]
    assert any(humanize.escape(sentence) in text.value for text in app.markdown)
    table = app.dataframe[0].value.to_dict("records")
    assert [row["Class"] for row in table] == [one.name for one in report.validation.classes]
    for row, one in zip(table, report.validation.classes, strict=True):
        assert (row["Truly"], row["From"], row["To"]) == (one.area.value, one.area.low, one.area.high)
        shares = (share_text(one.users), share_text(one.producers))
        assert (row["Right of mapped"], row["Found"]) == shares
        assert f"  {one.name}: right of mapped {shares[0]}, found {shares[1]}" in told["sentences"]
    front = tessera.map_classes(raster, project_reference(labelled, raster))
    write_csv(tmp_path / "sample.csv", current.sample, front.grid, front.names)
    found = tessera.validate(front, tmp_path / "sample.csv")
    assert msgspec.to_builtins(estimate(found.overall)) == told["overall"]
    assert [one.area.high for one in found.classes] == [one.area.high for one in report.validation.classes]
    # A square of pixels as the place, and places that nobody could tell, go with the table to the other doors.
    block = replace(current, unit="block", undecided=frozenset()).answer(3, 0).answer(8, 0)
    (tmp_path / "block.csv").write_text(validate.sample_csv(block, front.names))
    found, own = tessera.validate(front, tmp_path / "block.csv"), block.on_map(front.classes).assess()
    assert (found.overall, found.n, found.notes[: len(own.notes)]) == (own.overall, own.n, own.notes)
    assert tessera.certify(front, tmp_path / "block.csv", most_wrong=0.2).open == 0
    # After other labels the same answers judge the map of today, on the command line too.
    labelled.log.remove_class(2)
    unsure = current.answer(3, 0).answer(8, 0)
    validate.save(labelled, unsure)
    today = unsure.on_map(map_project(labelled, raster, year).map.classes)
    assert main(["validate", "show", str(labelled.folder), "--json"]) == 0
    again = json.loads(capsys.readouterr().out)
    assert again["overall"]["value"] == today.assess().overall.value < told["overall"]["value"]
    # Whatever the places are that nobody could tell: of the whole map, and of each class.
    assert told["worst"] is None
    bounds = worst_case(today.sample, today.undecided).overall
    assert again["worst"] == list(bounds)
    assert bounds[0] < again["overall"]["value"] <= bounds[1]


def test_which_of_two_years_maps_is_told_by_places_where_they_differ(app: AppTest, labelled: Project) -> None:
    open_page(app, labelled)
    app.session_state[f"validate_question_{labelled.key}"] = "two"
    year = state.current_year(labelled)
    key = place_key(labelled, year, two_maps=True)
    app.session_state[f"{key}_kind"] = "year"
    app.run()
    assert not app.exception
    assert not app.error
    assert any("differ in" in text.value for text in app.markdown)
    app.select_slider(f"{key}_better").set_value(60).run()
    button(app, "Choose places where they differ").click().run()
    assert not app.exception
    assert not app.error
    current = validate.load(labelled, year, two_maps=True)
    assert current is not None
    assert current.maps is not None
    assert validate.load(labelled, year) is None
    # Neither map is shown while answering; the same keys as for one map.
    assert not any(button.label.startswith("Right, ") for button in app.button)
    app.text_input(f"{key}_interpreter").set_value("Zoë").run()
    button(app, "Kind 1").click().run()
    again = validate.load(labelled, year, two_maps=True)
    assert again is not None
    assert (again.seen, again.responses[0].interpreter) == (1, "Zoë")
    assert any("Place 2" in text.value for text in app.markdown)
    for place in range(len(again.sample)):
        again = again.answer(place, int(again.sample.mapped[place]))
    validate.save(labelled, again)
    app.run()
    assert not app.exception
    (said,) = [text.value for text in app.markdown if text.value.startswith("**Better")]
    # The same words as on the command line.
    assert humanize.escape(two_maps.sentences(again)[0]) in said


def test_a_published_sample_grades_the_map_as_on_the_command_line(
    app: AppTest, labelled: Project, tmp_path: Path
) -> None:
    grid, year = labelled.grid, state.current_year(labelled)
    assert grid is not None
    places = ((10, 10, "A1"), (10, 50, "A1"), (50, 10, "C1"), (30, 30, "W9"), (5, 5, "kind 0"))
    lon, lat = grid.pixel_to_lonlat(*(np.array([place[k] + 0.5 for place in places]) for k in (0, 1)))
    lines = [f"{x:.7f},{y:.7f},{place[2]},{n}" for n, (x, y, place) in enumerate(zip(lon, lat, places, strict=True))]
    table = tmp_path / "lucas.csv"
    table.write_text("\n".join(["lon,lat,lc,surveyor", *lines]))
    open_page(app, labelled)
    app.file_uploader(key=f"validate_{labelled.key}_{year}_published").upload(
        "lucas.csv", table.read_bytes(), "text/csv"
    )
    app.run()
    assert not app.exception
    assert not app.error
    (field,) = [box for box in app.selectbox if box.label == "Which column is the class"]
    field.set_value("lc").run()
    boxes = {box.label: box for box in app.selectbox}
    assert [boxes[f"{name} is"].value for name in ("A1", "C1", "W9", "kind 0")] == [None, None, None, "Kind 0"]
    boxes["A1 is"].set_value("Kind 1")
    boxes["C1 is"].set_value("Kind 2")
    app.run()
    # What counts against the map is said before it does.
    assert any(humanize.escape("cannot be told: W9 (1)") in caption.value for caption in app.caption)
    button(app, "Grade the map by these places").click().run()
    assert not app.exception
    assert not app.error
    graded = validate.load(labelled, year)
    assert graded is not None
    assert (graded.seen, graded.sample.answered, graded.responses[0].evidence) == (5, 4, "lucas.csv")
    legend = [f"--class={pair}" for pair in ("A1=Kind 1", "C1=Kind 2", "kind 0=Kind 0")]
    assert main(["validate", "grade", str(labelled.folder), str(table), "--field", "lc", *legend]) == 0
    again = validate.load(labelled, year)
    assert again is not None
    theirs, mine = ({**validate.to_json(one), "responses": None} for one in (again, graded))
    assert theirs == mine

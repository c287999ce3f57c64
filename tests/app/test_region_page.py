"""The pages Region and Data without a browser: choosing a place, the preflight card, loading, a second dataset, tiles."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest
from streamlit.testing.v1 import AppTest

from tessera_core.geocoding.gazetteer import load
from tessera_core.project import library
from tessera_core.project.project import Project
from tessera_core.sources.remote import cache
from tessera_core.ui import seats
from tests.sources.world_store import Fault, WebStore
from tests.waiting import PATIENCE_S, run_until, shown

BOX = "11.82,-0.12,12.18,0.08"


@pytest.fixture(scope="module", autouse=True)
def gazetteer() -> None:
    """Loaded, as it is on a computer where the page was open before."""
    load()


def _errors(app: AppTest) -> list[str]:
    return [error.value for error in app.error] + [str(exception.value) for exception in app.exception]


def _has(app: AppTest, key: str) -> bool:
    return any(button.key == key for button in app.button)


def _at(app: AppTest, web: WebStore, years: str, **more: str) -> AppTest:
    query = {"place": BOX, "years": years, "store": web.store, "name": "Equator"} | more
    for key, value in query.items():
        app.query_params[key] = value
    return app.run()


def _look(app: AppTest) -> None:
    app.button(key="place_look").click().run()
    run_until(app, lambda: any(head.value == "What is available" for head in app.header) or bool(_errors(app)))


def _load(app: AppTest) -> None:
    app.button(key="place_load").click().run()
    run_until(app, lambda: any(head.value == "Your region" for head in app.header) or bool(_errors(app)))


def _type(app: AppTest, text: str) -> None:
    app.text_input(key="place_text").input(text).run()


# ------------------------------------------------------------------ choosing


def test_a_place_by_coordinates_is_in_the_address(app: AppTest) -> None:
    app.run()
    app.button(key="region_place").click().run()
    assert _errors(app) == []
    assert [title.value for title in app.title] == ["A place on Earth"]
    assert "No place yet" in shown(app)
    _type(app, "52.2 N 0.12 E")
    assert _errors(app) == []
    assert "Cambridge" in shown(app)
    assert "5.0 x 5.0 km" in shown(app)
    west, south, east, north = map(float, app.query_params["place"].split(","))
    assert west < 0.12 < east
    assert south < 52.2 < north
    assert app.query_params["dataset"] == "1.1/dclimate"
    app.button(key="place_back").click().run()
    assert [title.value for title in app.title] == ["Make a map from satellite data"]
    assert "place" not in app.query_params


def test_the_page_does_not_wait_for_the_list_of_places(app: AppTest, monkeypatch: pytest.MonkeyPatch) -> None:
    from tessera_core.ui.region import choose

    proceed = threading.Event()
    loaded = threading.Event()
    monkeypatch.setattr(choose.gazetteer, "ready", loaded.is_set)
    monkeypatch.setattr(choose.gazetteer, "load", lambda: (proceed.wait(PATIENCE_S), loaded.set()))
    app.query_params["place"] = "0.05,52.1,0.2,52.2"
    app.run()
    assert _errors(app) == []
    assert "Getting the list of places ready" in shown(app)
    assert "**52.15 N 0.12 E**" in shown(app)
    assert _has(app, "place_look")
    proceed.set()
    run_until(app, lambda: "United Kingdom" in shown(app))
    assert "**near " in shown(app)


def test_a_place_by_name(app: AppTest) -> None:
    app.run()
    app.button(key="region_place").click().run()
    _type(app, "Reykjavik")
    (first, *_) = [button for button in app.button if button.key == "place_found_0"]
    assert "Iceland" in first.label
    first.click().run()
    assert "at Reykjav" in shown(app)
    assert _has(app, "place_look")
    # Another search: the card of the place before must not stay, ready to load.
    _type(app, "Cambridge")
    assert "at Reykjav" not in shown(app)
    assert not _has(app, "place_look")
    assert "place" not in app.query_params
    _type(app, "Nowhere at all xyz")
    assert "No town" in _errors(app)[0]


@pytest.mark.parametrize(
    ("text", "says"), [("1 2 3", "coordinates"), ("95.5, 200.1", "not on Earth"), ("1,2,3,95", "95")]
)
def test_wrong_coordinates_are_one_sentence_and_stay(app: AppTest, text: str, says: str) -> None:
    app.run()
    app.button(key="region_place").click().run()
    _type(app, text)
    (error,) = _errors(app)
    assert says in error
    assert app.text_input(key="place_text").value == text


def test_swapped_latitude_and_longitude_are_noticed_and_mended(app: AppTest) -> None:
    app.query_params["place"] = "52.1,0.05,52.2,0.2"
    app.run()
    assert "swapped it would be" in app.warning[0].value
    assert "United Kingdom" in app.warning[0].value
    app.button(key="place_swap").click().run()
    assert app.warning == []
    assert app.query_params["place"] == "0.05,52.1,0.2,52.2"
    assert "were swapped" in shown(app)


@pytest.mark.parametrize(("key", "value", "says"), [("place", "1,2", "not a box"), ("years", "soon", "whole numbers")])
def test_a_damaged_address_is_one_sentence(app: AppTest, key: str, value: str, says: str) -> None:
    app.query_params["place"] = "0.05,52.1,0.2,52.2"
    app.query_params[key] = value
    app.run()
    assert says in _errors(app)[0]
    assert [title.value for title in app.title] == ["A place on Earth"]


def test_strangers_cannot_make_the_server_read_an_address_of_theirs(
    app: AppTest, web: WebStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TESSERA_HOSTED", "1")
    monkeypatch.setenv("TESSERA_MAX_REGION_KM2", "2000")
    # What a server grants is read once; here another test may have been first.
    seats.room.cache_clear()
    try:
        _at(app, web, "2024")
        assert _errors(app) == []
        assert "store" not in app.query_params
        assert not any(field.key == "place_store" for field in app.text_input)
    finally:
        seats.room.cache_clear()


# ------------------------------------------------------------------ the preflight card and loading


def test_the_card_says_what_there_is_and_loading_ends_in_a_project(app: AppTest, web: WebStore) -> None:
    _at(app, web, "2022,2023,2030")
    assert library.recent() == []
    _look(app)
    assert _errors(app) == []
    table = app.dataframe[0].value
    assert list(table["Year"]) == ["2022", "2023", "2030"]
    assert list(table["Tiles complete"]) == ["11 of 12", "12 of 12", "0 of 12"]
    assert table["Covered"][0] == pytest.approx(89.4, abs=0.5)
    assert table["Water"][1] == pytest.approx(1.75, abs=0.1)
    metrics = {metric.label: metric.value for metric in app.metric}
    assert metrics["To fetch, at most"].endswith("MB")
    assert metrics["Time, about"] == "a few seconds"
    assert "**2022:** grid\\_11.85\\_0.05 \\(missing\\)" in shown(app)
    assert "Of 2030 there is nothing here; only 2022 and 2023 will be loaded." in shown(app)
    assert _has(app, "place_make_2030")
    app.toggle(key="place_request_shown").set_value(True).run()
    request = app.code[0].value
    assert "Missing tiles of 2022 (1)" in request
    assert '"type": "Polygon"' in request
    _load(app)
    assert _errors(app) == []
    (entry,) = library.recent()
    project = Project.open(entry.folder)
    assert (project.name, project.years) == ("Equator", [2022, 2023])
    assert app.query_params["project"] == project.folder.name
    assert "place" not in app.query_params
    assert "store at 127.0.0.1" in shown(app)
    assert "2022" in app.warning[0].value or "absurd scales" in app.warning[0].value


def test_what_is_cached_opens_without_the_network(app: AppTest, web: WebStore) -> None:
    _at(app, web, "2024")
    _look(app)
    _load(app)
    web.faults.append(Fault("", "reset"))
    app.button(key="region_close").click().run()
    _at(app, web, "2024")
    assert "on this computer already" in app.success[0].value
    _load(app)
    assert _errors(app) == []
    assert len(library.recent()) == 2


def test_a_load_is_cancelled_and_goes_on_later(app: AppTest, web: WebStore) -> None:
    _at(app, web, "2023,2024")
    _look(app)
    web.slow = 0.5
    app.button(key="place_load").click().run()
    assert "You can go to other pages" in shown(app)
    (cancel,) = [button for button in app.button if button.label == "Cancel"]
    cancel.click().run()
    web.slow = 0.0
    run_until(app, lambda: "Stopped at your request" in shown(app))
    assert library.recent() == []
    _load(app)
    assert _errors(app) == []
    assert len(library.recent()) == 1


def test_the_picture_follows_the_year(app: AppTest, web: WebStore) -> None:
    _at(app, web, "2023,2024")
    _look(app)
    _load(app)
    (entry,) = library.recent()
    project = Project.open(entry.folder)
    assert "Tiles and seams of 2024" in shown(app)
    project.update(year=2023)
    app.run()
    assert "Tiles and seams of 2023" in shown(app)


def test_a_server_that_does_not_answer_is_one_sentence_and_a_way_on(app: AppTest, web: WebStore) -> None:
    web.faults.append(Fault("", "503"))
    _at(app, web, "2024")
    _look(app)
    (error,) = _errors(app)
    assert "connection" in error
    assert _has(app, "place_make_2024")
    web.faults.clear()
    app.button(key="place_again").click().run()
    _look(app)
    assert _errors(app) == []
    assert _has(app, "place_load")


def test_years_of_another_dataset_are_refused_with_the_reason_unless_in_a_second_project(
    app: AppTest, web: WebStore
) -> None:
    _at(app, web, "2024", dim="64")
    _look(app)
    _load(app)
    app.button(key="place_add").click().run()
    app.selectbox(key="place_dim").set_value("all").run()
    _look(app)
    _load(app)
    (error,) = _errors(app)
    assert "64-d" in error
    assert "128-d" in error
    assert "cannot be mixed" in error
    assert len(library.recent()) == 1
    app.button(key="place_second").click().run()
    run_until(app, lambda: any(head.value == "Your region" for head in app.header))
    assert [entry.dataset for entry in library.recent()] == ["tessera 2.0/test (128-d)", "tessera 2.0/test (64-d)"]


def test_years_are_added_to_the_open_project(app: AppTest, web: WebStore) -> None:
    _at(app, web, "2024")
    _look(app)
    _load(app)
    app.button(key="place_add").click().run()
    assert app.query_params["place"] == BOX
    app.session_state["place_years"] = [2023]
    app.run()
    _look(app)
    _load(app)
    (entry,) = library.recent()
    assert Project.open(entry.folder).years == [2023, 2024]


def test_make_it_here_fills_the_form_of_the_other_page(app: AppTest, web: WebStore) -> None:
    _at(app, web, "2022")
    _look(app)
    app.button(key="place_make_2022").click().run()
    assert _errors(app) == []
    assert [title.value for title in app.title] == ["Make embeddings"]
    assert app.text_input(key="acquire_box").value == "11.82, -0.12, 12.18, 0.08"
    assert app.selectbox(key="acquire_year").value == 2022


# ------------------------------------------------------------------ tiles


def test_a_bad_tile_is_named_masked_and_brought_back(app: AppTest, web: WebStore) -> None:
    _at(app, web, "2023")
    _look(app)
    _load(app)
    app.button(key="tiles_look").click().run()
    run_until(app, lambda: "In 12 tiles" in shown(app))
    assert "1 bad tile" in shown(app)
    (entry,) = library.recent()
    before = Project.open(entry.folder).embeddings_path(2023)
    app.button(key="tile_grid_12.15_-0.05").click().run()
    assert _errors(app) == []
    assert "is masked" in shown(app)
    assert Project.open(entry.folder).embeddings_path(2023) != before
    app.button(key="tiles_restore").click().run()
    assert Project.open(entry.folder).embeddings_path(2023) == before


# ------------------------------------------------------------------ the page Data


def test_data_lists_what_was_loaded_and_lets_go_of_it(app: AppTest, web: WebStore) -> None:
    _at(app, web, "2024")
    _look(app)
    _load(app)
    app.switch_page("pages/data.py").run()
    assert _errors(app) == []
    assert list(app.dataframe[0].value["Place"]) == ["Equator"]
    assert app.button(key="data_delete").disabled
    app.number_input(key="data_limit").set_value(3.0).run()
    assert cache.limit_bytes() == 3_000_000_000
    app.button(key="data_empty").click().run()
    assert _has(app, "data_empty_yes")
    assert len(cache.entries()) == 1
    cache.empty()
    app.switch_page("pages/region.py").run()
    assert _errors(app) == []
    assert "Your region" in shown(app)


def test_a_pack_is_made_and_opened_as_another_project(app: AppTest, project: Project) -> None:
    app.run()
    app.switch_page("pages/data.py").run()
    app.multiselect(key="data_pack_projects").set_value([project.folder.resolve()]).run()
    app.button(key="data_pack_make").click().run()
    run_until(app, lambda: any("My fields.tesserapack" in text.value for text in app.success) or bool(_errors(app)))
    assert _errors(app) == []
    (made,) = (project.folder.parent.parent / "packs").glob("*.tesserapack")
    app.text_input(key="data_pack_path").input(str(made)).run()
    assert "**My fields**: 2023 and 2024, 0 labels" in shown(app)
    app.button(key="data_pack_open").click().run()
    run_until(app, lambda: "Your region" in shown(app) or bool(_errors(app)))
    assert _errors(app) == []
    assert [entry.name for entry in library.recent()] == ["My fields", "My fields"]
    app.switch_page("pages/data.py").run()
    app.text_input(key="data_pack_path").input("/no/such.tesserapack").run()
    assert "nothing at" in _errors(app)[0]


def test_a_pack_in_the_wrong_place_is_shown_the_right_one(app: AppTest, home: Path, tmp_path: Path) -> None:
    (tmp_path / "work.tesserapack").write_bytes(b"PK")
    app.run()
    app.text_input(key="region_folder").input(str(tmp_path / "work.tesserapack")).run()
    assert "open it as a pack" in _errors(app)[0]
    assert "Open a pack" in [link.label for link in app.get("page_link")]
    app.switch_page("pages/data.py").run()
    app.text_input(key="data_pack_path").input(str(tmp_path / "work.tesserapack")).run()
    assert "not a readable pack" in _errors(app)[0]


def test_data_of_a_server_for_strangers_shows_packs_alone(app: AppTest, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TESSERA_HOSTED", "1")
    app.run()
    app.switch_page("pages/data.py").run()
    assert _errors(app) == []
    assert [head.value for head in app.header] == ["Packs", "A class by files"]
    # Neither what the server keeps nor where; and nothing can be deleted.
    assert not any("Delete" in button.label or "Empty" in button.label for button in app.button)
    assert not app.text_input

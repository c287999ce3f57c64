"""The page Explore without a browser: what it shows and sends, what clicks do, and what is not computed anew."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from streamlit.testing.v1 import AppTest

from tessera_core.analysis.similarity import SimilarityIndex
from tessera_core.project import library
from tessera_core.project.project import Project
from tessera_core.session import payload
from tessera_core.ui.jobs import Wanted
from tests.factories import landscape


def messages(app: AppTest) -> dict[str, tuple[dict[str, Any], bytes]]:
    """Kind, or name of the layer -> header and bytes of everything sent to the page's components."""
    found = {}
    for element in app.get("bidi_component"):
        if element.proto.bytes:
            header, body = payload.unpack(element.proto.bytes)
            found[header.get("name", header["kind"])] = (header, body)
    return found


def open_page(app: AppTest, project: Project, mode: str = "Picture") -> AppTest:
    app.query_params["project"] = project.folder.name
    app.run()
    app.switch_page("pages/explore.py").run()
    if mode != "Picture":
        choose(app, project, "mode", mode)
    assert not app.exception
    assert not app.error
    return app


def choose(app: AppTest, project: Project, name: str, value: Any) -> None:
    app.session_state[f"explore_{name}_{project.key}"] = value
    app.run()


def look_at(app: AppTest, *names: str) -> None:
    """What the browser says when somebody switches layers on."""
    app.session_state["_view_map_looks_explore_map"] = frozenset(names)
    app.run()


def work_done(app: AppTest) -> None:
    """Wait for what runs in the background, and run the page again."""
    from tessera_core.ui import jobs

    for job in list(jobs._pool()._jobs.values()):
        assert job.wait(60)
    app.run()


def test_without_a_project_the_page_says_where_to_go(app: AppTest) -> None:
    app.run()
    app.switch_page("pages/explore.py").run()
    assert not app.exception
    assert "Open a region first" in app.info[0].value


def test_pictures_of_all_years_share_their_colours(app: AppTest, project: Project) -> None:
    open_page(app, project)
    sent = messages(app)
    header = sent["map"][0]
    assert [layer["name"] for layer in header["layers"]] == ["pca2023", "pca2024"]
    assert [layer["on"] for layer in header["layers"]] == [False, True]
    assert header["title"] == "My fields"
    assert header["subtitle"].startswith("2024")
    # What nobody looks at is not sent.
    assert "pca2023" not in sent
    assert [layer["sent"] for layer in header["layers"]] == [False, True]
    look_at(app, "pca2023")
    sent = messages(app)
    assert sent["pca2023"][1].startswith(b"\x89PNG")
    assert "|shared" in sent["pca2023"][0]["version"]
    before = sent["pca2024"][1]
    choose(app, project, "contrast", "Strong")
    assert messages(app)["pca2024"][1] != before


def test_colours_can_be_those_of_another_region(app: AppTest, project: Project, tmp_path: Path) -> None:
    from io import BytesIO

    from PIL import Image

    other = landscape(seed=5)
    # Half of the kinds only, so that its own components are others.
    shown = replace(
        other, codes=other.codes[:30].copy(), scales=other.scales[:30].copy(), grid=other.grid.window(0, 0, 30, 64)
    )
    shown.save(tmp_path / "next valley")
    library.start(library.identify(str(tmp_path / "next valley")), "Next valley")
    open_page(app, project)
    before = messages(app)["pca2024"]
    assert app.selectbox(f"explore_model_{project.key}").options == ["Next valley"]
    (entry,) = [entry for entry in library.recent() if entry.name == "Next valley"]
    choose(app, project, "model", str(entry.folder))
    assert not app.exception
    after = messages(app)["pca2024"]
    assert after[0]["version"] != before[0]["version"]
    picture = np.asarray(Image.open(BytesIO(after[1])).convert("RGB")).astype(int)
    # The same ground has the colour that the other region's own picture gives it.
    from tessera_core.analysis.pca import fit_pca
    from tessera_core.raster import EmbeddingRaster
    from tessera_core.render.display import DisplayGrid
    from tessera_core.render.picture import pca_picture

    mine = EmbeddingRaster.open(project.embeddings_path(2024))
    wanted = pca_picture(mine, pca=fit_pca([shown], 10))
    expected = DisplayGrid(mine.grid).warp(np.where(mine.valid()[..., None], wanted, 0))
    assert np.abs(picture - expected).mean() < 1


def test_the_scatter_holds_pixels_of_both_years(app: AppTest, project: Project) -> None:
    open_page(app, project, "Scatter")
    sent = messages(app)
    header, colours = sent["scatter"]
    points, body = sent["points"]
    # Every pixel of two small years, but for the eight without data.
    assert points["count"] == 2 * (64 * 64 - 4)
    assert len(body) == points["count"] * (2 * 4 + 2 * 8)
    assert len(colours) == points["count"]
    assert header["version"] == points["version"]
    assert sent["map"][0]["link"] == header["link"]
    app.selectbox(f"explore_colour_{project.key}").set_value("Year").run()
    sent = messages(app)
    assert [text for _, text in sent["scatter"][0]["legend"]] == ["2023", "2024"]
    assert sent["points"][0]["version"] == points["version"]


def test_labels_colour_the_scatter_and_predict(app: AppTest, project: Project) -> None:
    grid = project.grid
    assert grid is not None
    for number, (row, col) in enumerate(((10, 10), (10, 50), (50, 10), (50, 50))):
        x, y = grid.pixel_to_xy(row + 0.5, col + 0.5)
        project.log.add("point", project.log.add_class(f"Kind {number}").id, [(float(x), float(y))])
    open_page(app, project, "Scatter")
    box = app.selectbox(f"explore_colour_{project.key}")
    box.set_value("Predicted class").run()
    header, colours = messages(app)["scatter"]
    assert [text for _, text in header["legend"]] == ["Kind 0", "Kind 1", "Kind 2", "Kind 3", "no data"]
    share = np.bincount(np.frombuffer(colours, np.uint8), minlength=5) / len(colours)
    assert share[0] == 0
    np.testing.assert_allclose(share[1:], 0.25, atol=0.03)
    box.set_value("Your labels").run()
    labelled = np.frombuffer(messages(app)["scatter"][1], np.uint8)
    # Four labels in two years, placed after the drawn pixels.
    assert np.bincount(labelled, minlength=5)[1:].tolist() == [2, 2, 2, 2]
    assert (labelled[-8:] > 0).all()


def test_a_seed_lights_up_what_is_alike_and_a_slider_computes_nothing(
    app: AppTest, project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[int] = []
    query = SimilarityIndex.query

    def counted(self: SimilarityIndex, *args: Any, **kwargs: Any) -> Any:
        asked.append(1)
        return query(self, *args, **kwargs)

    monkeypatch.setattr(SimilarityIndex, "query", counted)
    open_page(app, project, "Alike")
    assert "Click a place" in app.info[0].value
    app.session_state[f"explore_seeds_{project.key}"] = ((2024, 10, 10),)
    app.run()
    sent = messages(app)
    assert sent["similarity"][1].startswith(b"\x89PNG")
    assert [entry[0] for entry in sent["map"][0]["markers"]] == ["seed0"]
    assert len(asked) == 2  # once for each year
    table = app.dataframe[0].value
    assert table["Year"].tolist() == ["2023", "2024"]
    for percent in (30, 50, 70, 90, 99):
        app.slider[0].set_value(percent).run()
    assert len(asked) == 2
    assert messages(app)["similarity"][1] != sent["similarity"][1]
    # A quarter of the landscape is of that kind, in both years.
    app.slider[0].set_value(60).run()
    shares = [float(text.split()[0]) for text in app.dataframe[0].value["Alike"]]
    assert all(abs(share - 25) < 3 for share in shares)
    assert not app.exception


def test_groups_are_the_same_in_all_years_and_the_slider_only_cuts_their_tree(
    app: AppTest, project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    from tessera_core.ui.explore import clusters

    made: list[str] = []
    tree, carry = clusters.cluster_tree, clusters.clusters_of
    monkeypatch.setattr(clusters, "cluster_tree", lambda *a, **k: made.append("tree") or tree(*a, **k))
    monkeypatch.setattr(clusters, "clusters_of", lambda *a, **k: made.append("year") or carry(*a, **k))
    open_page(app, project, "Groups")
    work_done(app)
    pictures = set()
    for count in (3, 9, 12, 4):
        app.slider[0].set_value(count).run()
        assert len(app.dataframe[0].value) == count
        pictures.add(messages(app)["groups"][1])
    assert len(pictures) == 4
    assert made == ["tree", "year"]
    table = app.dataframe[0].value
    assert table["Group"].tolist() == ["1", "2", "3", "4"]
    for year in (2023, 2024):
        shares = [float(text.split()[0]) for text in table[f"{year}: share"]]
        np.testing.assert_allclose(shares, 25, atol=1)
    sent = messages(app)
    assert sent["groups"][1].startswith(b"\x89PNG")


def test_a_pixels_story_without_satellite_data_tells_what_there_is(app: AppTest, project: Project) -> None:
    open_page(app, project, "Pixel")
    app.session_state[f"explore_pixel_{project.key}"] = (10, 10)
    app.run()
    assert not app.exception
    assert not app.error
    text = " ".join(entry.value for entry in [*app.markdown, *app.caption])
    assert "Row 10, column 10" in text
    assert "only its embeddings" in text
    assert "Most alike elsewhere in 2024" in text
    assert [entry[6] for entry in messages(app)["map"][0]["markers"]][:2] == ["pin", "number"]


def test_jobs_end_when_no_page_waits_for_them() -> None:
    wanted = Wanted()
    wanted.add("one", "explore", "umap")
    assert wanted.left("one", "explore") == []
    wanted.add("two", "explore", "umap")
    # Another tab still waits.
    assert wanted.left("one", "label") == []
    assert wanted.left("two", None) == ["umap"]
    assert wanted.left("two", "label") == []


def test_examples_are_looked_for_in_other_regions_of_the_same_dataset(
    app: AppTest, project: Project, tmp_path: Path
) -> None:
    landscape(seed=5).save(tmp_path / "next valley")
    library.start(library.identify(str(tmp_path / "next valley")), "Next valley")
    landscape(seed=6, dim=64).save(tmp_path / "other numbers")
    library.start(library.identify(str(tmp_path / "other numbers")), "Other numbers")
    open_page(app, project, "Alike")
    app.session_state[f"explore_seeds_{project.key}"] = ((2024, 10, 10),)
    app.run()
    (regions,) = app.multiselect
    assert "Next valley" in regions.options
    assert "My fields" not in regions.options
    regions.select("Next valley").run()
    assert not app.exception
    assert not app.error
    app.slider[0].set_value(60).run()
    sentence = next(text.value for text in app.markdown if "Next valley" in text.value and "alike" in text.value)
    share = float(sentence.split("2023: ")[1].split()[0])
    assert abs(share - 25) < 3
    assert len(app.get("image")) == 1


def test_how_often_a_place_was_seen_is_a_layer(app: AppTest, home: Path, tmp_path: Path) -> None:
    landscape(year=2024, seed=1).save(tmp_path / "plain" / "2024")
    seen = np.full((64, 64, 6), 0xFFF, np.uint16)
    seen[..., :3] = 40, 3, 3
    seen[:, :32, 0], seen[30:40, :, 1:3] = 20, 0
    replace(landscape(year=2024, seed=1), observations=seen).save(tmp_path / "counted" / "2024")
    plain, counted = (library.start(library.identify(str(tmp_path / name)), name) for name in ("plain", "counted"))
    open_page(app, plain)
    assert [layer["name"] for layer in messages(app)["map"][0]["layers"]] == ["pca2024"]
    assert not any("Seen clearly" in caption.value for caption in app.caption)
    open_page(app, counted)
    layers = {layer["name"]: layer for layer in messages(app)["map"][0]["layers"]}
    assert list(layers) == ["pca2024", "seen_times", "seen_months", "no_radar"]
    # Nothing is made before somebody looks.
    assert [layer["sent"] for layer in layers.values()] == [True, False, False, False]
    assert [layers["seen_times"]["legend"][n][1] for n in (1, 5)] == ["15 to 24 clear days", "70 clear days and more"]
    (told,) = (caption.value for caption in app.caption if "Seen clearly" in caption.value)
    assert "Seen clearly 40 times (median), 20 at least, in 12 months of twelve." in told
    assert "were seen fewer than 25 times" in told
    look_at(app, "seen_times", "no_radar")
    assert {"seen_times", "no_radar"} <= messages(app).keys()
    # Above other parts' layers nothing lies that they did not ask for.
    choose(app, counted, "mode", "Alike")
    assert "no_radar" not in {layer["name"] for layer in messages(app)["map"][0]["layers"]}

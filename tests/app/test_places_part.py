"""Compare, All places: the maps of all places on one map of the world, each where it lies, with areas of all together."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from streamlit.testing.v1 import AppTest

from tessera_core.grid import Grid
from tessera_core.project import library
from tessera_core.project.places import add_place
from tessera_core.project.project import Project
from tessera_core.session import payload
from tests.factories import landscape
from tests.waiting import run_until, shown


def _label(project: Project) -> None:
    """Three clicks in each quarter, of three kinds."""
    ids = [project.log.add_class(name).id for name in ("Wood", "Water", "Field")]
    for n in range(12):
        row, col = 8 + 32 * (n % 4 // 2) + 3 * (n // 4), 8 + 32 * (n % 2) + n
        assert project.grid is not None
        x, y = project.grid.pixel_to_xy(row + 0.5, col + 0.5)
        project.log.add("point", ids[n % 4 % 3], [(float(x), float(y))])


def _pictures(app: AppTest) -> dict[str, tuple[float, float, float, float]]:
    """Name of each picture on the map -> where it lies."""
    headers = (payload.unpack(e.proto.bytes)[0] for e in app.get("bidi_component") if e.proto.bytes)
    return {header["name"]: tuple(header["bounds"]) for header in headers if header.get("kind") == "layer"}


@pytest.mark.soak
def test_all_places_are_seen_where_they_lie_and_their_areas_add_up(
    app: AppTest, project: Project, tmp_path: Path
) -> None:
    east = landscape(40, year=2023)
    east = replace(east, grid=Grid("EPSG:32632", east.grid.transform, east.grid.shape))
    east.save(tmp_path / "east" / "2023")
    ems = library.start(library.identify(str(tmp_path / "east")), "Ems <b>")
    _label(project)
    app.query_params["project"] = project.folder.name
    app.session_state["compare_part"] = "places"
    app.run()
    app.switch_page("pages/compare.py").run()
    assert "This region stands for itself" in app.info[0].value
    add_place(project, ems.folder)
    app.run()
    next(button for button in app.button if button.label == "Map all places").click().run()
    run_until(app, lambda: app.dataframe)
    table = app.dataframe[0].value.set_index("Class")
    total, parts = table["All places"], table.drop(columns="All places")
    for name in total.index:
        known = [float(text.replace(",", "")) for text in parts.loc[name]]
        assert float(total[name].replace(",", "")) == pytest.approx(sum(known), abs=0.11)
    # Six degrees apart, on one map.
    first, second = sorted(_pictures(app).values())
    assert second[0] - first[0] == pytest.approx(6 * 20_037_508 / 180, rel=0.01)
    assert "shift them" in shown(app)


def test_the_strip_leads_there(app: AppTest, project: Project, region_folder: Path) -> None:
    other = library.start(library.identify(str(region_folder)), "Kent")
    add_place(project, other.folder)
    app.query_params["project"] = project.folder.name
    app.run()
    app.button(key="studio_all_places").click().run()
    assert not app.exception
    assert [button.label for button in app.button if button.label == "Map all places"]

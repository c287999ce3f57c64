"""What the pages really send to the browser is what the type checker believes of it (``ui/components/messages.d.ts``)."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest
from streamlit.testing.v1 import AppTest

from tessera_core.project.project import Project
from tessera_core.session import payload
from tessera_core.session.protocol import ProtocolState
from tests.waiting import run_until

INTERFACES = {
    "insight": "InsightHeader",
    "picture": "PictureHeader",
    "layer": "LayerHeader",
    "world": "WorldHeader",
    "scatter": "ScatterHeader",
    "points": "PointsHeader",
    "lesson": "LessonHeader",
    "lesson_picture": "LessonPictureHeader",
}
# A map of the world with everything that a map can have.
WORLD = """
from tessera_core.ui.components import view_map
from tessera_core.ui.components.view_map import ColourScale, Comparison, Layer, MapContent, MapLook, Marker, Outline
square = {"type": "Polygon", "coordinates": [[[0, 0], [1, 0], [1, 1], [0, 0]]]}
scale = ColourScale(0, 1, ("#000000", "#ffffff"), "m", "±")
layers = [Layer("a", "A", b"1", "1", legend=(("#000000", "Forest"),)), Layer("b", "B", b"2", "1", group="base", scale=scale)]
view_map.view_map(
    "w", None, MapContent(layers, [Marker("m", lon=1, lat=2, kind="pin")], [Outline("o", square, fill=0.2)]),
    comparison=Comparison("a", "b"), fly_to=(0, 0, 1, 1), look=MapLook(height=300, world=True, link="l"),
)
"""


@pytest.fixture
def checker(root: Path) -> Path:
    """The type checker, or a skip that says what is missing."""
    tsc = root / "node_modules" / ".bin" / "tsc"
    if not tsc.exists():
        pytest.skip("TypeScript is not installed (make lint-js)")
    return tsc


def typed(sent: list[tuple[str, Any]], root: Path) -> str:
    """A module in which every value stands as one of its interface."""
    names = ", ".join(sorted({name for name, _ in sent}))
    source = (root / "tessera_core" / "ui" / "components" / "messages.js").as_posix()
    lines = [f'import type {{ {names} }} from "{source}";']
    lines += [f"export const sent{n}: {name} = {json.dumps(value)};" for n, (name, value) in enumerate(sent)]
    return "\n".join(lines)


def complaints(tsc: Path, text: str, folder: Path) -> list[str]:
    """What the type checker says against the module ``text``."""
    path = folder / "sent.ts"
    path.write_text(text, encoding="utf-8")
    options = ["--noEmit", "--strict", "--skipLibCheck", "--module", "es2022", "--moduleResolution", "bundler"]
    command = [str(tsc), *options, "--types", "", "--ignoreConfig", str(path)]
    run = subprocess.run(command, capture_output=True, text=True, check=False, cwd=folder)
    return run.stdout.splitlines()


def labelled(project: Project) -> None:
    """Five clicks in each quarter of the landscape."""
    grid = project.grid
    assert grid is not None
    for number in range(4):
        label_class = project.log.add_class(f"Kind {number}")
        for row, col in ((6, 6), (6, 24), (16, 15), (24, 7), (26, 26)):
            x, y = grid.pixel_to_xy(row + 32 * (number // 2), col + 32 * (number % 2))
            project.log.add("point", label_class.id, [(float(x), float(y))])


def collected(app: AppTest) -> list[tuple[str, Any]]:
    """Interface and value of every message to the page's components."""
    found = []
    for element in app.get("bidi_component"):
        if not element.proto.bytes:
            continue
        header, body = payload.unpack(element.proto.bytes)
        kind = header["kind"]
        if kind == "map":
            found.append(("LabelHeader" if "scene" in header else "ViewHeader", header))
        elif kind != "panel":
            found.append((INTERFACES[kind], header))
        if kind == "lesson_picture":
            found.append(("MovingPicture", json.loads(body)))
        if kind == "world":
            found.append(("World", json.loads(body)))
    return found


def test_messages_have_the_types_that_the_browser_expects(
    app: AppTest, project: Project, root: Path, tmp_path: Path, checker: Path
) -> None:
    labelled(project)
    project.update(lesson={"lesson": "first-map", "step": "line"})
    chosen = project.log.labels[3].id
    app.query_params["project"] = project.folder.name
    app.run()
    app.switch_page("pages/label.py").run()
    sent = collected(app)
    # As after a click on a label and a look at confidence, with something refused and a class just added.
    from tessera_core.ui.label import page

    (key,) = (
        app.session_state[page._PROTOCOL]
        if page._PROTOCOL in app.session_state
        else [next(v["key"] for name, v in sent if name == "LabelHeader")]
    )
    state = ProtocolState("page", 3, 2, True, chosen, created=((1, 1),), notes=((2, "No."),))
    app.session_state[page._PROTOCOL] = {key: state}

    def known() -> bool:
        return any(name == "InsightHeader" and value["score"] and value["next"] for name, value in collected(app))

    run_until(app, known)
    sent = collected(app)
    app.switch_page("pages/explore.py").run()
    app.session_state[f"explore_mode_{project.key}"] = "Scatter"
    app.run()
    sent += collected(app)
    sent += collected(AppTest.from_string(WORLD).run())
    assert not app.exception
    assert {name for name, _ in sent} >= {"LabelHeader", "ViewHeader", "World", *INTERFACES.values()}
    headers = [value for name, value in sent if name == "LabelHeader"]
    assert any(header["selected"] for header in headers)
    assert complaints(checker, typed(sent, root), tmp_path) == []


def test_a_message_of_another_form_would_be_found(root: Path, tmp_path: Path, checker: Path) -> None:
    good = {
        "name": "a",
        "url": "b",
        "zoom": 3,
        "attribution": "",
        "about": "",
        "kind": "xyz",
        "wms": None,
        "levels": [],
    }
    assert complaints(checker, typed([("BaseMap", good)], root), tmp_path) == []
    for bad in ({**good, "zoom": "3"}, {**good, "more": 1}, {key: good[key] for key in ("name", "url", "zoom")}):
        assert complaints(checker, typed([("BaseMap", bad)], root), tmp_path)

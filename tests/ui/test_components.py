"""The modules of our components: found by their imports, linked in an order in which each comes after those it needs."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tessera_core.ui.components import shared
from tests.ui.loader import carried

MAINS = tuple(f"{name}/assets/main.js" for name in ("label_map", "view_map", "scatter", "lesson", "manners"))
SHEET = "shared/assets/style.css"
# Templates, which are no modules of a component's code.
TEMPLATES = {"shared/assets/boot.js", "shared/assets/mount.js"}


@pytest.fixture
def room(root: Path) -> Path:
    """Where the components lie."""
    return root / "tessera_core" / "ui" / "components"


def imports(text: str) -> list[str]:
    return re.findall(r'^(?:import|export)\b[^;]*?"([^"]+\.js)";', text, re.MULTILINE)


@pytest.mark.parametrize("main", MAINS)
def test_each_module_comes_after_those_that_it_imports(main: str) -> None:
    modules = shared.linked(main)
    assert list(modules)[-1] == main
    known: set[str] = set()
    for path, text in modules.items():
        assert set(imports(text)) <= known, path
        known.add(path)


def test_no_module_is_left_lying(room: Path) -> None:
    linked = {path for main in MAINS for path in shared.linked(main)}
    lying = {path.relative_to(room).as_posix() for path in room.glob("*/assets/*.js")}
    assert lying - linked - TEMPLATES == set()


def test_components_borrow_from_the_shared_room_only(room: Path) -> None:
    for main in MAINS:
        own = main.partition("/")[0]
        assert {path.partition("/")[0] for path in shared.linked(main)} <= {own, "shared"}


def test_every_class_has_a_name_of_its_own_and_the_views_stay_small(room: Path) -> None:
    texts = {path: path.read_text(encoding="utf-8") for path in room.glob("*/assets/*.js")}
    classes = [name for text in texts.values() for name in re.findall(r"^(?:export )?class (\w+)", text, re.MULTILINE)]
    assert sorted(classes) == sorted(set(classes))
    assert {
        path: text.count("\n") for path, text in texts.items() if path.name == "view.js" and text.count("\n") > 401
    } == {}


def test_linking_changes_addresses_and_leaves_types_out(room: Path) -> None:
    for main in MAINS:
        for path, text in shared.linked(main).items():
            before = re.sub(r'"[^"]+\.js";', '"";', (room / path).read_text(encoding="utf-8")).splitlines()
            after = re.sub(r'"[^"]+\.js";', '"";', text).splitlines()
            kept, gone = iter(after), []
            line = next(kept, None)
            for written in before:
                if written == line:
                    line = next(kept, None)
                else:
                    gone.append(written)
            assert line is None, f"{path}: {line!r} was not written so, or not there"
            assert all(re.match(r"\s*(/\*\*|\*)", each) for each in gone), path


def test_modules_that_import_each_other_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    texts = {
        "a/assets/main.js": 'import { b } from "./b.js";\n',
        "a/assets/b.js": 'import {\n  one,\n} from "../../c/assets/c.js";\n',
        "c/assets/c.js": 'import "../../a/assets/b.js";\n',
    }
    monkeypatch.setattr(shared, "asset", texts.__getitem__)
    with pytest.raises(ValueError, match=r"a/assets/b\.js -> c/assets/c\.js -> a/assets/b\.js|b\.js -> c/assets/c\.js"):
        shared.linked("a/assets/main.js")
    texts["c/assets/c.js"] = "export const one = 1; // import './never.js';\n"
    assert list(shared.linked("a/assets/main.js")) == ["c/assets/c.js", "a/assets/b.js", "a/assets/main.js"]
    assert '} from "c/assets/c.js";' in shared.linked("a/assets/main.js")["a/assets/b.js"]


@pytest.mark.parametrize("leaflet", [True, False])
def test_a_loader_holds_everything_and_ends_no_script(leaflet: bool) -> None:
    text = shared.loader("__test", MAINS[1], (SHEET, "view_map/assets/view.css"), "en", leaflet)
    assert "</" not in text
    assert "__HUB__" not in text
    assets = carried(text)
    assert bool(assets["leaflet"]) is leaflet
    assert [name for name, _ in assets["modules"]] == list(shared.linked(MAINS[1]))
    assert len(assets["css"]) == 2 + leaflet
    assert not any("url(" in sheet for sheet in assets["css"])


def test_a_component_without_a_loader_is_one_module_that_imports_nothing() -> None:
    code = shared.joined("manners/assets/main.js")
    assert [line for line in code.splitlines() if line.startswith(("import", "export"))] == [
        "export default function ({ data }) {"
    ]
    tops = re.findall(r"^(?:class|const|function|let) (\w+)", code, re.MULTILINE)
    assert "OwnWords" in tops
    assert len(set(tops)) == len(tops)

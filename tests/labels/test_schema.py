"""Class trees: what people paste, what comes back, and what is refused with which sentence."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tessera_core.errors import LabelError
from tessera_core.labels.log import LabelLog
from tessera_core.labels.model import LabelClass
from tessera_core.labels.schema import SHIPPED, adopt, from_json, parse_tree
from tessera_core.project.project import Project


def outline(tree):
    return [(n.depth, n.code, n.name) for n in tree.nodes]


@pytest.mark.parametrize(
    "text",
    [
        "Wood\n    Oak\n    Pine\n        Scots pine\nWater",
        "Wood\n\tOak\n\tPine\n\t\tScots pine\nWater\n",
        "\ufeffWood\r\n  Oak\r\n  Pine\r\n    Scots pine\r\n\r\nWater",
        "  Wood\n   - Oak\n   - Pine\n       * Scots pine\n  Water",
        '{"Wood": {"Oak": {}, "Pine": ["Scots pine"]}, "Water": null}',
        '[{"name": "Wood", "children": [{"name": "Oak"}, {"name": "Pine", "children": ["Scots pine"]}]}, "Water"]',
        '{"name": "Mine", "tree": [{"code": "", "name": "Wood", "children": ["Oak", {"Pine": ["Scots pine"]}]}, "Water"]}',
    ],
)
def test_what_people_paste(text):
    tree = parse_tree(text)
    assert outline(tree) == [(0, "", "Wood"), (1, "", "Oak"), (1, "", "Pine"), (2, "", "Scots pine"), (0, "", "Water")]
    assert tree.levels == 3
    assert tree.path(3) == "Wood > Pine > Scots pine"
    assert tree.beneath(0) == [0, 1, 2, 3]


def test_codes_and_colours():
    tree = parse_tree("w Woodland\n    w1 Broadleaved\n        w1f Beech and oak #00aa00\n    w2 Conifer\ng Grassland")
    assert outline(tree) == [
        (0, "w", "Woodland"),
        (1, "w1", "Broadleaved"),
        (2, "w1f", "Beech and oak"),
        (1, "w2", "Conifer"),
        (0, "g", "Grassland"),
    ]
    assert tree.nodes[2].color == "#00aa00"
    assert tree.find("W1F") == 2
    assert tree.find("conifer") == 3
    assert tree.find("rock") is None
    # A first word that only looks like a code is part of the name where other lines have none.
    assert outline(parse_tree("A road\nWinter wheat\nGrass")) == [
        (0, "", "A road"),
        (0, "", "Winter wheat"),
        (0, "", "Grass"),
    ]


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("  \n", "no classes"),
        ("    Wood\n  Oak\nPine", "line 2"),
        ("Wood\n  Oak\n  oak", r"'oak' \(line 3\) is there twice"),
        ('{"Wood": ', "begins like JSON"),
        ('[{"name": "Wood", "children": [true]}]', "no class after 'Wood'"),
        ('[{"name": "\\u0001"}]', "no name"),
        ('[{"name": "a", "color": "red"}]', "colour 'red' of class 'a'"),
        ("\n".join(f"c{n} x" for n in range(300)), "300 classes"),
        ("\n".join(" " * n + f"level {n}" for n in range(12)), "levels"),
        ('{"format": "tessera-class-tree/9", "tree": []}', "this version reads"),
        ("[]", "no classes"),
    ],
)
def test_what_is_refused(text, says):
    with pytest.raises(LabelError, match=says):
        parse_tree(text)


def test_one_name_in_two_branches_becomes_two_classes():
    tree = parse_tree("Wood\n  Oak\n  Other\nGrass\n  Hay\n  Other")
    assert [n.name for n in tree.nodes] == ["Wood", "Oak", "Other", "Grass", "Hay", "Grass: Other"]


names = st.text(st.characters(codec="utf-8", categories=("L", "N", "P", "Zs")), min_size=1, max_size=12)


@given(st.recursive(st.just({}), lambda below: st.dictionaries(names, below, max_size=4), max_leaves=20))
def test_text_and_json_bring_the_same_tree_back(value):
    try:
        tree = from_json(value, "Any")
    except LabelError:
        return
    assert from_json(json.loads(json.dumps(tree.to_json()))) == tree


@pytest.mark.parametrize("tree", SHIPPED.values(), ids=str)
def test_shipped_trees_are_whole(tree):
    assert parse_tree(tree.to_text(), tree.name) == tree
    assert tree.levels == 3
    assert len(tree.children(-1)) >= 8


def test_a_project_keeps_its_tree(tmp_path):
    project = Project.create(tmp_path / "p", "P")
    assert project.class_tree is None
    project.update(schema=SHIPPED["Crops"].to_json())
    assert Project.open(tmp_path / "p").class_tree == SHIPPED["Crops"]


def test_adopting_a_tree_is_one_step_and_keeps_what_is_there():
    log = LabelLog()
    oak = log.add_class("OAK", "#123456")
    tree = parse_tree("Wood\n  Oak\n  Pine\nWater")
    assert adopt(log, tree) == 3
    assert adopt(log, tree) == 0
    assert {c.name for c in log.classes} == {"OAK", "Wood", "Pine", "Water"}
    assert log.label_class(oak.id).color == "#123456"
    log.undo()
    assert [c.name for c in log.classes] == ["OAK"]


def test_levels_of_classes_and_counts():
    tree = parse_tree("Wood\n  Conifer\n    Pine\n  Oak\nWater")
    classes = [LabelClass(4, "pine", "#000001"), LabelClass(7, "Wood", "#000002"), LabelClass(9, "Rock", "#000003")]
    # Conifer is no class of the project, so the next one above Pine is Wood; Rock is outside the tree.
    assert tree.parents(classes) == {4: 7}
    rows = {row.name: row for row in tree.rows(classes, {4: 3, 7: 2, 9: 8})}
    assert (rows["Wood"].labels, rows["Wood"].below) == (2, 5)
    assert (rows["Conifer"].class_id, rows["Conifer"].labels, rows["Conifer"].below) == (None, 0, 3)
    assert (rows["Pine"].class_id, rows["Pine"].color) == (4, "#000001")

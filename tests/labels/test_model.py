import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tessera_core.errors import LabelError
from tessera_core.labels.model import Label, LabelClass, clean_name, hsl_to_hex

FINITE = st.floats(-1e9, 1e9)
XY = st.tuples(FINITE, FINITE)


@given(
    st.sampled_from(["point", "brush", "erase"]),
    st.integers(1, 254),
    st.lists(XY, min_size=1, max_size=5),
    st.floats(0, 1e6),
    st.text(max_size=20),
)
def test_a_label_survives_json(kind, class_id, xy, radius, note):
    label = Label("id", class_id, kind, xy, radius, note)
    assert Label.from_json(json.loads(json.dumps(label.to_json()))) == label


def test_a_polygon_with_holes_survives_json():
    label = Label("id", 1, "polygon", [(0, 0), (9, 0), (9, 9), (0, 0)], holes=[[(1, 1), (2, 1), (2, 2), (1, 1)]])
    assert label.xy == ((0, 0), (9, 0), (9, 9))
    assert label.holes == (((1, 1), (2, 1), (2, 2)),)
    assert Label.from_json(json.loads(json.dumps(label.to_json()))) == label
    assert len(label.rings) == 2


def test_what_a_kind_does_not_have_is_dropped():
    assert Label("id", 1, "point", [(0, 0), (1, 1)], radius=5, holes=[[(0, 0), (1, 0), (1, 1)]]).to_json() == {
        "id": "id",
        "class_id": 1,
        "kind": "point",
        "xy": ((0, 0),),
    }
    assert Label("id", 7, "erase", [(0, 0)], 5).class_id == 0
    assert Label("id", 1, "rectangle", [(0, 0), (2, 3)]).rings == (((0, 0), (2, 0), (2, 3), (0, 3)),)


@pytest.mark.parametrize(
    ("fields", "match"),
    [
        ({"kind": "circle"}, "not a kind of label"),
        ({"class_id": 0}, "not from 1 to 254"),
        ({"class_id": 255}, "not from 1 to 254"),
        ({"class_id": "1"}, "must be a class id"),
        ({"class_id": True}, "must be a class id"),
        ({"id": ""}, "1 to 64 characters"),
        ({"id": "x" * 65}, "1 to 64 characters"),
        ({"id": 5}, "1 to 64 characters"),
        ({"xy": []}, "at least one place"),
        ({"xy": [(1, 2, 3)]}, "pairs of numbers"),
        ({"xy": [("a", "b")]}, "pairs of numbers"),
        ({"xy": 5}, "pairs of numbers"),
        ({"xy": [(math.nan, 0)]}, "finite"),
        ({"xy": [(0, math.inf)]}, "finite"),
        ({"kind": "brush", "radius": -1}, "zero or more"),
        ({"kind": "brush", "radius": math.inf}, "zero or more"),
        ({"kind": "brush", "radius": "wide"}, "not a number"),
        ({"kind": "polygon", "xy": [(0, 0), (1, 1)]}, "three different corners"),
        ({"kind": "polygon", "xy": [(0, 0), (1, 1), (0, 0)]}, "three different corners"),
        ({"kind": "rectangle", "xy": [(0, 0)]}, "three different corners"),
    ],
)
def test_labels_that_make_no_sense_are_refused(fields, match):
    good = {"id": "id", "class_id": 1, "kind": "point", "xy": [(0, 0)]}
    with pytest.raises(LabelError, match=match):
        Label(**(good | fields))
    with pytest.raises(LabelError):
        Label.from_json(good | fields)


@pytest.mark.parametrize("value", [None, [], {}, {"id": "x"}, "text"])
def test_json_that_is_no_label_or_class_is_refused(value):
    with pytest.raises(LabelError):
        Label.from_json(value)
    with pytest.raises(LabelError):
        LabelClass.from_json(value)


@pytest.mark.parametrize(
    ("arguments", "match"),
    [
        ((0, "a", "#000000"), "from 1 to 254"),
        ((255, "a", "#000000"), "from 1 to 254"),
        ((1.0, "a", "#000000"), "from 1 to 254"),
        ((1, " \n ", "#000000"), "needs a name"),
        ((1, "a", "red"), "#rrggbb"),
        ((1, "a", "#00000g"), "#rrggbb"),
        ((1, "a", "#000000;}"), "#rrggbb"),
    ],
)
def test_classes_that_make_no_sense_are_refused(arguments, match):
    with pytest.raises(LabelError, match=match):
        LabelClass(*arguments)


def test_names_are_one_clean_line():
    assert LabelClass(1, "  Wet\n wood\x00 ", "#ABCDEF").name == "Wet wood"
    assert LabelClass(1, "a", "#ABCDEF").color == "#abcdef"
    assert len(clean_name("x" * 500)) == 80
    # A name reads in the order it is written in; letters that run from right to left stay.
    assert clean_name("Field\u202egnp.\u2066exe\u2069") == "Fieldgnp.exe"
    assert clean_name("حقل קמח") == "حقل קמח"


@pytest.mark.parametrize(
    ("hsl", "expected"),
    [
        ((0, 100, 50), "#ff0000"),
        ((120, 100, 25), "#008000"),
        ((240, 100, 100), "#ffffff"),
        ((0, 0, 50), "#808080"),
        ((400, 200, -5), "#000000"),
        ((210, 50, 40), "#336699"),
    ],
)
def test_hsl(hsl, expected):
    assert hsl_to_hex(*hsl) == expected

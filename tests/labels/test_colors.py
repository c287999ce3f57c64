import pytest

from tessera_core.labels.colors import HABITS, color_for
from tessera_core.labels.model import DEFAULT_COLORS, LabelClass


@pytest.mark.parametrize(
    ("name", "color"),
    [
        ("Water", "#0072b2"),
        ("River Dyle", "#0072b2"),
        ("Broadleaf wood", "#2e8b3d"),
        ("CONIFER WOOD", "#0b5d4f"),
        ("Winter wheat", "#ddcc77"),
        ("Permanent grassland", "#a6d96a"),
        ("1200", DEFAULT_COLORS[0]),
        ("Steam engines", DEFAULT_COLORS[0]),
    ],
)
def test_names_that_say_something_get_a_fitting_colour(name: str, color: str) -> None:
    assert color_for(name, [], 1) == color


def test_colours_are_never_given_twice() -> None:
    classes: list[LabelClass] = []
    for number in range(1, 40):
        color = color_for(f"Forest {number}", classes, number)
        assert color not in {c.color for c in classes}
        classes.append(LabelClass(number, f"Forest {number}", color))


def test_every_habit_is_a_colour() -> None:
    for _, colors in HABITS:
        for color in colors:
            LabelClass(1, "x", color)

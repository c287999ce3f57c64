import re
from pathlib import Path

import numpy as np
import pytest

from tessera_core._utils.colour import SIGHTS, apart, ciede2000, lab
from tessera_core.labels.colors import HABITS, NEAR, color_for, distinct_colors, next_color, suggested
from tessera_core.labels.model import PALETTE, LabelClass

NOTHING = distinct_colors(1)[0]


def test_differences_are_those_that_are_published() -> None:
    # Sharma, Wu & Dalal (2005), table 1: pairs 1, 7, 10, 17, 20, 25 and 34.
    pairs = [
        ((50, 2.6772, -79.7751), (50, 0, -82.7485), 2.0425),
        ((50, 0, 0), (50, -1, 2), 2.3669),
        ((50, 2.49, -0.001), (50, -2.49, 0.0009), 7.1792),
        ((50, 2.5, 0), (73, 25, -18), 27.1492),
        ((60.2574, -34.0099, 36.2677), (60.4626, -34.1751, 39.4387), 1.2644),
        ((2.0776, 0.0795, -1.135), (0.9033, -0.0636, -0.5514), 0.9082),
    ]
    for first, second, expected in pairs:
        found = float(ciede2000(np.array([first], float), np.array([second], float))[0, 0])
        assert found == pytest.approx(expected, abs=1e-4)
        assert float(ciede2000(np.array([second], float), np.array([first], float))[0, 0]) == pytest.approx(found)
    assert lab(["#ffffff"])[0] == pytest.approx([100, 0, 0], abs=0.02)
    # Red and green of one lightness are nearly one colour to a deuteranope, and far from it to others.
    red, green = ["#c86464"], ["#7f8a45"]
    assert ciede2000(lab(red, "deuteranopia"), lab(green, "deuteranopia")) < 12 < 40 < ciede2000(lab(red), lab(green))


@pytest.mark.parametrize("sight", SIGHTS)
def test_any_two_of_the_palette_are_told_apart_by_everybody(sight: str) -> None:
    assert len(PALETTE) == 12
    seen = lab(PALETTE, sight)
    least = (ciede2000(seen, seen) + 999 * np.eye(12)).min()
    assert least >= (20 if sight == "full" else 13)


def test_the_swatches_of_the_page_are_the_palette() -> None:
    import tessera_core

    text = (Path(tessera_core.__file__).parent / "ui/components/shared/assets/dom.js").read_text(encoding="utf-8")
    swatches = re.findall(r'"(#[0-9a-f]{6})"', text.partition("SWATCHES")[2].partition("]")[0])
    assert tuple(swatches[:12]) == PALETTE


@pytest.mark.parametrize(
    ("kind", "names"),
    [
        (
            0,
            "Water|River Dyle|Wasser|Gewässer|See|Eau|Lac|Agua|Río|Água|Acqua|Lago|Meer|Vatten|Woda|Вода|Река|Su|水体|湖泊|ماء|जल",
        ),
        (1, "Conifer wood|PINE|Nadelwald|Resineux|Pinar|Naaldbos|Barrskog|Хвойный лес|针叶林"),
        (
            2,
            "Broadleaf wood|Forest|Laubwald|Mischwald|Wald|Forêt|Bois|Bosque|Floresta|Bosco|Loofbos|Skog|Лес|Las|Orman|森林|غابة",
        ),
        (3, "Permanent grassland|Wiese|Grünland|Prairie|Prés|Pradera|Pastagem|Prato|Weiland|Луг|Łąka|Çayır|草地"),
        (4, "Arable|Fields|Acker|Ackerland|Champs|Cultivos|Lavoura|Campi|Akker|Поле|Tarla|农田"),
        (5, "Maize|Mais|Maïs|Maíz|Milho|Granturco|Кукуруза|玉米"),
        (6, "Town|Built-up|Stadt|Siedlung|Ville|Bâti|Ciudad|Cidade|Città|Stad|Город|Miasto|Şehir|城市|建筑|مدينة"),
        (7, "Bare soil|Fels|Roche|Suelo desnudo|Solo exposto|Roccia|Zand|Песок|裸地"),
        (8, "Wetland|Moss bog|Sumpf|Marais|Humedal|Manglar|Brejo|Palude|Moeras|Болото|湿地"),
        (9, "Snow|Ice|Schnee|Neige|Nieve|Ghiaccio|Снег|雪"),
    ],
)
def test_a_name_gets_the_same_colour_in_every_language_known(kind: int, names: str) -> None:
    for name in names.split("|"):
        assert color_for(name, [], 1) == PALETTE[kind], name


@pytest.mark.parametrize("name", ["1200", "Steam engines", "Seasonal", "Xyz"])
def test_names_that_say_nothing_get_the_next_colour(name: str) -> None:
    assert suggested(name) == ()
    assert color_for(name, [], 1) == NOTHING


def test_a_new_class_never_looks_like_one_that_is_there() -> None:
    names = ["Water", "Fields", "Maize", "Rape", "Wheat", "Forest", "Grass", "Forest 2", "Bare soil", "Town", "A", "B"]
    classes: list[LabelClass] = []
    for number, name in enumerate(names, start=1):
        color = color_for(name, classes, number)
        if classes:
            assert apart([color], [c.color for c in classes]).min() >= NEAR, (name, color)
        classes.append(LabelClass(number, name, color))
    # Fields are yellow, so maize beside them is not a yellow that looks like it.
    assert classes[1].color == PALETTE[4]
    # What is left for wheat is the most like its own colour.
    grass = LabelClass(1, "Grass", PALETTE[3])
    assert color_for("Winter wheat", [grass], 2) in {*suggested("Winter wheat"), PALETTE[4]}
    # A colour that a person or a file has chosen counts as well.
    chosen = LabelClass(1, "Sea", "#1a5aa6")
    assert apart([color_for("Lake", [chosen], 2)], [chosen.color]).min() >= NEAR


def test_every_class_gets_a_colour_of_its_own() -> None:
    classes: list[LabelClass] = []
    for number in range(1, 255):
        color = next_color(classes, number)
        assert color not in {c.color for c in classes}
        classes.append(LabelClass(number, f"Class {number}", color))


def test_groups_without_names_are_told_apart() -> None:
    colors = distinct_colors(20)
    assert len(set(colors)) == 20
    assert (apart(colors, colors) + 999 * np.eye(20)).min() >= 6
    assert len(set(distinct_colors(60))) == 60


def test_every_habit_is_a_colour() -> None:
    for _, _, colors in HABITS:
        for color in colors:
            LabelClass(1, "x", color)

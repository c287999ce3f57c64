"""The card of a label set: each line sees what it is for, and nothing depends on the order of labels."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tessera_core.assess.label_card import CardLine, LabelCard, card_of_labels, label_card
from tessera_core.assess.reference import Reference
from tessera_core.labels.model import Label, LabelClass
from tessera_core.raster import EmbeddingRaster
from tests.factories import landscape

CLASSES = [LabelClass(n, f"Class {n}", f"#00000{n}") for n in range(1, 5)]
SIZE = 64
RASTER = landscape(SIZE, dim=16)


def points(places: list[tuple[int, int]], kind: int | None = None) -> list[Label]:
    """Points at (row, col), each of the class of its quadrant unless told."""
    x, y = RASTER.grid.pixel_to_xy(np.array([r for r, _ in places]) + 0.5, np.array([c for _, c in places]) + 0.5)
    classes = [kind or 1 + 2 * (r >= SIZE / 2) + (c >= SIZE / 2) for r, c in places]
    return Label.points(classes, x.tolist(), y.tolist())


def spread(n: int = 80, seed: int = 0) -> list[tuple[int, int]]:
    """Places drawn by chance, each once, off the rim without data and off the borders of the quadrants."""
    rng = np.random.default_rng(seed)
    free = [(r, c) for r in range(3, SIZE) for c in range(3, SIZE) if abs(r - 31.5) > 2 and abs(c - 31.5) > 2]
    return [free[i] for i in rng.choice(len(free), n, replace=False)]


def line(card: LabelCard, what: str) -> CardLine:
    return next(one for one in card.lines if one.what == what)


def test_good_labels_have_nothing_to_mind() -> None:
    card = card_of_labels(points(spread()), CLASSES, RASTER)
    assert [one.what for one in card.lines] == [
        "clustered", "cover", "imbalance", "duplicates", "borders", "no data",
    ]  # fmt: skip
    assert not card.minded
    assert all(not one.advice for one in card.lines)


def test_labels_on_a_heap_are_seen_and_the_class_is_named() -> None:
    heap = [(40 + r, 40 + c) for r in range(3) for c in range(4)]
    card = card_of_labels(points([p for p in spread() if min(p) < 32] + heap), CLASSES, RASTER)
    found = line(card, "clustered")
    assert found.level == "mind"
    assert found.value < 0.3
    assert "Class 4" in found.sentence
    assert "10 m away" in found.sentence
    assert "Class 4" in found.advice


@settings(max_examples=30, deadline=None)
@given(st.lists(st.integers(0, 199), min_size=10, max_size=60), st.randoms(use_true_random=False))
def test_duplicates_are_counted_exactly_and_order_does_not_matter(numbers: list[int], random: object) -> None:
    known = spread(200, seed=1)
    labels = points([known[n] for n in numbers])
    shuffled = list(labels)
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    card = card_of_labels(labels, CLASSES, RASTER)
    assert line(card, "duplicates").value == len(numbers) - len(set(numbers))
    assert card_of_labels(shuffled, CLASSES, RASTER) == card


def test_a_class_left_out_shows_as_ground_unlike_the_labels() -> None:
    places = [p for p in spread() if not (p[0] >= 32 and p[1] >= 32)]
    found = line(card_of_labels(points(places), CLASSES, RASTER), "cover")
    assert found.value == pytest.approx(0.25, abs=0.05)
    assert found.level == "mind"


def test_labels_on_borders_without_data_and_of_one_class() -> None:
    borders = [(31 + n % 2, 4 + 3 * n) for n in range(12)]
    card = card_of_labels(points(borders), CLASSES, RASTER)
    assert line(card, "borders").level == "bad"
    assert line(card, "borders").value == 1
    card = card_of_labels(points([(0, 0), (1, 1), *spread(38)]), CLASSES, RASTER)
    assert line(card, "no data").value == 2
    assert line(card, "no data").level == "mind"
    card = card_of_labels(points(spread(), kind=1), CLASSES, RASTER)
    assert line(card, "imbalance").level == "bad"
    assert card.minded[0].what == "imbalance"
    assert not card_of_labels([], CLASSES, RASTER).lines


def test_what_was_rarely_seen_and_an_old_picture() -> None:
    seen = np.full((SIZE, SIZE, 6), 60, np.uint16)
    seen[:32] = 18
    raster: EmbeddingRaster = replace(RASTER, observations=seen)
    places = spread()
    reference = Reference.of_labels(points(places), CLASSES, raster.grid)
    card = label_card(reference, raster, picture_year=2010)
    assert line(card, "rarely seen").value == sum(r < 32 for r, _ in places) / len(places)
    assert line(card, "picture").level == "bad"
    assert line(label_card(reference, raster, picture_year=2022), "picture").level == "ok"
    near = line(label_card(reference, raster, picture=("Aerial", 2010)), "picture")
    assert near.level == "bad"
    assert "Aerial is nearest: of 2010" in near.sentence
    assert label_card(reference, raster).to_json()[0]["what"] == "clustered"

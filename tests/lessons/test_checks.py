"""What steps wait for: each predicate holds where it should and nowhere else."""

from __future__ import annotations

from typing import Any

import pytest

from tessera_core.errors import InputError
from tessera_core.lessons.checks import MAX_DEPTH, PREDICATES, About, Facts, read

ABOUT = About("here", frozenset({"water", "wood"}), {"here": 1, "claim": None})
NAMES = {"water": frozenset({"water", "wasser"}), "wood": frozenset({"wood"})}
# Predicate, parameter, what does not suffice, what does.
CASES: list[tuple[str, Any, dict[str, Any], dict[str, Any]]] = [
    ("opened_page", "label", {"events": {"page:region"}}, {"events": {"page:label"}}),
    ("used", "label.map", {"events": {"seen:label.map"}}, {"events": {"used:label.map"}}),
    ("seen", "label.map", {"events": {"used:label.map"}}, {"events": {"seen:label.map"}}),
    ("layer_shown", "confidence", {"events": {"used:label.layers"}}, {"events": {"used:label.layer.confidence"}}),
    ("answered", "any", {"answers": {"claim": 1}}, {"answers": {"here": 0}}),
    ("answered", "right", {"answers": {"here": 0}}, {"answers": {"here": 1}}),
    ("answered", {"step": "claim"}, {"answers": {"here": 0}}, {"answers": {"claim": 3}}),
    ("answered", {"step": "claim", "choice": 2}, {"answers": {"claim": 3}}, {"answers": {"claim": 2}}),
    ("named", ["water", "wood"], {"labels": {"wasser": 0}}, {"labels": {"wasser": 0, "wood": 3}}),
    ("classes_at_least", 2, {"labels": {"a": 5}}, {"labels": {"a": 0, "b": 0}}),
    ("classes_labelled_at_least", 2, {"labels": {"a": 5, "b": 0}}, {"labels": {"a": 1, "b": 1}}),
    ("labels_at_least", 3, {"labels": {"a": 2}}, {"labels": {"a": 2, "b": 1}}),
    (
        "labels_at_least",
        {"class": "water", "n": 2},
        {"labels": {"wood": 2, "water": 1}},
        {"labels": {"water": 1, "wasser": 1}},
    ),
    ("labels_added", 2, {"labels": {"a": 5}, "labels_before": 4}, {"labels": {"a": 6}, "labels_before": 4}),
    ("step_taken", "confidence", {"steps": {"correct"}}, {"steps": {"correct", "confidence"}}),
    ("years_at_least", 2, {"years": 1}, {"years": 2}),
    ("series_at_least", 1, {"years": 2}, {"series": 1}),
    ("plots_at_least", 5, {"plots": 4}, {"plots": 5}),
    ("validation_places_at_least", 10, {"validation_places": 9}, {"validation_places": 40}),
    ("validation_answers_at_least", 10, {"validation_places": 40, "validation_answers": 9}, {"validation_answers": 10}),
]


@pytest.mark.parametrize(("name", "value", "short", "enough"), CASES)
def test_each_predicate(name: str, value: Any, short: dict[str, Any], enough: dict[str, Any]) -> None:
    check = read({name: value}, ABOUT)
    assert not check.met(Facts(names=NAMES), ABOUT)
    assert not check.met(Facts(names=NAMES, **{k: _facts(v) for k, v in short.items()}), ABOUT)
    facts = Facts(names=NAMES, **{k: _facts(v) for k, v in enough.items()})
    assert check.met(facts, ABOUT)
    assert not read({"not": {name: value}}, ABOUT).met(facts, ABOUT)
    other = {"plots_at_least": 9}
    assert read({"any": [other, {name: value}]}, ABOUT).met(facts, ABOUT)
    assert not read({"all": [other, {name: value}]}, ABOUT).met(facts, ABOUT)


def _facts(value: Any) -> Any:
    return frozenset(value) if isinstance(value, set) else value


def test_every_predicate_has_a_case_and_a_line_for_writers() -> None:
    assert {name for name, *_ in CASES} == set(PREDICATES)
    assert all(predicate.about for predicate in PREDICATES.values())


@pytest.mark.parametrize(
    "value",
    [
        "opened_page",
        {},
        {"opened_page": "label", "used": "label.map"},
        {"opened_page": "nowhere"},
        {"used": 3},
        {"any": []},
        {"any": {"used": "label.map"}},
        {"labels_at_least": True},
        {"labels_at_least": {"n": 0}},
        {"labels_at_least": {"class": "town", "n": 1}},
        {"labels_at_least": {"n": 1, "of": "water"}},
        {"answered": {"step": "nowhere"}},
        {"answered": {"step": "claim", "choice": "2"}},
        {"answered": "wrong"},
        {"named": []},
        {"named": "water"},
    ],
)
def test_parameters_of_another_kind_are_refused(value: Any) -> None:
    with pytest.raises(InputError):
        read(value, ABOUT)
    with pytest.raises(InputError):
        read({"answered": "right"}, About("claim", frozenset(), {"claim": None}))


def test_nesting_has_an_end() -> None:
    value: Any = {"plots_at_least": 1}
    for _ in range(MAX_DEPTH):
        value = {"not": value}
    assert read(value, ABOUT).met(Facts(plots=1 if MAX_DEPTH % 2 == 0 else 0), ABOUT)
    with pytest.raises(InputError, match="deep"):
        read({"not": value}, ABOUT)

"""What a scripted learner does in each step of the lessons of the studio, by the id of the step."""

from __future__ import annotations

from tests.browser.learner import Do

SCRIPTS: dict[str, dict[str, list[Do]]] = {
    "first-map": {
        "page": [Do("open", "Label")],
        "picture": [Do("switch", "True colour")],
        "first-class": [Do("add", "Water")],
        "water": [Do("click", "Water", 3)],
        "wood": [Do("add", "Wood"), Do("click", "Wood", 3)],
        "more-classes": [Do("add", "Fields"), Do("click", "Fields", 3), Do("add", "Town"), Do("click", "Town", 3)],
        "wrong": [Do("switch", "Class map"), Do("click", "Fields"), Do("click", "Wood")],
        "next": [Do("press", "Label here next"), Do("keys", "1", 3)],
    },
    "year": {
        "explore": [Do("open", "Explore")],
        "pixel": [Do("pick", "Pixel")],
        "field": [Do("point")],
    },
    "pixels": {
        "explore": [Do("open", "Explore")],
        "scatter": [Do("pick", "Scatter")],
        "lasso": [Do("draw")],
        "alike": [Do("pick", "Alike"), Do("point")],
    },
    "change": {
        "compare": [Do("open", "Compare")],
        "rate": [Do("slide", "False alarms I accept")],
        "look": [Do("point")],
    },
    "limits": {
        "page": [Do("open", "Continuous map")],
        "plots": [Do("press", "Try with example plots")],
        "guesses": [Do("toggle", "Grey where it guesses")],
    },
    "how-good": {
        "page": [Do("open", "Label")],
        "map": [act for name in ("Water", "Wood", "Fields", "Town") for act in (Do("add", name), Do("click", name, 3))],
        "validate": [Do("open", "Validate")],
        "draw": [Do("press", "Choose the places by chance")],
        "look": [Do("answer", "1", 12)],
    },
}

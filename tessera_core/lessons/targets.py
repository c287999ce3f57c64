"""The controls that a step of a lesson may point at, by stable names, and where each is found on the screen."""

from __future__ import annotations

from dataclasses import dataclass

from tessera_core.errors import InputError
from tessera_core.language import later

# Addresses of pages and what the navigation calls them.
PAGES = {
    "region": later("Region"),
    "explore": later("Explore"),
    "label": later("Label"),
    "continuous": later("Continuous map"),
    "validate": later("Validate"),
    "compare": later("Compare"),
    "export": later("Export"),
    "data": later("Data"),
}


@dataclass(frozen=True)
class Target:
    """A control, or a part of a page.

    Attributes:
        page: address of the page that it is on.
        selector: CSS selector, looked for in the page and in the shadow roots of our components.
    """

    page: str
    selector: str


def _tour(page: str, name: str) -> Target:
    return Target(page, f'[data-tour="{name}"]')


def _keyed(page: str, prefix: str, ending: str = "") -> Target:
    """A widget of Streamlit by the beginning of its key, and its end where the project's stands between."""
    return Target(page, f'[class*="st-key-{prefix}"]' + (f'[class*="{ending}"]' if ending else ""))


def _map(page: str) -> Target:
    """The one map of a page."""
    return Target(page, '[data-kind="map"] .tl-box')


TARGETS: dict[str, Target] = {
    **{
        name: _tour("label", name)
        for name in (
            "label.classes",
            "label.new-class",
            "label.places",
            "label.score",
            "label.layers",
        )
    },
    **{
        f"label.layer.{name}": Target("label", f'[data-layer="{name}"]')
        for name in ("labels", "classes", "confidence", "dissimilarity", "truecolour", "pca")
    },
    "label.map": _map("label"),
    "label.next-places": Target("label", ".tl-next"),
    "label.quality": _keyed("label", "label_quality_"),
    "label.groups": _keyed("label", "label_groups_"),
    "label.steps": _keyed("label", "studio_steps"),
    "explore.mode": _keyed("explore", "explore_mode"),
    "explore.map": _map("explore"),
    "explore.scatter": Target("explore", '[data-kind="scatter"]'),
    "compare.map": _map("compare"),
    "compare.part": _keyed("compare", "compare_part"),
    "compare.example": _keyed("compare", "compare_control_example"),
    "compare.rate": _keyed("compare", "compare_rate_"),
    "export.files": _keyed("export", "export_map_files"),
    "continuous.map": _map("continuous"),
    "continuous.examples": _keyed("continuous", "continuous_examples"),
    "continuous.grey": _keyed("continuous", "continuous_grey"),
    "validate.map": _map("validate"),
    "validate.margin": _keyed("validate", "validate_", "_margin"),
    "validate.draw": _keyed("validate", "validate_", "_draw"),
}


def target(name: str) -> Target:
    """The target of that name.

    Raises:
        InputError: there is none.
    """
    found = TARGETS.get(name)
    if found is None:
        raise InputError(f"there is no target {name!r}; targets are: {', '.join(sorted(TARGETS))}")
    return found

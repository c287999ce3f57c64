"""The classes of simulated landscapes: what a person maps, one for each cover that grows in a world."""

from __future__ import annotations

CLASS_TABLE: tuple[tuple[str, str, str], ...] = (
    ("water", "Water", "#3b76b8"),
    ("broadleaf wood", "Broadleaf wood", "#5aa84a"),
    ("conifer wood", "Conifer wood", "#1f5f3f"),
    ("scrub", "Scrub and clearings", "#a08250"),
    ("grassland", "Grassland", "#b4dc78"),
    ("winter wheat", "Winter wheat", "#e6c35c"),
    ("rapeseed", "Rapeseed", "#f7f01e"),
    ("maize", "Maize", "#ef8e2c"),
    ("sugar beet", "Sugar beet", "#b65fa5"),
    ("built-up", "Built-up", "#c9443e"),
    ("bare ground", "Bare ground", "#b8b2a7"),
)
"""Cover type, class name, colour; the class id is 1 + the position."""

WORLD_COVERS = tuple(cover for cover, _, _ in CLASS_TABLE)
"""Names in :data:`.covers.COVERS` of the covers that grow in a world."""

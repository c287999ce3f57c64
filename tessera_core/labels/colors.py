"""A colour that fits a class's name, so that water need not be yellow until somebody mends it.

Hues follow the habits of land-cover maps (blue water, green woods, yellow crops, red towns), lightness is kept apart so that
people without full colour vision tell neighbours from each other too. Names that say nothing get the next free colour.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from tessera_core.labels.model import LabelClass, next_color

# Stems of words, in the order they are looked for, each with colours from most to least fitting.
HABITS: tuple[tuple[str, tuple[str, ...]], ...] = (
    (r"conifer|pine|spruce|needle|evergreen|plantation", ("#0b5d4f", "#117733", "#2f6f4f")),
    (r"wetland|marsh|bog|peat|swamp|mangrove|reed", ("#44aa99", "#5f9ea0", "#7fb3a6")),
    (r"water|lake|river|sea|ocean|pond|reservoir|canal|stream", ("#0072b2", "#56b4e9", "#1f4e8c")),
    (r"snow|ice|glacier", ("#d6eef8", "#b7dcec")),
    (r"shrub|scrub|heath|moor|hedge|bush|clearing", ("#999933", "#7a7a2e", "#b3a04d")),
    (r"forest|wood|tree|broadlea|deciduous|oak|beech", ("#2e8b3d", "#6aaf5a", "#1f6b2c")),
    (r"grass|meadow|pasture|hay|lawn|prairie|savanna", ("#a6d96a", "#c5e384", "#8cc152")),
    (r"rape|canola|mustard|sunflower", ("#f0e442", "#f7d117")),
    (r"maize|corn|sorghum", ("#e69f00", "#d98c00")),
    (r"wheat|barley|cereal|rye|oats|grain|winter crop", ("#ddcc77", "#c9a94b", "#eadf9e")),
    (r"beet|potato|vegetable|root crop|bean|pea|soy", ("#cc79a7", "#aa4499", "#e3a7c9")),
    (r"rice|paddy", ("#88ccee", "#6fb7d8")),
    (r"vine|orchard|olive|fruit|coffee|tea", ("#882255", "#a83f73")),
    (r"arable|crop|farm|field|agric|cultivat", ("#f2b84b", "#e69f00", "#ddcc77")),
    (r"road|rail|asphalt|parking|runway", ("#5a5a5a", "#7d7d7d")),
    (r"urban|town|city|built|building|house|settle|village|residential|roof", ("#d55e00", "#b5371f", "#e8845c")),
    (r"industr|commerc|greenhouse|solar", ("#aa4499", "#8a3a7d")),
    (r"bare|soil|sand|rock|quarry|beach|mine|desert|gravel", ("#b08d57", "#8c6d46", "#cdb48a")),
    (r"burn|fire|char", ("#3b1f1f", "#661100")),
    (r"cloud|unsure|unknown|other|shadow", ("#9e9e9e", "#bdbdbd")),
)


def color_for(name: str, classes: Iterable[LabelClass], class_id: int) -> str:
    """``"#rrggbb"`` for a new class: fitting its name where the name says something, and never one that is taken."""
    classes = list(classes)
    taken = {c.color for c in classes}
    for stems, colors in HABITS:
        if re.search(rf"\b(?:{stems})", name.casefold()):
            for color in colors:
                if color not in taken:
                    return color
    return next_color(classes, class_id)

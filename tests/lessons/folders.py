"""A small lesson as a folder, whole as it stands."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

LOGIC = """
id = "mine"
minutes = 10
names = ["water"]
legend = { water = ["Water"] }
[[steps]]
id = "ask"
question = { right = 1 }
[[steps]]
id = "click"
target = "label.map"
check = { all = [{ labels_at_least = { class = "water", n = 2 } }, { not = { classes_at_least = 3 } }] }
solution = [{ label = { of = ["water"], n = 2 } }]
[[steps]]
id = "look"
picture = "dot"
truth = "ask"
"""
TEXTS = """
title = "Mine"
summary = "A lesson on {water}."
goals = ["One."]
key_points = ["Two."]
names = { water = "Water" }
[steps.ask]
title = "A question"
text = "Think of **{water}**."
question = "Which?"
choices = ["This", "That"]
replies = ["No.", "Yes."]
[steps.click]
title = "Click"
text = "Click two places."
hint = "On the map."
[steps.look]
title = "Look"
text = "One paragraph.\\n\\nAnother."
[pictures.dot]
alt = "A dot moves."
captions = ["Here.", "There."]
words = { name = "Dot" }
"""
PICTURE: dict[str, Any] = {
    "width": 100,
    "height": 50,
    "palette": ["#0b7a75"],
    "marks": [["dot", ""], ["text", "name"]],
    "frames": [[[1, 2, 3, 1, 0], [5, 5, 10, 1, 0]], [[9, 2, 3, 1, 0], [5, 5, 10, 1, 0]]],
}


def written(folder: Path, logic: str = LOGIC, texts: str = TEXTS, picture: object = PICTURE) -> Path:
    """A folder with a lesson."""
    (folder / "pictures").mkdir(parents=True)
    (folder / "lesson.toml").write_text(logic, encoding="utf-8")
    (folder / "texts.en.toml").write_text(texts, encoding="utf-8")
    (folder / "pictures" / "dot.json").write_text(json.dumps(picture), encoding="utf-8")
    return folder

"""Pictures that move: marks whose places are given frame by frame, which the browser draws and moves between.

A file is ``{"width", "height", "palette": ["#rrggbb", ...], "marks": [[kind, word], ...], "frames": [[values, ...], ...]}``:
in each frame every mark has its values, the last of which is the number of its colour and the one before it its opacity, 0 to 1.

    dot   x, y, radius, opacity, colour          line  x1, y1, x2, y2, width, opacity, colour
    cell  x, y, width, height, opacity, colour    text  x, y, size, opacity, colour; ``word`` names it in the texts
"""

from __future__ import annotations

import math
import re
from pathlib import Path
from typing import Any

from tessera_core.errors import InputError
from tessera_core.gate import read_json

MAX_BYTES = 400_000
MAX_MARKS = 600
MAX_FRAMES = 30
VALUES = {"dot": 5, "line": 7, "cell": 6, "text": 5}
_COLOUR = re.compile(r"#[0-9a-f]{6}")
_WORD = re.compile(r"[a-z0-9-]{0,40}")


def read_picture(path: Path) -> dict[str, Any]:
    """A picture from its file, checked from end to end.

    Raises:
        InputError: the file is missing, too large, or no picture.
    """
    value = read_json(path, InputError, MAX_BYTES)
    if wrong := _wrong(value):
        raise InputError(f"The picture {path.name} {wrong}.")
    return {name: value[name] for name in ("width", "height", "palette", "marks", "frames")}


def words_of(picture: dict[str, Any]) -> list[str]:
    """Words that the texts of the picture must have."""
    return sorted({word for kind, word in picture["marks"] if kind == "text"})


def _wrong(value: Any) -> str:
    if not isinstance(value, dict) or not {"width", "height", "palette", "marks", "frames"} <= set(value):
        return "lacks one of width, height, palette, marks, frames"
    if not all(type(value[side]) is int and 10 <= value[side] <= 2000 for side in ("width", "height")):
        return "has sides that are no whole numbers from 10 to 2000"
    palette, marks, frames = value["palette"], value["marks"], value["frames"]
    if not isinstance(palette, list) or not all(isinstance(c, str) and _COLOUR.fullmatch(c) for c in palette):
        return "has a colour that is not written like #0b7a75"
    if not isinstance(marks, list) or not 1 <= len(marks) <= MAX_MARKS:
        return f"has no marks, or more than {MAX_MARKS}"
    for mark in marks:
        if not isinstance(mark, list) or len(mark) != 2 or mark[0] not in VALUES or not isinstance(mark[1], str):
            return "has a mark that is not [kind, word]"
        if not _WORD.fullmatch(mark[1]) or (mark[0] == "text") != bool(mark[1]):
            return "has a text without a word, or a word where there is no text"
    if not isinstance(frames, list) or not 1 <= len(frames) <= MAX_FRAMES:
        return f"has no frames, or more than {MAX_FRAMES}"
    for frame in frames:
        if not isinstance(frame, list) or len(frame) != len(marks):
            return "has a frame with more or fewer values than there are marks"
        for (kind, _), values in zip(marks, frame, strict=True):
            if not isinstance(values, list) or len(values) != VALUES[kind]:
                return f"has a {kind} without its {VALUES[kind]} values"
            if not all(type(v) in (int, float) and math.isfinite(v) and abs(v) < 10_000 for v in values):
                return "has a value that is no number on the picture"
            if type(values[-1]) is not int or not 0 <= values[-1] < len(palette):
                return "has a colour that is not in its palette"
    return ""

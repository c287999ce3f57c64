"""What goes down to the label map: ``uint32 header length (big-endian) | JSON header | picture bytes``.

Labels travel as compact lists in display coordinates; each label's JSON is made once. One palette PNG carries the class map
and, only when the page shows confidence, the confidence as well: index = 1 + class position * levels + level, so that the
browser recolours, hides, thresholds and shows confidence by rewriting the palette and nothing is computed twice. Pure.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tessera_core.labels.model import XY, Label, LabelClass
from tessera_core.render.display import DisplayGrid
from tessera_core.render.palette import encode_indexed, rgb

MAX_LEVELS = 21
# How the browser draws a label: a dot, an area (a rectangle stays one when a corner is dragged), a stroke, or one that takes away.
KINDS = {"point": "p", "polygon": "a", "rectangle": "r", "brush": "b", "erase": "e"}


def pack(header: Mapping[str, Any], picture: bytes = b"") -> bytes:
    """Header and picture as one message."""
    text = json.dumps(header, separators=(",", ":"), allow_nan=False).encode()
    return pack_json(text, picture)


def pack_json(text: bytes, picture: bytes = b"") -> bytes:
    """The same for a header that is JSON already."""
    return struct.pack(">I", len(text)) + text + picture


def unpack(message: bytes) -> tuple[dict[str, Any], bytes]:
    """The inverse of :func:`pack` (for tests; the browser has its own)."""
    (length,) = struct.unpack_from(">I", message)
    return json.loads(message[4 : 4 + length]), message[4 + length :]


def confidence_levels(n_classes: int) -> int:
    """Into how many steps confidence is cut so that classes x levels fit a palette; 1 = confidence cannot be shown."""
    return max(1, min(MAX_LEVELS, 255 // max(1, n_classes)))


def overlay(
    classes: NDArray[np.uint8],
    confidence: NDArray[np.uint8] | None,
    label_classes: Sequence[LabelClass],
    display: DisplayGrid | None,
) -> tuple[bytes, int]:
    """The class map as the browser wants it.

    Args:
        classes: uint8 (H, W) class ids, 0 = no data.
        confidence: uint8 (H, W) percent, or None when the page does not show it.
        label_classes: the project's classes; ids that are not among them are shown as no data.
        display: the grid to show it on; None: as it is.

    Returns:
        PNG bytes and the number of confidence levels in it (1 = none).
    """
    levels = 1 if confidence is None else confidence_levels(len(label_classes))
    first = np.zeros(256, np.uint8)
    palette = np.zeros((1 + len(label_classes) * levels, 4), np.uint8)
    for position, label_class in enumerate(label_classes):
        start = 1 + position * levels
        first[label_class.id] = start
        palette[start : start + levels] = (*rgb(label_class.color), 255)
    # Before the warp, which shows more pixels than there are; class 0 stays 0, which also lies off the scene.
    index = np.frombuffer(classes.tobytes().translate(first.tobytes()), np.uint8).reshape(classes.shape)
    if display is not None:
        index = display.warp(index)
        confidence = None if confidence is None else display.warp(confidence)
    if confidence is not None and levels > 1:
        step = np.minimum(np.arange(256) * levels // 101, levels - 1).astype(np.uint8)
        index = index + np.where(index > 0, step[confidence], np.uint8(0))
    return encode_indexed(index, palette), levels


class LabelText:
    """The JSON of labels in display coordinates, each label converted once.

    One label is ``[id, class id, kind letter, radius in pixels, [x, y, x, y, ...], ...holes]``.
    """

    def __init__(self, display: DisplayGrid) -> None:
        self.display = display
        transform = display.grid.transform
        self.pixel = abs(transform.determinant) ** 0.5
        self._known: dict[str, tuple[Label, str]] = {}

    def __call__(self, labels: Sequence[Label]) -> str:
        """A JSON list of ``labels`` in the given order."""
        known = self._known
        parts = []
        for label in labels:
            entry = known.get(label.id)
            if entry is None or entry[0] is not label:
                entry = known[label.id] = (label, self._one(label))
            parts.append(entry[1])
        if len(known) > 2 * len(labels) + 1000:
            kept = {label.id for label in labels}
            self._known = {id_: entry for id_, entry in known.items() if id_ in kept}
        return f"[{','.join(parts)}]"

    def _one(self, label: Label) -> str:
        rings = [np.asarray(shown(ring, self.display)).ravel().tolist() for ring in label.rings]
        return json.dumps(
            [label.id, label.class_id, KINDS[label.kind], round(label.radius / self.pixel, 2), *rings],
            separators=(",", ":"),
        )


def shown(ring: XY, display: DisplayGrid) -> list[tuple[float, float]]:
    """Display coordinates of a ring as the browser gets them: rounded to decimetres, or to a thousandth of a pixel."""
    digits = 1 if display.frame == "mercator" and display.pixel_size >= 1 else 3
    x, y = (np.nan_to_num(v).tolist() for v in display.from_grid([p[0] for p in ring], [p[1] for p in ring]))
    return [(round(u, digits), round(v, digits)) for u, v in zip(x, y, strict=True)]

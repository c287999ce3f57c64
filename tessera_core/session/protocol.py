"""The label map's operation log: what the browser did, applied once, in order, whatever the network does.

The browser numbers its operations 1, 2, 3, ... within an *epoch* (a random id it draws when it is loaded) and repeats every
unacknowledged one with each message, at most one message with any in flight. This side applies operations above its *ack* and
answers with the new ack; duplicates, reordering and lost messages therefore change nothing. A *poison* operation (damaged or
impossible) is acknowledged and reported as a note, because refusing it would make the browser send it for ever. Messages
are untrusted. Pure: knows the label log and the display grid, not Streamlit.

A class that was just added has no id in the browser yet, so operations may name it by minus the number of the operation
that adds it.

Coordinates are those of the display grid's frame (EPSG:3857 metres, or x = column, y = -row); radii are scene pixels.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tessera_core.errors import LabelError, TesseraError
from tessera_core.labels.colors import color_for
from tessera_core.labels.log import LabelLog
from tessera_core.labels.model import SUGGESTION, Label, near_any
from tessera_core.render.display import DisplayGrid
from tessera_core.session.payload import shown
from tessera_core.types import BBox

log = logging.getLogger(__name__)

MAX_OPS = 5_000
MAX_POINTS = 20_000
MAX_RADIUS = 500.0
MAX_ID = 2**53
MAX_NOTES = 5
MAX_SCREEN = 20_000
MAX_CREATED = 50
# Points (N, 2) in display coordinates, and the same as pairs in the CRS of the labels.
Points = NDArray[np.float64]
Places = list[tuple[float, float]]
GEOMETRIES = {"point": 1, "brush": 1, "erase": 1, "polygon": 3, "rectangle": 4}


@dataclass(frozen=True)
class Sight:
    """What part of the map a screen shows.

    Attributes:
        bounds: ``(west, south, east, north)`` in the frame of the display.
        size: ``(height, width)`` of it on the screen, in pixels.
    """

    bounds: BBox
    size: tuple[int, int]


@dataclass(frozen=True)
class ProtocolState:
    """What this side remembers of one browser page.

    Attributes:
        epoch: the page's random id; empty before its first message.
        ack: highest operation applied or refused in this epoch.
        seen: number of the last message received; opens the browser's gate for the next one.
        confidence: whether the page shows confidence, so that it has to be sent.
        selected: id of the label that is chosen on the page, so that its particulars have to be sent; may be empty.
        view: what is in sight; None while the page has not said it.
        created: ``(operation id, class id)`` of the last classes added.
        notes: ``(operation id, sentence)`` of what was refused in the last messages, oldest first.
    """

    epoch: str = ""
    ack: int = 0
    seen: int = 0
    confidence: bool = False
    selected: str = ""
    view: Sight | None = None
    created: tuple[tuple[int, int], ...] = ()
    notes: tuple[tuple[int, str], ...] = ()


def apply_message(
    labels: LabelLog,
    display: DisplayGrid,
    message: object,
    state: ProtocolState,
    suggested: Sequence[BBox] = (),
) -> ProtocolState:
    """Apply one message of the browser to the label log; never raises.

    Args:
        labels: changed in place.
        display: the grid the browser draws on.
        message: ``{"epoch": str, "n": int, "want": {"confidence": bool, "selected": str, "view": [west, south, east,
            north, width, height]}, "ops": [{"id": int, "do": str, ...}]}``.
        state: as returned for the message before.
        suggested: boxes in the CRS of the labels around places that were suggested; a label there notes that.

    Returns:
        The state to answer with.
    """
    if not isinstance(message, Mapping):
        return _noted(state, 0, "A message of the map could not be read and was left out.")
    epoch = message.get("epoch")
    if not isinstance(epoch, str) or not 4 <= len(epoch) <= 40 or not epoch.isalnum():
        return _noted(state, 0, "A message of the map came without a sender and was left out.")
    if epoch != state.epoch:
        state = ProtocolState(epoch)
    number = message.get("n")
    if _is_id(number):
        state = replace(state, seen=max(state.seen, int(number)))  # type: ignore[arg-type]
    want = message.get("want")
    if isinstance(want, Mapping):
        state = replace(
            state,
            confidence=want.get("confidence") is True,
            selected=label_id(want.get("selected")),
            view=_sight(want.get("view")),
        )
    operations = message.get("ops", [])
    if not isinstance(operations, list):
        return _noted(state, 0, "The map sent no list of operations; nothing was changed.")
    known = [op for op in operations if isinstance(op, Mapping) and _is_id(op.get("id"))]
    if len(known) < len(operations):
        state = _noted(state, 0, "An operation without a number was left out.")
    fresh = sorted((op for op in known if op["id"] > state.ack), key=lambda op: op["id"])[:MAX_OPS]
    if not fresh:
        return state
    try:
        # One lock and one flush to disk for the whole message.
        with labels.batch():
            state = _apply_all(labels, display, fresh, state, suggested)
    except TesseraError as error:
        state = _noted(replace(state, ack=fresh[-1]["id"]), fresh[-1]["id"], str(error))
    return state


def _apply_all(
    labels: LabelLog,
    display: DisplayGrid,
    operations: list[Mapping[str, Any]],
    state: ProtocolState,
    suggested: Sequence[BBox],
) -> ProtocolState:
    for op in operations:
        if op["id"] <= state.ack:
            continue
        state = replace(state, ack=op["id"])
        try:
            created = _apply(labels, display, op, state, suggested)
            if created is not None:
                state = replace(state, created=(*state.created, (op["id"], created))[-MAX_CREATED:])
        except TesseraError as error:
            state = _noted(state, op["id"], str(error))
        except Exception:
            # Of what kind it was, and never where somebody clicked or what they wrote.
            log.exception("Operation %r of the label map failed", str(op.get("do"))[:40])
            state = _noted(state, op["id"], "That could not be done; everything else is kept.")
    return state


def _apply(
    labels: LabelLog, display: DisplayGrid, op: Mapping[str, Any], state: ProtocolState, suggested: Sequence[BBox]
) -> int | None:
    """Do one operation; returns the id of a class that it added."""
    match op.get("do"):
        case "add":
            _add(labels, display, op, state, suggested)
        case "undo":
            labels.undo()
        case "redo":
            labels.redo()
        case "clear":
            labels.clear()
        case "edit_label":
            _edit(labels, display, op, state)
        case "remove_label":
            labels.remove_label(_text(op, "label"))
        case "add_class":
            name = _text(op, "name")
            return labels.add_class(name, _text(op, "color") if "color" in op else _fitting_color(labels, name)).id
        case "edit_class":
            changes = {key: _text(op, key) for key in ("name", "color") if key in op}
            labels.edit_class(_class_id(op, "class", state), **changes)
        case "remove_class":
            labels.remove_class(_class_id(op, "class", state))
        case "merge_classes":
            labels.merge_classes(_class_id(op, "class", state), _class_id(op, "into", state))
        case other:
            raise LabelError(f"The map asked for {str(other)[:40]!r}, which this version does not know.")
    return None


def _fitting_color(labels: LabelLog, name: str) -> str:
    classes = labels.classes
    return color_for(name, classes, max((c.id for c in classes), default=0) + 1)


def _add(
    labels: LabelLog, display: DisplayGrid, op: Mapping[str, Any], state: ProtocolState, suggested: Sequence[BBox]
) -> None:
    new = f"{state.epoch}-{op['id']}"
    kind = op.get("tool")
    if not isinstance(kind, str) or kind not in GEOMETRIES:
        raise LabelError(f"The map drew with the tool {str(kind)[:40]!r}, which this version does not know.")
    if labels.find_label(new) is not None:
        return  # applied before this side lost its state (the server was restarted while the page stayed open)
    radius = _radius(op.get("radius", 0)) if kind in ("brush", "erase") else 0.0
    xy = _located(kind, _points(op.get("pts"), GEOMETRIES[kind]), radius, display)
    class_id = None if kind == "erase" else _class_id(op, "class", state)
    origin = SUGGESTION if kind != "erase" and near_any(xy[0], suggested) else ""
    labels.add(kind, class_id, xy, radius * _pixel_length(display), id=new, origin=origin)


def _edit(labels: LabelLog, display: DisplayGrid, op: Mapping[str, Any], state: ProtocolState) -> None:
    """Another class, note or place for a label; a place is ``"rings"``: outer ring (or stroke, or point) and holes."""
    known = _text(op, "label")
    changes: dict[str, Any] = {}
    if "class" in op:
        changes["class_id"] = _class_id(op, "class", state)
    if "note" in op:
        changes["note"] = _text(op, "note")
    if "rings" in op:
        label = labels.find_label(known)
        if label is None:
            raise LabelError("That label no longer exists; it may have been deleted in another tab.")
        outer, *holes = _rings(op["rings"], label, display)
        changes |= {"xy": outer, "holes": holes} if label.kind == "polygon" else {"xy": outer}
    labels.edit_label(known, **changes)


def _rings(value: object, label: Label, display: DisplayGrid) -> list[Places]:
    """Rings of the browser in the CRS of the labels; corners that were not moved keep their exact place."""
    if not isinstance(value, list) or not 0 < len(value) <= MAX_POINTS:
        raise LabelError("A moved shape came without usable points and stays where it was.")
    if sum(len(ring) for ring in value if isinstance(ring, list)) > MAX_POINTS:
        raise LabelError("A moved shape has too many points and stays where it was.")
    exact = {at: place for ring in label.rings for at, place in zip(shown(ring, display), ring, strict=True)}
    radius = label.radius / _pixel_length(display)
    rings: list[Places] = []
    for ring in value:
        points = _points(ring, GEOMETRIES[label.kind])
        places = _located(label.kind, points, radius, display, inner=bool(rings))
        if len(places) == len(points):
            places = [exact.get((x, y), new) for (x, y), new in zip(points.tolist(), places, strict=True)]
        rings.append(places)
    return rings


def _located(kind: str, points: Points, radius: float, display: DisplayGrid, inner: bool = False) -> Places:
    """Places in the CRS of the labels of display coordinates; of a stroke only those on the scene.

    Raises:
        LabelError: nothing of it lies on the scene.
    """
    rows, cols = display.to_pixel(*points.T)
    height, width = display.grid.shape
    # NaN (a place the CRS cannot hold) compares false and so counts as outside.
    near = (rows >= -radius) & (rows < height + radius) & (cols >= -radius) & (cols < width + radius)
    if kind in ("polygon", "rectangle"):
        spans = rows.min() < height and rows.max() >= 0 and cols.min() < width and cols.max() >= 0
        if not (np.isfinite(rows).all() and np.isfinite(cols).all() and (spans or inner)):
            raise LabelError("That shape lies outside the mapped area, so it was not kept.")
    elif not near.any():
        raise LabelError("That place lies outside the mapped area, so it was not labelled.")
    else:
        rows, cols = rows[near], cols[near]
    x, y = display.grid.pixel_to_xy(rows, cols)
    return list(zip(x.tolist(), y.tolist(), strict=True))


def _pixel_length(display: DisplayGrid) -> float:
    return math.sqrt(abs(display.grid.transform.determinant))


def _points(value: object, least: int) -> Points:
    if not isinstance(value, list) or not 0 < len(value) <= MAX_POINTS:
        raise LabelError("A drawn shape came without usable points and was left out.")
    flat = all(
        isinstance(p, list | tuple) and len(p) == 2 and all(type(v) in (int, float) and abs(v) < 1e9 for v in p)
        for p in value
    )
    if not flat:
        raise LabelError("A drawn shape had points that are no coordinates and was left out.")
    if len(value) < least:
        raise LabelError(f"A shape of this kind needs at least {least} points; it was left out.")
    return np.asarray(value, np.float64)


def _radius(value: object) -> float:
    if type(value) not in (int, float) or not 0 <= value <= MAX_RADIUS:  # type: ignore[operator]
        raise LabelError(f"The size of the brush must lie between 0 and {MAX_RADIUS:.0f} pixels.")
    return float(value)  # type: ignore[arg-type]


def _class_id(op: Mapping[str, Any], key: str, state: ProtocolState) -> int:
    value = op.get(key)
    if type(value) is int and value < 0:
        value = dict(state.created).get(-value)
    if type(value) is not int:
        raise LabelError("Choose a class first.")
    return value


def _text(op: Mapping[str, Any], key: str) -> str:
    value = op.get(key)
    if not isinstance(value, str):
        raise LabelError(f"The page sent a {key} that is no text; nothing was changed.")
    return value


def label_id(value: object) -> str:
    """What the browser says is the id of a label, or nothing where it cannot be one."""
    return value if isinstance(value, str) and len(value) <= 64 else ""


def _sight(value: object) -> Sight | None:
    """West, south, east, north, width and height on the screen as the browser says them, or None where they cannot be."""
    if not isinstance(value, list) or len(value) != 6:
        return None
    if not all(type(v) in (int, float) and abs(v) < 1e9 for v in value):
        return None
    west, south, east, north, width, height = value
    if not (west < east and south < north and 1 <= width <= MAX_SCREEN and 1 <= height <= MAX_SCREEN):
        return None
    return Sight((float(west), float(south), float(east), float(north)), (round(height), round(width)))


def _is_id(value: object) -> bool:
    return type(value) is int and 0 < value < MAX_ID


def _noted(state: ProtocolState, op_id: int, sentence: str) -> ProtocolState:
    return replace(state, notes=(*state.notes, (op_id, sentence))[-MAX_NOTES:])

"""What the events of a label log come to: the state of classes and labels, and what undo takes back, in memory and without a file.

Every event is turned into a *delta* (what was, what is) after it was checked against the state, so that undo costs what the
event cost, not a replay.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from tessera_core.errors import LabelError
from tessera_core.labels.model import MAX_CLASS_ID, Label, LabelClass, clean_name, with_class

# What reading makes of half of a letter.
_HALF = "\ufffd"


@dataclass(frozen=True, slots=True)
class Delta:
    """What an event changes: ``(order, before, after)`` of labels and ``(id, before, after)`` of classes."""

    labels: tuple[tuple[int, Label | None, Label | None], ...] = ()
    classes: tuple[tuple[int, LabelClass | None, LabelClass | None], ...] = ()

    def reversed(self) -> Delta:
        """What takes it back."""
        return Delta(
            tuple((order, after, before) for order, before, after in self.labels),
            tuple((id_, after, before) for id_, before, after in self.classes),
        )


class LabelState:
    """Classes and labels after some events.

    Attributes:
        version: grows with every event.
        classes: by id.
        highest_class: the highest class id there ever was; ids are never used twice.
    """

    def __init__(self) -> None:
        self.version = 0
        self.classes: dict[int, LabelClass] = {}
        self.highest_class = 0
        self._by_order: dict[int, Label] = {}
        self._order_of: dict[str, int] = {}
        self._made: dict[int, float] = {}
        self._next_order = 0
        self._done: list[Delta] = []
        self._undone: list[Delta] = []
        self._sorted: list[Label] | None = []
        self._counts: Counter[int] = Counter()

    # ---------------------------------------------------------------- state

    @property
    def labels(self) -> list[Label]:
        """All labels in painting order; not to be changed."""
        if self._sorted is None:
            self._sorted = [self._by_order[order] for order in sorted(self._by_order)]
        return self._sorted

    @property
    def counts(self) -> dict[int, int]:
        """Number of labels of each class id (classes without labels included)."""
        return {id_: self._counts[id_] for id_ in sorted(self.classes)}

    @property
    def can_undo(self) -> bool:
        """Whether there is something to undo."""
        return bool(self._done)

    @property
    def can_redo(self) -> bool:
        """Whether there is something to redo."""
        return bool(self._undone)

    def label_class(self, class_id: int) -> LabelClass:
        """The class of an id.

        Raises:
            LabelError: there is none.
        """
        try:
            return self.classes[class_id]
        except KeyError:
            raise LabelError(f"There is no class {class_id}; it may have been deleted in another tab.") from None

    def find_class(self, name: str) -> LabelClass | None:
        """The class of a name (case does not matter), or None."""
        key = clean_name(name).casefold()
        return next((c for _, c in sorted(self.classes.items()) if c.name.casefold() == key), None)

    def find_label(self, label_id: str) -> Label | None:
        """The label of an id, or None where it is unknown, erased from the list or undone."""
        order = self._order_of.get(label_id)
        return None if order is None else self._by_order.get(order)

    def is_known(self, label_id: str) -> bool:
        """Whether a label of that id was ever added."""
        return label_id in self._order_of

    def made_at(self, label_id: str) -> float | None:
        """When a label was first added, seconds since 1970; None where that was not said."""
        order = self._order_of.get(label_id)
        return None if order is None else self._made.get(order)

    # --------------------------------------------------------------- replay

    def delta(self, event: Mapping[str, Any], decoded: Any = None) -> Delta:
        """What an event would change; the state stays.

        Args:
            event: its kind in ``do``, and what that kind needs.
            decoded: the labels and classes in it, where somebody has them already.

        Raises:
            LabelError: there is no such event, or it does not fit the state.
        """
        make = _EVENTS.get(event.get("do", ""))
        if make is None:
            raise LabelError(f"{str(event.get('do'))[:40]!r} is not an event of this version's label log.")
        return make(self, event, decoded)

    def told_apart(self, event: Mapping[str, Any]) -> Mapping[str, Any]:
        """An event of a file, with a number on the name of a class that only half of a letter told from another.

        Reading makes U+FFFD of each half, so that two names may come out as one; the second class and its labels are kept.
        """
        kind = event.get("do")
        if kind == "edit_class":
            return self._numbered(event, event.get("id"), ())
        if kind == "add_class":
            value = event["class"]
            new = self._numbered(value, value.get("id"), ())
            return event if new is value else {**event, "class": new}
        if kind != "import" or len(event["classes"]) > MAX_CLASS_ID:
            return event
        classes: list[Mapping[str, Any]] = []
        for value in event["classes"]:
            classes.append(self._numbered(value, value.get("id"), classes))
        return {**event, "classes": classes}

    def _numbered(
        self, value: Mapping[str, Any], class_id: object, beside: Sequence[Mapping[str, Any]]
    ) -> Mapping[str, Any]:
        name = value.get("name")
        if not isinstance(name, str) or _HALF not in name:
            return value
        taken = {c.name.casefold() for c in self.classes.values() if c.id != class_id}
        taken |= {clean_name(other["name"]).casefold() for other in beside}
        free, number = clean_name(name), 1
        while free.casefold() in taken:
            number += 1
            free = f"{clean_name(name, 70)} {number}"
        return value if number == 1 else {**value, "name": free}

    def commit(self, event: Mapping[str, Any], delta: Delta, when: float | None) -> None:
        """Apply what :meth:`delta` said of an event, which happened then (seconds since 1970)."""
        if event["do"] == "undo":
            self._undone.append(self._done.pop())
        elif event["do"] == "redo":
            self._done.append(self._undone.pop())
        else:
            self._done.append(delta)
            self._undone.clear()
        for id_, _, klass in delta.classes:
            if klass is None:
                del self.classes[id_]
            else:
                self.classes[id_] = klass
                self.highest_class = max(self.highest_class, id_)
        for order, before, after in delta.labels:
            self._set_label(order, before, after)
            if before is None and when is not None:
                # Undo and redo bring back a label of an order that is known.
                self._made.setdefault(order, when)
        self.version += 1

    def _set_label(self, order: int, before: Label | None, after: Label | None) -> None:
        if before is not None and before.class_id:
            self._counts[before.class_id] -= 1
        if after is None:
            gone = self._by_order.pop(order)
            if self._sorted and self._sorted[-1] is gone:
                self._sorted.pop()
            else:
                self._sorted = None
            return
        self._counts[after.class_id] += bool(after.class_id)
        if self._sorted is not None and self._is_last(order):
            self._sorted.append(after)
        else:
            self._sorted = None
        self._by_order[order] = after
        self._order_of[after.id] = order
        self._next_order = max(self._next_order, order + 1)

    def _is_last(self, order: int) -> bool:
        return not self._sorted or self._order_of[self._sorted[-1].id] < order

    def _checked(self, label: Label) -> Label:
        if label.class_id:
            self.label_class(label.class_id)
        if self.find_label(label.id) is not None:
            raise LabelError(f"There is already a label {label.id!r}.")
        return label

    def _existing(self, label_id: object) -> tuple[int, Label]:
        label = self.find_label(label_id) if isinstance(label_id, str) else None
        if label is None:
            raise LabelError("That label no longer exists; it may have been deleted in another tab.")
        return self._order_of[label.id], label

    def _free_name(self, new: LabelClass) -> LabelClass:
        other = self.find_class(new.name)
        if other is not None and other.id != new.id:
            raise LabelError(f"There is already a class {other.name!r}; choose another name or merge the two.")
        return new

    def _of_class(self, class_id: int) -> list[tuple[int, Label]]:
        return [(order, label) for order, label in sorted(self._by_order.items()) if label.class_id == class_id]

    # --------------------------------------------------------------- events

    def _on_undo(self, _event: Mapping[str, Any], _decoded: Any) -> Delta:
        if not self._done:
            raise LabelError("There is nothing to undo.")
        return self._done[-1].reversed()

    def _on_redo(self, _event: Mapping[str, Any], _decoded: Any) -> Delta:
        if not self._undone:
            raise LabelError("There is nothing to redo.")
        return self._undone[-1]

    def _on_add(self, event: Mapping[str, Any], decoded: Label | None) -> Delta:
        label = self._checked(decoded or Label.from_json(event["label"]))
        return Delta(labels=((self._next_order, None, label),))

    def _on_edit_label(self, event: Mapping[str, Any], _decoded: Any) -> Delta:
        order, before = self._existing(event["id"])
        after = before
        if "class_id" in event:
            after = with_class(after, self.label_class(event["class_id"]).id)
        if "note" in event:
            after = replace(after, note=str(event["note"]))
        if "xy" in event:
            after = replace(after, xy=event["xy"])
        if "holes" in event:
            after = replace(after, holes=tuple(event["holes"]))
        return Delta(labels=((order, before, after),))

    def _on_remove_label(self, event: Mapping[str, Any], _decoded: Any) -> Delta:
        order, before = self._existing(event["id"])
        return Delta(labels=((order, before, None),))

    def _on_add_class(self, event: Mapping[str, Any], _decoded: Any) -> Delta:
        new = self._free_name(LabelClass.from_json(event["class"]))
        if new.id <= self.highest_class:
            raise LabelError(f"The class id {new.id} was used before; ids are never used twice.")
        return Delta(classes=((new.id, None, new),))

    def _on_edit_class(self, event: Mapping[str, Any], _decoded: Any) -> Delta:
        before = self.label_class(event["id"])
        changes = {key: event[key] for key in ("name", "color", "code") if key in event}
        return Delta(classes=((before.id, before, self._free_name(replace(before, **changes))),))

    def _on_remove_class(self, event: Mapping[str, Any], _decoded: Any) -> Delta:
        before = self.label_class(event["id"])
        labels = tuple((order, label, None) for order, label in self._of_class(before.id))
        return Delta(labels, ((before.id, before, None),))

    def _on_merge_classes(self, event: Mapping[str, Any], _decoded: Any) -> Delta:
        source, target = self.label_class(event["source"]), self.label_class(event["target"])
        if source.id == target.id:
            raise LabelError("A class cannot be merged with itself; choose another one.")
        moved = tuple((order, label, with_class(label, target.id)) for order, label in self._of_class(source.id))
        return Delta(moved, ((source.id, source, None),))

    def _on_clear(self, _event: Mapping[str, Any], _decoded: Any) -> Delta:
        return Delta(labels=tuple((order, label, None) for order, label in sorted(self._by_order.items())))

    def _on_import(self, event: Mapping[str, Any], decoded: tuple[list[LabelClass], list[Label]] | None) -> Delta:
        if decoded is None:
            classes = [LabelClass.from_json(value) for value in event["classes"]]
            labels = [Label.from_json(value) for value in event["labels"]]
        else:
            classes, labels = decoded
        known = set(self.classes) | {c.id for c in classes}
        if any(c.id <= self.highest_class for c in classes) or len({c.id for c in classes}) != len(classes):
            raise LabelError("An imported class has an id that was used before; ids are never used twice.")
        ids = {label.id for label in labels}
        if len(ids) != len(labels) or any(self.find_label(id_) for id_ in ids):
            raise LabelError("An imported label has an id that is taken.")
        if any(label.class_id not in known for label in labels if label.kind != "erase"):
            raise LabelError("An imported label has a class that does not exist.")
        first = self._next_order
        return Delta(
            tuple((first + n, None, label) for n, label in enumerate(labels)), tuple((c.id, None, c) for c in classes)
        )


_EVENTS: dict[str, Callable[[LabelState, Mapping[str, Any], Any], Delta]] = {
    "undo": LabelState._on_undo,
    "redo": LabelState._on_redo,
    "add": LabelState._on_add,
    "edit_label": LabelState._on_edit_label,
    "remove_label": LabelState._on_remove_label,
    "add_class": LabelState._on_add_class,
    "edit_class": LabelState._on_edit_class,
    "remove_class": LabelState._on_remove_class,
    "merge_classes": LabelState._on_merge_classes,
    "clear": LabelState._on_clear,
    "import": LabelState._on_import,
}

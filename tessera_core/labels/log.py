"""The label log: an append-only list of events, replayed to classes and labels; undo and redo are events too.

Each event is one JSON line. A process killed while writing leaves at most a half-written last line, which is dropped with a note
when the log is opened again. Several logs may write one file at once (two browser tabs, an app and a script): before it
appends, a log takes a lock and replays what the others wrote, so both tabs' labels are kept in the order of writing; undo takes
back the last event of any of them. Where a backup or a program that keeps folders alike put another file in its place, nothing
is appended to that by mistake, and :meth:`LabelLog.reread` goes on with it.

Every event is turned into a *delta* (what was, what is), so that undo costs what the event cost, not a replay.
"""

from __future__ import annotations

import hashlib
import json
import os
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, BinaryIO

from tessera_core._utils.atomic import write_text
from tessera_core._utils.locks import locked, reading
from tessera_core.errors import ExportError, LabelError
from tessera_core.hosting import shown_path
from tessera_core.labels.colors import color_for, next_color
from tessera_core.labels.model import (
    MAX_CLASS_ID,
    Label,
    LabelClass,
    clean_name,
    new_id,
    with_class,
)

FORMAT = "tessera-labels/1"
# What one line may hold: some hundred thousand points, a few ten thousand outlines.
MAX_LINE = 64 << 20
# Labels changed by all events together: clearing and bringing back a large log by turns would take for ever to replay.
MAX_CHANGES = 50_000_000
MAX_BLANK_LINES = 10_000
_MAX_NOTES = 20
_TAIL = 64
_CHUNK = 1 << 20


class _TooMuchError(LabelError):
    """A log that is not left out line by line, but refused."""


class LogReplacedError(LabelError):
    """Another program put another file in the place of a label log that is open."""


@dataclass(frozen=True, slots=True)
class _Delta:
    """What an event changed: ``(order, before, after)`` of labels and ``(id, before, after)`` of classes."""

    labels: tuple[tuple[int, Label | None, Label | None], ...] = ()
    classes: tuple[tuple[int, LabelClass | None, LabelClass | None], ...] = ()

    def reversed(self) -> _Delta:
        return _Delta(
            tuple((order, after, before) for order, before, after in self.labels),
            tuple((id_, after, before) for id_, before, after in self.classes),
        )


class LabelLog:
    """Classes and labels of a project with unlimited undo.

    Args:
        path: JSON lines file to read and append to, created with the first event; None keeps the log in memory.

    Attributes:
        version: grows whenever the state changes; equal versions of one log mean an equal state.
        notes: one sentence for each thing that was wrong in the file.
        replaced: one sentence for each time that :meth:`reread` found another log than was open.

    Raises:
        LabelError: the file cannot be read, or is no label log.
    """

    def __init__(self, path: str | Path | None = None) -> None:
        self.path = None if path is None else Path(path)
        self.replaced: list[str] = []
        self._mutex = threading.RLock()
        self._batch: BinaryIO | None = None
        self._reset()
        if self.path is not None:
            self.sync()

    def _reset(self) -> None:
        self.version = 0
        self.notes: list[str] = []
        self.saved_at: float | None = None
        self._classes: dict[int, LabelClass] = {}
        self._by_order: dict[int, Label] = {}
        self._order_of: dict[str, int] = {}
        self._made: dict[int, float] = {}
        self._next_order = 0
        self._highest_class = 0
        self._done: list[_Delta] = []
        self._undone: list[_Delta] = []
        self._sorted: list[Label] | None = []
        self._counts: Counter[int] = Counter()
        self._offset = 0
        self._lines = 0
        self._blank = 0
        self._changes = 0
        self._left_out = 0
        self._tail = b""
        self._stamp = (0, 0, 0)
        self._digest = hashlib.blake2b(digest_size=16)

    # ---------------------------------------------------------------- state

    @property
    def classes(self) -> list[LabelClass]:
        """All classes, by id."""
        with self._mutex:
            return [self._classes[id_] for id_ in sorted(self._classes)]

    @property
    def labels(self) -> list[Label]:
        """All labels in painting order, erase strokes among them."""
        with self._mutex:
            if self._sorted is None:
                self._sorted = [self._by_order[order] for order in sorted(self._by_order)]
            return list(self._sorted)

    @property
    def counts(self) -> dict[int, int]:
        """Number of labels of each class id (classes without labels included)."""
        with self._mutex:
            return {id_: self._counts[id_] for id_ in sorted(self._classes)}

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
            return self._classes[class_id]
        except KeyError:
            raise LabelError(f"There is no class {class_id}; it may have been deleted in another tab.") from None

    def find_class(self, name: str) -> LabelClass | None:
        """The class of a name (case does not matter), or None."""
        key = clean_name(name).casefold()
        return next((c for c in self.classes if c.name.casefold() == key), None)

    def find_label(self, label_id: str) -> Label | None:
        """The label of an id, or None where it is unknown, erased from the list or undone."""
        order = self._order_of.get(label_id)
        return None if order is None else self._by_order.get(order)

    def made_at(self, label_id: str) -> float | None:
        """When a label was first added, seconds since 1970; None where the log does not say."""
        order = self._order_of.get(label_id)
        return None if order is None else self._made.get(order)

    # --------------------------------------------------------------- events

    def add(
        self,
        kind: str,
        class_id: int | None,
        xy: Iterable[Iterable[float]],
        radius: float = 0.0,
        *,
        note: str = "",
        holes: Iterable[Iterable[Iterable[float]]] = (),
        id: str | None = None,
    ) -> Label:
        """Add one label; ``class_id`` is ignored for ``erase``.

        Raises:
            LabelError: the class does not exist, the geometry is no geometry, or the id is taken.
        """
        label = Label(id or new_id(), 0 if kind == "erase" else class_id, kind, xy, radius, note, tuple(holes))  # type: ignore[arg-type]
        self._record({"do": "add", "label": label.to_json()}, decoded=label)
        return label

    def edit_label(
        self,
        label_id: str,
        *,
        class_id: int | None = None,
        note: str | None = None,
        xy: Iterable[Iterable[float]] | None = None,
        holes: Iterable[Iterable[Iterable[float]]] | None = None,
    ) -> Label:
        """Give a label another class, note or place; it keeps its kind, its radius and its turn in the painting order.

        Raises:
            LabelError: the label or the class does not exist, or the new place is no geometry of the label's kind.
        """
        event: dict[str, Any] = {"do": "edit_label", "id": label_id}
        event |= {} if class_id is None else {"class_id": class_id}
        event |= {} if note is None else {"note": note}
        event |= {} if xy is None else {"xy": [list(place) for place in xy]}
        event |= {} if holes is None else {"holes": [[list(place) for place in ring] for ring in holes]}
        self._record(event)
        return self._by_order[self._order_of[label_id]]

    def remove_label(self, label_id: str) -> None:
        """Delete one label."""
        self._record({"do": "remove_label", "id": label_id})

    def undo(self) -> bool:
        """Take back the last event that is not taken back; False if there is none."""
        return self._step({"do": "undo"}, "can_undo")

    def redo(self) -> bool:
        """Bring back what was last taken back; False if there is none."""
        return self._step({"do": "redo"}, "can_redo")

    def add_class(self, name: str, color: str | None = None, *, code: str = "") -> LabelClass:
        """Add a class under the next free id, in a colour of its own that fits its name unless one is given.

        Raises:
            LabelError: the name is empty or taken, the colour is no colour, or all 254 ids are used up.
        """
        with self._mutex, self._ready() as file:
            class_id = self._highest_class + 1
            if class_id > MAX_CLASS_ID:
                raise LabelError(f"A project holds at most {MAX_CLASS_ID} classes over its life; start a new project.")
            new = LabelClass(class_id, name, color or color_for(name, self.classes, class_id), code)
            self._append(file, {"do": "add_class", "class": new.to_json()})
            return new

    def edit_class(
        self, class_id: int, *, name: str | None = None, color: str | None = None, code: str | None = None
    ) -> LabelClass:
        """Rename or recolour a class.

        Raises:
            LabelError: there is no such class, or the new name is empty or taken.
        """
        given = {"name": name, "color": color, "code": code}
        changes = {key: value for key, value in given.items() if value is not None}
        self._record({"do": "edit_class", "id": class_id, **changes})
        return self.label_class(class_id)

    def remove_class(self, class_id: int) -> None:
        """Delete a class together with its labels; undo brings both back."""
        self._record({"do": "remove_class", "id": class_id})

    def merge_classes(self, source: int, target: int) -> None:
        """Give all labels of ``source`` to ``target`` and delete ``source``."""
        self._record({"do": "merge_classes", "source": source, "target": target})

    def clear(self) -> None:
        """Delete all labels and keep the classes."""
        self._record({"do": "clear"})

    def import_labels(self, classes: Iterable[LabelClass], labels: Iterable[Label]) -> int:
        """Add many labels as one event that one undo takes back; returns how many.

        Classes are matched to those of the log by name (case does not matter); unknown names become new classes. Labels
        whose id is already in the log get a fresh id.

        Raises:
            LabelError: a label has a class that ``classes`` lacks, or there are more classes than ids left.
        """
        classes, labels = list(classes), list(labels)
        with self._mutex, self._ready() as file:
            ids: dict[int, int] = {}
            new: dict[str, LabelClass] = {}
            highest = self._highest_class
            for theirs in classes:
                ours = self.find_class(theirs.name) or new.get(theirs.name.casefold())
                if ours is None:
                    highest += 1
                    if highest > MAX_CLASS_ID:
                        raise LabelError(
                            f"The import has more classes than a project can hold ({MAX_CLASS_ID}); "
                            "choose another field or merge classes before importing."
                        )
                    taken = {c.color for c in (*self._classes.values(), *new.values())}
                    known = [*self._classes.values(), *new.values()]
                    color = theirs.color if theirs.color not in taken else next_color(known, highest)
                    ours = new[theirs.name.casefold()] = replace(theirs, id=highest, color=color)
                ids[theirs.id] = ours.id
            seen: set[str] = set()
            added = []
            for label in labels:
                if label.kind != "erase" and label.class_id not in ids:
                    raise LabelError(
                        f"An imported label has the class {label.class_id}, which the import does not define."
                    )
                label_id = label.id if label.id not in self._order_of and label.id not in seen else new_id()
                seen.add(label_id)
                added.append(replace(with_class(label, ids.get(label.class_id, 0)), id=label_id))
            if added or new:
                event = {
                    "do": "import",
                    "classes": [c.to_json() for c in new.values()],
                    "labels": [label.to_json() for label in added],
                }
                self._append(file, event, decoded=(list(new.values()), added))
            return len(added)

    # -------------------------------------------------------------- storage

    def sync(self) -> bool:
        """Replay what other writers appended to the file; returns whether the state changed.

        Raises:
            LogReplacedError: another file lies in its place.
            LabelError: it has disappeared, or cannot be read.
        """
        if self.path is None:
            return False
        with self._mutex:
            before = self.version
            try:
                if self._offset and _stamp(self.path.stat()) == self._stamp:
                    return False
                with reading(self.path) as file:
                    self._catch_up(file)
            except FileNotFoundError:
                if self._offset:
                    raise LabelError(
                        f"{shown_path(self.path)} has disappeared; put it back or open the project again."
                    ) from None
            except OSError as error:
                raise LabelError(
                    f"The labels in {shown_path(self.path)} cannot be read: {error.strerror or error}."
                ) from error
            return self.version != before

    def reread(self) -> bool:
        """Go on with the file as it is now, whatever became of the one that was open; returns whether that changed anything.

        Labels that the file now lacks are kept in a log beside it, and :attr:`replaced` says so.

        Raises:
            LabelError: the file cannot be read, or those labels cannot be kept; the state is what it was then.
        """
        if self.path is None:
            return False
        with self._mutex:
            try:
                return self.sync()
            except LabelError:
                fresh = LabelLog(self.path)
            sentence = (
                f"The label log was replaced by another program and was read again: it holds {len(fresh.labels)} labels, "
                f"and {len(self.labels)} were there before."
            )
            gone = set(self.labels) - set(fresh.labels)
            if gone or {c.name for c in self.classes} - {c.name for c in fresh.classes}:
                moment = time.strftime("%Y%m%d-%H%M%S")
                kept = self.path.with_name(f"{self.path.stem}.before-{moment}-{new_id()[:6]}.jsonl")
                self._save_state(kept)
                sentence += f" All that was there before is kept beside it in {kept.name}."
            version = self.version + fresh.version + 1
            others = ("path", "replaced", "version", "_mutex", "_batch")
            vars(self).update({name: value for name, value in vars(fresh).items() if name not in others})
            # Never a number that stood for another state.
            self.version = version
            self.replaced.append(sentence)
            return True

    def _save_state(self, path: Path) -> None:
        event = {
            "do": "import",
            "classes": [c.to_json() for c in self.classes],
            "labels": [label.to_json() for label in self.labels],
        }
        lines = (json.dumps(value, ensure_ascii=False, allow_nan=False) for value in ({"format": FORMAT}, event))
        try:
            write_text(path, "".join(line + "\n" for line in lines))
        except (OSError, ExportError) as error:
            raise LabelError(
                f"The label log was replaced by another program, and what was there before cannot be kept: {error}"
            ) from error

    @contextmanager
    def batch(self) -> Iterator[None]:
        """Group events: the file is locked once and flushed to disk once, at the end; each event keeps its own undo."""
        with self._mutex, self._ready() as file:
            if file is None or self._batch is not None:
                yield
                return
            self._batch = file
            try:
                yield
            finally:
                self._batch = None
                os.fsync(file.fileno())

    @contextmanager
    def _ready(self) -> Iterator[BinaryIO | None]:
        """The file, locked and caught up with; None for a log in memory."""
        if self.path is None or self._batch is not None:
            yield self._batch
            return
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            handle = os.open(self.path, os.O_RDWR | os.O_CREAT | getattr(os, "O_BINARY", 0), 0o644)
            with os.fdopen(handle, "r+b") as file, locked(file):
                self._catch_up(file)
                yield file
        except OSError as error:
            raise LabelError(
                f"The label was not saved in {shown_path(self.path)}: {error.strerror or error}. Free some space or mend the "
                "permissions."
            ) from error

    def _catch_up(self, file: BinaryIO) -> None:
        stat = os.fstat(file.fileno())
        if self._offset and _stamp(stat) == self._stamp:
            return
        if self._offset:
            self._require_the_same(file, stat)
        file.seek(self._offset)
        while line := file.readline(MAX_LINE + 1):
            whole = line.endswith(b"\n") or (len(line) <= MAX_LINE and _is_whole(line))
            if not whole and len(line) <= MAX_LINE:
                self._note(
                    f"Line {self._lines + 1} of the label log was cut off ({len(line.strip())} bytes) and is left out; the "
                    "others are kept."
                )
                break
            if not whole:
                # Not of this program, which writes no such line; passed without holding it.
                self._lines += 1
                self._pass_line(file, line)
                self._leave_out(f"it is longer than {MAX_LINE >> 20} MB")
                continue
            if line.strip():
                self._lines += 1
                self._replay(line)
            else:
                self._blank += 1
                if self._blank > MAX_BLANK_LINES:
                    raise LabelError(
                        f"{shown_path(self.path or '')} is no label log: it holds hardly anything but empty lines."
                    )
            self._advance(line)
        self._stamp = _stamp(os.fstat(file.fileno()))

    def _require_the_same(self, file: BinaryIO, stat: os.stat_result) -> None:
        """Refuse a file that does not begin with what was read: its end tells at once, all of it where one cannot know."""
        same = stat.st_size >= self._offset
        if same:
            file.seek(self._offset - len(self._tail))
            same = file.read(len(self._tail)) == self._tail
        grown_in_place = stat.st_ino == self._stamp[2] and stat.st_size > self._offset
        if same and not grown_in_place:
            file.seek(0)
            digest, left = hashlib.blake2b(digest_size=16), self._offset
            while left and (data := file.read(min(left, _CHUNK))):
                digest.update(data)
                left -= len(data)
            same = digest.digest() == self._digest.digest()
        if not same:
            raise LogReplacedError(
                f"{shown_path(self.path or '')} was replaced by another program while it was open; open the project again to go on."
            )

    def _pass_line(self, file: BinaryIO, line: bytes) -> None:
        while line:
            self._advance(line)
            if line.endswith(b"\n"):
                return
            line = file.readline(_CHUNK)

    def _advance(self, data: bytes) -> None:
        self._offset += len(data)
        self._digest.update(data)
        self._tail = (self._tail + data[-_TAIL:])[-_TAIL:]

    def _leave_out(self, reason: str) -> None:
        self._left_out += 1
        if self._left_out <= _MAX_NOTES:
            self._note(f"Line {self._lines} of the label log is left out: {reason.rstrip('.')}.")
            return
        self.notes = [note for note in self.notes if not note.endswith("further lines of the label log are left out.")]
        self._note(f"{self._left_out - _MAX_NOTES} further lines of the label log are left out.")

    def _note(self, sentence: str) -> None:
        if sentence not in self.notes:
            self.notes.append(sentence)

    def _replay(self, line: bytes) -> None:
        try:
            event = json.loads(line)
            if not isinstance(event, dict):
                raise LabelError("it is not a JSON object")
            if "format" in event:
                if event["format"] != FORMAT:
                    raise LabelError(
                        f"it is of the format {str(event['format'])[:40]!r}, this version reads {FORMAT!r}"
                    )
                return
            moment = event.get("t")
            when = float(moment) if isinstance(moment, int | float) else None
            delta = self._delta(event)
            self._changes += len(delta.labels)
            if self._changes > MAX_CHANGES:
                raise _TooMuchError(
                    f"{shown_path(self.path or '')} changes labels more than {MAX_CHANGES:,} times; no hand did that."
                )
            self._commit(event, delta, when)
            self.saved_at = self.saved_at if when is None else when
        except _TooMuchError:
            raise
        except (ValueError, RecursionError, TypeError, KeyError, AttributeError, OverflowError, LabelError) as error:
            reason = str(error) if isinstance(error, LabelError) else "it is not readable"
            self._leave_out(reason)

    def _record(self, event: dict[str, Any], decoded: Any = None) -> None:
        with self._mutex, self._ready() as file:
            self._append(file, event, decoded)

    def _step(self, event: dict[str, Any], possible: str) -> bool:
        with self._mutex, self._ready() as file:
            if not getattr(self, possible):
                return False
            self._append(file, event)
            return True

    def _append(self, file: BinaryIO | None, event: dict[str, Any], decoded: Any = None) -> None:
        """Check the event against the state, write it to disk, then apply it: what is shown is always saved."""
        delta = self._delta(event, decoded)
        now = round(time.time(), 3)
        if file is not None:
            text = json.dumps({"t": now, **event}, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
            data = (text + "\n").encode()
            if len(data) > MAX_LINE:
                raise LabelError(
                    f"These labels are too many for one step ({len(data) >> 20} MB of {MAX_LINE >> 20}); bring them in in parts."
                )
            if self._offset == 0:
                data = json.dumps({"format": FORMAT}).encode() + b"\n" + data
            elif not self._tail.endswith(b"\n"):
                data = b"\n" + data
            try:
                # Cuts off what a killed writer left half-written.
                file.truncate(self._offset)
                file.seek(self._offset)
                file.write(data)
                file.flush()
                if self._batch is None:
                    os.fsync(file.fileno())
            except OSError:
                self._restore(file)
                raise
            self._lines += data.count(b"\n{") + data.startswith(b"{")
            self._advance(data)
            self._stamp = _stamp(os.fstat(file.fileno()))
        self._commit(event, delta, now)
        self.saved_at = now

    def _restore(self, file: BinaryIO) -> None:
        # A full disk may leave part of a line; the next writer cuts it off if this cannot.
        try:
            os.ftruncate(file.fileno(), self._offset)
        except OSError as error:
            self._note(f"A half-written line could not be removed: {error.strerror or error}.")

    # --------------------------------------------------------------- replay

    def _commit(self, event: Mapping[str, Any], delta: _Delta, when: float | None) -> None:
        if event["do"] == "undo":
            self._undone.append(self._done.pop())
        elif event["do"] == "redo":
            self._done.append(self._undone.pop())
        else:
            self._done.append(delta)
            self._undone.clear()
        for id_, _, klass in delta.classes:
            if klass is None:
                del self._classes[id_]
            else:
                self._classes[id_] = klass
                self._highest_class = max(self._highest_class, id_)
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

    def _delta(self, event: Mapping[str, Any], decoded: Any = None) -> _Delta:
        make = _EVENTS.get(event.get("do", ""))
        if make is None:
            raise LabelError(f"{str(event.get('do'))[:40]!r} is not an event of this version's label log.")
        return make(self, event, decoded)

    def _checked(self, label: Label) -> Label:
        if label.class_id:
            self.label_class(label.class_id)
        if label.id in self._order_of and self._order_of[label.id] in self._by_order:
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

    def _on_undo(self, _event: Mapping[str, Any], _decoded: Any) -> _Delta:
        if not self._done:
            raise LabelError("There is nothing to undo.")
        return self._done[-1].reversed()

    def _on_redo(self, _event: Mapping[str, Any], _decoded: Any) -> _Delta:
        if not self._undone:
            raise LabelError("There is nothing to redo.")
        return self._undone[-1]

    def _on_add(self, event: Mapping[str, Any], decoded: Label | None) -> _Delta:
        label = self._checked(decoded or Label.from_json(event["label"]))
        return _Delta(labels=((self._next_order, None, label),))

    def _on_edit_label(self, event: Mapping[str, Any], _decoded: Any) -> _Delta:
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
        return _Delta(labels=((order, before, after),))

    def _on_remove_label(self, event: Mapping[str, Any], _decoded: Any) -> _Delta:
        order, before = self._existing(event["id"])
        return _Delta(labels=((order, before, None),))

    def _on_add_class(self, event: Mapping[str, Any], _decoded: Any) -> _Delta:
        new = self._free_name(LabelClass.from_json(event["class"]))
        if new.id <= self._highest_class:
            raise LabelError(f"The class id {new.id} was used before; ids are never used twice.")
        return _Delta(classes=((new.id, None, new),))

    def _on_edit_class(self, event: Mapping[str, Any], _decoded: Any) -> _Delta:
        before = self.label_class(event["id"])
        changes = {key: event[key] for key in ("name", "color", "code") if key in event}
        return _Delta(classes=((before.id, before, self._free_name(replace(before, **changes))),))

    def _of_class(self, class_id: int) -> list[tuple[int, Label]]:
        return [(order, label) for order, label in sorted(self._by_order.items()) if label.class_id == class_id]

    def _on_remove_class(self, event: Mapping[str, Any], _decoded: Any) -> _Delta:
        before = self.label_class(event["id"])
        labels = tuple((order, label, None) for order, label in self._of_class(before.id))
        return _Delta(labels, ((before.id, before, None),))

    def _on_merge_classes(self, event: Mapping[str, Any], _decoded: Any) -> _Delta:
        source, target = self.label_class(event["source"]), self.label_class(event["target"])
        if source.id == target.id:
            raise LabelError("A class cannot be merged with itself; choose another one.")
        moved = tuple((order, label, with_class(label, target.id)) for order, label in self._of_class(source.id))
        return _Delta(moved, ((source.id, source, None),))

    def _on_clear(self, _event: Mapping[str, Any], _decoded: Any) -> _Delta:
        return _Delta(labels=tuple((order, label, None) for order, label in sorted(self._by_order.items())))

    def _on_import(self, event: Mapping[str, Any], decoded: tuple[list[LabelClass], list[Label]] | None) -> _Delta:
        if decoded is None:
            classes = [LabelClass.from_json(value) for value in event["classes"]]
            labels = [Label.from_json(value) for value in event["labels"]]
        else:
            classes, labels = decoded
        known = set(self._classes) | {c.id for c in classes}
        if any(c.id <= self._highest_class for c in classes) or len({c.id for c in classes}) != len(classes):
            raise LabelError("An imported class has an id that was used before; ids are never used twice.")
        ids = {label.id for label in labels}
        if len(ids) != len(labels) or any(self.find_label(id_) for id_ in ids):
            raise LabelError("An imported label has an id that is taken.")
        if any(label.class_id not in known for label in labels if label.kind != "erase"):
            raise LabelError("An imported label has a class that does not exist.")
        first = self._next_order
        return _Delta(
            tuple((first + n, None, label) for n, label in enumerate(labels)), tuple((c.id, None, c) for c in classes)
        )


def _stamp(stat: os.stat_result) -> tuple[int, int, int]:
    return (stat.st_mtime_ns, stat.st_size, stat.st_ino)


def _is_whole(line: bytes) -> bool:
    """Whether a last line without a newline is a complete event all the same (a cut one is never a complete object)."""
    try:
        return isinstance(json.loads(line), dict)
    except (ValueError, RecursionError):
        return False


_EVENTS: dict[str, Callable[[LabelLog, Mapping[str, Any], Any], _Delta]] = {
    "undo": LabelLog._on_undo,
    "redo": LabelLog._on_redo,
    "add": LabelLog._on_add,
    "edit_label": LabelLog._on_edit_label,
    "remove_label": LabelLog._on_remove_label,
    "add_class": LabelLog._on_add_class,
    "edit_class": LabelLog._on_edit_class,
    "remove_class": LabelLog._on_remove_class,
    "merge_classes": LabelLog._on_merge_classes,
    "clear": LabelLog._on_clear,
    "import": LabelLog._on_import,
}

"""The label log: an append-only list of events, replayed to classes and labels; undo and redo are events too.

Several logs may write one file at once (two browser tabs, an app and a script): before it appends, a log replays what the
others wrote, so both tabs' labels are kept in the order of writing; undo takes back the last event of any of them. Where another
program put another file in its place, :meth:`LabelLog.reread` goes on with that. What events mean is in
:mod:`tessera_core.labels.replay`, how they lie on disk in :mod:`tessera_core.labels.log_file`.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

from tessera_core.errors import ExportError, LabelError
from tessera_core.hosting import shown_path
from tessera_core.labels.colors import color_for, next_color
from tessera_core.labels.log_file import LogFile, LogRefusedError, write_log
from tessera_core.labels.model import MAX_CLASS_ID, Label, LabelClass, new_id, with_class
from tessera_core.labels.replay import LabelState

# Labels changed by all events together: clearing and bringing back a large log by turns would take for ever to replay.
MAX_CHANGES = 50_000_000


class LabelLog:
    """Classes and labels of a project with unlimited undo.

    Args:
        path: JSON lines file to read and append to, created with the first event; None keeps the log in memory.

    Attributes:
        saved_at: when the last event happened, seconds since 1970; None where the log does not say.
        replaced: one sentence for each time that :meth:`reread` found another log than was open.

    Raises:
        LabelError: the file cannot be read, or is no label log.
    """

    def __init__(self, path: str | Path | None = None) -> None:
        self.path = None if path is None else Path(path)
        self.replaced: list[str] = []
        self.saved_at: float | None = None
        self._mutex = threading.RLock()
        self._state = LabelState()
        self._changes = 0
        self._file = None if self.path is None else LogFile(self.path)
        self.sync()

    # ---------------------------------------------------------------- state

    @property
    def version(self) -> int:
        """Grows whenever the state changes; equal versions of one log mean an equal state."""
        return self._state.version

    @property
    def notes(self) -> list[str]:
        """One sentence for each thing that was wrong in the file."""
        return [] if self._file is None else self._file.notes

    @property
    def classes(self) -> list[LabelClass]:
        """All classes, by id."""
        with self._mutex:
            return [self._state.classes[id_] for id_ in sorted(self._state.classes)]

    @property
    def labels(self) -> list[Label]:
        """All labels in painting order, erase strokes among them."""
        with self._mutex:
            return list(self._state.labels)

    @property
    def counts(self) -> dict[int, int]:
        """Number of labels of each class id (classes without labels included)."""
        with self._mutex:
            return self._state.counts

    @property
    def can_undo(self) -> bool:
        """Whether there is something to undo."""
        return self._state.can_undo

    @property
    def can_redo(self) -> bool:
        """Whether there is something to redo."""
        return self._state.can_redo

    def label_class(self, class_id: int) -> LabelClass:
        """The class of an id.

        Raises:
            LabelError: there is none.
        """
        return self._state.label_class(class_id)

    def find_class(self, name: str) -> LabelClass | None:
        """The class of a name (case does not matter), or None."""
        with self._mutex:
            return self._state.find_class(name)

    def find_label(self, label_id: str) -> Label | None:
        """The label of an id, or None where it is unknown, erased from the list or undone."""
        return self._state.find_label(label_id)

    def is_taken(self, label_id: str) -> bool:
        """Whether a label ever had this id, which no other may have then."""
        return self._state.is_known(label_id)

    def made_at(self, label_id: str) -> float | None:
        """When a label was first added, seconds since 1970; None where the log does not say."""
        return self._state.made_at(label_id)

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
        origin: str = "",
    ) -> Label:
        """Add one label; ``class_id`` is ignored for ``erase``, ``origin`` is one of :data:`~tessera_core.labels.model.ORIGINS`.

        Raises:
            LabelError: the class does not exist, the geometry is no geometry, or the id is taken.
        """
        label = Label(id or new_id(), 0 if kind == "erase" else class_id, kind, xy, radius, note, tuple(holes), origin)  # type: ignore[arg-type]
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
        edited = self.find_label(label_id)
        assert edited is not None
        return edited

    def remove_label(self, label_id: str) -> None:
        """Delete one label."""
        self._record({"do": "remove_label", "id": label_id})

    def undo(self) -> bool:
        """Take back the last event that is not taken back; False if there is none."""
        with self._writing() as write:
            return self.can_undo and write({"do": "undo"})

    def redo(self) -> bool:
        """Bring back what was last taken back; False if there is none."""
        with self._writing() as write:
            return self.can_redo and write({"do": "redo"})

    def add_class(self, name: str, color: str | None = None, *, code: str = "") -> LabelClass:
        """Add a class under the next free id, in a colour of its own that fits its name unless one is given.

        Raises:
            LabelError: the name is empty or taken, the colour is no colour, or all 254 ids are used up.
        """
        with self._writing() as write:
            class_id = self._state.highest_class + 1
            if class_id > MAX_CLASS_ID:
                raise LabelError(f"A project holds at most {MAX_CLASS_ID} classes over its life; start a new project.")
            new = LabelClass(class_id, name, color or color_for(name, self.classes, class_id), code)
            write({"do": "add_class", "class": new.to_json()})
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

    def import_labels(self, classes: Iterable[LabelClass], labels: Iterable[Label], *, origin: str = "") -> int:
        """Add many labels as one event that one undo takes back; returns how many.

        Classes are matched to those of the log by name (case does not matter); unknown names become new classes. Labels
        whose id is already in the log get a fresh id; those without an origin get ``origin``, one of
        :data:`~tessera_core.labels.model.ORIGINS`.

        Raises:
            LabelError: a label has a class that ``classes`` lacks, or there are more classes than ids left.
        """
        classes, labels = list(classes), list(labels)
        with self._writing() as write:
            ids: dict[int, int] = {}
            new: dict[str, LabelClass] = {}
            highest = self._state.highest_class
            for theirs in classes:
                ours = self.find_class(theirs.name) or new.get(theirs.name.casefold())
                if ours is None:
                    highest += 1
                    if highest > MAX_CLASS_ID:
                        raise LabelError(
                            f"The import has more classes than a project can hold ({MAX_CLASS_ID}); "
                            "choose another field or merge classes before importing."
                        )
                    taken = {c.color for c in (*self._state.classes.values(), *new.values())}
                    known = [*self._state.classes.values(), *new.values()]
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
                label_id = label.id if not self._state.is_known(label.id) and label.id not in seen else new_id()
                seen.add(label_id)
                mine = with_class(label, ids.get(label.class_id, 0))
                added.append(replace(mine, id=label_id, origin=label.origin or origin))
            if added or new:
                write(_import_event(new.values(), added), (list(new.values()), added))
            return len(added)

    # -------------------------------------------------------------- storage

    @classmethod
    def begin(cls, path: str | Path, classes: Iterable[LabelClass]) -> LabelLog:
        """A new log at ``path``, without labels and history, whose classes keep their ids; what lies there is replaced.

        Raises:
            ExportError: it cannot be written.
        """
        write_log(Path(path), _import_event(classes, ()))
        return cls(path)

    def sync(self) -> bool:
        """Replay what other writers appended to the file; returns whether the state changed.

        Raises:
            LogReplacedError: another file lies in its place.
            LabelError: it has disappeared, or cannot be read.
        """
        if self._file is None:
            return False
        with self._mutex:
            before = self.version
            self._file.read(self._replay)
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
            # Never a number that stood for another state.
            fresh._state.version += self.version + 1
            self._state, self._file = fresh._state, fresh._file
            self._changes, self.saved_at = fresh._changes, fresh.saved_at
            self.replaced.append(sentence)
            return True

    def _save_state(self, path: Path) -> None:
        try:
            write_log(path, _import_event(self.classes, self.labels))
        except (OSError, ExportError) as error:
            raise LabelError(
                f"The label log was replaced by another program, and what was there before cannot be kept: {error}"
            ) from error

    @contextmanager
    def batch(self) -> Iterator[None]:
        """Group events: the file is locked once and flushed to disk once, at the end; each event keeps its own undo."""
        with self._mutex, nullcontext() if self._file is None else self._file.batch(self._replay):
            yield

    @contextmanager
    def _writing(self) -> Iterator[Callable[..., bool]]:
        """What takes an event (and what it decodes to), writes it to disk and applies it, after what others wrote."""
        with self._mutex, nullcontext() if self._file is None else self._file.writing(self._replay) as file:

            def write(event: Mapping[str, Any], decoded: Any = None) -> bool:
                # Checked against the state, then on disk, then applied: what is shown is always saved.
                delta = self._state.delta(event, decoded)
                now = round(time.time(), 3)
                if self._file is not None and file is not None:
                    self._file.append(file, {"t": now, **event})
                self._state.commit(event, delta, now)
                self.saved_at = now
                return True

            yield write

    def _record(self, event: Mapping[str, Any], decoded: Any = None) -> None:
        with self._writing() as write:
            write(event, decoded)

    def _replay(self, event: Mapping[str, Any]) -> None:
        moment = event.get("t")
        when = float(moment) if isinstance(moment, int | float) else None
        event = self._state.told_apart(event)
        delta = self._state.delta(event)
        self._changes += len(delta.labels)
        if self._changes > MAX_CHANGES:
            raise LogRefusedError(
                f"{shown_path(self.path or '')} changes labels more than {MAX_CHANGES:,} times; no hand did that."
            )
        self._state.commit(event, delta, when)
        self.saved_at = self.saved_at if when is None else when


def _import_event(classes: Iterable[LabelClass], labels: Iterable[Label]) -> dict[str, Any]:
    return {
        "do": "import",
        "classes": [c.to_json() for c in classes],
        "labels": [label.to_json() for label in labels],
    }

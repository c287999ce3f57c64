"""The file of a label log: JSON lines that several programs append to, read on from where each of them was.

A process killed while writing leaves at most a half-written last line, which is left out with a note and cut off by the next
writer. Whoever appends holds a lock and has read what the others wrote. Where a backup or a program that keeps folders alike
put another file in its place, that is noticed by a digest of what was read, and nothing is appended by mistake.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

from tessera_core._utils.atomic import write_text
from tessera_core._utils.locks import locked, reading
from tessera_core.errors import LabelError
from tessera_core.gate import parse_json
from tessera_core.hosting import shown_path

FORMAT = "tessera-labels/1"
# What one line may hold: some hundred thousand points, a few ten thousand outlines.
MAX_LINE = 64 << 20
MAX_BLANK_LINES = 10_000
_MAX_NOTES = 20
_TAIL = 64
_CHUNK = 1 << 20
type Replay = Callable[[Mapping[str, Any]], None]


class LogReplacedError(LabelError):
    """Another program put another file in the place of a label log that is open."""


class LogRefusedError(LabelError):
    """A log that is not left out line by line, but refused."""


class LogFile:
    """A place in a file of events: what comes before it was read, what comes after is news.

    Args:
        path: of the file, which need not exist.

    Attributes:
        notes: one sentence for each thing that was wrong in the file.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.notes: list[str] = []
        self._batch: BinaryIO | None = None
        self._offset = 0
        self._lines = 0
        self._blank = 0
        self._left_out = 0
        self._tail = b""
        self._stamp = (0, 0, 0)
        self._digest = hashlib.blake2b(digest_size=16)

    # -------------------------------------------------------------- reading

    def read(self, replay: Replay) -> None:
        """Replay what was appended since; nothing where the file does not exist yet.

        Args:
            replay: takes each event; what it cannot use it refuses with a :class:`LabelError`, and the line is left out.

        Raises:
            LogReplacedError: another file lies in its place.
            LabelError: it has disappeared, or cannot be read.
        """
        try:
            if self._offset and _stamp(self.path.stat()) == self._stamp:
                return
            with reading(self.path) as file:
                self._catch_up(file, replay)
        except FileNotFoundError:
            if self._offset:
                raise LabelError(
                    f"{shown_path(self.path)} has disappeared; put it back or open the project again."
                ) from None
        except OSError as error:
            raise LabelError(
                f"The labels in {shown_path(self.path)} cannot be read: {error.strerror or error}."
            ) from error

    def _catch_up(self, file: BinaryIO, replay: Replay) -> None:
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
                self._take(line, replay)
            else:
                self._blank += 1
                if self._blank > MAX_BLANK_LINES:
                    raise LabelError(
                        f"{shown_path(self.path)} is no label log: it holds hardly anything but empty lines."
                    )
            self._advance(line)
        self._stamp = _stamp(os.fstat(file.fileno()))

    def _take(self, line: bytes, replay: Replay) -> None:
        try:
            event = parse_json(line)
            if not isinstance(event, dict):
                raise LabelError("it is not a JSON object")
            if "format" not in event:
                replay(event)
            elif event["format"] != FORMAT:
                raise LabelError(f"it is of the format {str(event['format'])[:40]!r}, this version reads {FORMAT!r}")
        except LogRefusedError:
            raise
        except (ValueError, RecursionError, TypeError, KeyError, AttributeError, OverflowError, LabelError) as error:
            self._leave_out(str(error) if isinstance(error, LabelError) else "it is not readable")

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
                f"{shown_path(self.path)} was replaced by another program while it was open; open the project again to go on."
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

    # -------------------------------------------------------------- writing

    @contextmanager
    def writing(self, replay: Replay) -> Iterator[BinaryIO]:
        """The file, made if need be, locked and caught up with; within :meth:`batch` the one that is held already.

        Raises:
            LogReplacedError: another file lies in its place.
            LabelError: it cannot be written; what is raised within as an OSError becomes one too.
        """
        if self._batch is not None:
            yield self._batch
            return
        try:
            # Neither a folder nor a log that was there comes back empty: a project that was deleted meanwhile stays whole where it
            # is kept, and what is labelled in another tab is refused instead of saved beside it.
            new = 0 if self._offset else os.O_CREAT
            handle = os.open(self.path, os.O_RDWR | new | getattr(os, "O_BINARY", 0), 0o644)
            with os.fdopen(handle, "r+b") as file, locked(file):
                self._catch_up(file, replay)
                yield file
        except FileNotFoundError as error:
            raise LabelError(
                f"The label was not saved: {shown_path(self.path)} has disappeared; was the project deleted or moved? Bring it "
                "back, or open another one."
            ) from error
        except OSError as error:
            raise LabelError(
                f"The label was not saved in {shown_path(self.path)}: {error.strerror or error}. Free some space or mend the "
                "permissions."
            ) from error

    @contextmanager
    def batch(self, replay: Replay) -> Iterator[None]:
        """Hold the file and its lock over several events, which are flushed to disk once, at the end."""
        if self._batch is not None:
            yield
            return
        with self.writing(replay) as file:
            self._batch = file
            try:
                yield
            finally:
                self._batch = None
                os.fsync(file.fileno())

    def append(self, file: BinaryIO, event: Mapping[str, Any]) -> None:
        """Write one event to the file that :meth:`writing` gave, and to disk.

        Raises:
            LabelError: it is too long for a line.
            OSError: it cannot be written; the file is as it was.
        """
        data = (json.dumps(event, ensure_ascii=False, separators=(",", ":"), allow_nan=False) + "\n").encode()
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

    def _restore(self, file: BinaryIO) -> None:
        # A full disk may leave part of a line; the next writer cuts it off if this cannot.
        try:
            os.ftruncate(file.fileno(), self._offset)
        except OSError as error:
            self._note(f"A half-written line could not be removed: {error.strerror or error}.")


def write_log(path: Path, *events: Mapping[str, Any]) -> None:
    """Write a whole log of some events.

    Raises:
        OSError, ExportError: it cannot be written.
    """
    lines = (json.dumps(value, ensure_ascii=False, allow_nan=False) for value in ({"format": FORMAT}, *events))
    write_text(path, "".join(line + "\n" for line in lines))


def _stamp(stat: os.stat_result) -> tuple[int, int, int]:
    return (stat.st_mtime_ns, stat.st_size, stat.st_ino)


def _is_whole(line: bytes) -> bool:
    """Whether a last line without a newline is a complete event all the same (a cut one is never a complete object)."""
    try:
        return isinstance(json.loads(line), dict)
    except (ValueError, RecursionError):
        return False

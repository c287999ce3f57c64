"""Work on object stores by processes that have mirrors of their own: paths travel as places in whatever cache a process has.

What a command reads and writes of a store lies in its cache (:mod:`tessera_core.sources.remote.objects`). A worker with another
cache fetches for itself what its part of the work touches, and sends what it made; whoever began the command takes that in.
"""

from __future__ import annotations

import dataclasses
import io
import logging
import pickle
import secrets
from collections.abc import Callable
from concurrent.futures import Executor, Future
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any

from tessera_core.errors import AcquisitionError, ExportError, InputError, TesseraError
from tessera_core.sources.remote import objects
from tessera_core.sources.remote.addresses import Address, mirrors_home
from tessera_core.types import Progress

_log = logging.getLogger(__name__)
# By which a cache is known: two processes that find the same have the same folders.
_TOKEN = ".cache-of"
_ERRORS: tuple[type[TesseraError], ...] = (InputError, AcquisitionError, ExportError)


@dataclass(frozen=True)
class Mirrors:
    """What a command has mirrored.

    Attributes:
        read: addresses, and whether large arrays came as outlines.
        written: addresses of folders that files are added to, and the hidden folders in them that go to the store as well.
        run: a word by which workers know what they have fetched of the web for this command.
    """

    read: tuple[tuple[Address, bool], ...] = ()
    written: tuple[tuple[Address, tuple[str, ...]], ...] = ()
    run: str = field(default_factory=lambda: secrets.token_hex(8))

    def executor(self, inner: Callable[[int], Executor]) -> Callable[[int], Executor]:
        """An executor whose workers may have caches of their own; what is there is sent before, and theirs taken in at the end.

        Args:
            inner: makes the executor that runs them.
        """
        return inner if not (self.read or self.written) else lambda workers: _Away(inner(workers), self)

    def send(self, progress: Progress | None = None) -> None:
        """Send what lies in the folders that are written to: all but what is hidden, and small notes last.

        Raises:
            InputError, ExportError: see :func:`tessera_core.sources.remote.objects.send`.
        """
        for address, meets in self.written:
            folder = address.folder
            files = (path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())
            objects.send(
                folder, address, [name for name in files if not objects.is_hidden(name, meets)], progress=progress
            )

    def send_done(self, progress: Progress | None = None) -> None:
        """Of work that failed, send what it had done: other shares and later runs on other machines know it by that."""
        try:
            self.send(progress)
        except TesseraError:
            # Why the work failed is what a person has to know.
            _log.info("What was done could not be sent:", exc_info=True)

    def came(self) -> bool:
        """Take in what others have brought into these folders, meanwhile; whether there was anything.

        Raises:
            InputError, AcquisitionError: see :func:`tessera_core.sources.remote.objects.fetch`.
        """
        return any([objects.fetch_new(address, meets) for address, meets in self.written])

    def fetch(self) -> None:
        """Mirror all of it into this process's cache.

        Raises:
            InputError, AcquisitionError: see :func:`tessera_core.sources.remote.objects.fetch`.
        """
        for address, outlines in self.read:
            objects.fetch(address, outlines=outlines, run=self.run)
        for address, meets in self.written:
            objects.fetch(address, may_be_empty=True, meets=meets)


class _Away(Executor):
    def __init__(self, inner: Executor, mirrors: Mirrors) -> None:
        self._inner, self._mirrors = inner, mirrors
        # Workers may look for what was made here (a trained head).
        mirrors.send()

    def submit[**P, R](self, fn: Callable[P, R], /, *args: P.args, **kwargs: P.kwargs) -> Future[R]:
        answer: Future[R] = Future()
        sent = self._inner.submit(_there, _packed((fn, args, kwargs)), self._mirrors, _token())
        sent.add_done_callback(lambda done: _pass_on(done, answer))
        return answer

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        self._inner.shutdown(wait, cancel_futures=cancel_futures)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool | None:
        try:
            return self._inner.__exit__(kind, error, trace)
        finally:
            # Stopped or refused, there is a better error to be told than that of a store.
            with suppress(*(_ERRORS if error is not None else ())):
                self._mirrors.came()


def _pass_on[R](done: Future[tuple[bytes, str]], answer: Future[R]) -> None:
    if not answer.set_running_or_notify_cancel():
        return
    try:
        data, root = done.result()
        found = _retold(pickle.loads(data), root, str(mirrors_home()))
    except BaseException as error:  # noqa: BLE001 - whatever it is, it is the task's
        answer.set_exception(error)
        return
    if isinstance(found, _Refused):
        answer.set_exception(_ERRORS[found.kind](found.message))
    else:
        answer.set_result(found)


@dataclass(frozen=True)
class _Refused:
    """An error of a store on its way from a worker."""

    message: str
    kind: int


def _there(task: bytes, mirrors: Mirrors, token: str) -> tuple[bytes, str]:
    """On the worker: do a task, between fetching and sending where this cache is another; its result, and where the cache is."""
    away = _token() != token
    try:
        if away:
            mirrors.fetch()
        try:
            fn, args, kwargs = pickle.loads(task)
            found = fn(*args, **kwargs)
        except BaseException:
            if away:
                mirrors.send_done()
            raise
        if away:
            mirrors.send()
    except TesseraError as error:
        kind = next((number for number, one in enumerate(_ERRORS) if isinstance(error, one)), len(_ERRORS) - 1)
        found = _Refused(str(error), kind)
    return _packed(found), str(mirrors_home())


def _token() -> str:
    """What tells this cache from others."""
    file = mirrors_home() / _TOKEN
    file.parent.mkdir(parents=True, exist_ok=True)
    with suppress(FileExistsError), file.open("x", encoding="ascii") as made:
        made.write(secrets.token_hex(16))
    # Another process may have made it just now and not written it yet; then both are taken to be apart, which is slow and right.
    return file.read_text(encoding="ascii") or secrets.token_hex(16)


def _here(relative: str) -> Path:
    return mirrors_home() / relative


class _Pickler(pickle.Pickler):
    def reducer_override(self, obj: Any) -> Any:
        if isinstance(obj, Path) and obj.is_relative_to(mirrors_home()):
            return _here, (obj.relative_to(mirrors_home()).as_posix(),)
        return NotImplemented


def _packed(value: Any) -> bytes:
    data = io.BytesIO()
    _Pickler(data).dump(value)
    return data.getvalue()


def _retold(value: Any, theirs: str, ours: str) -> Any:
    """The same, where sentences in it name places of a worker's cache as those of ours."""
    if isinstance(value, str):
        return value.replace(theirs, ours)
    if isinstance(value, tuple) and type(value) is tuple:
        return tuple(_retold(one, theirs, ours) for one in value)
    if isinstance(value, list):
        return [_retold(one, theirs, ours) for one in value]
    if isinstance(value, dict):
        return {key: _retold(one, theirs, ours) for key, one in value.items()}
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        names = [one.name for one in dataclasses.fields(value) if one.init]
        return dataclasses.replace(value, **{name: _retold(getattr(value, name), theirs, ours) for name in names})
    return value

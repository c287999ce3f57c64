"""The engine: this program as the servant of another one, such as QGIS, that asks line by line what it wants. Pure of transport.

A request is ``{"id": 7, "do": "map", ...}``, and every request gets exactly one answer: ``{"id": 7, "result": {...}}`` or
``{"id": 7, "error": {"kind", "message"}}``, with any number of ``{"id": 7, "progress": {"done", "total", "message"}}`` before.
Quick requests are answered in their order; what may take long (:data:`LONG`) is done beside them and can be stopped with
``{"id": 8, "do": "cancel", "request": 7}``. Of two scores of one project the newer one wins. All requests:
docs/reference/engine.md.
"""

from __future__ import annotations

import json
import logging
import queue
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from tessera_core import __version__
from tessera_core.errors import Cancelled, InputError, TesseraError
from tessera_core.session.engine_project import EngineProject

log = logging.getLogger(__name__)

# Grows when an older program could misunderstand an answer; what is added to answers changes nothing.
PROTOCOL = 1
MAX_LINE = 64 << 20
# Done in a thread each; everything else in one, in the order it came.
LONG = ("open", "demo", "fetch", "picture", "score", "finish", "save", "add_file")
# Long ones at a time; more wait for their turn.
AT_ONCE = 3


class _Request:
    """A request that is being worked on."""

    def __init__(self, number: int, told: Mapping[str, Any], tell: Callable[[Mapping[str, Any]], None]) -> None:
        self.number, self.told, self._tell = number, told, tell
        self.stopped = threading.Event()

    def progress(self, done: int, total: int, message: str = "") -> None:
        self._tell({"id": self.number, "progress": {"done": int(done), "total": int(total), "message": message}})

    def cancelled(self) -> bool:
        return self.stopped.is_set()

    def text(self, name: str) -> str:
        """A text that has to be there."""
        value = self.told.get(name)
        if not isinstance(value, str) or not value.strip():
            raise InputError(f"The request {self.told.get('do')!r} needs the text {name!r}.")
        return value

    def optional_text(self, name: str) -> str | None:
        """A text, or None where there is none."""
        return None if self.told.get(name) in (None, "") else self.text(name)

    def whole(self, name: str) -> int:
        """A whole number that has to be there."""
        value = self.told.get(name)
        if type(value) is not int:
            raise InputError(f"The request {self.told.get('do')!r} needs the whole number {name!r}.")
        return value

    def items(self, name: str) -> list[Any]:
        """A list, empty where there is none."""
        value = self.told.get(name, [])
        if not isinstance(value, list):
            raise InputError(f"In the request {self.told.get('do')!r} {name!r} must be a list.")
        return value


class Engine:
    """See the module.

    Args:
        send: takes one answer, a line of JSON without its end; called from several threads, one at a time.
        work: folder for rasters; whoever made it takes it away.

    Examples:
        >>> import tempfile, pathlib
        >>> told = []
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     engine = Engine(told.append, pathlib.Path(folder))
        ...     engine.take('{"id": 1, "do": "hello"}')
        ...     engine.close()
        >>> told[0][:51]
        '{"id":1,"result":{"engine":"tessera","protocol":1,"'
    """

    def __init__(self, send: Callable[[str], None], work: Path) -> None:
        self._send, self._work = send, work
        self._sending, self._mutex = threading.Lock(), threading.Lock()
        self._projects: dict[str, EngineProject] = {}
        self._running: dict[int, _Request] = {}
        self._quick: queue.SimpleQueue[_Request | None] = queue.SimpleQueue()
        self._turns = threading.BoundedSemaphore(AT_ONCE)
        self._threads: list[threading.Thread] = []
        self._closed = False
        self._server = threading.Thread(target=self._serve, name="engine", daemon=True)
        self._server.start()

    def greet(self) -> None:
        """Say who speaks, before anything is asked."""
        self._tell(_greeting())

    # ----------------------------------------------------------------------------------------------------------- requests

    def take(self, line: str) -> bool:
        """Take one line; its answer comes by ``send``. Returns False where it says that there will be no more."""
        if not line.strip():
            return True
        try:
            told = json.loads(line) if len(line) <= MAX_LINE else None
        except (ValueError, RecursionError):
            told = None
        if not isinstance(told, dict) or type(told.get("id")) is not int:
            self._say(_failure(None, "InputError", "A line was no request: a JSON object with a whole number as id."))
            return True
        number, do = told["id"], told.get("do")
        if do == "stop":
            self._tell({"id": number, "result": {}})
            return False
        if do == "cancel":
            self._cancel(number, told.get("request"))
            return True
        request = _Request(number, told, self._tell)
        with self._mutex:
            taken = number in self._running
            if not taken:
                self._running[number] = request
        if taken:
            self._say(_failure(number, "InputError", f"The request {number} is not answered yet; use another id."))
        elif do in LONG:
            self._start(request)
        else:
            self._quick.put(request)
        return True

    def close(self) -> None:
        """Stop what is running and wait for it."""
        self._closed = True
        with self._mutex:
            for request in self._running.values():
                request.stopped.set()
        self._quick.put(None)
        for thread in (self._server, *self._threads):
            thread.join(timeout=10)

    def _cancel(self, number: int, which: Any) -> None:
        with self._mutex:
            found = self._running.get(which) if type(which) is int else None
        if found is not None:
            found.stopped.set()
        self._tell({"id": number, "result": {"stopping": found is not None}})

    def _start(self, request: _Request) -> None:
        if request.told.get("do") == "score":
            with self._mutex:
                for other in self._running.values():
                    same = other.told.get("project") == request.told.get("project")
                    if other is not request and other.told.get("do") == "score" and same:
                        other.stopped.set()

        def work() -> None:
            with self._turns:
                self._answer(request)

        thread = threading.Thread(target=work, name=f"engine {request.number}", daemon=True)
        self._threads = [known for known in self._threads if known.is_alive()] + [thread]
        thread.start()

    def _serve(self) -> None:
        while (request := self._quick.get()) is not None:
            self._answer(request)

    def _answer(self, request: _Request) -> None:
        try:
            if request.cancelled():
                raise Cancelled()
            line = _line({"id": request.number, "result": self._do(request)})
        except TesseraError as error:
            line = _failure(request.number, type(error).__name__, str(error))
        except MemoryError:
            line = _failure(
                request.number, "MemoryError", "There is not enough memory for this. Take a smaller region."
            )
        except OSError as error:
            where = f"{error.filename}: " if error.filename else ""
            line = _failure(request.number, "OSError", f"The system refused: {where}{error.strerror or error}.")
        except Exception as error:
            log.exception("The request %r failed", request.told.get("do"))
            line = _failure(
                request.number,
                type(error).__name__,
                f"Something unforeseen happened ({type(error).__name__}: {error}); please report it.",
            )
        with self._mutex:
            self._running.pop(request.number, None)
        self._say(line)

    def _tell(self, message: Mapping[str, Any]) -> None:
        self._say(_line(message))

    def _say(self, line: str) -> None:
        with self._sending:
            self._send(line)

    # -------------------------------------------------------------------------------------------------------------- tasks

    def _do(self, request: _Request) -> dict[str, Any]:
        do = request.told.get("do")
        general: dict[str, Callable[[_Request], dict[str, Any]]] = {
            "hello": lambda request: _greeting(),
            "projects": lambda request: _projects(),
            "datasets": lambda request: _datasets(),
            "heads": lambda request: _heads(),
            "open": self._open,
            "demo": self._demo,
            "fetch": self._fetch,
        }
        if isinstance(do, str) and do in general:
            return general[do](request)
        project = self._project(request)
        year = request.told.get("year")
        if year is not None and type(year) is not int:
            raise InputError("A year must be a whole number.")
        match do:
            case "labels":
                return project.labels()
            case "version":
                return project.version()
            case "edit":
                return project.edit(request.items("put"), request.items("remove"))
            case "add_class":
                return project.add_class(request.text("name"), request.optional_text("color"))
            case "edit_class":
                name, color = request.optional_text("name"), request.optional_text("color")
                return project.edit_class(request.whole("class"), name, color)
            case "remove_class":
                return project.remove_class(request.whole("class"))
            case "set_head":
                return project.set_head(request.text("head"))
            case "map":
                return project.map(year, request.told.get("confidence") is True)
            case "picture":
                return project.picture(year, request.text("kind"))
            case "score":
                return project.score(year, request.cancelled)
            case "finish":
                return project.finish(year, request.progress, request.cancelled)
            case "add_file":
                field, layer = request.optional_text("field"), request.optional_text("layer")
                return project.add_file(request.text("path"), field, layer)
            case "save":
                return project.save(Path(request.text("path")), year, request.progress, request.cancelled)
            case "close":
                with self._mutex:
                    self._projects.pop(project.project.key, None)
                return {}
            case other:
                raise InputError(f"This engine does not know the request {str(other)[:40]!r}; one of the two is older.")

    def _project(self, request: _Request) -> EngineProject:
        with self._mutex:
            known = self._projects.get(str(request.told.get("project")))
        if known is None:
            raise InputError(
                f"No project is open for the request {str(request.told.get('do'))[:40]!r}; open one first."
            )
        return known

    def _seated(self, project: Any) -> dict[str, Any]:
        with self._mutex:
            seat = self._projects.setdefault(project.key, EngineProject(project, self._work))
        return seat.describe()

    def _open(self, request: _Request) -> dict[str, Any]:
        """A project's folder or name, a ``.tessera`` file, a pack, or embeddings in any layout we read."""
        from tessera_core.project.library import adopt, identify, recent, start
        from tessera_core.project.pack import is_pack, open_pack

        text = request.text("path")
        path = Path(text).expanduser()
        if not path.exists() and (named := [entry for entry in recent() if entry.name == text]):
            path = named[0].folder
        if path.is_file() and is_pack(path):
            made = open_pack(path, progress=request.progress, cancelled=request.cancelled)
            return self._seated(made[0]) | {"others": [str(other.folder) for other in made[1:]]}
        found = identify(str(path))
        if found.project is not None:
            return self._seated(adopt(found.project))
        return self._seated(start(found, found.name)) | {"failed": [failure.to_json() for failure in found.failed]}

    def _demo(self, request: _Request) -> dict[str, Any]:
        """The demo region, made first where it is not there yet."""
        from tessera_core.project.library import make_demo, start_demo, take_demo

        return self._seated(start_demo(take_demo() or make_demo(request.progress, request.cancelled)))

    def _fetch(self, request: _Request) -> dict[str, Any]:
        """Published embeddings of a box in degrees as a project, or as further years of one."""
        from tessera_core.project.load import load
        from tessera_core.project.request import EmbeddingRequest, rounded
        from tessera_core.region import Region
        from tessera_core.sources.remote.datasets import datasets

        box, years = request.items("bbox"), request.items("years")
        if len(box) != 4 or not all(type(value) in (int, float) for value in box):
            raise InputError("A region is a box of four numbers: west, south, east, north in degrees.")
        if not years or not all(type(year) is int for year in years):
            raise InputError("Choose at least one year.")
        import shapely

        region = rounded(Region(shapely.box(*box), request.optional_text("name") or "region"))
        store = request.optional_text("store") or ""
        dataset = request.optional_text("dataset") or ("" if store else datasets()[0].name)
        wanted = EmbeddingRequest(region, tuple(sorted(set(years))), dataset, store)
        return self._seated(load(wanted, request.progress, request.cancelled))


def _greeting() -> dict[str, Any]:
    return {"engine": "tessera", "protocol": PROTOCOL, "version": __version__}


def _line(message: Mapping[str, Any]) -> str:
    return json.dumps(message, allow_nan=False, separators=(",", ":"))


def _failure(number: int | None, kind: str, message: str) -> str:
    return _line({"id": number, "error": {"kind": kind, "message": message}})


def _projects() -> dict[str, Any]:
    from tessera_core.project.library import recent

    return {
        "projects": [
            {"name": entry.name, "folder": str(entry.folder), "dataset": entry.dataset, "saved_at": entry.saved_at}
            for entry in recent()
        ]
    }


def _datasets() -> dict[str, Any]:
    from tessera_core.sources.remote.datasets import datasets

    return {
        "datasets": [
            {"name": one.name, "description": one.description, "default": one.default}
            for one in datasets()
            if one.location
        ]
    }


def _heads() -> dict[str, Any]:
    from tessera_core.heads import CHOICES, INSTANT_HEADS

    return {
        "heads": [{"name": name, "title": title, "instant": name in INSTANT_HEADS} for name, title in CHOICES.items()]
    }

"""Scripted visitors: as many browser tabs as wanted, speaking Streamlit's websocket protocol to a server, label the demo at once.

A program of its own (``python -m tessera_core.ui.visiting ADDRESS ...``), so that its work is not the server's. It says what it
did and saw, as JSON, and checks that against what is on disk; ``tessera bench visitors`` starts it and judges. Each visitor
opens the demo region, then clicks a place every few seconds and asks beside that how good the map is, as the label map in the
browser does.
"""

from __future__ import annotations

import argparse
import hashlib
import http.client
import json
import random
import struct
import sys
import threading
import time
from collections import OrderedDict
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from streamlit.components.v2.bidi_component.main import _make_trigger_id
from streamlit.proto.Alert_pb2 import Alert
from streamlit.proto.BackMsg_pb2 import BackMsg
from streamlit.proto.Element_pb2 import Element
from streamlit.proto.WidgetStates_pb2 import WidgetState
from websockets.exceptions import ConnectionClosed

from tessera_core.ui.wire import Wire, is_end

if TYPE_CHECKING:
    from tessera_core.project.project import Project

DEMO_BUTTON = "Open the demo region"
CLASSES = ("wood", "water", "field")
# As the queue of the label map: when a message is said again; and between two looks at a score that is under way.
RESEND_SECONDS, LOOK_SECONDS = 5.0, 0.45
# As the label map: how long after a click it asks how good the map is.
ASK_AFTER_SECONDS = 0.7
# Of each visitor's pictures, the first and last apart, so many are computed again.
SAMPLED = 4
_GROUNDS: dict[str, Any] = {}


@dataclass
class Channel:
    """One component of the page that is spoken to, and the numbers of its protocol."""

    identity: str = ""
    fragment: str = ""
    sent: int = 0
    header: dict[str, Any] = field(default_factory=dict)
    picture: bytes = b""


class Tab(Wire):
    """One browser tab that knows the label map and its protocol.

    Args:
        address: of the app, e.g. ``http://localhost:8501``.
        number: names the visitor.
        cookies: what the browser was given before; it is asked for where there are none.
    """

    def __init__(self, address: str, number: int, cookies: str = "") -> None:
        self.number = number
        self.epoch = f"visitor{number}x{random.getrandbits(24):x}"
        parts = urlsplit(address)
        self.cookies = cookies or _cookies(parts.hostname or "localhost", parts.port or 80)
        super().__init__(parts.netloc, self.cookies)
        self.map, self.side = Channel(), Channel()
        self._buttons: dict[str, str] = {}
        self._fields: dict[str, str] = {}
        self._texts: OrderedDict[str, None] = OrderedDict()
        self._hashes: OrderedDict[str, None] = OrderedDict()
        self.running = False

    # ------------------------------------------------------------- talking

    def look(self, page: str, seconds: float = 120) -> None:
        """Open a page and wait until it stands."""
        self._run(self.looking(page), seconds)

    def press(self, label: str, seconds: float = 120) -> None:
        """Press a button and wait until the page stands.

        Raises:
            RuntimeError: there is no such button.
        """
        if label not in self._buttons:
            raise RuntimeError(f"no button {label!r}; the page says: {' | '.join(self._texts)[-500:]}")
        self._run(self.pressing(self._buttons[label]), seconds)

    def fill_in(self, texts: dict[str, str], label: str, seconds: float = 120) -> None:
        """Fill in the first fields of these names, press the button of their form, and wait until the page stands.

        Raises:
            RuntimeError: there is no such field or button.
        """
        if missing := {*texts} - {*self._fields} or {label} - {*self._buttons}:
            raise RuntimeError(
                f"the page has no {', '.join(sorted(missing))}; it says: {' | '.join(self._texts)[-500:]}"
            )
        message = self.pressing(self._buttons[label])
        for name, text in texts.items():
            message.rerun_script.widget_states.widgets.append(WidgetState(id=self._fields[name], string_value=text))
        self._run(message, seconds)

    def tell(self, channel: Channel, want: dict[str, Any], ops: list[dict[str, Any]]) -> None:
        """Send a message of the label map, as its queue does."""
        channel.sent += 1
        value = {"epoch": self.epoch, "n": channel.sent, "want": want, "ops": ops}
        message = BackMsg()
        rerun = message.rerun_script
        rerun.page_script_hash, rerun.fragment_id = self.page, channel.fragment
        payload = json.dumps([{"event": "ops", "value": value}])
        trigger = _make_trigger_id(channel.identity, "events")
        rerun.widget_states.widgets.append(WidgetState(id=trigger, json_trigger_value=payload))
        self._send(message)

    def _send(self, message: BackMsg) -> None:
        message.rerun_script.query_string = self.query
        # What a browser keeps is sent to it by name.
        message.rerun_script.cached_message_hashes.extend(self._hashes)
        self.send(message)

    def _run(self, message: BackMsg, seconds: float) -> None:
        self.running = True
        self._buttons, self._fields, end = {}, {}, time.monotonic() + seconds
        self._texts.clear()
        self._send(message)
        while self.running and time.monotonic() < end:
            self.read(end - time.monotonic())

    def read(self, seconds: float) -> Channel | None:
        """Take in the next message; the channel that it answers on, if any."""
        frame = self.receive(seconds)
        if frame is None:
            return None
        if frame.metadata.cacheable:
            self._hashes[frame.hash] = None
            while len(self._hashes) > 200:
                self._hashes.popitem(last=False)
        if is_end(frame):
            self.running = False
        elif frame.WhichOneof("type") == "delta" and frame.delta.WhichOneof("type") == "new_element":
            return self._element(frame.delta.new_element, frame.delta.fragment_id)
        return None

    def _element(self, element: Element, fragment: str) -> Channel | None:
        match element.WhichOneof("type"):
            case "button":
                self._buttons[element.button.label] = element.button.id
            case "text_input":
                self._fields.setdefault(element.text_input.label, element.text_input.id)
            case "alert" if element.alert.format in (Alert.ERROR, Alert.WARNING):
                self._texts[element.alert.body] = None
            case "bidi_component":
                return self._component(element.bidi_component, fragment)
        return None

    def _component(self, component: Any, fragment: str) -> Channel | None:
        data = component.bytes
        if len(data) < 4:
            return None
        (length,) = struct.unpack_from(">I", data)
        # Only what says something is read; pictures may be large.
        if b'"kind":"map"' not in data[:200] and b'"kind":"insight"' not in data[:200]:
            return None
        header = json.loads(data[4 : 4 + length])
        channel = self.map if header["kind"] == "map" else self.side
        channel.identity, channel.fragment, channel.header = component.id, fragment, header
        channel.picture = data[4 + length :]
        return channel

    @property
    def problem(self) -> str:
        """What the page complained of last."""
        return next(reversed(self._texts), "")


def _cookies(host: str, port: int) -> str:
    connection = http.client.HTTPConnection(host, port, timeout=60)
    connection.request("GET", "/", headers={"Accept": "text/html"})
    answer = connection.getresponse()
    answer.read()
    connection.close()
    return "; ".join(value.split(";")[0] for name, value in answer.getheaders() if name.lower() == "set-cookie")


# ------------------------------------------------------------------ visitors


def visit(tab: Tab, gate: threading.Barrier, wishes: argparse.Namespace) -> list[dict[str, Any]]:
    """Open the demo (or join a class) with all others at once, label, and wait for the score of what was labelled.

    Where ``wishes`` ask for moves, go on at the next of its addresses after a while, as whoever is sent to another process of
    the same server; each stay is told on its own.
    """
    tab.look("classroom" if wishes.join else "")
    gate.wait()
    started = time.monotonic()
    if wishes.join:
        tab.fill_in({"Code": wishes.join, "Nickname": f"visitor {tab.number}"}, "Join")
    else:
        tab.press(DEMO_BUTTON)
    opened = time.monotonic() - started
    told = [_told(tab, opened)]
    if not tab.query:
        told[0]["problem"] = told[0]["problem"] or "no region opened"
    if wishes.seconds <= 0 or not tab.query:
        return told
    _stay(tab, told[0], wishes)
    for move in range(1, wishes.moves + 1):
        tab.close()
        address = wishes.address[(tab.number + move) % len(wishes.address)]
        before, tab = tab, Tab(address, tab.number, tab.cookies)
        try:
            tab.query = before.query
            tab.look("")
            told.append(_told(tab, None))
            _stay(tab, told[-1], wishes)
        finally:
            tab.close()
    return told


def _told(tab: Tab, opened: float | None) -> dict[str, Any]:
    return {
        "visitor": tab.number,
        "epoch": tab.epoch,
        "address": tab.query,
        "opened_s": None if opened is None else round(opened, 3),
        "clicks": [],
        "scores": [],
        "asked": 0,
        "answered": 0,
        "scored": 0,
        "problem": tab.problem,
    }


def _stay(tab: Tab, told: dict[str, Any], wishes: argparse.Namespace) -> None:
    tab.look("label")
    if not tab.map.identity or not tab.side.identity:
        told["problem"] = tab.problem or "the page Label showed no map"
        return
    _label(tab, told, wishes)
    told["problem"] = told["problem"] or tab.problem


def _label(tab: Tab, told: dict[str, Any], wishes: argparse.Namespace) -> None:
    draw = random.Random(tab.epoch)
    operations: list[dict[str, Any]] = [
        {"id": n, "do": "add_class", "name": f"visitor {tab.number} {name}"} for n, name in enumerate(CLASSES, 1)
    ]
    last = 0
    # Whoever goes on at another process finds the classes there.
    if not tab.map.header["classes"]:
        _do(tab, operations)
        last = len(operations)
    west, south, east, north = tab.map.header["bounds"]
    begin = time.monotonic() + draw.uniform(0, wishes.every)
    end = begin + wishes.seconds / (wishes.moves + 1)
    clicked, ask_at, next_click = begin, begin + wishes.ask, begin
    while next_click < end:
        until = min(next_click, ask_at)
        _listen(tab, told, until, clicked)
        now = time.monotonic()
        if now >= next_click:
            last += 1
            x, y = (low + (high - low) * draw.uniform(0.15, 0.85) for low, high in ((west, east), (south, north)))
            # Each class in turn, so that every one can be scored.
            op = {"id": last, "do": "add", "tool": "point", "class": 1 + last % len(CLASSES), "pts": [[x, y]]}
            clicked = time.monotonic()
            _do(tab, [op], told)
            header, picture = tab.map.header, tab.map.picture
            if header["notes"]:
                told["problem"] = header["notes"][-1][1]
            told["clicks"].append(
                {
                    "id": last,
                    "ms": round(1000 * (time.monotonic() - clicked), 1),
                    "acked": header["ack"] >= last,
                    "version": header["version"],
                    "v": None if header["map"] is None else header["map"]["v"],
                    "picture": hashlib.sha256(picture).hexdigest() if picture else "",
                }
            )
            next_click = max(next_click + wishes.every, time.monotonic())
            if not wishes.ask:
                ask_at = time.monotonic() + ASK_AFTER_SECONDS
        elif now >= ask_at:
            _ask(tab, told)
            ask_at = now + (wishes.ask or LOOK_SECONDS)
    # The person looks at what came of it.
    _listen(tab, told, clicked + ASK_AFTER_SECONDS, clicked)
    while time.monotonic() < clicked + wishes.patience and not _has_score(told, tab):
        _ask(tab, told)
        _listen(tab, told, time.monotonic() + LOOK_SECONDS, clicked)
    told["last_version"] = tab.map.header["version"]
    told["last_score_s"] = next(
        (s["after_s"] for s in told["scores"] if s["version"] == tab.map.header["version"]), None
    )


def _ask(tab: Tab, told: dict[str, Any]) -> None:
    told["asked"] += 1
    similar: dict[str, Any] = {"pos": [], "neg": []}
    want = {"layers": [], "error": 0.1, "selected": "", "skipped": [], "similar": similar, "tick": told["asked"]}
    tab.tell(tab.side, want, [])


def _has_score(told: dict[str, Any], tab: Tab) -> bool:
    return any(score["version"] == tab.map.header["version"] for score in told["scores"])


def _do(tab: Tab, operations: list[dict[str, Any]], told: dict[str, Any] | None = None) -> None:
    """Send operations, again and again as the browser does, until they are acknowledged or a minute has gone by."""
    started = time.monotonic()
    while time.monotonic() < started + 60:
        tab.tell(tab.map, {"confidence": False, "selected": ""}, operations)
        if _answered(tab, operations[-1]["id"], RESEND_SECONDS, told, started):
            return


def _answered(tab: Tab, ack: int, seconds: float, told: dict[str, Any] | None = None, clicked: float = 0.0) -> bool:
    """Read until the map has answered an operation; False when the time is up."""
    end = time.monotonic() + seconds
    while (left := end - time.monotonic()) > 0:
        channel = tab.read(left)
        if channel is tab.side and told is not None:
            _note(tab, told, clicked)
        header = tab.map.header
        if channel is tab.map and header["epoch"] == tab.epoch and header["ack"] >= ack:
            return True
    return False


def _listen(tab: Tab, told: dict[str, Any], until: float, clicked: float) -> None:
    while (left := until - time.monotonic()) > 0:
        if tab.read(left) is tab.side:
            _note(tab, told, clicked)


def _note(tab: Tab, told: dict[str, Any], clicked: float) -> None:
    """Count answers and those with a score; keep the time at which a score of the newest labels was seen first."""
    header = tab.side.header
    score = header.get("score")
    told["answered"] += 1
    told["scored"] += bool(score)
    if not score or not score["fresh"] or header["version"] != tab.map.header["version"]:
        return
    if all(known["version"] != header["version"] for known in told["scores"]):
        told["scores"].append(
            {"version": header["version"], "after_s": round(time.monotonic() - clicked, 3), "labels": score["labels"]}
        )


def check(home: Path, seen: list[dict[str, Any]]) -> dict[str, int]:
    """What visitors saw against the projects on disk.

    Args:
        home: the server's TESSERA_HOME.
        seen: what :func:`visit` told of each.

    Returns:
        ``mixed_labels`` (projects, not labels of one visitor alone), ``lost_clicks`` (acknowledged, and nowhere),
        ``doubled_clicks`` (there more than once), ``unknown_labels`` (that nobody made),
        ``wrong_pictures`` of ``pictures_checked``: not what the labels give that they answer, computed here from nothing.
    """
    from tessera_core.project.project import Project

    found = dict.fromkeys(("mixed_labels", "lost_clicks", "doubled_clicks", "unknown_labels", "wrong_pictures"), 0)
    found["pictures_checked"] = 0
    made = {f"{one['epoch']}-{click['id']}" for one in seen for click in one.get("clicks", [])}
    projects: dict[str, Project] = {}
    for folder in sorted((home / "projects").iterdir()):
        if Project.is_project(folder):
            project = Project.open(folder)
            owners = {name.split()[1] for c in project.log.classes if (name := c.name).startswith("visitor ")}
            owners |= {label.id.split("x")[0].removeprefix("visitor") for label in project.log.labels}
            found["mixed_labels"] += len(owners) > 1
            ids = [label.id for label in project.log.labels]
            found["doubled_clicks"] += len(ids) - len(set(ids))
            found["unknown_labels"] += len(set(ids) - made)
            projects |= dict.fromkeys(owners, project)
    for one in seen:
        clicks = [click for click in one.get("clicks", []) if click["acked"]]
        if not clicks:
            continue
        mine = projects.get(str(one["visitor"]))
        known = {label.id for label in mine.log.labels} if mine is not None else set()
        found["lost_clicks"] += sum(f"{one['epoch']}-{click['id']}" not in known for click in clicks)
        if mine is None:
            continue
        step = max(1, len(clicks) // SAMPLED)
        for click in {c["id"]: c for c in (*clicks[::step], clicks[-1])}.values():
            found["pictures_checked"] += 1
            found["wrong_pictures"] += hashlib.sha256(_true_picture(mine, one["epoch"], click["id"])).hexdigest() != (
                click["picture"] or hashlib.sha256(b"").hexdigest()
            )
    return found


def _true_picture(project: Project, epoch: str, upto: int) -> bytes:
    """The picture of the labels that one visitor had made up to an operation; empty where they give no map."""
    from tessera_core.heads import Scene
    from tessera_core.project.classify import fit_labels, head_choice
    from tessera_core.render.display import DisplayGrid
    from tessera_core.session import payload
    from tessera_core.sources.local.open import open_embeddings

    ids = [label.id for label in project.log.labels]
    # They stand in the order in which they were made.
    labels = project.log.labels[: ids.index(f"{epoch}-{upto}") + 1]
    if len({label.class_id for label in labels}) < 2:
        return b""
    year = max(year for year in project.embeddings if year is not None)
    path = str(project.embeddings_path(year))
    if path not in _GROUNDS:
        raster = open_embeddings(path)
        _GROUNDS[path] = (raster, Scene(raster), DisplayGrid(raster.grid))
    raster, scene, display = _GROUNDS[path]
    made = scene.predict(fit_labels(labels, raster, head_choice(project)))
    return payload.overlay(made.classes, None, project.log.classes, display)[0]


def main(arguments: list[str] | None = None) -> int:
    """Let them come, and print what they saw."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("address", nargs="*", help="of the app; of several processes, visitors share them in turn")
    parser.add_argument(
        "--check", type=Path, metavar="HOME", help="check what is told on stdin against the projects there"
    )
    parser.add_argument("--visitors", type=int, default=6)
    parser.add_argument("--seconds", type=float, default=20, help="how long they label; 0: they only open the demo")
    parser.add_argument("--every", type=float, default=2, help="seconds between two clicks of one visitor")
    parser.add_argument(
        "--ask", type=float, default=4, help="seconds between two looks at the score; 0: as the browser"
    )
    parser.add_argument("--patience", type=float, default=30, help="seconds to wait for the last score")
    parser.add_argument("--stay", type=float, default=0, help="seconds to stay after that, with the tab open")
    parser.add_argument(
        "--join", default="", metavar="CODE", help="they join the class of that code, instead of the demo"
    )
    parser.add_argument("--moves", type=int, default=0, help="how often each goes on at another of the addresses")
    wishes = parser.parse_args(arguments)
    if wishes.check is not None:
        json.dump(check(wishes.check, json.load(sys.stdin)["visitors"]), sys.stdout)
        return 0
    gate = threading.Barrier(wishes.visitors)
    seen: list[list[dict[str, Any]]] = [[] for _ in range(wishes.visitors)]

    def one(number: int) -> None:
        try:
            tab = Tab(wishes.address[number % len(wishes.address)], number)
        except (OSError, TimeoutError, ConnectionClosed) as error:
            gate.abort()
            seen[number] = [{"visitor": number, "epoch": "", "problem": f"could not come: {error}"}]
            return
        try:
            seen[number] = visit(tab, gate, wishes)
            time.sleep(wishes.stay)
        except (OSError, RuntimeError, KeyError, ConnectionClosed, threading.BrokenBarrierError) as error:
            seen[number] = [{"visitor": number, "epoch": "", "problem": f"{type(error).__name__}: {error}"}]
        finally:
            tab.close()

    threads = [threading.Thread(target=one, args=(number,)) for number in range(wishes.visitors)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    json.dump({"visitors": [stay for stays in seen for stay in stays]}, sys.stdout)
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""A browser is told to show "what it has already" only while it still has it.

Streamlit's browser keeps large messages for a few runs, lists with every question which it has, and gets only the name of one
that it listed. It may have thrown it away meanwhile, when an earlier run's end reached it after the question had left: then it
stops for good ("Cached ForwardMsg MISS"), all links dead. Over a slow line it is enough to look at another page and come back at
once. Here the server keeps the same book as the browser, message by message in the order in which they are sent, and takes from
that what to send by name. The book belongs to one connection, so that what was lost with a broken one is sent again.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass, field

from streamlit import config
from streamlit.proto.ForwardMsg_pb2 import ForwardMsg
from streamlit.runtime.forward_msg_cache import create_reference_msg
from streamlit.runtime.scriptrunner_utils import script_run_context
from streamlit.web.server.starlette.starlette_websocket import StarletteSessionClient

_BOOK = "_tessera_browser_cache"


@dataclass
class BrowserCache:
    """What the browser at the other end of a connection keeps.

    Attributes:
        most_age: after how many runs without use it throws a message away, when a run ends that could have shown it.
        runs: ends of runs that it has been told.
        kept: hash -> (count of ends at its last use, the part of a page that it belongs to or "").
    """

    most_age: int
    runs: int = 0
    kept: dict[str, tuple[int, str]] = field(default_factory=dict)

    def passed(self, message: ForwardMsg) -> ForwardMsg:
        """What to send for a message: itself, or only its name where the browser has it."""
        if message.WhichOneof("type") == "script_finished":
            self._end(message)
        elif message.metadata.cacheable and message.hash:
            known = self.kept.get(message.hash)
            self.kept[message.hash] = (self.runs, known[1] if known else message.delta.fragment_id)
            if known:
                return create_reference_msg(message)
        return message

    def _end(self, message: ForwardMsg) -> None:
        if message.script_finished == ForwardMsg.FINISHED_EARLY_FOR_RERUN:
            return
        self.runs += 1
        parts = message.metadata.run.fragment_ids
        for name, (used, part) in list(self.kept.items()):
            # The end of a part's run takes only what belongs to that part.
            if self.runs - used > self.most_age and (not parts or part in parts):
                del self.kept[name]


def keep() -> None:
    """Have all connections of this process keep that book; safe to call again."""
    send = StarletteSessionClient.write_forward_msg
    if hasattr(send, "__wrapped__"):
        return

    @functools.wraps(send)
    def write_forward_msg(client: StarletteSessionClient, msg: ForwardMsg) -> None:
        book = client.__dict__.get(_BOOK)
        if book is None:
            book = client.__dict__[_BOOK] = BrowserCache(config.get_option("global.maxCachedMessageAge"))
        passed = book.passed(msg)
        send(client, passed)
        if msg.hash in book.kept and not msg.metadata.cacheable:
            # It was too large, and an error was sent in its place.
            del book.kept[msg.hash]

    StarletteSessionClient.write_forward_msg = write_forward_msg  # type: ignore[method-assign,assignment]
    # Messages come whole to the connection, which knows better.
    script_run_context.create_reference_msg = lambda msg: msg

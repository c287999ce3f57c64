"""What is sent by name is what the browser still keeps, whatever was shown and left before."""

from __future__ import annotations

import inspect

import pytest
from hypothesis import given
from hypothesis import strategies as st
from streamlit.proto.ForwardMsg_pb2 import ForwardMsg
from streamlit.runtime import runtime_util
from streamlit.runtime.scriptrunner_utils import script_run_context
from streamlit.web.server.starlette.starlette_websocket import StarletteSessionClient

from tessera_core.ui import browser_cache
from tessera_core.ui.browser_cache import BrowserCache

MOST_AGE = 2
PARTS = ("", "map", "score")


def large(name: str, part: str) -> ForwardMsg:
    message = ForwardMsg(hash=f"{part} {name}")
    message.metadata.cacheable = True
    message.delta.fragment_id = part
    message.delta.new_element.text.body = name
    return message


def end(part: str, status: int) -> ForwardMsg:
    message = ForwardMsg(script_finished=status)  # type: ignore[arg-type]
    message.metadata.run.script_run_id = "a run"
    if part:
        message.metadata.run.fragment_ids.append(part)
    return message


class Browser:
    """The browser's own rules, as Streamlit's script has them: ages in ends of runs, a part's end takes that part's only."""

    def __init__(self) -> None:
        self.ends = 0
        self.has: dict[str, list[object]] = {}

    def hears(self, message: ForwardMsg) -> None:
        kind = message.WhichOneof("type")
        if kind == "ref_hash":
            assert message.ref_hash in self.has, "it stops for good"
            self.has[message.ref_hash][0] = self.ends
        elif kind == "script_finished":
            if message.script_finished != ForwardMsg.FINISHED_EARLY_FOR_RERUN:
                self.ends += 1
                parts = list(message.metadata.run.fragment_ids)
                for name in [n for n, (used, p) in self.has.items() if self.ends - int(str(used)) > MOST_AGE]:
                    if not parts or self.has[name][1] in parts:
                        del self.has[name]
        elif message.hash in self.has:
            self.has[message.hash][0] = self.ends
        else:
            self.has[message.hash] = [self.ends, message.delta.fragment_id]


RUN = st.tuples(
    st.sampled_from(PARTS),
    st.lists(st.tuples(st.sampled_from("abc"), st.sampled_from(PARTS)), max_size=3),
    st.sampled_from(
        [
            ForwardMsg.FINISHED_SUCCESSFULLY,
            ForwardMsg.FINISHED_FRAGMENT_RUN_SUCCESSFULLY,
            ForwardMsg.FINISHED_EARLY_FOR_RERUN,
        ]
    ),
)


@given(st.lists(RUN, max_size=25))
def test_a_browser_is_never_told_to_show_what_it_no_longer_has(
    runs: list[tuple[str, list[tuple[str, str]], int]],
) -> None:
    book, browser = BrowserCache(MOST_AGE), Browser()
    for part, shown, status in runs:
        for name, of in shown:
            browser.hears(book.passed(large(name, of)))
        browser.hears(book.passed(end(part, status)))
    assert book.kept.keys() == browser.has.keys()


def test_what_stays_in_use_is_sent_once_however_many_parts_run() -> None:
    book = BrowserCache(MOST_AGE)
    whole = large("map code", "")
    assert book.passed(whole) is whole
    book.passed(end("", ForwardMsg.FINISHED_SUCCESSFULLY))
    for _ in range(20):
        book.passed(end("score", ForwardMsg.FINISHED_FRAGMENT_RUN_SUCCESSFULLY))
    again = book.passed(whole)
    assert again.ref_hash == whole.hash
    assert not again.metadata.cacheable
    small = ForwardMsg(hash="small")
    small.delta.new_element.text.body = "small"
    assert book.passed(small) is small is book.passed(small)


def test_each_connection_has_a_book_of_its_own_and_streamlit_sends_names_nowhere_else(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    browser_cache.keep()
    browser_cache.keep()
    assert not hasattr(StarletteSessionClient.write_forward_msg.__wrapped__, "__wrapped__")  # type: ignore[attr-defined]
    # Where Streamlit itself would make a name of a message, by this name.
    assert "create_reference_msg(msg)" in inspect.getsource(script_run_context.ScriptRunContext.enqueue)
    message = large("x", "")
    assert script_run_context.create_reference_msg(message) is message

    sent: list[ForwardMsg] = []

    class Line(StarletteSessionClient):
        def __init__(self) -> None:
            self._closed = self  # type: ignore[assignment]
            self._send_queue = self  # type: ignore[assignment]

        def is_set(self) -> bool:
            return False

        def put_nowait(self, payload: bytes) -> None:
            sent.append(ForwardMsg.FromString(payload))

    first, second = Line(), Line()
    for line in (first, first, second):
        line.write_forward_msg(message)
    assert [one.WhichOneof("type") for one in sent] == ["delta", "ref_hash", "delta"]
    # Of what is too large to be sent the browser gets an error, which it does not keep.
    sent.clear()
    monkeypatch.setattr(runtime_util, "get_max_message_size_bytes", lambda: 100)
    for _ in range(2):
        first.write_forward_msg(large("y" * 200, ""))
    assert [one.delta.new_element.WhichOneof("type") for one in sent] == ["exception", "exception"]

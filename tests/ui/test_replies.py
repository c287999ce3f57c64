"""Nothing that a browser asked for is thrown away when a run begins."""

from __future__ import annotations

import pytest
from streamlit.proto.ForwardMsg_pb2 import ForwardMsg
from streamlit.runtime.forward_msg_queue import ForwardMsgQueue

from tessera_core.ui import replies


def reply(kind: str) -> ForwardMsg:
    message = ForwardMsg()
    getattr(message, kind).SetInParent()
    return message


@pytest.mark.parametrize("kind", replies.REPLIES)
@pytest.mark.parametrize("part", [None, ["a-part"]])
def test_a_run_that_begins_keeps_replies_once_and_drops_what_it_draws_anew(kind: str, part: list[str] | None) -> None:
    replies.keep()
    replies.keep()
    queue = ForwardMsgQueue()
    drawn, wanted = ForwardMsg(), reply(kind)
    drawn.delta.fragment_id = "a-part"
    for message in (drawn, wanted):
        queue.enqueue(message)
    queue.clear(retain_lifecycle_msgs=True, fragment_ids_this_run=part)
    queue.enqueue(reply("new_session"))
    assert [message.WhichOneof("type") for message in queue.flush() if message.WhichOneof("type") != "delta"] == [
        kind,
        "new_session",
    ]
    queue.enqueue(wanted)
    queue.clear()
    assert queue.flush() == []

"""Nothing that a browser asked for is thrown away when a run begins."""

from __future__ import annotations

import time

import pytest
from streamlit.proto.ForwardMsg_pb2 import ForwardMsg
from streamlit.runtime.forward_msg_queue import ForwardMsgQueue
from streamlit.runtime.media_file_manager import MediaFileManager
from streamlit.runtime.memory_media_file_storage import MemoryMediaFileStorage

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


def test_a_file_that_a_button_made_waits_for_its_browser_whoever_runs_meanwhile(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    replies.keep()
    storage = MemoryMediaFileStorage("/media")
    manager = MediaFileManager(storage)
    asked = manager.add_deferred(lambda: b"all work", "application/zip", "1.0", file_name="class.zip")
    address = manager.execute_deferred(asked)
    # Each learner's run that ends is one of these.
    for _ in range(30):
        manager.remove_orphaned_files()
    (name,) = manager._file_metadata
    assert name in address
    assert storage.get_file(address.rpartition("/")[2]).content == b"all work"
    later = time.monotonic() + replies.FETCH_SECONDS + 1
    monkeypatch.setattr(time, "monotonic", lambda: later)
    for _ in range(2):
        manager.remove_orphaned_files()
    assert not manager._file_metadata

"""What a browser asked for beside a run reaches it, also when a run begins at that moment.

Streamlit empties a session's queue when a run begins. What it keeps there are messages about runs; the addresses that a browser
asked for to send files to, and what a button to save a file waits for, went with the rest, and the files or the press were lost
without a word. Those who drop files right after a choice met it, most of all where the computer is busy.
"""

from __future__ import annotations

import functools
from typing import Any

from streamlit.proto.ForwardMsg_pb2 import ForwardMsg
from streamlit.runtime.forward_msg_queue import ForwardMsgQueue

# Each answers one question of the browser, which asks it once.
REPLIES = ("file_urls_response", "backend_operation_response")


def keep() -> None:
    """Have the queues of all sessions of this process keep replies; safe to call again."""
    empty = ForwardMsgQueue.clear
    if hasattr(empty, "__wrapped__"):
        return

    @functools.wraps(empty)
    def clear(queue: ForwardMsgQueue, retain_lifecycle_msgs: bool = False, *args: Any, **options: Any) -> None:
        replies = [message for message in queue._queue if message.WhichOneof("type") in REPLIES]
        empty(queue, retain_lifecycle_msgs, *args, **options)
        # Only where a run begins; a session that ends waits for nothing. After a part's run all may be there still.
        if retain_lifecycle_msgs:
            queue._queue += [message for message in replies if not _among(message, queue._queue)]

    ForwardMsgQueue.clear = clear  # type: ignore[method-assign,assignment]


def _among(message: ForwardMsg, queue: list[ForwardMsg]) -> bool:
    return any(one is message for one in queue)

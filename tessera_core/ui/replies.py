"""What a browser asked for beside a run reaches it, also when a run begins at that moment.

Streamlit empties a session's queue when a run begins. What it keeps there are messages about runs; the addresses that a browser
asked for to send files to, and what a button to save a file waits for, went with the rest, and the files or the press were lost
without a word. Those who drop files right after a choice met it, most of all where the computer is busy.

And it throws a file that a button has just made away when the second run after it ends, whoever's run that is: on a server with
a class that is within a second, often before the browser has come for it. It is kept for as long as a slow line needs.
"""

from __future__ import annotations

import functools
import time
from pathlib import PurePosixPath
from typing import Any
from urllib.parse import urlsplit

from streamlit.proto.ForwardMsg_pb2 import ForwardMsg
from streamlit.runtime.forward_msg_queue import ForwardMsgQueue
from streamlit.runtime.media_file_manager import MediaFileManager

# Each answers one question of the browser, which asks it once.
REPLIES = ("file_urls_response", "backend_operation_response")
# Within which a browser that was told where its file is has begun to fetch it.
FETCH_SECONDS = 60.0
_MADE = "_tessera_made"


def keep() -> None:
    """Have all sessions of this process keep replies, and files that were asked for; safe to call again."""
    if not hasattr(ForwardMsgQueue.clear, "__wrapped__"):
        _keep_replies()
        _keep_files()


def _keep_replies() -> None:
    empty = ForwardMsgQueue.clear

    @functools.wraps(empty)
    def clear(queue: ForwardMsgQueue, retain_lifecycle_msgs: bool = False, *args: Any, **options: Any) -> None:
        replies = [message for message in queue._queue if message.WhichOneof("type") in REPLIES]
        empty(queue, retain_lifecycle_msgs, *args, **options)
        # Only where a run begins; a session that ends waits for nothing. After a part's run all may be there still.
        if retain_lifecycle_msgs:
            queue._queue += [message for message in replies if not _among(message, queue._queue)]

    ForwardMsgQueue.clear = clear  # type: ignore[method-assign,assignment]


def _keep_files() -> None:
    execute, inactive = MediaFileManager.execute_deferred, MediaFileManager._get_inactive_file_ids

    @functools.wraps(execute)
    def execute_deferred(manager: MediaFileManager, file_id: str) -> str:
        address = execute(manager, file_id)
        with manager._lock:
            made: dict[str, float] = manager.__dict__.setdefault(_MADE, {})
            made[PurePosixPath(urlsplit(address).path).stem] = time.monotonic()
        return address

    @functools.wraps(inactive)
    def get_inactive_file_ids(manager: MediaFileManager) -> set[str]:
        made: dict[str, float] = manager.__dict__.setdefault(_MADE, {})
        long_ago = time.monotonic() - FETCH_SECONDS
        for name in [name for name, when in made.items() if when < long_ago]:
            del made[name]
        return inactive(manager) - made.keys()

    MediaFileManager.execute_deferred = execute_deferred  # type: ignore[method-assign,assignment]
    MediaFileManager._get_inactive_file_ids = get_inactive_file_ids  # type: ignore[method-assign,assignment]


def _among(message: ForwardMsg, queue: list[ForwardMsg]) -> bool:
    return any(one is message for one in queue)

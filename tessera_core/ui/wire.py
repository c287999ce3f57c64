"""The browser's side of Streamlit's websocket protocol: what scripted visitors of measurements and of tests have in common."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import ExitStack
from typing import Self

from streamlit.proto.BackMsg_pb2 import BackMsg
from streamlit.proto.ForwardMsg_pb2 import ForwardMsg
from streamlit.proto.WidgetStates_pb2 import WidgetState
from websockets.sync.client import ClientConnection, connect
from websockets.typing import Origin, Subprotocol

_FINISHED = (ForwardMsg.FINISHED_SUCCESSFULLY, ForwardMsg.FINISHED_WITH_COMPILE_ERROR)


class Wire:
    """One browser tab as the server sees it; use it as a context manager, or close it.

    Args:
        netloc: host and port of the app.
        cookie: what the browser has been given; may be empty.
        origin: whose page opens the connection; by default the app's own.
        resume: the session to go on with, as after a loss of the network.
        headers: of the websocket's opening, beside the cookie.

    Attributes:
        connection: the websocket.
        session: the server's name of the tab.
        page: the page that is open, as the server names it.
        query: of its address.
    """

    def __init__(
        self,
        netloc: str,
        cookie: str = "",
        *,
        origin: str = "",
        resume: str = "",
        headers: Mapping[str, str] | None = None,
    ) -> None:
        opening = connect(
            f"ws://{netloc}/_stcore/stream",
            additional_headers={**({"Cookie": cookie} if cookie else {}), **(headers or {})},
            origin=Origin(origin or f"http://{netloc}"),
            subprotocols=[Subprotocol(part) for part in (["streamlit", "-", resume] if resume else ["streamlit"])],
            max_size=None,
            open_timeout=60,
        )
        self._open = ExitStack()
        self.connection: ClientConnection = self._open.enter_context(opening)
        self.session = self.page = self.query = ""

    def close(self) -> None:
        """Close the tab."""
        self._open.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def send(self, message: BackMsg) -> None:
        """Send one message of the protocol as it is."""
        self.connection.send(message.SerializeToString())

    def receive(self, seconds: float) -> ForwardMsg | None:
        """The next message, noted where it says which page is open; None when the time is up.

        Raises:
            websockets.exceptions.ConnectionClosed: the server has closed the connection.
        """
        try:
            data = self.connection.recv(timeout=max(seconds, 0))
        except TimeoutError:
            return None
        frame = ForwardMsg.FromString(data if isinstance(data, bytes) else data.encode())
        kind = frame.WhichOneof("type")
        if kind == "new_session":
            self.session = frame.new_session.initialize.session_id
            self.page = frame.new_session.page_script_hash
        elif kind == "navigation":
            self.page = frame.navigation.page_script_hash
        elif kind == "page_info_changed":
            self.query = frame.page_info_changed.query_string
        return frame

    def looking(self, page: str, query: str | None = None) -> BackMsg:
        """The message that opens a page; ``""`` is the first."""
        message = BackMsg()
        message.rerun_script.page_name = page
        message.rerun_script.query_string = self.query if query is None else query
        return message

    def pressing(self, button: str) -> BackMsg:
        """The message that presses the button of that identity on the open page."""
        message = BackMsg()
        message.rerun_script.query_string = self.query
        message.rerun_script.page_script_hash = self.page
        message.rerun_script.widget_states.widgets.append(WidgetState(id=button, trigger_value=True))
        return message


def is_end(frame: ForwardMsg) -> bool:
    """Whether a message says that the page stands."""
    return frame.WhichOneof("type") == "script_finished" and frame.script_finished in _FINISHED

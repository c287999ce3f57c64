"""No test reaches beyond this computer: an audit hook refuses connections and name look-ups that are not loopback.

Python imports a module of this name at the start of every process that has this folder in PYTHONPATH, so programs that the
tests start are guarded, too. Each attempt is refused as a network that is not there would, and noted in the file that
TESSERA_GUARD_LOG names: the test during which it happened fails, also where the program took the refusal in its stride.
Standard library only, and quick to import.
"""

from __future__ import annotations

import contextlib
import errno
import faulthandler
import os
import platform
import signal
import sys
from collections.abc import Iterator, Sequence
from ipaddress import ip_address

# As by tessera_core/ui/classroom/addresses.py; the number of datagram sockets is the same on every system.
_ASKED, _DATAGRAM = "203.0.113.1", 2
_LOCAL_NAMES = {"", "localhost", "localhost.localdomain", "ip6-localhost"}


def is_local(host: object) -> bool:
    """Whether an address or a name as given to the socket module stays on this computer."""
    if host is None:
        return True
    text = (host.decode("ascii", "replace") if isinstance(host, bytes | bytearray) else str(host)).rstrip(".").lower()
    if text in _LOCAL_NAMES or text.endswith(".localhost") or text == platform.node().lower():
        return True
    try:
        address = ip_address(text.partition("%")[0])
    except ValueError:
        return False
    return address.is_loopback or address.is_unspecified


def _guard(event: str, arguments: Sequence[object]) -> None:
    if event == "socket.getaddrinfo" or event == "socket.gethostbyname":
        host = arguments[0]
    elif event in ("socket.connect", "socket.sendto", "socket.sendmsg"):
        address = arguments[1]
        # Paths of Unix sockets are strings, and addresses of other families have other forms: none leaves this computer.
        if not isinstance(address, tuple) or not address or not isinstance(address[0], str):
            return
        host = address[0]
        # Nothing is sent by that: it asks the system for this computer's own address in its network.
        if event == "socket.connect" and host == _ASKED and getattr(arguments[0], "type", 0) == _DATAGRAM:
            return
    else:
        return
    if is_local(host):
        return
    log = os.environ.get("TESSERA_GUARD_LOG")
    if log:
        with open(log, "a", encoding="utf-8") as file:
            file.write(f"{event} {host!r} by {' '.join(sys.orig_argv[:6])}\n")
    raise OSError(errno.ENETUNREACH, f"tests reach nothing beyond this computer, and {host!r} is beyond it")


class _Without:
    """Finds modules as before, but for packages that are to be as if they were not installed."""

    def __init__(self, packages: Sequence[str]) -> None:
        self.packages = set(packages)
        self.finders = list(sys.meta_path)

    def find_spec(self, name: str, path: object = None, target: object = None) -> object:
        """The module's place, or None."""
        if name.partition(".")[0] in self.packages:
            return None
        found = (finder.find_spec(name, path, target) for finder in self.finders)  # type: ignore[arg-type]
        return next((spec for spec in found if spec is not None), None)

    def find_distributions(self, *context: object) -> Iterator[object]:
        """What is installed, but for those packages."""
        for finder in self.finders:
            for found in getattr(finder, "find_distributions", lambda *_: ())(*context):
                if found.name not in self.packages:
                    yield found


def install() -> None:
    """Guard this process, once; packages that TESSERA_GUARD_WITHOUT names are not there for it."""
    if not getattr(sys, "_tessera_guard", False):
        sys._tessera_guard = True  # type: ignore[attr-defined]
        sys.addaudithook(_guard)
        # Who wants to know what a server waits for asks by this signal: what each thread does goes to its log.
        if hasattr(signal, "SIGUSR2"):
            with contextlib.suppress(AttributeError, OSError, RuntimeError, ValueError):  # no stderr to write to
                faulthandler.register(signal.SIGUSR2)
        if without := os.environ.get("TESSERA_GUARD_WITHOUT"):
            sys.meta_path[:] = [_Without(without.split(","))]  # type: ignore[list-item]


install()

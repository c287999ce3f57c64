"""Asking a service what it has: the one request that this program itself sends to an address that somebody typed.

On a person's own computer it goes where the person says, as a browser would. A server for strangers asks public addresses
alone: the name is looked up once, every address behind it is judged, and the connection goes to that address and no other, also
after a redirect. Only the list of layers comes back, never the answer itself.
"""

from __future__ import annotations

import ipaddress
import re
import socket
from collections.abc import Iterable
from urllib.parse import urljoin, urlsplit

from tessera_core.errors import AcquisitionError, InputError
from tessera_core.hosting import hosted
from tessera_core.imagery.addresses import capabilities_address
from tessera_core.imagery.capabilities import MOST_BYTES, Offer, read_capabilities
from tessera_core.imagery.layers import KEY
from tessera_core.provenance import SOFTWARE

TIMEOUT_S = 20.0
_REDIRECTS = 3
_NUMBER = re.compile(r"[0-9.]+|0x[0-9a-f.x]+", re.IGNORECASE)
_MOST_HOSTED = 5 << 20


def ask(address: str, key: str = "", timeout_s: float = TIMEOUT_S) -> Offer:
    """What the service at an address has.

    Args:
        address: of a WMS or WMTS; ``{key}`` in it stands for ``key``.
        key: of whoever asks; it is in no message and no layer.
        timeout_s: for each answer.

    Raises:
        InputError: the address is none that may be asked, or what answers is no such service.
        AcquisitionError: it cannot be reached, or does not answer in time.
    """
    asked = capabilities_address(address)
    return read_capabilities(_fetched(asked.replace(KEY, key), timeout_s), asked)


def _fetched(url: str, timeout_s: float) -> bytes:
    import requests
    import urllib3

    for _ in range(_REDIRECTS + 1):
        host = urlsplit(url).hostname or "the service"
        try:
            status, location, data = _get_public(url, timeout_s) if hosted() else _get(url, timeout_s)
        except (requests.Timeout, urllib3.exceptions.TimeoutError) as error:
            raise AcquisitionError(f"{host} does not answer in time; try again later.") from error
        except (requests.RequestException, urllib3.exceptions.HTTPError, OSError, ValueError) as error:
            raise AcquisitionError(f"{host} cannot be reached; check the address and your connection.") from error
        if status in (301, 302, 303, 307, 308) and location:
            url = urljoin(url, location)
            continue
        if status in (401, 403):
            raise AcquisitionError(f"{host} refuses: it may ask for a key (error {status}).")
        if status >= 400:
            raise AcquisitionError(f"{host} answers with error {status}; check the address.")
        return data
    raise AcquisitionError("The service sends on to another address again and again; check the address.")


def _get(url: str, timeout_s: float) -> tuple[int, str, bytes]:
    """As a person's browser would, proxies included."""
    import requests

    with requests.get(
        url, headers={"User-Agent": SOFTWARE}, timeout=timeout_s, stream=True, allow_redirects=False
    ) as answer:
        return (
            answer.status_code,
            answer.headers.get("location", ""),
            _bounded(answer.iter_content(1 << 16), MOST_BYTES),
        )


def _get_public(url: str, timeout_s: float) -> tuple[int, str, bytes]:
    """From a public address, through a connection to that very address."""
    import urllib3

    parts = urlsplit(url)
    secure = parts.scheme == "https"
    host, port = parts.hostname or "", parts.port or (443 if secure else 80)
    place = public_address(host, port)
    timeout = urllib3.Timeout(connect=min(timeout_s, 10), read=timeout_s)
    pool: urllib3.HTTPConnectionPool
    if secure:
        pool = urllib3.HTTPSConnectionPool(place, port, timeout=timeout, server_hostname=host, assert_hostname=host)
    else:
        pool = urllib3.HTTPConnectionPool(place, port, timeout=timeout)
    with pool:
        target = parts.path or "/"
        answer = pool.request(
            "GET",
            f"{target}?{parts.query}" if parts.query else target,
            headers={"Host": parts.netloc, "User-Agent": SOFTWARE},
            redirect=False,
            retries=False,
            preload_content=False,
        )
        return answer.status, answer.headers.get("location", ""), _bounded(answer.stream(1 << 16), _MOST_HOSTED)


def public_address(host: str, port: int) -> str:
    """An address of a server that all the world can reach.

    Raises:
        InputError: the name leads to this computer, to its network, or nowhere; or the port is not one of the web.
    """
    refusal = InputError("This server asks public services alone, at the usual ports of the web (80 and 443).")
    if port not in (80, 443):
        raise refusal
    try:
        found = {str(ipaddress.ip_address(host))}
    except ValueError:
        # A number is an address in another spelling, and no name.
        if _NUMBER.fullmatch(host):
            raise refusal from None
        found = _looked_up(host, port)
    # Where one of its addresses is not public, none is used.
    if not all(_is_public(one) for one in found):
        raise refusal
    return min(found)


def _looked_up(host: str, port: int) -> set[str]:
    try:
        found = {str(one[4][0]) for one in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)}
    except (OSError, UnicodeError) as error:
        raise AcquisitionError(f"There is no server called {host[:80]}; check the address.") from error
    if not found:
        raise AcquisitionError(f"There is no server called {host[:80]}; check the address.")
    return found


def _is_public(text: str) -> bool:
    address = ipaddress.ip_address(text.partition("%")[0])
    inner = getattr(address, "ipv4_mapped", None) or getattr(address, "sixtofour", None)
    if isinstance(address, ipaddress.IPv6Address) and address in ipaddress.ip_network("64:ff9b::/96"):
        inner = ipaddress.ip_address(int(address) & 0xFFFFFFFF)
    return (address.is_global and not address.is_multicast) and (inner is None or inner.is_global)


def _bounded(pieces: Iterable[bytes], most: int) -> bytes:
    found = bytearray()
    for piece in pieces:
        found += piece
        if len(found) > most:
            raise InputError(
                f"The answer is larger than {most >> 20} MB; paste the address of one of its layers instead."
            )
    return bytes(found)

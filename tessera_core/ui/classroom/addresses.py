"""What learners open: the address of a class and its QR code."""

from __future__ import annotations

import ipaddress
import socket
from urllib.parse import urlsplit, urlunsplit

import streamlit as st


def address(class_code: str) -> str:
    """What learners open: the address by which the teacher came, with this computer's own in place of ``localhost``."""
    here = urlsplit(st.context.url or "")
    host = here.hostname or "localhost"
    if is_loopback(host) and (own := lan_address()):
        host = own
    port = f":{here.port}" if here.port else ""
    path = here.path.rstrip("/").removesuffix("/classroom")
    return urlunsplit((here.scheme or "http", f"{host}{port}", f"{path}/classroom", f"join={class_code}", ""))


def is_loopback(host: str) -> bool:
    """Whether only this computer itself can open that host."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def lan_address() -> str:
    """The address of this computer in its network; empty where it has none. Sends nothing."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            # Choosing a way needs no packet; the address is one of those set aside for documents.
            probe.connect(("203.0.113.1", 9))
            found = str(probe.getsockname()[0])
        except OSError:
            return ""
    return "" if is_loopback(found) else found


@st.cache_data(max_entries=64, show_spinner=False)
def qr(text: str) -> str:
    """A QR code as the address of a picture."""
    import segno

    return str(segno.make(text, error="m").svg_data_uri(scale=6, border=2, dark="#0b3b39", light="white"))

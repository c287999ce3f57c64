"""Addresses of object stores, ``s3://bucket/path``, ``gs://bucket/path`` and ``https://server/file``: how they are read, which
store one means, and what is said when it refuses.

Who may is said by the usual variables of the environment (``AWS_ACCESS_KEY_ID``, ``AWS_PROFILE`` is not read,
``AWS_ENDPOINT_URL`` for other servers of that kind, ``GOOGLE_APPLICATION_CREDENTIALS``) and nowhere else.
"""

from __future__ import annotations

import datetime as dt
import hashlib
import os
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import unquote

from tessera_core._utils.paths import cache_home
from tessera_core.errors import InputError, TesseraError

SCHEMES = ("s3", "gs", "https", "http")
# What opens stores that speak as Amazon's does: keys, the roles of machines, or that nothing is needed.
_CREDENTIALS = (
    *("AWS_ACCESS_KEY_ID", "AWS_WEB_IDENTITY_TOKEN_FILE", "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI"),
    *("AWS_CONTAINER_CREDENTIALS_FULL_URI", "AWS_METADATA_ENDPOINT", "AWS_SKIP_SIGNATURE"),
)
# Names of buckets, and of servers with a port.
_HOST = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:-]*|\[[0-9A-Fa-f:.]+\](:\d+)?")
# How it sounds where nobody says who asks; the last are questions to a machine of Amazon's own.
_UNKNOWN = re.compile(r"status:? (?:code: )?401|credential|169\.254|latest/(?:api|meta-data)", re.IGNORECASE)
# How often a request is tried that a store refuses for now, and how long in all.
_RETRY: Any = {"max_retries": 6, "retry_timeout": dt.timedelta(seconds=90)}


def is_address(text: str) -> bool:
    """Whether a text is an address of an object store or of a file on the web."""
    return text.partition("://")[0].lower() in SCHEMES and "://" in text


def mirrors_home() -> Path:
    """Where all that is mirrored lies."""
    return cache_home() / "objects"


@dataclass(frozen=True)
class Address:
    """A place in a store.

    Attributes:
        scheme: one of :data:`SCHEMES`.
        host: the bucket, or the server.
        path: without a slash at either end.

    Example:
        >>> Address.parse("s3://maps/kenya/2024/")
        Address(scheme='s3', host='maps', path='kenya/2024')
    """

    scheme: str
    host: str
    path: str

    @classmethod
    def parse(cls, text: str) -> Address:
        """An address from its text.

        Raises:
            InputError: it names no bucket, holds a password, or a way out of its folder.
        """
        scheme, _, rest = text.partition("://")
        scheme = scheme.lower()
        if scheme not in SCHEMES:
            raise InputError(f"{text} is no address; write s3://BUCKET/PATH, gs://BUCKET/PATH or https://SERVER/FILE.")
        # In the name of an object any sign means itself; only the web has queries and codes for signs.
        host, _, below = rest.partition("/")
        if "@" in host:
            raise InputError(
                "An address may not hold a password; give it by the environment (AWS_ACCESS_KEY_ID and the like)."
            )
        if scheme in ("http", "https"):
            if "?" in rest or "#" in rest:
                raise InputError(
                    f"{host}: of addresses on the web only those without ? and # are read; download the file and give its path."
                )
            below = unquote(below)
        if not host or not _HOST.fullmatch(host):
            raise InputError(f"{text} names no bucket; write s3://BUCKET/PATH.")
        path = PurePosixPath(below.strip("/"))
        if ".." in path.parts:
            raise InputError(f"{text} leads out of itself; write the address without '..'.")
        if "\0" in below:
            raise InputError("An address with a zero byte in it is no address.")
        return cls(scheme, host, "" if str(path) == "." else str(path))

    def __str__(self) -> str:
        return f"{self.scheme}://{self.host}/{self.path}"

    @property
    def web(self) -> bool:
        """Whether it is a file on the web, which is read and never written or listed."""
        return self.scheme in ("http", "https")

    @property
    def folder(self) -> Path:
        """Where it is mirrored; its last part is that of the address, by which tiles and files are known."""
        digest = hashlib.sha256(str(self).encode()).hexdigest()[:16]
        return mirrors_home() / digest / (PurePosixPath(self.path).name or self.host)


def open_store(address: Address) -> Any:
    """A store of obstore for the bucket or server of an address, whose keys begin at its root.

    Raises:
        InputError: the environment says something that cannot be used.
    """
    import obstore.exceptions
    import obstore.store

    # A server on this computer or in a closed network may do without encryption; which it is, the person says.
    plain = address.scheme == "http" or os.environ.get("AWS_ENDPOINT_URL", "").startswith("http://")
    # Of one request, which asks for no more than a chunk.
    options: Any = {"timeout": "120s", "connect_timeout": "20s"} | ({"allow_http": True} if plain else {})
    # Without keys only a machine of Amazon's own may have an account: it is asked, but not for minutes where there is none.
    named = address.scheme != "s3" or any(os.environ.get(name) for name in _CREDENTIALS)
    retry: Any = _RETRY if named else {"max_retries": 1, "retry_timeout": dt.timedelta(seconds=10)}
    try:
        if address.scheme == "s3":
            return obstore.store.S3Store(address.host, client_options=options, retry_config=retry)
        if address.scheme == "gs":
            return obstore.store.GCSStore(address.host, client_options=options, retry_config=retry)
        return obstore.store.HTTPStore.from_url(
            f"{address.scheme}://{address.host}", client_options=options, retry_config=retry
        )
    except (obstore.exceptions.BaseError, ValueError) as error:
        if "AccessKey" in str(error):
            # Half of what is needed.
            raise _no_credentials(address) from error
        raise InputError(f"{address} cannot be reached as the environment is set: {_first_line(error)}.") from error


def told(error: BaseException, address: Address, kind: Callable[[str], TesseraError]) -> TesseraError:
    """The error of a store as one sentence."""
    name, text = type(error).__name__, str(error)
    if name == "PreconditionError":
        return kind(f"{address} was changed while it was being read. Run the same command again.")
    if name == "UnauthenticatedError" or _UNKNOWN.search(text):
        return _no_credentials(address)
    if name == "PermissionDeniedError" or re.search(r"status:? (?:code: )?403", text):
        return InputError(
            f"{address} may not be read or written with what the environment says: the store refuses it. Check {_names(address)}, "
            "the name of the bucket, and what the account may do."
        )
    if re.search(r"NoSuchBucket|bucket (?:does not|doesn't) exist", text, re.IGNORECASE):
        return InputError(f"There is no bucket {address.host}; check its name and AWS_REGION or AWS_ENDPOINT_URL.")
    if name == "NotFoundError" or isinstance(error, FileNotFoundError):
        return InputError(f"There is no {address}; check the bucket and the path.")
    return kind(f"{address} does not answer ({_first_line(error)}). Run the same command again: what arrived is kept.")


def _names(address: Address) -> str:
    return "GOOGLE_APPLICATION_CREDENTIALS" if address.scheme == "gs" else "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"


def _no_credentials(address: Address) -> InputError:
    return InputError(f"{address} needs an account, and the environment names none that works; set {_names(address)}.")


def _first_line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:160]

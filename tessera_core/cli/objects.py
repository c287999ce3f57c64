"""Paths of a command line that are addresses of object stores: fetched before the command runs, and sent after it.

Every command works on files; where an input is an address it gets the mirrored file or folder, where an output is one it writes
into a folder of the cache, which is sent when the command has ended. So any command reads and writes stores, and none knows them.
"""

from __future__ import annotations

import argparse
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tessera_core.cli.paths import Declared, Input, Output
from tessera_core.cli.shares import scheduler_of
from tessera_core.errors import InputError

if TYPE_CHECKING:
    from tessera_core.sources.remote.addresses import Address
    from tessera_core.sources.remote.mirrors import Mirrors

_SCHEMES = ("s3://", "gs://", "https://", "http://")


class Stores:
    """The addresses of one command line. Nothing is imported where there is none."""

    def __init__(self) -> None:
        # Of each folder that is written to, the hidden folders in it that go to the store as well.
        self._folders: list[tuple[Path, Address, tuple[str, ...]]] = []
        self._files: list[tuple[Path, Address]] = []
        self._read: list[tuple[Path, Address]] = []
        self._in_part, self._outlined = False, set[Any]()

    def fetch(self, declared: Mapping[str, Declared], args: argparse.Namespace) -> None:
        """Put paths in the place of addresses.

        Args:
            declared: the command's ``PATHS``.
            args: parsed; changed.

        Raises:
            InputError: an address cannot be read or written, or an output is there already and ``--overwrite`` was not given.
            AcquisitionError: a store does not answer.
        """
        # Of tiles whoever maps them fetches what is left.
        self._in_part = bool(
            getattr(args, "share", None) is not None
            or getattr(args, "dry_run", False)
            or (hasattr(args, "scheduler") and scheduler_of(args))
        )
        for name, role in declared.items():
            value: Any = getattr(args, name, None)
            if not any(str(one).lower().startswith(_SCHEMES) for one in _listed(value)):
                continue
            meant = role(args) if callable(role) else role
            if isinstance(meant, Input) and not meant.urls:
                in_part = meant.by_tile and self._in_part
                paths = [self._fetched(one, in_part) for one in _listed(value)]
                setattr(args, name, paths if isinstance(value, list) else type(value)(paths[0]))
            elif isinstance(meant, Output):
                setattr(args, name, type(value)(self._prepared(str(value), meant, args)))
        if self.any:
            args.mirrors = self.mirrors()

    def send(self) -> None:
        """Send what the command wrote.

        Raises:
            InputError, ExportError: a store does not take it; folders are kept here, and the same command sends the rest.
        """
        from tessera_core.cli.console import ConsoleProgress
        from tessera_core.sources.remote.addresses import Address
        from tessera_core.sources.remote.objects import send

        self.send_folders()
        for file, address in self._files:
            names = [path.name for path in file.parent.iterdir() if path.is_file() and not path.name.startswith(".")]
            above = Address(address.scheme, address.host, address.path.rpartition("/")[0])
            send(file.parent, above, names, progress=ConsoleProgress("send"))
            shutil.rmtree(file.parent, ignore_errors=True)

    def send_folders(self) -> None:
        """Send what lies in folders that the command adds files to: each of them is whole, also where the command failed.

        Raises:
            InputError, ExportError: as :meth:`send`.
        """
        from tessera_core.cli.console import ConsoleProgress

        self.mirrors().send(ConsoleProgress("send"))

    def came(self) -> bool:
        """Take in what others have brought into the folders that the command wrote to, meanwhile; whether there was anything.

        Raises:
            InputError, AcquisitionError: a store does not answer.
        """
        return self.mirrors().came()

    def mirrors(self) -> Mirrors:
        """What is mirrored, for workers that have caches of their own."""
        from tessera_core.sources.remote.mirrors import Mirrors

        read = tuple((address, address in self._outlined) for _, address in self._read)
        return Mirrors(read, tuple((address, meets) for _, address, meets in self._folders))

    def told(self, value: Any) -> Any:
        """A result, or a sentence, with addresses in the place of paths."""
        if isinstance(value, str):
            for path, address in (*((one[0], one[1]) for one in self._folders), *self._files, *self._read):
                value = value.replace(str(path), str(address)).replace(
                    str(path.parent) + "/", str(address).rpartition("/")[0] + "/"
                )
            return value
        if isinstance(value, dict):
            return {key: self.told(one) for key, one in value.items()}
        if isinstance(value, list | tuple):
            return [self.told(one) for one in value]
        return value

    def send_done(self) -> None:
        """Of a command that failed, send what it had done: other shares and later runs on other machines know it by that."""
        from tessera_core.cli.console import ConsoleProgress

        self.mirrors().send_done(ConsoleProgress("send"))

    @property
    def any(self) -> bool:
        """Whether there is an address at all."""
        return bool(self._folders or self._files or self._read)

    def _fetched(self, text: str, in_part: bool) -> str:
        from tessera_core.cli.console import ConsoleProgress
        from tessera_core.sources.remote.addresses import Address, is_address
        from tessera_core.sources.remote.objects import fetch

        if not is_address(text):
            return text
        address = Address.parse(text)
        path = fetch(address, outlines=in_part, progress=ConsoleProgress("fetch"))
        self._read.append((path, address))
        self._outlined |= {address} if in_part else set()
        return str(path)

    def _prepared(self, text: str, role: Output, args: argparse.Namespace) -> str:
        """The path to write to."""
        from tessera_core.cli.console import ConsoleProgress
        from tessera_core.sources.remote.addresses import Address
        from tessera_core.sources.remote.objects import fetch, is_there, require_writable

        address = Address.parse(text)
        require_writable(address)
        path = address.folder
        if role.folder == "whole":
            raise InputError(f"This command replaces its folder as a whole; give a folder here, not {address}.")
        if role.folder == "into":
            # What other runs have brought there is taken into account, and the rest is done.
            self._folders.append((path, address, role.meets))
            return str(fetch(address, may_be_empty=True, meets=role.meets, progress=ConsoleProgress("fetch")))
        if is_there(address) and not getattr(args, "overwrite", False):
            raise InputError(
                f"{address} is there already; nothing was changed. Choose another name, or add --overwrite."
            )
        shutil.rmtree(path.parent, ignore_errors=True)
        path.parent.mkdir(parents=True)
        self._files.append((path, address))
        return str(path)


def _listed(value: Any) -> list[str]:
    return [] if value is None else [str(one) for one in value] if isinstance(value, list) else [str(value)]

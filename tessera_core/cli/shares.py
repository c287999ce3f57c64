"""The option that says which part of the work is done here, for job arrays: the same for every command that takes it."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tessera_core._utils.share import Share


def add_share_option(parser: argparse.ArgumentParser, what: str) -> None:
    """Declare the option.

    Args:
        what: things that are shared, for the help: "tiles".
    """
    parser.add_argument(
        "--share",
        metavar="I/N",
        help=f"do the I-th of N shares of the {what}, all into one folder; auto takes the place in a SLURM job array, auto/N "
        "in an indexed Kubernetes job",
    )


def share_of(args: argparse.Namespace) -> Share:
    """The share that the option names; the whole without it.

    Raises:
        InputError: it names none.
    """
    from tessera_core._utils.share import WHOLE, Share

    return WHOLE if args.share is None else Share.parse(args.share)

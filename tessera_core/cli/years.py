"""Years as people write them on a command line: ``2024``, ``2022,2024`` or ``2018-2024``; the one spelling for all commands."""

from __future__ import annotations

import argparse

from tessera_core.errors import InputError
from tessera_core.periods import is_period, period


def parse_years(text: str) -> list[int]:
    """Years from ``"2022,2024"`` or ``"2018-2024"``, in order, each once.

    Raises:
        InputError: the text is neither, or names a time without satellites.
    """
    years: set[int] = set()
    wrong = InputError(f"{text!r} is not a list of years; write 2024, 2022,2024 or 2018-2024.")
    for part in text.split(","):
        first, dash, last = part.strip().partition("-")
        if not (first.isdecimal() and (last.isdecimal() or not dash)) or max(len(first), len(last)) > 4:
            raise wrong
        if dash and int(last) < int(first):
            raise InputError(f"The years {part.strip()} run backwards; write {last}-{first}.")
        years.update(range(int(first), int(last or first) + 1))
    if not years or min(years) < 1970 or max(years) > 2100:
        raise wrong
    return sorted(years)


def add_years(
    parser: argparse._ActionsContainer, about: str, *, required: bool = False, default: str | None = None
) -> None:
    """Declare ``--years`` (``--year`` is the same), kept as text in ``args.years``."""
    parser.add_argument(
        "--years",
        "--year",
        metavar="Y,Y",
        required=required,
        default=default,
        help=f"such as 2024, 2022,2024 or 2018-2024{about}",
    )


def add_year(parser: argparse._ActionsContainer, about: str) -> None:
    """Declare ``--year`` (``--years`` is the same) for what takes one year, kept as a number in ``args.year``."""
    parser.add_argument("--year", "--years", type=one_year, metavar="YYYY", help=about)


def one_year(text: str) -> int:
    """A single year or other window (``"2023-10 to 2024-09"``, ``2023-10/2024-09``); the type of an argument.

    Raises:
        ArgumentTypeError: it is none, or several.
    """
    if is_period(text):
        return period(text)
    try:
        years = parse_years(text)
    except InputError as error:
        raise argparse.ArgumentTypeError(str(error)) from error
    if len(years) > 1:
        raise argparse.ArgumentTypeError(f"one year at a time is possible here, not {text}")
    return years[0]

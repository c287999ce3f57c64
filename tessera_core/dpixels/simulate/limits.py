"""Which landscapes can be simulated; apart from :mod:`.world`, so that a wrong wish is told before anything heavy is imported."""

from __future__ import annotations

from collections.abc import Sequence

from tessera_core.errors import InputError

FIRST_YEAR, LAST_YEAR = 2017, 2035
MIN_SIZE = 96


def require_possible(size: int, years: Sequence[int]) -> None:
    """Refuse a landscape that :func:`.world.make_world` cannot make.

    Args:
        size: pixels of 10 m along each side.
        years: that are to be observed.

    Raises:
        InputError: the size is odd or too small, or a year lies outside :data:`FIRST_YEAR` to :data:`LAST_YEAR`.
    """
    if size < MIN_SIZE or size % 2:
        raise InputError(f"A simulated landscape needs an even size of at least {MIN_SIZE} pixels, not {size}.")
    if not years or any(not FIRST_YEAR <= year <= LAST_YEAR for year in years):
        raise InputError(f"Simulated years run from {FIRST_YEAR} to {LAST_YEAR}; asked for {list(years)}.")

"""A share in percent, as all pages, reports and commands write it."""

from __future__ import annotations

# Nearer to an end than this is the end, for numbers that were reckoned; and so many decimals are added at most.
_SAME, _MOST = 1e-9, 2


def percent(share: float, digits: int = 0) -> str:
    """A share in percent, without the sign; what is not nothing is never written as 0, and what is not all never as 100.

    After one mistake an interval that ends at 99.6 ends there, and not at 100. Up to two decimals are added until that is so; what
    lies nearer to an end is below or above them. Of two shares the smaller is never written as the larger.

    Args:
        share: 0 to 1.
        digits: decimals of a share that needs no more.

    Example:
        >>> [percent(one) for one in (0.864, 0.996, 0.99996, 1.0, 0.0, 0.002, 0.00002)]
        ['86', '99.6', '>99.99', '100', '0', '0.2', '<0.01']
        >>> percent(0.5, 1), percent(0.9996, 1)
        ('50.0', '99.96')
    """
    value = 100 * share
    text = f"{value:.{digits}f}"
    whole = {f"{end:.{digits}f}" for end in (0, 100)} | {f"{-0.0:.{digits}f}"}
    if text not in whole or min(abs(share), abs(1 - share)) < _SAME:
        return text.removeprefix("-") if text in whole else text
    if digits >= _MOST:
        step = 10.0**-digits
        return f"<{step:.{digits}f}" if share < 0.5 else f">{100 - step:.{digits}f}"
    return percent(share, digits + 1)

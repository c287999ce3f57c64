"""Markdown tables of means and spreads."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np


def mean_sd(values: Sequence[float], *, signed: bool = False) -> str:
    """``.812 ± .014`` for scores; with ``signed``, losses in points as changes: ``-3.1 ± 0.4``. A single value has no spread."""
    if not len(values):
        return "-"
    mean, spread = float(np.mean(values)), float(np.std(values))
    # Adding zero turns a rounded -0.0 into 0.0.
    middle = f"{round(-mean, 1) + 0.0:+.1f}" if signed else f"{mean:.3f}".replace("0.", ".", 1)
    if len(values) == 1:
        return middle
    return f"{middle} ± {spread:.1f}" if signed else f"{middle} ± {spread:.3f}".replace("± 0.", "± .")


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table."""
    lines = ["| " + " | ".join(header) + " |", "|" + "---|" * len(header)]
    return "\n".join(lines + ["| " + " | ".join(row) + " |" for row in rows]) + "\n"

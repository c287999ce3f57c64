"""From Sentinel products to d-pixel numbers: SCL masks, daily mosaics, offset harmonisation, radar coding.

Pure array functions after docs/spec/model.md sections 4.3 and 4.4. Two rules for the Sentinel-2 processing offset are offered:
the authors' (by acquisition date) and the correct one (by each item's own baseline); who calls says which in the provenance.
"""

from __future__ import annotations

import datetime as dt
from typing import Literal

import numpy as np
from numpy.typing import NDArray

OffsetRule = Literal["date", "baseline"]

INVALID_SCL = (0, 1, 2, 3, 8, 9)
"""No data, saturated, dark, cloud shadow, medium and high cloud probability. Thin cirrus, snow and water count as clear."""

OFFSET_SINCE = dt.date(2022, 1, 25)
"""Acquisitions strictly after this day carry the offset under the authors' rule."""
OFFSET = 1000.0
OFFSET_BASELINE = 4.0
"""First processing baseline whose digital numbers carry the offset."""


def scl_valid(scl: NDArray[np.floating] | NDArray[np.integer]) -> NDArray[np.bool_]:
    """Which pixels of a scene classification are usable; NaN (outside the scene) is not. Any shape."""
    scl = np.asarray(scl)
    known = np.where(np.isfinite(scl), scl, 0).astype(np.int64) if scl.dtype.kind == "f" else scl.astype(np.int64)
    return (known > 0) & (known <= 11) & ~np.isin(known, INVALID_SCL)


def select_items(scl: NDArray[np.floating], roi: NDArray[np.bool_]) -> NDArray[np.int8]:
    """Per pixel the first of one day's items that sees the ground there.

    Args:
        scl: (N, H, W) scene classes of the day's items in search order, NaN outside a scene.
        roi: bool (H, W).

    Returns:
        int8 (H, W): the item's index, -1 where no item is valid or the pixel lies outside the ROI.
    """
    valid = scl_valid(scl)
    chosen = np.where(valid.any(0) & roi, np.argmax(valid, 0), -1)
    return chosen.astype(np.int8)


def fallback_items(choice: NDArray[np.int8], roi: NDArray[np.bool_], items: int, seed: int) -> NDArray[np.int8]:
    """Give each ROI pixel that no item sees clearly a randomly chosen item, so that cloudy values are kept.

    Args:
        choice: int8 (H, W) of :func:`select_items`.
        items: how many items the day has.
        seed: makes the draw repeatable; use the day.
    """
    if items <= 1:
        return np.where((choice < 0) & roi, 0, choice).astype(np.int8)
    drawn = np.random.default_rng(seed).integers(0, items, choice.shape)
    return np.where((choice < 0) & roi, drawn, choice).astype(np.int8)


def mosaic(values: NDArray[np.floating], choice: NDArray[np.int8]) -> NDArray[np.floating]:
    """Values (N, H, W) of a day's items put together by ``choice`` (H, W); 0 where the choice is -1 or the value is NaN."""
    picked = np.take_along_axis(values, np.maximum(choice, 0).astype(np.intp)[None], axis=0)[0]
    return np.where((choice >= 0) & np.isfinite(picked), picked, 0)


def harmonise(
    values: NDArray[np.floating], date: dt.date, *, rule: OffsetRule, source: str, baseline: float | None = None
) -> NDArray[np.floating]:
    """Take the offset of newer processing baselines out of Sentinel-2 digital numbers.

    The authors' rule (``"date"``): on Planetary Computer data acquired strictly after 2022-01-25, 1000 is subtracted from
    values >= 1000; smaller ones stay, NaN stays; AWS data is left alone. The correct rule (``"baseline"``): 1000 is
    subtracted from every non-zero value of an item of processing baseline 04.00 or newer, whatever its date, floored at 1
    because 0 means no data (docs/spec/facts.md section 1.1).

    Args:
        values: digital numbers of any shape, NaN = no data.
        date: day of acquisition.
        source: ``"mpc"`` or ``"aws"``; AWS items come with the offset already removed.
        baseline: the item's processing baseline such as 5.09; needed by the ``"baseline"`` rule. Pass None for an item that
            declares its offset as already removed.
    """
    if source == "aws" and rule == "date":
        return values
    if rule == "date":
        return np.where(values >= OFFSET, values - OFFSET, values) if date > OFFSET_SINCE else values
    if baseline is None or baseline < OFFSET_BASELINE:
        return values
    return np.where(values > 0, np.maximum(values - OFFSET, 1), values)


def to_dn(values: NDArray[np.floating]) -> NDArray[np.uint16]:
    """Digital numbers truncated to uint16; NaN becomes 0 (no data)."""
    return np.clip(np.nan_to_num(values, nan=0.0, posinf=0.0, neginf=0.0), 0, 65535).astype(np.uint16)


def sar_code(power: NDArray[np.floating]) -> NDArray[np.int16]:
    """Code linear radar power as ``trunc(clip((20 log10(power) + 50) * 200, 0, 32767))`` int16; 0 where it is no number > 0.

    The amplitude formula applied to power is what the models were trained with (docs/spec/model.md section 4.4), so a code is
    twice the usual decibels.
    """
    good = np.isfinite(power) & (power > 0)
    decibels = 20 * np.log10(np.where(good, power, 1).astype(power.dtype))
    return np.where(good, np.clip((decibels + 50) * 200, 0, 32767), 0).astype(np.int16)


def first_nonzero(layers: NDArray[np.int16]) -> NDArray[np.int16]:
    """Mosaic of one day's passes (N, H, W, ...): per value the first that is not 0."""
    seen = layers != 0
    return np.take_along_axis(layers, np.argmax(seen, 0)[None], axis=0)[0]

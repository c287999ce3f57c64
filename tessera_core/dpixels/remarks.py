"""What is odd about the numbers of a d-pixel tile: a Sentinel-2 offset left in, no usable date, no radar, absurd values.

Nothing is refused or mended here: each finding is a sentence for the person whose data it is. Looks at a sample of rows, so that a
large tile takes a moment; only whether there is any observation at all is asked of the whole tile.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from tessera_core._utils.percents import percent
from tessera_core.dpixels.preprocess import OFFSET
from tessera_core.dpixels.tile import S2_BANDS, DPixelTile
from tessera_core.periods import Period

_ROWS, _COLS = 32, 128
_RED, _BLUE, _INFRARED = S2_BANDS.index("B04"), S2_BANDS.index("B02"), S2_BANDS.index("B08")
# Of an observation the darkest band counts: vegetation is dark in red and blue, water and snow in the far infrared, shadow in all.
# Over many observations its first percentile is 40 to 180 on real tiles of fields, forest and towns, and 1040 up with the offset.
_DARK = OFFSET - 10
# Thin cloud and white ground are brighter than dark ground with the offset.
_BRIGHT = OFFSET + 1500
# Few pixels may all be a roof; then only green ground tells.
_MANY, _SEVERAL = 400, 25
_SHARE_OF_MANY, _SHARE = 0.25, 0.6
_FEW_DATES = 5
_STRONG = 10.0


def remarks(tile: DPixelTile) -> tuple[str, ...]:
    """Sentences about a tile whose embeddings would not be what they seem; empty where nothing is odd."""
    said = [*_dates(tile), *_optical(tile), *_radar(tile)]
    return tuple(said)


def _dates(tile: DPixelTile) -> Iterator[str]:
    """Whether each sensor saw the tile at all, and in its year."""
    days = [date for date in range(len(tile.doys)) if _seen(tile, tile.masks[date])]
    if not len(tile.doys):
        yield "There is no Sentinel-2 date: the embeddings will rest on radar alone."
    elif not len(days):
        yield (
            f"Not one of the {len(tile.doys)} Sentinel-2 dates is usable: masks.npy marks all of them as cloud, so the embeddings "
            "will rest on radar alone."
        )
    elif len(days) < _FEW_DATES:
        dates = "date is" if len(days) == 1 else "dates are"
        yield f"Only {len(days)} of {len(tile.doys)} Sentinel-2 {dates} usable; a year of a pixel usually has dozens."
    passes = (tile.sar_asc, tile.sar_desc)
    if not any(_seen(tile, one[..., band]) for sar in passes for one in sar for band in range(2)):
        count = sum(map(len, passes))
        what = f"The {count} Sentinel-1 passes hold no value" if count else "There is no Sentinel-1 pass"
        yield f"{what}: the embeddings will rest on optical images alone."
    if tile.year is not None and not isinstance(tile.year, Period) and not _leap(tile.year):
        late = sum(int((days == 366).sum()) for days in (tile.doys, tile.doys_asc, tile.doys_desc))
        if late:
            yield f"{late} {'date is' if late == 1 else 'dates are'} of day 366, which {tile.year} has not."


def _leap(year: int) -> bool:
    return year % 4 == 0 and (year % 100 != 0 or year % 400 == 0)


def _seen(tile: DPixelTile, values: NDArray[np.integer]) -> bool:
    """Whether any value (H, W) inside the region of interest is not 0; mostly the sampled rows tell."""
    rows, _ = _sample(tile)
    inside = np.True_ if tile.roi is None else tile.roi
    few = (np.asarray(values[rows]) != 0) & (inside if tile.roi is None else tile.roi[rows])
    return bool(few.any()) or bool(((np.asarray(values) != 0) & inside).any())


def _sample(tile: DPixelTile) -> tuple[NDArray[np.intp], slice]:
    """Rows and columns to look at."""
    height, width = tile.shape
    rows = np.arange(height) if tile.roi is None else np.flatnonzero(tile.roi.any(1))
    chosen = rows[np.unique(np.linspace(0, max(len(rows) - 1, 0), min(_ROWS, len(rows))).astype(np.intp))]
    return chosen, slice(None, None, max(1, width // _COLS))


def _optical(tile: DPixelTile) -> Iterator[str]:
    rows, cols = _sample(tile)
    inside = np.ones((len(rows), len(range(tile.shape[1])[cols])), bool) if tile.roi is None else tile.roi[rows, cols]
    clear: list[NDArray[np.float32]] = []
    for date in range(len(tile.doys)):
        values = np.asarray(tile.bands[date, rows, cols], np.float32)
        usable = (np.asarray(tile.masks[date, rows, cols]) != 0) & inside & (values > 0).all(-1)
        clear.append(values[usable])
    everything = np.concatenate(clear) if clear else np.zeros((0, len(S2_BANDS)), np.float32)
    if not len(everything):
        return
    yield from _offset(clear, everything, int(inside.sum()))
    above = float((everything > 20_000).any(1).mean())
    if above > 0.01:
        yield (
            f"{percent(above)} % of the usable Sentinel-2 values are above a reflectance of 2, which no ground has; "
            "bands.npy should hold reflectance times 10000."
        )
    elif (brightest := float(np.percentile(everything.max(1), 99))) < 100:
        yield (
            f"Sentinel-2 values reach {brightest:.0f} only, a reflectance of {brightest / 10000:.3f}; bands.npy should hold "
            "reflectance times 10000."
        )


def _offset(clear: list[NDArray[np.float32]], everything: NDArray[np.float32], pixels: int) -> Iterator[str]:
    least = 1 if pixels < _SEVERAL else _SEVERAL
    dates = [values for values in clear if len(values) >= least]
    marked = [values for values in dates if _carries_offset(values)]
    whole = _carries_offset(everything)
    share = len(marked) / max(len(dates), 1)
    if not whole and (pixels < _SEVERAL or share < (_SHARE_OF_MANY if pixels >= _MANY else _SHARE)):
        return
    if pixels < _SEVERAL and not _green(everything):
        return
    found = everything if whole else np.concatenate(marked)
    where = "" if whole else f" on {len(marked)} of {len(dates)} dates"
    yield (
        f"The darkest Sentinel-2 values are about {_darkest(found):.0f}{where}: the offset of 1000 that images since January 2022 "
        "carry (processing baseline 04.00) seems not to have been taken off. The models expect it taken off; embeddings of this "
        "tile would be wrong."
    )


def _darkest(values: NDArray[np.float32]) -> float:
    return float(np.percentile(values.min(1), 1))


def _carries_offset(values: NDArray[np.float32]) -> bool:
    """Whether observations (N, bands) are as dark ground is with the offset, and would be ground without it."""
    if not _DARK <= _darkest(values) <= _BRIGHT:
        return False
    red, blue = (float(np.median(values[:, band])) - OFFSET for band in (_RED, _BLUE))
    # Bright sand is that dark in blue only; without 1000 its blue would be nearly nothing beside its red.
    return blue > 0.35 * red


def _green(values: NDArray[np.float32]) -> bool:
    """Whether a part of the observations would be dense vegetation if 1000 were taken off."""
    red, infrared = (np.maximum(values[:, band] - OFFSET, 1) for band in (_RED, _INFRARED))
    return float(np.percentile((infrared - red) / (infrared + red), 95)) > 0.6


def _radar(tile: DPixelTile) -> Iterator[str]:
    rows, cols = _sample(tile)
    samples = [
        np.asarray(sar[number, rows, cols], np.float32).reshape(-1, 2)
        for sar in (tile.sar_asc, tile.sar_desc)
        for number in range(len(sar))
    ]
    values = np.concatenate(samples) if samples else np.zeros((0, 2), np.float32)
    found = values != 0
    if not found.any():
        return
    # Stored is (20 log10(power) + 50) * 200, which counts decibels twice; 0 = missing (docs/spec/model.md section 4).
    db = (values / 200 - 50) / 2
    absurd = float(((values < 0) | (db > _STRONG))[found].mean())
    if absurd > 0.01:
        yield (
            f"{percent(absurd)} % of the Sentinel-1 values are negative or above {_STRONG:.0f} dB, as no ground is; the files "
            "should hold (20 log10(power) + 50) * 200."
        )
        return
    both = found.all(1)
    if both.any() and float(np.median(db[both, 0] - db[both, 1])) < -1:
        yield "Sentinel-1's VH is stronger than its VV, as on no ground; the two are probably exchanged in the files."

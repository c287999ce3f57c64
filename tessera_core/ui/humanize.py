"""Plain words for numbers and facts: sizes, times, areas and where embeddings come from. Pure text, no Streamlit."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from tessera_core.areas import square_kilometres
from tessera_core.grid import Grid
from tessera_core.language import localized, numeral, relay, t
from tessera_core.periods import period
from tessera_core.provenance import Provenance

if TYPE_CHECKING:
    from tessera_core._utils.partial import Failure
    from tessera_core.project.library import Identified


# Streamlit makes a link of an address even where its signs are escaped; an invisible sign (a word joiner) parts it.
_BARE = re.compile(r"https?(?=:)|www(?=\.)|\S(?=@)", re.IGNORECASE)


def escape(text: str) -> str:
    """Text of a person's own as Markdown that shows it as it is."""
    return re.sub(r"([\\`*_{}\[\]<>()#+!|~$:^&])", r"\\\1", _no_address(" ".join(text.split())))


def _no_address(text: str) -> str:
    return _BARE.sub("\\g<0>\u2060", text)


def plain(text: str) -> str:
    """A sentence of the program as Markdown: names of anybody in it are no link, no picture and no formula.

    >>> plain("There is no class '![](b.png)'.")
    "There is no class '!\\\\[\\\\](b.png)'."
    >>> ascii(plain("There is no class 'www.a.example'."))
    '"There is no class \\'www\\\\u2060.a.example\\'."'
    """
    return re.sub(r"([\\\[\]<$`&])", r"\\\1", _no_address(text))


def told(error: BaseException) -> str:
    """What an error says, in the reader's language, as Markdown: see :func:`plain`."""
    return plain(relay(error))


def ago(seconds: float) -> str:
    """``"just now"``, ``"12 s ago"``, ``"3 min ago"``, ``"2 h ago"``, ``"5 days ago"``."""
    if seconds < 5:
        return t("just now")
    if seconds < 60:
        return t("{n} s ago", n=int(seconds))
    if seconds < 3600:
        return t("{n} min ago", n=int(seconds // 60))
    if seconds < 48 * 3600:
        return t("{n} h ago", n=int(seconds // 3600))
    return t("{n} days ago", n=int(seconds // 86400))


def saved(at: float, now: float) -> str:
    """``"Saved 12 s ago"``; both times in seconds since 1970."""
    return t("Saved {ago}", ago=ago(now - at))


def duration(seconds: float) -> str:
    """``"20 s"``, ``"3 min"``, ``"1 h"``, ``"1 h 20 min"``, rounded as an estimate deserves."""
    if seconds < 10:
        return t("a few seconds")
    if seconds < 90:
        return t("{n} s", n=5 * round(seconds / 5))
    minutes = round(seconds / 60)
    hours, rest = divmod(minutes, 60)
    parts = [t("{n} h", n=hours)] * (hours > 0) + [t("{n} min", n=rest)] * (rest > 0)
    return " ".join(parts)


def size(count: int) -> str:
    """Bytes as ``"640 B"``, ``"12 KB"``, ``"3.4 MB"``, ``"1.2 GB"``."""
    if count < 1000:
        return f"{count} B"
    for unit, name in ((1e3, "KB"), (1e6, "MB"), (1e9, "GB")):
        value = count / unit
        if value < 999.5 or name == "GB":
            return f"{numeral(value, '.1f' if value < 9.95 and name != 'KB' else '.0f')} {name}"
    raise AssertionError("unreachable")


def place_on_disk(path: Path) -> str:
    """A path as people say it: from their own folder where it lies in that, else by its last two names.

    >>> place_on_disk(Path.home() / "maps"), place_on_disk(Path("/mnt/disk/studio/cache"))
    ('~/maps', '…/studio/cache')
    """
    home = Path.home()
    if path.is_relative_to(home) and path != home:
        return f"~/{path.relative_to(home).as_posix()}"
    return f"…/{'/'.join(path.parts[-2:])}" if len(path.parts) > 3 else str(path)


def position(lat: float, lon: float) -> str:
    """Degrees with their hemispheres: ``"52.01609° N, 3.89450° E"``, ``"33.45000° S, 70.66667° W"``."""
    return f"{abs(lat):.5f}° {'S' if lat < 0 else 'N'}, {abs(lon):.5f}° {'W' if lon < 0 else 'E'}"


def decimals(scale: float) -> int:
    """Digits after the point that show two telling digits of a number of that size: 0 for 35, 1 for 3.5, 3 for 0.035."""
    if not math.isfinite(scale) or scale == 0:
        return 0
    return min(max(1 - math.floor(math.log10(abs(scale))), 0), 9)


def number(value: float, scale: float, *, sign: bool = False) -> str:
    """A number as exact as :func:`decimals` of ``scale``, which may be its margin.

    Args:
        sign: whether a plus is written, too.
    """
    text = f"{abs(value):,.{decimals(scale)}f}"
    if not float(text.replace(",", "")):
        return localized(text)
    return f"{'−' if value < 0 else '+' if sign else ''}{localized(text)}"


def year_name(year: int | None) -> str:
    """``"2024"``; ``"no year"`` where the embeddings have none."""
    return t("no year") if year is None else t("{year}", year=period(year))


def years(values: Sequence[int | None]) -> str:
    """``"2023 and 2024"``; ``"no year given"`` where none is known."""
    known = sorted({year for year in values if year is not None})
    if not known:
        return t("no year given")
    texts = [year_name(year) for year in known]
    return texts[0] if len(texts) == 1 else t("{first} and {last}", first=", ".join(texts[:-1]), last=texts[-1])


def area(grid: Grid) -> str:
    """Size of a grid on the ground, e.g. ``"26.2 km² (512 x 512 pixels of 10 m)"``."""
    pixels = t("{width} x {height} pixels", width=grid.width, height=grid.height)
    if not grid.georeferenced:
        return t("{pixels}, place on Earth unknown", pixels=pixels)
    km2 = square_kilometres(grid)
    side = grid.pixel_area_m2**0.5
    return t(
        "{km2} km² ({pixels} of {side} m)",
        km2=numeral(km2, f".{1 if km2 < 100 else 0}f"),
        pixels=pixels,
        side=numeral(side, ".3g"),
    )


def identified(what: Identified) -> str:
    """What was found at a path, in one sentence."""
    if what.project is not None:
        return t("The project {name}.", name=repr(what.name))
    _, _, raster = what.rasters[0]
    numbers = t("{dim} numbers a pixel", dim=raster.dim)
    return f"{area(raster.grid)}; {raster.provenance.title}, {numbers}; {years([year for year, _, _ in what.rasters])}."


def left_out(failure: Failure) -> str:
    """That something of many was left out, and why, as Markdown."""
    return escape(t("{what} is left out: {why}", what=failure.what, why=relay(failure.why)))


def provenance_line(provenance: Provenance, of_years: Sequence[int | None]) -> str:
    """One line for the header of every page: years, dataset, source."""
    return " · ".join((years(of_years), provenance.title, relay(provenance.origin)))

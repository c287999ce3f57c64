"""Samples for checking a map: how many places, how many in each stratum, which, and the table in which they travel.

Owns the designs and their CSV; what follows from a filled-in sample is the business of :mod:`tessera_core.assess.area`.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from tessera_core._utils.atomic import write_text
from tessera_core._utils.csvcells import quoted_row, unquoted
from tessera_core.areas import class_pixels
from tessera_core.assess.area import Assessment, assess_sample
from tessera_core.errors import LabelError
from tessera_core.grid import Grid
from tessera_core.labels.classfield import CANNOT_TELL

Allocation = Literal["proportional", "equal", "optimal"]
DESIGNS = ("random", "stratified", "systematic")
# What a place is, and what an answer is about.
UNITS = ("pixel", "block")
RULES = ("majority", "centre")
# Where nothing is known of a class yet, its user's accuracy is taken as this.
GUESSED_ACCURACY = 0.8
MIN_PER_STRATUM = 2
COLUMNS = ("id", "row", "col", "x", "y", "lon", "lat", "stratum", "mapped", "reference", "note")


def sample_size(
    shares: Mapping[int, float],
    accuracy: Mapping[int, float],
    standard_error: float,
    population: int | None = None,
) -> int:
    """Places needed for a wanted standard error of overall accuracy (Cochran 1977, eq. 5.25; Olofsson et al. 2014, eq. 13).

    Args:
        shares: share of the region mapped as each class; they are scaled to sum to 1.
        accuracy: expected user's accuracy of each class, 0..1; where missing, 0.8.
        standard_error: of overall accuracy, e.g. 0.01 for an interval of 2 points up and down.
        population: pixels of the region; None for so many that they do not matter.

    Raises:
        LabelError: a number is out of range.
    """
    if not 0 < standard_error < 0.5:
        raise LabelError("The wanted standard error must lie between 0 and 50 points; 1 point is a usual choice.")
    spread = _spreads(shares, accuracy)
    weight = _weights(shares)
    by_class = sum(weight[k] * spread[k] for k in weight)
    within = sum(weight[k] * spread[k] ** 2 for k in weight)
    finite = within / population if population else 0.0
    return max(int(np.ceil(by_class**2 / (standard_error**2 + finite) - 1e-9)), MIN_PER_STRATUM * len(weight))


def allocate(
    n: int,
    shares: Mapping[int, float],
    method: Allocation = "proportional",
    accuracy: Mapping[int, float] | None = None,
    at_least: int = MIN_PER_STRATUM,
) -> dict[int, int]:
    """Share ``n`` places among strata, each getting at least ``at_least``.

    ``"proportional"`` by area, ``"equal"``, or ``"optimal"``: by area times the spread of the expected accuracy (Neyman's
    allocation, Cochran 1977, eq. 5.26). Rounded by largest remainders, so that the sum is ``n``.

    Raises:
        LabelError: ``n`` does not suffice for ``at_least`` everywhere.
    """
    weight = _weights(shares)
    if method == "equal":
        wish = dict.fromkeys(weight, 1.0)
    elif method == "optimal":
        spread = _spreads(shares, accuracy or {})
        wish = {k: weight[k] * spread[k] for k in weight}
        if not sum(wish.values()):
            wish = weight
    elif method == "proportional":
        wish = weight
    else:
        raise LabelError(f"There is no allocation {method!r}; there are proportional, equal and optimal.")
    if n < at_least * len(wish):
        raise LabelError(
            f"{n} places are too few for {len(wish)} strata with at least {at_least} each; ask for {at_least * len(wish)}."
        )
    room, given = n, dict.fromkeys(wish, 0)
    open_strata = dict(wish)
    # Strata that would fall below the least number get it; the others share what is left.
    while True:
        total = sum(open_strata.values()) or 1.0
        low = [k for k, w in open_strata.items() if room * w / total < at_least]
        if not low:
            break
        for k in low:
            given[k] = at_least
            room -= at_least
            del open_strata[k]
    exact = {k: room * w / total for k, w in open_strata.items()}
    for k, value in exact.items():
        given[k] = int(value)
    left = n - sum(given.values())
    for k in sorted(exact, key=lambda k: (int(exact[k]) - exact[k], k))[:left]:
        given[k] += 1
    return given


@dataclass(frozen=True)
class Sample:
    """Places to look at, in the order in which to look at them.

    Attributes:
        rows, cols: int (n,) pixels.
        strata: int (n,); all 0 where the design has none.
        mapped: int (n,) class on the map.
        reference: int (n,) what a person saw; 0 where nobody has looked yet or could tell.
        notes: one line for each place.
        sizes: pixels of each stratum in the region.
        design: one of :data:`DESIGNS`.
        counted: class -> pixels of it on the map that ``mapped`` is of; None where that was never at hand.
    """

    rows: NDArray[np.int64]
    cols: NDArray[np.int64]
    strata: NDArray[np.int64]
    mapped: NDArray[np.int64]
    reference: NDArray[np.int64]
    notes: tuple[str, ...]
    sizes: dict[int, int]
    design: str
    counted: dict[int, int] | None = None

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def answered(self) -> int:
        """Places that somebody has looked at."""
        return int((self.reference > 0).sum())

    def answer(self, position: int, class_id: int, note: str = "") -> Sample:
        """With the answer for one place; class 0 takes it back."""
        reference = self.reference.copy()
        reference[position] = class_id
        return replace(self, reference=reference, notes=(*self.notes[:position], note, *self.notes[position + 1 :]))

    def assess(self, total_area: float | None = None) -> Assessment:
        """Areas and accuracy from the places answered so far.

        They are unbiased only when all are answered, or answered in their order (which is random).

        Raises:
            LabelError: a stratum has no answered place yet.
        """
        # Where a newer map shows nothing, it cannot be right or wrong.
        done = (self.reference > 0) & (self.mapped > 0)
        if not done.any():
            raise LabelError("No place of the sample has been looked at yet.")
        return assess_sample(
            self.strata[done], self.mapped[done], self.reference[done], self.sizes, total_area, self.counted
        )


def draw(
    classes: NDArray[np.integer],
    n: int,
    design: str = "stratified",
    *,
    strata: NDArray[np.integer] | None = None,
    allocation: Allocation = "proportional",
    accuracy: Mapping[int, float] | None = None,
    at_least: int = MIN_PER_STRATUM,
    seed: int = 0,
) -> Sample:
    """Draw a sample from a map.

    ``"random"`` is simple random; ``"stratified"`` draws at random within each stratum; ``"systematic"`` takes a square net
    with a random start, whose errors are estimated as if it were random (which is careful; Cochran 1977, section 8.11).
    The places come in random order, so that stopping early does no harm; first those that give each stratum
    :data:`MIN_PER_STRATUM`, without which nothing follows from them.

    Args:
        classes: (H, W) the map, 0 where there is no data.
        n: places; a net has about as many.
        design: one of :data:`DESIGNS`.
        strata: (H, W) zones for ``"stratified"``, 0 where there is none; by default the classes of the map.
        allocation, accuracy, at_least: see :func:`allocate`.
        seed: for the draw.

    Raises:
        LabelError: the design is unknown, or the map has too few pixels.
    """
    if design not in DESIGNS:
        raise LabelError(f"There is no design {design!r}; there are {', '.join(DESIGNS)}.")
    zones = classes if strata is None else strata
    covered = (classes > 0) & (zones > 0) if design == "stratified" else classes > 0
    pixels = np.flatnonzero(covered)
    if not 1 <= n <= len(pixels):
        raise LabelError(f"A sample of {n} places cannot be drawn from {len(pixels)} pixels of the map.")
    rng = np.random.default_rng(seed)
    sizes = {0: len(pixels)}
    stratum = np.zeros(classes.size, np.int64)
    if design == "random":
        chosen = rng.choice(pixels, n, replace=False)
    elif design == "systematic":
        chosen = _net(covered, n, rng)
    else:
        stratum = zones.astype(np.int64).ravel()
        ids, counts = np.unique(stratum[pixels], return_counts=True)
        sizes = dict(zip(ids.tolist(), counts.tolist(), strict=True))
        wanted = allocate(n, sizes, allocation, accuracy, at_least)
        chosen = np.concatenate(
            [rng.choice(pixels[stratum[pixels] == k], min(wanted[k], sizes[k]), replace=False) for k in sorted(wanted)]
        )
    chosen = chosen[looking_order(stratum[chosen], rng)]
    rows, cols = np.divmod(chosen, classes.shape[1])
    mapped = classes.ravel()[chosen].astype(np.int64)
    on_map = class_pixels(classes if strata is None else np.where(covered, classes, 0))
    none, notes = np.zeros(len(chosen), np.int64), ("",) * len(chosen)
    return Sample(rows, cols, stratum[chosen], mapped, none, notes, sizes, design, on_map)


def looking_order(strata: NDArray[np.int64], rng: np.random.Generator) -> NDArray[np.int64]:
    """The order, int (n,), in which to look at places: by chance, but first :data:`MIN_PER_STRATUM` of each stratum.

    Example:
        >>> strata = np.array([1, 1, 1, 1, 2, 2])
        >>> sorted(strata[looking_order(strata, np.random.default_rng(0))][:4].tolist())
        [1, 1, 2, 2]
    """
    order: NDArray[np.int64] = rng.permutation(len(strata))
    # Which place of a stratum comes when is chance; that each stratum comes soon need not be.
    return order[np.argsort(np.minimum(_turns(strata[order]), MIN_PER_STRATUM), kind="stable")]


def _turns(strata: NDArray[np.int64]) -> NDArray[np.int64]:
    """How many places of its own stratum come before each, int (n,)."""
    turns = np.zeros(len(strata), np.int64)
    for one in np.unique(strata):
        turns[strata == one] = np.arange((strata == one).sum())
    return turns


def _net(covered: NDArray[np.bool_], n: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """Pixels of a square net with about ``n`` nodes on the covered ground."""
    step = float(np.sqrt(covered.sum() / n))
    rows, cols = (np.floor(np.arange(rng.random() * step, size, step)).astype(np.int64) for size in covered.shape)
    flat: NDArray[np.int64] = (rows[:, None] * covered.shape[1] + cols).ravel()
    flat = flat[covered.ravel()[flat]]
    if not len(flat):
        raise LabelError("The net misses the map; ask for more places.")
    return flat


def _weights(shares: Mapping[int, float]) -> dict[int, float]:
    total = sum(shares.values())
    if not shares or not total > 0 or min(shares.values()) < 0:
        raise LabelError("The strata need shares or sizes above zero.")
    return {k: share / total for k, share in shares.items() if share > 0}


def _spreads(shares: Mapping[int, float], accuracy: Mapping[int, float]) -> dict[int, float]:
    """Standard deviation of being right in each stratum, ``sqrt(U (1 - U))``."""
    values = {k: accuracy.get(k, GUESSED_ACCURACY) for k in shares}
    if not all(0 <= u <= 1 for u in values.values()):
        raise LabelError("Expected accuracies must lie between 0 and 100 %.")
    return {k: float(np.sqrt(u * (1 - u))) for k, u in values.items()}


# -- the sample as a table -----------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class SampleTable:
    """What the CSV of a sample says.

    Attributes:
        sample: the places and the answers.
        undecided: positions at which a person looked and could not tell.
        unit: one of :data:`UNITS`.
        rule: one of :data:`RULES`.
    """

    sample: Sample
    undecided: frozenset[int] = frozenset()
    unit: str = UNITS[0]
    rule: str = RULES[0]


def to_csv(
    sample: Sample,
    grid: Grid,
    names: Mapping[int, str],
    *,
    undecided: Collection[int] = (),
    unit: str = UNITS[0],
    rule: str = RULES[0],
) -> str:
    """The sample as CSV with a header, classes by name; a first line ``# ...`` holds design, unit, rule and sizes of the strata.

    Args:
        sample: the places and the answers.
        grid: of the map.
        names: of the classes.
        undecided: positions at which a person could not tell; as a class they have ``cannot tell``.
        unit: what a place is, one of :data:`UNITS`.
        rule: what an answer is about, one of :data:`RULES`.
    """
    taken = {name.strip().casefold() for name in names.values()}
    cannot_tell = next((one for one in CANNOT_TELL if one not in taken), "")
    out = io.StringIO()
    sizes = ";".join(f"{k}:{size}" for k, size in sample.sizes.items())
    out.write(f"# design={sample.design} unit={unit} rule={rule} strata={sizes}\n")
    table = csv.writer(out, lineterminator="\n")
    table.writerow(COLUMNS)
    x, y = grid.pixel_to_xy(sample.rows + 0.5, sample.cols + 0.5)
    lon, lat = (
        grid.pixel_to_lonlat(sample.rows + 0.5, sample.cols + 0.5)
        if grid.georeferenced
        else (np.full(len(sample), np.nan),) * 2
    )
    for i in range(len(sample)):
        place = [f"{v:.7f}" if np.isfinite(v) else "" for v in (lon[i], lat[i])]
        seen = int(sample.reference[i])
        row = [i + 1, sample.rows[i], sample.cols[i], f"{x[i]:.3f}", f"{y[i]:.3f}", *place, sample.strata[i]]
        told = _name(names, seen) if seen else cannot_tell if i in undecided else ""
        said = [_name(names, int(sample.mapped[i])), told, sample.notes[i]]
        table.writerow(quoted_row([*row, *said]))
    return out.getvalue()


def write_csv(path: str | Path, sample: Sample, grid: Grid, names: Mapping[int, str]) -> None:
    """:func:`to_csv` to a file, whole or not at all."""
    write_text(path, to_csv(sample, grid, names))


def from_csv(text: str, names: Mapping[int, str]) -> Sample:
    """The places and answers of :func:`read_table`.

    Raises:
        LabelError: likewise.
    """
    return read_table(text, names).sample


def read_table(text: str, names: Mapping[int, str], grid: Grid | None = None) -> SampleTable:
    """The inverse of :func:`to_csv`; answers may have been filled in elsewhere, as names (in any case) or ids.

    Args:
        text: of the table. Where its first line says no unit and rule, a place is its pixel.
        names: of the classes.
        grid: of the map that the places are to lie on; None where they need not lie on one.

    Raises:
        LabelError: the table is not such a sample, a class is not known (the message names the line), or it is of another map.
    """
    # A spreadsheet may have ended lines in its own way.
    lines = text.lstrip("\ufeff").replace("\r\n", "\n").replace("\r", "\n")
    first, _, rest = lines.partition("\n")
    try:
        facts = dict(part.split("=", 1) for part in first.strip().strip('",;').removeprefix("#").split())
        sizes = {int(k): int(v) for k, v in (pair.split(":") for pair in facts["strata"].split(";"))}
        design, unit, rule = facts["design"], facts.get("unit", UNITS[0]), facts.get("rule", RULES[0])
        known = design in DESIGNS and unit in UNITS and rule in RULES
        if not known or not all(0 <= size < 1 << 62 for size in sizes.values()):
            raise ValueError(first)
    except (ValueError, KeyError) as error:
        raise LabelError(
            "This is no sample of this app: its first line should say design and strata. Export the sample first, fill in "
            "the column reference, and import that file."
        ) from error
    ids = {name.strip().casefold(): k for k, name in names.items()}
    columns: dict[str, list[Any]] = {name: [] for name in ("row", "col", "stratum", "mapped", "reference", "note")}
    undecided: set[int] = set()
    lonlat: list[tuple[float, float]] = []
    xy: list[tuple[float, float]] = []
    dialect = ";" if rest.partition("\n")[0].count(";") > 3 else ","
    for line, row in enumerate(_rows(rest, dialect), start=3):
        try:
            for name in ("row", "col", "stratum"):
                columns[name].append(_whole(row[name]))
            columns["mapped"].append(_id(ids, names, row["mapped"], line))
            told = row.get("reference") or ""
            if _cannot_tell(ids, told):
                undecided.add(line - 3)
                told = ""
            columns["reference"].append(_id(ids, names, told, line))
            lonlat.append((_number(row.get("lon")), _number(row.get("lat"))))
            xy.append((_number(row.get("x")), _number(row.get("y"))))
            columns["note"].append(unquoted((row.get("note") or "").strip()))
        except (KeyError, TypeError, ValueError) as error:
            raise LabelError(
                f"Line {line} of the sample is damaged: row, col, stratum and mapped are needed."
            ) from error
    if not columns["row"]:
        raise LabelError("The sample holds no places.")
    unknown = sorted(set(columns["stratum"]) - set(sizes))
    if unknown:
        raise LabelError(f"The size of stratum {unknown[0]} is not in the sample's first line.")
    rows, cols, strata, mapped, reference = (
        np.array(columns[name], np.int64) for name in ("row", "col", "stratum", "mapped", "reference")
    )
    if grid is not None:
        _require_on(grid, rows, cols, np.array(lonlat), np.array(xy))
    sample = Sample(rows, cols, strata, mapped, reference, tuple(columns["note"]), sizes, design)
    return SampleTable(sample, frozenset(undecided), unit, rule)


def _require_on(
    grid: Grid,
    rows: NDArray[np.int64],
    cols: NDArray[np.int64],
    lonlat: NDArray[np.float64],
    xy: NDArray[np.float64],
) -> None:
    """Raise where places lie beside the grid, or elsewhere than it says; ``lonlat``, ``xy`` (N, 2) may be NaN."""
    if not grid.inside(rows, cols).all():
        raise LabelError("Some places of this sample lie outside the map; it belongs to another one.")
    if not grid.georeferenced:
        return
    # Degrees tell one zone of a projection from the next; x and y (three decimals) count where there are none.
    bare = ~np.isfinite(lonlat).all(1)
    for where, told, rounded, asked in (
        (grid.pixel_to_lonlat, lonlat, 1e-6, ~bare),
        (grid.pixel_to_xy, xy, 1e-3, bare & np.isfinite(xy).all(1)),
    ):
        here, corner = (np.stack(where(rows[asked] + some, cols[asked] + some), axis=-1) for some in (0.5, 1.0))
        if (np.abs(told[asked] - here).max(1) > np.hypot(*(corner - here).T) + rounded).any():
            raise LabelError(
                "This sample has other coordinates than the map at its places; it belongs to a map of another region. Open "
                "that map, or draw a new sample from this one."
            )


def _number(text: str | None) -> float:
    """A coordinate, in either spelling of decimals; NaN where there is none."""
    try:
        return float(unquoted((text or "").strip()).replace(",", "."))
    except ValueError:
        return float("nan")


def _cannot_tell(ids: Mapping[str, int], text: str) -> bool:
    """Whether an answer says that nobody could tell, unless a class is called so."""
    said = unquoted(text.strip()).casefold()
    return said in CANNOT_TELL and said not in ids


def _rows(text: str, delimiter: str) -> Iterator[dict[str, Any]]:
    try:
        yield from csv.DictReader(io.StringIO(text), delimiter=delimiter)
    except csv.Error as error:
        raise LabelError(f"The sample is damaged and cannot be read as a table: {error}.") from error


def _whole(text: str) -> int:
    """A number that fits into an array; ValueError otherwise."""
    value = int(text)
    if not -(1 << 63) <= value < 1 << 63:
        raise ValueError(text[:40])
    return value


def _id(ids: Mapping[str, int], names: Mapping[int, str], text: str, line: int) -> int:
    text = unquoted(text.strip())
    if not text:
        return 0
    found = ids.get(text.casefold())
    if found is None and text.isdigit() and int(text) in names:
        found = int(text)
    if found is None:
        known = ", ".join(names.values())
        raise LabelError(f"Line {line} of the sample has the class {text[:40]!r}, which is not one of {known}.")
    return found


def _name(names: Mapping[int, str], class_id: int) -> str:
    return names.get(class_id, str(class_id))

"""Where embeddings come from: the stamp that travels into samples, heads, maps and exports."""

from __future__ import annotations

import datetime as dt
import math
import re
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from typing import Any
from urllib.parse import urlparse

from tessera_core import __version__
from tessera_core.errors import InputError, MixedDatasetsError, RasterError
from tessera_core.language import later
from tessera_core.periods import Period, period_of, written

# What models were called by earlier versions, and so in their files.
_RENAMED = {"fusion": "stack"}
SOFTWARE = f"tessera-studio {__version__}"
_FAMILIES = {
    "tessera": "TESSERA",
    "studio": "Tessera Studio",
    "alphaearth": "AlphaEarth",
    "layers": "other rasters",
    "seasons": later("seasonal statistics"),
}
_ORIGINS = {
    "generated": later("made from satellite time series"),
    "demo": later("simulated landscape"),
    "npy tiles": later("published tiles"),
    "": later("source not recorded"),
}
_FINGERPRINT = re.compile(r"[0-9a-f]{8,}")


@dataclass(frozen=True)
class Provenance:
    """The origin of an embedding raster.

    ``model``, ``version``, ``variant`` and ``dim`` together name a *dataset*: vectors of two datasets never mix.
    ``year``, ``source``, ``software`` and ``checksum`` describe one raster of it.

    Attributes:
        model: family, e.g. ``"tessera"``, ``"studio"`` (our own checkpoints), ``"alphaearth"`` or ``"unknown"``.
        version: e.g. ``"1.1"``, ``"2.0"``, ``"nano"``.
        variant: e.g. ``"mpc"``, ``"2B-L"``; empty where there is none.
        dim: length of the vectors (a prefix of 32 is another dataset than the full 128).
        year: the year observed, or the window where it is no calendar year (:class:`~tessera_core.periods.Period`); None where
            nobody knows.
        source: how it was obtained, e.g. ``"generated"``, ``"demo"``, ``"1.1/dclimate"``, ``"npy tiles"``.
        software: what wrote it.
        checksum: sha256 of the weights for generated rasters, of the codes for read ones; empty if unknown.
        details: further facts, JSON values only (tile ids, warnings, weights file, data source...).
    """

    model: str = "unknown"
    version: str = ""
    variant: str = ""
    dim: int = 128
    year: int | None = None
    source: str = ""
    software: str = SOFTWARE
    checksum: str = ""
    details: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Give what earlier versions wrote its name of today."""
        object.__setattr__(self, "model", _RENAMED.get(self.model, self.model))

    @property
    def dataset(self) -> str:
        """Name of the dataset, e.g. ``"tessera 2.0/2B-L (128-d)"``: equal names may be mixed."""
        label = self.model + (f" {self.version}" if self.version else "")
        return f"{label}{'/' + self.variant if self.variant else ''} ({self.dim}-d)"

    @property
    def arithmetic(self) -> str:
        """How TESSERA 1.1 was computed, ``"trained"`` or ``"dclimate"`` (as the published store was); empty for other models."""
        if self.model != "tessera" or self.version != "1.1":
            return ""
        return "dclimate" if f"-{self.variant}".endswith("-dclimate") else "trained"

    def same_weights(self, other: Provenance) -> bool:
        """Whether the two are of one dataset, or of the same weights computed with another arithmetic."""
        if self.dataset == other.dataset:
            return True
        same = (self.model, self.version, self.dim) == (other.model, other.version, other.dim)
        return same and bool(self.arithmetic) and {self.variant, other.variant} == {"aws", "dclimate"}

    @property
    def title(self) -> str:
        """The dataset for people, e.g. ``"TESSERA 2.0/2B-L"``: parts of several joined, and no fingerprint of weights.

        >>> Provenance("studio", "nano", "b8088f56").title
        'Tessera Studio nano'
        """
        if self.model in ("", "unknown"):
            return f"embeddings of an unknown model ({self.dim} numbers a pixel)"
        if self.model == "stack" and (parts := self.details.get("parts")):
            made = [Provenance.from_json(part) for part in parts]
            same = len({part.year for part in made}) == 1
            return " + ".join(part.title + ("" if same or part.year is None else f" of {part.year}") for part in made)
        # Who ran a published model and a fingerprint of weights say nothing to people; of TESSERA 2 it is the model's size.
        variant = self.variant
        if _FINGERPRINT.fullmatch(variant) or (self.model == "tessera" and self.version.startswith("1")):
            variant = ""
        # Of other rasters it is the version of how they are written.
        version = "/".join(part for part in ("" if self.model == "layers" else self.version, variant) if part)
        return f"{_FAMILIES.get(self.model, self.model)} {version}".strip()

    @property
    def part_names(self) -> tuple[str, ...]:
        """Names of the parts of several joined, for people; of others its own.

        >>> Provenance("seasons", dim=135).part_names
        ('seasonal statistics',)
        """
        parts = self.details.get("parts") if self.model == "stack" else None
        return tuple(Provenance.from_json(part).title for part in parts) if parts else (self.title,)

    @property
    def origin(self) -> str:
        """Where the embeddings were got, in a few words."""
        if "://" in self.source:
            # An address would be made a link, and a store's says nothing to people who follow it.
            return f"store at {urlparse(self.source).netloc}"
        if re.match(r"\d+\.\d+/", self.source):
            return later("published by TESSERA")
        return _ORIGINS.get(self.source, self.source)

    @property
    def simulated(self) -> bool:
        """Whether the landscape is made up (the demo), so that no area on it means anything."""
        return self.source == "demo" or bool(self.details.get("simulated"))

    def require_same_dataset(self, other: Provenance, where: str = "one computation") -> None:
        """Raise :class:`MixedDatasetsError`, naming both, unless ``other`` is of the same dataset."""
        if self.dataset != other.dataset:
            raise MixedDatasetsError(self.dataset, other.dataset, where)

    def with_details(self, **details: Any) -> Provenance:
        """A copy with further ``details``."""
        return replace(self, details={**self.details, **details})

    def to_json(self) -> dict[str, Any]:
        """JSON object of all fields; a window that is no calendar year stands in ``details``, as two days."""
        value = asdict(self) | {"details": dict(self.details)}
        if isinstance(self.year, Period):
            days = [self.year.start.isoformat(), self.year.end.isoformat()]
            value |= {"year": None, "details": {**self.details, "window": days}}
        return value

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Provenance:
        """The inverse of :meth:`to_json`; unknown keys of a newer version are kept under ``details``.

        Raises:
            RasterError: ``value`` is not such an object.
        """
        if not isinstance(value, Mapping):
            raise RasterError("The provenance is not a JSON object; the file is damaged or of another program.")
        names = {f.name for f in fields(cls)}
        known = {key: value[key] for key in names & set(value)}
        details = known.get("details")
        texts = ("model", "version", "variant", "source", "software", "checksum")
        usable = (
            all(isinstance(known.get(key, ""), str) for key in texts)
            and isinstance(details, Mapping | None)
            and _whole(known.get("dim", 1))
            and known.get("dim", 1) > 0
            and (known.get("year") is None or _whole(known["year"]))
        )
        if not usable:
            raise RasterError(
                "A field of the provenance is of the wrong kind; the file is damaged or of another program."
            )
        extra = {key: value[key] for key in set(value) - names}
        known["details"] = _own_kinds({**(details or {}), **extra})
        if known.get("year") is None and (window := window_of(known["details"].get("window"))) is not None:
            known |= {"year": window}
            del known["details"]["window"]
        return cls(**known)

    def tags(self) -> dict[str, str]:
        """Flat string tags for GeoTIFF and GeoPackage metadata, prefixed ``tessera_``."""
        flat = {f"tessera_{key}": value for key, value in self.to_json().items() if key != "details"}
        flat["tessera_year"] = written(self.year)
        return {key: str(value) for key, value in flat.items() if value not in ("", None)}


def _own_kinds(details: Mapping[str, Any]) -> dict[str, Any]:
    """Details in which what bears a name of ours is of the kind we write; anything else is kept under ``other NAME``."""
    kept = dict(details)
    for name, sound in _KINDS.items():
        if isinstance(value := kept.get(name), str):
            kept[name] = [value]
        if name in kept and not sound(kept[name]):
            kept[f"other {name}"] = kept.pop(name)
    return kept


def window_of(value: object) -> Period | None:
    """The window that two days in a file stand for; None where they are something else, a calendar year among it.

    Example:
        >>> window_of(["2023-10-01", "2024-09-30"])
        Period('2023-10 to 2024-09')
    """
    if not isinstance(value, list | tuple) or len(value) != 2 or not all(isinstance(day, str) for day in value):
        return None
    try:
        found = period_of(*(dt.date.fromisoformat(day) for day in value))
    except (ValueError, InputError):
        return None
    return found if isinstance(found, Period) else None


def _sentences(value: object) -> bool:
    return isinstance(value, list | tuple) and all(isinstance(text, str) for text in value)


def _failures(value: object) -> bool:
    return isinstance(value, list | tuple) and all(
        isinstance(item, Mapping) and all(isinstance(item.get(name), str) for name in ("what", "why")) for item in value
    )


def _parts(value: object) -> bool:
    try:
        return isinstance(value, list | tuple) and all(
            isinstance(Provenance.from_json(part), Provenance) and math.isfinite(part.get("weight", 1))
            for part in value
        )
    except (RasterError, RecursionError, TypeError, OverflowError):
        return False


_KINDS: dict[str, Callable[[object], bool]] = {
    "warnings": _sentences,
    "notes": _sentences,
    "missing_tiles": _sentences,
    "left_out": _failures,
    "parts": _parts,
}


def _whole(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)

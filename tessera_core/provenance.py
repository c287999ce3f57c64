"""Where embeddings come from: the stamp that travels into samples, heads, maps and exports."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from typing import Any

from tessera_core import __version__
from tessera_core.errors import MixedDatasetsError, RasterError

# What models were called by earlier versions, and so in their files.
_RENAMED = {"fusion": "stack"}
SOFTWARE = f"tessera-studio {__version__}"


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
        year: the year observed, or None when the window is not a calendar year (then see ``details``).
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

    def require_same_dataset(self, other: Provenance, where: str = "one computation") -> None:
        """Raise :class:`MixedDatasetsError`, naming both, unless ``other`` is of the same dataset."""
        if self.dataset != other.dataset:
            raise MixedDatasetsError(self.dataset, other.dataset, where)

    def with_details(self, **details: Any) -> Provenance:
        """A copy with further ``details``."""
        return replace(self, details={**self.details, **details})

    def to_json(self) -> dict[str, Any]:
        """JSON object of all fields."""
        return asdict(self) | {"details": dict(self.details)}

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
        return cls(**known)

    def tags(self) -> dict[str, str]:
        """Flat string tags for GeoTIFF and GeoPackage metadata, prefixed ``tessera_``."""
        flat = {f"tessera_{key}": value for key, value in self.to_json().items() if key != "details"}
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

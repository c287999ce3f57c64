"""Heads on disk: one safetensors file, arrays beside a JSON header. No pickle, so a head from a stranger is safe to open.

Heads that other programs can run are also written and read as JSON (:mod:`tessera_core.heads.portable`), by the ending of the name.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tessera_core._utils.atomic import atomic_path, ordinary_mode
from tessera_core._utils.checksums import is_sound, sealed
from tessera_core.errors import HeadError, TesseraError
from tessera_core.gate import is_missing, parse_json, regular
from tessera_core.heads.base import State
from tessera_core.heads.classification import Head
from tessera_core.heads.portable import SUFFIX, PortableHead, read_portable
from tessera_core.heads.registry import head_from_state
from tessera_core.heads.regression import RegressionHead
from tessera_core.provenance import Provenance

FORMAT = "tessera-head/1"
# Begin the names of arrays that are not the head's own but tell what it was trained on.
_SEEN, _TAUGHT = "seen.", "taught."


@dataclass(frozen=True)
class SavedHead:
    """A head with what is needed to use it elsewhere.

    Attributes:
        head: fitted, of classes or of numbers; softened as it was when saved, see ``Head.applied_temperature_``.
        class_names: name of each class id that the head maps; empty for a head of numbers.
        provenance: of the raster it was trained on; only rasters of the same dataset may be mapped with it.
        seen: arrays that describe what it was trained on, see
            :class:`tessera_core.analysis.applicability.AreaOfApplicability`; empty where the
            file has none.
        card: what is known of it, as JSON values: labels, score, places; empty where the file says nothing.
        taught: the labelled pixels themselves, by which it can be taught further; empty where the file has none.
    """

    head: Head | RegressionHead
    class_names: dict[int, str]
    provenance: Provenance
    seen: dict[str, NDArray[Any]] = field(default_factory=dict)
    card: dict[str, Any] = field(default_factory=dict)
    taught: dict[str, NDArray[Any]] = field(default_factory=dict)

    @property
    def regression(self) -> RegressionHead | None:
        """The head where it maps values; None where it maps classes."""
        return self.head if isinstance(self.head, RegressionHead) else None

    @property
    def classification(self) -> Head | None:
        """The head where it maps classes; None where it maps values."""
        return self.head if isinstance(self.head, Head) else None


def save_head(
    path: str | Path,
    head: Head | RegressionHead,
    class_names: Mapping[int, str],
    provenance: Provenance,
    seen: Mapping[str, NDArray[Any]] | None = None,
    *,
    card: Mapping[str, Any] | None = None,
    taught: Mapping[str, NDArray[Any]] | None = None,
) -> Path:
    """Write a fitted head to ``path``, whole or not at all; the arguments are those of :class:`SavedHead`.

    The ending says in which form: ``.json`` for other programs, where the head is of a kind that can be carried; else safetensors.

    Raises:
        HeadError: the head is of a type that cannot be saved.
        ExportError: the file cannot be written.
    """
    from safetensors.numpy import save_file

    if Path(path).suffix.lower() == SUFFIX:
        return PortableHead.of(head, class_names, provenance, card=card, seen=seen).write(path)
    state = head.state()
    header = state.header | {"format": FORMAT, "provenance": provenance.to_json()}
    if isinstance(head, Head):
        header["class_names"] = {str(i): class_names.get(i, name) for i, name in head.class_names().items()}
    if card:
        header["card"] = dict(card)
    with atomic_path(path) as part:
        named = {**state.arrays, **{_SEEN + name: array for name, array in (seen or {}).items()}}
        named |= {_TAUGHT + name: array for name, array in (taught or {}).items()}
        arrays = {name: np.ascontiguousarray(array) for name, array in named.items()}
        save_file(arrays, part, metadata={"tessera": json.dumps(sealed(header, arrays))})
        ordinary_mode(part)
    return Path(path)


def load_head(path: str | Path) -> SavedHead:
    """Read a head written by :func:`save_head`, in either form.

    Raises:
        HeadError: the file is missing, damaged, or not a head.
    """
    from safetensors import SafetensorError, safe_open

    path = Path(path)
    if is_missing(path):
        raise HeadError(f"There is no head at {path}.")
    if path.suffix.lower() == SUFFIX:
        carried = read_portable(path)
        return SavedHead(carried.head(), carried.names, carried.provenance, dict(carried.seen), dict(carried.card))
    place = regular(path, HeadError)
    try:
        with safe_open(place, framework="numpy") as file:
            metadata = file.metadata() or {}
            arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (not a dict)
    except (SafetensorError, OSError) as error:
        raise HeadError(f"{path.name} is not a saved head: it is damaged or a file of another kind.") from error
    try:
        header = parse_json(metadata["tessera"])
        if header["format"] != FORMAT:
            raise HeadError(f"{path.name} is of the format {header['format']!r}; this version reads {FORMAT!r}.")
        if not is_sound(metadata["tessera"], arrays):
            raise HeadError(
                f"{path.name} is damaged: its checksum is of other numbers. Copy it again, or save it anew."
            )
        own = {name: array for name, array in arrays.items() if not name.startswith((_SEEN, _TAUGHT))}
        head = head_from_state(State(header, own))
        names = {int(key): str(value) for key, value in header.get("class_names", {}).items()}
        seen = {name.removeprefix(_SEEN): array for name, array in arrays.items() if name.startswith(_SEEN)}
        taught = {name.removeprefix(_TAUGHT): array for name, array in arrays.items() if name.startswith(_TAUGHT)}
        card = header.get("card", {})
        if not isinstance(card, dict):
            raise TypeError("card")
        return SavedHead(head, names, Provenance.from_json(header["provenance"]), seen, card, taught)
    except TesseraError:
        raise
    except (KeyError, TypeError, ValueError, IndexError, RuntimeError) as error:
        raise HeadError(
            f"{path.name} is not a saved head: its header is incomplete or its arrays do not fit."
        ) from error

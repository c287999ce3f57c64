"""Heads on disk: one safetensors file, arrays beside a JSON header. No pickle, so a head from a stranger is safe to open."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from tessera_core.atomic import atomic_path
from tessera_core.errors import HeadError, TesseraError
from tessera_core.heads.base import Head
from tessera_core.provenance import Provenance

FORMAT = "tessera-head/1"


@dataclass(frozen=True)
class SavedHead:
    """A head with what is needed to use it elsewhere.

    Attributes:
        head: fitted.
        class_names: name of each class id in ``head.classes_``.
        provenance: of the raster it was trained on; only rasters of the same dataset may be mapped with it.
    """

    head: Head
    class_names: dict[int, str]
    provenance: Provenance


def save_head(path: str | Path, head: Head, class_names: Mapping[int, str], provenance: Provenance) -> Path:
    """Write a fitted head to ``path`` (``.safetensors``), whole or not at all.

    Raises:
        HeadError: the head is of a type that cannot be saved.
        ExportError: the file cannot be written.
    """
    from safetensors.numpy import save_file

    from tessera_core.heads import HEADS

    names = [name for name, kind in HEADS.items() if type(head) is kind]
    if not names:
        raise HeadError(f"A head of type {type(head).__name__} cannot be saved; it is not one of {', '.join(HEADS)}.")
    head._check_fitted()
    header = {
        "format": FORMAT,
        "head": names[0],
        "params": head.get_params(),
        "classes": [int(i) for i in head.classes_],
        "class_names": {str(int(i)): class_names.get(int(i), str(int(i))) for i in head.classes_},
        "n_features": int(head.n_features_in_),
        "provenance": provenance.to_json(),
    }
    with atomic_path(path) as part:
        arrays = {name: np.ascontiguousarray(array) for name, array in head._arrays().items()}
        save_file(arrays, part, metadata={"tessera": json.dumps(header)})
    return Path(path)


def load_head(path: str | Path) -> SavedHead:
    """Read a head written by :func:`save_head`.

    Raises:
        HeadError: the file is missing, damaged, or not a head.
    """
    from safetensors import SafetensorError, safe_open

    from tessera_core.heads import make_head

    path = Path(path)
    if not path.is_file():
        raise HeadError(f"There is no head at {path}.")
    try:
        with safe_open(path, framework="numpy") as file:
            metadata = file.metadata() or {}
            arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (not a dict)
    except (SafetensorError, OSError) as error:
        raise HeadError(f"{path.name} is not a saved head: it is damaged or a file of another kind.") from error
    try:
        header = json.loads(metadata["tessera"])
        if header["format"] != FORMAT:
            raise HeadError(f"{path.name} is of the format {header['format']!r}; this version reads {FORMAT!r}.")
        head = make_head(
            header["head"], **{k: tuple(v) if isinstance(v, list) else v for k, v in header["params"].items()}
        )
        head.classes_ = np.array(header["classes"], np.int64)
        head.n_features_in_ = int(header["n_features"])
        head.n_ignored_ = 0
        head._restore(arrays)
        names = {int(key): str(value) for key, value in header["class_names"].items()}
        return SavedHead(head, names, Provenance.from_json(header["provenance"]))
    except TesseraError:
        raise
    except (KeyError, TypeError, ValueError, IndexError, RuntimeError) as error:
        raise HeadError(
            f"{path.name} is not a saved head: its header is incomplete or its arrays do not fit."
        ) from error

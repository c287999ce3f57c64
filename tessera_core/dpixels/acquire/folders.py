"""Where a tile is fetched to: its own folder, and the work folder beside it with one small file for each finished day.

Both carry the request that they are of, so that a run goes on with its own and touches nobody else's.
"""

from __future__ import annotations

import datetime as dt
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tessera_core._utils.atomic import require_replaceable
from tessera_core.dpixels.acquire.catalogue import Window
from tessera_core.dpixels.tile import TILE_FOLDER, create_tile
from tessera_core.errors import AcquisitionError, InputError
from tessera_core.grid import Grid
from tessera_core.provenance import SOFTWARE


def require_own(folder: Path, request: dict[str, Any]) -> None:
    """Refuse a folder that holds anything but an earlier try of this very request: names of tiles tell neither place nor year.

    Raises:
        InputError: it does.
    """
    require_replaceable(folder, TILE_FOLDER)
    if not any(folder.glob("*.npy")):
        return
    try:
        meta = json.loads((folder / "meta.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        meta = {}
    meta = meta if isinstance(meta, dict) else {}
    if any(meta.get(key) != value for key, value in request.items()):
        when = " to ".join(map(str, meta["window"])) if isinstance(meta.get("window"), list) else "time not known"
        raise InputError(
            f"{folder} holds a tile of another place, time or source ({when}); nothing was changed. Choose another folder."
        )


def finished(folder: Path, request: dict[str, Any]) -> dict[str, Any] | None:
    """The meta of a tile that this very request finished with nothing missing, else None."""
    try:
        meta = json.loads((folder / "meta.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    same = all(meta.get(key) == value for key, value in request.items())
    return meta if same and not meta.get("missing") else None


def start_work(work: Path, request: dict[str, Any]) -> None:
    """Make the work folder, emptied if it belongs to another request."""
    file = work / "request.json"
    text = json.dumps(request, sort_keys=True)
    if work.exists() and not (file.exists() and file.read_text(encoding="utf-8") == text):
        shutil.rmtree(work)
    work.mkdir(parents=True, exist_ok=True)
    file.write_text(text, encoding="utf-8")


def stack_days(
    folder: Path,
    work: Path,
    grid: Grid,
    roi: NDArray[np.bool_],
    window: Window,
    request: dict[str, Any],
    missing: list[str],
) -> tuple[int, int]:
    """Write the tile from the finished days; returns the number of S2 dates and S1 passes.

    Args:
        folder: of the tile, which appears whole.
        work: that holds the finished days.
        grid, roi: of the tile; bool (H, W), true inside the region.
        window: when.
        request: what the tile depends on, kept in its ``meta.json``.
        missing: sentences naming what could not be read.

    Raises:
        AcquisitionError: there is not one usable observation.
    """
    days: dict[str, list[tuple[dt.date, Path]]] = {"bands": [], "ascending": [], "descending": []}
    for path in sorted(work.glob("s[12]*.npz")):
        date = dt.date.fromisoformat(path.stem.split("_")[1])
        with np.load(path) as arrays:
            for kind in days:
                if kind in arrays.files:
                    days[kind].append((date, path))
    for entries in days.values():
        entries.sort()
    if not any(days.values()):
        raise AcquisitionError(
            f"There is not one usable observation for {folder.name} from {window.start} to {window.end}"
            + (f"; {len(missing)} assets could not be read, the first: {missing[0]}" if missing else ".")
        )
    doys = {kind: np.array([d.timetuple().tm_yday for d, _ in entries], np.int16) for kind, entries in days.items()}
    meta = {
        **request,
        "year": window.year,
        "software": SOFTWARE,
        "days_s2": len(days["bands"]),
        "passes_s1": len(days["ascending"]) + len(days["descending"]),
        "dates": {kind: [d.isoformat() for d, _ in entries] for kind, entries in days.items()},
        "missing": missing,
    }
    with create_tile(folder, grid, doys["bands"], doys["ascending"], doys["descending"], roi, meta) as tile:
        for index, (_, path) in enumerate(days["bands"]):
            with np.load(path) as arrays:
                tile.bands[index], tile.masks[index] = arrays["bands"], arrays["mask"]
        for kind, target in (("ascending", tile.sar_asc), ("descending", tile.sar_desc)):
            for index, (_, path) in enumerate(days[kind]):
                with np.load(path) as arrays:
                    target[index] = arrays[kind]
    return len(days["bands"]), meta["passes_s1"]

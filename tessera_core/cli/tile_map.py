"""``tessera map --tiles``: maps of a folder tile by tile, in shares and by several processes."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

from tessera_core.cli.shares import engine_of, planned, share_of

HEAD, TRAINED = "head.safetensors", "head.json"


def map_by_tile(args: argparse.Namespace) -> dict[str, Any]:
    """Train where it is wanted, map each tile, and say what lies on the maps; raises InputError and ExportError."""
    from tessera_core.cli.console import ConsoleProgress
    from tessera_core.project.saved_heads import head_at
    from tessera_core.project.tile_maps import map_tiles, plan_maps

    out, progress = Path(args.tiles), ConsoleProgress("map")
    if told := planned(args, lambda: plan_maps(args.embeddings, out)):
        return told
    trained: dict[str, Any] = {}
    head = head_at(args.use_head) if args.use_head else None
    if head is None:
        head, trained = _trained(args, out)
    with engine_of(args) as engine:
        made = map_tiles(
            args.embeddings,
            head,
            out,
            confidence=True,
            one_cog=args.one_cog,
            share=share_of(args),
            progress=progress,
            **engine,
        )
    areas = made.areas()
    empty, _ = areas.pop(0, (0, None))
    classes = [
        {"id": i, "name": made.names.get(i, str(i)), "pixels": count, "hectares": hectares}
        for i, (count, hectares) in areas.items()
    ]
    known = [tile["confidence"] for tile in made.tiles.values()]
    pixels = sum(number for _, number in known)
    return {
        "out": str(out),
        "maps": [str(path) for path in made.maps],
        "one_cog": args.one_cog,
        "whole": [str(path) for path in made.whole],
        "tiles": len(made.tiles),
        "made": made.made,
        "waiting": list(made.waiting),
        "failed": [one.to_json() for one in made.failed],
        "classes": classes,
        "pixels": empty + sum(count for count, _ in areas.values()),
        "no_data": empty,
        "mean_confidence": round(sum(total for total, _ in known) / pixels, 2) if pixels else None,
        **trained,
    }


def _trained(args: argparse.Namespace, out: Path) -> tuple[Path, dict[str, Any]]:
    """The head of the labels: trained by the first run into the folder, taken from there by the others."""
    from tessera_core._utils.atomic import write_json
    from tessera_core._utils.locks import alone
    from tessera_core.cli.console import ConsoleProgress
    from tessera_core.cli.head_options import chosen_head, import_of, read_classes
    from tessera_core.cli.map_options import training_of
    from tessera_core.errors import ExportError, InputError
    from tessera_core.heads import save_head
    from tessera_core.project.tile_maps import pieces_of
    from tessera_core.project.tile_training import labels_on_tiles, train_on_tiles

    pieces, _ = pieces_of(Path(args.embeddings))
    digest = _digest(args, pieces)
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ExportError(f"Cannot create the folder {out}: {error.strerror or error}.") from error
    with alone(out / ".head.lock", passing=True):
        if (out / TRAINED).is_file() and (out / HEAD).is_file():
            known = json.loads((out / TRAINED).read_text(encoding="utf-8"))
            if known.get("digest") != digest:
                raise InputError(
                    f"{out} holds maps made with other labels, another head or of other tiles; nothing was changed. Choose another "
                    "folder."
                )
            return out / HEAD, dict(known["result"])
        progress = ConsoleProgress("train")
        found = labels_on_tiles(pieces, lambda grid: read_classes(args, grid, of_several=True))
        # Tiles that cannot be read are named when it is their turn to be mapped.
        reference, pixels, _ = found.pixels(progress=progress)
        choice, legend = chosen_head(args, list(reference.classes))
        trained = train_on_tiles(
            reference, pixels, choice, seed=args.seed, calibrated=not args.raw_confidence, progress=progress
        )
        names = {one.id: one.name for one in legend}
        save_head(out / HEAD, trained.head, names, pixels.provenance)
        result = {"head": trained.head.kind, **training_of(trained), "import": import_of(reference.report)}
        result["dataset"] = pixels.provenance.dataset
        write_json(out / TRAINED, {"digest": digest, "result": result})
    if args.save_head:
        save_head(args.save_head, trained.head, names, pixels.provenance)
    return out / HEAD, result


def _digest(args: argparse.Namespace, pieces: Any) -> str:
    """What the head depends on, as hexadecimal digits."""
    import hashlib

    labels = Path(args.labels)
    content = hashlib.sha256(labels.read_bytes()).hexdigest() if labels.is_file() else str(labels)
    names = (
        *("field", "layer", "classes", "lon", "lat", "crs", "encoding", "labels_are", "head", "tree"),
        *("neighbourhood", "class_weight", "confidence_threshold", "seed", "raw_confidence"),
    )
    facts = [content, {name: getattr(args, name, None) for name in names}, sorted(piece.name for piece in pieces)]
    return hashlib.sha256(json.dumps(facts, sort_keys=True, default=str).encode()).hexdigest()

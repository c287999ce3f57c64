"""Files with several layers: which of them hold the labels, told by what is in them; what is not read is named and counted."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from tessera_core.labels import classfield
from tessera_core.labels.features import Feature, Hints, Read, fields_of, in_one_system, named


@dataclass
class FileLayer:
    """A layer of a file, or a file of an archive.

    Attributes:
        name: as people know it.
        features: as the file has them.
        crs: it declares, or None; ``crs_from`` where.
        encoding, encoding_why: of its text.
        group: files of an archive of another kind (ending) may be the same places again.
        read: what the layer's own reader remarked and left out.
    """

    name: str
    features: list[Feature]
    crs: str | None = None
    crs_from: str = "the file"
    encoding: str = ""
    encoding_why: str = ""
    group: str = ""
    read: Read | None = None


class Worth(NamedTuple):
    """How likely a layer is the one wanted, and the attribute that makes it so."""

    score: float
    field: str | None


def by_classes(features: Sequence[Feature]) -> Worth:
    """How likely a layer holds labels of classes."""
    found = classfield.choose([feature.properties for feature in features])
    return Worth(found.score if found.field else 0.0, found.field)


def merge(layers: Sequence[FileLayer], name: str, hints: Hints, worth: Callable[[Sequence[Feature]], Worth]) -> Read:
    """One file's content from its layers: the layer told, else the best one and those that have its attribute too.

    Args:
        layers: in the file's order.
        name: of the file, for people.
        hints: may say the layer and the attribute.
        worth: how likely a layer is the one wanted.

    Raises:
        LabelError: the layer told does not exist, or no layer has the attribute told.
    """
    filled = [layer for layer in layers if layer.features]
    if hints.layer is not None:
        told = named(hints.layer, [layer.name for layer in layers], "layer", name)
        chosen = [layer for layer in layers if layer.name == told]
    elif len(filled) < 2:
        chosen = filled or list(layers[:1])
    else:
        chosen = _best(filled, hints.field, worth)
    read = Read([])
    left = [layer for layer in filled if layer not in chosen]
    if len(layers) > 1:
        read.layers, read.layers_left = [layer.name for layer in chosen], [layer.name for layer in left]
    if len(chosen) > 1:
        read.notes.append(f"{', '.join(layer.name for layer in chosen)} were read as one.")
    if left:
        only = chosen[0].name if len(chosen) == 1 else "these"
        others = ", ".join(f"{layer.name} ({len(layer.features)} places)" for layer in left[:5])
        read.notes.append(f"Only {only} was read; the file also holds {others}. Name a layer to read another.")
        for layer in left:
            read.skip(f"in the layer {layer.name!r}, which was not read", count=len(layer.features))
    read.crs = in_one_system([(layer.features, layer.crs) for layer in chosen], read.notes)
    for layer in chosen:
        if len(layers) > 1:
            for feature in layer.features:
                feature.properties = {"layer": layer.name.removesuffix(layer.group)} | dict(feature.properties)
        read.features += layer.features
        if layer.read is not None:
            read.notes += layer.read.notes
            read.skipped.update(layer.read.skipped)
            read.examples.update(layer.read.examples)
            read.repaired.update(layer.read.repaired)
    if chosen:
        read.crs_from, read.encoding = chosen[0].crs_from, chosen[0].encoding
        read.encoding_why = next((layer.encoding_why for layer in chosen if layer.encoding_why), "")
    return read


def _best(layers: list[FileLayer], field: str | None, worth: Callable[[Sequence[Feature]], Worth]) -> list[FileLayer]:
    """Layers of the same columns belong together; of others, those with the attribute of the best one."""
    columns = {layer.name: fields_of(layer.features) for layer in layers}
    if field is not None:
        wanted = field.casefold()
        having = [layer for layer in layers if any(c.casefold() == wanted for c in columns[layer.name])]
        if not having:
            known = list(dict.fromkeys(c for names in columns.values() for c in names))
            named(field, known, "field", "The file")
        return having
    if len({tuple(names) for names in columns.values()}) == len({layer.group for layer in layers}) == 1:
        return layers
    worths = {layer.name: worth(layer.features) for layer in layers}
    best = max(layers, key=lambda layer: worths[layer.name].score)
    layers = [layer for layer in layers if layer.group == best.group]
    if all(columns[layer.name] == columns[best.name] for layer in layers):
        return layers
    wanted_field = worths[best.name].field
    if wanted_field is None:
        return [best]
    return [layer for layer in layers if worths[layer.name].field == wanted_field]

"""The gate through which every file of a stranger passes: a file never chooses what is opened.

Rasters, vector files, archives and plain files are opened here and nowhere else, by their first bytes, with drivers named to
GDAL, without files beside them and without network, and within the limits of :mod:`tessera_core.gate.limits`.
"""

from tessera_core.gate.archives import Archive, open_archive
from tessera_core.gate.contained import contained
from tessera_core.gate.files import (
    is_missing,
    open_file,
    parse_json,
    read_bytes,
    read_head,
    read_json,
    reason,
    regular,
    told,
    unreadable,
    whole_letters,
)
from tessera_core.gate.limits import FileLimits, limits
from tessera_core.gate.rasters import open_raster, open_remote_raster, raster_errors
from tessera_core.gate.vectors import VectorLayer, Vectors, open_vectors, read_layers, unpacked

__all__ = [
    "Archive",
    "FileLimits",
    "VectorLayer",
    "Vectors",
    "contained",
    "is_missing",
    "limits",
    "open_archive",
    "open_file",
    "open_raster",
    "open_remote_raster",
    "open_vectors",
    "parse_json",
    "raster_errors",
    "read_bytes",
    "read_head",
    "read_json",
    "read_layers",
    "reason",
    "regular",
    "told",
    "unpacked",
    "unreadable",
    "whole_letters",
]

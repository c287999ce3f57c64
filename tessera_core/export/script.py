"""A map as a program: a short Python script, with the project beside it, that makes the same map again without the app."""

from __future__ import annotations

import hashlib
from pathlib import Path
from string import Template

from tessera_core._utils.atomic import write_text
from tessera_core.export.product import Product


def write_script(path: str | Path, product: Product, project_file: str) -> Path:
    """Write the script; ``project_file`` is the name of the saved project that lies beside it.

    Raises:
        ExportError: it cannot be written.
    """
    path = Path(path)
    path = path if path.suffix == ".py" else path.with_name(path.name + ".py")
    text = _SCRIPT.substitute(
        about=f"Makes the map of {product.name!r} again.".replace("\\", "").replace('"', "'"),
        project=repr(project_file),
        # A window's number is enough to find it.
        year=repr(None if product.year is None else int(product.year)),
        digest=repr(digest(product)),
    )
    write_text(path, text)
    return path


def digest(product: Product) -> str:
    """sha256 of the class map's bytes."""
    return hashlib.sha256(product.classes.tobytes()).hexdigest()


_SCRIPT = Template('''\
"""$about

usage: python THIS.py MAP.tif [EMBEDDINGS]

Needs the package tessera-studio, the project file beside this script, and the embeddings: their path as second argument,
except on a computer that has them in a project already.
"""

import hashlib
import sys
import tempfile
from pathlib import Path

from tessera_core.export.geotiff import write_class_map
from tessera_core.project.library import from_file
from tessera_core.project.classify import map_project
from tessera_core.sources.local.open import open_embeddings

PROJECT = $project
YEAR = $year
SHA256 = $digest

if not 2 <= len(sys.argv) <= 3:
    sys.exit(__doc__)
with tempfile.TemporaryDirectory() as folder:
    project = from_file(Path(__file__).with_name(PROJECT), Path(folder) / "project")
    raster = open_embeddings(sys.argv[2] if len(sys.argv) == 3 else project.embeddings_path(YEAR), year=YEAR)
    made = map_project(project, raster, YEAR)
    path = write_class_map(
        sys.argv[1], made.map.classes, made.map.confidence, raster.grid, project.log.classes, raster.provenance,
        temperature=made.head.applied_temperature_,
    )
same = hashlib.sha256(made.map.classes.tobytes()).hexdigest() == SHA256
print(path, "equals the exported map" if same else "differs from the exported map")
''')

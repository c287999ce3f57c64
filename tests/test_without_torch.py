"""All that people do with embeddings works where PyTorch is not installed; what needs it says so in one sentence.

The tests of pages and commands that are named here run once more in processes for which there is no torch (``tests/guard``).
"""

from __future__ import annotations

import os
import pkgutil
import subprocess
import sys
from pathlib import Path

import pytest

import tessera_core

# What makes embeddings and trains; its modules may import torch, and nobody else's.
WITH_TORCH = {
    "tessera_core._utils.torch_private",
    "tessera_core.bench.generate",
    "tessera_core.bench.pretrain",
    "tessera_core.heads.mlp_training",
    "tessera_core.heads.unet_network",
    *(
        f"tessera_core.inference.{name}"
        for name in ["backbone", "calibration", "engine", "kernels", "native", "packing", "shares", "tiles"]
    ),
    *(f"tessera_core.models.{name}" for name in ["checkpoint", "encoder", "layers", "plain"]),
    *(
        f"tessera_core.pretrain.{name}"
        for name in ["barlow", "distil", "monitor", "products", "projector", "ranks", "trainer"]
    ),
    *(f"tessera_core.pretrain.studies.{name}" for name in ["labels", "sampling", "year"]),
}
# One or two of each page and command on the way from a region to a map that is compared, checked and exported.
VISITS = (
    "tests/app/test_pages.py::test_folder_becomes_an_open_project",
    "tests/app/test_pages.py::test_export_offers_every_file_and_the_areas_of_the_map",
    "tests/app/test_label_page.py::test_labels_of_the_project_make_a_map_and_the_year_can_change",
    "tests/app/test_label_page.py::test_what_is_known_about_the_map_is_sent_beside_it",
    "tests/app/test_explore_page.py::test_labels_colour_the_scatter_and_predict",
    "tests/app/test_explore_page.py::test_groups_are_the_same_in_all_years_and_the_slider_only_cuts_their_tree",
    "tests/app/test_compare_page.py::test_classes_and_labels_over_the_years",
    "tests/app/test_validate_page.py::test_places_are_drawn_answered_and_told",
    "tests/cli/test_map.py::test_labels_become_a_map_and_a_head_that_maps_again",
    "tests/cli/test_change.py::test_change_writes_what_changed_and_how_sure_it_is",
    "tests/cli/test_evaluate.py::test_few_shot_and_the_report_for_people",
    "tests/export/test_export_cli.py::test_the_archive_for_qgis_opens_styled",
)


def _without_torch(*command: str, **variables: str) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"TESSERA_GUARD_WITHOUT": "torch", **variables}
    return subprocess.run([sys.executable, *command], capture_output=True, text=True, env=environment)


def test_only_what_makes_embeddings_and_trains_imports_it() -> None:
    names = [found.name for found in pkgutil.walk_packages(tessera_core.__path__, "tessera_core.")]
    code = (
        "import importlib, sys\nfor name in sys.argv[1:]:\n    try: importlib.import_module(name)\n"
        "    except ModuleNotFoundError as error: print(name, error.name)"
    )
    done = _without_torch("-c", code, *(name for name in names if not name.endswith("__main__")))
    assert done.returncode == 0, done.stderr
    refused = dict(line.split() for line in done.stdout.splitlines())
    assert set(refused.values()) == {"torch"}
    assert set(refused) == WITH_TORCH


@pytest.mark.soak
def test_pages_and_commands_do_without(root: Path) -> None:
    done = _without_torch("-m", "pytest", "-q", "-p", "no:cacheprovider", "-n0", *VISITS)
    assert done.returncode == 0, done.stdout[-4000:]
    assert f"{len(VISITS)} passed" in done.stdout


@pytest.mark.parametrize(
    "command",
    [
        ("generate", "--weights", "studio-nano", "--out", "OUT", "TILES"),
        ("pretrain", "tiny", "--out", "OUT"),
        ("demo", "OUT", "--size", "128"),
        ("info", "studio-nano"),
    ],
    ids=lambda words: words[0],
)
def test_what_needs_it_says_how_to_add_it(command: tuple[str, ...], tmp_path: Path) -> None:
    (tmp_path / "TILES").mkdir()
    words = [str(tmp_path / word) if word.isupper() else word for word in command]
    done = _without_torch("-m", "tessera_core", *words, TESSERA_HOME=str(tmp_path / "home"))
    assert done.returncode == 2, done.stderr
    assert "tessera-studio[generate]" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_network_says_how_to_add_it_and_a_taught_one_maps(tmp_path: Path) -> None:
    """Teaching a network needs PyTorch, using it does not."""
    import numpy as np

    from tessera_core.heads import make_head, save_head
    from tessera_core.provenance import Provenance

    x = np.repeat(np.array([[0, 1.0], [1, 0]], np.float32), 6, axis=0)
    y = np.repeat([1, 2], 6)
    head = make_head("mlp", hidden=(8,), steps=40, epochs=1, learning_rate=0.03).fit(x, y)
    save_head(tmp_path / "net.safetensors", head, {}, Provenance("test"))
    code = f"""
import numpy as np
from tessera_core.errors import HeadError
from tessera_core.heads import load_head, make_head
x, y = np.repeat(np.array([[0, 1.0], [1, 0]], np.float32), 6, axis=0), np.repeat([1, 2], 6)
print(*load_head({str(tmp_path / "net.safetensors")!r}).head.predict(x))
try:
    make_head("mlp").fit(x, y)
except HeadError as error:
    print(error)
"""
    done = _without_torch("-c", code)
    assert done.returncode == 0, done.stderr
    mapped, sentence = done.stdout.splitlines()
    assert mapped == " ".join(map(str, head.predict(x)))
    assert sentence.startswith("Training a neural network needs the part of this program")


def test_the_demo_opens_as_it_is_shipped_and_grows(tmp_path: Path) -> None:
    code = """
from tessera_core.project import library
region = library.take_demo()
print(sorted(region.ready), library.demo_growing(library.start_demo(region)) is not None)
"""
    done = _without_torch("-c", code, TESSERA_HOME=str(tmp_path))
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == ["[2024]", "True"]

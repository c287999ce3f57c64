"""The image, built and driven; skipped where nothing runs containers or its base (IMAGE_BASE) is out of reach."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from tools import image

pytestmark = [pytest.mark.browser, pytest.mark.soak, pytest.mark.timeout(3600)]
BASE = os.environ.get("IMAGE_BASE", "docker.io/library/python:3.12-slim")


@pytest.fixture(scope="module")
def built() -> str:
    """The slim variant, built from this checkout."""
    try:
        program = image.engine()
    except image.Unable as error:
        pytest.skip(str(error))
    known = [[program, "image", "inspect", BASE], [program, "pull", BASE]]
    if all(subprocess.run(words, capture_output=True, check=False).returncode for words in known):
        pytest.skip(f"the base image {BASE} is out of reach")
    return str(image.build("slim", BASE)["image"])


def test_the_image_runs_read_only_without_root_and_the_map_follows_the_clicks(built: str) -> None:
    told = image.test("slim")
    assert told["labels"] == {"wood": 1, "water": 1}
    assert told["user"] == "1000"
    assert told["written_outside_data"] == []
    # Asked to stop, it ends by itself.
    assert told["exit_code"] == 0


def test_ten_people_label_in_one_gigabyte_and_nothing_is_killed(built: str) -> None:
    told = image.memory("slim", "1g", 10, 30)
    assert told["ok"], told


def test_a_folder_that_its_user_may_not_write_to_is_told_in_a_sentence(built: str, tmp_path: Path) -> None:
    tmp_path.chmod(0o555)
    program = image.engine()
    words = [program, *image.before(program), "run", "--rm", "-v", f"{tmp_path}:/data", *image.after(program), built]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "cannot write into /data" in done.stderr
    assert "chown 1000:1000" in done.stderr

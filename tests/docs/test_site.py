"""The documentation site: it builds without a warning, and a reader's browser asks nobody but it for anything."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = [pytest.mark.soak, pytest.mark.timeout(900)]
# What a browser fetches by itself; a link that somebody may follow is none of it.
_FETCHED = re.compile(
    r"<(?:script|img|iframe|source|video|audio|embed)\b[^>]*?\bsrc\s*=\s*[\"']([^\"']+)"
    r"|<link\b(?![^>]*rel=[\"'](?:author|canonical|license)[\"'])[^>]*?\bhref\s*=\s*[\"']([^\"']+)"
)
_IN_STYLE = re.compile(r"url\(\s*[\"']?([^)\"']+)|@import\s+[\"']([^\"']+)")


@pytest.fixture(scope="module")
def site(root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The site as `make docs` builds it."""
    pytest.importorskip("sphinx", reason="the extra docs is not installed (make docs)")
    folder = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "sphinx", "-q", "-W", "--keep-going", "-b", "html", "docs", str(folder)]
    done = subprocess.run(command, cwd=root, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-4000:]
    return folder


def fetched(file: Path) -> list[str]:
    """Addresses that a browser fetches for a page or a style sheet."""
    text = file.read_text(encoding="utf-8", errors="replace")
    pattern = _IN_STYLE if file.suffix == ".css" else _FETCHED
    return ["".join(groups) for groups in pattern.findall(text)]


def test_nothing_is_fetched_from_elsewhere(site: Path) -> None:
    files = [*site.rglob("*.html"), *site.rglob("*.css")]
    assert len([file for file in files if file.suffix == ".html"]) > 30
    outside = {(file.name, url) for file in files for url in fetched(file) if re.match(r"(?:https?:)?//", url)}
    assert not outside


def test_what_is_fetched_is_there(site: Path) -> None:
    for page in site.rglob("*.html"):
        for url in fetched(page):
            target = url.partition("?")[0].partition("#")[0]
            if target and not target.startswith("data:"):
                assert (page.parent / target).resolve().exists(), f"{page.name}: {url}"


def test_the_front_door_and_the_commands_are_described(site: Path) -> None:
    api = (site / "reference" / "api.html").read_text(encoding="utf-8")
    for name in ("open", "fetch", "read_labels", "map_classes", "map_values", "evaluate", "change", "write_map"):
        assert f'id="tessera_core.api.{name}"' in api
    assert "tessera evaluate" in (site / "reference" / "command-line.html").read_text(encoding="utf-8")

"""What the server loads by itself, and what it leaves until somebody needs it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tessera_core._utils.later import permit, postpone


def _output(code: str, root: Path) -> str:
    return subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code], cwd=root, capture_output=True, text=True, check=True
    ).stdout.strip()


def test_a_postponed_library_is_absent_until_it_is_permitted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "colorsys", raising=False)
    postpone("colorsys")
    try:
        import colorsys  # noqa: F401
    except ImportError:
        absent = True
    else:
        absent = False
    permit("colorsys")
    import colorsys as found

    assert absent
    assert found.rgb_to_hsv(0, 0, 0) == (0, 0, 0)


def test_what_is_loaded_stays_loaded() -> None:
    postpone("sys")
    permit("sys")
    assert sys.modules["sys"] is sys


def test_the_server_starts_without_plotly_and_charts_have_streamlits_colours(root: Path) -> None:
    code = """
import sys
from tessera_core._utils.later import permit, postpone
postpone("plotly")
from tessera_core.ui import early
early.ready()
permit("plotly")
early = [name for name in ("plotly", "pandas", "pyarrow") if name in sys.modules]
import tessera_core.ui.shell
from tessera_core.ui import charts
figure = charts.histogram_figure([1.0, 2.0], "hectares")
import plotly.io
print(early, plotly.io.templates.default, type(figure).__name__)
"""
    assert _output(code, root) == "[] streamlit Figure"


def test_the_first_page_is_loaded_before_anybody_asks(root: Path) -> None:
    code = """
import sys
from tessera_core.ui import early
early.ready()
print(*[name in sys.modules for name in ("tessera_core.ui.shell", "tessera_core.ui.region.page")])
"""
    assert _output(code, root) == "True True"

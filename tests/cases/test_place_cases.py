"""Regions from bug reports of other programs that lie on both sides of the 180th meridian."""

from __future__ import annotations

from pathlib import Path

import pytest

from tessera_core.cli import main
from tessera_core.errors import InputError
from tessera_core.region import read_region


@pytest.mark.parametrize("name", ["fiji.geojson", "fiji_wrap.geojson"])
def test_fiji_is_refused_before_anybody_is_asked(
    shared: Path, name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = shared / "cases" / "acquire-over-180" / name
    if not path.is_file():
        pytest.skip("the folder ../shared/cases is not beside this checkout")
    with pytest.raises(InputError, match="both sides of the 180th meridian"):
        read_region(path)
    assert main(["acquire", "--region", str(path), "--year", "2023", "--out", str(tmp_path / "x")]) == 2
    assert "both sides of the 180th meridian" in capsys.readouterr().err
    assert not (tmp_path / "x").exists()

"""The page Region has words for every reason that a pixel may have for lacking an embedding."""

from __future__ import annotations

from tessera_core.raster import NoData
from tessera_core.ui.region import page


def test_every_reason_has_words() -> None:
    assert set(page._REASONS) == set(NoData) - {NoData.VALID, NoData.UNKNOWN}

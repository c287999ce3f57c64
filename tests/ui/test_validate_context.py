"""Figures of the page Validate are worked out once for as long as the answers and the map stay."""

from __future__ import annotations

import numpy as np
import pytest

from tessera_core.assess.area import Assessment
from tessera_core.assess.designs import draw
from tessera_core.project.validate import Validation
from tessera_core.ui.validate.context import assessed
from tests.factories import make_grid


def test_the_page_works_figures_out_once_and_anew_where_an_answer_or_the_map_changes(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    mapped = np.where(np.arange(1600).reshape(40, 40) % 3 == 0, 2, 1).astype(np.uint8)
    current = Validation(2023, make_grid((40, 40)), draw(mapped, 30, "stratified", seed=1)).on_map(mapped)
    for k in range(30):
        current = current.answer(k, int(current.sample.mapped[k]))
    counted, plain = [], Validation.assess

    def counting(self: Validation) -> Assessment:
        counted.append(1)
        return plain(self)

    monkeypatch.setattr(Validation, "assess", counting)
    first = assessed(current)
    again = current.with_note(3, "wet")
    assert assessed(again).overall == first.overall
    assert len(counted) == 1
    other = current.answer(0, 3 - int(current.sample.mapped[0]))
    assert assessed(other).overall != first.overall
    moved = current.on_map((3 - mapped).astype(np.uint8))
    assert assessed(moved).overall.value == 0
    assert len(counted) == 3

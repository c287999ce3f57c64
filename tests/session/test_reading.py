"""What the labels say of their ground, whoever looks."""

from __future__ import annotations

import numpy as np
import pytest

from tessera_core.areas import mapped_areas
from tessera_core.heads import HeadChoice, Scene
from tessera_core.labels.log import LabelLog
from tessera_core.session.reading import LabelReader, next_step
from tests.factories import landscape
from tests.session.questions import labelled

RASTER = landscape(80)
RIDGE = HeadChoice("ridge")


def reader(large: bool = False) -> LabelReader:
    return LabelReader(RASTER, lambda: Scene(RASTER), large)


def test_next_step_with_one_class_only() -> None:
    log = LabelLog()
    log.add_class("Forest")
    log.add("point", 1, [RASTER.grid.transform @ (5.5, 5.5)])
    assert "second class" in next_step(log)


def test_what_was_read_stands_until_labels_method_or_confidence_change() -> None:
    log, one = labelled(RASTER), reader()
    first = one.read(log, RIDGE)
    assert one.read(log, RIDGE) is first
    one.set_temperature(RIDGE, 2.0)
    softer = one.read(log, RIDGE)
    assert softer.map is not None
    assert first.map is not None
    assert np.array_equal(softer.map.classes, first.map.classes)
    assert softer.map.confidence.max() <= first.map.confidence.max()
    # A log that was opened anew may count its versions from the same number.
    before = one.generation
    assert one.read(labelled(RASTER), RIDGE) is not softer
    assert one.generation == before + 1


@pytest.mark.parametrize("large", [False, True])
def test_the_map_of_all_costs_nothing_or_waits(large: bool) -> None:
    log, one = labelled(RASTER), reader(large)
    assert (one.whole(log, RIDGE) is None) == large
    taught = one.teach(log, RIDGE)
    assert taught.fitted is not None
    made = Scene(RASTER).predict(taught.fitted)
    one.take_rest(taught, made, mapped_areas(made.classes, RASTER.grid))
    found = one.whole(log, RIDGE)
    assert found is not None
    assert found.map is made
    assert found.taught.fitted is None
    assert (found.taught.version, found.taught.told) == (log.version, taught.told)


def test_the_map_of_a_slow_head_takes_the_place_of_the_quick_one() -> None:
    log, one, slow = labelled(RASTER), reader(), HeadChoice("forest")
    quick = one.read(log, slow)
    assert quick.preview
    assert quick.map is not None
    made = type(quick.map)(quick.map.classes, quick.map.confidence)
    one.take_slow(log.version, slow, made)
    assert one.read(log, slow).map is made
    assert not one.read(log, slow).preview
    # Of another version it is no longer the map.
    log.undo()
    assert one.read(log, slow).preview

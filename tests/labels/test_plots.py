"""Field plots in a log: nothing is lost, nothing is added twice, everything can be undone."""

from __future__ import annotations

import numpy as np
import pytest

from tessera_core.errors import LabelError
from tessera_core.labels.importing import ImportReport
from tessera_core.labels.log import LabelLog
from tessera_core.labels.model import Label
from tessera_core.labels.plots import add_plot, change_value, digest, measure_named, plots_of, take_in, values_of
from tessera_core.labels.values import ImportedValues


def imported(field: str, *values: float) -> ImportedValues:
    labels = [Label(f"{field}{n}", 1, "point", ((10.0 * n, 5.0),), note=repr(v)) for n, v in enumerate(values)]
    return ImportedValues(field, labels, np.array(values), ImportReport(len(labels), len(labels)))


def test_plots_survive_a_restart_and_can_be_undone(tmp_path):
    log = LabelLog(tmp_path / "plots.jsonl")
    height = measure_named(log, "height", "m")
    first = add_plot(log, height.id, 1.0, 2.0, "12,5")
    add_plot(log, height.id, 3.0, 4.0, 7)
    change_value(log, first.id, " 13 ")
    again = LabelLog(tmp_path / "plots.jsonl")
    assert values_of(plots_of(again, height.id)).tolist() == [13, 7]
    assert again.label_class(height.id).code == "m"
    before = digest(plots_of(log, height.id))
    again.undo()
    assert values_of(plots_of(again, height.id)).tolist() == [12.5, 7]
    assert digest(plots_of(again, height.id)) != before
    again.edit_class(height.id, name="Tree height")
    again.redo()
    log.sync()
    assert measure_named(log, "tree HEIGHT").id == height.id


@pytest.mark.parametrize("typed", ["", "tall", "nan", None])
def test_what_is_no_number_is_told_and_nothing_is_lost(typed):
    log = LabelLog()
    height = measure_named(log, "height")
    plot = add_plot(log, height.id, 1.0, 2.0, 5)
    for act in (lambda: add_plot(log, height.id, 0, 0, typed), lambda: change_value(log, plot.id, typed)):
        with pytest.raises(LabelError, match="number"):
            act()
    assert values_of(plots_of(log, height.id)).tolist() == [5]
    with pytest.raises(LabelError, match="what was measured"):
        measure_named(log, "  ")


def test_a_file_brought_twice_adds_its_plots_once(tmp_path):
    log = LabelLog(tmp_path / "plots.jsonl")
    taken = take_in(log, imported("height_m", 1.5, 2.5, 2.5))
    assert (taken.measure.name, taken.measure.code, taken.added, taken.known) == ("height", "m", 3, 0)
    again = take_in(log, imported("height_m", 1.5, 2.5, 2.5, 4.0))
    assert (again.measure, again.added, again.known) == (taken.measure, 1, 3)
    assert values_of(plots_of(log, taken.measure.id)).tolist() == [1.5, 2.5, 2.5, 4]
    log.undo()
    log.undo()
    assert (log.labels, log.classes) == ([], [])


def test_the_same_in_another_unit_is_another_thing():
    log = LabelLog()
    metres = take_in(log, imported("height_m", 1.0, 2)).measure
    centimetres = take_in(log, imported("height_cm", 100.0, 200)).measure
    assert (centimetres.name, centimetres.code) == ("height_cm", "cm")
    assert take_in(log, imported("height_cm", 300.0)).measure.id == centimetres.id
    assert values_of(plots_of(log, metres.id)).tolist() == [1, 2]
    # A unit that a person has added stays.
    bare = take_in(log, imported("biomass", 5.0)).measure
    log.edit_class(bare.id, code="t/ha")
    assert take_in(log, imported("biomass", 6.0)).measure.id == bare.id


def test_a_damaged_number_is_left_out():
    log = LabelLog()
    height = measure_named(log, "height")
    log.add("point", height.id, [(0, 0)], note="no number")
    add_plot(log, height.id, 1, 1, 3)
    assert values_of(plots_of(log, height.id)).tolist() == [3]

"""Learning curves rise where labels are scarce and say when they have flattened."""

from __future__ import annotations

import pytest

from tessera_core.assess.crossfit import take
from tessera_core.assess.curve import learning_curve
from tessera_core.errors import Cancelled, LabelError
from tessera_core.heads import make_head
from tests.assess.fields import labelled_fields


def test_the_curve_rises_and_is_repeatable():
    samples = labelled_fields(per_class=40, pixels=3, offset=1.5)
    curve = learning_curve(samples, make_head("prototype"), repeats=3)
    assert curve.labels == (1, 2, 3, 5, 10, 20)
    assert curve.macro_f1[-1] > curve.macro_f1[0] + 0.1
    assert "From 10 to 20 labels a class" in curve.sentence
    assert curve == learning_curve(samples, make_head("prototype"), repeats=3)


def test_an_easy_task_needs_no_more_labels():
    curve = learning_curve(labelled_fields(per_class=20, pixels=1, offset=0.1), make_head("ridge"), repeats=2)
    assert curve.macro_f1[-1] > 0.99
    assert "hardly help" in curve.sentence


def test_too_few_labels_and_stopping():
    samples = labelled_fields(per_class=2)
    with pytest.raises(LabelError, match="at least three labels"):
        learning_curve(samples, make_head("ridge"))
    with pytest.raises(LabelError, match="at least three labels"):
        learning_curve(take(samples, samples.y[:0]), make_head("ridge"))
    with pytest.raises(Cancelled):
        learning_curve(labelled_fields(), make_head("ridge"), cancelled=lambda: True)
